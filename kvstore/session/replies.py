"""When may a reply leave? Not before the commit that it waits for is settled, nor before any reply in front of it.

    deliver(data, n)   a reply that waits for commit n, 0 for none
    release(n)         commit n is settled: what waited for it may leave
    take_ready()       the replies that may leave now

So they wait here, never in the transport's buffer: the reactor could write that before the commit.
"""

from __future__ import annotations

from kvstore.store.store import Store
from kvstore.wire.pieces import Encoded, joined


class Replies:
    """Those of one connection, in order. `ready`: may leave now. `waits_for`: the next commit that replies kept here
    wait for, 0 if there are none; `held_bytes`: of all such replies.
    """

    __slots__ = ("_held", "_store", "held_bytes", "ready", "waits_for")

    def __init__(self, store: Store) -> None:
        self._store = store
        self.ready: list[Encoded] = []
        #: Each with its commit, which is none before that of the one in front.
        self._held: list[tuple[int, Encoded]] = []
        self.held_bytes = self.waits_for = 0

    def deliver(self, data: Encoded, needed: int) -> None:
        """Keep replies until they may leave: when commit `needed`, and all replies before, are settled."""
        if not data:
            return
        if self._held:
            needed = max(needed, self._held[-1][0])
        elif needed != self._store.pending.sequence and needed <= self._store.settled_sequence():
            self.ready.append(data)
            return
        self.hold(data, needed)

    def hold(self, data: Encoded, needed: int) -> None:
        """Keep replies until commit `needed`, which is not settled, and all replies before them are."""
        if not self._held:
            self.waits_for = needed
        self._held.append((needed, data))
        self.held_bytes += len(data)

    def release(self, sequence: int) -> None:
        """Commits up to `sequence` are settled: make ready what waited for them."""
        released = 0
        for needed, data in self._held:
            if needed > sequence:
                break
            released += 1
            self.held_bytes -= len(data)
            self.ready.append(data)
        del self._held[:released]
        self.waits_for = self._held[0][0] if self._held else 0

    def take_ready(self) -> Encoded:
        """The replies that may leave now, which are then the caller's to send."""
        ready = self.ready
        if not ready:
            return b""
        data = ready[0] if len(ready) == 1 else joined(ready)
        ready.clear()
        return data

    def take_settled(self, sequence: int) -> bytes | None:
        """`release` and `take_ready` in one, where nothing but one short batch waits, for a commit up to `sequence`.

        Else it returns None, having done nothing.
        """
        held = self._held
        if len(held) == 1 and held[0][0] <= sequence and (data := held[0][1]).__class__ is bytes and not self.ready:
            held.clear()
            self.held_bytes = self.waits_for = 0
            return data
        return None

    def forget_replies(self) -> None:
        """Nobody is there to get them."""
        self._held.clear()
        self.held_bytes = self.waits_for = 0
        self.ready.clear()
