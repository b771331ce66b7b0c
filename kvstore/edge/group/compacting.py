"""When a server of a group compacts for the group's sake, besides what its own log asks for (see `GroupStore`).

- **An operator wants the group's log trimmed**: once nobody fetches the checkpoint (see `lending`).
- **The log's engine is more than half full**: each _A_WHILE_S, if that is worth it; at any time, if the server's own
  log is large beside the quota. Not while its checkpoint is fetched, so that the fetch comes to an end, though it takes
  longer than _A_WHILE_S; unless the engine is nearly full, and the log could be trimmed further by a newer one.
- **A server wants to join by a checkpoint that goes farther**: if the log was trimmed beyond the one there is, by which
  nobody can join any more, whoever fetches it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

from kvstore.base.address import Address
from kvstore.base.shared_log import Read, SharedLog, Size, Trimmed
from kvstore.edge.group.peers import Peers
from kvstore.store.group_store import GroupStore

#: A compaction is worth its trouble, for the group's log, for so many entries that it takes into the checkpoint; at any
#: time, for so large a part of the engine's quota in the server's own log.
_STEP, _LARGE = 1000, 1 / 16
#: How soon one is asked for again; and for how long an operator's wish holds, since all servers compact meanwhile.
_A_WHILE_S = 60.0
#: How soon the log is looked at again, for who wants to join.
_LOOK_S = 2.0


class _Node(Protocol):
    """What is asked of the node."""

    own: Address

    @property
    def applied(self) -> int:
        """The position of the newest entry that it has."""


class Compacting:
    """See the module. `begin`: begins a compaction soon; whether it can."""

    def __init__(self, clock: Any, node: _Node, store: GroupStore, log: SharedLog, peers: Peers) -> None:
        self._clock = clock
        self._node = node
        self._store = store
        self._log = log
        self._peers = peers
        self.begin: Callable[[], bool] = lambda: False
        self._is_told = False  # to compact, and has not yet
        self._told_until_s = 0.0
        self._made_room_s = -_A_WHILE_S
        self._looked_behind = 0  # up to where this server's checkpoint went when the log was asked what comes next
        self._look_again_s = 0.0  # if it goes so far yet; not before that is answered

    # An operator

    def tell(self) -> None:
        """An operator wants the log trimmed as far as may be."""
        self._told_until_s = self._clock.seconds() + _A_WHILE_S
        self._is_told = True
        self.as_told()

    def as_told(self) -> None:
        """Compact if that is to be done, and may be done now."""
        if self._is_told and not self._store.is_lent():
            self._is_told = False
            self._told_until_s = self._clock.seconds() + _A_WHILE_S
            self.begin()

    @property
    def is_wanted(self) -> bool:
        """Whether an operator wants the log trimmed, now."""
        return bool(self._clock.seconds() < self._told_until_s)

    # The engine

    def make_room(self, size: Size, *, is_full: bool) -> None:
        """The engine is more than half full. `is_full`: nearly."""
        if self._store.segment_bytes or (self._store.is_lent() and not (is_full and self._is_waited_for())):
            return
        is_large = self._store.log.end > size.quota_bytes * _LARGE
        now_s = self._clock.seconds()
        if is_large or (self._node.applied - self._store.covered > _STEP and now_s >= self._made_room_s + _A_WHILE_S):
            self._made_room_s = now_s
            self.begin()

    def _is_waited_for(self) -> bool:
        """Whether the log may be trimmed further by a newer checkpoint of this server's: not while no other's goes as
        far as the one it has.
        """
        others = [note.covers for address, note in self._peers.notes.items() if address != self._node.own]
        return not others or max(others) >= self._store.covered

    # Who joins

    def cover(self, position: int) -> None:
        """A server wants to join by a checkpoint that has all up to there; see the module. A compaction that is under
        way, or is tried again since it failed, is waited for; one that could not even begin is asked for again after a
        while, however often servers ask meanwhile.
        """
        covers = self._store.covered
        if self._store.segment_bytes or not covers < position <= self._node.applied:
            return
        if covers > self._looked_behind or self._clock.seconds() >= self._look_again_s:
            self._looked_behind, self._look_again_s = covers, math.inf
            self._log.read(covers + 1, self._looked)

    def _looked(self, found: Read) -> None:
        has_begun = isinstance(found, Trimmed) and self.begin()
        self._look_again_s = self._clock.seconds() + (_A_WHILE_S if has_begun else _LOOK_S)
