"""What came from clients in one turn of the loop: read first, executed at the turn's end, together where that can be.

    every ready socket is read -> everything is executed -> every reply leaves (see `turn`)

One phase after the other, so that each works with warm caches and the requests of all clients lie side by side: many
GETs, or SETs, of different clients are one pipeline then (see `session.together`). Of everything else each chunk is
executed as its own client's, in the order in which they came.

Only short chunks are kept, and so many at most, that what is kept is small. A client that is in the middle of
something, a request, a MULTI block, a pause, is one of those `apart`: they are never served together with others.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import TYPE_CHECKING

from kvstore.base.errors import StorageFault
from kvstore.base.limits import KIB
from kvstore.commands.registry import Command
from kvstore.edge.group_commit import GroupCommit
from kvstore.edge.turn import Turn
from kvstore.session.together import Together

if TYPE_CHECKING:
    from kvstore.edge.protocol import KVStoreProtocol

#: The longest chunk that is kept, and how many are.
_SHORT_BYTES = 4 * KIB
_MOST = 1024
#: Fewer are faster one by one.
FEW = 8
#: Enough of a request to tell most commands from the others.
_HEAD = itemgetter(slice(0, 13))


class Arrivals:
    """See the module. `turn`: at whose end it executes. `commit`: what writes wait for. `fault`: called with a
    StorageFault; the server must not go on.

    `short_bytes`: the longest chunk to keep, at most _SHORT_BYTES. `apart`: see the module. `expects_writes`: whether
    the last arrivals brought writes. `together`: who executes.
    """

    def __init__(
        self,
        turn: Turn,
        commit: GroupCommit,
        together: Together,
        fault: Callable[[StorageFault], None],
        short_bytes: int,
    ) -> None:
        self._turn = turn
        turn.execute = self.execute
        turn.wants_more = self._wants_more
        self._commit = commit
        self.together = together
        self._fault = fault
        self._short_bytes = min(_SHORT_BYTES, short_bytes)
        self._chunks: dict[KVStoreProtocol, bytes] = {}
        self._seen = 0
        self.expects_writes = False
        self.apart: set[KVStoreProtocol] = set()

    def add(self, protocol: KVStoreProtocol, data: bytes) -> bool:
        """Keep what came from a client until the turn ends; False if that cannot be, and it is to be executed now."""
        chunks = self._chunks
        if len(data) > self._short_bytes or protocol in chunks or len(chunks) == _MOST:
            self.execute()
            return False
        if not chunks:
            self._turn.schedule()
        chunks[protocol] = data
        return True

    def execute_for(self, protocol: KVStoreProtocol) -> None:
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
            if len(chunks) < FEW:
                self._one_by_one(protocols, chunks)
            elif self.apart.isdisjoint(protocols) and len(set(map(_HEAD, chunks))) == 1:
                self._alike(self.together.row_of(chunks[0]), protocols, chunks)
            else:
                self._sort(protocols, chunks)
        self.expects_writes = self._turn.commit_asked and self._commit.clients() > 1

    def _wants_more(self) -> bool:
        """Whether it pays to look for more before executing: each look has to bring something."""
        arrived, seen = len(self._chunks), self._seen
        self._seen = arrived
        return self.expects_writes and arrived > seen and self._commit.wants_more(arrived)

    def _sort(self, protocols: list[KVStoreProtocol], chunks: list[bytes]) -> None:
        """Execute what is alike together, reads first: then they need not wait for the writes of this turn."""
        alike: dict[bytes, tuple[list[KVStoreProtocol], list[bytes]]] = {}
        apart = self.apart
        for protocol, data in zip(protocols, chunks, strict=True):
            head = b"" if protocol in apart else _HEAD(data)
            if head not in alike:
                alike[head] = ([], [])
            group, datas = alike[head]
            group.append(protocol)
            datas.append(data)
        later = []
        for head, (group, datas) in alike.items():
            row = self.together.row_of(datas[0]) if head and len(group) >= FEW else None
            if row is None or row.writes:
                later.append((row, group, datas))
            else:
                self._alike(row, group, datas)
        for row, group, datas in later:
            self._alike(row, group, datas)

    def _alike(self, row: Command | None, protocols: list[KVStoreProtocol], chunks: list[bytes]) -> None:
        """Execute what should be requests of the command `row`."""
        replies = None
        try:
            if row is not None:
                replies = self.together.execute(row, [protocol.session for protocol in protocols], chunks)
        except StorageFault as fault:
            self._fault(fault)
            return
        except Exception:
            for protocol in protocols:
                protocol.bug()
            return
        if row is None or replies is None:
            self._one_by_one(protocols, chunks)
        elif replies:
            self._reply(protocols, replies)
        elif row.writes:
            self._commit.waiters.append(_Group(protocols, self.apart, self._commit))
            self._turn.ask_for_commit()
            if self._commit.is_in_flight:
                self._count_replies(protocols)
            self.together.close_if_full()
        else:
            for protocol in protocols:
                protocol.pump()

    def _count_replies(self, protocols: list[KVStoreProtocol]) -> None:
        """A client that sends on while its replies wait may have too many of them."""
        for protocol in protocols:
            if len(protocol.session.held) > 1:
                protocol.pump()

    def _one_by_one(self, protocols: list[KVStoreProtocol], chunks: list[bytes]) -> None:
        for protocol, data in zip(protocols, chunks, strict=True):
            try:
                protocol.execute(data)
            except Exception:
                protocol.bug()

    def _reply(self, protocols: list[KVStoreProtocol], replies: list[bytes]) -> None:
        """Send each client its replies at the end of this turn."""
        outlets = [protocol.outlet for protocol in protocols]
        for outlet, data in zip(outlets, replies, strict=True):
            if not outlet.gather(data):
                outlet.send(data)
        self._turn.gather_all(outlets)


class _Group:
    """Clients whose replies wait for the same commit, the one that is open now: a `Waiter`. `apart`: see `Arrivals`."""

    def __init__(self, protocols: list[KVStoreProtocol], apart: set[KVStoreProtocol], commit: GroupCommit) -> None:
        self._protocols = protocols
        self._apart = apart
        self._commit = commit
        self._sequence = commit.open_sequence
        self.clients = len(protocols)

    def settled(self, sequence: int) -> None:
        """See `Waiter`: replies in one burst, after all of them were looked at."""
        if sequence < self._sequence:  # that was the commit in flight when these executed
            self._commit.waiters.append(self)
            return
        apart, outlets = self._apart, []
        for protocol in self._protocols:
            session, outlet = protocol.session, protocol.outlet
            held = session.held
            if len(held) == 1 and protocol not in apart:
                needed, data = held[0]
                if needed <= sequence and type(data) is bytes and outlet.gather(data):
                    held.clear()
                    session.held_bytes = 0
                    outlets.append(outlet)
                    continue
            protocol.settled(sequence)
        for outlet in outlets:
            outlet.flush()
