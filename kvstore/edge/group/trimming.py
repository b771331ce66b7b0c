"""The group's log is trimmed, long before the engine that holds it has no room.

Each node notes beside the log up to where its synced checkpoint has all. What two nodes have so, the leader trims: one
of them may be lost, and a third one joins by the other's checkpoint and the log. A margin is kept, so that who was away
for minutes comes back by the log alone.

| the engine holds, of its quota | then |
|---|---|
| more than _SOFT | every node compacts, and no margin is kept |
| more than _HARD | the leader refuses what makes the data grow, as a full disk does |

An engine past its quota takes no trim either; what is left past _HARD is for those, for empty entries, and for what
removes. Each node asks for itself how full it is: so nobody need be told to compact.

While a look is not answered there is no other: all that a node asks the log waits in one row, followers' reads, too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from kvstore.base.address import Address, parse_address
from kvstore.base.shared_log import SharedLog, Size
from kvstore.store.group_store import GroupStore

_log = Logger()

#: How often a node notes what it has, and looks what the others have, and how full the engine is.
_LOOK_S = 2.0
#: A trim, or a compaction for it, is worth its trouble for so many entries.
_STEP = 1000
#: So many are kept.
_MARGIN = 100_000
#: Parts of the engine's quota.
_SOFT, _HARD = 0.5, 0.75
#: How soon a compaction is asked for again; and for how long an operator's wish to trim holds, since nodes compact
#: meanwhile.
_A_WHILE_S = 60.0


class _Node(Protocol):
    """What is asked of the node."""

    own: Address

    @property
    def leads(self) -> bool:
        """Whether it does."""

    @property
    def position(self) -> int:
        """Of the newest entry that it has."""


class Trimming:
    """See the module. `notes`: what each node covers, as far as is known. `compact`: begins a compaction soon."""

    def __init__(self, clock: Any, node: _Node, store: GroupStore, log: SharedLog) -> None:
        self._clock = clock
        self._node = node
        self._store = store
        self._log = log
        self.notes: dict[Address, int] = {}
        self.compact: Callable[[], object] = lambda: None
        self._first = 1  # up to there this node, leading, has trimmed the log
        self._is_tight = False
        self._compacted_s = -_A_WHILE_S
        self._told_until_s = 0.0
        self._unanswered = 0  # of what the last look asked
        self._timer: IDelayedCall | None = None

    def start(self) -> None:
        """Look now, and again and again: not while the last look is under way."""
        self._timer = self._clock.callLater(_LOOK_S, self.start)
        if self._unanswered:
            return
        self._unanswered = 2
        covers = self._covers()
        if covers is not None and covers != self.notes.get(self._node.own):
            self._log.note(str(self._node.own), covers, lambda: self._log.notes(self._noted))
        else:
            self._log.notes(self._noted)
        self._log.size(self._sized)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def without_margin(self) -> None:
        """An operator wants the log trimmed as far as may be."""
        self._told_until_s = self._clock.seconds() + _A_WHILE_S

    def _covers(self) -> int | None:
        """Up to which position this node's checkpoint has all; None while a compaction is under way."""
        return None if self._store.segment_bytes else self._store.log.header.first - 1

    def _noted(self, notes: dict[str, int]) -> None:
        self._unanswered -= 1
        self.notes = {parse_address(node): position for node, position in sorted(notes.items())}
        first = self._to_keep()
        if self._node.leads and first >= self._first + (1 if self._is_told else _STEP):
            _log.info("entries up to {position} are in two servers' checkpoints, and leave the log", position=first - 1)
            self._first = first
            self._log.trim(first, lambda: None)

    def _to_keep(self) -> int:
        """The first position that is not to leave the log: two nodes' checkpoints have all before it."""
        covered = sorted(self.notes.values(), reverse=True)[1:2]
        return max(covered, default=0) + 1 - (0 if self._is_tight or self._is_told else _MARGIN)

    @property
    def _is_told(self) -> bool:
        """Whether an operator wants that, now."""
        return bool(self._clock.seconds() < self._told_until_s)

    def _sized(self, size: Size) -> None:
        """Make room in the engine, or see that it need not."""
        self._unanswered -= 1
        was_tight, self._is_tight = self._is_tight, size.used_bytes > size.quota_bytes * _SOFT
        if self._is_tight:
            self._make_room(size, was_tight)
        text = f"the group's log takes {size.used_bytes} of {size.quota_bytes} bytes in its engine"
        self._store.refuse(text if size.used_bytes > size.quota_bytes * _HARD else "")

    def _make_room(self, size: Size, was_tight: bool) -> None:
        if not was_tight:
            _log.warn(
                "the group's log takes {used} of {quota} bytes in its engine: compacting, to trim it",
                used=size.used_bytes, quota=size.quota_bytes,
            )  # fmt: skip
        covers, now_s = self._covers(), self._clock.seconds()
        if covers is not None and self._node.position - covers > _STEP and now_s >= self._compacted_s + _A_WHILE_S:
            self._compacted_s = now_s
            self.compact()
