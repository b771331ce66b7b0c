"""The trace file: its lines, and that it cannot hurt the server."""

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

import kvstore.commands  # noqa: F401 - fills the command table
from kvstore.base.limits import MAX_LOGGED_BYTES
from kvstore.commands.client import Client
from kvstore.edge.trace import TRACE_HEADING, Trace, trace_line
from tests.kit.executed import EXECUTED, executed


class TraceLineTests(SynchronousTestCase):
    """One line of the trace."""

    def test_fields(self) -> None:
        """They stand in the order that the heading names, between tabs."""
        self.assertEqual(
            trace_line(EXECUTED),
            '12\t1700000000.000042\t5000\t9000\t7@127.0.0.1:50712\t3\twrite\tok\t"SET" "zebra" "1"\n',
        )
        self.assertEqual(len(TRACE_HEADING.partition(": ")[2].split()), trace_line(EXECUTED).count("\t") + 1)

    @given(st.lists(st.binary(max_size=200), min_size=1, max_size=20), st.text(max_size=300), st.text(max_size=20))
    def test_hostile_words_errors_and_addresses_stay_in_their_fields(
        self, words: list[bytes], outcome: str, address: str
    ) -> None:
        """Whatever a client sends, the line is one line of nine fields of printable ASCII, and not long."""
        line = trace_line(executed(*words, outcome=outcome, address=address))
        self.assertEqual((line.count("\t"), line.count("\n"), line[-1]), (8, 1, "\n"))
        self.assertTrue(line.isascii() and line.replace("\t", "").replace("\n", "").isprintable())
        self.assertLess(len(line), 2000)

    def test_an_error_is_cut(self) -> None:
        """At most MAX_LOGGED_BYTES of it are shown."""
        for length in (MAX_LOGGED_BYTES - 1, MAX_LOGGED_BYTES, MAX_LOGGED_BYTES + 1):
            outcome = trace_line(executed(b"GET", outcome="e" * length)).split("\t")[7]
            self.assertEqual(outcome, "e" * min(length, MAX_LOGGED_BYTES))


class TraceTests(SynchronousTestCase):
    """The trace file."""

    def read(self, path: str) -> str:
        """What is in the file now."""
        with open(path, encoding="ascii") as file:
            return file.read()

    def test_every_line_is_in_the_file_at_once(self) -> None:
        """Nothing waits in the process, where kill -9 would lose it."""
        path = self.mktemp()
        trace = Trace(path)
        self.addCleanup(trace.close)
        trace(EXECUTED)
        self.assertEqual(self.read(path), TRACE_HEADING + "\n" + trace_line(EXECUTED))

    def test_a_second_server_appends_under_a_heading_of_its_own(self) -> None:
        """Even behind a line that was cut short."""
        path = self.mktemp()
        with open(path, "w", encoding="ascii") as file:
            file.write(TRACE_HEADING + "\n12\t17000")
        trace = Trace(path)
        trace.close()
        self.assertEqual(self.read(path), f"{TRACE_HEADING}\n12\t17000\n{TRACE_HEADING}\n")

    def test_a_file_that_cannot_be_opened_is_an_error_of_the_start(self) -> None:
        """A directory is no trace file."""
        self.assertRaises(OSError, Trace, os.getcwd())

    def test_a_trace_that_cannot_be_written_ends_and_says_so(self) -> None:
        """The request goes on; the log has one line; later requests are not tried."""
        path = self.mktemp()
        trace = Trace(path)
        trace(EXECUTED)
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, trace._descriptor)
        os.close(full)
        with capturedLogs() as events:
            trace(EXECUTED._replace(number=13))
            trace(EXECUTED._replace(number=14))
            trace.left(Client(7, "here:1", "", 0), "ok")
        self.assertEqual([event["log_level"] for event in events], [LogLevel.error])
        self.assertIn("ends with request 12: No space left on device", formatEvent(events[0]))
        self.assertEqual(self.read(path), TRACE_HEADING + "\n" + trace_line(EXECUTED))

    def test_clients_that_come_and_go(self) -> None:
        """A line each: after the request before it, at one moment, with how the connection ended."""
        path = self.mktemp()
        trace = Trace(path, lambda: 1_700_000_000_000_042, lambda: 12_000)
        self.addCleanup(trace.close)
        client = Client(7, "127.0.0.1:50712", "127.0.0.1:6380", 0)
        trace.came(client)
        trace(EXECUTED)
        trace.left(client, "it\tbroke")
        self.assertEqual(self.read(path).splitlines()[1::2], [
            '0\t1700000000.000042\t12000\t12000\t7@127.0.0.1:50712\t0\tconnect\tok\t""',
            '12\t1700000000.000042\t12000\t12000\t7@127.0.0.1:50712\t0\tdisconnect\tit\\tbroke\t""',
        ])  # fmt: skip

    def test_a_trace_of_an_older_version_is_gone_on_with(self) -> None:
        """Each part says its version."""
        path = self.mktemp()
        with open(path, "w", encoding="ascii") as file:
            file.write("# kvstore trace 1: number\n")
        Trace(path).close()
        self.assertEqual(self.read(path), f"# kvstore trace 1: number\n\n{TRACE_HEADING}\n")

    def test_a_pipe_without_a_reader_is_refused_at_the_start(self) -> None:
        """Opening it would wait for a reader, and no client would be served."""
        path = self.mktemp()
        os.mkfifo(path)
        self.assertRaises(OSError, Trace, path)

    def test_a_pipe_whose_reader_is_slow_ends_the_trace(self) -> None:
        """Nobody waits for the reader."""
        path = self.mktemp()
        os.mkfifo(path)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reader)
        trace = Trace(path)
        for _ in range(2000):  # a pipe holds 64 KiB
            trace(EXECUTED)
        self.assertEqual(os.read(reader, len(TRACE_HEADING)).decode(), TRACE_HEADING)

    def test_closed_twice_and_called_after(self) -> None:
        """The order in which a server stops does not matter."""
        path = self.mktemp()
        trace = Trace(path)
        trace.close()
        trace.close()
        trace(EXECUTED)
        self.assertEqual(self.read(path), TRACE_HEADING + "\n")
