"""The simulated shared log, by Twisted's Clock."""

from __future__ import annotations

from random import Random

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.shared_log import Appended, Entries, Note, Read, Trimmed
from kvstore.testing.simulated_shared_log import REPEAT_S, SimulatedConnection, SimulatedSharedLog, Trouble


class SimulatedSharedLogTests(SynchronousTestCase):
    """A log with two connections."""

    def setUp(self) -> None:
        """Nothing is in it."""
        self.clock = Clock()
        self.log = SimulatedSharedLog(self.clock.callLater, Random(1))
        self.one, self.other = self.log.connect(), self.log.connect()
        self.told: list[object] = []

    def pass_time(self, seconds: float) -> None:
        """In steps, since what happens asks for more."""
        for _ in range(round(seconds * 100)):
            self.clock.advance(0.01)

    def append(self, position: int, entry: bytes, connection: SimulatedConnection | None = None) -> list[Appended]:
        """Append, and let a second pass. Returns what was told of it."""
        told: list[Appended] = []
        (connection or self.one).append(position, entry, told.append)
        self.assertEqual(told, [], "told within the call")
        self.pass_time(1)
        return told

    def fill(self, count: int) -> None:
        """Entries 0, 1, 2 and so on, from position 1 on."""
        for number in range(count):
            self.assertEqual(self.append(number + 1, b"%d" % number), [Appended.THERE])

    def read(self, position: int) -> Read:
        """What is there."""
        found: list[Read] = []
        self.other.read(position, found.append)
        self.pass_time(1)
        return found.pop()

    def test_appends_behind_the_newest_only(self) -> None:
        """Not at its place, and not with a gap."""
        self.fill(2)
        self.assertEqual(self.append(2, b"x", self.other), [Appended.FENCED])
        self.assertEqual(self.append(4, b"x", self.other), [Appended.LOST])
        self.assertEqual(self.read(1), Entries([(1, b"0"), (2, b"1")], 2))

    def test_same_entry_again_is_there(self) -> None:
        """As one whose reply was lost finds out."""
        self.fill(2)
        self.assertEqual(self.append(1, b"0"), [Appended.THERE])

    def test_reads_on(self) -> None:
        """From any position to the newest."""
        self.fill(2)
        self.assertEqual(self.read(2), Entries([(2, b"1")], 2))
        self.assertEqual(self.read(3), Entries([], 2))

    def test_trimmed(self) -> None:
        """The newest entry stays, and what is before the first is not read."""
        self.fill(3)
        self.one.trim(9, lambda: self.told.append("trimmed"))
        self.pass_time(1)
        self.assertEqual((self.told, self.read(2)), (["trimmed"], Trimmed(3)))
        self.assertEqual(self.append(1, b"0"), [Appended.FENCED])
        self.assertEqual(self.append(4, b"3"), [Appended.THERE])

    def test_set_back(self) -> None:
        """As an engine of which an old backup was restored: who was further finds out, and others go on."""
        self.fill(3)
        self.log.set_back(1)
        self.assertEqual(self.append(4, b"3"), [Appended.LOST])
        self.assertEqual(self.read(4), Entries([], 1))
        self.assertEqual(self.append(2, b"other"), [Appended.THERE])
        self.assertEqual(self.read(1), Entries([(1, b"0"), (2, b"other")], 2))

    def test_notes(self) -> None:
        """The last of each node; none of who is forgotten. Who notes is told what was noted before."""
        for node, note in (("a", Note(1, 2)), ("b", Note(2, 2)), ("a", Note(3, 4)), ("c", Note(3, 4))):
            self.one.note(node, note, self.told.append)
            self.pass_time(1)
        self.assertEqual(self.told, [None, None, Note(1, 2), None])
        self.one.forget("c", lambda: None)
        self.pass_time(1)
        self.other.notes(self.told.append)
        self.pass_time(1)
        self.assertEqual(self.told[4:], [{"a": Note(3, 4), "b": Note(2, 2)}])

    def watch(self, position: int) -> None:
        """By the other connection."""
        self.watching = self.other.watch(
            position, lambda *entry: self.told.append(entry), lambda first: self.told.append(first)
        )

    def test_watch(self) -> None:
        """What is there and what comes, until it is stopped."""
        self.fill(2)
        self.watch(2)
        self.append(3, b"2")
        self.assertEqual(self.told, [(2, b"1"), (3, b"2")])
        self.watching.stop()
        self.append(4, b"3")
        self.assertEqual(len(self.told), 2)

    def test_watch_of_what_is_trimmed(self) -> None:
        """It says where the log begins, and ends."""
        self.fill(3)
        self.log.trim(3)
        self.watch(2)
        self.append(4, b"3")
        self.assertEqual(self.told, [3])

    def test_anything_may_befall_a_message(self) -> None:
        """An append is told of once all the same, and a watch tells of each entry in order."""
        self.log.trouble = Trouble(0.4, lost=0.3, repeated=0.3, late=0.2, late_s=3, refused=0.3)
        self.watch(1)
        for position in range(1, 30):
            told: list[Appended] = []
            self.one.append(position, b"%d" % position, told.append)
            while not told:
                self.clock.advance(0.01)
            self.assertEqual(told, [Appended.THERE])
        self.pass_time(20)
        self.assertEqual(self.told, [(position, b"%d" % position) for position in range(1, 30)])
        self.assertEqual(told, [Appended.THERE])

    def test_refusing(self) -> None:
        """It is asked again until it does not."""
        self.log.refuses = True
        told = self.append(1, b"0")
        self.assertEqual(told, [])
        self.log.refuses = False
        self.pass_time(2 * REPEAT_S)
        self.assertEqual(told, [Appended.THERE])

    def test_cut(self) -> None:
        """Nothing gets through; deaf, the entry does."""
        for befall, entries in ((self.one.cut, {}), (self.one.deafen, {1: b"0"})):
            befall()
            told = self.append(1, b"0")
            self.assertEqual((told, self.log.entries), ([], entries))
            self.one.heal()
            self.pass_time(2 * REPEAT_S)
            self.assertEqual(told, [Appended.THERE])
            self.log.entries.clear()
            self.log.head = 0

    def test_pause(self) -> None:
        """What was sent arrives; what comes back waits."""
        told: list[Appended] = []
        self.one.append(1, b"0", told.append)
        self.one.pause()
        self.pass_time(1)
        self.assertEqual((told, self.log.head), ([], 1))
        self.one.resume()
        self.assertEqual(told, [Appended.THERE])

    def test_stop(self) -> None:
        """Nothing is called, though what is under way comes to be."""
        told: list[Appended] = []
        self.watch(1)
        self.other.append(1, b"0", told.append)
        self.other.stop()
        self.pass_time(1)
        self.assertEqual((told, self.told, self.log.head), ([], [], 1))
