"""`SimulatedDisk`: the data directory in memory, with a power switch, a fault box and a recorder.

It implements `kvstore.base.disk.Disk`, so it goes wherever a `RealDisk` goes. What it adds:

- `crash(chooser)`: the disk as it would be found after a power cut; what was not synced is lost, kept or torn as the
  chooser (see `fates`) decides, within the model that `platter` states. `crashes(limit)`: all such disks, or a spread
  of them.
- `kill()`: the disk after kill -9: the page cache survives whole, the lock is gone.
- `fail(...)`: the n-th call from now raises, before, after or half way through its work. `capacity_bytes`: a full disk.
- `calls`: what was called, for a person. `moments()`: the disk as of every change in a recorded run, so that the states
  which a crash at every call could leave come from one run.

A crash *during* a call needs no moment of its own: a write or rename that was under way is one whose effect is
undecided after it, and a sync that was under way leaves what the moment before it leaves.

All of these give independent disks; the one they were taken from runs on. Not safe for threads.

>>> disk = SimulatedDisk()
>>> file = disk.create("greeting")
>>> file.write_at(0, b"hello")
>>> disk.crash(AllLost()).names()
[]
>>> file.sync(); disk.sync_directory()
>>> disk.crash(AllLost()).contents()
{'greeting': b'hello'}
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from kvstore.base import directory_lock
from kvstore.base.errors import DirectoryInUse, StorageFault
from kvstore.testing.fates import AllLost, Chooser, Enumeration, Survey, spread
from kvstore.testing.platter import Platter

__all__ = ["AllLost", "Call", "Moment", "SimulatedDisk", "SimulatedFile"]

#: The room on a disk without a capacity.
_PLENTY_BYTES = 1 << 40


class Call(NamedTuple):
    """One call as the recorder saw it. `number`: from 1. `file`: the name it was about, or "". `detail`: its numbers,
    for a person.
    """

    number: int
    name: str
    file: str
    detail: str

    def __str__(self) -> str:
        return f"{self.number}: {self.name}({', '.join(filter(None, (self.file, self.detail)))})"


class Moment(NamedTuple):
    """A point in a recorded run. `changes`: how many changes of the disk had happened; `call`: the call that made the
    last one, or None at the start; `disk`: the disk then, valid until the next moment is asked for.
    """

    changes: int
    call: Call | None
    disk: SimulatedDisk


class _Fault:
    __slots__ = ("after", "call", "done", "error", "file", "times")

    def __init__(self, call: str, error: int, after: int, times: int | None, file: str | None, done: int) -> None:
        self.call = call
        self.error = error
        self.after = after
        self.times = times
        self.file = file
        self.done = done

    def strikes(self, call: str, file: str) -> bool:
        """Count a call; whether it is one that fails."""
        if self.call not in (call, "any") or self.file not in (None, file) or self.times == 0:
            return False
        self.after -= 1
        if self.after >= 0:
            return False
        if self.times is not None:
            self.times -= 1
        return True

    def as_error(self, file: str) -> OSError:
        """The error that was ordered, for a call about `file`."""
        return OSError(self.error, f"{errno.errorcode.get(self.error, 'error')} (simulated)", file or None)


class SimulatedDisk:
    """A data directory in memory. `capacity_bytes`: how much its files may hold together, None for no limit; may be
    changed at any time. `record`: keep `calls` and what `moments` needs (memory grows with everything written).
    """

    def __init__(self, capacity_bytes: int | None = None, *, record: bool = True) -> None:
        self.capacity_bytes = capacity_bytes
        self.moved = False
        self.calls: list[Call] = []
        self._platter = Platter()
        self._locked = False
        self._faults: list[_Fault] = []
        self._start_recording(record)

    @classmethod
    def holding(cls, contents: dict[str, bytes], *, record: bool = True) -> SimulatedDisk:
        """A disk with these files (name to content), all of them durable."""
        platter = Platter()
        for name, image in contents.items():
            platter.put(_checked(name), image)
        return cls._of(platter, None, record)

    @classmethod
    def _of(cls, platter: Platter, capacity_bytes: int | None, record: bool) -> SimulatedDisk:
        disk = cls(capacity_bytes, record=False)
        disk._platter = platter
        disk._start_recording(record)
        return disk

    def _start_recording(self, record: bool) -> None:
        self._journal: list[tuple[Call, Callable[..., None], tuple[Any, ...]]] = []
        self._first = self._platter.copy() if record else None
        self._call = Call(0, "", "", "")

    # What Disk promises.

    def names(self) -> list[str]:
        """See `Disk`."""
        self._begin("names")
        return sorted(self._platter.names)

    def open(self, name: str) -> SimulatedFile:
        """See `Disk`."""
        self._begin("open", name)
        return SimulatedFile(self, name, self._number(name), writable=True)

    def open_read(self, name: str) -> SimulatedFile:
        """See `Disk`."""
        self._begin("open_read", name)
        return SimulatedFile(self, name, self._number(name), writable=False)

    def create(self, name: str) -> SimulatedFile:
        """See `Disk`."""
        fault = self._begin("create", _checked(name), may_be_done=True)
        self._happen(Platter.create, name)
        _raise(fault, name)
        return SimulatedFile(self, name, self._number(name), writable=True)

    def rename(self, old: str, new: str) -> None:
        """See `Disk`."""
        fault = self._begin("rename", old, _checked(new), may_be_done=True)
        self._number(old)
        self._happen(Platter.rename, old, new)
        _raise(fault, old)

    def remove(self, name: str) -> None:
        """See `Disk`."""
        fault = self._begin("remove", name, may_be_done=True)
        self._number(name)
        self._happen(Platter.remove, name)
        _raise(fault, name)

    def leads_to(self, name: str, file: File) -> bool:
        """See `Disk`."""
        self._begin("leads_to", name)
        assert isinstance(file, SimulatedFile)
        return self._platter.names.get(name) == file._number

    def sync_directory(self) -> None:
        """See `Disk`."""
        fault = self._begin("sync_directory", may_be_done=True)
        self._happen(Platter.sync_directory, fault is None)
        _raise(fault)

    def lock(self) -> None:
        """See `Disk`. Taken until `unlock`, or until the process ends: a disk from `kill` or `crash` is free."""
        self._begin("lock", directory_lock.NAME)
        if directory_lock.NAME not in self._platter.names:  # its fate in a crash matters to nobody: not asked
            self._happen(Platter.put, directory_lock.NAME, b"")
        if self._locked:
            raise DirectoryInUse(f"{self.describe('')} is in use by a server")
        self._locked = True

    def check(self) -> str:
        """See `Disk`. `moved` says whether the directory's name leads to another one."""
        self._begin("check")
        if self.moved:
            raise StorageFault(f"{self.describe('')} names another directory than the one this server works in")
        return ""

    def unlock(self) -> None:
        """See `Disk`."""
        self._locked = False

    def free_bytes(self) -> int:
        """See `Disk`."""
        self._begin("free_bytes")
        return self._room()

    def describe(self, name: str) -> str:
        """See `Disk`."""
        return f"simulated:/{name}"

    # What only a simulated disk can do.

    def fail(
        self, call: str, error: int, when: int = 1, *, times: int | None = 1, file: str | None = None, done: int = 0
    ) -> None:
        """Make a call raise OSError.

        `call`: the method's name (`write_at`, `sync`, `rename`, ...) or "any". `error`: an errno such as EIO. `when`:
        the how-manieth such call from now, from 1. `times`: how many fail from there on, None for all until `heal`.
        `file`: only calls about this file. `done`: how much of its work the call does before it raises: bytes of a
        `write_at` (a short write); for other calls that change something, anything but 0 means all of it. A failed
        `sync`, `finish_sync` or `sync_directory` never makes anything durable for certain.
        """
        self._faults.append(_Fault(call, error, when - 1, times, file, done))

    def heal(self) -> None:
        """Forget all faults that `fail` ordered."""
        self._faults.clear()

    def crash(self, chooser: Chooser, *, record: bool = False) -> SimulatedDisk:
        """The disk as it is found after a power cut now. `chooser`: decides the fate of whatever was not synced."""
        return self._of(self._platter.after_crash(chooser), self.capacity_bytes, record)

    def crashes(self, limit: int, seed: str = "", *, most: int = 4096, record: bool = False) -> Iterator[SimulatedDisk]:
        """The disks that a power cut now can leave: every one if there are no more than `limit`, else a spread of them.

        `limit`: at most; `seed`: of the random part. `most`: how many places to try where something can be torn at any
        byte. The same disk can come up more than once: compare `contents`.
        """
        survey = Survey(most)
        self._platter.after_crash(survey)
        choosers = spread(survey, limit, seed) if survey.combinations() > 1.01 * limit else self._every(limit, most)
        for chooser in choosers:
            yield self.crash(chooser, record=record)

    def _every(self, limit: int, most: int) -> Iterator[Chooser]:
        """Every combination, but no more than `limit`: the survey can be short of the truth."""
        every = Enumeration(most)
        yield every
        for _ in range(limit - 1):
            if not every.advance():
                return
            yield every

    def kill(self, *, record: bool = False) -> SimulatedDisk:
        """The disk after kill -9 of its process: everything written can be read, and what was not synced can still be
        lost.
        """
        return self._of(self._platter.copy(), self.capacity_bytes, record)

    def contents(self) -> dict[str, bytes]:
        """All files, name to content, as reads would show them. Not a recorded call."""
        inodes = self._platter.inodes
        return {name: bytes(inodes[number].content) for name, number in sorted(self._platter.names.items())}

    @property
    def changes(self) -> int:
        """How many changes (writes, syncs, renames, ...) were recorded so far: the `changes` of the moment that is
        now.
        """
        return len(self._journal)

    def moments(self, start: int = 0) -> Iterator[Moment]:
        """The recorded run again, change by change: the disk before the first one, after it, after the second, ...

        `start`: leave out the moments with fewer changes.
        """
        if self._first is None:
            raise ValueError("this disk was made with record=False")
        disk = self._of(self._first.copy(), self.capacity_bytes, record=False)
        if start <= 0:
            yield Moment(0, None, disk)
        for changes, (call, function, arguments) in enumerate(self._journal[:], 1):
            function(disk._platter, *arguments)
            if changes >= start:
                yield Moment(changes, call, disk)

    def _begin(self, call: str, file: str = "", detail: str = "", *, may_be_done: bool = False) -> _Fault | None:
        """Record a call. If it is one that fails: raise, or, if some of its work is to be done first, return the
        fault.
        """
        if self._first is not None:
            self._call = Call(len(self.calls) + 1, call, file, detail)
            self.calls.append(self._call)
        for fault in self._faults:
            if fault.strikes(call, file):
                if may_be_done and (fault.done or "sync" in call):
                    return fault
                raise fault.as_error(file)
        return None

    def _happen(self, function: Callable[..., None], *arguments: Any) -> None:
        function(self._platter, *arguments)
        if self._first is not None:
            self._journal.append((self._call, function, arguments))

    def _number(self, name: str) -> int:
        number = self._platter.names.get(name)
        if number is None:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory (simulated)", name)
        return number

    def _room(self) -> int:
        if self.capacity_bytes is None:
            return _PLENTY_BYTES
        inodes = self._platter.inodes
        return max(
            0, self.capacity_bytes - sum(len(inodes[number].content) for number in {*self._platter.names.values()})
        )


def _raise(fault: _Fault | None, file: str = "") -> None:
    if fault is not None:
        raise fault.as_error(file)


def _checked(name: str) -> str:
    if not name or "/" in name or "\0" in name or name in (".", ".."):
        raise ValueError(f"not a plain file name: {name!r}")
    return name


class SimulatedFile:
    """An open file of a simulated disk; made by its `open`, `open_read` and `create`."""

    def __init__(self, disk: SimulatedDisk, name: str, number: int, *, writable: bool) -> None:
        self._disk = disk
        self._name = name
        self._number = number
        self._inode = disk._platter.inodes[number]
        self._writable = writable
        self._open = True

    def write_at(self, offset: int, data: bytes) -> None:
        """See `File`. On a full disk the part that fits is written, as a real one does."""
        data = bytes(data)
        fault = self._begin("write_at", f"offset {offset}, {len(data)} bytes", changing=True)
        ordered = len(data) if fault is None else min(len(data), fault.done)
        fits = min(ordered, self._bytes_that_fit(offset))
        if fits:
            self._disk._happen(Platter.write, self._number, offset, data[:fits])
        _raise(fault, self._name)
        if fits < len(data):
            raise OSError(errno.ENOSPC, "No space left on device (simulated)", self._name)

    def read_at(self, offset: int, length: int) -> bytes:
        """See `File`."""
        self._begin("read_at", f"offset {offset}, {length} bytes")
        return bytes(memoryview(self._inode.content)[offset : offset + length])

    def size(self) -> int:
        """See `File`."""
        self._begin("size")
        return len(self._inode.content)

    def truncate(self, length: int) -> None:
        """See `File`."""
        fault = self._begin("truncate", f"{length} bytes", changing=True)
        self._disk._happen(Platter.truncate, self._number, length)
        _raise(fault, self._name)

    def sync(self) -> None:
        """See `File`."""
        fault = self._begin("sync", changing=True, needs_write=False)
        self._disk._happen(Platter.sync, self._number, fault is None)
        _raise(fault, self._name)

    def begin_sync(self) -> None:
        """Begin a sync of what was written so far, for a `SimulatedSyncer`."""
        self._begin("begin_sync")
        self._disk._happen(Platter.begin_sync, self._number)

    def finish_sync(self) -> None:
        """Finish the sync begun. Raises OSError if it failed."""
        fault = self._begin("finish_sync", changing=True, needs_write=False)
        self._disk._happen(Platter.finish_sync, self._number, fault is None)
        _raise(fault, self._name)

    def fileno(self) -> int:
        """See `File`: there is none; a simulated file is synced by a `SimulatedSyncer`."""
        raise AssertionError("a simulated file has no descriptor")

    def is_linked(self) -> bool:
        """See `File`."""
        self._begin("is_linked")
        return self._inode.links > 0

    def close(self) -> None:
        """See `File`."""
        self._open = False

    def _bytes_that_fit(self, offset: int) -> int:
        """How many bytes a write at `offset` can have before the disk is full."""
        return max(0, len(self._inode.content) + self._disk._room() - offset)

    def _begin(self, call: str, detail: str = "", *, changing: bool = False, needs_write: bool = True) -> _Fault | None:
        if not self._open or (changing and needs_write and not self._writable):
            raise OSError(errno.EBADF, "Bad file descriptor (simulated)", self._name)
        return self._disk._begin(call, self._name, detail, may_be_done=changing)


if TYPE_CHECKING:
    from kvstore.base.disk import Disk, File

    _is_a_disk: Disk = SimulatedDisk()
