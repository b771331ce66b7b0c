"""scripts/interleaving: each of its checks accepts a right trace and rejects a wrong one; what it prints and draws."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

import kvstore.commands  # noqa: F401 - fills the command table
from kvstore.edge.trace import TRACE_HEADING, trace_line
from kvstore.session.hooks import Executed

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"
sys.path.insert(0, str(SCRIPTS))

from _interleaving import __main__ as program  # noqa: E402
from _interleaving.judging import Run, Verdict  # noqa: E402
from _interleaving.reading import NotATrace, Request, Trace  # noqa: E402

HEADING = TRACE_HEADING + "\n"
HAS_MATPLOTLIB = find_spec("matplotlib") is not None


def line(number: int, client: int = 1, **fields: Any) -> str:
    """A line of a right trace: request `number` of a client, 10 us after the one before, 4 us long."""
    start = 1_000_000 + 10_000 * number
    made = {
        "number": number, "time_s": f"1700000000.{number:06d}", "start_ns": start, "end_ns": start + 4_000,
        "client": f"{client}@127.0.0.1:{50_000 + client}", "commit": 1 + number // 4, "kind": "write",
        "outcome": "ok", "words": '"SET" "a" "1"',
    }  # fmt: skip
    made.update(fields)
    return "\t".join(map(str, made.values())) + "\n"


def trace_of(clients: Iterable[int]) -> list[str]:
    """A right trace in which these clients follow each other."""
    return [HEADING, *(line(number, client) for number, client in enumerate(clients, 1))]


def coming(number: int, client: int, kind: str, outcome: str = "ok") -> str:
    """A line for a client that comes or goes after request `number`."""
    at = 1_005_000 + 10_000 * number
    return line(number, client, start_ns=at, end_ns=at, commit=0, kind=kind, outcome=outcome, words='""')


def with_comings(lines: list[str]) -> list[str]:
    """A trace of clients 1 to 3, who all connect at its beginning and leave at its end, the last one not well."""
    came = [coming(0, client, "connect") for client in (1, 2, 3)]
    last = len(lines) - 1
    gone = [coming(last, client, "disconnect", "it broke" if client == 3 else "ok") for client in (1, 2, 3)]
    return [*lines[:1], *came, *lines[1:], *gone]


GOOD = trace_of([1, 2, 3, 1, 2, 3, 1, 1, 2, 3, 2, 1])


def judge(lines: Iterable[str]) -> Run:
    """A trace of one run, judged."""
    run = Run()
    for request in Trace(lines):
        run.add(request)
    return run


def failed(lines: Iterable[str]) -> list[Verdict]:
    """The checks that a trace fails."""
    return [verdict for verdict in judge(lines).verdicts() if not verdict.passed]


class JudgingTests(SynchronousTestCase):
    """The five checks."""

    def rejected(self, check: str, lines: Iterable[str], text: str) -> None:
        """Hold that a trace fails this one check and no other, and that what is said of it contains `text`."""
        verdicts = failed(lines)
        self.assertEqual([verdict.check for verdict in verdicts], [check])
        self.assertIn(text, verdicts[0].text)

    def test_a_right_trace_passes(self) -> None:
        """All checks; one less, if the trace does not tell who comes and goes."""
        self.assertEqual([verdict.passed for verdict in judge(GOOD).verdicts()], [True] * 4)
        verdicts = judge(with_comings(GOOD)).verdicts()
        self.assertEqual([verdict.passed for verdict in verdicts], [True] * 5)
        self.assertIn("3 connects, at most 3 clients at once; 3 disconnects, 1 broken off", verdicts[4].text)

    def test_who_is_not_connected_asks_for_nothing(self) -> None:
        """Neither before the client connects nor after it is gone. In a part of a trace it may have come before."""
        lines = with_comings(GOOD)
        late = "is from 1@127.0.0.1:50001, which is not connected"
        self.rejected("come and go", [lines[0], *lines[2:]], f"line 4: request 1 {late}")
        self.rejected("come and go", [*lines[:5], coming(1, 1, "disconnect"), *lines[5:-3], *lines[-2:]], late)
        self.assertEqual(failed(lines[5:]), [])

    def test_a_client_comes_once_and_goes_once(self) -> None:
        """A number is given to one connection only."""
        lines = with_comings(GOOD)
        again = "client 1@127.0.0.1:50001 connects, but has been there before"
        self.rejected("come and go", [*lines[:5], coming(1, 1, "connect"), *lines[5:]], f"line 6: {again}")
        self.rejected("come and go", [*lines, coming(12, 1, "connect")], again)
        gone = "client 1@127.0.0.1:50001 disconnects, but is not connected"
        self.rejected("come and go", [*lines, coming(12, 1, "disconnect")], gone)

    def test_clients_one_after_the_other_are_not_interleaved(self) -> None:
        """However many there are."""
        self.rejected("interleaved", trace_of([1] * 5 + [2] * 5 + [3] * 5), "0 of 3 clients")

    def test_one_client_alone_is_not_interleaved(self) -> None:
        """There is nobody to be interleaved with."""
        self.rejected("interleaved", trace_of([1] * 10), "0 of 1 clients")

    def test_clients_of_one_request_each_are_not_interleaved(self) -> None:
        """Nobody was interrupted."""
        self.rejected("interleaved", trace_of(range(1, 10)), "0 of 0 clients")

    def test_one_interruption_of_a_few_requests_is_not_enough(self) -> None:
        """The requests of the interrupted clients must be more than half of all."""
        self.rejected("interleaved", trace_of([1, 2, 2, 2, 1]), "1 of 2 clients")
        self.assertEqual(failed(trace_of([1, 2, 2, 1, 1])), [])

    def test_pipelines_are_interleaved(self) -> None:
        """Stretches of one client's requests are, if they come in turns."""
        self.assertEqual(failed(trace_of(([1] * 16 + [2] * 16) * 3)), [])

    def test_a_missing_request_is_a_gap(self) -> None:
        """The line after it is named."""
        self.rejected("no gaps", GOOD[:5] + GOOD[6:], "line 6: number 6 stands where 5 belongs")

    def test_a_repeated_number_is_a_gap(self) -> None:
        """Two requests have one place in the order."""
        lines = [*GOOD[:6], line(5, 2, start_ns=1_055_000, end_ns=1_056_000), *GOOD[6:]]
        self.rejected("no gaps", lines, "line 7: number 5 stands where 6 belongs")

    def test_a_run_begins_with_one(self) -> None:
        """Unless the file is a part of a trace, without the heading."""
        self.rejected("no gaps", [HEADING, *GOOD[2:]], "line 2: number 2 stands where 1 belongs")
        self.assertEqual(failed(GOOD[2:]), [])

    def test_a_request_inside_another_is_rejected(self) -> None:
        """By a nanosecond; at the same nanosecond is right."""
        lines = list(GOOD)
        lines[6] = line(6, 3, start_ns=1_053_999)
        self.rejected("one at a time", lines, "line 7: request 6 starts 1 ns before request 5 has ended")
        lines[6] = line(6, 3, start_ns=1_054_000)
        self.assertEqual(failed(lines), [])

    def test_a_request_that_ends_before_it_starts_is_rejected(self) -> None:
        """The clock must be steady."""
        lines = list(GOOD)
        lines[3] = line(3, 3, end_ns=1_029_999)
        self.rejected("one at a time", lines, "line 4: request 3 ends before it starts")

    def test_a_write_into_an_older_commit_is_rejected(self) -> None:
        """A block counts as a write."""
        for kind in ("write", "block"):
            lines = list(GOOD)
            lines[8] = line(8, 1, commit=2, kind=kind)
            lines[9] = line(9, 2, commit=1, kind=kind)
            self.rejected("commits in order", lines, "line 10: write 9 went into commit 1, the one before into 2")

    def test_only_writes_that_changed_something_are_held_to_the_order_of_commits(self) -> None:
        """A read waits for an older commit, or for none; a failed or idle write changed nothing."""
        for fields in ({"kind": "read"}, {"kind": "other"}, {"outcome": "ERR no"}, {"commit": 0}):
            lines = list(GOOD)
            lines[9] = line(9, 2, **{"commit": 1, **fields})
            self.assertEqual(failed(lines), [])

    def test_every_violation_is_counted_and_the_first_is_shown(self) -> None:
        """One line says how many there are."""
        lines = [HEADING, *(line(number * 2 - 1, number % 2) for number in range(1, 10))]
        self.rejected("no gaps", lines, "line 3: number 3 stands where 2 belongs (and 7 more)")

    def test_measures(self) -> None:
        """Switches, the longest stretch, what a shuffled order would make, writes in a commit, times."""
        run = judge(GOOD)
        self.assertEqual((run.count, run.switches, len(run.clients)), (12, 10, 3))
        self.assertEqual(run.longest_stretch, (2, "1@127.0.0.1:50001"))
        self.assertEqual(dict(run.writes_per_commit), {1: 3, 2: 4, 3: 4, 4: 1})
        self.assertEqual((run.duration_us(0.5), run.duration_us(1), run.seconds), (4.0, 4.0, 114e-6))
        self.assertEqual((run.middle_write, run.number_range), (7, (1, 12)))

    def test_the_shuffled_order(self) -> None:
        """Two requests of two clients always make one switch; of one client, none; two of each, two of three."""
        for clients, expected in (([1, 2], 1), ([1, 1], 0), ([1, 1, 2, 2], 2)):
            self.assertAlmostEqual(judge(trace_of(clients)).shuffled_switches, expected)


class ReadingTests(SynchronousTestCase):
    """A trace as requests."""

    def read(self, lines: Iterable[str]) -> list[Request]:
        """All requests of a trace."""
        return list(Trace(lines))

    @given(st.lists(st.binary(max_size=60), min_size=1, max_size=12), st.text(max_size=40), st.integers(0, 2**60))
    def test_what_the_server_writes_is_read(self, words: list[bytes], outcome: str, commit: int) -> None:
        """Whatever words and errors there are, every field comes back."""
        executed = Executed(3, 7, 0, "127.0.0.1:50000", 1_700_000_000_000_042, 5, 9, words, outcome, commit)
        (request,) = self.read([trace_line(executed)])
        self.assertEqual((request.number, request.time_s, request.start_ns), (3, 1700000000.000042, 5))
        self.assertEqual((request.end_ns, request.client, request.commit), (9, "7@127.0.0.1:50000", commit))
        self.assertEqual(request.failed, outcome != "ok")

    def test_a_client_that_goes_leaves_its_block(self) -> None:
        """Its line is no request that was queued."""
        lines = [line(1, 1, words='"MULTI"', kind="other"), coming(1, 1, "disconnect"), line(2, 1)]
        self.assertEqual([request.kind for request in self.read(lines)], ["other", "disconnect", "write"])

    def test_runs_are_numbered_by_their_headings(self) -> None:
        """The blank line that a second server may leave is nothing."""
        runs = [request.run for request in self.read([*GOOD[:3], "\n", HEADING, line(1)])]
        self.assertEqual(runs, [1, 1, 2])

    def test_a_line_cut_short_at_the_end_is_left_out(self) -> None:
        """Wherever it was cut, at the end of the file or of a run; it is reported."""
        whole = line(3, 1)
        for end in range(1, len(whole)):
            self.cut([*GOOD[:3], whole[:end]], [1, 2])
        for end in range(1, whole.index('"')):
            self.cut([*GOOD[:3], whole[:end] + "\n", HEADING, line(1)], [1, 2, 1])

    def cut(self, lines: list[str], numbers: list[int]) -> None:
        """Hold that line 4 is left out, and reported."""
        trace = Trace(lines)
        self.assertEqual([request.number for request in trace], numbers)
        self.assertEqual(trace.cut_short, [4])

    def test_a_wrong_line_anywhere_else_is_an_error(self) -> None:
        """It names the line."""
        wrong = {
            "12\t17\n": "2 fields", "hello\n": "1 fields", line(3, kind="wrote"): "kind 'wrote'",
            line(3, start_ns="x"): "invalid literal", line(3, words="SET a"): "not whole",
        }  # fmt: skip
        for text, reason in wrong.items():
            error = self.assertRaises(NotATrace, self.read, [*GOOD[:3], text, *GOOD[4:]])
            self.assertIn("line 4 is no line of a trace", str(error))
            self.assertIn(reason, str(error))

    def test_a_whole_last_line_that_is_wrong_is_an_error(self) -> None:
        """Only one without its line end was cut short."""
        self.assertRaises(NotATrace, self.read, [*GOOD, "12\t17\n"])

    def test_requests_inside_multi_are_queued(self) -> None:
        """Until EXEC, DISCARD or RESET of that client; what runs at once inside a block keeps its kind."""

        def typed(number: int, client: int, words: str, kind: str = "other", outcome: str = "ok") -> str:
            return line(number, client, words=f'"{words}"', kind=kind, outcome=outcome)

        lines = [
            typed(1, 1, "multi"), typed(2, 1, "SET", "write"), typed(3, 2, "SET", "write"),
            typed(4, 1, "WATCH", "other", "ERR no"), typed(5, 1, "exec", "block"), typed(6, 1, "SET", "write"),
            typed(7, 1, "MULTI"), typed(8, 1, "GET", "read"), typed(9, 1, "DISCARD"), typed(10, 1, "GET", "read"),
        ]  # fmt: skip
        kinds = [request.kind for request in self.read(lines)]
        self.assertEqual(
            kinds, ["other", "queued", "write", "other", "block", "write", "other", "queued", "other", "read"]
        )


class ProgramTests(SynchronousTestCase):
    """The program: what it prints, its exit status, its pictures."""

    def run_on(self, lines: Iterable[str], *options: str) -> tuple[int, str, str]:
        """Run the program on a trace; returns exit status, stdout, stderr."""
        path = self.mktemp()
        Path(path).write_text("".join(lines))
        return self.run_program(path, *options)

    def run_program(self, *arguments: str) -> tuple[int, str, str]:
        """Run the program; returns exit status, stdout, stderr."""
        out, err = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", out)
        self.patch(sys, "stderr", err)
        try:
            status = program.main(arguments)
        except SystemExit as error:
            status = int(str(error.code))
        return status, out.getvalue(), err.getvalue()

    def test_a_right_trace(self) -> None:
        """Exit status 0, a summary, one line for each check."""
        lines = list(GOOD)
        lines[10] = line(10, 3, kind="read", outcome="ERR no such key")
        status, out, err = self.run_on(lines)
        self.assertEqual((status, err), (0, ""))
        self.assertIn("3 clients, 12 requests in 0.000 s (11 write, 1 read; 1 failed)\n", out)
        self.assertIn("4 commits, 2.8 writes in each (most 4)\n", out)
        self.assertIn("median 4.0 us", out)
        self.assertIn("ok      interleaved: 10 switches between clients", out)
        self.assertEqual(out.count("ok      "), 4)

    def test_a_wrong_trace(self) -> None:
        """Exit status 1, and the check that failed says where."""
        status, out, _ = self.run_on(GOOD[:5] + GOOD[6:])
        self.assertEqual(status, 1)
        self.assertIn("FAILED  no gaps: line 6: ", out)
        self.assertEqual(out.count("ok      "), 3)

    def test_every_run_is_judged(self) -> None:
        """A failure in the first is not hidden by a right second one."""
        status, out, _ = self.run_on([*GOOD[:5], *GOOD[6:], *GOOD])
        self.assertEqual((status, out.count("FAILED"), out.count("ok      ")), (1, 1, 7))
        self.assertIn("run 2 of 2\n", out)

    def test_a_line_cut_short_is_mentioned(self) -> None:
        """It is no failure."""
        status, out, _ = self.run_on([*GOOD, line(13, 2)[:20]])
        self.assertEqual(status, 0)
        self.assertIn("(line 14 was cut short when its server ended)", out)

    def test_what_is_no_trace(self) -> None:
        """One line on stderr, exit status 2."""
        for lines, reason in (
            ([], "has no requests"),
            ([HEADING], "has no requests"),
            ([HEADING, coming(0, 1, "connect")], "has no requests"),
            (["a\n", "b\n"], "line 1 is no"),
        ):
            status, _, err = self.run_on(lines)
            self.assertEqual((status, err.count("\n")), (2, 1))
            self.assertIn(reason, err)
        status, _, err = self.run_program("no-such-file")
        self.assertEqual(status, 2)
        self.assertIn("No such file", err)

    def test_any_bytes_are_told_from_a_trace(self) -> None:
        """A binary file is one line on stderr, too."""
        path = self.mktemp()
        Path(path).write_bytes(bytes(range(256)) * 4)
        status, _, err = self.run_program(path)
        self.assertEqual((status, err.count("\n")), (2, 1))

    def test_pictures(self) -> None:
        """A PNG and an SVG of the same stretch."""
        if not HAS_MATPLOTLIB:
            self.skipTest("matplotlib is not installed")
        png, svg = self.mktemp() + ".png", self.mktemp() + ".svg"
        status, out, err = self.run_on(GOOD, "--png", png, "--svg", svg, "--from", "3", "--requests", "5")
        self.assertEqual((status, err), (0, ""))
        self.assertIn(f"{png}: requests 3 to 7 of run 1\n", out)
        self.assertTrue(Path(png).read_bytes().startswith(b"\x89PNG\r\n"))
        drawn = Path(svg).read_text()
        for label in ("client 3", "all: one at a time", "write", "Requests 3 to 7"):
            self.assertIn(f"<!-- {label}", drawn)
        self.assertNotIn("connect", drawn)

    def test_clients_that_come_and_go_are_drawn(self) -> None:
        """Those of the stretch, also one that asks for nothing in it."""
        if not HAS_MATPLOTLIB:
            self.skipTest("matplotlib is not installed")
        svg = self.mktemp() + ".svg"
        lines = with_comings([*GOOD[:6], coming(5, 9, "connect"), coming(5, 9, "disconnect", "it broke"), *GOOD[6:]])
        status, _, err = self.run_on(lines, "--svg", svg, "--from", "1", "--requests", "50")
        self.assertEqual((status, err), (0, ""))
        drawn = Path(svg).read_text()
        for label in ("client 9", "connect ", "disconnect ", "Requests 1 to 12"):
            self.assertIn(f"<!-- {label}", drawn)

    def test_every_look_can_be_drawn(self) -> None:
        """Each kind, failures, more clients than there is room for names, a stretch without commits."""
        if not HAS_MATPLOTLIB:
            self.skipTest("matplotlib is not installed")
        kinds = ["write", "read", "block", "other"]
        lines = [
            line(number, number, kind=kinds[number % 4], commit=0, outcome="ERR no" if number % 7 == 0 else "ok")
            for number in range(1, 200)
        ]
        path = self.mktemp() + ".png"
        block = [line(200, 200, words='"MULTI"', kind="other"), line(201, 200), line(202, 200, kind="block")]
        status, _, err = self.run_on([*lines, *block], "--requests", "500", "--png", path)
        self.assertEqual((status, err), (1, ""))  # nobody was interrupted
        self.assertGreater(os.path.getsize(path), 0)

    def test_the_stretch_is_around_the_middle_write_unless_told(self) -> None:
        """That is where there are commits to be seen; --from and --run say otherwise."""
        if not HAS_MATPLOTLIB:
            self.skipTest("matplotlib is not installed")
        reads = [line(number, number % 3, kind="read", commit=0) for number in range(13, 60)]
        lines = [*GOOD, *reads, *GOOD]
        path = self.mktemp() + ".png"
        for options, expected in (
            (["--run", "1", "--requests", "4"], "requests 5 to 8 of run 1"),
            (["--run", "1", "--from", "50", "--requests", "100"], "requests 50 to 59 of run 1"),
            (["--requests", "100"], "requests 1 to 12 of run 2"),
        ):
            _, out, _ = self.run_on(lines, "--png", path, *options)
            self.assertIn(expected, out)

    def test_a_stretch_that_is_not_there(self) -> None:
        """The error says what is."""
        if not HAS_MATPLOTLIB:
            self.skipTest("matplotlib is not installed")
        for options, reason in ((["--from", "13"], "requests 1 to 12"), (["--run", "2"], "runs 1 to 1")):
            status, _, err = self.run_on(GOOD, "--png", self.mktemp() + ".png", *options)
            self.assertEqual(status, 2)
            self.assertIn(reason, err)

    def test_numbers_of_options_are_checked(self) -> None:
        """0 and words are refused."""
        for option in ("--from", "--requests", "--run"):
            for text in ("0", "-1", "x"):
                status, _, err = self.run_on(GOOD, f"{option}={text}")
                self.assertEqual(status, 2)
                self.assertIn("is not a number from 1 up", err)

    def test_the_script_itself(self) -> None:
        """It runs from any directory, on a relative path, with any Python."""
        path = self.mktemp()
        Path(path).write_text("".join(GOOD))
        done = subprocess.run(
            [SCRIPTS / "interleaving", path], capture_output=True, text=True, timeout=60,
            env={**os.environ, "PYTHON": sys.executable},
        )  # fmt: skip
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("ok      one at a time", done.stdout)
