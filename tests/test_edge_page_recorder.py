"""Recording requests as they execute: what is noted of each, when a recording ends, and that nothing stays watched."""

from __future__ import annotations

from unittest.mock import patch

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.limits import MAX_RECORDED_KEYS
from kvstore.commands.registry import table
from kvstore.edge.page.recorder import Recorder, Recording, named
from kvstore.wire.resp import pack
from tests.kit.edge import GatheringTestCase, LateWriter, TellingReactor


class ReactorWithTimers(TellingReactor):
    """One that tells when a turn ends, and has a clock."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.callLater = clock.callLater


class RecorderTestCase(GatheringTestCase):
    """A recorder of a server. `found`: the recordings so far."""

    most_requests = 4

    def setUp(self) -> None:
        """Make it, with a clock that each look moves on."""
        super().setUp()
        self.looks = 0
        self.server.steady_ns = self.look
        self.recorder = Recorder(self.factory, self.most_requests)
        self.found: list[Recording] = []

    def reactor(self) -> TellingReactor:
        """See `ProtocolTestCase`."""
        self.telling = ReactorWithTimers(self.clock)
        self.telling.was_idle = True
        return self.telling

    def look(self) -> int:
        """The steady clock."""
        self.looks += 1
        return self.looks

    def record(self) -> None:
        """Begin."""
        self.recorder.record(1.0).addCallback(self.found.append)

    def recorded(self) -> Recording:
        """The only recording, when its time, and that of grace, is over."""
        self.clock.pump([1, 1])
        (recording,) = self.found
        return recording

    def assert_not_watched(self) -> None:
        """Nobody watches anything."""
        self.assertEqual((self.hooks.watchers, self.commit.watchers, self.factory.turn.flushed), ([], [], []))


class NotedTests(RecorderTestCase):
    """What is noted."""

    most_requests = 3

    def test_a_write_and_a_read(self) -> None:
        """Each with its client, its times in order, its commit, and when that was on disk and the reply left."""
        first, second = self.connect(), self.connect()
        self.record()
        first.send(pack(b"SET", b"zebra", b"secret value"))
        second.send(pack(b"GET", b"other"))
        second.send(pack(b"SET", b"b", b"1"))
        self.turn()
        recording = self.recorded()
        write, read, _ = recording.requests
        self.assertEqual([write.client, read.client], [1, 2])
        self.assertEqual((write.command, write.keys, write.kind), ("SET", ('"zebra"',), "write"))
        self.assertEqual((read.command, read.kind, read.commit, write.error), ("GET", "read", 0, ""))
        commit = recording.commits[write.commit]
        self.assertEqual(commit.requests, 2)
        assert commit.left_ns is not None and read.left_ns is not None
        self.assertLess(write.started_ns, write.ended_ns)
        self.assertLess(write.ended_ns, read.started_ns)
        self.assertLess(write.ended_ns, commit.left_ns)
        self.assert_not_watched()

    def test_no_values(self) -> None:
        """Of what clients say the names of commands and keys are noted, nothing else; of errors the code."""
        client = self.connect()
        self.record()
        client.send(pack(b"AUTH", b"user", b"password") + pack(b"NONSENSE", b"secret") + pack(b"GET", b"a", b"extra"))
        self.turn()
        noted = [(each.command, each.keys, each.error[:5]) for each in self.recorded().requests]
        self.assertEqual(noted, [("AUTH", (), "error"), ("", (), "error"), ("GET", (), "error")])

    def test_keys_are_few_and_short(self) -> None:
        """A key is cut and quoted, and of many keys the first are shown."""
        client = self.connect()
        self.record()
        client.send(pack(b"MGET", b"k" * 100, b'"\n', b"c", b"d", b"e"))
        self.turn()
        keys = self.recorded().requests[0].keys
        self.assertEqual(keys[1:], (r'"\"\n"', '"c"', "and 2 more"))
        self.assertLess(len(keys[0]), 70)

    def test_who_waits(self) -> None:
        """The reply to a request that waits for others has not left."""
        client = self.connect()
        self.record()
        client.send(pack(b"BLPOP", b"queue", b"0"))
        self.turn()
        self.assertIsNone(self.recorded().requests[0].left_ns)

    def test_whose_it_is(self) -> None:
        """Clients have their name or their address; one that is gone is told so; quiet ones are known too."""
        named, other, gone = self.connect(), self.connect(), self.connect()
        named.send(pack(b"CLIENT", b"SETNAME", b"shop"))
        self.record()
        gone.send(pack(b"PING"))
        other.send(pack(b"PING"))
        gone.lose(ConnectionError())
        self.turn()
        self.assertEqual(self.recorded().clients, {1: "1 shop", 2: "2 127.0.0.1:50002", 3: "3 (gone)"})
        self.assertEqual(self.recorded().connected, 2)


class EndTests(RecorderTestCase):
    """When a recording ends."""

    def test_full(self) -> None:
        """With its last request others go the fast way again."""
        client = self.connect()
        self.record()
        client.send(pack(b"PING") * 3)
        self.assertTrue(self.recorder.is_watching)
        client.send(pack(b"PING") * 3)
        self.assertEqual((self.recorder.is_watching, self.hooks.watchers), (False, []))
        self.turn()
        self.assertEqual(len(self.recorded().requests), 4)
        self.assert_not_watched()

    def test_time_is_over(self) -> None:
        """It has what there was; of a server that nobody asks anything, nothing."""
        self.record()
        self.clock.advance(0.9)
        self.assertEqual(self.found, [])
        self.assertEqual(self.recorded().requests, [])
        self.assert_not_watched()

    def test_late_commit(self) -> None:
        """After the last request the commits of those that were noted are waited for, and requests are not watched."""
        writer = LateWriter(self.store)
        self.commit._writer = writer
        client = self.connect()
        self.record()
        client.send(pack(b"SET", b"a", b"1") * 4)
        self.turn()
        self.assertEqual((self.found, self.hooks.watchers), ([], []))
        writer.finish()
        self.turn()
        self.assertIn(self.recorded().requests[-1].commit, self.recorded().commits)
        self.assert_not_watched()

    def test_very_late_commit(self) -> None:
        """Not for long: a disk that hangs is no reason to show nothing."""
        self.commit._writer = LateWriter(self.store)
        client = self.connect()
        self.record()
        client.send(pack(b"SET", b"a", b"1") * 4)
        self.turn()
        self.assertEqual((len(self.recorded().requests), self.recorded().commits), (4, {}))
        self.assert_not_watched()

    def test_two_who_look(self) -> None:
        """Share a recording; the one who leaves does not end it for the other."""
        self.record()
        leaving = self.recorder.record(1.0)
        leaving.addErrback(lambda _: None)
        leaving.cancel()
        self.assertTrue(self.recorder.is_watching)
        self.clock.advance(1)
        self.assertEqual(len(self.found), 1)

    def test_nobody_looks_any_more(self) -> None:
        """Then it ends at once; and another can begin."""
        leaving = self.recorder.record(1.0)
        leaving.addErrback(lambda _: None)
        leaving.cancel()
        self.assert_not_watched()
        self.record()
        self.clock.advance(1)
        self.assertEqual(len(self.found), 1)

    def test_the_server_stops(self) -> None:
        """It lets go of its watchers, which is no trouble."""
        self.record()
        self.hooks.watchers.clear()
        self.assertEqual(self.recorded().requests, [])
        self.assert_not_watched()

    def test_a_bug(self) -> None:
        """Where a request is noted, or a commit: the client gets its reply, the server goes on, nothing is watched."""
        client = self.connect()
        for name in ("kind_of", "Committed"):
            self.record()
            with patch(f"kvstore.edge.page.recorder.{name}", side_effect=ZeroDivisionError):
                client.send(pack(b"SET", b"a", b"1"))
                self.turn()
            self.assertEqual((client.received(), self.faults), (b"+OK\r\n", []), name)
            self.assert_not_watched()
            self.clock.pump([1, 1])
        self.assertEqual(len(self.found), 2)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)


class NamedTests(SynchronousTestCase):
    """The names of commands and keys."""

    def test_any_words(self) -> None:
        """Whatever words a command is asked for with: no error, and nothing but words that it calls keys."""
        for row in table.all_rows():
            name = [word.encode() for word in row.name.split("|")]
            for filler in (b"x", b"1", b"-1", b"STREAMS"):
                for count in range(8):
                    command, keys = named([*name, *[filler] * count])
                    self.assertIn(command, (row.name.replace("|", " "), ""))
                    self.assertLessEqual(len(keys), MAX_RECORDED_KEYS + 1)

    def test_no_passwords(self) -> None:
        """Of what says one only the command is told."""
        for words in ([b"AUTH", b"p"], [b"HELLO", b"3", b"AUTH", b"u", b"p"], [b"ACL", b"SETUSER", b"u", b">p"],
                      [b"CONFIG", b"SET", b"requirepass", b"p"]):  # fmt: skip
            self.assertEqual(named(words)[1], (), words)
