"""Bytes in, requests out: which grammar each request is in, lines, and the limit on their size.

The first byte of each request says its grammar (DESIGN.md section 2): `*` RESP (`multibulk`), `{` one JSON object
on a line (`base.jsontext`), anything else a line of words (`words`). Grammars may alternate on one connection.

There is one `RequestParser` per connection; it does no I/O and knows no command. What it returns depends on the
bytes alone, never on how they were cut: tests feed every stream whole, byte by byte and at every cut. Work and
memory are linear in the bytes fed, and memory for an incomplete request is limited by `max_request_bytes`.

States: at a boundary between requests, in an array, in a line, in a JSON line that is too long (thrown away up to
its LF, since an invalid JSON line never closes the connection), dead (after a protocol error: the stream makes no
sense from there on).

At a boundary, a chunk that begins with an array goes through `split_pipeline` first; what that leaves is read with
care.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

from kvstore.base.errors import ProtocolError
from kvstore.base.jsontext import loads
from kvstore.base.limits import MAX_REQUEST_BYTES, QUEUED_WORD_BYTES
from kvstore.wire.multibulk import Multibulk, Uniform, split_pipeline, uniform_pipeline
from kvstore.wire.words import Words, split_words, too_big

__all__ = ["BadJSONLine", "JSONLine", "ProtocolError", "Request", "RequestParser", "Words"]

_STAR = ord("*")
_BRACE = ord("{")
#: Lines that are blank at sight: a client may send many, and `split_words` costs more than it is worth for them.
_BLANK = (b"", b"\r")
_NO_RAW_TAILS: Mapping[bytes, int] = MappingProxyType({})


class JSONLine:
    """A request as one JSON object. `members`: the object's members as `jsontext.loads` gives them."""

    __slots__ = ("members",)

    def __init__(self, members: dict[str, Any]) -> None:
        self.members = members

    def __eq__(self, other: object) -> bool:
        return isinstance(other, JSONLine) and other.members == self.members

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"JSONLine({self.members!r})"


class BadJSONLine:
    """A line that began like a JSON object and is none, or is too long. `reason`: for the client, one line."""

    __slots__ = ("reason",)

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BadJSONLine) and other.reason == self.reason

    def __hash__(self) -> int:
        return hash(self.reason)

    def __repr__(self) -> str:
        return f"BadJSONLine({self.reason!r})"


#: What `feed` returns. A RESP request is a list of class `list` itself, never empty; a ProtocolError is always the
#: last item.
Request: TypeAlias = list[bytes] | Words | JSONLine | BadJSONLine | ProtocolError


class _State(enum.Enum):
    BOUNDARY = enum.auto()
    ARRAY = enum.auto()
    LINE = enum.auto()
    DISCARD = enum.auto()
    DEAD = enum.auto()


#: The state of a parser that waits for nothing: no request has begun that is not complete.
BOUNDARY = _State.BOUNDARY


class RequestParser:
    """The requests of one connection, from its bytes.

    `raw_tails`: see `words.split_words`. `max_request_bytes`: most bytes of a line without its LF, and of all
    arguments of an array together (Redis: proto-max-bulk-len, for each argument).
    """

    __slots__ = ("_held", "_max_request_bytes", "_multibulk", "_raw_tails", "state")

    def __init__(
        self, raw_tails: Mapping[bytes, int] = _NO_RAW_TAILS, max_request_bytes: int = MAX_REQUEST_BYTES
    ) -> None:
        self._raw_tails = raw_tails
        self._max_request_bytes = max_request_bytes
        self._multibulk = Multibulk(max_request_bytes)
        #: The part of a line that came in earlier chunks.
        self._held = bytearray()
        self.state = BOUNDARY

    @property
    def unread_bytes(self) -> int:
        """Bytes received of the request that is not complete yet."""
        return len(self._held) + self._multibulk.received_bytes

    @property
    def memory_bytes(self) -> int:
        """About the bytes of memory that the request which is not complete yet takes: its words are objects."""
        return self.unread_bytes + QUEUED_WORD_BYTES * self._multibulk.words_held

    @property
    def in_json_line(self) -> bool:
        """Whether the request that is not complete yet is a JSON line."""
        return self._held.startswith(b"{")

    def feed_uniform(self, data: bytes) -> Uniform | None:
        """Take the next bytes as a pipeline of one command, if they are one and nothing is pending.

        Returns None if they are not: nothing was taken then, and `feed` has to take them. What a pipeline leaves over
        is the caller's to feed. To be tried for chunks of SHORTEST_PIPELINE_BYTES or more.
        """
        if self.state is not BOUNDARY or len(data) > self._max_request_bytes:
            return None
        return uniform_pipeline(data)

    def feed(self, data: bytes) -> list[Request]:
        """Take the next bytes of the stream; return the requests that they complete, in order.

        Raises nothing for anything a client can send: after a ProtocolError item every later call returns [].
        """
        if self.state is BOUNDARY and data.startswith(b"*") and len(data) <= self._max_request_bytes:
            requests, data = split_pipeline(data)
            if not data:
                return requests  # type: ignore[return-value]
            items: list[Request] = requests  # type: ignore[assignment]
        else:
            items = []
        try:
            self._read(data, items)
        except ProtocolError as error:
            self.abandon()
            items.append(error)
        return items

    def abandon(self) -> None:
        """Forget what is not complete, and take nothing more: every later `feed` returns []."""
        self.state = _State.DEAD
        self._held = bytearray()
        self._multibulk = Multibulk(0)

    def _read(self, data: bytes, items: list[Request]) -> None:
        position = 0
        if self.state is not BOUNDARY:
            position = self._resume(data, items)
            if self.state is BOUNDARY and position < len(data):
                items += self.feed(data[position:])
            return
        while position < len(data) and self.state is BOUNDARY:
            if data[position] == _STAR:
                position = self._read_array(data, position, items)
            else:
                position = self._read_line(data, position, items)

    def _resume(self, data: bytes, items: list[Request]) -> int:
        """Go on with the request that began in an earlier chunk, up to its end. Returns the offset after it."""
        if self.state is _State.ARRAY:
            return self._read_array(data, 0, items)
        if self.state is _State.LINE:
            return self._read_line(data, 0, items)
        if self.state is _State.DISCARD and (end := data.find(b"\n")) >= 0:
            self.state = BOUNDARY
            return end + 1
        return len(data)

    def _read_array(self, data: bytes, position: int, items: list[Request]) -> int:
        words, position = self._multibulk.take(data, position)
        if words:
            items.append(words)
        self.state = _State.ARRAY if words is None else BOUNDARY
        return position

    def _read_line(self, data: bytes, position: int, items: list[Request]) -> int:
        end = data.find(b"\n", position)
        if end < 0:
            self._hold(data[position:], items)
            return len(data)
        line = data[position:end]
        if self._held:
            self._held += line
            line = bytes(self._held)
            self._held = bytearray()
        self.state = BOUNDARY
        if line.startswith(b"{"):
            items.append(self._json_line(line))
        elif line not in _BLANK and (words := self._words(line)):
            items.append(words)
        return end + 1

    def _hold(self, part: bytes, items: list[Request]) -> None:
        """Keep the part of a line that goes on in the next chunk, or refuse the line once it is longer than allowed."""
        self.state = _State.LINE
        self._held += part
        if len(self._held) <= self._max_request_bytes:
            return
        if self._held[0] != _BRACE:
            raise too_big()
        self.state = _State.DISCARD
        self._held = bytearray()
        items.append(self._too_long())

    def _words(self, line: bytes) -> Words:
        if len(line) > self._max_request_bytes:
            raise too_big()
        return split_words(line, self._raw_tails)

    def _json_line(self, line: bytes) -> JSONLine | BadJSONLine:
        if len(line) > self._max_request_bytes:
            return self._too_long()
        try:
            return JSONLine(loads(line))
        except ValueError as error:
            return BadJSONLine(f"the line is not one JSON object: {error}")

    def _too_long(self) -> BadJSONLine:
        return BadJSONLine(f"the line is longer than {self._max_request_bytes} bytes, the most this server takes")
