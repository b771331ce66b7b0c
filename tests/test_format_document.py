"""docs/FORMAT.md is enough: a reader made from that page alone reads what the server wrote, and judges it alike.

`read_directory` and what it stands on import nothing of kvstore. The tests below give it the example in the page, then
directories that a Store wrote, whole and damaged, and compare it with recovery.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.disk import RealDisk
from kvstore.base.errors import DamagedStore
from kvstore.store.examine import Examined, examine
from kvstore.store.merge import merge
from kvstore.store.state import State as ServerState
from kvstore.store.store import Store
from kvstore.store.table import Table
from kvstore.values import TYPES
from tests.kit import format_example
from tests.kit.store_files import commit
from tests.kit.value_strategies import edits

# The reader. Nothing from here to the next line of this kind knows kvstore.


class Corruption(Exception):
    """Bytes that were promised are damaged or missing. The text says which."""


class NewerVersion(Exception):
    """A newer version wrote it."""


Id = tuple[int, ...]


@dataclass
class StreamGroup:
    """`read`: up to where, and how many. `consumers`: what is pending for each: when it was given out, how often."""

    read: tuple[Id, int]
    consumers: dict[bytes, dict[Id, tuple[int, int]]] = field(default_factory=dict)


@dataclass
class Stream:
    """The words of each entry by its id; the rest as the page names it."""

    entries: dict[Id, tuple[bytes, ...]] = field(default_factory=dict)
    last_id: Id = (0, 0)
    added: int = 0
    largest_deleted: Id = (0, 0)
    groups: dict[bytes, StreamGroup] = field(default_factory=dict)


@dataclass
class Database:
    """One database. A string is bytes, a list a list, a hash a dict of fields: each with its value and its deadline; a
    sorted set a dict of members: each with its score; a stream a Stream.
    """

    values: dict[bytes, Any] = field(default_factory=dict)
    deadlines_ms: dict[bytes, int] = field(default_factory=dict)


@dataclass
class State:
    """What a directory holds. `torn_at`: the byte of `table.txn` where a torn tail begins, None if there is none."""

    databases: dict[int, Database] = field(default_factory=lambda: defaultdict(Database))
    sequence: int = 0
    history: str = "0" * 16
    torn_at: int | None = None
    store: str | None = None


def read_block(data: bytes, at: int, kind: str, salt: int) -> dict[str, str]:
    """Section "Block"."""
    block = data[at : at + 4096]
    if len(block) < 4096 or block[4082:] != b"crc=%08x\r\n" % zlib.crc32(block[:4086], salt):
        raise Corruption(f"no valid block at {at}")
    words = block[:4082].decode("ascii").split()
    if words[0][:-1] == "+" + kind[:-1] and words[0][-1] > kind[-1]:
        raise NewerVersion(words[0])
    if words[0] != "+" + kind:
        raise Corruption(f"block {words[0]} at {at}, not {kind}")
    return dict(word.split("=") for word in words[1:])


def read_header(data: bytes, at: int, salt: int) -> tuple[int, int, int, int] | None:
    """Section "Frame": SEQUENCE, DURABLE, LENGTH and the body's CRC of a valid header, None if it is not valid."""
    line = data[at : at + 84]
    digits = rb"([0-9a-f]{%d})"
    form = rb"\+KV1 " + b" ".join(digits % width for width in (16, 16, 16, 8, 8, 8)) + rb"\r\n"
    match = re.fullmatch(form, line)
    if match is None or int(match[6], 16) != zlib.crc32(line[:74], salt):
        return None
    return int(match[1], 16), int(match[2], 16), int(match[4], 16), int(match[5], 16)


def read_frame(data: bytes, at: int, salt: int) -> tuple[int, int, bytes] | None:
    """SEQUENCE, DURABLE and the body of a valid frame, None if it is not valid."""
    header = read_header(data, at, salt)
    if header is None:
        return None
    sequence, durable, length, body_crc = header
    body = data[at + 84 : at + 84 + length]
    if len(body) < length or zlib.crc32(body, salt) != body_crc:
        return None
    return sequence, durable, body


def read_operations(body: bytes) -> Iterator[list[bytes]]:
    """Section "Operations": RESP arrays of bulk strings."""

    def number(kind: bytes) -> int:
        nonlocal at
        end = body.index(b"\r\n", at)
        if body[at : at + 1] != kind:
            raise Corruption("a bad operation")
        value = int(body[at + 1 : end])
        at = end + 2
        return value

    at = 0
    while at < len(body):
        words = []
        for _ in range(number(b"*")):
            length = number(b"$")
            words.append(body[at : at + length])
            at += length + 2
        yield words


def apply(body: bytes, state: State) -> None:
    """The first table of operations."""
    number = 0
    for name, *words in read_operations(body):
        database = state.databases[number]
        if name == b"DEL":
            database.values.pop(words[0], None)
            database.deadlines_ms.pop(words[0], None)
        elif name == b"PEXPIREAT":
            database.deadlines_ms[words[0]] = int(words[1])
        elif name == b"PERSIST":
            database.deadlines_ms.pop(words[0], None)
        elif name == b"SELECT":
            number = int(words[0])
        elif name == b"FLUSHDB":
            state.databases[number] = Database()
        elif name == b"FLUSHALL":
            state.databases.clear()
        elif name == b"SWAPDB":
            one, other = map(int, words)
            state.databases[one], state.databases[other] = state.databases[other], state.databases[one]
        elif name == b"HISTORY":
            state.history = words[0].decode("ascii")
        else:
            apply_to_value(database, name, *words)


def apply_to_value(database: Database, name: bytes, key: bytes, *words: bytes) -> None:
    """The tables of each type's operations."""
    if name == b"SET":
        database.values[key] = words[0]
        database.deadlines_ms.pop(key, None)
        if len(words) == 3:
            database.deadlines_ms[key] = int(words[2])
        return
    if name in (b"HSET", b"HDEL", b"HPEXPIREAT", b"HPERSIST"):
        apply_to_hash(database.values.setdefault(key, {}), name, *words)
    elif name in (b"RPUSH", b"LPUSH", b"LPOP", b"RPOP", b"LSET", b"LINSERT", b"LREM", b"LTRIM"):
        apply_to_list(database.values.setdefault(key, []), name, *words)
    elif name == b"SADD":
        database.values.setdefault(key, set()).update(words)
    elif name == b"SREM":
        database.values.setdefault(key, set()).difference_update(words)
    elif name in (b"ZADD", b"ZREM", b"ZREMRANGEBYRANK"):
        apply_to_sorted_set(database.values.setdefault(key, {}), name, *words)
    elif name.startswith((b"XGROUP|", b"XCLAIM", b"XACK")):
        apply_to_group(database.values.setdefault(key, Stream()), name, *words)
    elif name in (b"XADD", b"XDEL", b"XTRIM", b"XSETID"):
        apply_to_stream(database.values.setdefault(key, Stream()), name, *words)
    else:
        raise NewerVersion(f"unknown operation {name!r}")
    if not database.values[key] and not isinstance(database.values[key], Stream):
        del database.values[key]
        database.deadlines_ms.pop(key, None)


def apply_to_list(elements: list[bytes], name: bytes, *words: bytes) -> None:
    """Section "Lists"."""
    if name == b"RPUSH":
        elements += words
    elif name == b"LPUSH":
        elements[:0] = reversed(words)
    elif name == b"LPOP":
        del elements[: int(words[0])]
    elif name == b"RPOP":
        del elements[len(elements) - int(words[0]) :]
    elif name == b"LSET":
        elements[int(words[0])] = words[1]
    elif name == b"LINSERT":
        elements.insert(elements.index(words[1]) + (words[0] == b"AFTER"), words[2])
    elif name == b"LTRIM":
        elements[:] = elements[int(words[0]) : int(words[1]) + 1]
    else:
        places, count = [place for place, element in enumerate(elements) if element == words[1]], int(words[0])
        gone = set(places[count:] if count < 0 else places[: count or None])
        elements[:] = [element for place, element in enumerate(elements) if place not in gone]


def apply_to_hash(fields: dict[bytes, tuple[bytes, int | None]], name: bytes, *words: bytes) -> None:
    """Section "Hashes"."""
    if name == b"HSET":
        fields.update((words[at], (words[at + 1], None)) for at in range(0, len(words), 2))
    elif name == b"HDEL":
        for field_name in words:
            fields.pop(field_name, None)
    else:
        deadline_ms, named = (int(words[0]), words[3:]) if name == b"HPEXPIREAT" else (None, words[2:])
        fields.update((each, (fields[each][0], deadline_ms)) for each in named if each in fields)


def apply_to_sorted_set(scores: dict[bytes, float], name: bytes, *words: bytes) -> None:
    """Section "Sorted sets"."""
    if name == b"ZADD":
        scores.update((words[at + 1], float(words[at])) for at in range(0, len(words), 2))
    elif name == b"ZREM":
        for member in words:
            scores.pop(member, None)
    else:
        in_order = sorted(scores, key=lambda member: (scores[member], member))
        for member in in_order[int(words[0]) : int(words[1]) + 1]:
            del scores[member]


def stream_id(text: bytes) -> Id:
    """Section "Streams"."""
    return tuple(map(int, text.split(b"-")))


def apply_to_stream(stream: Stream, name: bytes, *words: bytes) -> None:
    """Section "Streams"."""
    if name == b"XADD":
        stream.last_id = stream_id(words[0])
        stream.entries[stream.last_id] = words[1:]
        stream.added += 1
    elif name == b"XDEL":
        gone = [each for each in map(stream_id, words) if each in stream.entries]
        stream.largest_deleted = max([stream.largest_deleted, *gone])
        stream.entries = {each: entry for each, entry in stream.entries.items() if each not in gone}
    elif name == b"XTRIM":
        for each in sorted(stream.entries)[: len(stream.entries) - int(words[1])]:
            del stream.entries[each]
    else:
        stream.last_id, stream.added, stream.largest_deleted = stream_id(words[0]), int(words[2]), stream_id(words[4])


def apply_to_group(stream: Stream, name: bytes, group_name: bytes, *words: bytes) -> None:
    """The rest of it."""
    if name == b"XGROUP|DESTROY":
        del stream.groups[group_name]
    elif name == b"XGROUP|CREATE":
        stream.groups[group_name] = StreamGroup((stream_id(words[0]), int(words[2])))
    elif name == b"XGROUP|SETID":
        stream.groups[group_name].read = stream_id(words[0]), int(words[2])
    elif name == b"XGROUP|DELCONSUMER":
        del stream.groups[group_name].consumers[words[0]]
    else:
        consumers = stream.groups[group_name].consumers
        ids = words[2:-6] if name == b"XCLAIM" else words if name == b"XACK" else ()
        for each, pending in [(each, pending) for each in map(stream_id, ids) for pending in consumers.values()]:
            pending.pop(each, None)
        if name != b"XACK":
            given = {stream_id(each): (int(words[-5]), int(words[-3])) for each in ids}
            consumers.setdefault(words[0], {}).update(given)


def same_store(state: State, header: dict[str, str]) -> None:
    """Step 4."""
    if state.store not in (None, header["store"]):
        raise Corruption("a file of another directory")
    state.store = header["store"]


def same_history(state: State, header: dict[str, str]) -> None:
    """Step 4, of the file that is read next."""
    if header.get("history", "0" * 16) not in ("0" * 16, state.history):
        raise Corruption("a file of another copy of the directory")


def read_checkpoint(data: bytes, state: State) -> None:
    """Section "The checkpoint"."""
    header = read_block(data, 0, "KVCKPT1", 0)
    same_store(state, header)
    at, number, ended = 4096, 1, False
    while at < len(data):
        frame = read_frame(data, at, int(header["salt"], 16))
        if frame is None or frame[0] != number or ended:
            raise Corruption(f"checkpoint, byte {at}")
        body = frame[2]
        ended = body.startswith(b"+KVEND ")
        if not ended:
            apply(body, state)
        elif body != b"+KVEND keys=%016x\r\n" % sum(len(each.values) for each in state.databases.values()):
            raise Corruption("checkpoint, number of keys")
        at += 84 + len(body)
        number += 1
    if not ended:
        raise Corruption("checkpoint, no last frame")
    state.sequence = int(header["covers"], 16)
    state.history = header.get("history", "0" * 16)


def apply_frames(data: bytes, salt: int, state: State) -> tuple[int, int]:
    """Step 6: returns where the frames stop, and the largest DURABLE of those applied."""
    at, promised = 12288, 0
    while (frame := read_frame(data, at, salt)) and frame[0] == state.sequence + 1:
        apply(frame[2], state)
        state.sequence = frame[0]
        promised = max(promised, frame[1])
        at += 84 + len(frame[2])
    return at, promised


def read_segment(data: bytes, first: int, next_first: int, state: State) -> None:
    """A sealed segment, whose name has the number `first`."""
    header = read_block(data, 0, "KVLOG1", 0)
    same_store(state, header)
    if not int(header["first"], 16) == first == state.sequence + 1:
        raise Corruption(f"segment {first} does not follow commit {state.sequence}")
    same_history(state, header)
    at, _ = apply_frames(data, int(header["salt"], 16), state)
    if state.sequence != next_first - 1 or data[at:].strip(b"\0"):
        raise Corruption(f"segment {first} ends with commit {state.sequence}; byte {at}")


def read_marks(data: bytes, salt: int) -> int:
    """Section "The transaction log": the commit up to which the two marks promise."""
    if len(data) < 12288:
        raise Corruption("shorter than its first three blocks")
    marks = []
    for at in (4096, 8192):
        try:
            marks.append(read_block(data, at, "KVMARK1", salt))
        except Corruption:
            continue
    if not marks:
        raise Corruption("neither mark is valid")
    newest = max(marks, key=lambda mark: int(mark["number"], 16))
    if int(newest["sealed"], 16):
        raise Corruption("the live log is a sealed segment")
    return int(newest["sequence"], 16)


def read_live(data: bytes, state: State) -> None:
    """The live log and the verdicts."""
    header = read_block(data, 0, "KVLOG1", 0)
    salt = int(header["salt"], 16)
    if int(header["first"], 16) != state.sequence + 1:
        raise Corruption("the live log does not follow")
    same_history(state, header)
    promised_by_marks = read_marks(data, salt)
    at, promised = apply_frames(data, salt, state)
    promised = max(promised, promised_by_marks)
    clean = not data[at:].strip(b"\0")
    found = at - 1
    while not clean and (found := data.find(b"+KV1 ", found + 1)) >= 0:
        later = read_header(data, found, salt)
        promised = max(promised, later[1] if later else 0)
    if promised > state.sequence:
        raise Corruption(f"commit {state.sequence + 1} was on disk; byte {at}")
    state.torn_at = None if clean else at


def read_directory(path: str) -> State:
    """Section "Reading a directory". Raises Corruption, NewerVersion."""
    state = State()
    names = os.listdir(path)
    numbers = sorted(int(name[10:], 16) for name in names if re.fullmatch(r"table\.txn\.[0-9a-f]{16}", name))
    if "table.ckpt" in names:
        read_checkpoint(Path(path, "table.ckpt").read_bytes(), state)
    covered = state.sequence
    segments = {number: Path(path, f"table.txn.{number:016x}").read_bytes() for number in numbers}
    if "table.txn" in names:
        live = Path(path, "table.txn").read_bytes()
    elif numbers and numbers[-1] > covered:  # `read_marks` refuses it if it is sealed
        live = segments[numbers.pop()]
    elif numbers or "table.ckpt" in names:
        raise Corruption("the live log is missing")
    else:
        return state
    header = read_block(live, 0, "KVLOG1", 0)
    same_store(state, header)
    first = int(header["first"], 16)
    needed = [number for number in numbers if covered < number < first]
    for number in set(numbers) - set(needed):
        if number > covered:
            raise Corruption(f"segment {number} is neither needed nor covered")
        try:
            other = read_block(segments[number], 0, "KVLOG1", 0)
        except Corruption:
            continue
        same_store(state, other)
        if int(other["first"], 16) != number:
            raise Corruption(f"segment {number} is another log than its name says")
    for number, following in zip(needed, [*needed, first][1:], strict=True):
        read_segment(segments[number], number, following, state)
    read_live(live, state)
    return state


# The tests, which know both.


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

    def __init__(self, directory: str, seed: int = 7) -> None:
        self.directory = directory
        self.now_us = 1_700_000_000_000_000
        self._random = random.Random(seed)
        self.number = 0
        self._start()

    def _start(self) -> None:
        self.disk = RealDisk(self.directory)
        self.store = Store(self.disk, TYPES, self._now, self._random.randbytes)

    def _now(self) -> int:
        self.now_us += 1000
        return self.now_us

    @property
    def table(self) -> Table:
        """The database that is selected: `number`."""
        return self.store.databases[self.number]

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


def write_example(writer: Writer) -> None:
    """A directory with everything in it: checkpoint, two segments, a live log, databases, deadlines, flushes."""
    table = writer.store.table
    writer.store.databases[15].write(b"flushed", b"1")
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
    st.sampled_from([("flush",), ("flush_all",), ("select", 0), ("select", 1), ("select", 9), ("swap",)]),
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
    if name == "edit":
        edit(table, draw, *arguments)
    elif name == "write":
        table.write(*arguments)
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
        self.assertTrue(held(enumerate(writer.store.databases)) == read(state))
        self.assertEqual((state.sequence, state.torn_at), (writer.store.written_sequence(), None))

    def test_everything_at_once(self) -> None:
        """A checkpoint of several frames, segments, deadlines set and taken away, a flush."""
        writer = Writer(self.mktemp())
        write_example(writer)
        writer.stop()
        self.held_alike(writer)
        self.assertEqual(len(os.listdir(writer.directory)), 5)

    @settings(max_examples=40, deadline=None)
    @given(_STEPS, st.data())
    def test_any_history(self, steps: list[tuple[str, object]], data: st.DataObject) -> None:
        """Random changes, commits, marks, compactions that end or not, restarts."""
        writer = Writer(self.mktemp())
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
        """A few hundred single bytes of all files, drawn with a fixed seed: both readers agree on each."""
        chance = random.Random(20)
        verdicts = set()
        for name in sorted(os.listdir(self.directory)):
            size = len(Path(self.directory, name).read_bytes().rstrip(b"\0")) if name != "lock" else 0
            for _ in range(60 if size else 0):
                verdicts.add(self.change(name, flip(chance.randrange(size))))
        self.assertLessEqual({"corruption"}, verdicts)
