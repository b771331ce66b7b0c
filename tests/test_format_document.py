"""docs/FORMAT.md is enough: a reader made from that page alone reads what the server wrote, and judges it alike.

`tests.kit.format_reader` is that reader, and imports nothing of kvstore. It is given the example in the page, then
directories that a Store wrote, whole and damaged, and is compared with recovery.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.disk import RealDisk
from kvstore.base.errors import DamagedStore
from kvstore.store.examine import Examined, examine
from kvstore.store.group_store import GroupStore
from kvstore.store.merge import merge
from kvstore.store.state import State as ServerState
from kvstore.store.store import Store
from kvstore.store.table import Table
from kvstore.values import TYPES
from tests.kit import format_example
from tests.kit.format_reader import Corruption, Database, State, apply_to_value, read_directory
from tests.kit.group_stores import lead_alone
from tests.kit.store_files import commit
from tests.kit.value_strategies import edits


def parse_hex_dump(lines: list[str]) -> bytes:
    """The bytes that `hexdump -C` was given."""
    data = bytearray()
    for line in lines:
        offset, digits = line[:8], line[10:58]
        if line == "*":
            continue
        while len(data) < int(offset, 16):
            data += data[-16:]
        data += bytes.fromhex(digits)
    return bytes(data)


class ExampleTests(SynchronousTestCase):
    """The example in the page."""

    def test_it_is_what_the_server_writes_today(self) -> None:
        """Otherwise run `python -m tests.kit.format_example`, and see whether the page's words are still true, too."""
        advice = "run python -m tests.kit.format_example, which edits docs/FORMAT.md; say there what has changed"
        self.assertEqual(format_example.split(format_example.PAGE.read_text())[1], format_example.section(), advice)

    def test_the_page_alone_holds_the_state(self) -> None:
        """Its hexadecimal digits, read as its words say, give the state that it tells."""
        text = format_example.split(format_example.PAGE.read_text())[1]
        directory = self.mktemp()
        os.mkdir(directory)
        for name, dump in re.findall(r"`(table\.\w+)`:\n\n```\n(.*?)\n```", text, re.DOTALL):
            Path(directory, name).write_bytes(parse_hex_dump(dump.split("\n")))
        state = read_directory(directory)
        values = {b"zebra": b'{"weight":100,"name":"fred"}', b"tmp": b"x\r\ny"}
        self.assertEqual(state.databases, {0: Database(values)})
        self.assertEqual((state.sequence, state.torn_at), (4, None))

    def test_the_numbers_to_check_a_crc_with(self) -> None:
        """Computed bit by bit, as the page describes it, they are what the page says."""

        def crc(salt: int, data: bytes) -> int:
            register = ~salt & 0xFFFFFFFF
            for byte in data:
                register ^= byte
                for _ in range(8):
                    register = register >> 1 ^ (0xEDB88320 if register & 1 else 0)
            return ~register & 0xFFFFFFFF

        text = format_example.PAGE.read_text()
        for salt, expected in re.findall(r"CRC\(([0-9a-f]+), `123456789`\) is\s+`([0-9a-f]{8})`", text):
            self.assertEqual(crc(int(salt, 16), b"123456789"), int(expected, 16))
            self.assertEqual(zlib.crc32(b"123456789", int(salt, 16)), int(expected, 16))
        self.assertEqual(text.count("`123456789`"), 2)


def held(databases: Iterable[tuple[int, ServerState]]) -> dict[int, Database]:
    """What the server's databases hold, as the reader has it; those without keys are left out."""
    found = {}
    for number, state in databases:
        if state.values:
            found[number] = database = Database(deadlines_ms=dict(state.deadlines))
            for key, value in state.values.items():
                if isinstance(value, bytes):
                    database.values[key] = value
                else:
                    for name, words in state.types.by_class[value.__class__].whole(value):
                        apply_to_value(database, name, key, *words)
    return found


def read(state: State) -> dict[int, Database]:
    """What the reader found, without databases that hold nothing."""
    return {number: each for number, each in state.databases.items() if each.values}


class Writer:
    """A Store in a directory, and what it should hold. Every step is one that a server takes."""

    open: type[Store] = Store

    def __init__(self, directory: str, seed: int = 7) -> None:
        self.directory = directory
        self.now_us = 1_700_000_000_000_000
        self._random = random.Random(seed)
        self.number = 0
        self._start()

    def _start(self) -> None:
        self.disk = RealDisk(self.directory)
        self.store = self.open(self.disk, TYPES, self._now, self._random.randbytes)

    def _now(self) -> int:
        self.now_us += 1000
        return self.now_us

    @property
    def table(self) -> Table:
        """The database that is selected: `number`; -1 are the libraries of functions."""
        return self.store.tables[self.number]

    def stop(self) -> None:
        """End as kill -9 does."""
        self.store.close()
        self.disk.unlock()

    def restart(self) -> None:
        """Kill the server and start another."""
        self.stop()
        self._start()

    def commit(self) -> None:
        """Write and sync what was changed."""
        commit(self.store)

    def mark(self) -> None:
        """What happens once a second."""
        self.store.mark_and_sync()

    def seal(self) -> None:
        """Begin a compaction that does not end; a later one takes up its segments."""
        if self.store.compacting is None and self.store.can_compact():
            self.store.seal()
            self.store.abandon_compaction()

    def compact(self) -> None:
        """A whole compaction."""
        if self.store.can_compact():
            self.store.finish_compaction(merge(self.disk, TYPES, self.store.seal(), self._now()))


class GroupWriter(Writer):
    """The same, of a server that leads its group."""

    open = GroupStore
    store: GroupStore

    def _start(self) -> None:
        super()._start()
        lead_alone(self.store)


def write_example(writer: Writer) -> None:
    """A directory with everything in it: checkpoint, two segments, a live log, databases, deadlines, flushes."""
    table = writer.store.table
    writer.store.databases[15].write(b"flushed", b"1")
    writer.store.libraries.write(b"k", b"#!lua name=k\n")
    writer.store.flush_all()
    for number in range(2000):
        writer.store.databases[7].write(b"key:%d" % (number % 1000), b"in a database")
    table.write(b"flushed", b"1")
    table.flush()
    for number in range(2000):  # more than one frame of the checkpoint
        table.write(b"key:%d" % number, b"value\r\n\0" * 10, 9_000_000_000_000 + number if number % 3 else None)
    writer.commit()
    writer.compact()
    table.write(b"in a segment", b"2")
    table.set_deadline(b"key:0", 8_000_000_000_000)
    writer.store.swap(writer.store.databases[7], writer.store.databases[3])
    writer.store.databases[3].delete(b"key:3")
    writer.commit()
    writer.seal()
    table.delete(b"key:1")
    writer.store.libraries.write(b"l", b"#!lua name=l\n")
    table.set_deadline(b"key:2", None)
    writer.commit()
    writer.seal()
    writer.mark()
    for number in range(3):
        table.write(b"", b"live %d" % number)
        writer.commit()


_KEYS = st.sampled_from([b"", b"a", b"b\r\n", bytes(range(256)), b"+KV1 "])
_VALUES = st.one_of(st.binary(max_size=30), st.just(b"x" * 70_000))
_DEADLINES = st.one_of(st.none(), st.integers(1_700_000_000_000, 9_000_000_000_000))
_CHANGES = st.one_of(
    st.tuples(st.just("write"), _KEYS, _VALUES, _DEADLINES),
    st.tuples(st.just("delete"), _KEYS),
    st.tuples(st.just("deadline"), _KEYS, _DEADLINES),
    st.sampled_from(
        [("flush",), ("flush_all",), ("select", 0), ("select", 1), ("select", 9), ("select", -1), ("swap",)]
    ),
)
_OTHERS = ["commit", "mark", "seal", "compact", "restart"]
_STEPS = st.lists(
    st.one_of(_CHANGES, st.tuples(st.just("edit"), _KEYS), st.tuples(st.sampled_from(_OTHERS))),
    min_size=15,
    max_size=40,
)


def edit(table: Table, draw: Callable[[st.SearchStrategy[Any]], Any], key: bytes) -> None:
    """An operation on a value of a type other than string; it takes the place of a string."""
    value = table.values.get(key)
    row = table.types.by_class.get(value.__class__)
    if row is None:
        row = draw(st.sampled_from(TYPES.others))
        table.delete(key)
        value = row.holds()
    table.edit(key, *draw(edits(row, value)))


def take_step(writer: Writer, draw: Callable[[st.SearchStrategy[Any]], Any], name: str, *arguments: Any) -> None:
    """One step of a random history."""
    table = writer.table
    if table is writer.store.libraries and name in ("edit", "deadline", "swap"):
        return
    if name == "edit":
        edit(table, draw, *arguments)
    elif name == "write":
        table.write(*arguments[: 3 if writer.number >= 0 else 2])
    elif name == "delete":
        table.delete(*arguments)
    elif name == "deadline":
        if arguments[0] in table.values:
            table.set_deadline(*arguments)
    elif name == "flush":
        table.flush()
    elif name == "flush_all":
        writer.store.flush_all()
    elif name == "select":
        writer.number = arguments[0]
    elif name == "swap":
        writer.store.swap(table, writer.store.databases[(writer.number + 1) % 16])
    else:
        writer.commit()
        getattr(writer, name)()
    table.pending.undo.clear()


class ReaderTests(SynchronousTestCase):
    """The page's reader on what a Store wrote."""

    def held_alike(self, writer: Writer) -> None:
        """The reader finds what the store's own table holds, and the commit it is at."""
        state = read_directory(writer.directory)
        self.assertTrue(held((table.number, table) for table in writer.store.tables) == read(state))
        self.assertEqual((state.sequence, state.torn_at), (writer.store.written_sequence(), None))
        self.assertEqual((state.history, state.entry), writer.store.lineage)

    def test_everything_at_once(self) -> None:
        """A checkpoint of several frames, segments, deadlines set and taken away, a flush."""
        for kind in (Writer, GroupWriter):
            writer = kind(self.mktemp())
            write_example(writer)
            writer.stop()
            self.held_alike(writer)
            self.assertEqual(len(os.listdir(writer.directory)), 5)

    @settings(max_examples=40)
    @given(_STEPS, st.data())
    def test_any_history(self, steps: list[tuple[str, object]], data: st.DataObject) -> None:
        """Random changes, commits, marks, compactions that end or not, restarts; of one in a group, too."""
        writer = data.draw(st.sampled_from([Writer, GroupWriter]))(self.mktemp())
        self.addCleanup(shutil.rmtree, writer.directory)
        for step in steps:
            take_step(writer, data.draw, *step)
        writer.commit()
        writer.stop()
        self.held_alike(writer)

    def test_a_directory_never_used(self) -> None:
        """Is empty."""
        directory = self.mktemp()
        os.mkdir(directory)
        self.assertEqual(read_directory(directory), State())


def flip(at: int) -> Callable[[bytes], bytes]:
    """Damage: one bit of byte `at`."""
    return lambda data: data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


class VerdictTests(SynchronousTestCase):
    """The page's verdicts on damaged directories: recovery's are the same."""

    def setUp(self) -> None:
        """A directory with everything in it, as kill -9 leaves it."""
        writer = Writer(self.mktemp())
        write_example(writer)
        self.end = writer.store.log.end
        self.last_at = self.end - 84 - len(b"*3\r\n$3\r\nSET\r\n$0\r\n\r\n$6\r\nlive 2\r\n")
        writer.stop()
        self.directory = writer.directory
        self.state = read_directory(self.directory)

    def verdict(self) -> str:
        """Both readers' verdict on the directory, which must be one; and if there is a state, one state."""
        try:
            state = read_directory(self.directory)
        except Corruption:
            with self.assertRaises(DamagedStore):
                self.recovered()
            return "corruption"
        found = self.recovered()
        self.assertTrue(held(found.databases.by_number.items()) == read(state))
        self.assertEqual(found.sequence, state.sequence)
        self.assertEqual(found.tail and found.tail.offset, state.torn_at)
        return "clean" if state.torn_at is None else "torn"

    def recovered(self) -> Examined:
        """What the server finds in the directory; nothing is changed."""
        return examine(RealDisk(self.directory), TYPES)

    def change(self, name: str, damage: Callable[[bytes], bytes]) -> str:
        """The verdict after a file was damaged, which is undone again."""
        path = Path(self.directory, name)
        data = path.read_bytes()
        path.write_bytes(damage(data))
        try:
            return self.verdict()
        finally:
            path.write_bytes(data)

    def live(self, damage: Callable[[bytes], bytes]) -> str:
        """The verdict after the live log was damaged."""
        return self.change("table.txn", damage)

    def test_untouched(self) -> None:
        """A clean end."""
        self.assertEqual(self.verdict(), "clean")

    def test_torn_tails(self) -> None:
        """The last frame cut anywhere, or garbage after the frames: what no mark and no later frame speaks for."""
        for at in (1, 40, 84, 100):
            for end in (b"", bytes(4096)):
                self.assertEqual(self.live(lambda data, at=at, end=end: data[: self.last_at + at] + end), "torn")
        self.assertEqual(self.live(lambda data: data[: self.end] + b"garbage"), "torn")
        self.assertEqual(self.live(flip(self.last_at + 90)), "torn")

    def test_a_clean_end_without_its_zeros(self) -> None:
        """The length of a log says nothing."""
        self.assertEqual(self.live(lambda data: data[: self.end]), "clean")
        self.assertEqual(self.live(lambda data: data + bytes(10_000)), "clean")

    def test_a_bad_frame_before_a_good_one(self) -> None:
        """The later one says that it was on disk; even if only the later one's header is whole."""
        self.assertEqual(self.live(flip(12288 + 90)), "corruption")
        self.assertEqual(self.live(lambda data: flip(self.last_at + 90)(flip(12288 + 90)(data))), "corruption")

    def test_promised_by_a_mark(self) -> None:
        """The last frame is damage, not torn, once a mark names it."""
        writer = Writer(self.directory)  # recovery writes a mark
        writer.stop()
        self.assertEqual(self.live(flip(self.last_at + 90)), "corruption")
        self.assertEqual(self.live(lambda data: data[: self.last_at] + bytes(4096)), "corruption")

    def test_one_torn_mark_is_nothing_two_are_damage(self) -> None:
        """Each alone, then both: the one commit more that the other then promises is there."""
        self.assertEqual([self.live(flip(4096 + 50)), self.live(flip(8192 + 50))], ["clean", "clean"])
        self.assertEqual(self.live(lambda data: flip(4096 + 50)(flip(8192 + 50)(data))), "corruption")

    def test_one_mark_and_the_last_frames_damaged(self) -> None:
        """The other mark promises as much: what it names is damage, not a torn tail, whichever of the two is left."""
        Writer(self.directory).stop()  # recovery writes the marks
        for mark_at in (4096, 8192):
            torn = flip(mark_at + 50)
            for end in (12288, self.last_at, self.last_at + 90):
                for rest in (b"", bytes(4096), b"garbage"):
                    damaged = lambda data, torn=torn, end=end, rest=rest: torn(data)[:end] + rest  # noqa: E731
                    self.assertEqual(self.live(damaged), "corruption")
            self.assertEqual(self.live(lambda data, torn=torn: torn(data)[: self.end]), "clean")

    def test_a_log_shorter_than_its_first_blocks(self) -> None:
        """No crash leaves one, since a log has its name only when it is whole."""
        for length in (0, 1, 4095, 4096, 8192, 12287):
            self.assertEqual(self.live(lambda data, length=length: data[:length]), "corruption")

    def test_garbage_behind_a_sealed_segment(self) -> None:
        """Though all of its commits can be read."""
        for segment in self.segments():
            for garbage in (lambda data: data[:-1] + b"x", lambda data: data + b"+KV1 ", lambda data: data + b"\0\1"):
                self.assertEqual(self.change(segment.name, garbage), "corruption")
            self.assertEqual(self.change(segment.name, lambda data: data + bytes(10)), "clean")

    def test_the_live_log_from_before_it_was_sealed(self) -> None:
        """Put back while its sealed segment is there; and again when that is merged."""
        older = Path(self.directory, "table.txn").read_bytes()
        writer = Writer(self.directory)
        writer.store.table.write(b"later", b"1")
        writer.commit()
        writer.seal()
        self.assertEqual(self.verdict(), "clean")
        self.assertEqual(self.live(lambda _: older), "corruption")
        writer.compact()
        writer.stop()
        self.assertEqual(self.live(lambda _: older), "corruption")

    def test_headers_and_padding(self) -> None:
        """Every byte of a first block is under its CRC."""
        for name in sorted(os.listdir(self.directory)):
            for at in (0, 20, 2000, 4090, 4095) if name != "lock" else ():
                self.assertEqual(self.change(name, flip(at)), "corruption")

    def test_segments_and_checkpoint(self) -> None:
        """Anything bad in them is damage; so is a file that is missing, or in another's place."""
        segments = [path.name for path in self.segments()]
        for name in (*segments, "table.ckpt"):
            self.assertEqual(self.change(name, flip(12288 + 90)), "corruption")
            self.assertEqual(self.change(name, lambda data: data[:12300]), "corruption")
            moved = Path(self.directory, "elsewhere")
            Path(self.directory, name).rename(moved)
            self.assertEqual(self.verdict(), "corruption")
            moved.rename(Path(self.directory, name))
        first, second = (Path(self.directory, name).read_bytes() for name in segments)
        self.assertEqual(self.change(segments[0], lambda _: second), "corruption")
        self.assertEqual(self.change("table.txn", lambda _: first), "corruption")

    def test_the_live_log_is_missing(self) -> None:
        """While other files are there: after the first start, too, the empty checkpoint is."""
        os.remove(Path(self.directory, "table.txn"))
        self.assertEqual(self.verdict(), "corruption")
        writer = Writer(self.mktemp())
        writer.stop()
        self.directory = writer.directory
        self.assertEqual(self.verdict(), "clean")
        os.remove(Path(self.directory, "table.txn"))
        self.assertEqual(self.verdict(), "corruption")

    def test_a_sealed_segment_in_the_place_of_the_live_log(self) -> None:
        """After the live log was lost, somebody renames the last segment: the mark says that it is not the last."""
        os.replace(self.segments()[-1], Path(self.directory, "table.txn"))
        self.assertEqual(self.verdict(), "corruption")

    def test_the_live_log_under_a_segment_name(self) -> None:
        """A crash in the middle of sealing. As a second name beside the first it is damage, and so is an older one."""
        live = self.recovered().live
        assert live is not None
        path, renamed = Path(self.directory, "table.txn"), Path(self.directory, f"table.txn.{live.first:016x}")
        path.rename(renamed)
        self.assertEqual(self.verdict(), "clean")
        self.assertEqual(self.change(renamed.name, lambda data: data[: self.last_at + 40]), "torn")
        self.assertEqual(self.change(renamed.name, flip(10)), "corruption")
        self.assertEqual(self.change(renamed.name, lambda _: b""), "corruption")
        shutil.copy(renamed, path)
        self.assertEqual(self.verdict(), "corruption")
        shutil.copy(self.segments()[0], renamed)
        self.assertEqual(self.verdict(), "corruption")

    def segments(self) -> list[Path]:
        """The sealed segments, in order."""
        return sorted(Path(self.directory).glob("table.txn.*"))

    def test_segments_that_the_checkpoint_covers(self) -> None:
        """A crash before they were removed: ignored, whatever is left of them, unless they are another log.

        One that is not covered is refused, emptied or not.
        """
        kept = {path: path.read_bytes() for path in self.segments()}
        writer = Writer(self.directory)
        writer.compact()
        writer.stop()
        self.assertEqual(self.segments(), [])
        for path, data in kept.items():
            path.write_bytes(data)
        self.assertEqual(self.verdict(), "clean")
        first, second = (path.name for path in self.segments())
        for left in (
            lambda _: b"",
            lambda data: data[:4000],
            lambda data: data[:12300],
            flip(30),
            lambda _: b"garbage",
        ):
            self.assertEqual(self.change(first, left), "clean")
        foreign = Writer(self.mktemp(), seed=8)
        foreign.stop()
        for other in (Path(foreign.directory, "table.txn"), Path(self.directory, second)):
            self.assertEqual(self.change(first, lambda _, other=other: other.read_bytes()), "corruption")
        live = self.recovered().live
        assert live is not None
        for number in (live.first, live.first + 7):
            path = Path(self.directory, f"table.txn.{number:016x}")
            path.write_bytes(b"")
            self.assertEqual(self.verdict(), "corruption")
            path.unlink()

    def test_damage_anywhere(self) -> None:
        """Some single bytes of all files, drawn with a fixed seed: both readers agree on each."""
        self.damage_bytes_of_each_file(20)

    @pytest.mark.long
    def test_damage_in_many_places(self) -> None:
        """The same of a thousand bytes."""
        self.damage_bytes_of_each_file(250)

    def damage_bytes_of_each_file(self, count: int) -> None:
        """One at a time."""
        chance = random.Random(20)
        verdicts = set()
        for name in sorted(os.listdir(self.directory)):
            size = len(Path(self.directory, name).read_bytes().rstrip(b"\0")) if name != "lock" else 0
            for _ in range(count if size else 0):
                verdicts.add(self.change(name, flip(chance.randrange(size))))
        self.assertLessEqual({"corruption"}, verdicts)
