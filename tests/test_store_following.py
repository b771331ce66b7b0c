"""A follower's store: it sees what its leader's does, frame by frame, and what is on its disk is the group's log."""

from __future__ import annotations

import os
import random
from random import Random
from typing import Any
from unittest import mock

import pytest
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.errors import NewerVersion, RequestError, StartRefused, StorageFull
from kvstore.base.reply import Status
from kvstore.base.shared_log import NO_CHECKSUM, Entry, Kind, decode, encode
from kvstore.commands import dispatch
from kvstore.commands.registry import table as commands
from kvstore.commands.row import READ, WRITE
from kvstore.store.examine import LIVE, examine, segment_name
from kvstore.store.leaving import leave_group
from kvstore.store.merge import MergeJob, merge
from kvstore.store.observing import Observer
from kvstore.store.operations import BadOperation, UnknownOperation, encode_delete
from kvstore.store.operations import encode as operation
from kvstore.store.store import Store
from kvstore.testing.fates import RandomFates
from kvstore.testing.simulated_disk import SimulatedDisk
from kvstore.values import TYPES
from tests.kit import random_requests as kit
from tests.kit.group_stores import IDENTITY, GroupLog, Node
from tests.kit.harness import AsItIs, Content
from tests.kit.pair import Listener
from tests.kit.random_families import FAMILIES
from tests.kit.random_server import EXPIRING
from tests.kit.store_files import write_log
from tests.kit.valkey import UNORDERED
from tests.kit.value_changes import Draw, changes, check, live
from tests.suites.crashes.run import small_files

SEED = os.environ.get("KVSTORE_FOLLOWING_SEED") or f"{random.SystemRandom().getrandbits(32):08x}"

_FAMILIES = [
    "strings and keys", "lists", "hashes", "sets", "sorted sets", "sorting", "streams", "stream groups", "databases",
    "scripts", "functions",
]  # fmt: skip
#: What is answered by chance, or tells of the server; scripts that were loaded are each server's own.
_OF_SERVER = frozenset(
    b"RANDOMKEY SRANDMEMBER HRANDFIELD ZRANDMEMBER SCAN HSCAN SSCAN ZSCAN OBJECT MEMORY EVALSHA EVALSHA_RO".split()
)


def _follows(draw: Draw) -> None:
    log = GroupLog()
    leader, follower = Node("a", log), Node("b", log)
    leader.lead()
    for _ in range(4):
        changes(draw, leader.store)
        leader.commit(even_if_empty=True)
        follower.follow()
        assert live(follower.store) == live(leader.store)
        assert follower.store.standing == leader.store.standing == follower.replica.standing
    for _ in "ab":
        follower = follower.start_again()
        assert live(follower.store) == live(leader.store)
        assert follower.store.standing == leader.store.standing
        follower.compact()


class Recorder(Observer):
    """Notes of each key that is told of whether it was there before all that is told, and whether it is there now."""

    def __init__(self) -> None:
        self.seen: dict[bytes, tuple[bool, bool]] = {}
        self.was_flushed = False

    def changed(self, key: bytes, before: Any, after: Any, event: bytes | None) -> None:
        """See `Observer`."""
        first = self.seen[key][0] if key in self.seen else before is not None
        self.seen[key] = first, after is not None

    def flushed(self) -> None:
        """See `Observer`."""
        self.seen = {}
        self.was_flushed = True

    def taken(self) -> tuple[dict[bytes, tuple[bool, bool]], bool]:
        """What was told since."""
        seen, was_flushed = self.seen, self.was_flushed
        self.seen, self.was_flushed = {}, False
        return {key: change for key, change in seen.items() if change != (False, False)}, was_flushed


class Both:
    """A leader, one that follows it frame by frame, and one that follows now and then, crashes and compacts."""

    def __init__(self, seed: str) -> None:
        self.random = random.Random(seed)
        self.log = GroupLog()
        self.leader, self.follower, self.late = (Node(f"{name}/{seed}", self.log) for name in "abc")
        families = [FAMILIES[name] for name in self.random.sample(_FAMILIES, 3)]
        self._pools = families * 4 + [kit.GENERIC, EXPIRING]
        self.leader.lead()
        self._connect()

    def _connect(self) -> None:
        """Two clients who write, of the leader; one who reads, and who observes, of each."""
        self.clients = [self.leader.rig.connect(), self.leader.rig.connect()]
        self.readers = [node.rig.connect() for node in (self.leader, self.follower)]
        self.recorders = [self._recorders(node) for node in (self.leader, self.follower)]

    def draw(self) -> list[bytes]:
        """A request."""
        return self.random.choice(self.random.choice(self._pools)).by(self.random)

    def hand_over(self) -> None:
        """The follower leads from now on, the leader follows."""
        self.leader.hand_over(self.follower.name)
        self.follower.follow()
        self.follower.lead()
        self.leader.follow()
        self.leader, self.follower = self.follower, self.leader
        self._connect()

    def _recorders(self, node: Node) -> list[Recorder]:
        found: list[Recorder] = []
        for table in node.store.databases:
            found.append(Recorder())
            table.observe(found[-1])
        return found

    def request(self) -> None:
        """A client of the leader asks for something; then all of the frame is compared."""
        words = self.draw()
        self.log.now_ms += self.random.choice((0, 0, 1, 2))
        self.leader.commit(even_if_empty=True)  # for its time, by which the follower goes
        self.follower.follow()
        watched = self.random.choice(kit.KEYS)
        for node, reader in zip((self.leader, self.follower), self.readers, strict=True):
            node.rig.do("UNWATCH", by=reader)
            node.rig.do("WATCH", watched, by=reader)
        before = self.follower.rig.state().get(0, {}).get(watched)
        self.leader.rig.do(*words, by=self.random.choice(self.clients))
        self.leader.store.tidy() if self.random.random() < 0.1 else None
        self.leader.commit(even_if_empty=self.random.random() < 0.1)
        self.follower.follow()
        flags = [reader.client.watched_changed for reader in self.readers]
        assert flags[0] or not flags[1], "told of a change that was none"
        is_same = before == self.follower.rig.state().get(0, {}).get(watched)
        assert flags[1] or not flags[0] or is_same, "not told of a change"
        self._compare()
        self._read(words)
        self._read(self.draw())
        self._read([b"DEBUG", b"DIGEST"])
        self._read([b"QUERY", b"a", b"1"])

    def _compare(self) -> None:
        """The follower has what the leader has, and was told the same."""
        assert self.leader.rig.state() == self.follower.rig.state()
        for leaders, followers in zip(*self.recorders, strict=True):
            (theirs, flushed), (ours, also_flushed) = leaders.taken(), followers.taken()
            assert also_flushed <= flushed, "told that everything changed"
            assert flushed or theirs == ours, (theirs, ours)

    def _read(self, words: list[bytes]) -> None:
        row = commands.by_name.get(words[0].upper())
        if words[0] != b"DEBUG" and (row is None or not row.flags & READ or row.flags & WRITE):
            return
        if words[0].upper() in _OF_SERVER:
            return
        replies = [
            _plain(node.rig.do(*words, by=reader))
            for node, reader in zip((self.leader, self.follower), self.readers, strict=True)
        ]
        if words[0].upper() in UNORDERED | {b"QUERY"}:
            replies = [sorted(map(repr, reply)) if isinstance(reply, list) else reply for reply in replies]
        assert replies[0] == replies[1], (words, replies)

    def crash(self) -> None:
        """The late one follows, crashes, starts on what is left, and follows again; all of them compact at times."""
        if self.random.random() < 0.3:
            self.late.compact()
        self.late.follow()
        if self.random.random() < 0.3:
            self.late.compact()
        if self.random.random() < 0.3:
            self.leader.compact()
        disk = self.late.disk.crash(RandomFates(f"{self.random.random()}")) if self.random.random() < 0.7 else None
        self.late = self.late.start_again(disk)
        self.late.follow()
        assert self.late.rig.state() == self.leader.rig.state()
        assert self.late.store.standing == self.leader.store.standing


def _plain(reply: Any) -> Any:
    if isinstance(reply, (RequestError, Status)):
        return str(reply) if isinstance(reply, RequestError) else reply.text
    if isinstance(reply, (list, tuple)):
        return [_plain(each) for each in reply]
    return repr(reply) if reply is not None else None


class FollowerTests(SynchronousTestCase):
    """A leader's frames at a follower."""

    def test_it_holds_what_the_leader_does(self) -> None:
        """After each frame of changes of any kind, after a start, and after a compaction."""
        check(12, _follows)

    def test_requests_of_all_types(self) -> None:
        """After each request of a leader the follower has the same keys, told the same to observers and watchers, and
        answers the same; so it is with one that crashes meanwhile.
        """
        self._compare(3)

    @pytest.mark.long
    def test_many_requests_of_all_types(self) -> None:
        """The same, for longer."""
        self._compare(200)

    def _compare(self, sequences: int) -> None:
        print(f"KVSTORE_FOLLOWING_SEED={SEED}")
        for number in range(sequences):
            both = Both(f"{SEED}/{number}")
            for place in range(60):
                both.request()
                if place in (20, 40):
                    both.crash()
                    both.hand_over()
            both.crash()


class CrashTests(SynchronousTestCase):
    """Power cuts of a follower, at any moment of a run."""

    def test_some_moments(self) -> None:
        """What is found is the state as of some entry, all that was promised in it; from there it follows as before."""
        self._crash(SEED, 0.3)

    @pytest.mark.long
    def test_every_moment(self) -> None:
        """The same, of each moment of several runs."""
        for number in range(10):
            self._crash(f"{SEED}/{number}", 1)

    def _crash(self, seed: str, share: float) -> None:
        self.enterContext(small_files())
        print(f"KVSTORE_FOLLOWING_SEED={SEED}")
        both, chance = Both(seed), random.Random(seed)
        states: list[dict[int, Content]] = [{}]
        follower = Node("recorded", both.log, disk=SimulatedDisk())
        promised: list[tuple[int, int]] = []
        for number in range(24):
            both.request()
            follower.follow()
            if number % 6 == 2:
                follower.store.mark_and_sync()
            if number in (9, 17):
                follower.compact()
            promised.append((follower.disk.changes, follower.store.durable_sequence))
        late = Node("late", both.log)
        for entries in range(1, len(both.log.entries) + 1):
            late.follow(entries)
            states.append(late.rig.state())
        for moment in follower.disk.moments():
            if chance.random() > share:
                continue
            disk = moment.disk.crash(RandomFates(f"{seed}/{moment.changes}"))
            found = Node("recorded", both.log, disk=disk)
            position = found.replica.standing.position
            least = max((durable for changes, durable in promised if changes <= moment.changes), default=0)
            self.assertGreaterEqual(position, least)
            self.assertEqual(found.rig.state(), states[position])
            if chance.random() < 0.2:
                found.follow()
                self.assertEqual((found.rig.state(), found.store.standing), (states[-1], both.leader.store.standing))


class SeenTests(SynchronousTestCase):
    """What others see of a follower's changes, and what it does not do by itself."""

    def setUp(self) -> None:
        """One leads, one follows."""
        self.log = GroupLog()
        self.leader, self.follower = Node("a", self.log), Node("b", self.log)
        self.leader.lead()

    def do(self, *lines: str) -> None:
        """Requests at the leader, all in one frame; the follower has it."""
        for line in lines:
            reply = self.leader.rig.do(*line.split())
            self.assertFalse(isinstance(reply, RequestError), f"{line}: {reply}")
        self.leader.commit()
        self.follower.follow()

    def test_keyspace_events(self) -> None:
        """By the operations: a string that was counted up is set, a key that is removed past its deadline expired."""
        rig, listener = self.follower.rig, Listener()
        rig.call.client.peer = listener
        rig.server.channels.patterns.add(rig.call.client, b"__keyevent*")
        rig.server.configuration.set([(b"notify-keyspace-events", b"EA")])
        self.do("SET a 1", "INCR a", "RPUSH l x", "RENAME a b", "PEXPIRE b 5", "SADD s x", "SREM s x")
        self.log.now_ms += 6
        self.leader.store.tidy()
        self.do("DEL l")
        told = [(message[2].partition(b":")[2].decode(), message[3].decode()) for message in listener.told]
        self.assertEqual(
            told,
            [("set", "a"), ("set", "a"), ("rpush", "l"), ("del", "a"), ("set", "b"), ("expire", "b"), ("sadd", "s"),
             ("srem", "s"), ("del", "s"), ("expired", "b"), ("del", "l")],
        )  # fmt: skip

    def test_who_waits(self) -> None:
        """A reader that waits for an entry of a stream gets it."""
        call, served = self.follower.rig.connect(), []
        blocked = dispatch.answer(call, b"XREAD BLOCK 0 STREAMS s $".split(), AsItIs()).reply
        self.assertIsInstance(blocked, dispatch.Blocked)

        class Waiter:
            def try_again(self) -> bool:
                outcome = dispatch.try_again(blocked)
                served.append(outcome)
                return outcome is not None

            def give_up(self, error: RequestError | None) -> None:
                """Nobody's time is up."""

        self.follower.rig.server.waiting.enter(call.client, Waiter(), call.table, blocked.wait)
        self.do("SET a 1")
        self.assertEqual(served, [])
        self.do("XADD s 1-1 f v")
        self.assertEqual(len(served), 1)

    def test_functions(self) -> None:
        """A library that the leader loads, replaces and flushes is the follower's."""
        rig = self.follower.rig
        source = "#!lua name=one\nredis.register_function{{function_name='f', callback=function() return {} end, {}}}"
        for number in (1, 2):
            self.leader.rig.do("FUNCTION", "LOAD", "REPLACE", source.format(number, "flags={'no-writes'}"))
            self.do()
            self.assertEqual(rig.do("FCALL_RO", "f", "0"), number)
        self.do("FUNCTION FLUSH")
        self.assertIsInstance(rig.do("FCALL_RO", "f", "0"), RequestError)

    def test_nothing_expires_by_itself(self) -> None:
        """What has expired is not seen, and stays until the leader removes it; a new leader removes it, too."""
        self.do("SET a 1 PX 5", "HSET h f v g v", "HPEXPIRE h 5 FIELDS 1 f")
        rig, store = self.follower.rig, self.follower.store
        rig.server.configuration.set([(b"notify-keyspace-events", b"EAm")])
        self.pass_time(6)
        self.assertIsNone(rig.do("GET", "a"))
        for _ in range(3):
            store.tidy()
        self.assertFalse(store.has_changes())
        self.assertEqual(self._kept(), (True, True))
        self.leader.hand_over("b")
        self.follower.follow()
        self.follower.lead()
        store.tidy()
        self.assertEqual(self._kept(), (False, False))

    def pass_time(self, milliseconds: int) -> None:
        """The clocks go on, and the log tells of it."""
        self.log.now_ms += milliseconds
        self.leader.commit(even_if_empty=True)
        self.follower.follow()

    def test_a_follower_goes_by_the_time_of_the_log(self) -> None:
        """Not by its own clock, by which a key would be gone that the leader makes persist, and come back."""
        rig = self.follower.rig
        self.do("SET a 1 PX 5")
        self.log.now_ms += 6
        self.assertEqual((rig.do("GET", "a"), rig.do("PTTL", "a")), (b"1", 5))
        self.log.now_ms -= 6
        self.do("PERSIST a")
        self.assertEqual((rig.do("GET", "a"), rig.do("PTTL", "a")), (b"1", -1))
        self.do("SET a 2 PX 5")
        self.pass_time(5)
        self.assertIsNone(rig.do("GET", "a"))

    def test_a_compaction_does_not_tell_the_time(self) -> None:
        """A follower whose clock is ahead, and that has compacted and started again, goes by the log as before."""
        self.follower = self.follower.start_again()
        self.do("SET a 1 PX 5")
        self.log.now_ms += 6
        self.follower.compact()
        self.follower = self.follower.start_again()
        self.assertEqual(self.follower.rig.do("GET", "a"), b"1")
        self.assertEqual(self.follower.store.newest_time_us, self.leader.store.newest_time_us)

    def test_a_directory_does_not_tell_the_time(self) -> None:
        """Nor does one that was made when the clock was ahead, before there was an entry, once it has compacted."""
        self.do("SET a 1 PX 5")
        self.log.now_ms += 3_600_000
        late = Node("late", self.log)
        self.log.now_ms -= 3_600_000
        late.follow()
        late.compact()
        late = late.start_again()
        self.assertEqual(late.rig.do("GET", "a"), b"1")
        self.assertEqual(late.store.newest_time_us, self.leader.store.newest_time_us)

    def test_a_leaders_clock_that_is_set_back(self) -> None:
        """A key that somebody has found expired does not come back, nor may the next entry have an earlier time."""
        self.do("SET a 1 PX 5")
        self.log.now_ms += 5
        self.assertIsNone(self.leader.rig.do("GET", "a"))
        self.log.now_ms -= 5
        self.assertIsNone(self.leader.rig.do("GET", "a"))
        self.pass_time(0)
        self.assertIsNone(self.follower.rig.do("GET", "a"))

    def _kept(self) -> tuple[bool, bool]:
        """Whether the key is still there, and a field with a deadline, expired or not."""
        table = self.follower.store.table
        return b"a" in table.values, b"h" in table.inner

    def test_nothing_is_evicted(self) -> None:
        """However little memory it may take."""
        self.do("SET a 1", "SET b 2")
        rig = self.follower.rig
        rig.server.configuration.set([(b"maxmemory-policy", b"allkeys-random"), (b"maxmemory", b"1")])
        rig.server.memory.see_to_it()
        self.assertEqual((rig.do("DBSIZE"), self.follower.store.has_changes()), (2, False))

    def test_time_goes_on(self) -> None:
        """A leader whose clock is behind goes on at the newest time in the log; so it does after a start."""
        self.do("SET a 1")
        newest_us = self.leader.store.newest_time_us
        self.log.now_ms -= 1000
        self.leader.hand_over("b")
        self.follower.follow()
        self.follower = self.follower.start_again()
        self.follower.lead()
        self.assertEqual(self.follower.store.now_us(), newest_us)
        self.assertEqual(self.follower.rig.do("TIME")[0], b"%d" % (newest_us // 1_000_000))

    def test_time_ahead_of_the_clock(self) -> None:
        """Goes on half as fast: what expires in a second does in two. Then it is the clock's again, whatever jumps."""
        self.do("SET a 1")
        newest_us = self.leader.store.newest_time_us
        self.log.now_ms -= 86_400_000
        self.leader.hand_over("b")
        self.follower.follow()
        self.follower.lead()
        store, do = self.follower.store, self.follower.rig.do
        do("SET", "lock", "x", "PX", "1000")
        for gone_ms in range(0, 4001, 7):
            self.assertEqual(do("GET", "lock"), b"x" if gone_ms < 2000 else None, gone_ms)
            self.log.now_ms += 7
        self.assertEqual((store.now_us() - newest_us) // 1000, 4004 // 2)
        self.log.now_ms += 3_600_000
        self.assertEqual((store.now_us() - newest_us) // 1000, 4004 // 2 + 5000)
        self.log.now_ms -= 7_200_000
        self.assertEqual((store.now_us() - newest_us) // 1000, 4004 // 2 + 5000)
        self.log.now_ms += 2 * 86_400_000
        self.assertEqual(store.now_us() // 1000, self.log.now_ms)


class RefusedTests(SynchronousTestCase):
    """Entries that cannot be applied have changed nothing, and the next attempt may do it."""

    def setUp(self) -> None:
        """A follower that has some keys."""
        self.log = GroupLog()
        self.leader, self.follower = Node("a", self.log), Node("b", self.log)
        self.leader.lead()
        self.leader.rig.do("MSET", "a", "1", "b", "2")
        self.leader.commit()
        self.follower.follow()

    def refused(self, kind: type[Exception], *operations: bytes) -> None:
        """An entry of these operations behind one that is fine."""
        store, before = self.follower.store, (self.follower.rig.state(), self.follower.store.standing)
        entry = Entry(Kind.FRAME, 1, "a", 1, 1, NO_CHECKSUM, encode_delete(b"a") + b"".join(operations))
        self.assertRaises(kind, store.follow, store.pending.sequence, encode(entry), entry)
        self.assertEqual((self.follower.rig.state(), store.standing), before)
        self.assertFalse(store.has_changes())

    def test_what_is_no_operation(self) -> None:
        """Unknown ones, those without their words, of a key of another type, of a database that is not there."""
        self.refused(UnknownOperation, operation(b"NOSUCH", b"b"))
        self.refused(UnknownOperation, operation(b"NOSUCH"))
        self.refused(BadOperation, operation(b"PEXPIREAT", b"b"))
        self.refused(BadOperation, operation(b"PERSIST", b"nosuch"))
        self.refused(BadOperation, operation(b"RPUSH", b"b", b"x"))
        self.refused(BadOperation, operation(b"SELECT", b"3"), operation(b"SET", b"a", b"1"))
        self.refused(BadOperation, operation(b"SWAPDB", b"0", b"16"))
        self.refused(BadOperation, b"*1\r\n$3")
        self.leader.rig.do("SET", "c", "3")
        self.leader.commit()
        self.follower.follow()
        self.assertEqual(self.follower.rig.state(), self.leader.rig.state())

    def test_newer_entries_in_files(self) -> None:
        """A start refuses them as a newer version's, and so does the merge."""
        entry = self.log.entries[-1].replace(b"$1\r\n1\r\n", b"$1\r\n2\r\n", 1)
        disk = SimulatedDisk()
        write_log(disk, LIVE, 1, [entry])
        self.assertRaises(NewerVersion, examine, disk, TYPES)
        write_log(disk, segment_name(1), 1, [entry])
        self.assertRaises(UnknownOperation, merge, disk, TYPES, MergeJob([segment_name(1)], "new", 1, 1), 1)

    def test_a_full_disk(self) -> None:
        """What grows is refused and tried again; what removes has its room."""
        store = self.follower.store
        self.leader.rig.do("SET", "c", "x" * 2_000_000)
        self.leader.commit()
        with mock.patch.object(self.follower.disk, "free_bytes", lambda: 0):
            store.measure_volume()
            data = self.log.entries[-1]
            self.assertRaises(StorageFull, store.follow, store.pending.sequence, data, decode(data))
            self.assertTrue(store.refusals.now)
            self.assertEqual(self.follower.rig.do("GET", "a"), b"1")
        self.follower.follow()
        self.assertEqual(self.follower.rig.state(), self.leader.rig.state())
        with mock.patch.object(self.follower.disk, "free_bytes", lambda: 0):
            store.measure_volume()
            for line in ("DEL a", "FLUSHALL"):
                self.leader.rig.do(*line.split())
                self.leader.commit()
                self.follower.follow()
        self.assertEqual(self.follower.rig.state(), {})

    def test_another_directory(self) -> None:
        """One that was not made for this group does not start in it; nor has one that a server alone wrote a place."""
        kill = self.follower.disk.kill
        self.assertRaises(StartRefused, Store, kill(), TYPES, lambda: 0, Random(1).randbytes)
        left = kill()
        last = leave_group(left, TYPES, lambda: 0, Random(1).randbytes)
        left.unlock()
        other = Store(left, TYPES, lambda: 0, Random(1).randbytes)
        self.assertIsNone(other.lineage.standing(last + 1))
        disk = SimulatedDisk()
        Store(disk, TYPES, lambda: 0, Random(1).randbytes).close()
        disk.unlock()
        self.assertRaises(StartRefused, Store, disk, TYPES, lambda: 0, Random(1).randbytes, identity=IDENTITY)
