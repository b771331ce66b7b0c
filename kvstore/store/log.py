"""The transaction log: one file that commits are appended to, as frames.

Layout: a header block (which store this is, the salt, the number of the first commit, the history it goes on from), two
mark blocks, then frames, then zeros. The file is filled with zeros ahead of the frames: a sync that need not change the
file's size or its block map takes two thirds of the time, and a full disk shows when room is reserved, before a request
has changed anything. The last of the zeros are kept for requests that remove keys, the very last for the one that
removes all; see `volume` for why, and for how long a log may get.

A **mark** says that commits up to a number, and the file up to a byte, are known to be on disk. It is written about
once a second, and proves that the newest frames were promised when no later frame can: without it a bit flipped in
the last frame could not be told from a torn write. It is written twice: to the first block and, once it is on disk
there, to the second. A torn mark leaves the other, and damage to one of them, whatever else it hits, leaves one that
promises as much.

The log holds effects (see `operations`) and knows no command. It knows nothing of replies, either: who may hear of a
commit, and when, is decided above.

Rejected: two marks in turns, each newer than the other (a sync a second less; but damage to the newest and to the last
frames together could not be told from a torn mark and a torn tail); appending to a growing file (160 µs a sync instead
of 105); a file of a fixed size used as a ring (a second way for a frame to be old); recycling old segments (the same,
and a torn tail then ends in old frames instead of zeros).
"""

from __future__ import annotations

import contextlib
import errno
from enum import IntEnum
from typing import NamedTuple

from kvstore.base.disk import Disk, File
from kvstore.base.errors import DamagedStore, StorageFault, StorageFull
from kvstore.base.frame import BLOCK_BYTES, HEADER_BYTES, encode_block, read_block
from kvstore.base.limits import KIB
from kvstore.base.syncing import Syncer
from kvstore.store.beginning import NO_LINEAGE, Lineage, lineage_of

FRAMES_AT = 3 * BLOCK_BYTES
NO_LIMIT = 1 << 62
#: How far ahead of the frames the file is filled with zeros. Larger costs a longer sync once in a while.
ZERO_FILL_BYTES = 512 * KIB
#: Errors that say that the file system has no room.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_KIND, _MARK = "KVLOG1", "KVMARK1"


class LogHeader(NamedTuple):
    """What a log says of itself.

    `store`: 32 hex digits, the same in all files of a directory. `first`: number of its first commit. `salt`: where
    its checksums start. `lineage`: that up to the commit before its first; of no history if an older version wrote it.
    """

    store: str
    salt: int
    first: int
    created_us: int
    lineage: Lineage = NO_LINEAGE

    @property
    def history(self) -> str:
        """Of which history that commit is."""
        return self.lineage.history


class Mark(NamedTuple):
    """Commits up to `sequence`, and the file up to byte `end`, are on disk.

    The mark with the higher `number` is the newer; those with an even number stand in the first block. `sealed`: 1 in a
    log whose place a newer one has taken, else 0: so that a sealed segment is never taken for the live log.
    """

    number: int
    sequence: int
    end: int
    sealed: int = 0


#: What the two blocks hold; None for one that is not valid, which a crash can make of one of them.
Marks = tuple[Mark | None, Mark | None]


class Limits(NamedTuple):
    """The byte offsets that frames must not go past: those that make the state grow, and those that remove keys."""

    grow: int = NO_LIMIT
    remove: int = NO_LIMIT
    flush: int = NO_LIMIT


class Purpose(IntEnum):
    """What room is asked for. By the place of its limit in `Limits`."""

    GROW, REMOVE, FLUSH = range(3)

    @property
    def kept_bytes(self) -> int:
        """How many zeros have to be left behind the frame: for those that come after it in this list."""
        return ZERO_FILL_BYTES * _KEPT_SIXTEENTHS[self] // 16


#: Of ZERO_FILL_BYTES: 128 and 32 KiB. A FLUSHALL takes a hundred bytes, a fresh log and checkpoint after it 24 KiB.
_KEPT_SIXTEENTHS = (4, 1, 0)


class TransactionLog:
    """The live log, open for appending.

    `end`: byte offset where the next frame goes. `entries`: operations in the log so far, for the compaction policy.
    `limits`: how long it may get.
    """

    def __init__(self, file: File, name: str, header: LogHeader, end: int, entries: int, marks: Marks) -> None:
        self._file = file
        self.name = name
        self.header = header
        self.end = end
        self.entries = entries
        self.allocated = file.size()
        self.marks = marks
        self.limits = Limits()
        self._find_room()

    def room(self) -> int:
        """Bytes of operations of any kind that fit into the next frame, without asking for more."""
        return self._room_ends - self.end - HEADER_BYTES

    def limit_to(self, limits: Limits) -> None:
        """Let the log get no longer than that."""
        self.limits = limits
        self._find_room()

    def _find_room(self) -> None:
        self._room_ends = min(self.allocated - Purpose.GROW.kept_bytes, self.limits.grow)

    def reserve(self, size_bytes: int, purpose: Purpose = Purpose.GROW) -> int:
        """Make room for a next frame with `size_bytes` of operations; returns the `room` there is now.

        Raises StorageFull when there is none left (nothing changed), StorageFault on any other error.
        """
        end = self.end + HEADER_BYTES + size_bytes
        if end > self.limits[purpose]:
            raise StorageFull("No space left on device, but for what is kept to delete keys and to compact")
        needed = end + purpose.kept_bytes
        if needed > self.allocated:
            most = max(needed, self.limits.grow + Purpose.GROW.kept_bytes)
            try:
                self._fill_to(min(needed + ZERO_FILL_BYTES - needed % ZERO_FILL_BYTES, most))
            except StorageFull:
                self._fill_to(needed + BLOCK_BYTES - needed % BLOCK_BYTES)  # the last blocks of a full disk
        return self.room()

    def keep_room(self, size_bytes: int) -> None:
        """Have the zeros that are kept behind a next frame with `size_bytes` of operations, if they can be had."""
        with contextlib.suppress(StorageFull):
            self._fill_to(self.end + HEADER_BYTES + size_bytes + Purpose.GROW.kept_bytes)

    def give_back(self, size_bytes: int) -> None:
        """Give the zeros back, but for those of a next frame with `size_bytes` of operations. Raises OSError."""
        length = self.end + HEADER_BYTES + size_bytes
        if length < self.allocated:
            self.allocated = length
            self._find_room()
            self._file.truncate(length)

    def _fill_to(self, length: int) -> None:
        try:
            while self.allocated < length:
                step = min(length - self.allocated, 16 * ZERO_FILL_BYTES)
                self._file.write_at(self.allocated, bytes(step))
                self.allocated += step
                self._find_room()
        except OSError as error:
            if error.errno in NO_ROOM:
                raise StorageFull(error.strerror or "no space left") from error
            raise StorageFault(f"cannot extend {self.name}: {error}") from error

    def claim(self, length: int) -> int:
        """Give the next frame, of `length` bytes, its place; returns the byte offset. Room must have been reserved."""
        offset = self.end
        self.end += length
        return offset

    def write(self, offset: int, frame: bytes) -> None:
        """Write a frame at its place.

        Raises StorageFault on any error; the log is unusable after it. Durability: none yet.
        """
        try:
            self._file.write_at(offset, frame)
        except OSError as error:
            raise StorageFault(f"cannot write to {self.name} at byte {offset}: {error}") from error

    def sync(self) -> None:
        """Return when everything written is on disk.

        Raises StorageFault on any error, and then is not to be called again.
        """
        try:
            self._file.sync()
        except OSError as error:
            raise StorageFault(f"cannot sync {self.name}: {error}") from error

    def begin_sync(self, syncer: Syncer) -> bool:
        """Start to sync what was written. Returns whether it could be started; if not, `sync` is what is left."""
        try:
            syncer.begin(self._file)
        except OSError:
            return False
        return True

    def finish_sync(self, syncer: Syncer) -> bool:
        """Whether the sync begun has ended: all that was written before it began is on disk then.

        Raises StorageFault if it failed; the log is unusable after it.
        """
        try:
            return syncer.finish()
        except OSError as error:
            raise StorageFault(f"cannot sync {self.name}: {error}") from error

    def note(self, sequence: int, end: int) -> bool:
        """Note that commits up to `sequence`, and the file up to byte `end`, are on disk, in one of the two marks.

        Returns False if both say so already. Else the one that was written has to be on disk (see `sync`) before the
        next is, or both could be torn. Raises StorageFault.
        """
        first, second = self.marks
        if first is not None and (second is None or second.number < first.number):
            self._write_mark(first._replace(number=first.number + 1))
        elif first is None or sequence > first.sequence:
            self._write_mark(Mark(newest_mark(self.marks).number + 1, sequence, end))
        else:
            return False
        return True

    def mark_sealed(self, sequence: int) -> None:
        """Note in both marks that this log ends with commit `sequence` and a newer one has its place.

        All that was written must be on disk. Raises StorageFault. Durability: the note is on disk when this returns.
        """
        for _ in self.marks:
            self._write_mark(Mark(newest_mark(self.marks).number + 1, sequence, self.end, sealed=1))
            self.sync()

    def _write_mark(self, mark: Mark) -> None:
        self.write(mark_offset(mark), _encode_mark(mark, self.header))
        first, second = self.marks
        self.marks = (first, mark) if mark.number % 2 else (mark, second)

    def check(self, disk: Disk) -> None:
        """Raise StorageFault if the file was removed, moved, replaced or cut short behind our back."""
        try:
            intact = disk.leads_to(self.name, self._file) and self._file.size() >= self.allocated
        except OSError as error:
            raise StorageFault(f"cannot look at {self.name}: {error}") from error
        if not intact:
            raise StorageFault(f"{self.name} was removed, moved, replaced or truncated under the running server")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def create_log(disk: Disk, name: str, header: LogHeader) -> TransactionLog:
    """A new log with no commits, under `name`; a short one where there is no room for more.

    Durability: its content, not its name. Raises OSError.
    """
    file = disk.create(name)
    marks = Mark(0, header.first - 1, FRAMES_AT), Mark(1, header.first - 1, FRAMES_AT)
    try:
        blocks = b"".join([_encode_header(header), *(_encode_mark(mark, header) for mark in marks)])
        try:
            file.write_at(0, blocks.ljust(ZERO_FILL_BYTES, b"\0"))
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            file.truncate(0)
            file.write_at(0, blocks.ljust(FRAMES_AT + BLOCK_BYTES, b"\0"))
        file.sync()
    except OSError:
        file.close()
        raise
    return TransactionLog(file, name, header, FRAMES_AT, 0, marks)


def is_log(file: File, name: str) -> bool:
    """Whether `file` begins as a log does, with a header that is sound. Raises NewerVersion, OSError."""
    return read_block(file, name, 0, _KIND) is not None


def read_log_header(file: File, name: str) -> LogHeader:
    """The header of the log `file`. Raises DamagedStore, NewerVersion, OSError."""
    fields = read_block(file, name, 0, _KIND)
    if fields is None:
        raise DamagedStore(name, 0, "the header of the log is not valid", "")
    first, created_us = int(fields["first"], 16), int(fields["created"], 16)
    return LogHeader(fields["store"], int(fields["salt"], 16), first, created_us, lineage_of(fields))


def read_marks(file: File, name: str, header: LogHeader) -> Marks:
    """The marks of the log `file`. Raises DamagedStore if neither is valid: a crash can tear only one. NewerVersion,
    OSError.
    """
    if file.size() < FRAMES_AT:
        raise DamagedStore(name, file.size(), "the file ends before the log's first frame", "")
    marks = _read_mark(file, name, BLOCK_BYTES, header), _read_mark(file, name, 2 * BLOCK_BYTES, header)
    if marks == (None, None):
        raise DamagedStore(name, BLOCK_BYTES, "both marks of the log are invalid", "")
    return marks


def newest_mark(marks: Marks) -> Mark:
    """The valid one with the higher number."""
    return max(mark for mark in marks if mark is not None)


def _read_mark(file: File, name: str, offset: int, header: LogHeader) -> Mark | None:
    fields = read_block(file, name, offset, _MARK, header.salt)
    return None if fields is None else Mark(*(int(fields.get(field, "0"), 16) for field in Mark._fields))


def mark_offset(mark: Mark) -> int:
    """The byte offset of the block that a mark goes to."""
    return BLOCK_BYTES * (1 + mark.number % 2)


def _encode_header(header: LogHeader) -> bytes:
    return encode_block(
        _KIND,
        {"store": header.store, "salt": f"{header.salt:08x}", "first": f"{header.first:016x}",
         "created": f"{header.created_us:016x}", **header.lineage.fields()},
    )  # fmt: skip


def _encode_mark(mark: Mark, header: LogHeader) -> bytes:
    return encode_block(_MARK, {name: f"{value:016x}" for name, value in mark._asdict().items()}, header.salt)
