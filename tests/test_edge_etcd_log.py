"""The shared log over an etcd in memory: what is appended is there once, whatever becomes of requests and answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.limits import KIB, MAX_ETCD_REPLY_BYTES, MIB
from kvstore.base.shared_log import Appended, Entries, Note, Size, Trimmed
from kvstore.edge.etcd import layout, reading, trimming
from kvstore.edge.etcd.layout import Keys, Parts, entry_of, value_of
from kvstore.edge.etcd.log import EtcdLog
from tests.kit.fake_etcd import FakeEtcd, Health

THERE, FENCED, LOST = Appended.THERE, Appended.FENCED, Appended.LOST

#: Longer than one try at each node takes.
_ROUND_S = 2.0


class LogTestCase(SynchronousTestCase):
    """A log whose parts have ten bytes."""

    def setUp(self) -> None:
        """Make it."""
        self.patch(layout, "PART_BYTES", 10)
        self.clock = Clock()
        self.etcd = FakeEtcd(self.clock)
        self.keys = Keys("shop")
        self.log = self.open()

    def open(self) -> EtcdLog:
        """Another one's view of it."""
        return EtcdLog(self.clock, self.etcd.places, "shop")

    def wait(self, seconds: float = 0.5) -> None:
        """Let time go by."""
        self.clock.pump([0.01] * int(seconds / 0.01))

    def asked(self, method: Callable[..., object], *arguments: Any) -> Any:
        """What a method gives to its last argument, which is called once, but never at once."""
        given: list[Any] = []
        method(*arguments, lambda *what: given.append(what[0] if what else None))
        self.assertEqual(given, [])
        self.wait()
        self.assertEqual(len(given), 1)
        return given[0]

    def append(self, position: int, entry: bytes, log: EtcdLog | None = None) -> Appended:
        """Append."""
        outcome: Appended = self.asked((log or self.log).append, position, entry)
        return outcome

    def fill(self, count: int) -> dict[int, bytes]:
        """So many entries, each third of which is in parts; what they are."""
        entries = {position: b"%d" % position * (30 if position % 3 == 0 else 1) for position in range(1, count + 1)}
        for position, entry in entries.items():
            self.assertIs(self.append(position, entry), THERE)
        return entries

    def read_all(self, position: int) -> dict[int, bytes]:
        """What is read from there on, to the end."""
        found: dict[int, bytes] = {}
        while True:
            read = self.asked(self.log.read, position)
            found.update(read.entries)
            position += len(read.entries)
            if position > read.head:
                return found


class AppendTests(LogTestCase):
    """There, or fenced."""

    def test_there_and_fenced(self) -> None:
        """The next position is there, again too; no other entry at it."""
        self.assertEqual([self.append(1, b"a"), self.append(2, b"b"), self.append(2, b"b")], [THERE] * 3)
        self.assertEqual([self.append(p, b"x") for p in (1, 2)], [FENCED] * 2)
        self.assertEqual(self.read_all(1), {1: b"a", 2: b"b"})
        self.assertEqual(self.etcd.values[self.keys.head], b"%016x" % 2)

    def test_large(self) -> None:
        """As many parts as it takes, and none is left out; the same for what is there again or fenced."""
        for position, length in enumerate((10, 11, 20, 21, 199), 1):
            entry = bytes(range(length))
            self.assertEqual([self.append(position, entry), self.append(position, entry)], [THERE, THERE])
            self.assertIs(self.append(position, bytes(length)), FENCED)
            self.assertEqual(self.read_all(position), {position: entry})
        parts = [key for key in self.etcd.values if b"/part/" in key]
        self.assertEqual(len(parts), 0 + 2 + 2 + 3 + 20)

    def test_answer_lost(self) -> None:
        """It is done, and nobody says so: the next node's answer tells."""
        for position, entry in ((1, b"a"), (2, b"b" * 25)):
            self.etcd.nodes[0].health = Health.MUTE
            log = self.open()
            outcomes: list[Appended] = []
            log.append(position, entry, outcomes.append)
            self.wait(_ROUND_S)
            self.assertEqual(outcomes, [THERE])
            self.etcd.nodes[0].health = Health.WELL
            self.assertEqual(self.read_all(position), {position: entry})

    def test_answer_lost_and_others_went_on(self) -> None:
        """It was there, and more is behind it by now."""
        for node in self.etcd.nodes:
            node.health = Health.MUTE
        late = self.open()
        outcomes: list[Appended] = []
        late.append(1, b"a", outcomes.append)
        self.wait(_ROUND_S)
        for node in self.etcd.nodes:
            node.health = Health.WELL
        self.assertIs(self.append(2, b"b"), THERE)
        self.wait(_ROUND_S)
        self.assertEqual(outcomes, [THERE])

    def test_another_one_came_first(self) -> None:
        """While all nodes stood still."""
        for node in self.etcd.nodes:
            node.health = Health.SILENT
        late = self.open()
        outcomes: list[Appended] = []
        late.append(1, b"late", outcomes.append)
        for node in self.etcd.nodes:
            node.health = Health.WELL
        self.assertIs(self.append(1, b"first"), THERE)
        self.wait(_ROUND_S)
        self.assertEqual(outcomes, [FENCED])

    def test_entries_that_etcd_has_lost(self) -> None:
        """It was set back: nothing is appended, and the log says what is missing."""
        self.fill(4)
        self.etcd.values[self.keys.head] = b"%016x" % 2
        with capturedLogs() as logged:
            self.assertIs(self.append(5, b"5"), LOST)
        self.assertEqual([each["log_level"] for each in logged if "lost" in each["log_format"]], [LogLevel.critical])


class ReadTests(LogTestCase):
    """Entries from a position on."""

    def test_pieces(self) -> None:
        """More than one read asks for; one in parts comes alone."""
        entries = self.fill(40)
        self.assertEqual(self.read_all(1), entries)
        self.assertEqual(self.read_all(38), {position: entries[position] for position in (38, 39, 40)})
        self.assertEqual(self.asked(self.log.read, 39), Entries([(39, entries[39])], 40))

    def test_how_much(self) -> None:
        """Short entries are read forty at a time, in the end, and long ones few by few."""
        self.assertLess(reading._MOST_COUNT * 4 / 3 * (layout.PART_BYTES + KIB), MAX_ETCD_REPLY_BYTES)
        self.patch(layout, "PART_BYTES", MIB)
        for position in range(1, 101):
            self.etcd.values[self.keys.entry(position)] = value_of(b"x" if position <= 50 else bytes(128 * KIB))
        self.etcd.values[self.keys.head] = b"%016x" % 100
        self.etcd.values[self.keys.first] = b"%016x" % 1
        self.assertEqual([len(self.asked(self.log.read, 1).entries) for _ in range(4)], [4, 16, 40, 40])
        self.assertEqual([len(self.asked(self.log.read, 51).entries) for _ in range(2)], [40, 8])

    def test_nothing(self) -> None:
        """Of an empty log, and behind the end of another."""
        self.assertEqual(self.asked(self.log.read, 1), Entries([], 0))
        self.fill(2)
        self.assertEqual(self.asked(self.log.read, 3), Entries([], 2))
        self.assertEqual(self.asked(self.log.read, 9), Entries([], 2))

    def test_damage(self) -> None:
        """An entry that is missing, or a part of one: nothing is made up, and the log says so."""
        self.fill(4)
        for key in (self.keys.entry(2), next(key for key in self.etcd.values if b"/part/" in key)):
            del self.etcd.values[key]
        with capturedLogs() as logged:
            self.assertEqual(self.asked(self.log.read, 1).entries, [(1, b"1")])
            self.assertEqual(self.asked(self.log.read, 2), Entries([], 4))
            self.assertEqual(self.asked(self.log.read, 3), Entries([], 4))
        self.assertEqual(len([each for each in logged if "damaged" in each["log_format"]]), 2)

    def test_trimmed_meanwhile(self) -> None:
        """While an entry is put together."""
        self.fill(4)
        given: list[Any] = []
        self.log.read(3, given.append)
        self.clock.advance(0.01)
        other = self.open()
        other.trim(4, lambda: None)
        self.wait()
        self.assertEqual(given, [Trimmed(4)])


class TrimTests(LogTestCase):
    """The beginning goes."""

    def test_all_before(self) -> None:
        """Entries and parts, those of fenced ones too, in slices; then etcd's history. Others are told."""
        entries = self.fill(10)
        self.append(6, b"fenced" * 10)
        with mock.patch.object(trimming, "_AT_ONCE", 2):
            self.asked(self.log.trim, 8)
        self.assertEqual(self.asked(self.log.read, 7), Trimmed(8))
        self.assertEqual(self.read_all(8), {position: entries[position] for position in (8, 9, 10)})
        left = [key for key in self.etcd.values if key < self.keys.entry(8) and b"/entry/" in key]
        left += [key for key in self.etcd.values if key < self.keys.parts(8) and b"/part/" in key]
        self.assertEqual((left, self.etcd.compacted), ([], self.etcd.revision))
        self.assertIs(self.append(11, b"11"), THERE)

    def test_nothing_to_do(self) -> None:
        """As much was trimmed before, or the log is empty."""
        self.asked(self.log.trim, 3)
        self.fill(5)
        self.asked(self.log.trim, 3)
        before = dict(self.etcd.values), self.etcd.compacted
        for first in (1, 2, 3):
            self.asked(self.log.trim, first)
        self.assertEqual((self.etcd.values, self.etcd.compacted), before)

    def test_the_history_alone(self) -> None:
        """Goes, and nothing else; again, without anything new, makes no difference."""
        entries = self.fill(5)
        for _ in range(2):
            self.asked(self.log.free)
            self.assertEqual((self.etcd.compacted, self.read_all(1)), (self.etcd.revision, entries))
        self.assertIs(self.append(6, b"6"), THERE)

    def test_newest_stays(self) -> None:
        """So that its repetition is known."""
        self.fill(5)
        self.asked(self.log.trim, 100)
        self.assertEqual(self.asked(self.log.read, 1), Trimmed(5))
        self.assertIs(self.append(5, b"5"), THERE)

    def test_who_slept_is_fenced(self) -> None:
        """Though no entry has that position any more: its key is absent, and its own entry was there once."""
        self.fill(5)
        self.asked(self.log.trim, 4)
        self.assertEqual([self.append(1, b"1"), self.append(2, b"x"), self.append(3, b"x" * 50)], [FENCED] * 3)

    def test_two_at_once(self) -> None:
        """Both do what they are to do, between them."""
        entries = self.fill(20)
        self.patch(trimming, "_AT_ONCE", 3)
        other = self.open()
        other.trim(12, lambda: None)
        self.asked(self.log.trim, 10)
        self.assertEqual(self.asked(self.log.read, 1), Trimmed(12))
        self.assertEqual(self.read_all(12), {position: entries[position] for position in range(12, 21)})

    def test_cut_short(self) -> None:
        """What has been removed is known to be."""
        self.fill(9)
        self.patch(trimming, "_AT_ONCE", 3)
        other = self.open()
        other.trim(9, lambda: None)
        self.wait(0.02)
        other.stop()
        self.assertEqual(self.asked(self.log.read, 1), Trimmed(4))
        self.assertEqual(min(key for key in self.etcd.values if b"/entry/" in key), self.keys.entry(4))


class NoteTests(LogTestCase):
    """Beside the log."""

    def test_size(self) -> None:
        """As a node says; the quota, too, if it is new enough for that."""
        status = {"dbSizeInUse": "77", "dbSize": "1000"}
        with mock.patch.object(self.etcd, "status", lambda node: status):
            self.assertEqual(self.asked(self.log.size), Size(77, 2 << 30, 1000))
            status["dbSizeQuota"] = "88"
            self.assertEqual(self.asked(self.log.size), Size(77, 88, 1000))

    def test_notes(self) -> None:
        """The last of each node; they are not in the log."""
        older, newer = Note(3, 4), Note(3, 5)
        for node, note, before in (("a", older, None), ("b:1", Note(4, 6), None), ("a", newer, older)):
            self.assertEqual(self.asked(self.log.note, node, note), before)
        self.assertEqual(self.asked(self.log.note, "a", newer), newer)
        self.assertEqual(self.asked(self.log.notes), {"a": Note(3, 5), "b:1": Note(4, 6)})
        self.assertEqual(self.asked(self.log.read, 1), Entries([], 0))

    def test_forgetting(self) -> None:
        """The note of that node is removed, and of no other; that of one without is, too."""
        for node in ("a:1", "a:10", "b:1"):
            self.asked(self.log.note, node, Note(1, 2))
        for node in ("a:1", "none:1"):
            self.asked(self.log.forget, node)
        self.assertEqual(self.asked(self.log.notes), {"a:10": Note(1, 2), "b:1": Note(1, 2)})

    def test_what_is_no_note(self) -> None:
        """It is left out, and said once: others are read."""
        self.asked(self.log.note, "a:1", Note(1, 2))
        self.etcd.values[self.keys.note("b:1")] = b"0000000000000001"
        self.etcd.values[self.keys.notes[0] + b"\xff"] = b"\xff"
        with capturedLogs() as events:
            self.assertEqual([self.asked(self.log.notes) for _ in range(2)], [{"a:1": Note(1, 2)}] * 2)
        said = [event for event in events if event["log_level"] is LogLevel.warn]
        self.assertEqual([event["node"] for event in said], ["b:1", "\\xef\\xbf\\xbd"])

    def test_groups_are_apart(self) -> None:
        """In one etcd; no name of a group makes keys of another's."""
        self.fill(1)
        other = EtcdLog(self.clock, self.etcd.places, "shop2")
        self.assertEqual(self.asked(other.read, 1), Entries([], 0))
        for name in ("", "a/b"):
            self.assertRaises(ValueError, Keys, name)


class ValueTests(SynchronousTestCase):
    """What an entry's key has."""

    def test_there_and_back(self) -> None:
        """Whatever the entry begins with."""
        for entry in (b"", b"=", b"+", b"*1\r\n", b"+" + b"0" * 36):
            self.assertEqual(entry_of(value_of(entry)), entry)
        large = bytes(layout.PART_BYTES + 1)
        parts = entry_of(value_of(large))
        assert isinstance(parts, Parts)
        self.assertEqual((parts.total, parts.are(large), parts.are(large[1:])), (2, True, False))

    def test_of_a_later_version(self) -> None:
        """Is given as it is: it decodes to no entry."""
        self.assertEqual(entry_of(b"?abc"), b"?abc")
