"""A follower's store: it sees what its leader's does, frame by frame, and what is on its disk is the group's log."""

from __future__ import annotations

import os
import random
from typing import Any

import pytest
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.errors import RequestError
from kvstore.base.reply import Status
from kvstore.commands.registry import table as commands
from kvstore.commands.row import READ, WRITE
from kvstore.store.observing import Observer
from kvstore.testing.fates import RandomFates
from tests.kit import random_requests as kit
from tests.kit.group_stores import GroupLog, Node
from tests.kit.random_families import FAMILIES
from tests.kit.random_server import EXPIRING
from tests.kit.valkey import UNORDERED
from tests.kit.value_changes import Draw, changes, check, live

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
