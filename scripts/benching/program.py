"""The command line of scripts/bench: which cases to measure, how much, where servers run, and where the report goes."""

from __future__ import annotations

import argparse
import dataclasses
import fnmatch
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from kvstore.testing.server_process import ROOT
from scripts.benching import large, loops, plots, rates, report, slow_disk
from scripts.benching.case import VALKEY, Case
from scripts.benching.probes import PROBES, Probe
from scripts.benching.record import JSON_NAME, Entry, Record
from scripts.measuring import redis_benchmark
from scripts.measuring.bench import Bench, Effort, Setting
from scripts.measuring.compaction import NoCompaction
from scripts.measuring.generator import NoCompiler
from scripts.measuring.load import WrongReply
from scripts.measuring.results import Table, describe_machine, replace_file
from scripts.measuring.servers import DidNotStart, Surroundings

FULL = Effort(rounds=5, seconds=0.7, keys=1_000_000, idle=0)
QUICK = Effort(rounds=2, seconds=0.15, keys=30_000, idle=0)

#: What can go wrong without a bug in the program: it is said, and the next case is measured.
EXPECTED = (DidNotStart, WrongReply, NoCompaction, NoCompiler, redis_benchmark.UnreadableOutput, OSError,
            subprocess.SubprocessError)  # fmt: skip


def all_cases() -> list[Case]:
    """Every case, in the order of the report."""
    return [*rates.cases(), *loops.cases(), *slow_disk.cases(), *large.cases()]


def choose(patterns: list[str]) -> tuple[list[Probe], list[Case]]:
    """The probes and cases that are named: by name, by group, or by a pattern such as "set-*"; all if none are. Raises
    ValueError for one that names nothing.
    """
    probes = {probe.name: (probe, "probes") for probe in PROBES}
    cases = {case.name: (case, case.group) for case in all_cases()}

    def is_named(name: str, group: str, pattern: str) -> bool:
        return group == pattern or fnmatch.fnmatchcase(name, pattern)

    for pattern in patterns:
        if not any(is_named(name, group, pattern) for name, (_, group) in (probes | cases).items()):
            raise ValueError(f"{pattern!r} names no case; --list tells their names")

    def is_chosen(name: str, group: str) -> bool:
        return not patterns or any(is_named(name, group, pattern) for pattern in patterns)

    return (
        [probe for probe, group in probes.values() if is_chosen(probe.name, group)],
        [case for case, group in cases.values() if is_chosen(case.name, group)],
    )


def parse_arguments(description: str, words: list[str] | None = None) -> argparse.Namespace:
    """The command line; `cases`, `effort` and `setting` are made of it. Exits for a bad value."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("names", metavar="CASE", nargs="*", help="a case, a group of them, or a pattern (default: all)")
    add("--list", action="store_true", help="print the names of all cases and groups, measure nothing")
    add("--quick", action="store_true", help="tenths of seconds instead of seconds: to see that it works")
    add("--resume", action="store_true", help="leave out cases that were measured so at this commit")
    add("--rounds", type=int, metavar="N", help=f"turns of each side (default {FULL.rounds})")
    add("--seconds", type=float, metavar="S", help=f"length of a turn (default {FULL.seconds})")
    add("--keys", type=int, metavar="N", help=f"of compaction and recovery (default {FULL.keys:,})")
    add("--out", type=Path, metavar="DIR", help="where the report goes (default: report)")
    add("--directory", type=Path, metavar="DIR", default=Path(tempfile.gettempdir()),
        help="where the servers' data go; must be on the disk to be measured (default %(default)s)")  # fmt: skip
    add("--pin", action=argparse.BooleanOptionalAction, default=(os.cpu_count() or 1) > 1,
        help="servers on one processor, load generators on the others (default if there are two)")  # fmt: skip
    add("--before", type=Path, metavar="CHECKOUT",
        help="measure the kvstore of another checkout in Valkey's place, as before and after; writes nothing without"
        " --out")  # fmt: skip
    add("--kvstore-option", action="append", default=[], metavar="WORD",
        help="a word for kvstore's command line, as --kvstore-option=--group-limit=64; repeatable")  # fmt: skip
    arguments = parser.parse_args(words)
    try:
        arguments.probes, arguments.cases = choose(arguments.names)
    except ValueError as error:
        parser.error(str(error))
    if not arguments.directory.is_dir():
        parser.error(f"--directory {arguments.directory}: there is no such directory")
    arguments.effort = _effort(arguments, parser)
    if arguments.before and not (arguments.before / "kvstore").is_dir():
        parser.error(f"--before {arguments.before}: there is no kvstore in it")
    chosen = setting(arguments.pin, arguments.kvstore_option)
    arguments.setting = dataclasses.replace(chosen, checkout=arguments.before)
    return arguments


def _effort(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> Effort:
    given = {name: value for name in ("rounds", "seconds", "keys") if (value := getattr(arguments, name)) is not None}
    for name, value in given.items():
        if value <= 0:
            parser.error(f"--{name}: give a number over 0")
    return dataclasses.replace(QUICK if arguments.quick else FULL, **given)


def setting(is_pinned: bool, kvstore_options: list[str]) -> Setting:
    """Where servers and generators run: pinned, servers have the first processor that we may use to themselves."""
    server, *others = sorted(os.sched_getaffinity(0))
    if not is_pinned or not others:
        return Setting(kvstore_options=tuple(kvstore_options))
    return Setting(Surroundings(frozenset({server})), frozenset(others), tuple(kvstore_options))


def probe(what: Probe, record: Record, arguments: argparse.Namespace) -> bool:
    """Find out one limit, and save it. Returns whether it could be measured."""
    try:
        with Bench(what.name, arguments.effort, arguments.directory, arguments.setting) as bench:
            record.probes[what.name] = what.measure(bench)
    except EXPECTED as error:
        print(f"bench: {what.name} could not be measured: {error}", file=sys.stderr)
        return False
    record.save()
    print(f"{what.name:32} done", flush=True)
    return True


def measure(case: Case, record: Record, arguments: argparse.Namespace, about: dict[str, str]) -> bool:
    """Measure one case, print and save it. Returns whether it could be measured."""
    began = time.time()
    try:
        with Bench(case.name, arguments.effort, arguments.directory, arguments.setting) as bench:
            turns = case.measure(bench)
    except EXPECTED as error:
        print(f"bench: {case.name} could not be measured: {error}", file=sys.stderr)
        return False
    date = time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(began))
    entry = record.put(case, turns, {**about, "date": date, "took": f"{time.time() - began:.0f} s"})
    print(_line(case, entry, record.peer, time.time() - began), flush=True)
    return True


def _line(case: Case, entry: Entry, name: str, seconds: float) -> str:
    """What is said of a case as it ends. `name`: of what is measured beside us."""
    facts = [f"{side.replace(VALKEY, name)} {text}" for side, text in report.headline(entry).items()]
    return f"{case.name:32} {'  '.join(facts)}  ({seconds:.0f} s)"


def conditions(arguments: argparse.Namespace) -> dict[str, str]:
    """What a case must have been measured with, to be left out by --resume."""
    effort = arguments.effort
    pinned = "server on one processor, generator on another" if arguments.setting.generator_cpus else "anywhere"
    return {
        "turns": f"{effort.rounds} rounds of {effort.seconds:g} s, {effort.keys:,} keys in large tables",
        "processors for": pinned,
        "kvstore options": shlex.join(arguments.kvstore_option) or "none",
    }


def main(description: str) -> int:
    """Measure the cases asked for. Returns the exit status."""
    arguments = parse_arguments(description)
    if arguments.list:
        rows = [("probes", what.name, what.title) for what in PROBES]
        rows += [(case.group, case.name, case.title) for case in all_cases()]
        print("\n".join(f"{group:14} {name:32} {title}" for group, name, title in rows))
        return 0
    out = arguments.out or (None if arguments.quick or arguments.before else Path(ROOT, "report"))
    try:
        record = Record.read(out and out / JSON_NAME, peer(arguments.before))
    except ValueError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    machine = describe_machine(arguments.directory)
    about = {
        "command": shlex.join(["scripts/bench", *sys.argv[1:]]),
        **machine,
        **conditions(arguments),
    }
    try:
        redis_benchmark.require()
        probes = [what for what in arguments.probes if not (arguments.resume and what.name in record.probes)]
        done = [probe(what, record, arguments) for what in probes]
        done += [measure(case, record, arguments, about) for case in _left(arguments, record, about)]
    except FileNotFoundError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: broken off; --resume goes on from here", file=sys.stderr)
        return 130
    finally:
        finish(record, out, about)
    return 0 if all(done) else 1


def peer(checkout: Path | None) -> str:
    """What is measured beside us: Valkey, or the kvstore of a checkout, named by its commit."""
    if checkout is None:
        return VALKEY
    words = ["git", "-C", str(checkout), "describe", "--always", "--dirty"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return f"kvstore@{done.stdout.strip() or checkout.name}"


def _left(arguments: argparse.Namespace, record: Record, about: dict[str, str]) -> list[Case]:
    """The cases still to be measured."""
    if not arguments.resume:
        return list(arguments.cases)
    same = ["commit", *conditions(arguments)]

    def is_done(case: Case) -> bool:
        entry = record.entries.get(case.name)
        return entry is not None and all(entry.about.get(name) == about[name] for name in same)

    return [case for case in arguments.cases if not is_done(case)]


def finish(record: Record, out: Path | None, about: dict[str, str]) -> None:
    """Print the tables; write them and the plots."""
    tables: list[Table] = [*report.probe_tables(record), *report.tables(record), *report.target_tables(record)]
    print("\n".join(report.named(table, record).as_text() for table in tables), flush=True)
    if out is not None and record.entries:
        pictures = plots.draw(record, out)
        replace_file(out / report.MARKDOWN_NAME, report.as_markdown(record, about, pictures))
        print(f"\nwritten to {out / report.MARKDOWN_NAME}")
