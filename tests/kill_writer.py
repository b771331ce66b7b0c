"""One writing client of a kill run: makes requests, knows what each must be answered, and what a crash may leave.

It is a model and does no I/O: `kill_run` carries the bytes. Each client has keys of its own, and its requests execute
in their order; so the state after a crash must be the one after the requests that were acknowledged and the first j of
those that were in flight, for some j from 0 on.
"""

from __future__ import annotations

import enum
import json
import random
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from kvstore.client.raw import resp_request

#: The counter that every client's blocks increment.
SHARED = b"shared"

_OWN_KEYS = 40
_LONGEST_PADDING = 300

#: Requests in a pipeline of one command. The server takes so few for one from 6 on.
_SHORTEST_PIPELINE, _LONGEST_PIPELINE = 7, 20


class Violation(AssertionError):
    """A promise was broken. The text says which, and how to run into it again."""


class Unknown(enum.Enum):
    """A line of a reply that cannot be known before, by what it begins with; there is a whole number in it.

    BLOCK: the number that the shared counter gave a block. LENGTH: of what is in the next line. READ: the number that
    was read there.
    """

    BLOCK = b":"
    LENGTH = b"$"
    READ = b""


class Request(NamedTuple):
    """One request, or one half of a MULTI block.

    `lines`: those of its reply. `changes`: what it does to the client's keys; None for a key that it removes.
    """

    data: bytes
    lines: list[bytes | Unknown]
    changes: dict[bytes, bytes | None]


class Writer:
    """One client: makes requests, knows what they must be answered, and what may be found after a crash.

    `name`: begins each of its keys. `random`: where its requests come from. It does no I/O.
    """

    def __init__(self, name: str, chance: random.Random) -> None:
        self.name = name
        self.state: dict[bytes, bytes] = {}
        self.in_flight: deque[Request] = deque()
        self.acknowledged = 0
        self._planned: dict[bytes, bytes] = {}
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

    def set(self) -> Request:
        """SET of one key."""
        key, value = self._key("string"), self._value()
        return Request(resp_request("SET", key, value), [b"+OK"], {key: value})

    def sets(self) -> list[Request]:
        """A pipeline of SETs, some of the same key: the server executes it as columns."""
        return [self.set() for _ in range(self._chance.randrange(_SHORTEST_PIPELINE, _LONGEST_PIPELINE))]

    def gets(self) -> list[Request]:
        """A pipeline of GETs."""
        return [self.get() for _ in range(self._chance.randrange(_SHORTEST_PIPELINE, _LONGEST_PIPELINE))]

    def mset(self) -> Request:
        """MSET of three."""
        changes: dict[bytes, bytes | None] = {self._key("string"): self._value() for _ in range(3)}
        words = [word for key, value in changes.items() for word in (key, value or b"")]
        return Request(resp_request("MSET", *words), [b"+OK"], changes)

    def incr(self) -> Request:
        """INCR of a counter."""
        key = self._key("counter")
        value = self._incremented(key)
        return Request(resp_request("INCR", key), [b":" + value], {key: value})

    def delete(self) -> Request:
        """DEL of three keys, of which any may be there."""
        keys = [self._key(kind) for kind in ("string", "counter", "document")]
        there = sum(key in self._planned for key in keys)
        return Request(resp_request("DEL", *keys), [b":%d" % there], dict.fromkeys(keys))

    def insert(self) -> Request:
        """Insert of a document, as a JSON line."""
        key = self._key("document")
        document = {"number": self._number(), "text": "x" * self._chance.randrange(_LONGEST_PADDING)}
        line = json.dumps({"method": "insert", "key": key.decode(), "value": document})
        return Request(line.encode() + b"\n", [b'{"result":"success"}'], {key: as_text(document)})

    def get(self) -> Request:
        """GET of a key of its own."""
        key = self._key("string")
        value = self._planned.get(key)
        return Request(resp_request("GET", key), [b"$-1"] if value is None else [b"$%d" % len(value), value], {})

    def get_shared(self) -> Request:
        """GET of the counter that all share."""
        return Request(resp_request("GET", SHARED), [Unknown.LENGTH, Unknown.READ], {})

    def remove(self) -> Request:
        """Remove of a document that may or may not be there, as a JSON line."""
        key = self._key("document")
        there = key in self._planned
        line = b'{"result":"success"}' if there else b'{"result":"failure","error":"no such key"}'
        return Request(b'{"method":"remove","key":"%b"}\n' % key, [line], {key: None})

    def block(self) -> Request:
        """The first half of a MULTI block; the second half is the next request, and does it all."""
        own, removed = self.counter, self._key("document")
        first, second = self._key("string"), self._key("string")
        changes: dict[bytes, bytes | None] = {own: self._incremented(own)}
        halves: list[list[bytes]] = [[resp_request("MULTI"), resp_request("INCR", own)], []]
        for key in (first, second):
            changes[key] = value = self._value()
            halves[1].append(resp_request("SET", key, value))
        there = removed in self._planned
        changes[removed] = None
        halves[1] += [resp_request("INCR", SHARED), resp_request("DEL", removed), resp_request("EXEC")]
        replies: list[bytes | Unknown] = [b":" + (changes[own] or b""), b"+OK", b"+OK", Unknown.BLOCK, b":%d" % there]
        lines = [*[b"+QUEUED"] * 4, b"*%d" % len(replies), *replies]
        self._second_half = Request(b"".join(halves[1]), lines, changes)
        return Request(b"".join(halves[0]), [b"+OK", b"+QUEUED"], {})

    @property
    def counter(self) -> bytes:
        """The key that counts this client's blocks."""
        return b"%b:blocks" % self.name.encode()

    def blocks(self) -> int:
        """How many of its blocks were done, as far as its state says."""
        return int(self.state.get(self.counter, b"0"))

    def _key(self, kind: str) -> bytes:
        return b"%b:%b:%d" % (self.name.encode(), kind.encode(), self._chance.randrange(_OWN_KEYS))

    def _number(self) -> int:
        self._serial += 1
        return self._serial

    def _value(self) -> bytes:
        """A value that was never used before."""
        return b"%b-%d-%b" % (self.name.encode(), self._number(), b"x" * self._chance.randrange(_LONGEST_PADDING))

    def _incremented(self, key: bytes) -> bytes:
        return b"%d" % (int(self._planned.get(key, b"0")) + 1)

    # Hearing replies

    def hear(self, line: bytes) -> tuple[Unknown, int] | None:
        """One line of reply. Returns what could not be known before, if it was such a line. Raises Violation."""
        if not self.in_flight:
            raise Violation(f"{self.name} was answered {line!r}, and had asked nothing")
        request = self.in_flight[0]
        expected = request.lines[self._received]
        heard = (expected, _number_in(line, expected.value)) if isinstance(expected, Unknown) else None
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

    def settle(self, found: dict[bytes, bytes]) -> int:
        """The server was killed; `found` are this client's keys after recovery. Returns how many requests in flight
        were done. Raises Violation if no number of them explains what was found.
        """
        candidate = dict(self.state)
        for done in range(len(self.in_flight) + 1):
            if candidate == found:
                self.state, self._planned = candidate, dict(candidate)
                self.in_flight.clear()
                self._received, self._second_half = 0, None
                return done
            if done < len(self.in_flight):
                _apply(candidate, self.in_flight[done])
        raise Violation(f"{self.name}: {self._difference(found)}")

    def _difference(self, found: dict[bytes, bytes]) -> str:
        """What is wrong, against the acknowledged state; keys that requests in flight may have changed are named."""
        open_keys = {key for request in self.in_flight for key in request.changes}
        wrong = [key for key in sorted(self.state.keys() | found.keys()) if self.state.get(key) != found.get(key)]
        shown = [
            f"{key!r}: acknowledged {_shown(self.state.get(key))}, found {_shown(found.get(key))}"
            f"{' (in flight)' if key in open_keys else ''}"
            for key in wrong[:10]
        ]
        return (
            f"after {self.acknowledged} acknowledged requests, with {len(self.in_flight)} in flight, no number of these"
            f" explains the {len(wrong)} keys that differ: {'; '.join(shown)}"
        )


_MAKERS: Sequence[Callable[[Writer], Request | list[Request]]] = (
    Writer.set, Writer.set, Writer.sets, Writer.gets, Writer.mset, Writer.incr, Writer.delete, Writer.insert,
    Writer.insert, Writer.remove, Writer.block, Writer.block, Writer.get, Writer.get_shared,
)  # fmt: skip


def _apply(state: dict[bytes, bytes], request: Request) -> None:
    for key, value in request.changes.items():
        if value is None:
            state.pop(key, None)
        else:
            state[key] = value


def _number_in(line: bytes, begins: bytes) -> int:
    """The number after `begins`, -1 if there is none."""
    digits = line.removeprefix(begins)
    return int(digits) if line.startswith(begins) and digits.isdigit() else -1


def as_text(document: object) -> bytes:
    """A document in the one form in which documents are compared."""
    return json.dumps(document, sort_keys=True).encode()


def _shown(value: bytes | None) -> str:
    return "nothing" if value is None else repr(value[:40])
