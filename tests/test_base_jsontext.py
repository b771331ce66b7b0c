"""Tests for `kvstore.base.jsontext`: what is JSON here and what is not, and that numbers stay what they were."""

from __future__ import annotations

import json
import math
import sys
from datetime import UTC, datetime
from typing import Any
from unittest import mock

import orjson
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.jsontext import atoms_named, dumps, loads
from kvstore.base.limits import MAX_INTEGER_DIGITS, MAX_JSON_DEPTH

leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=-(10**40), max_value=10**40),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(),
    st.text(st.characters(categories=("Cs", "L", "Cc"))),
)
values = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


def same(a: Any, b: Any) -> bool:
    """Equal, with equal types all the way down: 1 is not 1.0, nor True, and 0.0 is not -0.0."""
    return repr(a) == repr(b)


class IntegerTests(SynchronousTestCase):
    """Integers stay exact."""

    def test_every_size(self) -> None:
        """Around each power of two and of ten an integer comes back as it was, and its text as well."""
        for power in [2**n for n in (31, 32, 52, 53, 62, 63, 64, 65, 127, 128, 1000)] + [10**n for n in range(15, 60)]:
            for number in (power - 1, power, power + 1, -power - 1, -power, -power + 1):
                text = str(number).encode()
                self.assertTrue(same(loads(text), number), number)
                self.assertEqual(dumps(number), text)
                self.assertTrue(same(loads(b'{"a":[' + text + b"]}"), {"a": [number]}), number)

    def test_number_of_digits(self) -> None:
        """An integer has at most so many digits; the sign is not one."""
        for sign in (b"", b"-"):
            for digits in (MAX_INTEGER_DIGITS - 1, MAX_INTEGER_DIGITS):
                text = sign + b"9" * digits
                self.assertEqual(dumps(loads(text)), text)
            refusal = self.assertRaises(ValueError, loads, sign + b"9" * (MAX_INTEGER_DIGITS + 1))
            self.assertIn(f"more than {MAX_INTEGER_DIGITS} digits", str(refusal))

    def test_digits_are_pythons_own_limit(self) -> None:
        """The limit is the one that Python itself has: a larger one would fail when the number is shown."""
        self.assertEqual(MAX_INTEGER_DIGITS, sys.int_info.default_max_str_digits)

    def test_many_digits_in_a_string_or_a_fraction(self) -> None:
        """Digits that are no integer make no difference."""
        text = b'["' + b"1" * 5000 + b'",0.' + b"1" * 5000 + b"]"
        self.assertEqual(loads(text), ["1" * 5000, 1 / 9])

    def test_minus_zero(self) -> None:
        """The integer has no sign, the float has."""
        self.assertTrue(same(loads(b"-0"), 0))
        self.assertTrue(same(loads(b"-0.0"), -0.0))
        self.assertEqual(dumps(-0.0), b"-0.0")


class FloatTests(SynchronousTestCase):
    """Floats are finite doubles."""

    def test_not_a_number_and_infinity_are_refused(self) -> None:
        """Python's own spellings of them are not JSON, at the top or inside."""
        for name in (b"NaN", b"Infinity", b"-Infinity", b"nan", b"inf", b"-inf"):
            for text in (name, b"[" + name + b"]", b'{"a":' + name + b"}", b"[12345678901234567890," + name + b"]"):
                self.assertRaises(ValueError, loads, text)

    def test_too_large_is_refused(self) -> None:
        """A number that rounds to infinity is refused, not stored as something else."""
        for text in (b"1e400", b"-1e400", b"1e309", b"[1e309]", b"9" * 400 + b".0", b"9" * 400 + b"e1", b"1.8e308"):
            self.assertIn("too large", str(self.assertRaises(ValueError, loads, text)))

    def test_largest_and_smallest(self) -> None:
        """The ends of the doubles come back exactly; too small a number is zero."""
        for number in (sys.float_info.max, -sys.float_info.max, sys.float_info.min, 5e-324, 0.1, 1e22, 1e23):
            self.assertTrue(same(loads(repr(number).encode()), number))
            self.assertTrue(same(loads(dumps(number)), number))
        self.assertTrue(same(loads(b"1e-400"), 0.0))

    def test_exponent_makes_a_float(self) -> None:
        """As in Python's own parser."""
        self.assertTrue(same(loads(b"1e2"), 100.0))
        self.assertTrue(same(loads(b"12345678901234567890E0"), 12345678901234567890.0))


class DepthTests(SynchronousTestCase):
    """Nesting has a limit."""

    def nested(self, depth: int) -> list[bytes]:
        """Texts that are so deep: lists, objects, both, empty or with a scalar inside."""
        return [
            b"[" * depth + b"]" * depth,
            b"[" * depth + b"1" + b"]" * depth,
            b'{"a":' * (depth - 1) + b"{}" + b"}" * (depth - 1),
            b'{"a":' * depth + b"null" + b"}" * depth,
            b'[{"a":' * (depth // 2) + b"[1]" * (depth % 2) + b'"x"' * (1 - depth % 2) + b"}]" * (depth // 2),
            b"[" * depth + b"12345678901234567890" + b"]" * depth,
            b"[[],[[]]," + b"[" * (depth - 1) + b"]" * (depth - 1) + b",1]",
        ]

    def test_at_the_limit(self) -> None:
        """Up to the limit a text is read, and written again."""
        for depth in (MAX_JSON_DEPTH - 1, MAX_JSON_DEPTH):
            for text in self.nested(depth):
                self.assertEqual(dumps(loads(text)), text)

    def test_past_the_limit(self) -> None:
        """One more is refused, and says why."""
        for depth in (MAX_JSON_DEPTH + 1, MAX_JSON_DEPTH + 2, 1023, 1024, 1025):
            for text in self.nested(depth):
                self.assertIn("deep", str(self.assertRaises(ValueError, loads, text)))

    def test_bottomless(self) -> None:
        """Very deep texts, closed or not, are refused without harm."""
        for text in (b"[" * 1_000_000, b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 100_000, b'[{"a":' * 50_000 + b"1"):
            self.assertRaises(ValueError, loads, text)

    def test_brackets_in_strings_do_not_count(self) -> None:
        """Only nesting counts: neither brackets in strings nor many values side by side."""
        self.assertEqual(loads(b'"' + b"[" * 1000 + b'"'), "[" * 1000)
        self.assertEqual(loads(b"[" + b",".join([b"[]"] * 1000) + b"]"), [[]] * 1000)


class TextTests(SynchronousTestCase):
    """Strings, and what is no JSON at all."""

    def test_lone_surrogates(self) -> None:
        """An escape may name half a character; it comes back as that escape."""
        for text in (b'"\\ud800"', b'"\\udfff"', b'"\\udc00\\ud800"', b'{"\\ud800":1}', b'["a\\ud800b"]'):
            self.assertEqual(dumps(loads(text)), text)

    def test_surrogate_pair(self) -> None:
        """Two escapes that are one character are that character."""
        self.assertEqual(loads(b'"\\ud83d\\ude00"'), "\U0001f600")
        self.assertEqual(dumps("\U0001f600"), '"\U0001f600"'.encode())

    def test_invalid_utf8(self) -> None:
        """Bytes that are not UTF-8 are refused with their place: overlong, cut short, surrogates, past the end."""
        for bad in (b"\xff", b"\xc0\x80", b"\xe2\x82", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\x80"):
            refusal = self.assertRaises(ValueError, loads, b'"ab' + bad + b'"')
            self.assertIn("not UTF-8 at byte 3", str(refusal))

    def test_control_characters(self) -> None:
        """They must be escaped; DEL need not be."""
        for code in range(32):
            self.assertRaises(ValueError, loads, b'"' + bytes([code]) + b'"')
            self.assertEqual(loads(b'"\\u%04x"' % code), chr(code))
        self.assertEqual(loads(b'"\x7f"'), "\x7f")

    def test_one_line(self) -> None:
        """Whatever a value holds, its text has no line break and no control character."""
        text = dumps({"a\r\nb": "\n\x00\x1f\u2028", "big": [2**70, "\n"]})
        self.assertEqual([byte for byte in text if byte < 32], [])

    def test_white_space(self) -> None:
        """JSON's four blanks are allowed around and inside, others are not."""
        self.assertEqual(loads(b" \t\r\n[ 1 ,\n2 ] \r\n"), [1, 2])
        for blank in (b"\x0b", b"\x0c", b"\xc2\xa0", b"\xef\xbb\xbf", b"\x00"):
            self.assertRaises(ValueError, loads, blank + b"1")
            self.assertRaises(ValueError, loads, b"1" + blank)

    def test_not_json(self) -> None:
        """Near misses are refused, with a reason that fits on a line."""
        words = [b"", b" ", b"tru", b"True", b"None", b"nul", b"'a'", b"a", b"0x10", b"1_000", b"//\n1", b"1 2"]
        brackets = [b"[1,]", b"[,1]", b"[1]]", b'{"a":1,}', b"{a:1}", b'{"a" 1}', b"{1:2}", b"[1", b'{"a"']
        numbers = [b"01", b"1.", b".5", b"+1", b"-", b"--1", b"1e", b"1e+"]
        strings = [b'"a', b'"\\x"', b'"\\u12"', b'"\\ud800', b'"\\']
        for text in words + brackets + numbers + strings:
            reason = str(self.assertRaises(ValueError, loads, text))
            self.assertLess(len(reason), 120)
            self.assertNotIn("\n", reason)

    def test_last_of_equal_names(self) -> None:
        """Of two members of one name the last counts, whichever parser reads them."""
        self.assertEqual(loads(b'{"a":1,"a":2}'), {"a": 2})
        self.assertEqual(loads(b'{"a":12345678901234567890,"a":2}'), {"a": 2})


class DumpsTests(SynchronousTestCase):
    """What has no JSON text is a TypeError."""

    def test_not_finite(self) -> None:
        """NaN and Infinity are never written as null."""
        for number in (math.nan, math.inf, -math.inf):
            for value in (number, [number], {"a": [None, number]}, [2**70, number], ["\ud800", number]):
                self.assertRaises(TypeError, dumps, value)
        self.assertEqual(dumps(["null", None, 1.5]), b'["null",null,1.5]')

    def test_names_that_are_not_strings(self) -> None:
        """A member name is never made a string silently."""
        for value in ({1: 2}, {None: 1}, {True: 2**70}, [{b"a": 1}], {"a": {1.5: "\ud800"}}):
            self.assertRaises(TypeError, dumps, value)

    def test_other_types(self) -> None:
        """Other types are refused: what was written could not be read back."""

        class Text(str):
            pass

        now = datetime.now(UTC)
        for value in (b"x", {1}, object(), now, Text("a"), [now, None]):
            self.assertRaises(TypeError, dumps, value)

    def test_tuples(self) -> None:
        """A tuple is written as a list."""
        self.assertEqual(dumps((1, (2**70, "\ud800"))), b'[1,[1180591620717411303424,"\\ud800"]]')

    def test_a_number_nobody_can_read_back(self) -> None:
        """An integer over the limit, and a value that contains itself, are TypeErrors as well."""
        endless: list[Any] = []
        endless.append(endless)
        for value in (10 ** (MAX_INTEGER_DIGITS + 1), endless, [2**70, endless]):
            self.assertRaises(TypeError, dumps, value)


_names = st.sampled_from(["a", "b", "", "\u00e9", '"', "\\", "a/b", "\n", "\ud800"])
_atoms = st.one_of(leaves, st.just(2**64), st.just(-(2**63) - 1), st.just(10**400), st.just(1.0))
_objects = st.dictionaries(_names, st.one_of(_atoms, values), max_size=4)
_numbers = st.sampled_from(
    ["1e400", "1e308", "0.1234567890123456789012", "12345678901234567890", "1" * 4301, "-0", "NaN"]
)
_texts = st.one_of(
    st.builds(
        lambda value, escaped: json.dumps(value, ensure_ascii=escaped).encode("utf-8", "surrogatepass"),
        _objects | values,
        st.booleans(),
    ),
    st.builds(lambda number: b'{"a":%b}' % number.encode(), _numbers),
    st.sampled_from([b'{"b":' + b"[" * depth + b"]" * depth + b',"a":1}' for depth in (1, 198, 199, 200, 201, 1100)]),
    st.builds(lambda value, cut: dumps(value)[:-cut], _objects, st.integers(1, 3)),
    st.sampled_from([b"", b"{", b' {"a":1}', b'{"a":1}\n', b'{"a":1,"a":"2"}', b'{"\\u0061":1}', b'["a",1]']),
    st.sampled_from([b'{"b":"\\"a\\":1"}', b'{"a":"\xff"}']),
)


class AtomsNamedTests(SynchronousTestCase):
    """One member of many texts."""

    @given(st.lists(_texts, max_size=6), _names)
    def test_as_one_by_one(self, texts: list[bytes], name: str) -> None:
        """It is what `loads` gives for each, exactly, of those that are objects and have it, in their order."""
        expected = []
        for number, text in enumerate(texts):
            try:
                value = loads(text) if text.startswith(b"{") else None
            except ValueError:
                continue
            if isinstance(value, dict) and name in value and not isinstance(value[name], dict | list):
                expected.append((number, value[name]))
        self.assertTrue(same(list(atoms_named(name, enumerate(texts))), expected))

    def test_fast_path(self) -> None:
        """What lacks the name is not parsed, and an ordinary document by orjson alone."""
        with mock.patch("json.loads", side_effect=AssertionError):
            self.assertEqual(list(atoms_named("name", [(1, b'{"name":"fred","weight":100}')])), [(1, "fred")])
        with mock.patch("orjson.loads", side_effect=AssertionError):
            self.assertEqual(list(atoms_named("name", [(1, b'{"weight":100}'), (2, b"name"), (3, b'"name"')])), [])


class AgreementTests(SynchronousTestCase):
    """The standard library's parser is the oracle."""

    @given(values)
    def test_round_trip(self, value: Any) -> None:
        """Every value comes back from its text, exactly, and both parsers read that text alike."""
        text = dumps(value)
        self.assertTrue(same(loads(text), value))
        self.assertTrue(same(json.loads(text), value))

    @given(values, st.sampled_from([None, 1]), st.booleans())
    def test_reads_what_the_standard_library_writes(self, value: Any, indent: int | None, escaped: bool) -> None:
        """Blanks and escapes make no difference."""
        text = json.dumps(value, indent=indent, ensure_ascii=escaped).encode("utf-8", "surrogatepass")
        try:
            text.decode("utf-8")
        except UnicodeDecodeError:
            self.assertRaises(ValueError, loads, text)
        else:
            self.assertTrue(same(loads(text), value))

    @given(st.text(st.sampled_from('[]{}",:0123456789.eE+-truefalsn \\/ud8\t'), max_size=30))
    def test_refuses_what_the_standard_library_refuses(self, text: str) -> None:
        """On JSON-like noise both say yes or both say no; only the numbers that JSON has no words for differ."""
        try:
            expected = json.loads(text, parse_constant=lambda name: self.fail(name))
        except ValueError:
            self.assertRaises(ValueError, loads, text.encode())
            return
        if "Infinity" in json.dumps(expected):
            self.assertRaises(ValueError, loads, text.encode())
        else:
            self.assertTrue(same(loads(text.encode()), expected))

    @given(st.binary(max_size=40))
    def test_any_bytes(self, text: bytes) -> None:
        """Whatever comes in: a value, or ValueError."""
        try:
            value = loads(text)
        except ValueError:
            return
        self.assertTrue(same(loads(dumps(value)), value))

    def test_fast_path(self) -> None:
        """Ordinary documents are read by orjson alone: the slow parser is not asked."""
        with mock.patch("json.loads", side_effect=AssertionError):
            self.assertEqual(loads(b'{"weight":100,"name":"fred","tags":["a",1.5,null,true]}')["weight"], 100)
        with mock.patch("json.dumps", side_effect=AssertionError):
            self.assertEqual(dumps({"a": None}), orjson.dumps({"a": None}))
