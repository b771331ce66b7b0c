"""A reader of data directories, made from docs/FORMAT.md alone: it imports nothing of kvstore.

`read_directory` judges a directory as that page says; tests/test_format_document.py compares it with recovery.
"""

from __future__ import annotations

import os
import re
import zlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any


class Corruption(Exception):
    """Bytes that were promised are damaged or missing. The text says which."""


class NewerVersion(Exception):
    """A newer version wrote it."""


Id = tuple[int, ...]

#: Where `State` has the libraries of functions.
LIBRARIES = -1


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
    """What a directory holds. `entry`: of the last commit, as a first block has it. `torn_at`: the byte of `table.txn`
    where a torn tail begins, None if there is none.
    """

    databases: dict[int, Database] = field(default_factory=lambda: defaultdict(Database))
    sequence: int = 0
    history: str = "0" * 16
    entry: str = ""
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
        elif name == b"LIBRARIES":
            number = LIBRARIES
        elif name == b"FLUSHDB":
            state.databases[number] = Database()
        elif name == b"FLUSHALL":
            kept = state.databases[LIBRARIES]
            state.databases.clear()
            state.databases[LIBRARIES] = kept
        elif name == b"SWAPDB":
            one, other = map(int, words)
            state.databases[one], state.databases[other] = state.databases[other], state.databases[one]
        elif name == b"HISTORY":
            state.history, state.entry = words[0].decode("ascii"), ""
        elif name == b"ENTRY":
            apply_entry(body, words, state)
        elif name == b"SLOTS":
            state.entry = ".".join([*state.entry.split(".")[:3], words[0].decode("ascii")])
        else:
            apply_to_value(database, name, *words)


def apply_entry(body: bytes, words: list[bytes], state: State) -> None:
    """Section "Entries of a group's log", the checksum too, which a reader need not check."""
    version, _, epoch, _, _, lease, checksum, _ = (word.decode("ascii") for word in words)
    if version != "1":
        raise NewerVersion(f"an entry of version {version}")
    _, _, before, *slots = state.entry.split(".") if state.entry else ("", "", "0" * 16)
    if checksum != blake2b(body.replace(checksum.encode(), before.encode(), 1), digest_size=8).hexdigest():
        raise Corruption("another group's log")
    state.history, state.entry = f"{int(epoch):016x}", ".".join([epoch, lease, checksum, *slots])


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
    if header.get("entry", "") not in ("", state.entry):
        raise Corruption("a file of another group's log")


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
    state.history, state.entry = header.get("history", "0" * 16), header.get("entry", "")


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
