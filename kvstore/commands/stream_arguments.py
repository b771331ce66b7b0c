"""What the commands on streams have in common: ids as clients write them, options, and entries as replies show them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from kvstore.base.errors import InvalidRequest, syntax_error
from kvstore.commands.registry import INT64_MAX, to_integer
from kvstore.values.stream_blocks import MAX_ENTRIES, MAX_ID, Block, id_at, parts_of
from kvstore.values.streams import Stream

_INVALID_ID = "Invalid stream ID specified as stream command argument"
#: Longest id, in bytes.
_LONGEST = 127
_LARGEST = 2**64 - 1
#: What C's strtoull takes: what is below 0 wraps.
_UNSIGNED = re.compile(rb"[ \t-\r]*([+-]?)([0-9]+)").fullmatch
#: Blocks that are removed by ~ at most unless LIMIT says otherwise.
_TRIMMED_BLOCKS = 100


def _unsigned(text: bytes) -> int:
    """A number of 64 bits in all forms that Valkey takes. Raises InvalidRequest."""
    found = _UNSIGNED(text)
    number = int(found[2]) if found is not None and len(text) <= _LONGEST else _LARGEST + 1
    negative = found is not None and found[1] == b"-"
    if number > _LARGEST or (negative and number <= INT64_MAX + 1 and b"-%d" % number == text and number):
        raise InvalidRequest(_INVALID_ID)
    return (-number & _LARGEST) if negative else number


def _parse(text: bytes, missing: int) -> tuple[int, bytes | None]:
    """The id, and what is behind its `-` if that is `*`. `missing`: the sequence number if there is none."""
    if len(text) > _LONGEST:
        raise InvalidRequest(_INVALID_ID)
    ms, dash, sequence = text.partition(b"\0")[0].partition(b"-")
    if sequence == b"*":
        return id_at(_unsigned(ms), 0), sequence
    return id_at(_unsigned(ms), _unsigned(sequence) if dash else missing), None


def to_id(text: bytes, missing: int = 0) -> int:
    """A whole id, or one without a sequence number, which is `missing` then. Raises InvalidRequest."""
    entry_id, star = _parse(text, missing)
    if star is not None:
        raise InvalidRequest(_INVALID_ID)
    return entry_id


def to_ids(texts: Iterable[bytes]) -> list[int]:
    """The same of many."""
    return list(map(to_id, texts))


def to_any_id(text: bytes, missing: int = 0) -> int:
    """The same; `-` and `+` are the least and the largest."""
    return 0 if text == b"-" else MAX_ID if text == b"+" else to_id(text, missing)


def to_new_id(text: bytes) -> tuple[int, bool]:
    """The id that an entry is to get; and whether its sequence number is to be found (`5-*`). Raises InvalidRequest."""
    entry_id, star = _parse(text, 0)
    return entry_id, star is not None


def to_start(text: bytes) -> int:
    """Where an interval begins, `(` in front of it excluding it. Raises InvalidRequest."""
    if len(text) > 1 and text.startswith(b"("):
        entry_id = to_id(text[1:])
        if entry_id == MAX_ID:
            raise InvalidRequest("invalid start ID for the interval")
        return entry_id + 1
    return to_any_id(text)


def to_stop(text: bytes) -> int:
    """Where an interval ends. Raises InvalidRequest."""
    if len(text) > 1 and text.startswith(b"("):
        entry_id = to_id(text[1:], _LARGEST)
        if not entry_id:
            raise InvalidRequest("invalid end ID for the interval")
        return entry_id - 1
    return to_any_id(text, _LARGEST)


def next_id(last_id: int, now_ms: int) -> int:
    """The id of an entry that comes now."""
    return id_at(now_ms, 0) if now_ms > parts_of(last_id)[0] else last_id + 1


class Trim(NamedTuple):
    """How long a stream may be. `most`: entries; or `least_id`: the smallest id. `about`: as `~` has it, whole blocks
    only, of at most `limit` entries, 0 for any, None unless told.
    """

    most: int | None
    least_id: int
    about: bool
    limit: int | None

    def left(self, value: Stream, block_entries: int) -> int:
        """How many of the last entries stay. `block_entries`: the setting stream-node-max-entries, 0 for any."""
        if not self.about:
            return len(value) - self._gone(value)
        entries = block_entries or MAX_ENTRIES
        limit = _TRIMMED_BLOCKS * entries if self.limit is None else self.limit
        of_blocks = (
            self._whole_blocks(value, limit) if entries == MAX_ENTRIES else self._multiple(value, limit, entries)
        )
        return len(value) - of_blocks

    def _gone(self, value: Stream) -> int:
        return max(0, len(value) - self.most) if self.most is not None else value.before(self.least_id)

    def _multiple(self, value: Stream, limit: int, entries: int) -> int:
        """As if each block had so many entries."""
        gone = min(self._gone(value), limit or len(value))
        return gone if gone == len(value) else gone - gone % entries

    def _whole_blocks(self, value: Stream, limit: int) -> int:
        gone = 0
        for block in value.blocks:
            size = block.size
            if self.most is not None and len(value) - gone - size < self.most:
                break
            if (limit and gone + size > limit) or (self.most is None and block.last >= self.least_id):
                break
            gone += size
        return gone


class AddOptions(NamedTuple):
    """What stands before the fields of an XADD, or in an XTRIM. `at`: where the id stands among the words."""

    trim: Trim | None
    no_stream: bool
    at: int
    new_id: tuple[int, bool] | None


def add_options(words: Sequence[bytes], *, adds: bool) -> AddOptions:
    """The options of an XADD, if it `adds`, or an XTRIM. Raises InvalidRequest."""
    most: int | None = None
    least_id: int | None = None
    about = no_stream = False
    limit: int | None = None
    new_id = None
    at = 0
    while at < len(words):
        name, more = words[at].upper(), len(words) - at - 1
        if adds and name == b"*":
            break
        if name in (b"MAXLEN", b"MINID") and more:
            if most is not None or least_id is not None:
                raise InvalidRequest("syntax error, MAXLEN and MINID options at the same time are not compatible")
            about = more >= 2 and words[at + 1] == b"~"
            at += 1 + (more >= 2 and words[at + 1] in (b"~", b"="))
            if name == b"MAXLEN":
                most = _not_negative(words[at], "MAXLEN")
            else:
                least_id = to_id(words[at])
        elif name == b"LIMIT" and more:
            at += 1
            limit = _not_negative(words[at], "LIMIT")
        elif adds and name == b"NOMKSTREAM":
            no_stream = True
        elif adds:
            new_id = to_new_id(words[at])
            break
        else:
            raise syntax_error()
        at += 1
    trims = most is not None or least_id is not None
    if limit and not trims:
        raise InvalidRequest("syntax error, LIMIT cannot be used without specifying a trimming strategy")
    if not (trims or adds):
        raise InvalidRequest("syntax error, XTRIM must be called with a trimming strategy")
    if limit is not None and not about:
        raise InvalidRequest("syntax error, LIMIT cannot be used without the special ~ option")
    trim = Trim(most, least_id or 0, about, limit) if trims else None
    return AddOptions(trim, no_stream, at, new_id)


def _not_negative(text: bytes, name: str) -> int:
    number = to_integer(text)
    if number < 0:
        raise InvalidRequest(f"The {name} argument must be >= 0.")
    return number


def shown(
    pieces: Iterable[tuple[Block, int, int]], count: int = 0, *, backwards: bool = False
) -> Iterator[list[list[object]]]:
    """Entries as replies show them, some at a time, of at most `count`, 0 for all, from what `Stream.pieces` gives."""
    left = count or INT64_MAX
    for block, begin, end in pieces:
        if backwards:
            some = block.shown(max(begin, end - left), end)[::-1]
        else:
            some = block.shown(begin, min(end, begin + left))
        yield some
        left -= len(some)
        if left <= 0:
            break


def entries_after(value: Stream, entry_id: int, count: int) -> list[list[object]]:
    """At most `count` entries, 0 for all, with larger ids than that."""
    if entry_id == MAX_ID:
        return []
    return [entry for some in shown(value.pieces(entry_id + 1, MAX_ID), count) for entry in some]
