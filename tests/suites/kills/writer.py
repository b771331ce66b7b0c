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
from tests.suites.kills import containers, functions, scripts, streams
from tests.suites.kills.own import FEW, LONGEST_PADDING, Own
from tests.suites.kills.request import (
    DATABASES,
    WRONG_TYPE,
    Beginning,
    Held,
    Line,
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

#: Requests in a pipeline of one command. The server takes so few for one from 6 on.
_SHORTEST_PIPELINE, _LONGEST_PIPELINE = 7, 20


class Writer(Own):
    """One client: makes requests, knows what they must be answered, and what may be found after a crash.

    `name`: begins each of its keys. `chance`: where its requests come from. `has_functions`: whether it is the one that
    has libraries of functions. It does no I/O.
    """

    def __init__(self, name: str, chance: random.Random, has_functions: bool = False) -> None:
        super().__init__(name, chance)
        self._makers = (*_MAKERS, *functions.MAKERS * 3) if has_functions else _MAKERS
        self.state: dict[bytes, Held] = {}
        self.in_flight: deque[Request] = deque()
        self.acknowledged = 0
        self._scripts_loaded = False
        self._second_half: Request | None = None
        self._received = 0  # lines of the reply that is coming

    # Making requests

    def next_request(self) -> bytes:
        """Another request, or a pipeline of them, in flight from now on."""
        request, self._second_half = self._second_half, None
        if not self._scripts_loaded:  # a server begins without any
            self._scripts_loaded, request = True, scripts.load()
        made = request or self.chance.choice(self._makers)(self)
        requests = made if isinstance(made, list) else [made]
        self.in_flight.extend(requests)
        for request in requests:
            _apply(self.planned, request)
        return b"".join(request.data for request in requests)

    def select(self) -> Request:
        """SELECT of a database: what comes next is about that one."""
        self.database = self.chance.randrange(DATABASES)
        return Request(resp_request("SELECT", b"%d" % self.database), [b"+OK"], {})

    def set(self) -> Request:
        """SET of one key."""
        key, value = self.key("string"), self.value()
        return Request(resp_request("SET", key, value), [b"+OK"], {self.at(key): value})

    def sets(self) -> list[Request]:
        """A pipeline of SETs, some of the same key: the server executes it as columns."""
        return [self.set() for _ in range(self.chance.randrange(_SHORTEST_PIPELINE, _LONGEST_PIPELINE))]

    def gets(self) -> list[Request]:
        """A pipeline of GETs."""
        return [self.get() for _ in range(self.chance.randrange(_SHORTEST_PIPELINE, _LONGEST_PIPELINE))]

    def mset(self) -> Request:
        """MSET of three."""
        given = {self.key("string"): self.value() for _ in range(3)}
        words = [word for pair in given.items() for word in pair]
        return Request(resp_request("MSET", *words), [b"+OK"], {self.at(key): value for key, value in given.items()})

    def msetex(self) -> Request:
        """MSETEX of two, if none of them is there, or if all are."""
        given = {self.key("string"): self.value() for _ in range(2)}
        words, condition = [word for pair in given.items() for word in pair], self.chance.choice((b"NX", b"XX"))
        there = [self.at(key) in self.planned for key in given]
        done = all(there) if condition == b"XX" else not any(there)
        data = resp_request("MSETEX", b"%d" % len(given), *words, condition)
        return Request(data, [b":%d" % done], {self.at(key): value for key, value in given.items()} if done else {})

    def incr(self) -> Request:
        """INCR of a counter."""
        key = self.key("counter")
        value = self.incremented(self.at(key))
        return Request(resp_request("INCR", key), [b":" + value], {self.at(key): value})

    def delete(self) -> Request:
        """DEL of a key of each kind, of which any may be there."""
        keys = [self.key(kind) for kind in ("string", "counter", "document")]
        keys += [self.key("list", FEW), self.key("hash", FEW), self.key("set", FEW)]
        keys += [self.key("ranking", FEW), self.key("stream", FEW)]
        at = list(map(self.at, keys))
        there = sum(one in self.planned for one in at)
        return Request(resp_request("DEL", *keys), [b":%d" % there], dict.fromkeys(at))

    def insert(self) -> Request:
        """Insert of a document, as a JSON line."""
        key = self.key("document")
        document = {"number": self.number(), "text": "x" * self.chance.randrange(LONGEST_PADDING)}
        line = json.dumps({"method": "insert", "key": key.decode(), "value": document})
        return Request(line.encode() + b"\n", [b'{"result":"success"}'], {self.at(key): as_text(document)})

    def get(self) -> Request:
        """GET of a key of its own."""
        key = self.key("string")
        return Request(resp_request("GET", key), bulk(self.planned.get(self.at(key))), {})

    def get_shared(self) -> Request:
        """GET of the counter that all share; of a key of its own in another database."""
        if self.database:
            return self.get()
        return Request(resp_request("GET", SHARED), [Unknown.LENGTH, Unknown.READ], {})

    def remove(self) -> Request:
        """Remove of a document that may or may not be there, as a JSON line."""
        key = self.key("document")
        there = self.at(key) in self.planned
        line = b'{"result":"success"}' if there else b'{"result":"failure","error":"no such key"}'
        return Request(b'{"method":"remove","key":"%b"}\n' % key, [line], {self.at(key): None})

    def rename(self) -> Request:
        """RENAME of a list, a hash, a set, a sorted set or a stream, maybe over another one."""
        kind = self.chance.choice(("list", "hash", "set", "ranking", "stream"))
        key, newkey = self.key(kind, FEW), self.key(kind, FEW)
        data, held = resp_request("RENAME", key, newkey), self.planned.get(self.at(key))
        if held is None:
            return Request(data, [b"-ERR no such key"], {})
        return Request(data, [b"+OK"], {self.at(key): None, self.at(newkey): held})

    def move(self) -> Request:
        """MOVE of a list, a hash, a set or a stream to another database, which may have it."""
        key = self.key(self.chance.choice(("list", "hash", "set", "stream")), FEW)
        other = (self.database + 1) % DATABASES
        data, held = resp_request("MOVE", key, b"%d" % other), self.planned.get(self.at(key))
        if held is None or place(other, key) in self.planned:
            return Request(data, [b":0"], {})
        return Request(data, [b":1"], {self.at(key): None, place(other, key): held})

    # Blocks

    def block(self) -> Request:
        """The first half of a MULTI block; the second half is the next request, and does it all.

        Part of it is about another database; one of its commands fails.
        """
        own, removed = self.counter, self.key("document")
        first, second, pushed = self.key("string"), self.key("string"), self.key("list", FEW)
        number, element = self.incremented(own), self.value()
        changes: dict[bytes, Held | None] = {own: number, self.at(pushed): (*self.elements(pushed), element)}
        values = self.value(), self.value()
        changes[self.at(first)], changes[self.at(second)] = values
        there = self.at(removed) in self.planned
        changes[self.at(removed)] = None
        replies: list[bytes | Unknown] = [
            b"+OK", WRONG_TYPE, b"+OK", b":%d" % (len(self.elements(pushed)) + 1), b"+OK", b":" + number, Unknown.BLOCK,
            b"+OK", b":%d" % there,
        ]  # fmt: skip
        second_half = [
            resp_request("LPUSH", first, "never"), resp_request("SET", second, values[1]),
            resp_request("RPUSH", pushed, element), resp_request("SELECT", "0"), resp_request("INCR", own),
            resp_request("INCR", SHARED), resp_request("SELECT", b"%d" % self.database),
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

    # Hearing replies

    def hear(self, line: bytes) -> tuple[Unknown, int] | None:
        """One line of reply. Returns what could not be known before, if it was such a line. Raises Violation."""
        if not self.in_flight:
            raise Violation(f"{self.name} was answered {line!r}, and had asked nothing")
        request = self.in_flight[0]
        expected = request.lines[self._received]
        heard = (expected, number_in(line, expected.value)) if isinstance(expected, Unknown) else None
        if heard[1] < 0 if heard is not None else not _fits(line, expected):
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
                self.state, self.planned = candidate, dict(candidate)
                self.in_flight.clear()
                self._received, self._second_half, self.database, self._scripts_loaded = 0, None, 0, False
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
    Writer.select, *containers.MAKERS, Writer.rename, Writer.move,
    Writer.msetex, Writer.msetex, *streams.MAKERS, *scripts.MAKERS,
)  # fmt: skip


def _fits(line: bytes, expected: Line) -> bool:
    return line.startswith(expected) if isinstance(expected, Beginning) else line == expected


def _apply(state: dict[bytes, Held], request: Request) -> None:
    for key, value in request.changes.items():
        if value is None:
            state.pop(key, None)
        else:
            state[key] = value
