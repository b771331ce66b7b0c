"""Queues in a kill run: lists that clients push to, take from and wait for, shared by all of them. A model, no I/O.

| an element that | after a crash |
|---|---|
| was acknowledged, and came out to nobody | is there, or was on its way to a client that died before it was told |
| came out to somebody | never comes again, and is not there |
| was in flight to the queue | is there, or not |
| nobody sent | is not there |

Elements go in at the right end and come out at the left. So one that is missing was the first of its queue: of what the
same client pushed to that queue before it, none is there. And each request to take that was in flight accounts for one
that is missing, at most.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from kvstore.client.raw import resp_request
from tests.suites.kills.request import Elements, Held, Violation

#: In database 0.
QUEUES = (b"queue:0", b"queue:1")
_NOTHING = (b"*-1", b"$-1")
_LINES = {b"*2": 5}


class Ask(NamedTuple):
    """One request: `pushed`, elements that it puts in; none if it takes one out."""

    data: bytes
    pushed: Elements = ()


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
        found = [element for queue in QUEUES for element in held.get(queue, ())]
        there = set(found)
        if len(there) < len(found):
            raise Violation("an element is in the queues twice")
        if again := there & self.taken:
            raise Violation(f"{again} came out, and are there again")
        if strange := there - self.sent.keys():
            raise Violation(f"{strange} are there, and nobody put them in, or they were gone after a crash")
        missing = self.acknowledged - there
        takers = sum(not request.pushed for client in self.clients for request in client.in_flight)
        if len(missing) > takers:
            raise Violation(f"{missing} are missing, and only {takers} requests could have got one")
        self._check_order(missing, there)
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


class QueueClient:
    """One of them; it asks as a `Writer` does, and is told as one. It may `vanish`, whatever it waits for."""

    def __init__(self, queues: Queues, name: bytes, chance: random.Random) -> None:
        self.in_flight: deque[Ask] = deque()
        self._queues = queues
        self._name = name
        self._chance = chance
        self._serial = 0
        self._heard: list[bytes] = []

    def next_request(self) -> bytes:
        """Another request, in flight from now on."""
        request = self._push() if self._chance.random() < 0.45 else self._take()
        self.in_flight.append(request)
        return request.data

    def _push(self) -> Ask:
        queue = self._chance.choice(QUEUES)
        elements = []
        for _ in range(self._chance.randint(1, 2)):
            self._serial += 1
            elements.append(b"%b-%d" % (self._name, self._serial))
        self._queues.sent.update(dict.fromkeys(elements, (self._name, queue)))
        return Ask(resp_request("RPUSH", queue, *elements), tuple(elements))

    def _take(self) -> Ask:
        queues = self._chance.sample(QUEUES, self._chance.randint(1, len(QUEUES)))
        return Ask(resp_request("BLPOP", *queues, b"0.0%d" % self._chance.randint(1, 9)))

    def vanish(self) -> bool:
        """Whether it dies now, in the middle of what it waits for."""
        return bool(self.in_flight) and self._chance.random() < 0.005

    def hear(self, line: bytes) -> None:
        """A line of a reply. Raises Violation."""
        self._heard.append(line)
        if len(self._heard) < _LINES.get(self._heard[0], 1):
            return
        heard, self._heard = self._heard, []
        request = self.in_flight.popleft()
        if request.pushed:
            if heard[0][:1] != b":":
                raise Violation(f"{request.data!r} was answered {heard!r}")
            self._queues.acknowledged |= set(request.pushed) - self._queues.taken
        elif len(heard) == _LINES[b"*2"]:
            self._queues.came_out(heard[-1])
        elif heard[0] not in _NOTHING:
            raise Violation(f"{request.data!r} was answered {heard!r}")

    def forget(self) -> None:
        """What was in flight has been looked at."""
        self.in_flight.clear()
        self._heard.clear()
