"""What is pending for one consumer of a group becomes another's: XCLAIM, XAUTOCLAIM.

Each says what it did by operations with times and counts: replay asks no clock. An entry that is pending and not there
any more is pending no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from kvstore.base.errors import InvalidRequest, shorten, syntax_error
from kvstore.base.reply import Reply
from kvstore.commands.context import Call
from kvstore.commands.registry import FAST, INT64_MAX, WRITE, IntegerText, Key, command, to_integer
from kvstore.commands.stream_arguments import to_id, to_start
from kvstore.commands.stream_consumers import claim, consumer_of, found_group
from kvstore.store.table import Table
from kvstore.values.groups import Group, Pending
from kvstore.values.stream_blocks import text_of
from kvstore.values.streams import Stream

#: Entries that an XAUTOCLAIM claims, unless COUNT says otherwise; and how many times that it looks at.
_AT_ONCE, _LOOKED_AT = 100, 10
#: COUNT may be at most.
_MOST = INT64_MAX // 16


class _Options(NamedTuple):
    """The options of an XCLAIM. `times`: -1 without RETRYCOUNT."""

    delivered_ms: int
    times: int
    force: bool
    just_id: bool
    last_id: int


@command(
    "XCLAIM", WRITE | FAST, group="stream",
    options="id [id ...] [IDLE ms] [TIME unix-time-milliseconds] [RETRYCOUNT count] [FORCE] [JUSTID] [LASTID lastid]",
    least=6,
)  # fmt: skip
def xclaim(call: Call, key: Key, group: bytes, consumer: bytes, min_idle_time: IntegerText, *words: bytes) -> Reply:
    """Give a consumer what has been pending for others for so long; returns the entries."""
    table = call.table
    value = table.look_up_typed(key, Stream)
    found = found_group(value, key, group)
    assert value is not None
    least_ms = _idle(min_idle_time, "XCLAIM")
    ids = _leading_ids(words)
    options = _options(words[len(ids) :], table.now_ms())
    if options.last_id > found.last_id:
        read = [group, text_of(options.last_id), b"ENTRIESREAD", b"%d" % found.entries_read]
        table.edit(key, b"XGROUP|SETID", read, b"xclaim")
    claiming = _Claiming(table, value, found, consumer_of(table, key, group, consumer).name, options)
    for entry_id in ids:
        claiming.take(entry_id, least_ms)
    claiming.conclude(key, group)
    return claiming.reply


@command("XAUTOCLAIM", WRITE | FAST, group="stream", options="[COUNT count] [JUSTID]")
def xautoclaim(
    call: Call, key: Key, group: bytes, consumer: bytes, min_idle_time: IntegerText, start: bytes, *options: bytes
) -> Reply:
    """Give a consumer some of what has been pending for so long; returns where to go on, them, and ids of lost."""
    table = call.table
    table.look_up(key)  # counted before all else
    least_ms = _idle(min_idle_time, "XAUTOCLAIM")
    first = to_start(start)
    count, just_id = _auto_options(options)
    value = table.typed(key, Stream)
    found = found_group(value, key, group)
    assert value is not None
    how = _Options(table.now_ms(), -1, force=False, just_id=just_id, last_id=0)
    claiming = _Claiming(table, value, found, consumer_of(table, key, group, consumer).name, how)
    left, looks = count, count * _LOOKED_AT
    goes_on = 0
    for entry_id in found.pending.ids(first):
        if not looks or not left:
            goes_on = entry_id
            break
        looks -= 1
        left -= claiming.take(entry_id, least_ms)
    claiming.conclude(key, group)
    return [text_of(goes_on), claiming.reply, list(map(text_of, claiming.gone))]


class _Claiming:
    """What one request claims, one id after the other, before it changes anything. `gone`: ids whose entries are."""

    def __init__(self, table: Table, value: Stream, group: Group, consumer: bytes, options: _Options) -> None:
        self._table = table
        self._value = value
        self._group = group
        self._consumer = group.consumers[consumer]
        self._options = options
        self._given: dict[int, tuple[int, int]] = {}
        self.gone: list[int] = []
        self.reply: list[Reply] = []

    def take(self, entry_id: int, least_ms: int) -> bool:
        """Claim that, if it is pending for so long; returns whether it was, or is there no more."""
        options, held = self._options, self._held(entry_id)
        entry = self._value.get(entry_id)
        if entry is None:
            if held is not None:
                self.gone.append(entry_id)
            return held is not None
        if held is None and not options.force:
            return False
        if held is not None and least_ms and self._table.now_ms() - held.delivered_ms < least_ms:
            return False
        times = options.times
        if times < 0:
            times = (1 if held is None else held.times) + (not options.just_id)
        self._given[entry_id] = options.delivered_ms, times
        self.reply.append(text_of(entry_id) if options.just_id else entry)
        return True

    def _held(self, entry_id: int) -> Pending | None:
        """How that is pending by now."""
        if entry_id in self.gone:
            return None
        if entry_id in self._given:
            return Pending(self._consumer, *self._given[entry_id])
        return self._group.pending.get(entry_id)

    def conclude(self, key: bytes, group: bytes) -> None:
        """Change what there is to change."""
        if self.gone:
            self._table.edit(key, b"XACK", (group, *map(text_of, self.gone)))
        if self._given:
            claim(self._table, key, group, self._consumer.name, self._given)
            self._consumer.active_ms = self._table.now_ms()


def _idle(text: bytes, name: str) -> int:
    return max(to_integer(text, f"Invalid min-idle-time argument for {name}"), 0)


def _leading_ids(words: Sequence[bytes]) -> list[int]:
    """The ids up to the first word that is none."""
    ids: list[int] = []
    for word in words:
        try:
            ids.append(to_id(word))
        except InvalidRequest:
            break
    return ids


def _options(words: Sequence[bytes], now_ms: int) -> _Options:
    """The options of an XCLAIM. Raises InvalidRequest."""
    delivered_ms, times, force, just_id, last_id = -1, -1, False, False, 0
    rest = iter(words)
    for word in rest:
        name = word.upper()
        if name == b"FORCE":
            force = True
        elif name == b"JUSTID":
            just_id = True
        elif name in _WITH_NUMBER and (text := next(rest, None)) is not None:
            if name == b"LASTID":
                last_id = to_id(text)
                continue
            number = to_integer(text, f"Invalid {name.decode()} option argument for XCLAIM")
            if name == b"RETRYCOUNT":
                times = number
            else:
                delivered_ms = now_ms - number if name == b"IDLE" else number
        else:
            raise InvalidRequest(f"Unrecognized XCLAIM option '{shorten(word)}'")
    if not 0 <= delivered_ms <= now_ms:
        delivered_ms = now_ms
    return _Options(delivered_ms, times, force, just_id, last_id)


_WITH_NUMBER = (b"IDLE", b"TIME", b"RETRYCOUNT", b"LASTID")


def _auto_options(words: Sequence[bytes]) -> tuple[int, bool]:
    """COUNT and JUSTID of an XAUTOCLAIM. Raises InvalidRequest."""
    count, just_id = _AT_ONCE, False
    rest = iter(words)
    for word in rest:
        name = word.upper()
        if name == b"JUSTID":
            just_id = True
        elif name == b"COUNT" and (text := next(rest, None)) is not None:
            count = to_integer(text, "COUNT must be > 0")
            if not 0 < count <= _MOST:
                raise InvalidRequest("COUNT must be > 0")
        else:
            raise syntax_error()
    return count, just_id
