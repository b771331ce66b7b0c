"""Tests for `kvstore.wire.jsonlines`: replies as JSON lines, keys as JSON strings."""

from __future__ import annotations

import json
import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.errors import Failure, InvalidRequest, StorageFull
from kvstore.base.reply import NULL_ARRAY, OK, JSONText, Status, Verbatim
from kvstore.commands.arguments import text_to_key
from kvstore.wire import jsonlines
from kvstore.wire.jsonlines import ABSENT, bytes_to_text, encode_error
from kvstore.wire.parser import JSONLine, RequestParser


def encode(reply: Any, identity: Any = ABSENT) -> bytes:
    """A reply's line, joined."""
    return bytes(jsonlines.encode(reply, identity))


any_text = st.text(st.characters())  # lone surrogates too, as JSON's escapes can write them


class EncodeTests(SynchronousTestCase):
    """A reply is one line: a result, a value if there is one, the request's id if it had one."""

    def assert_value(self, reply: Any, text: bytes) -> None:
        """The reply's value is this JSON text, without an id and with one."""
        self.assertEqual(encode(reply), b'{"result":"success","value":' + text + b"}\r\n")
        self.assertEqual(encode(reply, 7), b'{"result":"success","value":' + text + b',"id":7}\r\n')

    def test_status(self) -> None:
        """A status is success without a value."""
        self.assertEqual(encode(OK), b'{"result":"success"}\r\n')
        self.assertEqual(encode(OK, "a"), b'{"result":"success","id":"a"}\r\n')

    def test_document(self) -> None:
        """A stored document is shown as it is."""
        self.assert_value(JSONText(b'{"weight": 1.0e2}'), b'{"weight": 1.0e2}')

    def test_values(self) -> None:
        """Every kind of reply value has its JSON."""
        for reply, text in (
            (b"abc", b'"abc"'),
            ("h\u00e9", b'"h\xc3\xa9"'),
            (Verbatim("a\nb"), b'"a\\nb"'),
            (0, b"0"),
            (-(10**30), b"-1" + b"0" * 30),
            (None, b"null"),
            (NULL_ARRAY, b"null"),
            (True, b"true"),
            (1.5, b"1.5"),
            (math.inf, b'"inf"'),
            ([], b"[]"),
            ([[b"zebra", JSONText(b"{}")], [b"b", None]], b'[["zebra",{}],["b",null]]'),
            ((1, b"a"), b'[1,"a"]'),
            ({b"x"}, b'["x"]'),
            ({"a": 1, b"b": JSONText(b"[1]"), 3: OK}, b'{"a":1,"b":[1],"3":"OK"}'),
            ([Failure("no such key"), Status("QUEUED")], b'[{"error":"ERR no such key"},"QUEUED"]'),
        ):
            self.assert_value(reply, text)

    def test_bytes_that_are_not_text(self) -> None:
        """Bytes that are not UTF-8 are shown as lone surrogates."""
        self.assert_value(b"a\xff", b'"a\\udcff"')

    def test_no_reply(self) -> None:
        """A value that is no reply is a bug, and says so."""
        self.assertRaises(TypeError, encode, object())
        self.assertRaises(TypeError, encode, [object()])

    def test_identity(self) -> None:
        """The id is echoed whatever JSON it is; null is one, and no id is none."""
        for identity in (None, 0, "", [1, {"a": None}], 10**30, "\ud800", 1.5, False):
            for line in (
                encode(OK, identity),
                encode(5, identity),
                encode_error("x", identity),
                encode(b"\xff", identity),
            ):
                self.assertEqual(list(json.loads(line).items())[-1], ("id", identity))
        self.assertNotIn(b'"id"', encode(OK, ABSENT) + encode_error("x", ABSENT))

    @given(
        st.recursive(st.none() | st.binary() | st.integers() | any_text, lambda inner: st.lists(inner), max_leaves=9)
    )
    def test_always_one_line_of_json(self, reply: Any) -> None:
        """Whatever the bytes in it, a reply is one line that our own parser, too, reads as one object."""
        line = encode(reply, "i")
        self.assertEqual(line.find(b"\r\n"), len(line) - 2)
        (item,) = RequestParser().feed(line)
        self.assertIsInstance(item, JSONLine)


class EncodeErrorTests(SynchronousTestCase):
    """A request that did not succeed was not understood, or could not be done."""

    def test_invalid(self) -> None:
        """A line that was no request, and a request that was not understood, are invalid."""
        self.assertEqual(encode_error("not JSON"), b'{"result":"invalid","error":"not JSON"}\r\n')
        self.assertEqual(
            encode_error(InvalidRequest("syntax error")), b'{"result":"invalid","error":"syntax error"}\r\n'
        )

    def test_failure(self) -> None:
        """Anything else is a failure, without the code word of RESP."""
        self.assertEqual(
            encode_error(Failure("no such key", "NOKEY"), 3), b'{"result":"failure","error":"no such key","id":3}\r\n'
        )
        self.assertTrue(encode_error(StorageFull("full")).startswith(b'{"result":"failure","error":"Errors writing'))

    def test_any_text(self) -> None:
        """Quotes, line breaks and lone surrogates in the text stay inside the string."""
        text = 'a "b"\r\n\udcff'
        self.assertEqual(json.loads(encode_error(text)), {"result": "invalid", "error": text})


class KeyTests(SynchronousTestCase):
    """Keys are strings in JSON and bytes in the table."""

    @given(any_text)
    def test_every_string_comes_back(self, text: str) -> None:
        """Every string that JSON can name is a key of its own, and is shown as it was."""
        known = json.loads(json.dumps(text))  # a pair of surrogates is one character in JSON
        self.assertEqual(bytes_to_text(text_to_key(known)), known)

    def test_utf8(self) -> None:
        """A key is the bytes that a RESP client sends for the same text."""
        self.assertEqual(text_to_key("h\u00e9\U0001f600"), "h\u00e9\U0001f600".encode())

    def test_lone_surrogates(self) -> None:
        """A lone surrogate is three bytes, and no other string has them."""
        self.assertEqual(text_to_key("\ud800"), b"\xed\xa0\x80")
        self.assertEqual(bytes_to_text(b"\xed\xa0\x80"), "\ud800")
        self.assertNotEqual(text_to_key("\udcc3\udca9"), text_to_key("\u00e9"))

    @given(st.binary())
    def test_any_bytes_are_shown(self, data: bytes) -> None:
        """Any bytes have a text; UTF-8 is shown as what it says."""
        text = bytes_to_text(data)
        if data.decode("utf-8", "ignore").encode() == data:
            self.assertEqual(text, data.decode())
        self.assertEqual(json.loads(encode(data))["value"], json.loads(json.dumps(text)))

    def test_undecodable_bytes(self) -> None:
        """Bytes that no string has are shown one by one, beside what is UTF-8."""
        self.assertEqual(bytes_to_text(b"h\xc3\xa9\xff\xed\xa0\x80"), "h\u00e9\udcff\udced\udca0\udc80")
