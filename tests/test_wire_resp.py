"""Tests for `kvstore.wire.resp`: every reply value in both versions of the protocol."""

from __future__ import annotations

import enum
import math
from itertools import repeat
from typing import Any

import hiredis
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.errors import Failure, InvalidRequest, ProtocolError, ReplyTooLarge, RequestError, StorageFull
from kvstore.base.limits import LONG_STRING_BYTES
from kvstore.base.reply import (
    NULL_ARRAY,
    OK,
    PONG,
    Arrays,
    Attributed,
    BigNumber,
    Distinct,
    JSONText,
    Map,
    Push,
    Status,
    Strings,
    Verbatim,
)
from kvstore.wire import resp
from kvstore.wire.resp import double_text, encode_arrays, encode_each, encode_error, encode_strings, pack


def encode(reply: Any, protocol: int) -> bytes:
    """A reply's bytes, joined."""
    return bytes(resp.encode(reply, protocol))


def encode2(reply: Any) -> bytes:
    """In RESP2."""
    return encode(reply, 2)


def encode3(reply: Any) -> bytes:
    """In RESP3."""
    return encode(reply, 3)


class Color(enum.IntEnum):
    """Some subclass of int."""

    RED = 7


class Text(str):
    """Some subclass of str."""


#: The table of `base.reply`: value, RESP2, RESP3.
TABLE: list[tuple[Any, bytes, bytes]] = [
    (b"abc", b"$3\r\nabc\r\n", b"$3\r\nabc\r\n"),
    (b"", b"$0\r\n\r\n", b"$0\r\n\r\n"),
    (b"\r\n\0\xff", b"$4\r\n\r\n\0\xff\r\n", b"$4\r\n\r\n\0\xff\r\n"),
    ("abc", b"$3\r\nabc\r\n", b"$3\r\nabc\r\n"),
    ("h\u00e9", b"$3\r\nh\xc3\xa9\r\n", b"$3\r\nh\xc3\xa9\r\n"),
    ("\ud800", b"$3\r\n\xed\xa0\x80\r\n", b"$3\r\n\xed\xa0\x80\r\n"),
    (0, b":0\r\n", b":0\r\n"),
    (-(2**63), b":-9223372036854775808\r\n", b":-9223372036854775808\r\n"),
    (Map([([1], 2)]), b"*2\r\n*1\r\n:1\r\n:2\r\n", b"%1\r\n*1\r\n:1\r\n:2\r\n"),
    (Distinct([OK, {"a": 1}]), b"*2\r\n+OK\r\n*2\r\n$1\r\na\r\n:1\r\n", b"~2\r\n+OK\r\n%1\r\n$1\r\na\r\n:1\r\n"),
    (None, b"$-1\r\n", b"_\r\n"),
    (NULL_ARRAY, b"*-1\r\n", b"_\r\n"),
    (True, b":1\r\n", b"#t\r\n"),
    (False, b":0\r\n", b"#f\r\n"),
    (1.5, b"$3\r\n1.5\r\n", b",1.5\r\n"),
    (3.0, b"$1\r\n3\r\n", b",3\r\n"),
    (-math.inf, b"$4\r\n-inf\r\n", b",-inf\r\n"),
    ([], b"*0\r\n", b"*0\r\n"),
    ([b"a", 1, None], b"*3\r\n$1\r\na\r\n:1\r\n$-1\r\n", b"*3\r\n$1\r\na\r\n:1\r\n_\r\n"),
    ((b"a",), b"*1\r\n$1\r\na\r\n", b"*1\r\n$1\r\na\r\n"),
    ({b"a": 1, "b": []}, b"*4\r\n$1\r\na\r\n:1\r\n$1\r\nb\r\n*0\r\n", b"%2\r\n$1\r\na\r\n:1\r\n$1\r\nb\r\n*0\r\n"),
    ({}, b"*0\r\n", b"%0\r\n"),
    ({b"a"}, b"*1\r\n$1\r\na\r\n", b"~1\r\n$1\r\na\r\n"),
    (frozenset(), b"*0\r\n", b"~0\r\n"),
    (OK, b"+OK\r\n", b"+OK\r\n"),
    (Status("Background saving started"), b"+Background saving started\r\n", b"+Background saving started\r\n"),
    (Attributed({b"a": 1}, b"b"), b"$1\r\nb\r\n", b"|1\r\n$1\r\na\r\n:1\r\n$1\r\nb\r\n"),
    (BigNumber("12345678901234567890"), b"$20\r\n12345678901234567890\r\n", b"(12345678901234567890\r\n"),
    (Verbatim("# h\u00e9\r\n"), b"$7\r\n# h\xc3\xa9\r\n\r\n", b"=11\r\ntxt:# h\xc3\xa9\r\n\r\n"),
    (JSONText(b'{"a":1}'), b'$7\r\n{"a":1}\r\n', b'$7\r\n{"a":1}\r\n'),
    (Push([b"message", 1]), b"*2\r\n$7\r\nmessage\r\n:1\r\n", b">2\r\n$7\r\nmessage\r\n:1\r\n"),
    (Failure("no such key"), b"-ERR no such key\r\n", b"-ERR no such key\r\n"),
    (Failure("not now", "BUSY"), b"-BUSY not now\r\n", b"-BUSY not now\r\n"),
    (Color.RED, b":7\r\n", b":7\r\n"),
    (Text("x"), b"$1\r\nx\r\n", b"$1\r\nx\r\n"),
]  # fmt: skip

#: Doubles as a Valkey 9.1 server writes them (ZADD, then ZSCORE).
DOUBLES = """
    0 3 -7 0.1 -0.5 123456.789 0.001 1.234e-4 1.25e-5 1e-7 5e-324 1000000000000000 7000000000000000
    4611686018427387904 1e+21 1.5e+300 1.7976931348623157e+308 inf -inf
"""


class TableTests(SynchronousTestCase):
    """Each kind of reply value, alone and inside containers."""

    def test_resp2(self) -> None:
        """Every value has its RESP2 form."""
        for value, expected, _ in TABLE:
            self.assertEqual(encode2(value), expected)
            self.assertEqual(encode(value, 2), expected)

    def test_resp3(self) -> None:
        """Every value has its RESP3 form."""
        for value, _, expected in TABLE:
            self.assertEqual(encode3(value), expected)
            self.assertEqual(encode(value, 3), expected)

    def test_nested(self) -> None:
        """Every value has the same form inside any container."""
        for value, two, three in TABLE:
            for wrap in (lambda inner: [inner], lambda inner: (inner,), lambda inner: [[inner]]):
                depth = 2 if wrap(value) == [[value]] else 1
                self.assertEqual(encode2(wrap(value)), b"*1\r\n" * depth + two)
                self.assertEqual(encode3(wrap(value)), b"*1\r\n" * depth + three)
            self.assertEqual(encode2({b"k": value}), b"*2\r\n$1\r\nk\r\n" + two)
            self.assertEqual(encode3({b"k": value}), b"%1\r\n$1\r\nk\r\n" + three)

    def test_messages(self) -> None:
        """What is sent to many is what `encode` gives, and the same object each time."""
        for message in (
            Push([b"m", b"", b"x" * 511]),
            Push([b"m", b"x" * 512]),
            Push([b"m", b"x" * 20_000]),
            Push([b"m", 1]),
        ):
            for protocol in (2, 3):
                encoded = resp.encode_message(message, protocol)
                self.assertEqual(bytes(encoded), encode(message, protocol))
                self.assertIs(resp.encode_message(message, protocol), encoded)
        self.assertEqual(resp.encode_message(OK, 3), OK.wire)

    def test_no_reply(self) -> None:
        """A value that is no reply is a bug, and says so."""
        for value in (object(), [object()], bytearray(b"x"), 1j):
            self.assertRaises(TypeError, encode2, value)
            self.assertRaises(TypeError, encode3, value)

    def test_arrays_of_strings(self) -> None:
        """Many short strings are written at once; they read as if each had been written alone."""
        many = [b"%" * length for length in range(100)]
        for array in (many, many[:16], [*many, b"x" * 511], [*many, b"x" * 512], [*many, b"x" * 20_000], [*many, None]):
            expected = b"*%d\r\n" % len(array) + b"".join(bytes(encode(each, 2)) for each in array)
            self.assertEqual(bytes(encode(array, 2)), expected)

    def test_large_array(self) -> None:
        """An array of many elements."""
        self.assertEqual(encode2([b"k"] * 100_000), b"*100000\r\n" + b"$1\r\nk\r\n" * 100_000)


class DoubleTests(SynchronousTestCase):
    """Doubles have the digits that Redis gives them."""

    def test_as_valkey_does(self) -> None:
        """Plain, scientific, whole and infinite."""
        for text in DOUBLES.split():
            self.assertEqual(double_text(float(text)), text.encode())

    def test_negative_zero(self) -> None:
        """Zero keeps its sign, so that it reads back as it was."""
        self.assertEqual(double_text(-0.0), b"-0")

    def test_not_a_number(self) -> None:
        """Not a number is nan, whatever its sign."""
        self.assertEqual(double_text(-math.nan), b"nan")

    @given(st.floats(allow_nan=False))
    def test_reads_back(self, number: float) -> None:
        """The digits read back as the same double, to its sign."""
        text = double_text(number)
        self.assertEqual(repr(float(text)), repr(number))
        self.assertFalse(text.endswith(b".0"))


class ErrorTests(SynchronousTestCase):
    """Errors are one line, with their code first."""

    def test_errors(self) -> None:
        """The code, then the text; a protocol error has Redis's words before it."""
        for error, expected in (
            (InvalidRequest("syntax error"), b"-ERR syntax error\r\n"),
            (InvalidRequest("an option a\nb\r\n"), b"-ERR an option a b\r\n"),
            (RequestError("x", "NOPROTO"), b"-NOPROTO x\r\n"),
            (ProtocolError("invalid bulk length"), b"-ERR Protocol error: invalid bulk length\r\n"),
        ):
            self.assertEqual(encode_error(error), expected)
        self.assertTrue(
            encode_error(StorageFull("no space")).startswith(b"-MISCONF Errors writing to the log: no space.")
        )

    def test_one_line(self) -> None:
        """Line breaks in the text cannot end the reply early."""
        self.assertEqual(encode_error(Failure("a\r\n+OK\nb\rc")), b"-ERR a  +OK b c\r\n")

    def test_any_text(self) -> None:
        """Text that is not ASCII leaves as UTF-8, and what has no UTF-8 as an escape."""
        self.assertEqual(encode_error(Failure("h\u00e9 \udcff")), b"-ERR h\xc3\xa9 \\udcff\r\n")


class PackTests(SynchronousTestCase):
    """Requests from words."""

    def test_pack(self) -> None:
        """One array of bulk strings."""
        self.assertEqual(pack(b"SET", b"a", b""), b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$0\r\n\r\n")
        self.assertEqual(pack(), b"*0\r\n")


_leaves = st.one_of(
    st.none(), st.binary(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.just(PONG)
)
_replies = st.recursive(
    _leaves, lambda inner: st.lists(inner) | st.dictionaries(st.binary(), inner) | st.tuples(inner), max_leaves=20
)


class ReadBackTests(SynchronousTestCase):
    """What a client library makes of our replies."""

    def read(self, data: bytes) -> Any:
        """The one reply in `data`, by hiredis."""
        reader = hiredis.Reader(notEnoughData=self)
        reader.feed(data)
        reply = reader.gets()
        self.assertFalse(reader.has_data())
        return reply

    @given(_replies)
    def test_resp3(self, reply: Any) -> None:
        """In RESP3 every value comes back as what it was."""
        self.assertEqual(repr(self.read(encode3(reply))), repr(as_client(reply)))

    @given(_replies)
    def test_resp2(self, reply: Any) -> None:
        """In RESP2 maps come back flat, doubles as text, truth values as integers."""
        self.assertEqual(repr(self.read(encode2(reply))), repr(as_client(flattened(reply))))


class StringsTests(SynchronousTestCase):
    """Many strings at once."""

    @given(st.lists(st.one_of(st.none(), st.binary(max_size=3), st.just(b"x" * 300))), st.sampled_from([2, 3]))
    def test_as_one_by_one(self, strings: list[bytes | None], protocol: int) -> None:
        """With nulls and without, in both versions."""
        for some in (strings, [text for text in strings if text is not None]):
            self.assertEqual(encode_strings(some, protocol, 10**6), b"".join(encode(text, protocol) for text in some))

    def test_equally_long(self) -> None:
        """One, or many; empty ones; with line ends inside."""
        for some in ([], [b""], [b""] * 9, [b"a", b"b"], [b"\r\n"] * 3, [None] * 3):
            self.assertEqual(encode_strings(some, 2, 10**6), b"".join(map(encode2, some)))

    def test_each(self) -> None:
        """As encoded by itself, equally long or not."""
        for some in ([b""], [b"a", b"b"], [b"", b"\r\n", b"x" * 300], []):
            self.assertEqual(encode_each(some), list(map(encode2, some)))

    def test_each_joined(self) -> None:
        """So many at a time; past the limit, of all together and not only by the longest, none."""
        for some in ([b"a", b"b", b"c"], [b"", b"\r\n", b"x" * 300]):
            joined = [encode2(some[0]), encode2(some[1]) + encode2(some[2])]
            size = sum(map(len, some))
            self.assertEqual(encode_each(some, size, [1, 2]), joined)
            self.assertIsNone(encode_each(some, size - 1, [1, 2]))

    def test_limit(self) -> None:
        """As many bytes of strings as allowed, and never one more; when they differ in length, perhaps fewer."""
        for some in ([b"abc"] * 3, [b"abcdef", None, b"abc"]):
            self.assertIsNone(encode_strings(some, 2, 8))
            self.assertEqual(encode_strings(some, 2, 9), b"".join(map(encode2, some)))
        self.assertIsNone(encode_strings([b"a", b"abc"], 2, 3))

    def test_arrays(self) -> None:
        """An array of nothing but strings is as any; and many of them at once, of which some are the same."""
        short, long = [b"abc"] * 3, [b"y" * (LONG_STRING_BYTES - 1 + number % 3) for number in range(2500)]
        for strings in ([], [b""], short, [b"a", b"bc"] * 20, [b"a", b"x" * 600], long[:3], long):
            self.assertEqual(encode2(Strings(strings)), encode2(strings))
            self.assertRaises(ReplyTooLarge, resp.encode, Strings(long), 2, len(encode2(long)) - 1)
        arrays = Arrays([short, [], short, [b"a", b"bc"]])
        encoded = encode_arrays(arrays, 10**6, repeat(2))
        assert encoded is not None
        self.assertEqual(encoded, list(map(encode2, arrays)))
        self.assertIs(encoded[0], encoded[2])
        self.assertEqual(encode_strings(arrays, 2, 10**6), b"".join(encoded))
        size = sum(map(len, encoded))
        self.assertEqual((encode_arrays(arrays, size, []), encode_arrays(arrays, size - 1, [])), (encoded, None))
        self.assertIsNone(encode_arrays(arrays, 17, []))


def as_client(reply: Any) -> Any:
    """What a client shows for a reply value."""
    if isinstance(reply, list | tuple):
        return [as_client(element) for element in reply]
    if isinstance(reply, dict):
        return {name: as_client(value) for name, value in reply.items()}
    return b"PONG" if reply is PONG else reply


def flattened(reply: Any) -> Any:
    """The value that RESP2 has for a reply value."""
    if isinstance(reply, list | tuple):
        return [flattened(element) for element in reply]
    if isinstance(reply, dict):
        return [element for name, value in reply.items() for element in (name, flattened(value))]
    if isinstance(reply, float):
        return double_text(reply)
    return int(reply) if isinstance(reply, bool) else reply
