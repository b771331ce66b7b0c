"""Streams: entries that are added at the end and read from any id on; and clients that wait for more.

What a stream is, and its operations, is told in `kvstore.values.streams`; groups of consumers have their own commands
(`stream_groups`). Ids and times that were drawn are written into the operations, so that replay draws none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, zip_longest
from typing import NamedTuple

from kvstore.base.errors import NO_SUCH_KEY, Failure, InvalidRequest, syntax_error, wrong_arity
from kvstore.base.reply import NULL_ARRAY, OK, Pairs, Reply, Wait
from kvstore.base.slices import Slices
from kvstore.commands.arguments import pairs
from kvstore.commands.context import Call
from kvstore.commands.deadlines import end_after_ms
from kvstore.commands.registry import FAST, READ, WRITE, Key, command, many, to_integer
from kvstore.commands.row import BLOCKING, StreamKeys
from kvstore.commands.stream_arguments import (
    Trim,
    add_options,
    entries_after,
    next_id,
    shown,
    to_id,
    to_ids,
    to_start,
    to_stop,
)
from kvstore.store.table import Table
from kvstore.values.stream_blocks import MAX_ID, parts_of, text_of, texts_of
from kvstore.values.streams import Stream, setting

#: Entries that are read at once, and blocks; more are read in slices.
_AT_ONCE, _BLOCKS_AT_ONCE = 1000, 10
#: How a request has it.
_NEW_ID = b"$1\r\n*\r\n"
_TOO_SMALL = "The ID specified in XADD is equal or smaller than the target stream top item"


# Changing


@command(
    "XADD", WRITE | FAST, group="stream", least=5,
    options="[NOMKSTREAM] [MAXLEN|MINID [=|~] threshold [LIMIT count]] *|id field value [field value ...]",
)  # fmt: skip
def xadd(call: Call, key: Key, *words: bytes) -> Reply:
    """Put an entry at the end of a stream; returns its id.

    Unlike Valkey, `~` removes whole blocks of the stream as it is here; see XTRIM.
    """
    trim, no_stream, at, given = add_options(words, adds=True)
    pairs = words[at + 1 :]
    if len(pairs) < 2 or len(pairs) % 2:
        raise wrong_arity("xadd")
    if given == (0, False):
        raise InvalidRequest("The ID specified in XADD must be greater than 0-0")
    value = call.table.typed(key, Stream)
    if value is None and no_stream:
        return None
    text = text_of(_new_id(0 if value is None else value.last_id, given, call.table))
    call.table.edit(key, b"XADD", (text, *pairs))
    if trim is not None:
        _trim(call, key, trim)
    return text


@many("XADD")
def xadd_many(table: Table, columns: list[list[bytes]], raw: bytes | None) -> list[bytes | None] | None:
    """As many XADDs of new ids, without options."""
    keys = columns[0]
    if len(columns) < 4 or len(columns) % 2 or columns[1].count(b"*") < len(keys):
        return None
    now_ms = table.now_ms()
    new: dict[bytes, Iterator[bytes]] = {}
    for key, count in Counter(keys).items():
        value = table.values.get(key)
        if value is not None and value.__class__ is not Stream:
            return None
        first = next_id(0 if value is None else value.last_id, now_ms)
        if first + count - 1 > MAX_ID:
            return None
        new[key] = iter(texts_of(range(first, first + count)))
    texts = list(map(next, map(new.__getitem__, keys)))
    words = list(zip(texts, *columns[2:], strict=True))
    return None if table.edit_each(keys, b"XADD", words, _with_ids(raw, texts)) is None else list(texts)


def _with_ids(raw: bytes | None, ids: list[bytes]) -> bytes | None:
    """Requests as they came with these ids in place of `*`; None if one has that somewhere else, too."""
    pieces = [] if raw is None else raw.split(_NEW_ID)
    if len(pieces) != len(ids) + 1:
        return None
    ids = [b"$%d\r\n%b\r\n" % (len(text), text) for text in ids]
    return b"".join(chain.from_iterable(zip_longest(pieces, ids, fillvalue=b"")))


def _new_id(last_id: int, given: tuple[int, bool] | None, table: Table) -> int:
    """The id of a new entry. Raises Failure if it may not have that."""
    if last_id == MAX_ID:
        raise Failure("The stream has exhausted the last possible ID, unable to add more items")
    if given is None:
        return next_id(last_id, table.now_ms())
    entry_id, free = given
    if free and parts_of(entry_id)[0] == parts_of(last_id)[0]:
        entry_id = last_id + 1
        if parts_of(entry_id)[0] != parts_of(last_id)[0]:
            raise Failure(_TOO_SMALL)
    if entry_id <= last_id:
        raise Failure(_TOO_SMALL)
    return entry_id


@command("XTRIM", WRITE, group="stream", least=4, options="MAXLEN|MINID [=|~] threshold [LIMIT count]")
def xtrim(call: Call, key: Key, *words: bytes) -> Reply:
    """Remove the first entries of a stream, so that it is no longer than that; returns how many.

    Unlike Valkey, `~` removes whole blocks of the stream as it is here: as many as Valkey removes of entries that
    were added one behind the other, up to a block more or less of long ones, of some removed in the middle, and
    after a restart. With another `stream-node-max-entries` than 100 it is a multiple of that, or all.
    """
    trim = add_options(words, adds=False).trim
    assert trim is not None
    return 0 if call.table.typed(key, Stream) is None else _trim(call, key, trim)


def _trim(call: Call, key: bytes, trim: Trim) -> int:
    """Remove the first entries of the stream at `key`. Returns how many."""
    value = call.table.values[key]
    before, left = len(value), trim.left(value, call.server.configuration.number("stream-node-max-entries"))
    if left < before:
        call.table.edit(key, b"XTRIM", (b"MAXLEN", b"%d" % left))
    return before - left


@command("XDEL", WRITE | FAST, group="stream")
def xdel(call: Call, key: Key, id: bytes, *ids: bytes) -> Reply:
    """Remove entries from a stream; returns how many there were."""
    value = call.table.typed(key, Stream)
    if value is None:
        return 0
    there = [entry_id for entry_id in dict.fromkeys(to_ids((id, *ids))) if value.holds(entry_id)]
    if there:
        call.table.edit(key, b"XDEL", list(map(text_of, there)))
    return len(there)


@command("XSETID", WRITE | FAST, group="stream", options="[ENTRIESADDED entries-added] [MAXDELETEDID max-deleted-id]")
def xsetid(call: Call, key: Key, last_id: bytes, *options: bytes) -> Reply:
    """Set which id counts as a stream's last, and what else it counts by."""
    new_last = to_id(last_id)
    added, max_deleted = _setid_options(new_last, options)
    value = call.table.typed(key, Stream)
    if value is None:
        raise Failure(NO_SUCH_KEY)
    if new_last < value.max_deleted:
        raise Failure("The ID specified in XSETID is smaller than current max_deleted_entry_id")
    if len(value) and new_last < value.last:
        raise Failure("The ID specified in XSETID is smaller than the target stream top item")
    if len(value) and added is not None and added < len(value):
        raise Failure("The entries_added specified in XSETID is smaller than the target stream length")
    words = setting(new_last, value.entries_added if added is None else added, max_deleted or value.max_deleted)
    call.table.edit(key, b"XSETID", words)
    return OK


def _setid_options(last_id: int, options: Sequence[bytes]) -> tuple[int | None, int]:
    """ENTRIESADDED, None without it, and MAXDELETEDID, 0 without it."""
    added, max_deleted = None, 0
    for name, text in pairs(options):
        if name == b"ENTRIESADDED":
            added = to_integer(text)
            if added < 0:
                raise InvalidRequest("entries_added must be positive")
        elif name == b"MAXDELETEDID":
            max_deleted = to_id(text)
            if last_id < max_deleted:
                raise InvalidRequest(
                    "The ID specified in XSETID is smaller than the provided max_deleted_entry_id"
                )  # fmt: skip
        else:
            raise syntax_error()
    return added, max_deleted


# Reading


@command("XLEN", READ | FAST, group="stream")
def xlen(call: Call, key: Key) -> Reply:
    """Count the entries of a stream."""
    value = call.table.look_up_typed(key, Stream)
    return 0 if value is None else len(value)


@command("XRANGE", READ, group="stream", options="[COUNT count]")
def xrange(call: Call, key: Key, start: bytes, end: bytes, *options: bytes) -> Reply:
    """Get the entries from one id to another, both included unless `(` stands before it; - and + are the ends."""
    return _range(call.table, key, to_start(start), to_stop(end), options, backwards=False)


@command("XREVRANGE", READ, group="stream", options="[COUNT count]")
def xrevrange(call: Call, key: Key, end: bytes, start: bytes, *options: bytes) -> Reply:
    """Get the entries from one id down to another."""
    return _range(call.table, key, to_start(start), to_stop(end), options, backwards=True)


def _range(table: Table, key: bytes, start: int, stop: int, options: Sequence[bytes], *, backwards: bool) -> Reply:
    count = _count(options)
    value = table.look_up_typed(key, Stream)
    if value is None:
        return []
    if count == 0:
        return NULL_ARRAY
    first, end = value.span(start, stop)
    if end - first > _BLOCKS_AT_ONCE and not 0 < count <= _AT_ONCE:
        return _long_range(table, value, start, stop, max(count, 0), backwards=backwards)
    pieces = value.pieces(start, stop, backwards=backwards)
    return [entry for some in shown(pieces, max(count, 0), backwards=backwards) for entry in some]


def _count(options: Sequence[bytes]) -> int:
    """COUNT of an XRANGE, -1 without it."""
    count = -1
    for name, text in pairs(options):
        if name != b"COUNT":
            raise syntax_error()
        count = max(to_integer(text), 0)
    return count


def _long_range(table: Table, value: Stream, start: int, stop: int, count: int, *, backwards: bool) -> Slices:
    """The entries that are there now."""
    yield from table.slicing.room()
    entries: list[list[object]] = []
    pieces = value.noted().pieces(start, stop, backwards=backwards)
    yield from table.slicing.go_through(map(entries.extend, shown(pieces, count, backwards=backwards)))
    return entries


class ReadOptions(NamedTuple):
    """The options of an XREAD or XREADGROUP, and what it reads: each key with an id, not looked at yet.

    `most`: entries of each stream, 0 for all. `until_ms`: until when to wait, None for ever; of those that `wait`.
    `group`: the names of a group and a consumer. `no_ack`: nothing is pending.
    """

    keys: Sequence[bytes]
    ids: Sequence[bytes]
    most: int
    wait: bool
    until_ms: int | None
    group: tuple[bytes, bytes] | None
    no_ack: bool


def read_options(name: str, words: Sequence[bytes], now_ms: int) -> ReadOptions:
    """What the words behind the command `name` say. Raises InvalidRequest."""
    grouped = name == "xreadgroup"
    count, wait, until_ms, group, no_ack = 0, False, None, None, False
    at = 0
    while at < len(words):
        option, more = words[at].upper(), len(words) - at - 1
        if option == b"BLOCK" and more:
            wait, until_ms = True, end_after_ms(words[at + 1], now_ms)
            at += 1
        elif option == b"COUNT" and more:
            count = max(to_integer(words[at + 1]), 0)
            at += 1
        elif option == b"STREAMS" and more:
            if more % 2:
                raise InvalidRequest(
                    f"Unbalanced '{name}' list of streams: for each stream key an ID or '{'>' if grouped else '$'}'"
                    " must be specified."
                )
            break
        elif option == b"GROUP" and more >= 2:
            _only_in_groups("GROUP", grouped)
            group = words[at + 1], words[at + 2]
            at += 2
        elif option == b"NOACK":
            _only_in_groups("NOACK", grouped)
            no_ack = True
        else:
            raise syntax_error()
        at += 1
    else:
        raise syntax_error()
    if grouped and group is None:
        raise InvalidRequest("Missing GROUP option for XREADGROUP")
    rest = words[at + 1 :]
    half = len(rest) // 2
    return ReadOptions(rest[:half], rest[half:], count, wait, until_ms, group, no_ack)


def _only_in_groups(option: str, grouped: bool) -> None:
    if not grouped:
        raise InvalidRequest(f"The {option} option is only supported by XREADGROUP. You called XREAD instead.")


@command(
    "XREAD", READ | BLOCKING, group="stream", keys=StreamKeys(1), least=4,
    options="[COUNT count] [BLOCK milliseconds] STREAMS key [key ...] id [id ...]",
)  # fmt: skip
def xread(call: Call, *words: bytes) -> Reply:
    """Get what came after an id in each of some streams, $ being now and + before the last; or wait for it."""
    table = call.table
    options = read_options("xread", words, table.now_ms())
    after = [_after(table, key, text) for key, text in zip(options.keys, options.ids, strict=True)]

    def read() -> Reply | None:
        return Pairs(_read(table, options.keys, map(_found, after), options.most)) or None

    def _found(noted: Callable[[], int] | int) -> int:
        return noted if isinstance(noted, int) else noted()

    reply = read()
    if reply is not None:
        return reply
    return Wait(options.keys, Stream, options.until_ms, read, NULL_ARRAY) if options.wait else NULL_ARRAY


def _after(table: Table, key: bytes, text: bytes) -> Callable[[], int] | int:
    """After which id a stream is read: that is known now, or is found when it is read. Raises InvalidRequest."""
    value = table.look_up_typed(key, Stream)
    if text == b"$":
        return 0 if value is None else value.last_id
    if text == b"+":
        return lambda: _before_last(table, key)
    if text == b">":
        raise InvalidRequest(
            "The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option."
        )
    return to_id(text)


def _before_last(table: Table, key: bytes) -> int:
    value = table.typed(key, Stream)
    return 0 if value is None else max(value.last - 1, 0)


def _read(
    table: Table, keys: Sequence[bytes], after: Iterator[int], count: int
) -> Iterator[tuple[bytes, list[list[object]]]]:
    """Each key with entries, if there are any."""
    for key, entry_id in zip(keys, after, strict=True):
        value = table.look_up_typed(key, Stream)
        if value is not None and value.last > entry_id:
            yield key, entries_after(value, entry_id, count)
