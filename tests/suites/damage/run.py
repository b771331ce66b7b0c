"""What damage does to a data directory: the changes that are tried, and the verdict on each.

A directory is a dict of file contents. `directories` makes small real ones with the store itself on a simulated disk;
`damages` yields every single damage of one, with a kind to count it under; `judge` opens the damaged directory as a
server would and says which of two outcomes it was: the promised state, exactly, or a refusal that names file, offset,
reason and advice. Anything else is a `ThirdOutcome`.

All promised commits here are covered by a mark or by a later frame, as in any server a second after its last write:
what no mark covers can be cut as a torn tail, and docs/DURABILITY.md says so.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple
from unittest import mock

from kvstore.base.errors import DamagedStore
from kvstore.store import checkpoint, log
from kvstore.store.examine import ADVICE, LIVE, examine
from kvstore.store.merge import merge
from kvstore.store.store import Store
from kvstore.testing.simulated_disk import SimulatedDisk
from kvstore.values import TYPES
from tests.kit.store_files import commit
from tests.suites.crashes.model import READERS, Content, content, numbered
from tests.suites.crashes.requests import Requests

Contents = dict[str, bytes]

_NOW_US = 1_700_000_000_000_000
_LATER_MS = _NOW_US // 1000 * 2
_BLOCK = 512  # the sector: the unit in which disks lose, swap and repeat
_FILL_BYTES = 16 * 1024
#: Of the crash tests, in one commit.
_REQUESTS = 4


class ThirdOutcome(Exception):
    """A damaged directory was served with another state than the promised one, or the refusal was not as it must be."""


class Directory(NamedTuple):
    """One undamaged data directory, the state that it promises, and older copies of its files."""

    name: str
    contents: Contents
    state: Content
    older: list[Contents]


class Damage:
    """One way to damage: what it is counted under, what was done, and the damaged directory.

    `contents`: the directory, or what makes it: of millions of damages a sample is tried, and only those are made.
    """

    def __init__(self, kind: str, what: str, contents: Contents | Callable[[], Contents]) -> None:
        self.kind = kind
        self.what = what
        self._contents = contents

    @property
    def contents(self) -> Contents:
        """The damaged directory; made when first asked for."""
        if callable(self._contents):
            self._contents = self._contents()
        return self._contents


class _Writer:
    """A store on a simulated disk that is written to step by step."""

    def __init__(self, seed: str) -> None:
        self.random = random.Random(seed)
        self.disk = SimulatedDisk(record=False)
        self.store = self._open()
        self.requests = Requests(self.store, {}, self.random, seed)
        self.older: list[Contents] = []

    def _open(self) -> Store:
        return Store(self.disk, TYPES, self._now_us, self.random.randbytes)

    def _now_us(self) -> int:
        return _NOW_US

    def commit(self, *keys: bytes) -> None:
        """One durable commit that writes these keys, every third with a deadline far away, and of some requests of the
        crash tests': on all types, in several databases, scripts too.
        """
        for number, key in enumerate(keys):
            self.store.table.write(key, self.random.randbytes(20), None if number % 3 else _LATER_MS)
        self.store.pending.undo.clear()
        self.requests.content = content(numbered(self.store))
        for _ in range(_REQUESTS):
            self.requests.request()
        commit(self.store)

    def every_operation(self) -> None:
        """A durable commit of all that there are: those about databases, then every edit of every type in one."""
        table, other = self.store.databases[9], self.store.databases[8]
        if not table.values:
            self.store.flush_all()
        self.store.libraries.write(b"library", b"#!lua name=library\n%b" % self.random.randbytes(20))
        table.write(b"gone", b"soon")
        self.store.swap(table, other)
        other.flush()
        for row in TYPES.others:
            key, missing = row.name.encode(), {edit.name for edit in row.edits}
            value = READERS[row.holds](table.values.get(key, row.empty(TYPES.places)))
            while missing:
                change = self.requests.change(value)
                table.edit(key, change.name, change.words)
                missing.discard(change.name)
                value = change.after
        commit(self.store)

    def mark(self) -> None:
        """What a server does within a second: note what is on disk."""
        self.store.mark_and_sync()
        self.older.append(self.disk.contents())

    def seal(self, *, and_merge: bool) -> None:
        """Begin a fresh log; then merge what was sealed, or leave it."""
        job = self.store.seal()
        if and_merge:
            self.store.finish_compaction(merge(self.disk, TYPES, job, _NOW_US))
        else:
            self.store.abandon_compaction()
        self.older.append(self.disk.contents())

    def directory(self, name: str) -> Directory:
        """What there is now."""
        contents = {key: value for key, value in self.disk.contents().items() if key != "lock"}
        return Directory(name, contents, content(numbered(self.store)), self.older[:-1])


def directories(seed: str = "damage") -> list[Directory]:
    """Small directories of each shape that a server leaves: a log alone, with a checkpoint, with segments."""
    with mock.patch.object(log, "ZERO_FILL_BYTES", _FILL_BYTES), mock.patch.object(checkpoint, "_FRAME_BYTES", 200):
        return [_log_alone(seed), _first_commit(seed), _everything(seed), _empty_live(seed)]


def _log_alone(seed: str) -> Directory:
    writer = _Writer(seed + "1")
    writer.every_operation()
    for number in range(3):
        writer.commit(b"a%d" % number, b"shared")
        if number == 1:
            writer.mark()
    writer.mark()
    return writer.directory("a log alone")


def _first_commit(seed: str) -> Directory:
    writer = _Writer(seed + "2")
    writer.commit(b"only", b"two", b"three")
    writer.mark()
    return writer.directory("one commit")


def _everything(seed: str) -> Directory:
    writer = _Writer(seed + "3")
    for turn, merged in ((0, True), (1, True), (2, False), (3, False)):
        for number in range(3):
            writer.commit(b"t%d" % turn, b"n%d" % number, b"k%d%d" % (turn, number))
            writer.mark()
        if turn in (1, 2):  # into the checkpoint, and into a segment
            writer.every_operation()
            writer.mark()
        writer.seal(and_merge=merged)
    for number in range(3):
        writer.commit(b"live%d" % number, b"t0")
        writer.mark()
    return writer.directory("checkpoint, two segments, log")


def _empty_live(seed: str) -> Directory:
    writer = _Writer(seed + "4")
    for number in range(6):
        writer.commit(b"x%d" % number, b"y")
    writer.mark()
    writer.seal(and_merge=True)
    return writer.directory("checkpoint, empty log")


# The kinds of damage.


def damages(directory: Directory, other: Directory) -> Iterator[Damage]:
    """Every damage of one directory. `other`: a directory of another server."""
    for name, data in directory.contents.items():
        yield from _of_bytes(directory.contents, name)
        for kind, what, damaged in _of_blocks(data):
            if damaged != data:
                yield Damage(kind, f"{name}: {what}", {**directory.contents, name: damaged})
    yield from _of_files(directory, other)


def _of_bytes(contents: Contents, name: str) -> Iterator[Damage]:
    """Each byte of one file changed, and the file cut off there."""

    def changed(at: int, value: int) -> Contents:
        return {**contents, name: _put(contents[name], at, bytes([value]))}

    def cut(at: int) -> Contents:
        return {**contents, name: contents[name][:at]}

    for at, byte in enumerate(contents[name]):
        place = f"{name}: byte {at} from {byte}"
        for bit in range(8):
            yield Damage("bit flipped", f"{place}, bit {bit}", partial(changed, at, byte ^ 1 << bit))
        for kind, value in (("byte zeroed", 0), ("byte set to 255", 255)):
            if byte != value:
                yield Damage(kind, place, partial(changed, at, value))
        yield Damage("file truncated", place, partial(cut, at))


def _of_blocks(data: bytes) -> Iterator[tuple[str, str, bytes]]:
    places = range(0, len(data), _BLOCK)
    for one in places:
        block = data[one : one + _BLOCK]
        for other in range(one, len(data), _BLOCK):
            end = min(other + _BLOCK, len(data))
            yield "blocks zeroed", f"bytes {one} to {end}", _put(data, one, bytes(end - one))
            yield "blocks lost", f"bytes {one} to {end}", data[:one] + data[end:]
        for other in places:
            second = data[other : other + _BLOCK]
            if other != one and len(block) == len(second):
                yield "block copied over another", f"{one} over {other}", _put(data, other, block)
                yield "blocks swapped", f"{one} and {other}", _put(_put(data, other, block), one, second)
        yield "block repeated", f"at {one}", data[:one] + block + data[one:]
    yield "bytes appended", "zeros", data + bytes(_BLOCK)
    yield "bytes appended", "garbage", data + b"garbage" * 100


def _put(data: bytes, at: int, piece: bytes) -> bytes:
    return data[:at] + piece + data[at + len(piece) :]


def _of_files(directory: Directory, other: Directory) -> Iterator[Damage]:
    contents = directory.contents
    for name in contents:
        if len(contents) > 1:  # the only file missing is a directory never used: see docs/DURABILITY.md
            yield Damage("file missing", name, {key: data for key, data in contents.items() if key != name})
        yield Damage("file emptied", name, {**contents, name: b""})
        for second in contents:
            if name < second:
                swapped = {**contents, name: contents[second], second: contents[name]}
                yield Damage("files swapped", f"{name} and {second}", swapped)
            yield Damage("file copied over another", f"{second} over {name}", {**contents, name: contents[second]})
        for foreign, data in other.contents.items():
            if len(contents) > 1 or foreign != LIVE:  # all files of a directory from another one: that is a directory
                yield Damage("file from another directory", f"{foreign} as {name}", {**contents, name: data})
    for foreign, data in other.contents.items():
        if foreign not in contents:
            yield Damage("file from another directory", f"{foreign} added", {**contents, foreign: data})
    yield from _of_older_files(directory)
    yield Damage(
        "stray file", "notes, tmp, lock", {**contents, "notes": b"x", "table.ckpt.1.tmp": b"x", "lock": b"\xff"}
    )


def _of_older_files(directory: Directory) -> Iterator[Damage]:
    """Older copies of single files put back.

    An older copy of the live log itself, its own younger half lost, is one thing that nothing can tell: left out.
    """
    contents = directory.contents
    for number, older in enumerate(directory.older):
        for name, data in older.items():
            same_log = name == LIVE and data[: log.BLOCK_BYTES] == contents[LIVE][: log.BLOCK_BYTES]
            if name != "lock" and contents.get(name) != data and not same_log:
                yield Damage("older file put back", f"{name} of copy {number}", {**contents, name: data})


# The verdict.


def judge(damage: Damage, directory: Directory) -> str:
    """`served` or `refused`. Raises ThirdOutcome."""
    disk = SimulatedDisk.holding(damage.contents, record=False)
    try:
        store = _open(disk)
    except DamagedStore as refusal:
        _check_refusal(refusal, damage, disk)
        return "refused"
    except Exception as error:
        raise ThirdOutcome(f"{directory.name}; {damage.kind}; {damage.what}: {error!r}") from error
    _check_state(store, damage, directory)
    return "served"


def _open(disk: SimulatedDisk) -> Store:
    chance = random.Random(1)
    return Store(disk, TYPES, lambda: _NOW_US, chance.randbytes)


def _check_refusal(refusal: DamagedStore, damage: Damage, disk: SimulatedDisk) -> None:
    named = refusal.file.removeprefix(disk.describe(""))
    before = damage.contents | {"lock": disk.contents()["lock"]}
    after = disk.contents()
    if not (refusal.reason and refusal.advice == ADVICE and refusal.offset >= 0 and named.startswith("table.")):
        raise ThirdOutcome(f"{damage.kind}; {damage.what}: the refusal does not say enough: {refusal}")
    if "lock" not in damage.contents and after != before:
        raise ThirdOutcome(f"{damage.kind}; {damage.what}: a refused start changed the files")


def _check_state(store: Store, damage: Damage, directory: Directory) -> None:
    """The state is the promised one, again after a second recovery, and the next compaction works."""
    what = f"{directory.name}; {damage.kind}; {damage.what}"
    if content(numbered(store)) != directory.state:
        raise ThirdOutcome(f"{what}: served another state")
    disk = store._disk
    found = examine(disk, TYPES)
    if found.time_us != _NOW_US:
        raise ThirdOutcome(f"{what}: the last commit is of another time")
    if content(found.databases.by_number.items()) != directory.state or found.tail or found.leftovers:
        raise ThirdOutcome(f"{what}: the second recovery finds another state")
    if store.can_compact():
        job = store.seal()
        store.finish_compaction(merge(disk, TYPES, job, _NOW_US))
        found = examine(disk, TYPES)
        if content(found.databases.by_number.items()) != directory.state:
            raise ThirdOutcome(f"{what}: the compaction makes another state")


def try_all(
    found: list[Directory], chosen: Callable[[], bool], seen: Callable[[str, str, str], None]
) -> list[ThirdOutcome]:
    """Judge the damages that `chosen` picks. `seen`: called with directory, kind and outcome. Returns third ones."""
    third = []
    with mock.patch.object(log, "ZERO_FILL_BYTES", _FILL_BYTES), mock.patch.object(checkpoint, "_FRAME_BYTES", 200):
        for number, directory in enumerate(found):
            for damage in damages(directory, found[number - 1]):
                if not chosen() and damage.kind not in RARE:
                    continue
                try:
                    outcome = judge(damage, directory)
                except ThirdOutcome as error:
                    third.append(error)
                    outcome = "third"
                seen(directory.name, damage.kind, outcome)
    return third


#: Kinds with few damages each: never left out of a sample.
RARE = {
    "file missing", "file emptied", "files swapped", "file copied over another", "file from another directory",
    "older file put back", "stray file", "bytes appended", "block repeated",
}  # fmt: skip
