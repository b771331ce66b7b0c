"""Bytes in, requests out: which grammar each request is in, lines, and the limit on their size.

The first byte of each request says its grammar (DESIGN.md section 2): `*` RESP (`multibulk`), `{` one JSON object
on a line (`base.jsontext`), anything else a line of words (`words`). Grammars may alternate on one connection.

A line that begins with anything else may still be a JSON line, after blanks or a byte order mark; it may hold telnet's
own bytes (`telnet`), or be of a protocol that must not get in (`foreign`).

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
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

from kvstore.base.errors import ProtocolError
from kvstore.base.jsontext import loads
from kvstore.base.limits import (
    MAX_INLINE_BYTES,
    MAX_JSON_DEPTH,
    MAX_REQUEST_BYTES,
    MAX_REQUEST_ELEMENTS,
    QUEUED_WORD_BYTES,
    STRANGER_BYTES,
)
from kvstore.wire import telnet
from kvstore.wire.foreign import refuse_http, refuse_tls
from kvstore.wire.multibulk import SHORTEST_WORD_BYTES, Multibulk, Uniform, split_pipeline, uniform_pipeline
from kvstore.wire.telnet import Negotiation
from kvstore.wire.words import UnbalancedQuotes, Words, split_words, too_big

__all__ = ["BadLine", "JSONLine", "Negotiation", "ProtocolError", "Request", "RequestParser", "Words"]

_STAR = ord("*")
_BLANKS = b" \t\r\v\f"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
#: A JSON line, whether the brace comes first or not.
_IS_JSON = re.compile(rb"(?:\xef\xbb\xbf)?[ \t\r\v\f]*\{").match
#: How a line of words begins, if it may be with a verb of our own.
_VERB = re.compile(rb"(?:\xef\xbb\xbf)?[ \t\r\v\f]*+([A-Za-z]{1,16}+)[ \t\r]").match
#: First bytes of lines that may have to be answered before they end.
_TELLING = b"\xff\x04\x16"
#: What a person means who hangs up with Ctrl-D.
_QUIT = Words([b"QUIT"])
#: Lines that are blank at sight: a client may send many, and `split_words` costs more than it is worth for them.
_BLANK = (b"", b"\r")
_NO_VERBS: Mapping[bytes, int] = MappingProxyType({})


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


class BadLine(NamedTuple):
    """A line that is no request, and is dropped; the stream goes on after it.

    `reason`: for the client, one line. `verb`: what a line of words began with; empty: it began like a JSON object.
    """

    reason: str
    verb: bytes = b""


#: What `feed` returns. A RESP request is a list of class `list` itself, never empty; a ProtocolError is always the
#: last item.
Request: TypeAlias = list[bytes] | Words | JSONLine | BadLine | Negotiation | ProtocolError


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

    `verbs`: the verbs of our own, see `raw_tails` of `words.split_words`. `max_request_bytes`: most bytes of all
    arguments of an array together (Redis: proto-max-bulk-len, for each argument), and of a JSON line or one that begins
    with one of the verbs, without its line end; other lines have at most MAX_INLINE_BYTES. `max_words`: most words of
    an array or a line.
    """

    __slots__ = ("_held", "_max_request_bytes", "_multibulk", "_quick_bytes", "_verbs", "state")

    def __init__(
        self,
        verbs: Mapping[bytes, int] = _NO_VERBS,
        max_request_bytes: int = MAX_REQUEST_BYTES,
        max_words: int = MAX_REQUEST_ELEMENTS,
    ) -> None:
        self._verbs = verbs
        self._multibulk = Multibulk(max_request_bytes)
        self.limit_to(max_request_bytes, max_words)
        #: The part of a line that came in earlier chunks.
        self._held = bytearray()
        self.state = BOUNDARY

    def limit_to(self, max_request_bytes: int, max_words: int) -> None:
        """Other limits from now on: see the class. A request that has begun keeps the bytes that it may have."""
        self._max_request_bytes = max_request_bytes
        self._multibulk.limit_to(max_request_bytes, max_words)
        self._quick_bytes = quick_bytes(max_request_bytes, max_words)

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
        return _IS_JSON(self._held) is not None

    def feed_uniform(self, data: bytes) -> Uniform | None:
        """Take the next bytes as a pipeline of one command, if they are one and nothing is pending.

        Returns None if they are not: nothing was taken then, and `feed` has to take them. What a pipeline leaves over
        is the caller's to feed. To be tried for chunks of SHORTEST_PIPELINE_BYTES or more.
        """
        if self.state is not BOUNDARY or len(data) > self._quick_bytes:
            return None
        return uniform_pipeline(data)

    def restrict(self, *, of_stranger: bool) -> None:
        """From the next request on take little, from a client that has to say first who it is; or what else it may."""
        self._multibulk.of_stranger = of_stranger

    def feed_one_by_one(self, data: bytes) -> Iterator[Request]:
        """As `feed`, of which each request is read only when it is asked for: what the one before says may let more be
        taken then (see `restrict`).
        """
        position = 0
        while position < len(data) and self.state is not _State.DEAD:
            if not self._multibulk.of_stranger:
                yield from self.feed(data[position:])
                return
            items: list[Request] = []
            try:
                position = self._read_one(data, position, items)
            except ProtocolError as error:
                self.abandon()
                items.append(error)
            yield from items

    def feed(self, data: bytes) -> list[Request]:
        """Take the next bytes of the stream; return the requests that they complete, in order.

        Raises nothing for anything a client can send: after a ProtocolError item every later call returns [].
        """
        if self.state is BOUNDARY and data.startswith(b"*") and len(data) <= self._quick_bytes:
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
            position = self._read_one(data, position, items)

    def _read_one(self, data: bytes, position: int, items: list[Request]) -> int:
        """Read on up to the end of a request, or of the data. Returns the offset after it."""
        if self.state is not BOUNDARY:
            return self._resume(data, items)
        if data[position] == _STAR:
            return self._read_array(data, position, items)
        return self._read_line(data, position, items)

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
            items.append(self._too_long(line) or self._json_line(line))
        elif line not in _BLANK:
            self._read_typed(line, items)
        return end + 1

    def _hold(self, part: bytes, items: list[Request]) -> None:
        """Keep the part of a line that goes on in the next chunk, or refuse the line once it is longer than allowed."""
        self.state = _State.LINE
        self._held += part
        # What three bytes do not tell, no more of them will.
        if self._held and self._held[0] in _TELLING and len(self._held) - len(part) < 3:
            self._held = bytearray(self._read_front(bytes(self._held), items))
        bad = self._too_long(self._held)
        if bad is not None:
            self.state = _State.DISCARD
            self._held = bytearray()
            items.append(bad)

    def _read_front(self, line: bytes, items: list[Request]) -> bytes:
        """Look at a line, or the part of it that has come, for what does not wait for its end. Returns the rest."""
        line, answers = telnet.take_front(line)
        items += answers
        refuse_tls(line)
        if line.startswith(telnet.CTRL_D):
            items.append(_QUIT)
            self.abandon()
            return b""
        return line

    def _read_typed(self, line: bytes, items: list[Request]) -> None:
        """Read a whole line that does not begin with a brace."""
        if line[0] in _TELLING:
            line = self._read_front(line, items)
        bad = self._too_long(line)
        if bad is None and telnet.IAC in line:
            refuse_http(line.lstrip(_BLANKS))
            line, answers = telnet.take(line)
            items += answers
        if bad is not None:
            items.append(bad)
        elif _IS_JSON(line):
            items.append(self._json_line(line.removeprefix(_BYTE_ORDER_MARK).strip(_BLANKS)))
        elif words := self._words(line.removeprefix(_BYTE_ORDER_MARK).lstrip(_BLANKS)):
            items.append(words)

    def _words(self, line: bytes) -> Words | BadLine:
        refuse_http(line)
        try:
            return split_words(line, self._verbs, self._multibulk.max_words)
        except UnbalancedQuotes:
            return BadLine("unbalanced quotes in request; the line was dropped", line.split(None, 1)[0])

    def _json_line(self, line: bytes) -> JSONLine | BadLine:
        try:
            return JSONLine(loads(line, depth=MAX_JSON_DEPTH + 1))
        except ValueError as error:
            return BadLine(f"the line is not one JSON object: {error}")

    def _too_long(self, line: bytes | bytearray) -> BadLine | None:
        """What is said of a line, or a part of one, that is longer than allowed. Raises ProtocolError for words."""
        length, most = len(line) - line.endswith(b"\r"), self._max_request_bytes
        if self._multibulk.of_stranger:
            most = min(most, STRANGER_BYTES)
        if length <= MAX_INLINE_BYTES and length <= most:
            return None
        if _IS_JSON(line, 0, most + 1):
            return None if length <= most else _longer_than(most)
        verb = _VERB(line, 0, MAX_INLINE_BYTES)
        if length > most or verb is None or verb[1].upper() not in self._verbs:
            raise too_big()
        return None


def quick_bytes(max_request_bytes: int, max_words: int) -> int:
    """A chunk of no more bytes holds no request that is larger, or has more words, than those limits say."""
    return min(max_request_bytes, max_words * SHORTEST_WORD_BYTES)


def _longer_than(most: int) -> BadLine:
    return BadLine(f"the line is longer than {most} bytes, the most this server takes")
