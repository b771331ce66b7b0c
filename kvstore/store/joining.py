"""How a server of a group comes to the state of another one: by that one's checkpoint.

All directories of a group have the same identity, and the numbers of their commits are the positions of its log. So one
server's checkpoint is as good as another's own, and what came after it is in the log, which is trimmed only up to what
the checkpoints of two servers cover. No segment is fetched.

1. The checkpoint is written to `joined.ckpt.tmp` and read again, each of its bytes: `Incoming`. Then its standing is
   compared with the log (see `difference`), and only if that has what is in it, it is named `joined.ckpt`.
2. The server ends, and the next start puts it in the place of what is there, before recovery: `complete`. First an
   empty log that goes on from it, then the checkpoint: that is the step with which it is done. A crash before it leaves
   `joined.ckpt`, with which the next start begins again; a crash in 1 leaves a temporary file, which is removed.

What is there by then is an older state of the same log, or nothing: a directory that is damaged was set aside before,
file by file, under names that nothing else has: `set_aside`. Nobody removes these but their owner. Only a directory of
this group is: what a server by itself has written is in no group, and is refused as it is.

Rejected: to put it in place while the server runs (two logs would be open, and one of them to be forgotten); to fetch
segments, too (what they hold is in the group's log).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from itertools import count
from typing import NamedTuple

from kvstore.base.disk import Disk
from kvstore.base.errors import DamagedStore
from kvstore.base.files import TEMPORARY, publish, temporary
from kvstore.base.limits import MIB
from kvstore.base.shared_log import Standing
from kvstore.store import checkpoint
from kvstore.store.checkpoint import CheckpointReader
from kvstore.store.examine import LIVE, segments_of
from kvstore.store.log import create_log, read_log_header
from kvstore.store.recovery import FETCHED, new_log_header

NAME = FETCHED
#: Most bytes of a checkpoint that are sent at a time; and how often what was received is synced.
PIECE_BYTES = 1 * MIB
_SYNC_EVERY_BYTES = 8 * MIB
NOT_OF_THE_GROUP = (
    "Nothing was changed: no file says that the directory is one of this group's, or one says that it is another's, "
    "and what it holds may be nowhere else. Look at it with `python -m kvstore.tools verify DIR`; for this server to "
    "join its group, move the directory away by hand, or name an empty one."
)


class Piece(NamedTuple):
    """Some bytes of a checkpoint. `identity`: another one for each; `covers`: the last commit in it; `size_bytes`: of
    all of it.
    """

    identity: str
    covers: int
    size_bytes: int
    data: bytes


def read_piece(disk: Disk, offset: int) -> Piece:
    """Bytes of the checkpoint there is, from `offset` on. Raises DamagedStore, OSError."""
    file = disk.open_read(checkpoint.NAME)
    try:
        header = CheckpointReader(file).header
        identity = f"{header.covers:x}-{header.salt:08x}"
        return Piece(identity, header.covers, file.size(), file.read_at(offset, PIECE_BYTES))
    finally:
        file.close()


class Incoming:
    """A checkpoint that is being fetched. `store`: the identity of the directory. `size_bytes`: so far.

    `standing`: what of the group's log is in it, when it was checked.
    """

    standing: Standing

    def __init__(self, disk: Disk, store: str) -> None:
        self._disk = disk
        self._store = store
        self._file = disk.create(temporary(NAME))
        self._synced = 0
        self.size_bytes = 0

    def add(self, data: bytes) -> None:
        """The next bytes. Raises OSError."""
        self._file.write_at(self.size_bytes, data)
        self.size_bytes += len(data)
        if self.size_bytes - self._synced >= _SYNC_EVERY_BYTES:
            self._file.sync()
            self._synced = self.size_bytes

    def check(self, least: int) -> None:
        """That was all: read it again. `least`: the commit that it has to cover. Raises DamagedStore, OSError,
        ValueError.

        Durability: on disk when this returns, under the temporary name.
        """
        self._file.sync()
        reader = CheckpointReader(self._file, temporary(NAME))
        for _ in reader.frames():
            pass
        header = reader.header
        standing = header.lineage.standing(header.covers)
        if header.store != self._store or standing is None or not header.lineage.entry:
            raise DamagedStore(temporary(NAME), 0, "it is the checkpoint of no server of this group", "")
        if header.covers < least:
            raise DamagedStore(temporary(NAME), 0, f"it has entries up to {header.covers} only, not {least}", "")
        self.standing = standing

    def keep(self) -> None:
        """Have the next start begin with it, which was checked, and is of the group's log. Raises OSError.

        Durability: on disk when this returns.
        """
        publish(self._disk, temporary(NAME), NAME)
        self._file.close()

    def abandon(self) -> None:
        """Forget it."""
        self._file.close()
        with contextlib.suppress(OSError):
            self._disk.remove(temporary(NAME))


def complete(disk: Disk, now_us: int, random_bytes: Callable[[int], bytes]) -> int | None:
    """Before recovery: put a checkpoint that was fetched in place. Returns the last commit in it; None if there is
    none. The directory must be locked. Raises OSError.

    One with a damaged header is removed, as it is a copy of another server's: what is there is as good without it.
    """
    if NAME not in disk.names():
        return None
    try:
        with contextlib.closing(disk.open_read(NAME)) as file:
            header = CheckpointReader(file, NAME).header
    except DamagedStore:
        disk.remove(NAME)
        return None
    after = new_log_header(header.store, header.covers + 1, now_us, random_bytes, header.lineage)
    create_log(disk, temporary(LIVE), after).close()
    publish(disk, temporary(LIVE), LIVE)
    publish(disk, NAME, checkpoint.NAME)
    return header.covers


def set_aside(disk: Disk, identity: str, damage: DamagedStore) -> list[str]:
    """Give all files of a damaged directory other names; returns these. Nothing is removed.

    `identity`: of the group's directories. Raises OSError; DamagedStore, with nothing changed, unless all headers that
    can be read, and one at least, say that it is one of them.

    A crash in the middle leaves what is damaged in its turn, or an older state that is sound.
    """
    if _stores(disk) != {identity}:
        raise DamagedStore(damage.file, damage.offset, damage.reason, NOT_OF_THE_GROUP) from damage
    names = disk.names()
    prefixes = (f"damaged-{number}." for number in count(1))
    prefix = next(each for each in prefixes if not any(name.startswith(each) for name in names))
    ours = [name for name in names if name.startswith((LIVE, checkpoint.NAME)) and not name.endswith(TEMPORARY)]
    for name in ours:
        disk.rename(name, prefix + name)
    disk.sync_directory()
    return [prefix + name for name in ours]


def _stores(disk: Disk) -> set[str]:
    """The identities in the headers that can be read. Raises NewerVersion, OSError."""
    found = set()
    for name in disk.names():
        if name in (checkpoint.NAME, LIVE) or segments_of([name]):
            file = disk.open_read(name)
            with contextlib.closing(file), contextlib.suppress(DamagedStore):
                is_checkpoint = name == checkpoint.NAME
                header = CheckpointReader(file).header if is_checkpoint else read_log_header(file, name)
                found.add(header.store)
    return found
