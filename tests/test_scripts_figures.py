"""What scripts/figures stands on: the closed loop, the report's files, the command line; and one figure, very short."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import socket
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from scripts.measuring import program
from scripts.measuring.bench import FULL, QUICK, in_turns
from scripts.measuring.load import ClosedLoop, Request, Source, WrongReply, gets, half_gets_half_sets, inserts, sets
from scripts.measuring.results import JSON_NAME, MARKDOWN_NAME, Check, Result, Table, save


class _Scripted:
    """A server for one connection: answers each thing it receives with the next of `pieces`, and notes what came."""

    def __init__(self, pieces: Iterable[list[bytes]]) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.received: list[bytes] = []
        self._thread = threading.Thread(target=self._serve, args=(pieces,), daemon=True)
        self._thread.start()

    def _serve(self, pieces: Iterable[list[bytes]]) -> None:
        connection, _ = self._listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection:
            for answer in pieces:
                data = connection.recv(1 << 16)
                if not data:
                    return
                self.received.append(data)
                for piece in answer:
                    connection.sendall(piece)

    def stop(self) -> None:
        """Wait until the connection is over."""
        self._thread.join(10)
        self._listener.close()


def _pings() -> Source:
    return Source("PING", itertools.repeat(Request(b"PING\r\n", b"+PONG\r\n", 7)))


class ClosedLoopTests(SynchronousTestCase):
    """One request at a time on each connection, every reply checked."""

    def _loop(self, pieces: Iterable[list[bytes]]) -> ClosedLoop:
        self.server = _Scripted(pieces)
        loop = ClosedLoop(self.server.port, [_pings()])
        self.addCleanup(self.server.stop)
        self.addCleanup(loop.close)
        return loop

    def test_counts_every_request_that_was_answered(self) -> None:
        """Also those whose replies come in pieces; when it is to stop, it waits for the last."""
        loop = self._loop(itertools.cycle([[b"+PONG\r\n"], [b"+PO", b"NG\r\n"]]))
        loop.run(lambda: len(self.server.received) < 20)
        self.assertGreaterEqual(len(loop.latencies["PING"]), 20)
        self.assertEqual(len(loop.latencies["PING"]), len(self.server.received))
        self.assertEqual(set(self.server.received), {b"PING\r\n"})
        self.assertGreater(min(loop.total().took), 0)

    def test_refuses_a_wrong_reply(self) -> None:
        """An error, a reply too long and a closed connection make the measurement worthless."""
        for answer in ([b"-ERR no\r\n"], [b"+PONG\r\n+PONG\r\n"], [b""]):
            loop = self._loop([[b"+PONG\r\n"], answer])
            self.assertRaises(WrongReply, loop.run_for, 10)

    def test_goes_on_where_it_stopped(self) -> None:
        """A second run has latencies of its own."""
        loop = self._loop(itertools.repeat([b"+PONG\r\n"]))
        loop.run_for(0.01)
        before = len(self.server.received)
        loop.run_for(0.01)
        self.assertEqual(len(loop.total()), len(self.server.received) - before)

    def test_quantiles_are_those_of_all_requests(self) -> None:
        """Nearest rank; without a request there is none to tell."""
        loop = self._loop(itertools.repeat([b"+PONG\r\n"]))
        loop.run_for(0.01)
        latencies = loop.total()
        self.assertEqual(latencies.quantiles_ms(0, 1), [min(latencies.took) / 1e6, max(latencies.took) / 1e6])
        del latencies.took[:]
        self.assertRaises(ValueError, latencies.quantiles_ms, 0.5)


class RequestTests(SynchronousTestCase):
    """The requests that the loops send are what they are said to be."""

    def test_sets_and_gets_agree(self) -> None:
        """A GET expects as many bytes as a SET wrote, under the same keys."""
        written, read = next(sets(1, 100, 0).requests), next(gets(1, 100, 0).requests)
        self.assertTrue(written.data.startswith(b"*3\r\n$3\r\nSET\r\n$16\r\nkey:000000000000\r\n$100\r\n"))
        self.assertEqual(len(written.data), len(b"*3\r\n$3\r\nSET\r\n$16\r\nkey:000000000000\r\n$100\r\n") + 102)
        self.assertEqual(read, Request(b"*2\r\n$3\r\nGET\r\n$16\r\nkey:000000000000\r\n", b"$100\r\n", 108))

    def test_inserts_are_json_lines_with_new_keys(self) -> None:
        """Each has an id, which its reply repeats, and a document of some 100 bytes."""
        first, second = itertools.islice(inserts(3).requests, 2)
        one, two = json.loads(first.data), json.loads(second.data)
        self.assertEqual((one["method"], one["id"], two["id"]), ("insert", 0, 1))
        self.assertNotEqual(one["key"], two["key"])
        self.assertEqual(json.loads(second.begins), {"result": "success", "id": 1})
        self.assertTrue(80 < len(json.dumps(one["value"], separators=(",", ":"))) < 120)

    def test_half_of_the_clients_read(self) -> None:
        """Every other one."""
        self.assertEqual([source.kind for source in half_gets_half_sets(4, 10, 3)], ["GET", "SET", "GET", "SET"])


class TurnTests(SynchronousTestCase):
    """Who measures first."""

    def test_each_side_begins_in_its_turn(self) -> None:
        """Nobody always has the machine first."""
        self.assertEqual([in_turns("ab", number) for number in range(3)], [["a", "b"], ["b", "a"], ["a", "b"]])


def _result(title: str, *, reached: bool = True) -> Result:
    table = Table("Rates", ["", "a", "b"], [["SET", "1", "22"], ["GET", "333", "4"]])
    return Result(title, "How.", [table], [Check("rate", "1", "at least 1", reached)], {"turns": [1, 2]})


class ReportTests(SynchronousTestCase):
    """The report's two files."""

    def test_keeps_what_was_not_measured_again(self) -> None:
        """A figure replaces its own part only; both files have all of them."""
        directory = Path(self.mktemp())
        save(directory, "one", _result("First"), {"command": "scripts/figures one"})
        save(directory, "two", _result("Second"), {"command": "scripts/figures two"})
        save(directory, "one", _result("Third", reached=False), {"command": "scripts/figures one"})
        figures = json.loads((directory / JSON_NAME).read_text())
        self.assertEqual([figures[name]["title"] for name in ("one", "two")], ["Third", "Second"])
        self.assertEqual(figures["one"]["raw"], {"turns": [1, 2]})
        text = (directory / MARKDOWN_NAME).read_text()
        self.assertNotIn("First", text)
        for part in ("## one: Third", "## two: Second", "- command: `scripts/figures two`", "| SET | 1 | 22 |",
                     "| rate | 1 | at least 1 | NO |", "| rate | 1 | at least 1 | yes |"):  # fmt: skip
            self.assertIn(part, text)

    def test_columns_stand_under_each_other(self) -> None:
        """On a terminal: names to the left, numbers to the right."""
        lines = _result("x").tables[0].as_text().splitlines()
        self.assertEqual(lines[2:], ["       a   b", "---  ---  --", "SET    1  22", "GET  333   4"])


class CommandLineTests(SynchronousTestCase):
    """What can be asked of scripts/figures."""

    def test_efforts(self) -> None:
        """The full one unless --quick; each number may be given."""
        self.assertEqual(program.parse_arguments("", []).effort, FULL)
        self.assertEqual(program.parse_arguments("", ["--quick"]).effort, QUICK)
        effort = program.parse_arguments("", ["--rounds", "7", "--idle", "2"]).effort
        self.assertEqual((effort.rounds, effort.idle, effort.keys), (7, 2, FULL.keys))

    def test_bad_values_end_it(self) -> None:
        """An unknown figure, a number that is not over 0, a directory that is not there."""
        for words in (["nonsense"], ["--rounds", "0"], ["--seconds", "-1"], ["--directory", "/no/such/place"]):
            errors = io.StringIO()
            with contextlib.redirect_stderr(errors):
                self.assertRaises(SystemExit, program.parse_arguments, "", words)
            self.assertIn("error:", errors.getvalue())

    def test_measures_groups(self) -> None:
        """A figure from the command line to the report: real servers, all columns, the check against its target."""
        out = self.mktemp()
        words = ["figures", "groups", "--quick", "--rounds", "1", "--seconds", "0.1", "--out", os.path.abspath(out)]
        output = io.StringIO()
        with mock.patch.object(sys, "argv", words), contextlib.redirect_stdout(output):
            status = program.main("")
        self.assertEqual(status, 0, output.getvalue())
        figure = json.loads(Path(out, JSON_NAME).read_text())["groups"]
        grouped, single = figure["raw"]["group commit"][0], figure["raw"]["one sync per request"][0]
        self.assertEqual(single["group"], 1.0)
        self.assertGreater(grouped["group"], 1.0)
        self.assertEqual(figure["about"]["command"].split()[:2], ["scripts/figures", "groups"])
        self.assertIn("Against the targets", output.getvalue())
