"""The trace file and MONITOR: the lines they write, whom they show them to, and that neither can hurt the server."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

import kvstore.commands  # noqa: F401 - fills the command table
from kvstore.base.limits import MAX_LOGGED_BYTES, MAX_MONITORED_BYTES
from kvstore.base.reply import Reply
from kvstore.commands.client import Client
from kvstore.commands.peer import Nobody
from kvstore.commands.script_calls import ScriptCalls
from kvstore.edge.watching import TRACE_HEADING, Monitor, Trace, kind_of, monitor_line, shown, trace_line
from kvstore.session.hooks import Executed, Hooks
from kvstore.wire.words import split_words

#: A request as the session shows it; tests replace what they are about.
EXECUTED = Executed(
    number=12, client=7, database=0, address="127.0.0.1:50712", time_us=1_700_000_000_000_042, started_ns=5_000,
    ended_ns=9_000, words=[b"SET", b"zebra", b"1"], outcome="ok", commit=3,
)  # fmt: skip


def executed(*words: bytes, **fields: Any) -> Executed:
    """A request of client 7, made of these words."""
    return EXECUTED._replace(words=list(words), **fields)


class FakeClient(Nobody):
    """A client, and its connection, that keeps what is sent to it."""

    def __init__(self) -> None:
        self.monitoring = True
        self.pushed: list[tuple[Reply, int]] = []
        self.peer = self

    def send(self, message: Reply, needed: int) -> None:
        """See `Peer`."""
        self.pushed.append((message, needed))


class Monitored:
    """A `Monitor` of these clients. `clients`: by their numbers."""

    def __init__(self, **clients: FakeClient) -> None:
        self.hooks = Hooks()
        self.clients: dict[int, Any] = {int(name.removeprefix("client")): client for name, client in clients.items()}
        self.script_calls = ScriptCalls()
        self.monitor = Monitor(self.clients, self.hooks, self.script_calls)


class ShownTests(SynchronousTestCase):
    """How a request is put on one line."""

    def test_words_are_quoted_as_redis_quotes_them(self) -> None:
        """Every kind of byte looks as Valkey 9.1's MONITOR showed it."""
        words = [b"SET", b"", b'\x00\a\b\t\n\r"\\\x7f\xff 1 \x1b']
        self.assertEqual(shown(words, 100, 100), r'"SET" "" "\x00\a\b\t\n\r\"\\\x7f\xff 1 \x1b"')

    @given(st.lists(st.binary(max_size=40), min_size=1, max_size=5))
    def test_a_request_that_is_shown_whole_can_be_typed_in_again(self, words: list[bytes]) -> None:
        """The words grammar reads the very words back, and nothing in the line is a tab or a line end."""
        line = shown([b"ECHO", *words], 10_000, 10_000)
        self.assertTrue(line.isprintable() and line.isascii())
        self.assertEqual(split_words(line.encode(), {}), [b"ECHO", *words])

    def test_a_long_word_is_cut_and_what_is_left_out_is_counted(self) -> None:
        """At the limit nothing is cut; one more and it is."""
        self.assertEqual(shown([b"a" * 31], 100, 32), f'"{"a" * 31}"')
        self.assertEqual(shown([b"a" * 32], 100, 32), f'"{"a" * 32}"')
        self.assertEqual(shown([b"a" * 33], 100, 32), f'"{"a" * 32}... (1 more bytes)"')

    def test_a_word_is_not_cut_inside_an_escape(self) -> None:
        """Escapes count in full, so that binary words are cut sooner."""
        self.assertEqual(shown([b"\xff" * 8], 100, 32), '"' + r"\xff" * 8 + '"')
        self.assertEqual(shown([b"\xff" * 9], 100, 32), '"' + r"\xff" * 8 + '... (1 more bytes)"')
        self.assertEqual(shown([b"a" * 31 + b"\xff"], 100, 32), f'"{"a" * 8}... (24 more bytes)"')

    def test_many_words_are_cut_and_counted(self) -> None:
        """Words are shown until the limit for all of them is used up."""
        self.assertEqual(shown([b"MGET", b"a", b"b", b"c"], 8, 32), '"MGET" "a" ... (2 more arguments)')

    def test_passwords_are_not_shown(self) -> None:
        """AUTH hides all its arguments, HELLO the two after AUTH, however they are spelt; other words stay."""
        self.assertEqual(shown([b"auth", b"fred", b"secret"], 100, 32), '"auth" "(redacted)" "(redacted)"')
        hello = [b"HELLO", b"3", b"Auth", b"fred", b"secret", b"SETNAME", b"me"]
        self.assertEqual(shown(hello, 100, 32), '"HELLO" "3" "Auth" "(redacted)" "(redacted)" "SETNAME" "me"')
        self.assertEqual(shown([b"GET", b"AUTH", b"x"], 100, 32), '"GET" "AUTH" "x"')

    @given(st.lists(st.binary(max_size=200), min_size=1, max_size=30), st.integers(1, 300), st.integers(1, 300))
    def test_the_limit_holds_for_any_words(self, words: list[bytes], most: int, each: int) -> None:
        """The quotes count; besides, there are a space for each word (of two characters at least) and two notes."""
        self.assertLessEqual(len(shown(words, most, each)), 1.5 * most + 100)


class TraceLineTests(SynchronousTestCase):
    """One line of the trace."""

    def test_fields(self) -> None:
        """They stand in the order that the heading names, between tabs."""
        self.assertEqual(
            trace_line(EXECUTED),
            '12\t1700000000.000042\t5000\t9000\t7@127.0.0.1:50712\t3\twrite\tok\t"SET" "zebra" "1"\n',
        )
        self.assertEqual(len(TRACE_HEADING.partition(": ")[2].split()), trace_line(EXECUTED).count("\t") + 1)

    def test_kinds(self) -> None:
        """The kind is the command table's, for every spelling, subcommands and JSON methods too."""
        kinds = {
            (b"SET", b"a", b"1"): "write", (b"del", b"a"): "write", (b"insert", b"a", b"1"): "write",
            (b"GET", b"a"): "read", (b"Size",): "read", (b"EXEC",): "block", (b"MULTI",): "other",
            (b"CLIENT", b"ID"): "other", (b"CLIENT", b"NOSUCH"): "other", (b"NOSUCH",): "other",
        }  # fmt: skip
        self.assertEqual({words: kind_of(list(words)) for words in kinds}, kinds)

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


class MonitorTests(SynchronousTestCase):
    """MONITOR: who sees what."""

    def test_the_line_is_redis_s(self) -> None:
        """Time in seconds and microseconds, database 0, the address, the words."""
        self.assertEqual(
            monitor_line(executed(b"keys", b"*")).wire, b'+1700000000.000042 [0 127.0.0.1:50712] "keys" "*"\r\n'
        )

    def test_the_time_is_exact_for_any_microsecond(self) -> None:
        """A float of this size would round it."""
        self.assertTrue(
            monitor_line(executed(b"PING", time_us=99_999_999_999_999_999)).wire.startswith(b"+99999999999.999999 ")
        )

    def test_a_long_request_is_shown_in_part(self) -> None:
        """A value of the limit is shown whole; a longer one is not copied for every client that watches."""
        for length, is_cut in (
            (MAX_MONITORED_BYTES - 1, False),
            (MAX_MONITORED_BYTES, False),
            (MAX_MONITORED_BYTES + 1, True),
        ):
            self.assertEqual("more bytes" in monitor_line(executed(b"x" * length)).text, is_cut)
        self.assertLess(len(monitor_line(executed(b"SET", b"k", b"\0" * 10_000_000)).text), MAX_MONITORED_BYTES + 200)

    def test_all_monitors_see_a_request_except_the_one_that_sent_it(self) -> None:
        """Its own line would be ahead of its reply. Nobody sees it before the commit that its reply waits for."""
        own, other = FakeClient(), FakeClient()
        all_ = Monitored(client7=own, client8=other)
        monitor = all_.monitor
        monitor.add(7)
        monitor.add(8)
        monitor(EXECUTED)
        self.assertEqual((own.pushed, other.pushed), ([], [(monitor_line(EXECUTED), EXECUTED.commit)]))

    def test_what_a_script_asks_for_stands_behind_its_request(self) -> None:
        """In a line of its own, with `lua` for an address; in front of the EXEC that a script's block ends in."""
        all_ = Monitored(client8=FakeClient())
        all_.monitor.add(8)
        for request in (b"EVAL", b"EXEC"):
            all_.script_calls.note(3, [b"get", b"k"])
            all_.monitor(executed(request))
        texts = [line.text.partition(" ")[2] for line, _ in all_.clients[8].pushed]
        script = '[3 lua] "get" "k"'
        self.assertEqual(texts, ['[0 127.0.0.1:50712] "EVAL"', script, script, '[0 127.0.0.1:50712] "EXEC"'])

    def test_nothing_is_gathered_while_nobody_watches(self) -> None:
        """It is a watcher from the first client in MONITOR until the last is gone."""
        all_ = Monitored(client8=FakeClient())
        monitor = all_.monitor
        self.assertEqual(all_.hooks.watchers, [])
        monitor.add(8)
        monitor.add(8)
        self.assertEqual(all_.hooks.watchers, [monitor])
        del all_.clients[8]
        monitor(EXECUTED)
        self.assertEqual(all_.hooks.watchers, [])

    def test_a_client_that_left_does_not_end_it_for_the_others(self) -> None:
        """The next request finds that it is gone; the others see that request."""
        stays = FakeClient()
        all_ = Monitored(client8=FakeClient(), client9=stays)
        monitor = all_.monitor
        monitor.add(8)
        monitor.add(9)
        del all_.clients[8]
        monitor(EXECUTED)
        self.assertEqual((len(stays.pushed), all_.hooks.watchers), (1, [monitor]))

    def test_a_client_that_left_monitor_by_reset_sees_no_more(self) -> None:
        """And may come back."""
        client = FakeClient()
        all_ = Monitored(client8=client)
        monitor = all_.monitor
        monitor.add(8)
        client.monitoring = False
        monitor(EXECUTED)
        client.monitoring = True
        monitor.add(8)
        monitor(EXECUTED)
        self.assertEqual((len(client.pushed), all_.hooks.watchers), (1, [monitor]))

    def test_a_client_dropped_while_it_is_shown_a_line(self) -> None:
        """A push may end that connection, or another in MONITOR; nothing is raised and the rest are shown the line."""
        gone, stays = FakeClient(), FakeClient()
        all_ = Monitored(client8=gone, client9=stays)
        gone.send = lambda message, needed: all_.clients.pop(8)  # type: ignore[method-assign]
        monitor = all_.monitor
        monitor.add(8)
        monitor.add(9)
        monitor(EXECUTED)
        monitor(EXECUTED)
        self.assertEqual(len(stays.pushed), 2)
