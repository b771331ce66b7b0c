"""What a frame of a log begins with, before its operations on keys: what tells of which past a commit is.

| the server is | its frames begin with |
|---|---|
| by itself | nothing; only the first that a start writes with `HISTORY` (see `history`) |
| one of a group | `ENTRY`: each is an entry of the group's log, byte for byte (see `kvstore.base.shared_log`) |

A store asks one object for it, its `Heading`: so nothing else of what writes knows of groups. Whoever reads (recovery,
the merge, the archive, the tools) has `split` take it off.

In a group the histories are the epochs of its leaders: one process alone ever leads in an epoch. So the identity of a
history is then the epoch's number in 16 hex digits, and it begins with the epoch's first entry, whichever node reads
it. The headers of logs and checkpoints keep, besides, what a node has of the group's log with it, its `Standing`.

Rejected: a field of the frame's header (older versions would read past it and believe that they had understood); the
checksum for the history (each commit would be of its own one).
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from kvstore.base.errors import KVStoreError
from kvstore.base.shared_log import NOTHING, Entry, Standing, decode, is_entry
from kvstore.store.history import NO_HISTORY, History
from kvstore.store.operations import encode_history, split_history


class Lineage(NamedTuple):
    """Where a commit stands: what is noted of the one that a log goes on from, and of the last one in a checkpoint.

    `history`: which that commit is of. `entry`: the `word` of the `Standing` that a group's node has with it; empty if
    it is no entry of a group's log.
    """

    history: str = NO_HISTORY
    entry: str = ""

    def fields(self) -> dict[str, str]:
        """As the first block of a file has it. Nothing is said of a group where there is none."""
        return {"history": self.history, **({"entry": self.entry} if self.entry else {})}

    def standing(self, sequence: int) -> Standing | None:
        """What a node has of the group's log, with commit `sequence`; None if that is no entry of one.

        Before the first commit it has nothing of any. Raises ValueError.
        """
        if self.entry:
            return Standing.of_word(sequence, self.entry)
        return None if sequence else NOTHING


#: Of what is before the first commit.
NO_LINEAGE = Lineage()


def lineage_of(fields: dict[str, str]) -> Lineage:
    """What the first block of a file says; older versions did not note any history."""
    return Lineage(fields.get("history", NO_HISTORY), fields.get("entry", ""))


def history_of(epoch: int) -> str:
    """The identity of the history that an epoch of a group is."""
    return f"{epoch:016x}"


class Beginning(NamedTuple):
    """What a frame's body begins with: the `history` that begins there, or the `entry` that all of the frame is."""

    history: History | None = None
    entry: Entry | None = None

    def after(self, before: Lineage) -> Lineage:
        """That of the commit that begins so, behind one of the lineage `before`."""
        if self.entry is not None:
            standing = before.standing(0) or NOTHING
            return Lineage(history_of(self.entry.epoch), standing.after(self.entry).word)
        return before if self.history is None else Lineage(self.history.identity)

    def begun(self, sequence: int, before: Lineage) -> History | None:
        """The history that begins with commit `sequence`, if one does: with the first entry of an epoch, too."""
        if self.entry is None or history_of(self.entry.epoch) == before.history:
            return self.history
        return History(history_of(self.entry.epoch), before.history, sequence - 1)


#: Of a frame that begins with its operations.
NO_BEGINNING = Beginning()


def split(body: bytes) -> tuple[Beginning, bytes]:
    """What a frame's body begins with, and the operations on keys behind it.

    An entry that this version does not know stays where it is: whoever applies the operations finds one of an unknown
    name.
    """
    if body.startswith(b"$5\r\nENTRY", 4) and is_entry(body):
        try:
            entry = decode(body)
        except KVStoreError:
            return NO_BEGINNING, body
        return Beginning(entry=entry), entry.operations
    history, operations = split_history(body)
    return (NO_BEGINNING if history is None else Beginning(history)), operations


class Heading(Protocol):
    """What the frames that a store makes begin with. `size_bytes`: that of the next frame, at most."""

    @property
    def size_bytes(self) -> int:
        """See the class."""

    def begin(self, sequence: int, time_us: int, operations: bytes) -> tuple[Beginning, bytes]:
        """What the next frame begins with, which is written whatever comes, and its body: that, and `operations`."""


class OwnHistory:
    """The `Heading` of a server by itself: its first frame begins `history`."""

    def __init__(self, history: History) -> None:
        self._beginning = Beginning(history)
        self._operation = encode_history(history)
        self.size_bytes = len(self._operation)

    def begin(self, sequence: int, time_us: int, operations: bytes) -> tuple[Beginning, bytes]:
        """See `Heading`."""
        if not self.size_bytes:
            return NO_BEGINNING, operations
        self.size_bytes = 0
        return self._beginning, self._operation + operations
