"""The command line of scripts/figures: which figures to measure, how much, and where the report goes."""

from __future__ import annotations

import argparse
import dataclasses
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from kvstore.testing.server_process import ROOT
from scripts.measuring import compaction, groups, idle, recovery
from scripts.measuring.bench import FULL, QUICK, Bench, Effort
from scripts.measuring.load import WrongReply
from scripts.measuring.results import MARKDOWN_NAME, Result, describe_machine, save
from scripts.measuring.servers import DidNotStart

FIGURES: dict[str, Callable[[Bench], Result]] = {
    "groups": groups.run,
    "compaction": compaction.run,
    "recovery": recovery.run,
    "idle": idle.run,
}

#: What can go wrong without a bug in the program: it is said, and the next figure is measured.
_EXPECTED = (DidNotStart, WrongReply, compaction.NoCompaction, OSError, subprocess.SubprocessError)


def parse_arguments(description: str, words: list[str] | None = None) -> argparse.Namespace:
    """The command line; `effort` is made of it."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", metavar="NAME", nargs="*", help=f"of {', '.join(FIGURES)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes: to see that it works")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where the report goes (default: report)")
    parser.add_argument(
        "--directory", type=Path, metavar="DIR", default=Path(tempfile.gettempdir()),
        help="where the servers' data go while it runs; must be on the disk to be measured (default %(default)s)",
    )  # fmt: skip
    for field, kind, what in (
        ("rounds", int, "turns for each side"),
        ("seconds", float, "length of a turn"),
        ("keys", int, "of compaction and recovery"),
        ("idle", int, "idle connections"),
    ):
        parser.add_argument(f"--{field}", type=kind, metavar="N", help=f"{what} (default {getattr(FULL, field)})")
    arguments = parser.parse_args(words)
    unknown = [name for name in arguments.names if name not in FIGURES]
    if unknown:
        parser.error(f"{unknown[0]!r} is none of the figures: {', '.join(FIGURES)}")
    if not arguments.directory.is_dir():
        parser.error(f"--directory {arguments.directory}: there is no such directory")
    arguments.effort = _effort(arguments, parser)
    return arguments


def _effort(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> Effort:
    """How much to measure: that of --quick or the full one, with what is said otherwise. Exits for a bad value."""
    given = {
        field.name: value
        for field in dataclasses.fields(Effort)
        if (value := getattr(arguments, field.name)) is not None
    }
    for name, value in given.items():
        if value <= 0:
            parser.error(f"--{name.replace('_', '-')}: give a number over 0")
    return dataclasses.replace(QUICK if arguments.quick else FULL, **given)


def measure(name: str, arguments: argparse.Namespace, out: Path | None) -> bool:
    """Measure one figure, print and save it. Returns whether it could be measured."""
    began = time.time()
    about = {
        "command": shlex.join(["scripts/figures", *sys.argv[1:]]),
        "date": time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(began)),
        **describe_machine(arguments.directory),
    }
    try:
        with Bench(name, arguments.effort, arguments.directory) as bench:
            result = FIGURES[name](bench)
    except _EXPECTED as error:
        print(f"figures: {name} could not be measured: {error}", file=sys.stderr)
        return False
    print(result.as_text(), flush=True)
    if out is not None:
        save(out, name, result, about | {"took": f"{time.time() - began:.0f} s"})
        print(f"\nwritten to {out / MARKDOWN_NAME}")
    return True


def main(description: str) -> int:
    """Measure the figures asked for. Returns the exit status."""
    arguments = parse_arguments(description)
    out = arguments.out or (None if arguments.quick else Path(ROOT, "report"))
    try:
        measured = [measure(name, arguments, out) for name in dict.fromkeys(arguments.names or FIGURES)]
    except KeyboardInterrupt:
        return 130
    return 0 if all(measured) else 1
