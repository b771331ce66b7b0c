"""The command line of scripts/growth: which sizes and numbers of connections, and where the report goes."""

from __future__ import annotations

import argparse
import dataclasses
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from kvstore.testing.server_process import ROOT
from scripts.benching.case import Measures
from scripts.benching.program import EXPECTED
from scripts.growing import connections, plots, table_size
from scripts.growing.report import JSON_NAME, MARKDOWN_NAME, Growth, as_markdown, tables
from scripts.measuring.bench import Bench, Effort, Setting
from scripts.measuring.results import describe_machine, replace_file

SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
CONNECTIONS = (100, 1_000, 5_000, 10_000)
QUICK_SIZES = (1_000, 10_000)
QUICK_CONNECTIONS = (100,)

FULL = Effort(rounds=3, seconds=0.7, keys=0, idle=0)
QUICK = Effort(rounds=1, seconds=0.1, keys=0, idle=0)

#: Memory for each key that must be there, in bytes: the server's, its child's while it compacts, and the files' cache.
_NEEDED_BYTES = 1_000


def parse_arguments(description: str, words: list[str] | None = None) -> argparse.Namespace:
    """The command line; `effort`, `sizes` and `connections` are made of it. Exits for a bad value."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--quick", action="store_true", help="small sizes only: to see that it works")
    add("--resume", action="store_true", help="leave out what the report has already")
    add("--sizes", type=int, nargs="*", metavar="KEYS", help=f"numbers of keys (default {_list(SIZES)})")
    add("--connections", type=int, nargs="*", metavar="N", help=f"idle connections (default {_list(CONNECTIONS)})")
    add("--rounds", type=int, metavar="N", help=f"turns of each operation (default {FULL.rounds})")
    add("--seconds", type=float, metavar="S", help=f"length of a turn (default {FULL.seconds})")
    add("--out", type=Path, metavar="DIR", help="where the report goes (default: report)")
    add("--directory", type=Path, metavar="DIR", default=Path(tempfile.gettempdir()),
        help="where the server's data go (default %(default)s)")  # fmt: skip
    add("--kvstore-option", action="append", default=[], metavar="WORD", help="a word for kvstore's command line")
    arguments = parser.parse_args(words)
    if arguments.sizes is None:
        arguments.sizes = list(QUICK_SIZES if arguments.quick else SIZES)
    if arguments.connections is None:
        arguments.connections = list(QUICK_CONNECTIONS if arguments.quick else CONNECTIONS)
    given = {name: value for name in ("rounds", "seconds") if (value := getattr(arguments, name)) is not None}
    if min([1, *arguments.sizes, *arguments.connections, *given.values()]) <= 0:
        parser.error("give numbers over 0")
    if not arguments.directory.is_dir():
        parser.error(f"--directory {arguments.directory}: there is no such directory")
    arguments.effort = dataclasses.replace(QUICK if arguments.quick else FULL, **given)
    return arguments


def _list(numbers: tuple[int, ...]) -> str:
    return " ".join(map(str, numbers))


def available_bytes() -> int:
    """Memory that could be had without swapping (proc(5), MemAvailable)."""
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


#: One thing to measure: its name, and how; it puts what it found where it belongs.
Step = tuple[str, Callable[[Bench], None]]


def _steps(arguments: argparse.Namespace, growth: Growth) -> Iterator[Step]:
    def step(
        kind: str, number: int, found: dict[int, Measures], measure: Callable[[Bench, int], Measures]
    ) -> Step:  # fmt: skip
        def run(bench: Bench) -> None:
            found[number] = measure(bench, number)

        return f"{kind}-{number}", run

    for size in arguments.sizes:
        if size * _NEEDED_BYTES > available_bytes():
            print(f"growth: {size:,} keys are left out: there is too little memory", file=sys.stderr)
        elif not (arguments.resume and size in growth.sizes):
            yield step("keys", size, growth.sizes, table_size.measure)
    for count in arguments.connections:
        if not (arguments.resume and count in growth.connections):
            yield step("connections", count, growth.connections, connections.measure)


def main(description: str) -> int:
    """Measure the sizes asked for. Returns the exit status."""
    arguments = parse_arguments(description)
    out = arguments.out or (None if arguments.quick else Path(ROOT, "report"))
    growth = Growth.read(out and out / JSON_NAME)
    growth.about = {
        "command": shlex.join(["scripts/growth", *sys.argv[1:]]),
        "date": time.strftime("%Y-%m-%d %H:%M:%S %Z"),
        **describe_machine(arguments.directory),
    }
    failed = False
    try:
        for name, run in _steps(arguments, growth):
            failed |= not _measure(name, run, arguments)
            growth.save()
    except KeyboardInterrupt:
        print("growth: broken off; --resume goes on from here", file=sys.stderr)
        return 130
    finally:
        _finish(growth, out)
    return 1 if failed else 0


def _measure(name: str, run: Callable[[Bench], None], arguments: argparse.Namespace) -> bool:
    """One step. Returns whether it could be measured."""
    began = time.monotonic()
    setting = Setting(kvstore_options=tuple(arguments.kvstore_option))
    try:
        with Bench(name, arguments.effort, arguments.directory, setting) as bench:
            run(bench)
    except (*EXPECTED, ValueError) as error:
        print(f"growth: {name} could not be measured: {error}", file=sys.stderr)
        return False
    print(f"{name:24} ({time.monotonic() - began:.0f} s)", flush=True)
    return True


def _finish(growth: Growth, out: Path | None) -> None:
    """Print the tables; write them and the plot."""
    print("\n".join(table.as_text() for table in tables(growth)), flush=True)
    if out is not None and (growth.sizes or growth.connections):
        pictures = [plots.PICTURE] if plots.draw(growth, out / plots.PICTURE) else []
        replace_file(out / MARKDOWN_NAME, as_markdown(growth, pictures))
        print(f"\nwritten to {out / MARKDOWN_NAME}")
