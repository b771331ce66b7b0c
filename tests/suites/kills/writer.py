"""One writing client of a kill run: makes requests, knows what each must be answered, and what a crash may leave.

It is a model and does no I/O: `run` carries the bytes. Each client has keys of its own, in several databases, and
its requests execute in their order; so the state after a crash must be the one after the requests that were
acknowledged and the first j of those that were in flight, for some j from 0 on.
"""

from __future__ import annotations

import json
import random
from collections import deque
from collections.abc import Callable, Sequence

from kvstore.client.raw import resp_request
from tests.suites.kills.request import (
    DATABASES,
    WRONG_TYPE,
    Elements,
    Fields,
    Held,
    Members,
    Request,
    Unknown,
    Violation,
    as_text,
    bulk,
    number_in,
    place,
    shortened,
)  # fmt: skip

#: The counter that every client's blocks increment.
SHARED = b"shared"

_OWN_KEYS = 40
_OWN_LISTS = _OWN_HASHES = _OWN_SETS = _OWN_RANKINGS = 6
_FIELDS = 5
_LONGEST_PADDING = 300

#: Requests in a pipeline of one command. The server takes so few for one from 6 on.
_SHORTEST_PIPELINE, _LONGEST_PIPELINE = 7, 20


class Writer:
    """One client: makes requests, knows what they must be answered, and what may be found after a crash.

    `name`: begins each of its keys. `random`: where its requests come from. It does no I/O.
    """

    def __init__(self, name: str, chance: random.Random) -> None:
        self.name = name
        self.state: dict[bytes, Held] = {}
        self.in_flight: deque[Request] = deque()
        self.acknowledged = 0
        self._planned: dict[bytes, Held] = {}
        self._database = 0  # the one that the next request is about
        self._chance = chance
        self._serial = 0
        self._second_half: Request | None = None
        self._received = 0  # lines of the reply that is coming

    # Making requests

    def next_request(self) -> bytes:
        """Another request, or a pipeline of them, in flight from now on."""
        request, self._second_half = self._second_half, None
        made = request or self._chance.choice(_MAKERS)(self)
        requests = made if isinstance(made, list) else [made]
        self.in_flight.extend(requests)
        for request in requests:
            _apply(self._planned, request)
        return b"".join(request.data for request in requests)

    def select(self) -> Request:
        """SELECT of a database: what comes next is about that one."""
        self._database = self._chance.randrange(DATABASES)
        return Request(resp_request("SELECT", b"%d" % self._database), [b"+OK"], {})

    def set(self) -> Request:
        """SET of one key."""
        key, value = self._key("string"), self._value()
        return Request(resp_request("SET", key, value), [b"+OK"], {self._at(key): value})

    def sets(self) -> list[Request]:
        """A pipeline of SETs, some of the same key: the server executes it as columns."""
        return [self.set() for _ in range(self._chance.randrange(_SHORTEST_PIPELINE, _LONGEST_PIPELINE))]

    def gets(self) -> list[Request]:
        """A pipeline of GETs."""
        return [self.get() for _ in range(self._chance.randrange(_SHORTEST_PIPELINE, _LONGEST_PIPELINE))]

    def mset(self) -> Request:
        """MSET of three."""
        given = {self._key("string"): self._value() for _ in range(3)}
        words = [word for pair in given.items() for word in pair]
        return Request(resp_request("MSET", *words), [b"+OK"], {self._at(key): value for key, value in given.items()})

    def incr(self) -> Request:
        """INCR of a counter."""
        key = self._key("counter")
        value = self._incremented(self._at(key))
        return Request(resp_request("INCR", key), [b":" + value], {self._at(key): value})

    def delete(self) -> Request:
        """DEL of a key of each kind, of which any may be there."""
        keys = [self._key(kind) for kind in ("string", "counter", "document")]
        keys += [self._key("list", _OWN_LISTS), self._key("hash", _OWN_HASHES), self._key("set", _OWN_SETS)]
        keys.append(self._key("ranking", _OWN_RANKINGS))
        at = list(map(self._at, keys))
        there = sum(one in self._planned for one in at)
        return Request(resp_request("DEL", *keys), [b":%d" % there], dict.fromkeys(at))

    def insert(self) -> Request:
        """Insert of a document, as a JSON line."""
        key = self._key("document")
        document = {"number": self._number(), "text": "x" * self._chance.randrange(_LONGEST_PADDING)}
        line = json.dumps({"method": "insert", "key": key.decode(), "value": document})
        return Request(line.encode() + b"\n", [b'{"result":"success"}'], {self._at(key): as_text(document)})

    def get(self) -> Request:
        """GET of a key of its own."""
        key = self._key("string")
        return Request(resp_request("GET", key), bulk(self._planned.get(self._at(key))), {})

    def get_shared(self) -> Request:
        """GET of the counter that all share; of a key of its own in another database."""
        if self._database:
            return self.get()
        return Request(resp_request("GET", SHARED), [Unknown.LENGTH, Unknown.READ], {})

    def remove(self) -> Request:
        """Remove of a document that may or may not be there, as a JSON line."""
        key = self._key("document")
        there = self._at(key) in self._planned
        line = b'{"result":"success"}' if there else b'{"result":"failure","error":"no such key"}'
        return Request(b'{"method":"remove","key":"%b"}\n' % key, [line], {self._at(key): None})

    # Lists, hashes and sets

    def push(self) -> Request:
        """Up to three elements, that were never used before, at either end of a list."""
        key, new = self._key("list", _OWN_LISTS), [self._value() for _ in range(self._chance.randint(1, 3))]
        before = self._list(key)
        name = self._chance.choice((b"RPUSH", b"LPUSH"))
        after = (*before, *new) if name == b"RPUSH" else (*reversed(new), *before)
        return Request(resp_request(name, key, *new), [b":%d" % len(after)], {self._at(key): after})

    def pop(self) -> Request:
        """Up to five elements from either end."""
        key, count = self._key("list", _OWN_LISTS), self._chance.randint(1, 5)
        before = self._list(key)
        name = self._chance.choice((b"LPOP", b"RPOP"))
        taken, after = before[:count], before[count:]
        if name == b"RPOP":
            taken, after = before[::-1][:count], before[: max(0, len(before) - count)]
        lines = [b"*%d" % len(taken), *(line for each in taken for line in bulk(each))] if before else [b"*-1"]
        return Request(resp_request(name, key, b"%d" % count), lines, {self._at(key): after or None})

    def move_element(self) -> Request:
        """LMOVE from the front of a list to the end of another, or of itself."""
        source, target = self._key("list", _OWN_LISTS), self._key("list", _OWN_LISTS)
        data = resp_request("LMOVE", source, target, "LEFT", "RIGHT")
        if not (before := self._list(source)):
            return Request(data, [b"$-1"], {})
        left = {self._at(source): before[1:]}
        changes = {**left, self._at(target): (*left.get(self._at(target), self._list(target)), before[0])}
        return Request(data, bulk(before[0]), {at: after or None for at, after in changes.items()})

    def trim(self) -> Request:
        """LTRIM, so that no list grows for ever."""
        key = self._key("list", _OWN_LISTS)
        return Request(
            resp_request("LTRIM", key, "-20", "-2"), [b"+OK"], {self._at(key): self._list(key)[-20:-1] or None}
        )

    def hset(self) -> Request:
        """HSET of one to three fields; a deadline that they had is gone."""
        key, before = self._hash()
        given = {self._field(): self._value() for _ in range(self._chance.randint(1, 3))}
        after = before | {field: (value, -1) for field, value in given.items()}
        words = [word for pair in given.items() for word in pair]
        added = b":%d" % (len(after) - len(before))
        return Request(resp_request("HSET", key, *words), [added], {self._at(key): after})

    def hincrby(self) -> Request:
        """HINCRBY of a field that only this changes."""
        key, before = self._hash()
        number = b"%d" % (int(before.get(b"count", (b"0", -1))[0]) + 7)
        changes: dict[bytes, Held | None] = {self._at(key): before | {b"count": (number, -1)}}
        return Request(resp_request("HINCRBY", key, "count", "7"), [b":" + number], changes)

    def hdel(self) -> Request:
        """HDEL of two fields."""
        key, before = self._hash()
        fields = {self._field(), self._field()}
        after = {field: inside for field, inside in before.items() if field not in fields}
        gone = b":%d" % (len(before) - len(after))
        return Request(resp_request("HDEL", key, *fields), [gone], {self._at(key): after or None})

    def hpexpireat(self) -> Request:
        """A deadline, far away, for a field."""
        key, before = self._hash()
        field, deadline = self._field(), 4_000_000_000_000 + self._number()
        data = resp_request("HPEXPIREAT", key, b"%d" % deadline, "FIELDS", "1", field)
        if field not in before:
            return Request(data, [b"*1", b":-2"], {})
        return Request(data, [b"*1", b":1"], {self._at(key): before | {field: (before[field][0], deadline)}})

    def sadd(self) -> Request:
        """SADD of one to three members."""
        key, before = self._set()
        given = [self._field() for _ in range(self._chance.randint(1, 3))]
        after = before.union(given)
        added = b":%d" % (len(after) - len(before))
        return Request(resp_request("SADD", key, *given), [added], {self._at(key): after})

    def srem(self) -> Request:
        """SREM of two members."""
        key, before = self._set()
        after = before - (gone := {self._field(), self._field()})
        removed = b":%d" % (len(before) - len(after))
        return Request(resp_request("SREM", key, *gone), [removed], {self._at(key): after or None})

    def smove(self) -> Request:
        """SMOVE from a set to another, or to itself."""
        (source, before), (target, _), member = self._set(), self._set(), self._field()
        data = resp_request("SMOVE", source, target, member)
        if member not in before:
            return Request(data, [b":0"], {})
        changes: dict[bytes, Held | None] = {self._at(source): before - {member} or None}
        changes[self._at(target)] = self._members(target) | {member} if source != target else before
        return Request(data, [b":1"], changes)

    def sunionstore(self) -> Request:
        """SUNIONSTORE of two sets."""
        (target, _), (one, _), (other, _) = self._set(), self._set(), self._set()
        after = self._members(one) | self._members(other)
        data = resp_request("SUNIONSTORE", target, one, other)
        return Request(data, [b":%d" % len(after)], {self._at(target): after or None})

    def zadd(self) -> Request:
        """ZADD of one to three members, some of which have these scores already."""
        key, before = self._scores()
        given = {self._field(): self._chance.randrange(9) for _ in range(self._chance.randint(1, 3))}
        words = [word for member, score in given.items() for word in (b"%d" % score, member)]
        added = b":%d" % len(given.keys() - before.keys())
        return Request(resp_request("ZADD", key, *words), [added], {self._at(key): _ranking(before | given)})

    def zincrby(self) -> Request:
        """ZINCRBY of a member."""
        key, before = self._scores()
        member = self._field()
        score = before.get(member, 0) - 3
        changes: dict[bytes, Held | None] = {self._at(key): _ranking(before | {member: score})}
        return Request(resp_request("ZINCRBY", key, "-3", member), bulk(b"%d" % score), changes)

    def zpop(self) -> Request:
        """ZPOPMIN or ZPOPMAX of one."""
        key, before = self._scores()
        held, end = _ranking(before) or (), self._chance.choice((b"MIN", b"MAX"))
        data = resp_request(b"ZPOP" + end, key)
        if not held:
            return Request(data, [b"*0"], {})
        taken, left = (held[:2], held[2:]) if end == b"MIN" else (held[-2:], held[:-2])
        return Request(data, [b"*2", *bulk(taken[0]), *bulk(taken[1])], {self._at(key): left or None})

    def _scores(self) -> tuple[bytes, dict[bytes, int]]:
        """A sorted set's key, and the scores of its members."""
        key = self._key("ranking", _OWN_RANKINGS)
        held = self._list(key)
        return key, dict(zip(held[::2], map(int, held[1::2]), strict=True))

    def rename(self) -> Request:
        """RENAME of a list, a hash, a set or a sorted set, maybe over another one."""
        kind = self._chance.choice(("list", "hash", "set", "ranking"))
        key, newkey = self._key(kind, _OWN_LISTS), self._key(kind, _OWN_LISTS)
        data, held = resp_request("RENAME", key, newkey), self._planned.get(self._at(key))
        if held is None:
            return Request(data, [b"-ERR no such key"], {})
        return Request(data, [b"+OK"], {self._at(key): None, self._at(newkey): held})

    def move(self) -> Request:
        """MOVE of a list, a hash or a set to another database, which may have it."""
        key = self._key(self._chance.choice(("list", "hash", "set")), _OWN_LISTS)
        other = (self._database + 1) % DATABASES
        data, held = resp_request("MOVE", key, b"%d" % other), self._planned.get(self._at(key))
        if held is None or place(other, key) in self._planned:
            return Request(data, [b":0"], {})
        return Request(data, [b":1"], {self._at(key): None, place(other, key): held})

    def _list(self, key: bytes) -> Elements:
        held = self._planned.get(self._at(key), ())
        assert isinstance(held, tuple)
        return held

    def _hash(self) -> tuple[bytes, Fields]:
        """A hash's key, and what it holds."""
        key = self._key("hash", _OWN_HASHES)
        held = self._planned.get(self._at(key), {})
        assert isinstance(held, dict)
        return key, held

    def _set(self) -> tuple[bytes, Members]:
        """A set's key, and its members."""
        key = self._key("set", _OWN_SETS)
        return key, self._members(key)

    def _members(self, key: bytes) -> Members:
        held = self._planned.get(self._at(key), frozenset())
        assert isinstance(held, frozenset)
        return held

    def _field(self) -> bytes:
        return b"field-%d" % self._chance.randrange(_FIELDS)

    # Blocks

    def block(self) -> Request:
        """The first half of a MULTI block; the second half is the next request, and does it all.

        Part of it is about another database; one of its commands fails.
        """
        own, removed = self.counter, self._key("document")
        first, second, pushed = self._key("string"), self._key("string"), self._key("list", _OWN_LISTS)
        number, element = self._incremented(own), self._value()
        changes: dict[bytes, Held | None] = {own: number, self._at(pushed): (*self._list(pushed), element)}
        values = self._value(), self._value()
        changes[self._at(first)], changes[self._at(second)] = values
        there = self._at(removed) in self._planned
        changes[self._at(removed)] = None
        replies: list[bytes | Unknown] = [
            b"+OK", WRONG_TYPE, b"+OK", b":%d" % (len(self._list(pushed)) + 1), b"+OK", b":" + number, Unknown.BLOCK,
            b"+OK", b":%d" % there,
        ]  # fmt: skip
        second_half = [
            resp_request("LPUSH", first, "never"), resp_request("SET", second, values[1]),
            resp_request("RPUSH", pushed, element), resp_request("SELECT", "0"), resp_request("INCR", own),
            resp_request("INCR", SHARED), resp_request("SELECT", b"%d" % self._database),
            resp_request("DEL", removed), resp_request("EXEC"),
        ]  # fmt: skip
        lines = [*[b"+QUEUED"] * (len(second_half) - 1), b"*%d" % len(replies), *replies]
        self._second_half = Request(b"".join(second_half), lines, changes)
        return Request(resp_request("MULTI") + resp_request("SET", first, values[0]), [b"+OK", b"+QUEUED"], {})

    @property
    def counter(self) -> bytes:
        """The key that counts this client's blocks, in database 0."""
        return b"%b:blocks" % self.name.encode()

    def blocks(self) -> int:
        """How many of its blocks were done, as far as its state says."""
        held = self.state.get(self.counter, b"0")
        assert isinstance(held, bytes)
        return int(held)

    def _at(self, key: bytes) -> bytes:
        return place(self._database, key)

    def _key(self, kind: str, keys: int = _OWN_KEYS) -> bytes:
        return b"%b:%b:%d" % (self.name.encode(), kind.encode(), self._chance.randrange(keys))

    def _number(self) -> int:
        self._serial += 1
        return self._serial

    def _value(self) -> bytes:
        """A value that was never used before."""
        return b"%b-%d-%b" % (self.name.encode(), self._number(), b"x" * self._chance.randrange(_LONGEST_PADDING))

    def _incremented(self, at: bytes) -> bytes:
        held = self._planned.get(at, b"0")
        assert isinstance(held, bytes)
        return b"%d" % (int(held) + 1)

    # Hearing replies

    def hear(self, line: bytes) -> tuple[Unknown, int] | None:
        """One line of reply. Returns what could not be known before, if it was such a line. Raises Violation."""
        if not self.in_flight:
            raise Violation(f"{self.name} was answered {line!r}, and had asked nothing")
        request = self.in_flight[0]
        expected = request.lines[self._received]
        heard = (expected, number_in(line, expected.value)) if isinstance(expected, Unknown) else None
        if (line != expected) if heard is None else heard[1] < 0:
            raise Violation(f"{self.name}: {request.data[:200]!r} was answered {line!r}, not {expected!r}")
        self._received += 1
        if self._received == len(request.lines):
            self._received = 0
            self.in_flight.popleft()
            self.acknowledged += 1
            _apply(self.state, request)
        return heard

    # After a crash

    def settle(self, found: dict[bytes, Held]) -> int:
        """The server was killed; `found` are this client's keys after recovery. Returns how many requests in flight
        were done. Raises Violation if no number of them explains what was found.
        """
        candidate = dict(self.state)
        for done in range(len(self.in_flight) + 1):
            if candidate == found:
                self.state, self._planned = candidate, dict(candidate)
                self.in_flight.clear()
                self._received, self._second_half, self._database = 0, None, 0
                return done
            if done < len(self.in_flight):
                _apply(candidate, self.in_flight[done])
        raise Violation(f"{self.name}: {self._difference(found)}")

    def _difference(self, found: dict[bytes, Held]) -> str:
        """What is wrong, against the acknowledged state; keys that requests in flight may have changed are named."""
        open_keys = {key for request in self.in_flight for key in request.changes}
        wrong = [key for key in sorted(self.state.keys() | found.keys()) if self.state.get(key) != found.get(key)]
        shown = [
            f"{key!r}: acknowledged {shortened(self.state.get(key))}, found {shortened(found.get(key))}"
            f"{' (in flight)' if key in open_keys else ''}"
            for key in wrong[:10]
        ]
        return (
            f"after {self.acknowledged} acknowledged requests, with {len(self.in_flight)} in flight, no number of these"
            f" explains the {len(wrong)} keys that differ: {'; '.join(shown)}"
        )


_MAKERS: Sequence[Callable[[Writer], Request | list[Request]]] = (
    Writer.set, Writer.set, Writer.sets, Writer.gets, Writer.mset, Writer.incr, Writer.delete, Writer.insert,
    Writer.insert, Writer.remove, Writer.block, Writer.block, Writer.get, Writer.get_shared, Writer.select,
    Writer.select, Writer.push, Writer.push, Writer.pop, Writer.move_element, Writer.trim, Writer.hset, Writer.hset,
    Writer.hincrby, Writer.hdel, Writer.hpexpireat, Writer.hpexpireat, Writer.sadd, Writer.sadd, Writer.srem,
    Writer.smove, Writer.sunionstore, Writer.zadd, Writer.zadd, Writer.zincrby, Writer.zpop, Writer.rename, Writer.move,
)  # fmt: skip


def _ranking(scores: dict[bytes, int]) -> Elements | None:
    """A sorted set with these members: each and its score, in order."""
    in_order = sorted(scores.items(), key=lambda pair: (pair[1], pair[0]))
    return tuple(word for member, score in in_order for word in (member, b"%d" % score)) or None


def _apply(state: dict[bytes, Held], request: Request) -> None:
    for key, value in request.changes.items():
        if value is None:
            state.pop(key, None)
        else:
            state[key] = value
