"""Tests for `kvstore.wire.words`: Redis's quoting, raw tails, and bounded work."""

from __future__ import annotations

from typing import ClassVar

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.errors import ProtocolError
from kvstore.base.limits import MAX_HEADER_BYTES, MAX_REQUEST_ELEMENTS
from kvstore.wire.words import UnbalancedQuotes, Words, split_words

UNBALANCED = "unbalanced quotes in request"
TOO_BIG = "too big inline request"


def split(line: bytes, raw_tails: dict[bytes, int] | None = None) -> list[bytes] | str:
    """The words of a line, or the text of the error."""
    try:
        return list(split_words(line, raw_tails or {}))
    except UnbalancedQuotes:
        return UNBALANCED
    except ProtocolError as error:
        return str(error.args[0])


def sdssplitargs(line: bytes) -> list[bytes] | str:
    """The model: Valkey's sds.c, sdssplitargs, character by character, with NUL as an ordinary character."""
    words: list[bytes] = []
    at = 0
    while True:
        while at < len(line) and line[at] in b" \t\n\v\f\r":
            at += 1
        if at == len(line):
            return words
        word = bytearray()
        while at < len(line) and line[at] not in b" \n\r\t":
            quote = line[at]
            if quote not in b"\"'":
                word.append(quote)
                at += 1
                continue
            at += 1
            while True:
                if at == len(line):
                    return UNBALANCED
                if line[at] == quote:
                    at += 1
                    break
                taken, at = _quoted_character(line, at, quote)
                word += taken
        words.append(bytes(word))


def _quoted_character(line: bytes, at: int, quote: int) -> tuple[bytes, int]:
    following = line[at + 1 : at + 2]
    if line[at] != ord("\\") or not following:
        return line[at : at + 1], at + 1
    if quote == ord("'"):
        return (b"'", at + 2) if following == b"'" else (b"\\", at + 1)
    digits = line[at + 2 : at + 4]
    if following == b"x" and len(digits) == 2 and all(digit in b"0123456789abcdefABCDEF" for digit in digits):
        return bytes([int(digits, 16)]), at + 4
    return {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"a": b"\a"}.get(following, following), at + 2


class SplitTests(SynchronousTestCase):
    """Words between spaces, with quotes as Redis has them."""

    def test_spaces(self) -> None:
        """Any spaces separate words; those around the line do not count; a blank line has no words."""
        self.assertEqual(split(b"  get \t a \r"), [b"get", b"a"])
        self.assertEqual(split(b""), [])
        self.assertEqual(split(b" \t\v\f\r"), [])

    def test_class(self) -> None:
        """The words are a list that can be told from a RESP request."""
        self.assertIs(type(split_words(b"get a", {})), Words)
        self.assertIs(type(split_words(b"get 'a'", {})), Words)

    def test_double_quotes(self) -> None:
        """Double quotes hold spaces and escapes."""
        self.assertEqual(split(rb'a "b c" "" "\n\r\t\b\a\\\"\q"'), [b"a", b"b c", b"", b'\n\r\t\b\a\\"q'])
        self.assertEqual(split(rb'"\x41\xfF\x4\xg1\x"'), [b"A\xffx4xg1x"])

    def test_single_quotes(self) -> None:
        """Single quotes hold anything; only a single quote itself can be escaped."""
        self.assertEqual(split(rb"""a 'b "c' '' '\n\x41\\ ' 'it\'s'"""), [b"a", b'b "c', b"", rb"\n\x41\\ ", b"it's"])

    def test_quotes_inside_a_word(self) -> None:
        """Parts of a word, quoted or not, are joined up to the next space outside quotes."""
        self.assertEqual(split(b"""a"b c" d'e f'"""), [b"ab c", b"de f"])
        self.assertEqual(split(b"""a"b"c 'a'"b "\\ ""'' """), [b"abc", b"ab \\", b""])
        self.assertEqual(split(b"""a"b"c'd"""), UNBALANCED)

    def test_unbalanced(self) -> None:
        """A quote that is not closed is an error, even if an escape hides its end."""
        for line in (b'"', b"'", b'a "b', b"a 'b", b'"a\\"', b"'a\\'", b'"a\\', b"it's"):
            self.assertEqual(split(line), UNBALANCED)

    def test_no_escapes_outside_quotes(self) -> None:
        """Outside quotes a backslash, and any byte but spaces and quotes, is itself."""
        self.assertEqual(split(b"a\\n \0\x80\xff"), [b"a\\n", b"\0\x80\xff"])

    @given(
        st.lists(st.sampled_from([bytes([byte]) for byte in b"\"'\\ ab\t\v\f\rxn4F\0\xff"]), max_size=16).map(b"".join)
    )
    def test_as_redis_does(self, line: bytes) -> None:
        """Every line is read as sdssplitargs reads it."""
        self.assertEqual(split(line), sdssplitargs(line))


class RawTailTests(SynchronousTestCase):
    """After some words of some verbs, the rest of the line is one argument as it stands."""

    tails: ClassVar[dict[bytes, int]] = {b"INSERT": 2, b"HELP": 1}

    def test_json(self) -> None:
        """JSON needs no second layer of quotes, whichever way the key is quoted."""
        for key in (b"k", b'"k"', b"'k'"):
            line = b"insert " + key + b'  {"x": "y z", "q": "\\"\'"} \r'
            self.assertEqual(split(line, self.tails), [b"insert", b"k", b'{"x": "y z", "q": "\\"\'"}'])

    def test_without_quotes(self) -> None:
        """The tail keeps its inner spaces, and loses those around it."""
        self.assertEqual(split(b" Insert k  [1,  2]\t", self.tails), [b"Insert", b"k", b"[1,  2]"])
        self.assertEqual(split(b"'insert' k  'a' 1", self.tails), [b"insert", b"k", b"'a' 1"])

    def test_no_tail(self) -> None:
        """Without a tail there is no argument for it."""
        self.assertEqual(split(b"insert k ", self.tails), [b"insert", b"k"])
        self.assertEqual(split(b"insert 'k' ", self.tails), [b"insert", b"k"])
        self.assertEqual(split(b"insert", self.tails), [b"insert"])
        self.assertEqual(split(b"help  a  'b", self.tails), [b"help", b"a  'b"])

    def test_other_verbs(self) -> None:
        """Other verbs, and the verb's name as an argument, have no tail."""
        self.assertEqual(split(b"set insert k  [1,  2]", self.tails), [b"set", b"insert", b"k", b"[1,", b"2]"])
        self.assertEqual(split(b"inserts k 'a' 1", self.tails), [b"inserts", b"k", b"a", b"1"])

    def test_quotes_before_the_tail(self) -> None:
        """A quote before the tail must still be closed."""
        self.assertEqual(split(b"insert 'k {}", self.tails), UNBALANCED)


class WorkTests(SynchronousTestCase):
    """What costs Python code for each occurrence is limited."""

    def test_plain_words(self) -> None:
        """A line without quotes may have as many words as an array may have elements."""
        self.assertEqual(len(split(b"a " * MAX_REQUEST_ELEMENTS)), MAX_REQUEST_ELEMENTS)
        self.assertEqual(split(b"a " * (MAX_REQUEST_ELEMENTS + 1)), TOO_BIG)

    def test_quoted_words(self) -> None:
        """A line with quotes may have fewer words, but not few."""
        for count, fits in ((MAX_HEADER_BYTES - 1, True), (MAX_HEADER_BYTES, True), (MAX_HEADER_BYTES + 1, False)):
            self.assertEqual(split(b"'' " * count), [b""] * count if fits else TOO_BIG)

    def test_escapes(self) -> None:
        """So is the number of parts and escapes in all words together; a raw tail may have any number."""
        for count, fits in ((MAX_HEADER_BYTES, True), (MAX_HEADER_BYTES + 1, False)):
            self.assertEqual(split(b"''" * count + b"x"), [b"x"] if fits else TOO_BIG)
        for count, fits in ((MAX_HEADER_BYTES - 1, True), (MAX_HEADER_BYTES, True), (MAX_HEADER_BYTES + 1, False)):
            line = b'"' + b"\\n" * (count - 1) + b'" "\\n"'
            self.assertEqual(split(line), [b"\n" * (count - 1), b"\n"] if fits else TOO_BIG)
        tail = b'"' + b"\\n" * (MAX_HEADER_BYTES + 1) + b'"'
        self.assertEqual(split(b"insert k " + tail, {b"INSERT": 2}), [b"insert", b"k", tail])

    def test_long_quoted_word(self) -> None:
        """A word of megabytes is read without deep recursion or a stack of its own."""
        word = (b"x" * 60 + b"\\'") * 60_000
        self.assertEqual(split(b"'" + word + b"'"), [word.replace(b"\\'", b"'")])
        self.assertEqual(split(b'"' + b"a'" * 2_000_000 + b'"'), [b"a'" * 2_000_000])
