"""Groups of consumers of a stream: each entry is given to one of them, and is pending until that one acknowledges it.

What a group is, and its operations, is told in `kvstore.values.groups`. To give entries out is a change: who got which,
when, how often, is in the log. When a consumer was last heard of is not (see there).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from kvstore.base.errors import Failure, InvalidRequest, WrongSubcommand, syntax_error
from kvstore.base.reply import NULL_ARRAY, OK, Pairs, Reply, Wait
from kvstore.commands.context import Call
from kvstore.commands.registry import FAST, READ, WRITE, Key, command, container, to_integer
from kvstore.commands.row import BLOCKING, StreamKeys
from kvstore.commands.stream_arguments import (
    entries_after,
    to_any_id,
    to_id,
    to_ids,
    to_start,
    to_stop,
)
from kvstore.commands.stream_consumers import claim, consumer_of, existing_group, found_group
from kvstore.commands.streams import ReadOptions, read_options
from kvstore.store.table import Table
from kvstore.values.groups import UNKNOWN, Consumer, Group
from kvstore.values.stream_blocks import MAX_ID, id_of, text_of
from kvstore.values.streams import Stream

_NO_KEY = (
    "The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to"
    " create an empty stream automatically."
)
_MEANINGLESS = (
    "The {0} ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by"
    " specifying a proper ID, or use the > ID to get new messages. The {0} ID would just return an empty result set."
)


# The groups

container("XGROUP", "Make, change and remove the groups that read a stream.", group="stream")


@command("XGROUP|CREATE", WRITE, group="stream", options="[MKSTREAM] [ENTRIESREAD entries-read]")
def xgroup_create(call: Call, key: Key, group: bytes, id: bytes, *options: bytes) -> Reply:
    """Make a group that reads what comes after an id, $ being now; with MKSTREAM an empty stream, too."""
    make, entries_read = _group_options(options, "CREATE")
    value = call.table.typed(key, Stream)
    if value is None and not make:
        raise Failure(_NO_KEY)
    _check_number(options, "CREATE", 3)
    last_id = (0 if value is None else value.last_id) if id == b"$" else to_id(id)
    if value is not None and group in value.groups:
        raise Failure("Consumer Group name already exists", "BUSYGROUP")
    call.table.edit(key, b"XGROUP|CREATE", _read_so_far(group, last_id, entries_read))
    return OK


@command("XGROUP|SETID", WRITE, group="stream", options="[ENTRIESREAD entries-read]")
def xgroup_setid(call: Call, key: Key, group: bytes, id: bytes, *options: bytes) -> Reply:
    """Let a group go on after another id."""
    _, entries_read = _group_options(options, "SETID", make=False)
    value, _ = _existing(call.table, key, group)
    _check_number(options, "SETID", 2)
    last_id = value.last_id if id == b"$" else to_any_id(id)
    call.table.edit(key, b"XGROUP|SETID", _read_so_far(group, last_id, entries_read))
    return OK


@command("XGROUP|DESTROY", WRITE, group="stream")
def xgroup_destroy(call: Call, key: Key, group: bytes) -> Reply:
    """Remove a group; returns whether there was one. Who waits in it gets an error."""
    value = call.table.typed(key, Stream)
    if value is None:
        raise Failure(_NO_KEY)
    if group not in value.groups:
        return 0
    call.table.edit(key, b"XGROUP|DESTROY", (group,))
    return 1


@command("XGROUP|CREATECONSUMER", WRITE, group="stream")
def xgroup_createconsumer(call: Call, key: Key, group: bytes, consumer: bytes) -> Reply:
    """Make a consumer of a group; returns whether it is new."""
    _, found = _existing(call.table, key, group)
    if consumer in found.consumers:
        return 0
    consumer_of(call.table, key, group, consumer)
    return 1


@command("XGROUP|DELCONSUMER", WRITE, group="stream")
def xgroup_delconsumer(call: Call, key: Key, group: bytes, consumer: bytes) -> Reply:
    """Remove a consumer, and what is pending for it; returns how many entries that were."""
    _, found = _existing(call.table, key, group)
    if consumer not in found.consumers:
        return 0
    pending = len(found.consumers[consumer].ids)
    call.table.edit(key, b"XGROUP|DELCONSUMER", (group, consumer))
    return pending


def _group_options(options: Sequence[bytes], name: str, *, make: bool = True) -> tuple[bool, int]:
    """MKSTREAM and ENTRIESREAD. Raises InvalidRequest."""
    makes, entries_read = False, UNKNOWN
    words = iter(options)
    for word in words:
        option = word.upper()
        if option == b"MKSTREAM" and make:
            makes = True
        elif option == b"ENTRIESREAD" and (text := next(words, None)) is not None:
            entries_read = to_integer(text)
            if entries_read < UNKNOWN:
                raise InvalidRequest("value for ENTRIESREAD must be positive or -1")
        else:
            raise WrongSubcommand("XGROUP", name)
    return makes, entries_read


def _check_number(options: Sequence[bytes], name: str, most: int) -> None:
    """Raise InvalidRequest if an option was said twice; what is wrong with the key comes before that."""
    if len(options) > most:
        raise WrongSubcommand("XGROUP", name)


def _existing(table: Table, key: bytes, name: bytes) -> tuple[Stream, Group]:
    """The stream and its group. Raises Failure if one of them is not there."""
    value = table.typed(key, Stream)
    if value is None:
        raise Failure(_NO_KEY)
    return value, existing_group(value, key, name)


def _read_so_far(group: bytes, last_id: int, entries_read: int) -> list[bytes]:
    return [group, text_of(last_id), b"ENTRIESREAD", b"%d" % entries_read]


# Reading


@command(
    "XREADGROUP", WRITE | BLOCKING, group="stream", keys=StreamKeys(4), least=7,
    options="GROUP group consumer [COUNT count] [BLOCK milliseconds] [NOACK] STREAMS key [key ...] id [id ...]",
)  # fmt: skip
def xreadgroup(call: Call, *words: bytes) -> Reply:
    """Get, for a consumer, what nobody of its group has got, or wait for it; or what is pending for it after an id.

    Unlike Valkey, what is given out again from a consumer's history, its time and its count, is in the log; and
    names of keys and groups in `NOGROUP` are escaped where they are not printable.
    """
    options = read_options("xreadgroup", words, call.table.now_ms())

    def read() -> Reply | None:
        return _read(call.table, options)

    reply = read()
    if reply is not None:
        return reply
    if not options.wait:
        return NULL_ARRAY
    return Wait(options.keys, Stream, options.until_ms, read, NULL_ARRAY, lost=True)


def _read(table: Table, options: ReadOptions) -> Pairs | None:
    """What an XREADGROUP answers now; None if there is nothing. Raises RequestError."""
    assert options.group is not None
    after = [_after(table, key, options.group[0], text) for key, text in zip(options.keys, options.ids, strict=True)]
    return Pairs(_read_each(table, options, after)) or None


def _after(table: Table, key: bytes, group: bytes, text: bytes) -> int | None:
    """After which id what is pending is read; None for what is new. Raises RequestError."""
    value = table.look_up_typed(key, Stream)
    found_group(value, key, group, " in XREADGROUP with GROUP option")
    if text in (b"$", b"+"):
        raise InvalidRequest(_MEANINGLESS.format(text.decode()))
    return None if text == b">" else to_id(text)


def _read_each(
    table: Table, options: ReadOptions, after: Iterable[int | None]
) -> Iterator[tuple[bytes, list[list[object]]]]:
    """Each key with what is there for the consumer."""
    assert options.group is not None
    group_name, consumer_name = options.group
    for key, entry_id in zip(options.keys, after, strict=True):
        value = table.look_up_typed(key, Stream)
        if value is None:
            continue
        consumer = consumer_of(table, key, group_name, consumer_name)
        if entry_id is not None and entry_id != MAX_ID:
            yield key, _pending_of(table, key, group_name, consumer, entry_id, options.most)
        elif value.last > value.groups[group_name].last_id:
            yield key, _give_out(table, key, group_name, consumer, options)


def _pending_of(
    table: Table, key: bytes, group: bytes, consumer: Consumer, after: int, most: int
) -> list[list[object]]:
    """What is pending for a consumer after an id, which is given to it once more: null if it is there no more."""
    value: Stream = table.values[key]
    ids = list(islice(consumer.ids.ids(after + 1), most or None))
    entries = [value.get(entry_id) for entry_id in ids]
    pending = value.groups[group].pending
    again = {
        entry_id: (table.now_ms(), pending[entry_id].times + 1)
        for entry_id, entry in zip(ids, entries, strict=True)
        if entry is not None
    }
    claim(table, key, group, consumer.name, again)
    return [
        [text_of(entry_id), NULL_ARRAY] if entry is None else entry
        for entry_id, entry in zip(ids, entries, strict=True)
    ]  # fmt: skip


def _give_out(table: Table, key: bytes, group: bytes, consumer: Consumer, options: ReadOptions) -> list[list[object]]:
    """Give a consumer what nobody of its group has got yet."""
    value: Stream = table.values[key]
    found = value.groups[group]
    entries = entries_after(value, found.last_id, options.most)
    ids = [id_of(entry[0]) for entry in entries]  # type: ignore[arg-type]
    read = _read_so_far(group, ids[-1], _entries_read(value, found, ids))
    table.edit(key, b"XGROUP|SETID", read, b"xreadgroup")
    if not options.no_ack:
        claim(table, key, group, consumer.name, dict.fromkeys(ids, (table.now_ms(), 1)))
        consumer.active_ms = table.now_ms()
    return entries


def _entries_read(value: Stream, group: Group, ids: Sequence[int]) -> int:
    """How many entries a group has read when it has read these, too; UNKNOWN if none knows."""
    entries_read, last_id = group.entries_read, group.last_id
    for entry_id in ids:
        if entries_read != UNKNOWN and last_id >= value.first and not value.has_gaps_after(last_id):
            entries_read += 1
        elif value.entries_added:
            entries_read = value.added_up_to(entry_id)
        last_id = entry_id
    return entries_read


@command("XACK", WRITE | FAST, group="stream")
def xack(call: Call, key: Key, group: bytes, id: bytes, *ids: bytes) -> Reply:
    """Tell that entries are done with; returns how many of them were pending."""
    value = call.table.look_up_typed(key, Stream)
    found = None if value is None else value.groups.get(group)
    if found is None:
        return 0
    pending = [each for each in dict.fromkeys(to_ids((id, *ids))) if each in found.pending]
    if pending:
        call.table.edit(key, b"XACK", (group, *map(text_of, pending)))
    return len(pending)


# What is pending


@command("XPENDING", READ, group="stream", options="[[IDLE min-idle-time] start end count [consumer]]")
def xpending(call: Call, key: Key, group: bytes, *options: bytes) -> Reply:
    """Tell how many entries are pending, and for whom; or for each of some for whom, how long, and how often given."""
    if not options:
        return _summary(found_group(call.table.look_up_typed(key, Stream), key, group))
    if not 3 <= len(options) <= 6:
        raise syntax_error()
    idle_ms = 0
    if options[0].upper() == b"IDLE":
        idle_ms = to_integer(options[1])
        if len(options) < 5:
            raise syntax_error()
        options = options[2:]
    count = max(to_integer(options[2]), 0)
    start, stop = to_start(options[0]), to_stop(options[1])
    found = found_group(call.table.look_up_typed(key, Stream), key, group)
    consumer = None
    if len(options) > 3:
        consumer = found.consumers.get(options[3])
        if consumer is None:
            return []
    ids = found.pending.ids(start) if consumer is None else consumer.ids.ids(start)
    return list(islice(_details(found, ids, stop, idle_ms, call.table.now_ms()), count))


def _summary(group: Group) -> list[Reply]:
    if not group.pending:
        return [0, None, None, NULL_ARRAY]
    counts = [[name, b"%d" % len(group.consumers[name].ids)] for name in sorted(group.consumers)]
    first = next(group.pending.ids())
    waiting = [each for each in counts if each[1] != b"0"]
    return [len(group.pending), text_of(first), text_of(group.pending.last()), waiting]


def _details(group: Group, ids: Iterable[int], stop: int, idle_ms: int, now_ms: int) -> Iterator[list[Reply]]:
    """Of each id up to `stop` that has been pending for so long."""
    for entry_id in ids:
        if entry_id > stop:
            break
        held = group.pending[entry_id]
        if not idle_ms or now_ms - held.delivered_ms >= idle_ms:
            yield [text_of(entry_id), held.consumer.name, max(now_ms - held.delivered_ms, 0), held.times]
