"""What is done with the files of any disk, by the calls of `disk` alone: publishing, copying, comparing.

Publishing a file (a temporary name, write, sync, rename, sync the directory) is written once: `publish` for one that
somebody wrote and synced under its temporary name, `replace_with` for one whose bytes are at hand.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from operator import eq

from kvstore.base.disk import Disk, File
from kvstore.base.limits import MIB

#: Ends the names of files that are not complete yet.
TEMPORARY = ".tmp"


def temporary(name: str) -> str:
    """What a file is called until it is complete; what has such a name at a start is garbage of a crash."""
    return name + TEMPORARY


def publish(disk: Disk, written: str, name: str) -> None:
    """Give the file `written`, complete and synced, its `name`, in place of a file of that name. Raises OSError.

    Durability: the name is on disk when this returns; after a crash before that, `name` is the old file or the new one.
    """
    disk.rename(written, name)
    disk.sync_directory()


def replace_with(
    disk: Disk, name: str, content: Iterable[bytes], prepare: Callable[[File], None] = lambda file: None
) -> None:
    """Replace file `name` atomically by one of that `content`, in pieces. `prepare`: is called with the new file while
    there is nothing in it. Raises OSError, which names the file that cannot be written. Durability: on disk when this
    returns.
    """
    written = temporary(name)
    file = disk.create(written)
    try:
        prepare(file)
        offset = 0
        for piece in content:
            with _naming(disk.describe(written)):
                file.write_at(offset, piece)
            offset += len(piece)
        with _naming(disk.describe(written)):
            file.sync()
    finally:
        file.close()
    publish(disk, written, name)


@contextlib.contextmanager
def _naming(path: str) -> Iterator[None]:
    """An OSError that leaves here names `path`: one of a descriptor names nothing."""
    try:
        yield
    except OSError as error:
        error.filename = path
        raise


def copy_file(source: Disk, name: str, target: Disk, new_name: str | None = None) -> None:
    """Copy file `name` to another directory, as `new_name` if given, replacing one of that name atomically.

    Raises OSError.

    Durability: on disk, name and content, when this returns; after a crash before that it is not there, or whole.
    """
    file = source.open_read(name)
    try:
        replace_with(target, new_name or name, pieces(file))
    finally:
        file.close()


def pieces(file: File, start: int = 0, end: int | None = None) -> Iterator[bytes]:
    """Bytes `start` to `end` of a file, None for all there are, a mebibyte at a time."""
    while piece := file.read_at(start, MIB if end is None else min(MIB, end - start)):
        yield piece
        start += len(piece)


def holds(file: File, other: File, start: int, end: int) -> bool:
    """Whether `file` holds bytes `start` to `end` of the other one, and nothing else."""
    return file.size() == end - start and all(map(eq, pieces(file), pieces(other, start, end)))
