"""The shared log in three real nodes of etcd, which are killed and stopped under it."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import deferLater
from twisted.logger import LogEvent, globalLogPublisher
from twisted.trial.unittest import SkipTest, TestCase

from kvstore.base.limits import MIB
from kvstore.base.shared_log import Appended, Entries, Note, Trimmed
from kvstore.edge.etcd.log import EtcdLog, open_log
from tests.kit.certificate import make_certificate
from tests.kit.etcd import MISSING, Etcd, shared_etcd


def asked(method: Callable[..., object], *arguments: Any) -> Deferred[Any]:
    """What a method of a log gives to its last argument, `done`."""
    answer: Deferred[Any] = Deferred()
    method(*arguments, answer.callback)
    return answer


def heard_once(test: TestCase, text: str) -> Deferred[None]:
    """When the log says something of this text, which it may do but once."""
    said: Deferred[None] = Deferred()

    def hear(event: LogEvent) -> None:
        if text in str(event.get("log_format")):
            said.callback(None)

    globalLogPublisher.addObserver(hear)
    test.addCleanup(globalLogPublisher.removeObserver, hear)
    return said


class LogTestCase(TestCase):
    """A log of the test's own in the etcd of all."""

    timeout = 120

    def setUp(self) -> None:
        """Start etcd, if need be."""
        if MISSING:
            raise SkipTest(MISSING)
        self.etcd: Etcd = shared_etcd()
        self.group = self.id().rpartition(".")[2]
        self.log = self.open()

    def open(self) -> EtcdLog:
        """Another one's view of the same log."""
        log = open_log(self.etcd.location, self.group, reactor)
        self.addCleanup(log.stop)
        return log

    async def appended(self, entries: dict[int, bytes]) -> None:
        """Append each at its position, which there must be."""
        for position, entry in entries.items():
            self.assertIs(await asked(self.log.append, position, entry), Appended.THERE, position)

    async def all_from(self, position: int, log: EtcdLog | None = None) -> dict[int, bytes]:
        """All entries that are read from there on."""
        found: dict[int, bytes] = {}
        while True:
            read = await asked((log or self.log).read, position)
            self.assertIsInstance(read, Entries)
            found.update(read.entries)
            if position + len(read.entries) > read.head:
                return found
            position += len(read.entries)


def numbered(first: int, last: int) -> dict[int, bytes]:
    """Entries, by their positions."""
    return {position: b"entry %d" % position for position in range(first, last + 1)}


class AppendTests(LogTestCase):
    """One is there, another is not."""

    async def test_repetition_and_fence(self) -> None:
        """An entry that is there is there again; another one at its position never is. Nor is one beyond the end: who
        has the entry before it has seen another log.
        """
        await self.appended(numbered(1, 3))
        await self.appended({3: b"entry 3"})
        other = self.open()
        for position in (3, 2, 1):
            self.assertIs(await asked(other.append, position, b"another"), Appended.FENCED, position)
        self.assertIs(await asked(other.append, 5, b"entry 5"), Appended.LOST)
        self.assertIs(await asked(other.append, 4, b"another"), Appended.THERE)
        self.assertIs(await asked(self.log.append, 4, b"entry 4"), Appended.FENCED)
        self.assertEqual(await self.all_from(1), numbered(1, 3) | {4: b"another"})

    async def test_one_of_many_wins(self) -> None:
        """Of those who append at one position at the same time, one is there."""
        for position in range(1, 6):
            entries = [b"by %d" % number for number in range(4)]
            outcomes = await DeferredList([asked(self.open().append, position, entry) for entry in entries])
            winners = [
                entry for entry, (_, outcome) in zip(entries, outcomes, strict=True) if outcome is Appended.THERE
            ]
            self.assertEqual(await self.all_from(position), {position: winners[0]})
            self.assertEqual(len(winners), 1)

    @pytest.mark.long
    async def test_large(self) -> None:
        """Entries that go in one request, in two, and in as many as there can be; one of them fenced."""
        sizes = (1 * MIB, 1 * MIB + 1, 16 * MIB, 10)
        entries = {position: os.urandom(size) for position, size in enumerate(sizes, 1)}
        await self.appended(entries)
        await self.appended({4: entries[4]})
        self.assertIs(await asked(self.log.append, 3, os.urandom(2 * MIB)), Appended.FENCED)
        self.assertIs(await asked(self.log.append, 3, entries[3]), Appended.THERE)
        self.assertTrue(await self.all_from(1) == entries)

    async def test_beyond_the_end(self) -> None:
        """A read there finds nothing, and which the newest is."""
        self.assertEqual(await asked(self.log.read, 1), Entries([], 0))
        await self.appended(numbered(1, 2))
        self.assertEqual(await asked(self.log.read, 3), Entries([], 2))

    async def test_notes(self) -> None:
        """The last of each node; none of who is forgotten."""
        self.assertEqual(await asked(self.log.notes), {})
        for node, note in (("a", Note(5, 5)), ("b:6380", Note(7, 8)), ("a", Note(5, 6)), ("a:1", Note(1, 1))):
            before = await asked(self.log.note, node, note)
            self.assertEqual(before, Note(5, 5) if note == Note(5, 6) else None)
        await self.done(self.log.forget, "a:1")
        self.assertEqual(await asked(self.open().notes), {"a": Note(5, 6), "b:6380": Note(7, 8)})

    async def done(self, method: Callable[..., None], *arguments: object) -> None:
        """Have it done."""
        done: Deferred[None] = Deferred()
        method(*arguments, lambda: done.callback(None))
        await done


@pytest.mark.long
class TrimTests(LogTestCase):
    """What is trimmed is gone, and is known to be."""

    async def trimmed(self, first: int) -> None:
        """Trim."""
        trimmed: Deferred[None] = Deferred()
        self.log.trim(first, lambda: trimmed.callback(None))
        await trimmed

    async def test_trim(self) -> None:
        """Reads and watches are told; the rest stays; less, or as much again, changes nothing."""
        await self.appended(numbered(1, 4) | {5: b"x" * (MIB + 1)} | numbered(6, 7))
        for first in (6, 4, 6):
            await self.trimmed(first)
        self.assertEqual(await asked(self.log.read, 5), Trimmed(6))
        self.assertEqual(await self.all_from(6), numbered(6, 7))
        told: Deferred[int] = Deferred()
        self.log.watch(2, lambda position, entry: self.fail("there is none"), told.callback)
        self.assertEqual(await told, 6)
        names = [key.rsplit(b"/", 1)[-1] for key in self.etcd.keys(f"kvstore/{self.group}/")]
        self.assertEqual(names, [b"%016x" % 6, b"%016x" % 7, b"first", b"head"])
        await self.appended(numbered(8, 8))

    async def test_who_slept_is_fenced(self) -> None:
        """Though no entry has that position any more, one cannot be appended there."""
        await self.appended(numbered(1, 5))
        await self.trimmed(5)
        for position in (1, 2, 4):
            self.assertIs(await asked(self.log.append, position, b"late"), Appended.FENCED)

    async def test_newest_stays(self) -> None:
        """So that its repetition is known."""
        await self.appended(numbered(1, 2))
        await self.trimmed(3)
        self.assertEqual(await self.all_from(2), numbered(2, 2))
        await self.appended(numbered(2, 3))


@pytest.mark.long
class CertificateTests(TestCase):
    """etcd over TLS."""

    timeout = 60

    async def test_who_is_who(self) -> None:
        """Both sides have a certificate, ours signed by one that stands after it in the file, and a log is kept there;
        without one of our own etcd says nothing to us.
        """
        if MISSING:
            raise SkipTest(MISSING)
        own, authority, between, ours = (os.path.abspath(self.mktemp()) for _ in range(4))
        make_certificate(own)
        make_certificate(between, own)
        make_certificate(ours, between)
        _, begin, certificate = Path(own).read_text().partition("-----BEGIN CERTIFICATE")
        Path(authority).write_text(begin + certificate)  # etcd takes nothing else in there
        files = ("--cert-file", own, "--key-file", own, "--client-cert-auth", "--trusted-ca-file", authority)
        etcd = Etcd(*files, count=1)
        self.addCleanup(etcd.close)
        log = open_log(f"{etcd.location}?ca={own}&cert={ours}", "shop", reactor)
        self.addCleanup(log.stop)
        self.assertIs(await asked(log.append, 1, b"entry"), Appended.THERE)
        seen: Deferred[bytes] = Deferred()
        log.watch(1, lambda position, entry: seen.callback(entry), self.fail)
        self.assertEqual(await seen, b"entry")
        stranger = open_log(f"{etcd.location}?ca={own}", "shop", reactor)
        self.addCleanup(stranger.stop)
        said = heard_once(self, "no node answers")
        stranger.append(2, b"stranger's", self.fail)
        await said
        self.assertEqual(await asked(log.read, 2), Entries([], 1))


@pytest.mark.long
class FaultTests(LogTestCase):
    """Nodes of etcd die or stand still."""

    def setUp(self) -> None:
        """Whatever a test does to them is mended."""
        super().setUp()
        self.addCleanup(self.etcd.heal)

    async def through(self, count: int, faults: dict[int, Callable[[], None]]) -> None:
        """Append and watch, with a fault before each of these positions; all is there once, and seen once, in order."""
        seen: dict[int, bytes] = {}
        all_seen: Deferred[None] = Deferred()

        def saw(position: int, entry: bytes) -> None:
            self.assertEqual(position, len(seen) + 1)
            seen[position] = entry
            if position == count:
                all_seen.callback(None)

        self.open().watch(1, saw, lambda first: self.fail("nothing was trimmed"))
        for position, entry in numbered(1, count).items():
            faults.get(position, lambda: None)()
            await self.appended({position: entry})
        await all_seen
        self.assertEqual(seen, numbered(1, count))
        self.assertEqual(await self.all_from(1), numbered(1, count))

    async def test_leader_killed(self) -> None:
        """kill -9 of etcd's leader, twice."""

        def kill() -> None:
            self.etcd.leader.kill()

        await self.through(60, {20: kill, 40: self.etcd.heal, 41: kill})

    async def test_each_node_stopped(self) -> None:
        """SIGSTOP of each, those that are asked and watched at among them."""
        first, second, third = self.etcd.nodes

        def swap(stopped: Any, going_on: Any) -> Callable[[], None]:
            return lambda: (going_on.go_on(), stopped.stop(), None)[-1]

        await self.through(80, {20: first.stop, 40: swap(second, first), 60: swap(third, second)})

    async def test_all_killed(self) -> None:
        """An append waits for as long as there is no etcd, and then is there."""
        await self.appended(numbered(1, 3))
        for node in self.etcd.nodes:
            node.kill()
        said = heard_once(self, "no node answers")
        late = asked(self.log.append, 4, b"entry 4")
        await said
        self.etcd.heal()
        self.assertIs(await late, Appended.THERE)
        self.assertEqual(await self.all_from(1), numbered(1, 4))


@pytest.mark.long
class RivalTests(LogTestCase):
    """Three who append against each other and three who watch, while nodes die, stand still and come back."""

    async def test_all_agree(self) -> None:
        """No two are told that they are at one position, all that was told is there, and all see the same."""
        self.addCleanup(self.etcd.heal)
        self.chance = random.Random(3)
        self.over = False
        seen: list[dict[int, bytes]] = [{} for _ in range(3)]
        for each in seen:
            self.open().watch(1, each.setdefault, self.fail)
        rivals = DeferredList(
            [Deferred.fromCoroutine(self.rival(number)) for number in range(3)], fireOnOneErrback=True
        )
        await self.faults(10)
        self.over = True
        told = [there for _, there in await rivals]
        entries = await self.all_from(1)
        self.assertEqual(sum(map(len, told)), len(set().union(*told)))
        for there in told:
            self.assertEqual({position: entries[position] for position in there}, there)
        while any(len(each) < len(entries) for each in seen):
            await deferLater(reactor, 0.1)
        self.assertEqual(seen, [entries] * 3)

    async def rival(self, number: int) -> dict[int, bytes]:
        """Append at the end, wherever that is by now; returns what was told to be there."""
        there: dict[int, bytes] = {}
        log, position, count = self.open(), 1, 0
        while not self.over:
            count += 1
            entry = b"%d of %d" % (count, number) * self.chance.choice((1, 1, 1, 100, 20_000))
            if await asked(log.append, position, entry) is Appended.THERE:
                there[position] = entry
                position += 1
            else:
                position = (await asked(log.read, position)).head + 1
        return there

    async def faults(self, count: int) -> None:
        """One node or two are down at most times; in the end none."""
        chance, down = self.chance, []
        for _ in range(count):
            await deferLater(reactor, chance.uniform(0.1, 2.0))
            if len(down) < 2 and chance.random() < (0.2 if down else 1):
                down.append(node := chance.choice([node for node in self.etcd.nodes if node not in down]))
                chance.choice((node.kill, node.stop))()
            else:
                node = down.pop(0)
                node.start()
                node.go_on()
        self.etcd.heal()
