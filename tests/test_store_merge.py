"""What the merge writes, column by column or one by one; what it refuses; what its program does with replaced files."""

from __future__ import annotations

import contextlib
import tempfile
from itertools import product
from operator import add
from typing import Any
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.disk import RealDisk, RealFile
from kvstore.base.errors import DamagedStore
from kvstore.base.limits import KIB, MIB
from kvstore.base.value_type import Types
from kvstore.edge import merge_process
from kvstore.store import checkpoint, delta, merge
from kvstore.store.checkpoint import CheckpointReader
from kvstore.store.examine import examine, segment_name
from kvstore.store.merge import MergeJob
from kvstore.store.operations import (
    FLUSH_ALL,
    FLUSH_DATABASE,
    LIBRARY_DATABASE,
    UnknownOperation,
    encode,
    encode_deadline,
    encode_delete,
    encode_select,
    encode_swap,
)
from kvstore.store.state import Databases
from kvstore.store.store import Store
from kvstore.testing.simulated_disk import SimulatedDisk
from kvstore.values import TYPES
from kvstore.values.strings import STRINGS, encode_set
from tests.kit.harness import replay
from tests.kit.store_files import STORE, commit, read_checkpoint, write_checkpoint, write_log
from tests.kit.value_strategies import BAG, Bag
from tests.suites.crashes.run import small_files

FLUSH = encode(FLUSH_ALL)

_START_US = 1_700_000_000_000_000


class PassTests(SynchronousTestCase):
    """How much is merged in one pass."""

    def test_by_the_memory_of_the_machine(self) -> None:
        """A sixty-fourth of it, within limits."""
        for memory_mib, pass_mib in ((512, 32), (2048, 32), (4096, 64), (8192, 128), (65_536, 256)):
            pages = {"SC_PHYS_PAGES": memory_mib * 256, "SC_PAGE_SIZE": 4096}
            with mock.patch("os.sysconf", pages.__getitem__):
                self.assertEqual(merge_process._pass_bytes(), pass_mib * MIB)


numbers = st.integers(0, 150)
#: Bodies of frames: many `SET`s of one size, some of many sizes, and whatever else there is.
alike_bodies = st.builds(
    lambda first, count, step, text: b"".join(
        encode_set(b"k%03d" % (number % 151), text * 3) for number in range(first, first + count * step, step)
    ),
    numbers, st.integers(10, 60), st.integers(1, 5), st.sampled_from([b"", b"a", b"\r\n", b"long " * 30]),
)  # fmt: skip
other_bodies = st.lists(
    st.one_of(
        st.builds(lambda number, value: encode_set(b"k%03d" % number, value), numbers, st.binary(max_size=4)),
        st.builds(lambda number, ms: encode_set(b"k%03d" % number, b"v", ms), numbers, st.integers(0, 9)),
        st.builds(lambda number: encode_delete(b"k%03d" % number), numbers),
        st.builds(lambda number, ms: encode_deadline(b"k%03d" % number, ms), numbers, st.none() | st.integers(0, 9)),
        st.sampled_from(
            [
                FLUSH,
                encode(FLUSH_DATABASE),
                encode_swap(0, 1),
                encode_swap(12, 1) + encode_select(0),
                FLUSH + encode_set(b"k001", b"a"),
                encode_set(b"another length", b"v"),
                b"*1\r\n$4\r\nWHAT\r\n",
                b"*3\r\n$3\r\nSET\r\n",
            ]
        ),
    ),
    max_size=4,
).map(b"".join)
selections = st.sampled_from([b"", b"", encode_select(1), encode_select(12), encode_select(LIBRARY_DATABASE)])
bodies = st.lists(st.builds(add, selections, alike_bodies | other_bodies), min_size=1, max_size=5)
states = st.builds(
    lambda alike, value, odd, deadlines: ({**{b"k%03d" % n: value for n in alike}, **odd}, deadlines),
    st.lists(numbers, unique=True, max_size=150), st.binary(max_size=9),
    st.dictionaries(st.sampled_from([b"odd", b"k007", b"k100"]), st.binary(max_size=9)),
    st.dictionaries(st.sampled_from([b"k001", b"k020", b"k100"]), st.integers(0, 9)),
)  # fmt: skip


def one_by_one() -> Any:
    """The merge, but without a look at what is alike."""
    ways = contextlib.ExitStack()
    ways.enter_context(mock.patch.object(TYPES, "plain", STRINGS._replace(alike=lambda body: None)))
    ways.enter_context(mock.patch.object(merge, "_encoded_as_columns", lambda *arguments: None))
    return ways


def merged(disk: SimulatedDisk, job: MergeJob, pass_bytes: int) -> bytes | str:
    """The checkpoint that the merge writes, or why it does not."""
    try:
        merge.merge(disk, TYPES, job, _START_US, pass_bytes)
    except Exception as error:  # bodies that are no operations: as before, whatever it is
        return f"{type(error)}: {error}"
    return disk.contents()[job.output]


class AlikeTests(SynchronousTestCase):
    """Many `SET`s of one size are merged as columns: with the same outcome, byte for byte, as one by one."""

    def setUp(self) -> None:
        """Small frames, of some dozens of operations, so that stretches end in the middle of them."""
        self.enterContext(small_files())
        self.patch(checkpoint, "_FRAME_BYTES", 1200)

    def check(self, state: Any, logs: list[list[bytes]], pass_bytes: int, database: int = 0) -> bytes | str:
        """Merge segments of these frames into a checkpoint of that state (None: there is none), in both ways."""
        disk = SimulatedDisk(record=False)
        covers = 0
        if state is not None:
            write_checkpoint(disk, state, 5, database)
            covers = 5
        names = []
        for log in logs:
            names.append(segment_name(covers + 1))
            write_log(disk, names[-1], covers + 1, log)
            covers += len(log)
        job = MergeJob(names, "new.tmp", covers, 1)
        found = merged(disk, job, pass_bytes)
        with one_by_one():
            self.assertEqual(found, merged(disk, job, pass_bytes))
        return found

    @given(
        st.none() | states, st.lists(bodies, min_size=1, max_size=3), st.sampled_from([4 * KIB, 32 * MIB]),
        st.sampled_from([0, 1]),
    )  # fmt: skip
    def test_anything(self, state: Any, logs: list[list[bytes]], pass_bytes: int, database: int) -> None:
        """Whatever checkpoint and segments hold, bodies that are no operations too, in one pass or several."""
        self.check(state, logs, pass_bytes, database)

    def test_as_columns(self) -> None:
        """Frames, stretches and old frames of one size are not looked at one by one, in any database."""
        old: Any = ({b"k%04d" % number: b"old %04d" % number for number in range(0, 2040, 2)}, {})
        no_looks = STRINGS._replace(encode=None)  # type: ignore[arg-type]
        for database, pass_bytes in product((0, 11), (4 * KIB, 32 * MIB)):
            log = [
                (encode_select(database) if database else b"")
                + b"".join(encode_set(b"k%04d" % (at + n), b"new %04d" % n) for n in range(50))
                for at in range(0, 900, 50)
            ]
            expected = self.check(old, [log], pass_bytes, database)
            with (
                mock.patch.object(merge, "decode", None), mock.patch.object(delta, "decode", None),
                mock.patch.object(TYPES, "plain", no_looks),
            ):  # fmt: skip
                self.assertEqual(self.check_fast(old, log, pass_bytes, database), expected)

    def check_fast(self, state: Any, log: list[bytes], pass_bytes: int, database: int) -> bytes | str:
        """What the merge of one segment writes."""
        disk = SimulatedDisk(record=False)
        write_checkpoint(disk, state, 5, database)
        write_log(disk, segment_name(6), 6, log)
        return merged(disk, MergeJob([segment_name(6)], "new.tmp", 5 + len(log), 1), pass_bytes)

    def test_only_a_deadline(self) -> None:
        """A key of the old checkpoint that gets just a deadline keeps its value."""
        old: Any = ({b"k%03d" % number: b"old" for number in range(100)}, {})
        found = self.check(old, [[encode_deadline(b"k050", 7)]], 32 * MIB)
        assert isinstance(found, bytes)
        self.assertIn(encode_set(b"k050", b"old", 7), found)
        self.assertEqual(found.count(b"$3\r\nold"), 100)

    def test_any_order_of_deadlines(self) -> None:
        """Three operations on a string of the old checkpoint, each a key of its own: merged as they are replayed."""
        operations = (
            lambda key: encode_deadline(key, 7), lambda key: encode_deadline(key, 8),
            lambda key: encode_deadline(key, None), lambda key: encode_set(key, b"new"),
            lambda key: encode_set(key, b"new", 9), encode_delete,
        )  # fmt: skip
        orders = [order for order in product(range(6), repeat=3) if 5 not in order[:-1]]  # DEL comes last, or SET next
        orders += [(a, 5, b) for a in range(6) for b in (3, 4)]
        keys = [b"k%03d" % number for number in range(2 * len(orders))]
        old: Any = (dict.fromkeys(keys, b"old"), dict.fromkeys(keys[: len(orders)], 5))
        log = [
            b"".join(operations[number](key) for key, order in zip(keys, orders * 2, strict=True) for number in order)
        ]
        expected: Any = (dict(old[0]), dict(old[1]))
        replay(log[0], *expected)
        for pass_bytes in (4 * KIB, 32 * MIB):
            disk = SimulatedDisk(record=False)
            write_checkpoint(disk, old, 5)
            write_log(disk, segment_name(6), 6, log)
            merge.merge(disk, TYPES, MergeJob([segment_name(6)], "new.tmp", 6, 1), _START_US, pass_bytes)
            self.assertEqual(read_checkpoint(disk, "new.tmp"), expected)

    def test_flushed(self) -> None:
        """Nothing of the old checkpoint is copied, whatever its frames are like."""
        old: Any = ({b"k%03d" % number: b"old" for number in range(100)}, {})
        for pass_bytes in (4 * KIB, 32 * MIB):
            found = self.check(old, [[FLUSH + encode_set(b"k050", b"new")]], pass_bytes)
            assert isinstance(found, bytes)
            self.assertIn(encode_set(b"k050", b"new"), found)
            self.assertNotIn(b"$3\r\nold", found)

    def test_keys_of_two_lengths(self) -> None:
        """With values of one, in one stretch."""
        for keys in (
            [b"a", *(b"k%d" % number for number in range(10, 40))],
            [b"k%d" % number for number in range(110)],
        ):
            found = self.check(None, [[b"".join(encode_set(key, b"value") for key in keys)]], 32 * MIB)
            assert isinstance(found, bytes)
            for key in keys:
                self.assertIn(encode_set(key, b"value"), found)

    def test_lengths_of_large_values(self) -> None:
        """Values are written at once up to a mebibyte of them, the others one by one."""
        for length in (4000, 34_946, 34_947, 70_000):
            bodies = [b"".join(encode_set(b"key%03d" % n, bytes(length)) for n in range(at, at + 20)) for at in (0, 10)]
            self.check(None, [bodies * 3], 32 * MIB)


class CountedBag(Bag):
    """A bag; how many of them there are at once is noted."""

    there = most = 0

    def __init__(self) -> None:
        super().__init__()
        self._count(1)

    def __del__(self) -> None:
        self._count(-1)

    @classmethod
    def _count(cls, more: int) -> None:
        cls.there += more
        cls.most = max(cls.most, cls.there)


class PatchTests(SynchronousTestCase):
    """Values of other types than strings, changed in place."""

    def setUp(self) -> None:
        """Small frames, and a checkpoint with ten bags, each of which takes several frames."""
        AlikeTests.setUp(self)  # type: ignore[arg-type]
        self.types = Types(TYPES.plain, (BAG._replace(holds=CountedBag),))
        self.disk = SimulatedDisk(record=False)
        header = checkpoint.CheckpointHeader(STORE, 1, 5, 0)
        writer = checkpoint.CheckpointWriter(self.disk, checkpoint.NAME, header)
        for key in range(10):
            writer.add_key(encode(b"BAGPUT", b"bag%d" % key, b"element%d" % number, b"7") for number in range(90))
        writer.finish()

    def bodies(self, name: str) -> list[bytes]:
        """Of the frames of a checkpoint."""
        reader = CheckpointReader(self.disk.open_read(name), name)
        return [frame.body for frame in reader.frames()]

    def merged(self, log: list[bytes]) -> Databases:
        """The state after the merge of a segment of these frames; its count of keys was right."""
        write_log(self.disk, segment_name(6), 6, log)
        merge.merge(self.disk, self.types, MergeJob([segment_name(6)], "new.tmp", 5 + len(log), 1), _START_US)
        databases = Databases(self.types)
        reader = CheckpointReader(self.disk.open_read("new.tmp"), "new.tmp")
        for frame in reader.frames():
            databases.replay(frame.body)
        reader.check_keys(databases.count())
        return databases

    def test_frames_that_stay(self) -> None:
        """None of their keys was changed: they are copied as they are."""
        old = self.bodies(checkpoint.NAME)
        self.assertGreater(len(old), 20)
        self.merged([encode(b"BAGTAKE", b"bag5", b"element3") + encode_set(b"other", b"1")])
        new = b"".join(self.bodies("new.tmp"))
        self.assertEqual([body for body in old if b"bag5" not in body and body not in new], [])

    def test_a_value_over_several_frames(self) -> None:
        """Is patched as a whole; one whose patches leave no element is gone; what was not there begins with nothing."""
        takes = [encode(b"BAGTAKE", b"bag6", b"element%d" % number) for number in range(90)]
        new = encode(b"BAGPUT", b"new", b"a", b"1") + encode_deadline(b"new", 9)
        state = self.merged([encode(b"BAGPUT", b"bag5", b"z", b"1"), *takes, new]).at(0)
        self.assertEqual(list(state.values[b"bag5"].counts)[-2:], [b"element89", b"z"])
        self.assertNotIn(b"bag6", state.values)
        self.assertEqual((state.values[b"new"].counts, state.deadlines), ({b"a": 1}, {b"new": 9}))

    def test_only_a_deadline(self) -> None:
        """Of a value over several frames, before a change of it and after."""
        put = encode(b"BAGPUT", b"bag7", b"z", b"1")
        log = [encode_deadline(b"bag5", 7) + encode_deadline(b"bag7", 8) + put + encode_deadline(b"bag6", 9)]
        state = self.merged([*log, encode_deadline(b"bag6", None)]).at(0)
        self.assertEqual(state.deadlines, {b"bag5": 7, b"bag7": 8})
        self.assertEqual({len(state.values[b"bag%d" % number].counts) for number in (5, 6)}, {90})
        self.assertEqual(list(state.values[b"bag7"].counts)[-1], b"z")

    def test_one_value_at_a_time(self) -> None:
        """However many have patches."""
        log = [encode(b"BAGPUT", b"bag%d" % (number % 30), b"x%d" % number, b"1") for number in range(300)]
        CountedBag.most = CountedBag.there
        before = CountedBag.there
        write_log(self.disk, segment_name(6), 6, log)
        merge.merge(self.disk, self.types, MergeJob([segment_name(6)], "new.tmp", 305, 1), _START_US)
        self.assertEqual(CountedBag.most - before, 1)

    def test_a_new_operation(self) -> None:
        """Is refused wherever it stands: on a key that is whole in the segments, on another, or that is gone later."""
        for body in (
            encode(b"WHAT", b"bag5", b"1"), encode_set(b"s", b"1") + encode(b"WHAT", b"s"), encode(b"WHAT"),
            encode(b"WHAT", b"bag5") + encode_delete(b"bag5"), encode_delete(b"s") + encode(b"WHAT", b"s"),
        ):  # fmt: skip
            write_log(self.disk, segment_name(6), 6, [body])
            job = MergeJob([segment_name(6)], "new.tmp", 6, 1)
            self.assertRaises(UnknownOperation, merge.merge, self.disk, self.types, job, _START_US)


class AddAlikeTests(SynchronousTestCase):
    """Operations of one size, added to a checkpoint at once."""

    def test_frames_end_where_they_would(self) -> None:
        """At limit - 1, limit and limit + 1 of a frame, however much it held before."""

        def written(before: bytes, size: int, each: bool) -> bytes:
            disk = SimulatedDisk(record=False)
            writer = checkpoint.CheckpointWriter(disk, "new", checkpoint.CheckpointHeader("f" * 32, 1, 1, 0))
            writer.add(before, 1)
            pieces = [bytes([number]) * size for number in range(60)]
            if each:
                for piece in pieces:
                    writer.add(piece, 1)
            else:
                writer.add_alike(b"".join(pieces), len(pieces))
            writer.finish()
            return disk.contents()["new"]

        with small_files():
            for size in (1, 39, 40, 41, 199, 200, 201, 399, 400, 401, 801):
                for before in (b"", b"x" * 40, b"x" * 199, b"x" * 200, b"x" * 201, b"x" * 399, b"x" * 400):
                    self.assertEqual(written(before, size, False), written(before, size, True), (size, len(before)))


class BaseTests(SynchronousTestCase):
    """The checkpoint that the segments follow was changed under the running server."""

    def setUp(self) -> None:
        """A server that compacted twice, keeping a copy of the first checkpoint, and has sealed its log again."""
        self.now_us = _START_US
        self.disk = SimulatedDisk(record=False)
        self.store = Store(self.disk, TYPES, lambda: self.now_us, lambda count: bytes(range(count)))
        self.older = [self.compacted(b"a"), self.compacted(b"b")]
        self.job = self.sealed(b"c")

    def sealed(self, key: bytes) -> MergeJob:
        """One commit that writes `key`, sealed."""
        self.store.table.write(key, b"x")
        commit(self.store)
        return self.store.seal()

    def compacted(self, key: bytes) -> bytes:
        """The same, merged; returns the checkpoint."""
        self.store.finish_compaction(merge.merge(self.disk, TYPES, self.sealed(key), self.now_us))
        return self.disk.contents()[checkpoint.NAME]

    def refused(self, image: bytes | None) -> str:
        """Why a merge with this for a checkpoint is refused; and it is not put in place of anything."""
        contents = {**self.disk.contents(), checkpoint.NAME: image}
        disk = SimulatedDisk.holding({name: data for name, data in contents.items() if data is not None})
        before = disk.contents()
        refusal = self.assertRaises(DamagedStore, merge.merge, disk, TYPES, self.job, self.now_us)
        self.assertEqual(disk.contents(), before)
        return refusal.reason

    def test_missing(self) -> None:
        """Refused: it made a checkpoint with the segments' keys only, and all others were gone at the next start."""
        self.assertIn("missing", self.refused(None))

    def test_older(self) -> None:
        """An older copy lacks the commits between."""
        self.assertIn("ends with commit 1, but the segments begin with 3", self.refused(self.older[0]))

    def test_foreign(self) -> None:
        """Another directory's, of the same commit."""
        foreign = checkpoint.CheckpointHeader("f" * 32, 0, 2, _START_US)
        disk = SimulatedDisk(record=False)
        checkpoint.CheckpointWriter(disk, "foreign", foreign).finish()
        self.assertIn("another data directory", self.refused(disk.contents()["foreign"]))

    def test_first_merge_without_a_checkpoint(self) -> None:
        """A server that started on a full disk has none yet; its segments begin with the first commit."""
        disk = SimulatedDisk(record=False)
        self.disk, self.store = disk, Store(disk, TYPES, lambda: self.now_us, lambda count: bytes(range(count)))
        job = self.sealed(b"a")
        disk.remove(checkpoint.NAME)
        self.store.finish_compaction(merge.merge(disk, TYPES, job, self.now_us))
        self.assertEqual(examine(disk, TYPES).databases.at(0).values, {b"a": b"x"})

    def test_clock_set_back(self) -> None:
        """A checkpoint is never older than the commits in it: `restore --to-time` counts on that."""
        merge.merge(self.disk, TYPES, self.job, _START_US - 1_000_000)
        file = self.disk.open_read(self.job.output)
        self.assertEqual(CheckpointReader(file).header.created_us, _START_US)


class FreeTests(SynchronousTestCase):
    """Replaced files are freed piece by piece, and only those."""

    def setUp(self) -> None:
        """A directory with one file of 9 MiB."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.disk = RealDisk(directory.name)
        self.file: RealFile = self.disk.create("old")
        self.addCleanup(self.file.close)
        self.file.write_at(0, bytes(9 * MIB))

    def test_file_without_a_name(self) -> None:
        """Its blocks are given back, all of them, four mebibytes at a time."""
        self.disk.remove("old")
        sizes = [self.file.size() for _ in merge.free(self.disk, [self.file])]
        self.assertEqual(sizes, [5 * MIB, MIB, 0])

    def test_file_with_a_name(self) -> None:
        """It is somebody's, and stays as it is."""
        self.assertEqual(list(merge.free(self.disk, [self.file])), [])
        self.assertEqual(self.file.size(), 9 * MIB)
