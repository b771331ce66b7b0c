"""Which options no sequence would draw: the words of each command that we have, as COMMAND DOCS has them, beside those
of many sequences that nobody is sent.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from random import Random
from typing import Any

from kvstore.base.errors import InvalidRequest
from kvstore.commands import table
from kvstore.commands.description import documentation
from kvstore.commands.facts import facts_of
from kvstore.commands.registry import Command
from tests.kit.random_families import random_sequence

#: Commands that are not drawn, and why.
NOT_DRAWN = {
    "BGREWRITEAOF": "of the server", "BGSAVE": "of the server", "SAVE": "of the server", "INFO": "of the server",
    "COMMAND|COUNT": "of the server", "CONFIG|REWRITE": "of the server", "LOLWUT": "of the server",
    "LATENCY|DOCTOR": "of the server", "MEMORY|DOCTOR": "of the server", "MEMORY|MALLOC-STATS": "of the server",
    "MEMORY|STATS": "of the server", "MODULE|LIST": "of the server", "MODULE|LOAD": "of the server",
    "MODULE|LOADEX": "of the server", "MODULE|UNLOAD": "of the server", "MONITOR": "test_edge_watching.py",
    "FUNCTION|DUMP": "compressed by Valkey only", "RANDOMKEY": "chance",
}  # fmt: skip
#: Options that are not drawn, and why.
_OPTIONS_NOT_DRAWN = {
    ("XADD", "*"): "hangs on the clock",
    **{("FAILOVER", word): "there are no replicas" for word in ("TO", "TIMEOUT", "FORCE")},
    **{("SHUTDOWN", word): "ends the server" for word in ("NOW", "FORCE", "SAFE", "FAILOVER")},
}


def undrawn(sequences: int) -> list[str]:
    """What so many sequences do not hold, a line each: a command, or options of one."""
    drawn = _words_of(sequences)
    rows = [row for row in table.all_rows() if facts_of(row.name.lower()) and not row.subcommands]
    rows = [row for row in rows if row.name not in NOT_DRAWN and not row.name.endswith("|HELP")]
    return [f"{row.name} {' '.join(left)}".rstrip() for row in rows if (left := _left(row, drawn)) is not None]


def _words_of(sequences: int) -> dict[str, set[str]]:
    drawn: dict[str, set[str]] = defaultdict(set)
    for number in range(sequences):
        for _, words in random_sequence(Random(f"undrawn/{number}")).requests:
            try:
                row = table.find(words)
            except InvalidRequest:
                continue
            drawn[row.name].update(word.upper().decode("latin-1") for word in words[row.words :])
    return drawn


def _left(row: Command, drawn: dict[str, set[str]]) -> list[str] | None:
    """The options of a command that were not drawn; None if all were."""
    options = set(_options_in(documentation(row).get("arguments", [])))
    left = sorted(
        option for option in options - drawn.get(row.name, set()) if (row.name, option) not in _OPTIONS_NOT_DRAWN
    )
    return left if left or row.name not in drawn else None


def _options_in(arguments: Iterable[dict[str, Any]]) -> Iterator[str]:
    for argument in arguments:
        yield from argument.get("token", "").upper().split()
        yield from _options_in(argument.get("arguments", []))
