"""What came from clients in one turn of the loop: read first, executed at the turn's end, together where that can be.

    every ready socket is read -> everything is executed -> every reply leaves (see `turn`)

One phase after the other, so that each works with warm caches and the requests of all clients lie side by side: many
GETs, or SETs, of different clients are one pipeline then, and what is mixed is sorted (see `session.together`,
`session.mixed`). Of everything else each chunk is executed as its own client's, in the order in which they came.

Only short chunks are kept, and so many at most, that what is kept is small. A client that is in the middle of
something, a request, a MULTI block, a pause, is never served together with others (see `connection_state`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from itertools import compress
from operator import attrgetter, itemgetter
from typing import Protocol

from kvstore.base.errors import StorageFault
from kvstore.base.limits import KIB
from kvstore.commands.registry import Command
from kvstore.commands.row import BLOCKING
from kvstore.edge.connection_state import State
from kvstore.edge.group_commit import GroupCommit
from kvstore.edge.outlet import Outlet
from kvstore.edge.turn import Turn
from kvstore.session.session import Session
from kvstore.session.together import Together
from kvstore.store.table import Table
from kvstore.wire.multibulk import CRLF

#: The longest chunk that is kept, and how many are.
_SHORT_BYTES = 4 * KIB
_MOST = 1024
#: Fewer are faster one by one.
FEW = 8
#: Enough of a request to tell most commands from the others.
_HEAD = itemgetter(slice(0, 13))
_TABLE = attrgetter("session.call.table")
_WAITS_FOR = attrgetter("session.waits_for")
_STATE = attrgetter("state")


class Served(Protocol):
    """A connection, as seen from here."""

    session: Session
    outlet: Outlet
    state: State

    def take(self, data: bytes) -> bool:
        """Execute what came from it by itself; returns whether there are replies for whose commit to wait."""

    def executed(self) -> bool:
        """Its session has executed something with others. Returns as `take`."""

    def settled(self, sequence: int) -> None:
        """See `Waiter`."""

    def pump(self) -> None:
        """Send what may leave, and go on with what waits."""

    def bug(self) -> None:
        """Something was raised that nobody meant, inside whose `except` this is called."""


class Arrivals:
    """See the module. `turn`: at whose end it executes. `commit`: what writes wait for. `fault`: called with a
    StorageFault; the server must not go on.

    `short_bytes`: the longest chunk to keep, at most _SHORT_BYTES. `most_held_bytes`: of replies that wait, before a
    client has to. `expects_writes`: whether the last arrivals brought writes. `together`: who executes.
    """

    def __init__(
        self,
        turn: Turn,
        commit: GroupCommit,
        together: Together,
        fault: Callable[[StorageFault], None],
        short_bytes: int,
        most_held_bytes: int,
    ) -> None:
        self._turn = turn
        self._commit = commit
        self.together = together
        self._fault = fault
        self.limit_to(short_bytes, most_held_bytes)
        self._chunks: dict[Served, bytes] = {}
        #: Who has replies that wait for a commit since this turn.
        self._waiting: list[Served] = []
        self._woken: list[Served] = []
        self._seen = 0
        self.expects_writes = False

    def add(self, protocol: Served, data: bytes) -> bool:
        """Keep what came from a client until the turn ends; False if that cannot be, and it is to be executed now."""
        chunks = self._chunks
        if len(data) > self._short_bytes or protocol in chunks or len(chunks) == _MOST:
            self.execute()
            return False
        if not chunks:
            self._turn.schedule()
        chunks[protocol] = data
        return True

    def limit_to(self, short_bytes: int, most_held_bytes: int) -> None:
        """See the class, from now on."""
        self._short_bytes = min(_SHORT_BYTES, short_bytes)
        self._most_held_bytes = most_held_bytes

    def wake(self, protocol: Served) -> None:
        """What others' requests did has given this client something to send, or to go on with: in this turn."""
        self._woken.append(protocol)
        self._turn.schedule()

    def execute_for(self, protocol: Served) -> None:
        """Something is about to happen to this client: execute now what came from it before."""
        data = self._chunks.pop(protocol, None)
        if data is not None:
            self._one_by_one([protocol], [data])

    def execute(self) -> None:
        """Execute all that came. Raises nothing."""
        if self._chunks:
            protocols, chunks = list(self._chunks), list(self._chunks.values())
            self._chunks.clear()
            self._seen = 0
            try:
                self._execute(protocols, chunks)
            except StorageFault as fault:
                self._fault(fault)
        woken, self._woken = self._woken, []
        for protocol in woken:
            protocol.pump()
        self.expects_writes = self._turn.commit_asked and self._commit.clients() > 1

    def _execute(self, protocols: list[Served], chunks: list[bytes]) -> None:
        if len(chunks) < FEW:
            self._one_by_one(protocols, chunks)
        elif len(set(map(_HEAD, chunks))) == 1 and list(map(_STATE, protocols)).count(State.OPEN) == len(protocols):
            self._alike(self.together.row_of(chunks[0]), protocols, chunks)
        else:
            self._sort(protocols, chunks)
        if self._waiting:
            self._wait()

    def wants_more(self) -> bool:
        """Whether it pays to look for more before executing: each look has to bring something."""
        arrived, seen = len(self._chunks), self._seen
        self._seen = arrived
        return self.expects_writes and arrived > seen and self._commit.wants_more(arrived)

    def _sort(self, protocols: list[Served], chunks: list[bytes]) -> None:
        """Execute what begins alike together, reads first: then they need not wait for the writes of this turn. What
        may have to wait for what others bring comes behind these.
        """
        alike: dict[bytes, dict[Served, bytes]] = {}
        for protocol, data in zip(protocols, chunks, strict=True):
            head = _HEAD(data) if protocol.state is State.OPEN else b""
            alike.setdefault(head, {})[protocol] = data
        rest = dict(zip(protocols, chunks, strict=True))
        groups, alone = [], dict[Served, bytes]()
        for head, group in alike.items():
            if head and len(group) >= FEW:
                row = self.together.row_of(group[next(iter(group))])
                if row is None:
                    alone |= group
                else:
                    groups.append((row, group))
                rest = {protocol: data for protocol, data in rest.items() if protocol not in group}
        for row, group in sorted(groups, key=lambda each: (each[0].writes, each[0].flags & BLOCKING)):
            self._alike(row, list(group), list(group.values()))
        if rest:
            self._mixed(list(rest), list(rest.values()))
        self._one_by_one(list(alone), list(alone.values()))

    def _alike(self, row: Command | None, protocols: list[Served], chunks: list[bytes]) -> None:
        """Execute what should be requests of the command `row`."""
        if row is None:
            self._one_by_one(protocols, chunks)
            return
        replies = None
        with self._bugs_of(protocols):
            if len(set(map(_TABLE, protocols))) == 1:
                replies = self.together.execute(row, [protocol.session for protocol in protocols], chunks)
            if replies is None and all(map(_seems_single, chunks)):  # sorted they would be refused again
                self._one_by_one(protocols, chunks)
            elif replies is None:
                self._mixed(protocols, chunks)
            elif replies:
                self._reply(protocols, replies)
            else:
                self._waiting += protocols

    def _mixed(self, protocols: list[Served], chunks: list[bytes]) -> None:
        """Execute requests of any commands: those that can be sorted all at once, then the others one by one."""
        left = dict(zip(protocols, chunks, strict=True))
        in_each: dict[Table, list[Served]] = {}
        for protocol in protocols:
            if protocol.state is State.OPEN:
                in_each.setdefault(protocol.session.call.table, []).append(protocol)
        for asking in in_each.values():
            if len(asking) >= FEW:
                self._sorted(asking, left)
        self._one_by_one(list(left), list(left.values()))

    def _sorted(self, protocols: list[Served], left: dict[Served, bytes]) -> None:
        """Execute at once what can be sorted of what is `left`, and take it out there."""
        done = protocols
        with self._bugs_of(protocols):
            sessions = [protocol.session for protocol in protocols]
            taken = self.together.execute_mixed(sessions, [left[protocol] for protocol in protocols])
            done = [protocols[place] for place in sorted(taken)]
            self._waiting += [protocol for protocol in done if protocol.executed()]
        for protocol in done:
            del left[protocol]

    @contextlib.contextmanager
    def _bugs_of(self, protocols: list[Served]) -> Iterator[None]:
        """What nobody meant is a bug of all of these clients."""
        try:
            yield
        except StorageFault:
            raise
        except Exception:
            for protocol in protocols:
                protocol.bug()

    def _one_by_one(self, protocols: list[Served], chunks: list[bytes]) -> None:
        waiting = self._waiting
        for protocol, data in zip(protocols, chunks, strict=True):
            try:
                if protocol.take(data):
                    waiting.append(protocol)
            except StorageFault:
                raise
            except Exception:
                protocol.bug()

    def _wait(self) -> None:
        """Whoever has replies that wait is one of a group, which waits once for all of them."""
        waiting, self._waiting = self._waiting, []
        needed = list(map(_WAITS_FOR, waiting))
        for sequence in sorted(set(needed)):
            group = _Group(list(compress(waiting, [each == sequence for each in needed])))
            self._commit.wait(group, sequence)  # some wait for nothing after all
        if self._commit.has_changes:
            self._turn.ask_for_commit()
        if self._commit.is_in_flight:  # a client that sends on meanwhile may have too many of them
            for protocol in waiting:
                if protocol.session.held_bytes > self._most_held_bytes:
                    protocol.pump()

    def _reply(self, protocols: list[Served], replies: list[bytes]) -> None:
        """Send each client its replies at the end of this turn."""
        outlets = [protocol.outlet for protocol in protocols]
        for outlet, data in zip(outlets, replies, strict=True):
            if not outlet.gather(data):
                outlet.send(data)
        self._turn.gather_all(outlets)


def _seems_single(chunk: bytes) -> bool:
    """Whether that is one whole request, most likely."""
    return chunk.endswith(CRLF) and b"\r\n*" not in chunk


class _Group:
    """Clients whose replies wait for the same commit, before any other: a `Waiter`."""

    def __init__(self, protocols: list[Served]) -> None:
        self._protocols = protocols
        self.clients = len(protocols)

    def settled(self, sequence: int) -> None:
        """See `Waiter`: replies in one burst, after all of them were looked at."""
        outlets = []
        for protocol in self._protocols:
            if protocol.state is State.OPEN and (data := protocol.session.take_settled(sequence)) is not None:
                outlet = protocol.outlet
                if outlet.gather(data):
                    outlets.append(outlet)
                else:
                    outlet.send(data)
            else:
                protocol.settled(sequence)
        for outlet in outlets:
            outlet.flush()
