"""The command line of a program that measures cases: which, how much, where they run, and where the report goes."""

from __future__ import annotations

import argparse
import dataclasses
import fnmatch
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from kvstore.testing.server_process import ROOT, StartFailed
from scripts.measuring.bench import VALKEY, Bench, Case, Effort, Setting
from scripts.measuring.compaction import NoCompaction
from scripts.measuring.generator import NoCompiler
from scripts.measuring.load import WrongReply
from scripts.measuring.record import Entry, Record
from scripts.measuring.redis_benchmark import UnreadableOutput
from scripts.measuring.results import Table, describe_machine, replace_file, share
from scripts.measuring.servers import Surroundings

#: What can go wrong without a bug in the program: it is said, and the next case is measured.
EXPECTED = (StartFailed, WrongReply, NoCompaction, NoCompiler, UnreadableOutput, OSError,
            subprocess.SubprocessError)  # fmt: skip

#: What an ordinary case takes beside its turns, in seconds: starting servers, filling them, the first turn.
_BESIDE_SECONDS = 2.5


@dataclass(frozen=True)
class Program:
    """One of them. `cases`: all, in the order of the report. `quick`: the effort of --quick, and patterns of the cases
    that are enough for it. `how`: the beginning of the report. `headline`: what is said of a case as it ends. `verdict`
    and `tables`: of a record, the former first in the report and last on a terminal. `draw`: puts plots into a
    directory, and returns their names.
    """

    name: str
    cases: Sequence[Case]
    full: Effort
    quick: tuple[Effort, Sequence[str]]
    how: str
    headline: Callable[[Entry, str], str]
    verdict: Callable[[Record], list[Table]]
    tables: Callable[[Record], list[Table]]
    draw: Callable[[Record, Path], list[str]]


# The command line


def parse_arguments(program: Program, description: str, words: list[str] | None = None) -> argparse.Namespace:
    """The command line; `cases`, `effort` and `setting` are made of it. Exits for a bad value."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    add, full = parser.add_argument, program.full
    add("names", metavar="CASE", nargs="*", help="a case, a group of them, or a pattern (default: all)")
    add("--list", action="store_true", help="print the names of all cases and groups, measure nothing")
    add("--quick", action="store_true", help="tenths of seconds instead of seconds: to see that it works")
    add("--resume", action="store_true", help="leave out cases that were measured so at this commit")
    add("--rounds", type=int, metavar="N", help=f"turns of each side (default {full.rounds})")
    add("--seconds", type=float, metavar="S", help=f"length of a turn (default {full.seconds})")
    add("--out", type=Path, metavar="DIR", help="where the report goes (default: report)")
    add("--directory", type=Path, metavar="DIR", default=Path(tempfile.gettempdir()),
        help="where the servers' data go; must be on the disk to be measured (default %(default)s)")  # fmt: skip
    add("--pin", action=argparse.BooleanOptionalAction, default=(os.cpu_count() or 1) > 1,
        help="servers on one processor, load generators on the others (default if there are two)")  # fmt: skip
    if any(VALKEY in case.sides for case in program.cases):
        add("--before", type=Path, metavar="CHECKOUT",
            help="measure the kvstore of another checkout in Valkey's place, as before and after; writes nothing"
            " without --out")  # fmt: skip
    add("--kvstore-option", action="append", default=[], metavar="WORD",
        help="a word for kvstore's command line, as --kvstore-option=--group-limit=64; repeatable")  # fmt: skip
    arguments = parser.parse_args(words)
    arguments.before = getattr(arguments, "before", None)
    try:
        arguments.cases = choose(program, arguments.names or (program.quick[1] if arguments.quick else []))
        arguments.effort = _effort(program, arguments)
    except ValueError as error:
        parser.error(str(error))
    if not arguments.directory.is_dir():
        parser.error(f"--directory {arguments.directory}: there is no such directory")
    if arguments.before and not (arguments.before / "kvstore").is_dir():
        parser.error(f"--before {arguments.before}: there is no kvstore in it")
    arguments.setting = setting(arguments.pin, arguments.kvstore_option, arguments.before)
    return arguments


def choose(program: Program, patterns: Sequence[str]) -> list[Case]:
    """The cases that are named: by name, by group, or by a pattern such as "set-*"; all if none are. Raises ValueError
    for one that names nothing.
    """
    names = [(case.name, case.group) for case in program.cases]
    for pattern in patterns:
        if not any(pattern == group or fnmatch.fnmatchcase(name, pattern) for name, group in names):
            raise ValueError(f"{pattern!r} names no case; --list tells their names")
    return [
        case for case in program.cases
        if not patterns or any(pattern == case.group or fnmatch.fnmatchcase(case.name, pattern) for pattern in patterns)
    ]  # fmt: skip


def _effort(program: Program, arguments: argparse.Namespace) -> Effort:
    given = {name: value for name in ("rounds", "seconds") if (value := getattr(arguments, name)) is not None}
    for name, value in given.items():
        if value <= 0:
            raise ValueError(f"--{name}: give a number over 0")
    return dataclasses.replace(program.quick[0] if arguments.quick else program.full, **given)


def setting(is_pinned: bool, kvstore_options: Sequence[str], checkout: Path | None = None) -> Setting:
    """Where servers and generators run: pinned, servers have the first processor that we may use to themselves."""
    server, *others = sorted(os.sched_getaffinity(0))
    if not is_pinned or not others:
        return Setting(kvstore_options=tuple(kvstore_options), checkout=checkout)
    return Setting(Surroundings(frozenset({server})), frozenset(others), tuple(kvstore_options), checkout)


# A run


def main(program: Program, description: str) -> int:
    """Measure the cases asked for. Returns the exit status."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers and directories go, as at Ctrl-C
    arguments = parse_arguments(program, description)
    if arguments.list:
        print("\n".join(f"{case.group:14} {case.name:32} {case.title}" for case in program.cases))
        return 0
    try:
        run = Run(program, arguments)
    except ValueError as error:
        return _say(program, str(error))
    try:
        return 0 if run.measure_all() else 1
    except KeyboardInterrupt:
        return _say(program, "broken off; --resume goes on from here", 130)
    finally:
        run.finish()


class Run:
    """One call of the program. Raises ValueError if the report that is there compares with another peer."""

    def __init__(self, program: Program, arguments: argparse.Namespace) -> None:
        self._program = program
        self._arguments = arguments
        self._out = arguments.out or (None if arguments.quick or arguments.before else Path(ROOT, "report"))
        self._record = Record.read(self._out and self._out / f"{program.name}.json", peer(arguments.before))
        command = shlex.join([f"scripts/{program.name}", *sys.argv[1:]])
        self._about = {"command": command, **describe_machine(arguments.directory), **conditions(arguments)}
        self._left = left(arguments, self._record, self._about)
        self._measured = [case.name for case in arguments.cases if case not in self._left]

    def measure_all(self) -> bool:
        """Measure what is left, and say how long the others will take. Returns whether all could be measured."""
        guesses, began, done = [_guess(case, self._arguments.effort) for case in self._left], time.monotonic(), True
        print(f"{len(guesses)} cases, some {_minutes(sum(guesses))}", flush=True)
        for i, case in enumerate(self._left, 1):
            said = self._measure(case)
            done &= said is not None
            rest = (time.monotonic() - began) / sum(guesses[:i]) * sum(guesses[i:])
            how_far = f"{i} of {len(guesses)}, some {_minutes(rest)} left"
            print(f"{case.name:32} {said or 'not measured'}  ({how_far})", flush=True)
        return done

    def _measure(self, case: Case) -> str | None:
        """Measure one case, and save it. Returns what is to be said of it; None if it could not be measured."""
        if case.needed_bytes > available_bytes():
            return "left out: there is too little memory"
        began, arguments = time.time(), self._arguments
        try:
            with Bench(case.name, arguments.effort, arguments.directory, arguments.setting) as bench:
                turns = case.measure(bench)
        except EXPECTED as error:
            _say(self._program, f"{case.name} could not be measured: {error}")
            return None
        date = time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(began))
        entry = self._record.put(case, turns, {**self._about, "date": date, "took": f"{time.time() - began:.0f} s"})
        self._measured.append(case.name)
        return self._program.headline(entry, self._record.peer)

    def finish(self) -> None:
        """Write the tables of all cases, and the plots; print the tables of the cases measured in this run."""
        program, now, written = self._program, self._record.part(self._measured), ""
        if self._out is not None and self._record.entries:
            every = self._record.part([case.name for case in program.cases])  # others, of old, stay in the file
            path = self._out / f"{program.name}.md"
            replace_file(path, as_markdown(program, every, self._about, program.draw(every, self._out)))
            written = f"\nwritten to {path}"
        tables = [*program.tables(now), *program.verdict(now)]
        print(*(table.as_text() for table in tables), written, sep="\n", flush=True)


def _say(program: Program, text: str, status: int = 1) -> int:
    print(f"{program.name}: {text}", file=sys.stderr)
    return status


def peer(checkout: Path | None) -> str:
    """What is measured beside us: Valkey, or the kvstore of a checkout, named by its commit."""
    if checkout is None:
        return VALKEY
    words = ["git", "-C", str(checkout), "describe", "--always", "--dirty"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return f"kvstore@{done.stdout.strip() or checkout.name}"


def conditions(arguments: argparse.Namespace) -> dict[str, str]:
    """What a case must have been measured with, to be left out by --resume."""
    effort = arguments.effort
    pinned = "server on one processor, generator on another" if arguments.setting.generator_cpus else "anywhere"
    keys = f", {effort.keys:,} keys in large tables" if effort.keys else ""
    return {
        "turns": f"{effort.rounds} rounds of {effort.seconds:g} s{keys}",
        "processors for": pinned,
        "kvstore options": shlex.join(arguments.kvstore_option) or "none",
    }


def left(arguments: argparse.Namespace, record: Record, about: Mapping[str, str]) -> list[Case]:
    """The cases still to be measured."""
    same = ["commit", *conditions(arguments)]

    def is_done(case: Case) -> bool:
        entry = record.entries.get(case.name)
        return entry is not None and all(entry.about.get(name) == about[name] for name in same)

    return [case for case in arguments.cases if not (arguments.resume and is_done(case))]


def _guess(case: Case, effort: Effort) -> float:
    """Seconds that a case may take."""
    return case.weight * (
        _BESIDE_SECONDS + len(case.sides) * (min(effort.rounds, case.most_rounds) + 1) * effort.seconds
    )


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds > 90 else f"{seconds:.0f} s"


def available_bytes() -> int:
    """Memory that could be had without swapping (proc(5), MemAvailable)."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))


# The report


def as_markdown(program: Program, record: Record, about: Mapping[str, str], pictures: Sequence[str] = ()) -> str:
    """The whole report. `about`: of the last run. `pictures`: names of files beside it."""
    facts = {**about, **_summary(record)}
    lines = [f"- {what}: {f'`{text}`' if what == 'command' else text}" for what, text in facts.items()]
    tables = [table.as_markdown() for table in [*program.verdict(record), *program.tables(record)]]
    return "\n".join(
        [f"# {program.name.title()}", "", program.how, *lines, "", *tables, *(f"![{n}]({n})\n" for n in pictures)]
    )


def _summary(record: Record) -> dict[str, str]:
    """What holds for all cases together: they need not be of one run."""
    entries = record.entries.values()
    commits = Counter(entry.about.get("commit", "unknown") for entry in entries)
    dates = sorted(entry.about.get("date", "") for entry in entries) or ["never"]
    facts = {
        "cases by commit": ", ".join(f"{count} at {commit}" for commit, count in commits.items()),
        "measured": f"{dates[0]} to {dates[-1]}",
    }
    turns = [turn for entry in entries for side in entry.turns.values() for turn in side]
    if stolen := [turn["stolen_share"] for turn in turns if "stolen_share" in turn]:
        times = f"{share(median(stolen))} of the time in the median turn, {share(max(stolen))} in the worst"
        facts["processors taken away by the host"] = times
    return facts
