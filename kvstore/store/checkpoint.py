"""The checkpoint: the whole state as of one commit, in one file that is only ever replaced whole.

Layout: a header block (which store, the salt, the commit it covers and its history), then frames numbered 1, 2, ... of
about 64 KiB of operations, then one frame without operations that says how many keys there were. The operations make
each key from nothing; those of one key stand together, in one frame or in several. A frame is about the keys of one
database, which is 0 or the one that its first operation selects. Written under a temporary name, synced, renamed: a
crash leaves the old one or the new one. So there is no torn tail here: whatever is not exactly this is damage.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from kvstore.base.disk import Disk, File
from kvstore.base.errors import DamagedStore
from kvstore.base.frame import BLOCK_BYTES, Frame, FrameReader, encode_block, encode_frame, read_block
from kvstore.base.limits import KIB, MIB
from kvstore.store.beginning import NO_LINEAGE, Lineage, lineage_of
from kvstore.store.operations import encode_select

NAME = "table.ckpt"
_KIND = "KVCKPT1"
_END = b"+KVEND keys="
_FRAME_BYTES = 64 * KIB
#: The writer syncs this often, so that the log's own syncs never wait behind a large heap of dirty pages.
_SYNC_EVERY_BYTES = 2 * MIB


class CheckpointHeader(NamedTuple):
    """What a checkpoint says of itself.

    `covers`: number of the last commit in it, `lineage`: that up to it. `store`, `salt`: as in a log's header.
    """

    store: str
    salt: int
    covers: int
    created_us: int
    lineage: Lineage = NO_LINEAGE

    @property
    def history(self) -> str:
        """Of which history that commit is."""
        return self.lineage.history


class CheckpointWriter:
    """Writes a checkpoint to a new file, operation by operation, in bounded memory. Raises OSError."""

    def __init__(self, disk: Disk, name: str, header: CheckpointHeader) -> None:
        self._file = disk.create(name)
        self._header = header
        self._database = 0
        self._pieces: list[bytes] = []
        self._size = 0
        self._frames = 0
        self._keys = 0
        self._unsynced = 0
        self._offset = 0
        fields = {"store": header.store, "salt": f"{header.salt:08x}", "covers": f"{header.covers:016x}",
                  "created": f"{header.created_us:016x}", **header.lineage.fields()}  # fmt: skip
        self._write(encode_block(_KIND, fields))

    def select(self, database: int) -> None:
        """What is appended from here on is about the keys of that database; it is 0 at first."""
        if database != self._database:
            if self._pieces:
                self._end_frame()
            self._database = database

    def add(self, operations: bytes, keys: int) -> None:
        """Append encoded operations that make `keys` different keys, or further ones of the last key: then it is 0."""
        if self._database and not self._pieces:
            self._pieces.append(encode_select(self._database))
        self._pieces.append(operations)
        self._size += len(operations)
        self._keys += keys
        if self._size >= _FRAME_BYTES:
            self._end_frame()

    def add_key(self, operations: Iterable[bytes]) -> None:
        """Append the encoded operations that make one key."""
        for number, operation in enumerate(operations):
            self.add(operation, 1 if number == 0 else 0)

    def add_alike(self, operations: bytes, keys: int) -> None:
        """As `add` of one after the other: encoded operations of one size, each of which makes one of `keys` keys."""
        size = len(operations) // keys
        at = 0
        while at < len(operations):
            fill_frame = -(-(_FRAME_BYTES - self._size) // size)  # up to and with the one that makes the frame full
            piece = operations[at : at + fill_frame * size]
            self.add(piece, len(piece) // size)
            at += len(piece)

    def finish(self) -> int:
        """Write the last frame and sync; returns the size in bytes.

        Durability: the content is on disk, the name is not.
        """
        if self._pieces:
            self._end_frame()
        self._pieces = [b"%b%016x\r\n" % (_END, self._keys)]
        self._end_frame()
        self._file.sync()
        self._file.close()
        return self._offset

    def abandon(self) -> None:
        """Close the unfinished file."""
        self._file.close()

    def _end_frame(self) -> None:
        self._frames += 1
        header = self._header
        self._write(encode_frame(self._frames, header.covers, header.created_us, b"".join(self._pieces), header.salt))
        self._pieces = []
        self._size = 0

    def _write(self, data: bytes) -> None:
        self._file.write_at(self._offset, data)
        self._offset += len(data)
        self._unsynced += len(data)
        if self._unsynced >= _SYNC_EVERY_BYTES:
            self._file.sync()
            self._unsynced = 0


class CheckpointReader:
    """Reads a checkpoint, streamed. `header` is there at once; iterating yields the frames that hold operations.

    Raises DamagedStore for whatever is not exactly a checkpoint, NewerVersion, OSError.
    """

    def __init__(self, file: File, name: str = NAME) -> None:
        self._file = file
        self._name = name
        fields = read_block(file, name, 0, _KIND)
        if fields is None:
            raise DamagedStore(name, 0, "the header of the checkpoint is not valid", "")
        self.header = CheckpointHeader(
            fields["store"], int(fields["salt"], 16), int(fields["covers"], 16), int(fields["created"], 16),
            lineage_of(fields),
        )  # fmt: skip

    def frames(self) -> Iterator[Frame]:
        """Yield each frame with operations; `check_keys` is to be called when all are read."""
        reader = FrameReader(self._file, BLOCK_BYTES, self.header.salt)
        previous: Frame | None = None
        for expected, frame in enumerate(reader, 1):
            if frame.sequence != expected:
                raise DamagedStore(self._name, frame.offset, f"frame {frame.sequence} where {expected} belongs", "")
            if previous is not None:
                yield previous
            previous = frame
        if reader.reason is not None or reader.stopped_at != self._file.size():
            raise DamagedStore(self._name, reader.stopped_at, reader.reason or "bytes after the last frame", "")
        if previous is None or not previous.body.startswith(_END):
            raise DamagedStore(self._name, reader.stopped_at, "the checkpoint ends before its last frame", "")
        self._last = previous

    def check_keys(self, count: int) -> None:
        """Refuse the checkpoint if it did not hold as many keys as its last frame says. `count`: the keys found."""
        noted = int(self._last.body[len(_END) : len(_END) + 16], 16)
        if noted != count:
            raise DamagedStore(self._name, self._last.offset, f"{count} keys where {noted} were written", "")
