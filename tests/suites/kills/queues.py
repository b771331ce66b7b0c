"""Queues in a kill run: shared by all clients, who push to them, take from them and wait for them. A model, no I/O.

Lists, a sorted set, and a stream with a group, each a row of `KINDS`.

| an element that | after a crash |
|---|---|
| was acknowledged, and came out to nobody | is there, or was on its way to a client that died before it was told |
| came out to somebody | never comes again, and is not there |
| was in flight to the queue | is there, or not |
| nobody sent | is not there |

Elements go in at the right end and come out at the left. So one that is missing was the first of its queue: of what the
same client pushed to that queue before it, none is there. And each request to take that was in flight accounts for one
that is missing, at most.

What came out of a stream is not gone, but pending with the client that was given it, which it was once, until that has
done with it, by a script: acknowledged and deleted. So nothing of it is missing: what was on its way to a client is
pending there.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from kvstore.client.raw import resp_request
from tests.suites.kills.request import Elements, Held, Stream, Violation

#: In database 0.
LISTS, RANKED, STREAM = (b"queue:0", b"queue:1"), b"queue:2", b"queue:3"
QUEUES = (*LISTS, RANKED, STREAM)
_NOTHING = (b"*-1", b"$-1")
_DONE = b"redis.call('xack', KEYS[1], 'g', ARGV[1]) return redis.call('xdel', KEYS[1], ARGV[1])"


class Taking(NamedTuple):
    """A way to take. `words`: given the client's name, queues, and how long to wait, in hundredths of a second as a
    digit. `lines`: of a reply with an element, which is line `at`.
    """

    words: Callable[[bytes, Sequence[bytes], bytes], Sequence[str | bytes]]
    lines: int
    at: int


class Kind(NamedTuple):
    """How a queue is used. `pushes`: given its name and up to `most` elements with their numbers, which grow."""

    queues: Sequence[bytes]
    most: int
    pushes: Callable[[bytes, Sequence[tuple[int, bytes]]], bytes]
    takings: Sequence[Taking]


def _push(queue: bytes, elements: Sequence[tuple[int, bytes]]) -> bytes:
    return resp_request("RPUSH", queue, *(element for _, element in elements))


def _rank(queue: bytes, elements: Sequence[tuple[int, bytes]]) -> bytes:
    return resp_request("ZADD", queue, *(word for number, element in elements for word in (b"%d" % number, element)))


def _add(queue: bytes, elements: Sequence[tuple[int, bytes]]) -> bytes:
    return b"".join(resp_request("XADD", queue, "*", "e", element) for _, element in elements)


KINDS = (
    Kind(LISTS, 2, _push, (
        Taking(lambda name, queues, time: ("BLPOP", *queues, b"0.0" + time), 5, 4),
        Taking(lambda name, queues, time: ("BLMPOP", b"0.0" + time, b"%d" % len(queues), *queues, "LEFT"), 6, 5),
    )),
    Kind((RANKED,), 2, _rank, (
        Taking(lambda name, queues, time: ("BZPOPMIN", *queues, b"0.0" + time), 7, 4),
        Taking(lambda name, queues, time: ("BZMPOP", b"0.0" + time, b"1", *queues, "MIN"), 9, 6),
    )),
    Kind((STREAM,), 1, _add, (
        Taking(lambda name, queues, time: (
            "XREADGROUP", "GROUP", "g", name, "COUNT", "1", "BLOCK", time + b"0", "STREAMS", *queues, ">"
        ), 13, 12),
    )),
)  # fmt: skip


class Ask(NamedTuple):
    """One request. `pushed`: elements that it puts in; `done`: one, taken from the stream, that is done with; if
    neither, it takes one out. `lines`: of a reply that is not one line; `at`: which of them is the element.
    """

    data: bytes
    pushed: Elements = ()
    lines: int = 5
    at: int = 4
    done: bytes | None = None

    @property
    def takes(self) -> bool:
        """Whether it takes one out."""
        return not self.pushed and self.done is None


class Queues:
    """What all clients of the queues know together. `missing`: elements so far that dead clients had got; `taken`: all
    that came out. `clients`: how many there are; `seed`: of their chance.
    """

    def __init__(self, clients: int, seed: int) -> None:
        self.clients = [QueueClient(self, b"q%d" % i, random.Random(f"{seed}/q{i}")) for i in range(clients)]
        #: Elements that may be there, in the order in which they were sent, each with its client and queue.
        self.sent: dict[bytes, tuple[bytes, bytes]] = {}
        #: Those of them that must be there.
        self.acknowledged: set[bytes] = set()
        self.taken: set[bytes] = set()
        #: What came out of the stream, and is pending: the client, and the id.
        self.given: dict[bytes, tuple[bytes, int]] = {}
        self.missing = 0

    def came_out(self, element: bytes) -> None:
        """Somebody was told it. Raises Violation."""
        if element in self.taken:
            raise Violation(f"{element!r} came out twice")
        if element not in self.sent:
            raise Violation(f"{element!r} came out, and nobody put it in, or it was gone after a crash")
        self.taken.add(element)
        self.acknowledged.discard(element)

    def settle(self, held: Mapping[bytes, Held]) -> None:
        """After a crash the queues hold this. Raises Violation."""
        found = [element for queue in QUEUES for element in _elements(queue, held.get(queue))]
        there = set(found)
        if len(there) < len(found):
            raise Violation("an element is in the queues twice")
        if again := there & self.taken:
            raise Violation(f"{again} came out, and are there again")
        if strange := there - self.sent.keys():
            raise Violation(f"{strange} are there, and nobody put them in, or they were gone after a crash")
        missing = self.acknowledged - there
        takers = sum(request.takes for client in self.clients for request in client.in_flight)
        if len(missing) > takers:
            raise Violation(f"{missing} are missing, and only {takers} requests could have got one")
        self._check_order(missing, there)
        stream = held.get(STREAM, Stream())
        assert isinstance(stream, Stream)
        self._settle_pending(stream, missing)
        self.missing += len(missing)
        self.sent = {element: where for element, where in self.sent.items() if element in there}
        self.acknowledged = there
        for client in self.clients:
            client.forget()

    def _check_order(self, missing: Iterable[bytes], there: set[bytes]) -> None:
        first: dict[tuple[bytes, bytes], bytes] = {}
        for element, where in self.sent.items():
            if element in there:
                first.setdefault(where, element)
            elif element in missing and where in first:
                raise Violation(f"{element!r} is missing, and {first[where]!r}, before it in the queue, is there")

    def _settle_pending(self, stream: Stream, missing: set[bytes]) -> None:
        """What is pending is what somebody was given, once, and not done with."""
        elements = dict(stream.entries)
        pending = {elements.get(each.number, b"?"): (each.consumer, each.number) for each in stream.pending or ()}
        if any(each.times != 1 for each in stream.pending or ()):
            raise Violation(f"an entry was given out twice: {stream.pending}")
        if lost := {value for number, value in stream.entries if number <= stream.read} ^ pending.keys():
            raise Violation(f"{lost} are pending and not in the stream, or were given out and are not pending")
        for element, holder in pending.items():
            if self.given.get(element, holder) != holder or (element in self.taken and element not in self.given):
                raise Violation(f"{element!r} is pending with {holder}; it was given to {self.given.get(element)}")
            if element not in self.given and not self._waits(holder[0]):
                raise Violation(f"{element!r} is pending with {holder}, who has not asked for it")
        done = {request.done for client in self.clients for request in client.in_flight}
        of_stream = {element for element in missing if self.sent[element][1] == STREAM}
        if lost := (self.given.keys() - done | of_stream) - pending.keys():
            raise Violation(f"{lost} were given out, and are not pending")
        self.taken |= pending.keys()
        self.given = pending

    def _waits(self, name: bytes) -> bool:
        return any(request.takes for client in self.clients if client.name == name for request in client.in_flight)


def _elements(queue: bytes, held: Held | None) -> Iterable[bytes]:
    """What can be taken from a queue."""
    if isinstance(held, Stream):
        return [value for number, value in held.entries if number > held.read]
    assert held is None or isinstance(held, tuple)
    return () if held is None else held[:: 2 if queue == RANKED else 1]


class QueueClient:
    """One of them; it asks as a `Writer` does, and is told as one. It may `vanish`, whatever it waits for."""

    def __init__(self, queues: Queues, name: bytes, chance: random.Random) -> None:
        self.in_flight: deque[Ask] = deque()
        self.name = name
        self._queues = queues
        self._chance = chance
        self._serial = 0
        self._heard: list[bytes] = []

    def next_request(self) -> bytes:
        """Another request, in flight from now on."""
        chance, kind = self._chance.random(), self._chance.choice(KINDS)
        request = self._done() if chance < 0.2 else None
        request = request or (self._push(kind) if chance < 0.55 else self._take(kind))
        self.in_flight.append(request)
        return request.data

    def _push(self, kind: Kind) -> Ask:
        queue = self._chance.choice(kind.queues)
        elements = []
        for _ in range(self._chance.randint(1, kind.most)):
            self._serial += 1
            elements.append((self._serial, b"%b-%d" % (self.name, self._serial)))
        names = tuple(name for _, name in elements)
        self._queues.sent.update(dict.fromkeys(names, (self.name, queue)))
        return Ask(kind.pushes(queue, elements), names, lines=2)

    def _take(self, kind: Kind) -> Ask:
        queues = self._chance.sample(kind.queues, self._chance.randint(1, len(kind.queues)))
        taking = self._chance.choice(kind.takings)
        words = taking.words(self.name, queues, b"%d" % self._chance.randint(1, 9))
        return Ask(resp_request(*words), lines=taking.lines, at=taking.at)

    def _done(self) -> Ask | None:
        """Be done with one that it was given, if there is one."""
        asked = {request.done for request in self.in_flight}
        mine = [name for name, (client, _) in self._queues.given.items() if client == self.name and name not in asked]
        if not mine:
            return None
        entry_id = b"%d-%d" % divmod(self._queues.given[mine[0]][1], 1 << 64)
        return Ask(resp_request("EVAL", _DONE, "1", STREAM, entry_id), done=mine[0])

    def vanish(self) -> bool:
        """Whether it dies now, in the middle of what it waits for."""
        return bool(self.in_flight) and self._chance.random() < 0.005

    def hear(self, line: bytes) -> None:
        """A line of a reply. Raises Violation."""
        self._heard.append(line)
        request = self.in_flight[0]
        if len(self._heard) < (1 if self._heard[0] in _NOTHING or self._heard[0][:1] in b":-" else request.lines):
            return
        heard, self._heard = self._heard, []
        self.in_flight.popleft()
        if request.pushed and heard[0][:1] in b":$":
            self._queues.acknowledged |= set(request.pushed) - self._queues.taken
        elif request.done is not None and heard == [b":1"]:
            del self._queues.given[request.done]
        elif request.takes and len(heard) == request.lines:
            self._queues.came_out(heard[request.at])
            if heard[3] == STREAM:
                ms, _, serial = heard[7].partition(b"-")
                self._queues.given[heard[request.at]] = self.name, int(ms) << 64 | int(serial)
        elif not (request.takes and heard[0] in _NOTHING):
            raise Violation(f"{request.data!r} was answered {heard!r}")

    def forget(self) -> None:
        """What was in flight has been looked at."""
        self.in_flight.clear()
        self._heard.clear()
