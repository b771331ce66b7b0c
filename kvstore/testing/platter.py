"""The state behind the simulated disk: what the page cache shows, what the platter is sure to hold, and what lies
between.

The model, which is as unkind as the promises in `kvstore.base.disk` and POSIX allow:

Files
: A file (inode) is a durable image plus the effects since, in order: writes and size changes. `sync` makes them
  durable; one that is begun and finished apart, those before it was begun, when it is finished: until then, and for
  the effects in between, nothing is sure. At a crash each effect has its own fate, whatever came before or after it:

  - A write is decided for every 512-byte sector that it touches. Its bytes in one sector are lost, kept, garbage,
    zeros, or torn at any byte (the new ones before it and the old ones after, or the other way round). Bytes beside
    those written stay as they are ("powersafe overwrite", as SQLite assumes it too), and so do those at either end of
    the write that are written over with the same ones: the system writes whole pages, and does not know the difference.
  - Size changes happen in their order, because a journaling file system logs them so: the file is as long as it was
    after some number of them, and a growing write may have stopped at any byte. The size does not tell of the data: a
    file may have grown and hold zeros where the data was lost.
  - After a failed `sync` the bytes written before it stay undecided for ever: no later `sync`, not even of a later
    process, makes them durable, though reads go on showing them, as Linux does (the pages are marked clean). Only
    writing them again does. Their size is not lost so: it is in the journal, and a journal that cannot be written stops
    the file system.

The directory
: Names are a durable map plus the operations since. Each operation happened or did not, whatever became of the others;
  a rename is one operation, so its target is the old or the new file, never neither. A file may have a name and no
  content. A file whose content was synced and whose name was not may be missing. Syncing a file does not save its
  name; syncing the directory saves no content. A failed `sync_directory` leaves its operations as they were.

Not modelled: a disk that loses what it said was synced, and stale sectors of other files in a file that grew (ordered
data mode and unwritten extents exclude them).

Rejected: directory operations in the order of the journal (true of ext4, but not promised by anybody: a store that
lives with any order lives with that one); whole file systems as images (a few hundred states a second instead of ten
thousand).
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from kvstore.testing.fates import Chooser, Fate

SECTOR_BYTES = 512

#: What a sector holds that lost power while it was written: noise, but the same noise in every run.
GARBAGE_BYTES = random.Random(0x6B76).randbytes(SECTOR_BYTES)

_PENDING, _ABANDONED, _DURABLE = range(3)


class _Effect:
    """One write (`data` at `offset`, the file being `size_before` bytes long) or, with `data` None, a size change to
    `offset`.
    """

    __slots__ = ("data", "in_sync", "offset", "size_before", "size_is_durable", "state")

    def __init__(self, offset: int, data: bytes | None, size_before: int) -> None:
        self.offset = offset
        self.data = data
        self.size_before = size_before
        self.size_is_durable = False
        self.in_sync = False  # one was begun after it, and is not finished
        self.state = _PENDING

    def copy(self) -> _Effect:
        twin = _Effect(self.offset, self.data, self.size_before)
        twin.size_is_durable = self.size_is_durable
        twin.in_sync = self.in_sync
        twin.state = self.state
        return twin

    def synced(self, succeeded: bool) -> None:
        """A sync was tried while this was pending, or later."""
        self.size_is_durable |= succeeded
        if self.state == _PENDING and (succeeded or self.data is not None):
            self.state = _DURABLE if succeeded else _ABANDONED

    def size_after(self) -> int:
        return self.offset if self.data is None else max(self.size_before, self.offset + len(self.data))

    def size_steps(self) -> int:
        """In how many steps the size changes: a growing write can stop at any byte, a truncation happens or not."""
        if self.data is None:
            return 1 if self.offset != self.size_before else 0
        return max(0, self.size_after() - max(self.size_before, self.offset))

    def size_after_steps(self, steps: int) -> int:
        """The size after so many of `size_steps`."""
        return self.offset if self.data is None else max(self.size_before, self.offset) + steps

    def sectors(self) -> Iterator[tuple[int, bytes]]:
        """(byte offset in the file, bytes) of every sector's part of a write."""
        data, start = self.data or b"", 0
        while start < len(data):
            end = min(len(data), start + SECTOR_BYTES - (self.offset + start) % SECTOR_BYTES)
            yield self.offset + start, data[start:end]
            start = end


class Inode:
    """One file. `content`: what reads see. `links`: how many names it has now."""

    __slots__ = ("_durable", "_effects", "content", "links")

    def __init__(self, image: bytes = b"") -> None:
        self.content = bytearray(image)
        self.links = 0
        self._durable = bytearray(image)
        self._effects: list[_Effect] = []

    def copy(self) -> Inode:
        """An independent twin, undecided effects included."""
        twin = Inode()
        twin.content = bytearray(self.content)
        twin.links = self.links
        twin._durable = bytearray(self._durable)
        twin._effects = [effect.copy() for effect in self._effects]
        return twin

    def write(self, offset: int, data: bytes) -> None:
        """Write into the page cache."""
        if data:
            effect = _Effect(offset, data, len(self.content))
            self._effects.append(effect)
            _write(self.content, offset, data)

    def truncate(self, length: int) -> None:
        """Change the size in the page cache."""
        self._effects.append(_Effect(length, None, len(self.content)))
        _resize(self.content, length)

    def sync(self, succeeded: bool) -> None:
        """Make the effects so far durable, or (a failed sync) leave the bytes of writes undecided for ever."""
        self._synced(self._effects, succeeded)

    def begin_sync(self) -> None:
        """Begin a sync of the effects so far. It makes nothing sure before it is finished."""
        for effect in self._effects:
            effect.in_sync = True

    def finish_sync(self, succeeded: bool) -> None:
        """Finish the sync begun: it was of the effects before that. If it failed, nobody knows of the later ones
        either: they may have been written out, and failed, with the others.
        """
        self._synced([effect for effect in self._effects if effect.in_sync or not succeeded], succeeded)
        for effect in self._effects:
            effect.in_sync = False

    def _synced(self, effects: list[_Effect], succeeded: bool) -> None:
        for effect in effects:
            effect.synced(succeeded)
        done = 0
        for effect in self._effects:
            if effect.state != _DURABLE:
                break
            _apply(self._durable, effect)
            done += 1
        del self._effects[:done]

    def after_crash(self, chooser: Chooser) -> bytes:
        """The file's content as a power cut leaves it."""
        if not self._effects:
            return bytes(self._durable)
        image = bytearray(self._durable)
        steps_left = self._choose_steps(chooser)
        for effect in self._effects:
            steps = min(steps_left, effect.size_steps())
            steps_left -= steps
            if steps:
                _resize(image, effect.size_after_steps(steps))
            for offset, data in effect.sectors():
                _write_sector(image, offset, data, None if effect.state == _DURABLE else chooser)
        return bytes(image)

    def _choose_steps(self, chooser: Chooser) -> int:
        """How many steps of all size changes happened: at least those that a sync made durable."""
        least = total = 0
        for effect in self._effects:
            total += effect.size_steps()
            if effect.size_is_durable:
                least = total
        return least + chooser.choose(Fate.SIZE, total - least + 1) if total > least else total


class Platter:
    """All files and names of one directory. Files are known by number, so that recorded events can be applied again."""

    def __init__(self) -> None:
        self.names: dict[str, int] = {}
        self.inodes: dict[int, Inode] = {}
        self._next_number = 0
        self._durable_names: dict[str, int] = {}
        self._operations: list[_Operation] = []

    def put(self, name: str, image: bytes) -> None:
        """Add a file that is wholly on the platter, its name included."""
        number = self._new_inode(image)
        self._enter({name: number}, self.names)
        self._durable_names[name] = number

    def copy(self) -> Platter:
        """An independent twin, undecided effects included; files that no name can lead to are left out."""
        twin = Platter()
        twin.names = dict(self.names)
        twin._durable_names = dict(self._durable_names)
        twin._operations = list(self._operations)
        twin._next_number = self._next_number
        for number in sorted(self._reachable()):
            twin.inodes[number] = self.inodes[number].copy()
        return twin

    def after_crash(self, chooser: Chooser) -> Platter:
        """The platter as a power cut leaves it, everything on it durable."""
        names = dict(self._durable_names)
        for operation in self._operations:
            if operation.is_visible_in(names) and chooser.choose(Fate.ENTRY, 2):
                operation.apply(names)
        left = Platter()
        left._next_number = self._next_number
        left.names = names
        left._durable_names = dict(names)
        for number in sorted(set(names.values())):
            left.inodes[number] = Inode(self.inodes[number].after_crash(chooser))
        for number in names.values():
            left.inodes[number].links += 1
        return left

    # The events. Each is applied once when it happens, and again whenever the recorded run is replayed.

    def create(self, name: str) -> None:
        """Make an empty file of that name; an existing one is made empty (O_CREAT | O_TRUNC)."""
        if name in self.names:
            self.inodes[self.names[name]].truncate(0)
        else:
            self._change({name: self._new_inode(b"")})

    def write(self, number: int, offset: int, data: bytes) -> None:
        """Write to a file."""
        self.inodes[number].write(offset, data)

    def truncate(self, number: int, length: int) -> None:
        """Change the size of a file."""
        self.inodes[number].truncate(length)

    def sync(self, number: int, succeeded: bool) -> None:
        """Sync a file."""
        self.inodes[number].sync(succeeded)

    def begin_sync(self, number: int) -> None:
        """Begin to sync a file."""
        self.inodes[number].begin_sync()

    def finish_sync(self, number: int, succeeded: bool) -> None:
        """Finish the sync of a file that was begun."""
        self.inodes[number].finish_sync(succeeded)

    def rename(self, old: str, new: str) -> None:
        """Rename a file; does nothing when both names are of the same file (POSIX)."""
        if self.names[old] != self.names.get(new):
            self._change({new: self.names[old], old: None})

    def remove(self, name: str) -> None:
        """Remove a name."""
        self._change({name: None})

    def sync_directory(self, succeeded: bool) -> None:
        """Sync the directory."""
        if succeeded:
            for operation in self._operations:
                operation.apply(self._durable_names)
            self._operations.clear()

    def _new_inode(self, image: bytes) -> int:
        self._next_number += 1
        self.inodes[self._next_number] = Inode(image)
        return self._next_number

    def _change(self, changes: dict[str, int | None]) -> None:
        self._operations.append(_Operation(changes))
        self._enter(changes, self.names)

    def _enter(self, changes: dict[str, int | None] | dict[str, int], names: dict[str, int]) -> None:
        for name, number in changes.items():
            before = names.pop(name, None)
            if before is not None:
                self.inodes[before].links -= 1
            if number is not None:
                names[name] = number
                self.inodes[number].links += 1

    def _reachable(self) -> set[int]:
        numbers = {*self.names.values(), *self._durable_names.values()}
        for operation in self._operations:
            numbers.update(number for number in operation.changes.values() if number is not None)
        return numbers


class _Operation:
    """One change of the directory: the entries that it sets, all at once (None: removed)."""

    __slots__ = ("changes",)

    def __init__(self, changes: dict[str, int | None]) -> None:
        self.changes = changes

    def is_visible_in(self, names: dict[str, int]) -> bool:
        return any(names.get(name) != number for name, number in self.changes.items())

    def apply(self, names: dict[str, int]) -> None:
        for name, number in self.changes.items():
            if number is None:
                names.pop(name, None)
            else:
                names[name] = number


def _resize(image: bytearray, length: int) -> None:
    if length < len(image):
        del image[length:]
    else:
        image.extend(bytes(length - len(image)))


def _write(image: bytearray, offset: int, data: bytes) -> None:
    if offset > len(image):
        _resize(image, offset)
    if offset == len(image):
        image += data  # a slice would copy them twice
    else:
        image[offset : offset + len(data)] = data


def _apply(image: bytearray, effect: _Effect) -> None:
    """Do to `image` all that an effect does."""
    if effect.data is None:
        _resize(image, effect.offset)
    else:
        _write(image, effect.offset, effect.data)


def _write_sector(image: bytearray, offset: int, data: bytes, chooser: Chooser | None) -> None:
    """Write the bytes that one write has in one sector, so far as the image reaches, with the fate that `chooser`
    gives.
    """
    data = data[: max(0, len(image) - offset)]
    old = bytes(image[offset : offset + len(data)])
    if chooser is None:
        image[offset : offset + len(data)] = data
    elif old != data:
        changed = int.from_bytes(old, "big") ^ int.from_bytes(data, "big")
        same = len(data) - (changed.bit_length() + 7) // 8
        end = len(data) - ((changed & -changed).bit_length() - 1) // 8
        image[offset + same : offset + end] = _sector_after_crash(old[same:end], data[same:end], chooser)


def _sector_after_crash(old: bytes, new: bytes, chooser: Chooser) -> bytes:
    length = len(new)
    whole = [old, new, GARBAGE_BYTES[:length], bytes(length)]
    if not any(old) or not any(new):
        whole.pop()  # zeros are among the others already
    choice = chooser.choose(Fate.SECTOR, len(whole) + 2 * (length - 1))
    if choice < len(whole):
        return whole[choice]
    place, kept_end = divmod(choice - len(whole), 2)
    return old[: place + 1] + new[place + 1 :] if kept_end else new[: place + 1] + old[place + 1 :]
