"""Which rounds there are to be, what each group does of them, and the options that say so."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterable

from kvstore.base.limits import LEAST_LEASE_MS, MOST_LEASE_MS
from tests.suites.group_faults.faults import KINDS
from tests.suites.program import positive

_ROUNDS = 20


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those that a group of its own takes, too."""
    many = parser.add_mutually_exclusive_group()
    many.add_argument("--rounds", type=positive, default=_ROUNDS, metavar="N", help="in all (default %(default)s)")
    many.add_argument("--rounds-each", type=positive, metavar="N", help="of each kind")
    parser.add_argument("--fault", choices=KINDS, action="append", metavar="NAME", help="only this one, or these")
    parser.add_argument("--reads", choices=["lease", "quorum"], default="lease", help="(default %(default)s)")
    parser.add_argument(
        "--lease-ms", type=_lease_ms, default=1000, metavar="N", help="the servers' (default %(default)s)"
    )
    parser.add_argument(
        "--control", action="store_true", help="take the check of the lease out of the servers: has to be noticed"
    )
    parser.add_argument(
        "--keep", default=".", metavar="DIRECTORY", help="where histories go that are wrong (default: here)"
    )
    parser.add_argument("--share", type=_share, default=(0, 1), help=argparse.SUPPRESS)


def _lease_ms(text: str) -> int:
    if not LEAST_LEASE_MS <= (number := int(text)) <= MOST_LEASE_MS:
        raise ValueError
    return number


def _share(text: str) -> tuple[int, int]:
    """`I/N`: that of group I of N, from 0 on."""
    number, _, count = text.partition("/")
    return int(number), int(count)


def left_out() -> dict[str, str]:
    """Kinds that cannot be had here, and why."""
    return {name: why for name, kind in KINDS.items() if (why := kind.setting.missing())}


def all_rounds(arguments: argparse.Namespace) -> list[str]:
    """The kinds of all rounds: in turns, but those of one setting together."""
    away = left_out()
    names = [name for name in KINDS if name not in away and name in (arguments.fault or KINDS)]
    if arguments.control:
        names = ["cut_leader"]
    if arguments.rounds_each:
        chosen: Iterable[str] = names * arguments.rounds_each
    else:
        chosen = itertools.islice(itertools.cycle(names), arguments.rounds)
    settings = list(dict.fromkeys(kind.setting for kind in KINDS.values()))
    return sorted(chosen, key=lambda name: settings.index(KINDS[name].setting))


def share_of(arguments: argparse.Namespace) -> list[str]:
    """What one group does: of each kind its part."""
    number, count = arguments.share
    seen = dict.fromkeys(KINDS, 0)
    share = []
    for name in all_rounds(arguments):
        if (seen[name] + list(KINDS).index(name)) % count == number:
            share.append(name)
        seen[name] += 1
    return share
