"""The group's log is trimmed, long before the engine that holds it has no room.

Each node notes beside the log up to where its synced checkpoint has all, and how far it is. What two nodes' checkpoints
have, the leader trims: one of them may be lost, and a third one joins by the other's checkpoint and the log. A margin
is kept, so that who was away for minutes comes back by the log alone.

**Which two.** Of those that are alive the two that cover most; one that is silent (see `peers`) only if fewer than two
are alive, and then of the silent ones the one that covers most.

- Of three, one is gone for good: it counts no more, however much it covered. Were it one of the two, a living node that
  lost its disk could find no checkpoint to join by, before the third one compacts.
- Of three, one has lost its disk: while it is away it is silent, and what it noted before is not counted on; when it is
  back its first note says that it covers nothing, so the other two are those that cover most.
- Of three, two are silent: the log is trimmed no further than one of them has its checkpoint. That one comes back by
  the log, and the other by a checkpoint of either. If both are gone for good the log grows until they are forgotten.
- One has ever been there, or all others were forgotten: its checkpoint is the only one. If its disk is lost what is
  left of the log does not suffice; whole, the log would. So nothing is trimmed before it must be: past _SOFT, or when
  an operator says so.
- Of one nothing is known yet, as this node began to look just now: nothing is trimmed meanwhile.

| the engine holds, of its quota | then |
|---|---|
| _HISTORY more than when it was last told to | the leader has it forget what its keys held before, whose room adds up |
| more than _SOFT | every node compacts (see `compacting`), and no margin is kept |
| more than _HARD; more than _SOFT, if its file is past _NEAR | the leader refuses what grows, as a full disk does |

Between two looks the leader counts what it has written since: however fast that is, and however late an answer, it is
refused before the engine is past _HARD, or its file past _MOST, which may have to grow by all of it.

An engine past its quota takes no trim either; what is left past _HARD is for those, for empty entries, and for what
removes. Each node asks for itself how full it is: so nobody need be told to compact.

While a look is not answered there is no other: all that a node asks the log waits in one row, followers' reads, too.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Protocol

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from kvstore.base.address import Address
from kvstore.base.shared_log import Note, SharedLog, Size
from kvstore.commands.membership import Life
from kvstore.edge.group.compacting import Compacting
from kvstore.edge.group.peers import Peers
from kvstore.store.group_store import GroupStore

_log = Logger()

#: How often a node notes what it has, and looks what the others have, and how full the engine is.
_LOOK_S = 2.0
#: Of so many notes in a row that were not this server's own, under its name, the log tells: one may have come late.
_NAMESAKE = 3
#: A trim is worth its trouble for so many entries; for any, if the engine is tight.
_STEP = 1000
#: So many are kept.
_MARGIN = 100_000
#: Parts of the engine's quota.
_SOFT, _HARD = 0.5, 0.75
_NEAR, _MOST = 0.9, 0.95
_HISTORY = 1 / 32


class _Node(Protocol):
    """What is asked of the node. `log_size`: is told of each size."""

    own: Address
    log_size: Size | None

    @property
    def leads(self) -> bool:
        """Whether it does."""

    @property
    def applied(self) -> int:
        """The position of the newest entry that it has."""


class Trimming:
    """See the module. `peers`: is told of each look."""

    def __init__(
        self, clock: Any, node: _Node, store: GroupStore, log: SharedLog, peers: Peers, compacting: Compacting
    ) -> None:
        self._clock = clock
        self._node = node
        self._store = store
        self._log = log
        self._peers = peers
        self._compacting = compacting
        self._first = 1  # up to there this node, leading, has trimmed the log
        self._is_tight = False
        self._forgotten_bytes = 0  # that the engine had in use when it was last told to forget, at most
        self._unanswered = 0  # of what the last look asked
        self._own_note: Note | None = None  # that this start has made last
        self._others_in_a_row = 0  # notes under this server's name that were not
        self._timer: IDelayedCall | None = None

    def start(self) -> None:
        """Look now, and again and again: not while the last look is under way."""
        self._timer = self._clock.callLater(_LOOK_S, self.start)
        self._compacting.as_told()
        if self._unanswered:
            return
        self._unanswered = 2
        before = self._peers.notes.get(self._node.own)
        note = Note(self._store.covered, self._node.applied)
        if note != before:
            self._log.note(str(self._node.own), note, partial(self._has_noted, note))
        else:
            self._log.notes(self._noted)
        self._log.size(partial(self._sized, self._store.engine_bytes()))

    def _has_noted(self, note: Note, before: Note | None) -> None:
        """Go on with the others; see whether another server notes something under this one's name, time after time."""
        is_others = before not in (None, note, self._own_note) and self._own_note is not None
        self._others_in_a_row = self._others_in_a_row + 1 if is_others else 0
        self._own_note = note
        if self._others_in_a_row == _NAMESAKE:
            _log.critical(
                "another server of the group says that it is {own}, too; give each an --advertise of its own",
                own=str(self._node.own),
            )  # fmt: skip
        self._log.notes(self._noted)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def _noted(self, noted: dict[str, Note]) -> None:
        self._unanswered -= 1
        self._peers.look(noted, self._node.applied)
        first = self._to_keep()
        if self._node.leads and first >= self._first + (1 if self._is_hurried else _STEP):
            _log.info("entries up to {position} are in two servers' checkpoints, and leave the log", position=first - 1)
            self._first = first
            self._log.trim(first, lambda: None)

    def _to_keep(self) -> int:
        """The first position that is not to leave the log: see the module."""
        notes, is_hurried = self._peers.notes, self._is_hurried
        lives = {address: self._peers.life(address) for address in notes}
        if Life.UNKNOWN in lives.values() or self._node.own not in notes:
            return 1
        if len(notes) == 1:
            return notes[self._node.own].covers + 1 if is_hurried else 1
        covered = sorted(((lives[address] is Life.ALIVE, note.covers) for address, note in notes.items()), reverse=True)
        return min(covers for _, covers in covered[:2]) + 1 - (0 if is_hurried else _MARGIN)

    @property
    def _is_hurried(self) -> bool:
        return self._is_tight or self._compacting.is_wanted

    def _sized(self, looked_at: int, size: Size) -> None:
        """Make room in the engine, or see that it need not. `looked_at`: see `GroupStore.limit_engine`."""
        self._unanswered -= 1
        self._node.log_size = size
        self._forget_history(size)
        room_bytes = _room_bytes(size)
        was_tight, self._is_tight = self._is_tight, size.used_bytes > size.quota_bytes * _SOFT
        if self._is_tight:
            if not was_tight:
                _log.warn(
                    "the group's log takes {used} of {quota} bytes in its engine: compacting, to trim it",
                    used=size.used_bytes, quota=size.quota_bytes,
                )  # fmt: skip
            self._compacting.make_room(size, is_full=room_bytes <= 0)
        text = f"the group's log takes {size.used_bytes} of {size.quota_bytes} bytes in its engine"
        self._store.limit_engine(looked_at, room_bytes, text)

    def _forget_history(self, size: Size) -> None:
        self._forgotten_bytes = min(self._forgotten_bytes, size.used_bytes)
        if self._node.leads and size.used_bytes - self._forgotten_bytes > size.quota_bytes * _HISTORY:
            self._forgotten_bytes = size.used_bytes
            self._log.free(lambda: None)


def _room_bytes(size: Size) -> int:
    """How much more the engine may take of what grows. What is free in its file may be in pieces too small for large
    values: so the file may have to grow by all of it, and one near its quota is trusted with less.
    """
    if size.file_bytes > size.quota_bytes * _NEAR:
        return int(size.quota_bytes * _SOFT) - size.used_bytes
    return min(int(size.quota_bytes * _HARD) - size.used_bytes, int(size.quota_bytes * _MOST) - size.file_bytes)
