"""Entries as they come, once and in order, whatever etcd's watch leaves out."""

from __future__ import annotations

import random
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.shared_log import Appended
from kvstore.edge.etcd import layout
from kvstore.edge.etcd.log import EtcdLog
from kvstore.edge.etcd.watching import SILENCE_S
from tests.kit.fake_etcd import FakeEtcd, Health


class WatchTestCase(SynchronousTestCase):
    """A log that somebody writes to, and somebody else watches."""

    def setUp(self) -> None:
        """Make both; nothing is watched yet."""
        self.patch(layout, "PART_BYTES", 10)
        self.clock = Clock()
        self.etcd = FakeEtcd(self.clock)
        self.writer = EtcdLog(self.clock, self.etcd.places[::-1], "shop")
        self.reader = EtcdLog(self.clock, self.etcd.places, "shop")
        self.written: dict[int, bytes] = {}
        self.seen: dict[int, bytes] = {}
        self.trimmed: list[int] = []

    def wait(self, seconds: float = 0.2) -> None:
        """Let time go by."""
        self.clock.pump([0.01] * int(seconds / 0.01))

    def write(self, count: int = 1, length: int = 1) -> None:
        """Append so many entries."""
        for _ in range(count):
            position = len(self.written) + 1
            self.written[position] = b"%d" % position * length
            outcomes: list[Appended] = []
            self.writer.append(position, self.written[position], outcomes.append)
            self.wait(0.1)
            self.assertEqual(outcomes, [Appended.THERE])

    def watch(self, position: int = 1) -> Any:
        """Watch from a position on; each entry must be the next."""

        def saw(found: int, entry: bytes) -> None:
            self.assertEqual(found, position + len(self.seen))
            self.seen[found] = entry

        return self.reader.watch(position, saw, self.trimmed.append)

    def reads(self) -> int:
        """How many transactions nodes have been asked for."""
        return sum(node.asked.count("/v3/kv/txn") for node in self.etcd.nodes)


class WatchTests(WatchTestCase):
    """All is well with etcd."""

    def test_those_there_and_those_to_come(self) -> None:
        """From the beginning; those to come are told of without a read each."""
        self.write(12)
        self.watch()
        self.assertEqual(self.seen, {})
        self.wait()
        self.assertEqual(self.seen, self.written)
        before = self.reads()
        self.write(5)
        self.assertEqual((self.seen, self.reads()), (self.written, before + 5))

    def test_in_the_middle_and_beyond(self) -> None:
        """From a position inside, and from one that is still to come."""
        self.write(3)
        watch = self.watch(3)
        self.wait()
        self.assertEqual(list(self.seen), [3])
        watch.stop()
        self.seen.clear()
        self.watch(6)
        self.write(4)
        self.wait()
        self.assertEqual(list(self.seen), [6, 7])

    def test_large(self) -> None:
        """Entries in parts among others."""
        self.write()
        self.watch()
        for length in (30, 1, 30, 30, 1):
            self.write(length=length)
        self.wait()
        self.assertEqual(self.seen, self.written)

    def test_trimmed(self) -> None:
        """What comes next is not there any more: that is told, and then nothing is."""
        self.write(5)
        self.writer.trim(4, lambda: None)
        self.wait()
        self.watch(2)
        self.wait()
        self.write(2)
        self.wait(5)
        self.assertEqual((self.seen, self.trimmed), ({}, [4]))

    def test_stopped(self) -> None:
        """At any moment: nothing is told any more, and nothing stays behind."""
        for seconds in (0, 0.01, 0.02, 0.03, 0.2, 3):
            self.setUp()
            self.write(2)
            watch = self.watch()
            self.wait(seconds)
            watch.stop()
            before = dict(self.seen)
            self.write(2)
            self.assertEqual(self.seen, before)
            self.reader.stop()
            self.writer.stop()
            self.assertEqual(self.clock.getDelayedCalls(), [])
            self.assertEqual([node.connections for node in self.etcd.nodes], [[], [], []])

    def test_stopped_ones_are_forgotten(self) -> None:
        """A server begins another one after each campaign that it loses."""
        for _ in range(5):
            watch = self.watch()
            self.wait()
            watch.stop()
        last = self.watch()
        self.assertEqual(self.reader._watches, {last})

    def test_stopped_by_who_sees(self) -> None:
        """Within a read of many, nothing follows; nor from the watch."""
        told: list[int] = []

        def saw(position: int, entry: bytes) -> None:
            told.append(position)
            watch.stop()

        self.write(4)
        for first in (1, 5):
            watch = self.reader.watch(first, saw, self.trimmed.append)
            self.wait()
            self.write(2)
        self.assertEqual(told, [1, 5])


class FaultTests(WatchTestCase):
    """Something is not well."""

    def setUp(self) -> None:
        """It has seen the first."""
        super().setUp()
        self.write(2)
        self.watch()
        self.wait()
        self.watched, self.next, _ = self.etcd.nodes

    def test_left_out(self) -> None:
        """The next event shows it, or silence does; an idle group is looked at once in a while, and no more."""
        self.watched.tells = False
        self.write(2)
        self.watched.tells = True
        self.assertEqual(len(self.seen), 2)
        self.write()
        self.wait(0.05)
        self.assertEqual(self.seen, self.written)
        self.watched.tells = False
        self.write()
        self.wait(SILENCE_S)
        self.assertEqual(self.seen, self.written)
        before = self.reads()
        self.wait(10 * SILENCE_S)
        self.assertLess(self.reads() - before, 12)

    def test_mute_watch(self) -> None:
        """One that tells nothing is left for the next node, soon; one that has nothing to tell is not."""
        self.wait(5 * SILENCE_S)
        self.assertEqual(self.next.asked.count("/v3/watch"), 0)
        self.watched.tells = False
        for _ in range(4):
            self.write()
            self.wait(SILENCE_S)
        self.assertEqual(self.next.asked.count("/v3/watch"), 1)
        before = self.reads()
        self.write(3)
        self.assertEqual((self.seen, self.reads()), (self.written, before + 3))

    def test_node_ill(self) -> None:
        """In any way, the watch goes on elsewhere."""
        for health in Health:
            self.setUp()
            self.watched.health = health
            self.watched.cut()
            self.write(2)
            self.wait(2 * SILENCE_S)
            self.write(2)
            self.wait(2 * SILENCE_S)
            self.assertEqual(self.seen, self.written, health)
            before = self.reads()
            self.write(3)
            self.assertEqual((self.seen, self.reads()), (self.written, before + 3), health)

    def test_canceled(self) -> None:
        """By etcd: it had too much to tell, and was compacted meanwhile."""
        for watch in list(self.etcd.watches):
            watch.cancel()
        self.write(3)
        self.wait()
        self.write(3)
        self.assertEqual(self.seen, self.written)
        self.assertEqual(self.next.asked.count("/v3/watch"), 1)

    def test_by_chance(self) -> None:
        """Whatever happens to nodes, one of which is well: all is seen, once and in order."""
        chance = random.Random(5)
        for _ in range(60):
            for node in self.etcd.nodes[:2]:
                node.health = chance.choice(list(Health))
                node.tells = chance.random() < 0.5
                if chance.random() < 0.3:
                    node.cut()
            position = len(self.written) + 1
            self.written[position] = b"%d" % position * chance.choice((1, 1, 30))
            outcomes: list[Appended] = []
            self.writer.append(position, self.written[position], outcomes.append)
            self.wait(chance.choice((0.05, 0.5, 2)))
            while not outcomes:
                self.wait(0.1)
        self.wait(5)
        self.assertEqual(self.seen, self.written)
