"""Glob patterns: Redis's own matcher, ported word for word, decides what is right."""

from __future__ import annotations

import time
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.errors import InvalidRequest
from kvstore.base.limits import MAX_PATTERN_BYTES, MAX_SET_PATTERN_BYTES, MAX_STARS
from kvstore.commands import glob
from kvstore.commands.glob import matcher


def string_match(pattern: bytes, text: bytes) -> bool:
    """`stringmatchlen` of Redis's util.c, step by step; but there `**` does not match the empty text, as `*` does."""
    if not text:
        return not pattern.strip(b"*")
    while pattern and text:
        first = pattern[:1]
        if first == b"*":
            while pattern[1:2] == b"*":
                pattern = pattern[1:]
            if len(pattern) == 1:
                return True
            return any(string_match(pattern[1:], text[i:]) for i in range(len(text) + 1))
        if first == b"[":
            pattern, matched = _match_set(pattern[1:], text[0])
            if not matched:
                return False
        elif first != b"?":
            if first == b"\\" and len(pattern) >= 2:
                pattern = pattern[1:]
            if pattern[0] != text[0]:
                return False
        text = text[1:]
        pattern = pattern[1:]
        if not text:
            pattern = pattern.lstrip(b"*")
            break
    return not pattern and not text


def _match_set(pattern: bytes, byte: int) -> tuple[bytes, bool]:
    """Match one byte with the set after a `[`; returns the pattern from the set's end on, and whether it matched."""
    negated = pattern[:1] == b"^"
    pattern = pattern[negated:]
    matched = False
    while True:
        if pattern[:1] == b"\\" and len(pattern) >= 2:
            pattern = pattern[1:]
            matched = matched or pattern[0] == byte
        elif pattern[:1] == b"]":
            break
        elif not pattern:
            pattern = b"]"
            break
        elif len(pattern) >= 3 and pattern[1:2] == b"-":
            low, high = sorted((pattern[0], pattern[2]))
            matched = matched or low <= byte <= high
            pattern = pattern[2:]
        else:
            matched = matched or pattern[0] == byte
        pattern = pattern[1:]
    return pattern, matched != negated


_ALPHABET = b"ab-^]\\*"
_pattern = st.lists(st.sampled_from(b"ab*?[]^-\\&~|\xff"), max_size=9).map(bytes)
_text = st.lists(st.sampled_from(_ALPHABET + b"&~|\xff\n"), max_size=6).map(bytes)


class GlobTests(SynchronousTestCase):
    """Patterns and texts."""

    @given(_pattern, _text)
    def test_as_redis_matches(self, pattern: bytes, text: bytes) -> None:
        """Any pattern matches the texts that Redis's own matcher says it does."""
        self.assertEqual(bool(matcher(pattern)(text)), string_match(pattern, text))

    @given(_pattern, _text)
    def test_long_ones_match_alike(self, pattern: bytes, text: bytes) -> None:
        """A pattern without sets matches what it does when it has to be compiled."""
        with patch.object(glob, "MAX_SET_PATTERN_BYTES", 0):
            try:
                matches = glob._compiled.__wrapped__(pattern, False)
            except InvalidRequest:
                return
        self.assertEqual(bool(matches(text)), string_match(pattern, text))

    def test_examples(self) -> None:
        """The examples of Redis's page on KEYS, and the odd ones."""
        for pattern, yes, no in (
            (b"h?llo", b"hello", b"hllo"),
            (b"h*llo", b"heeeello", b"hell"),
            (b"h[ae]llo", b"hallo", b"hillo"),
            (b"h[^e]llo", b"hallo", b"hello"),
            (b"h[a-b]llo", b"hbllo", b"hcllo"),
            (b"h[b-a]llo", b"hallo", b"hcllo"),
            (b"\\*", b"*", b"a"),
            (b"a\\", b"a\\", b"a"),
            (b"[^]", b"x", b""),
            (b"[a", b"a", b"b"),
            (b"[]a]*", None, b"a]"),
            (b"*", b"\n\x00\xff", None),
            (b"**", b"", None),
            (b"", b"", b"a"),
            (b"a*b*c", b"axxbxxc", b"axxcxxb"),
            (b"*ab", b"aaab", b"aaba"),
        ):
            if yes is not None:
                self.assertTrue(matcher(pattern)(yes), (pattern, yes))
            if no is not None:
                self.assertFalse(matcher(pattern)(no), (pattern, no))

    def test_any_case(self) -> None:
        """Where asked for, letters match in either case, in sets too."""
        self.assertTrue(matcher(b"Max[M]EM*", any_case=True)(b"maxmemory"))
        long = b"*" + b"xM" * MAX_SET_PATTERN_BYTES + b"*y"
        self.assertTrue(matcher(long, any_case=True)(b"Ma" + b"XM" * MAX_SET_PATTERN_BYTES + b"Y"))
        self.assertTrue(matcher(b"PORT", any_case=True)(b"port"))
        self.assertFalse(matcher(b"PORT")(b"port"))

    def test_longest_pattern(self) -> None:
        """A pattern with wildcards may be as long as the limit, which is less for one that must be compiled; one
        without, of any length.
        """
        longest = b"*" + b"a" * (MAX_PATTERN_BYTES - 1)
        self.assertTrue(matcher(longest)(longest[1:]))
        self.assertTrue(matcher(longest[:-1])(longest[1:]))
        self.assertRaises(InvalidRequest, matcher, longest + b"a")
        for wildcard, fits in ((b"?", b"a"), (b"[b]", b"b"), (b"[^b]", b"a")):
            longest = wildcard + b"*" + b"a" * (MAX_SET_PATTERN_BYTES - 1 - len(wildcard))
            self.assertTrue(matcher(longest)(longest.replace(wildcard, fits)))
            self.assertRaisesRegex(InvalidRequest, "512 bytes at most", matcher, longest + b"a")
        self.assertTrue(matcher(b"*" + b"\\?\\[" * 1000)(b"?[" * 1000))
        self.assertTrue(matcher(b"a" * 100_000)(b"a" * 100_000))

    def test_most_stars(self) -> None:
        """With more than so many before something else a pattern matches nothing, as in Redis, which gives up."""
        for stars, fits in ((MAX_STARS, True), (MAX_STARS + 1, False)):
            text = b"a" * stars
            for pattern in (b"*a" * stars, b"**a" * stars + b"*", b"*a" * stars + b"**"):
                if len(pattern) <= MAX_PATTERN_BYTES:
                    self.assertEqual(bool(matcher(pattern)(text)), fits, pattern[-3:])
        self.assertTrue(matcher(b"a" + b"*a" * MAX_STARS + b"*")(b"a" * (MAX_STARS + 1)))
        self.assertFalse(matcher(b"*?" * 50_000)(b"a" * 50_000))  # so a test of Redis's own
        for piece in (b"\\*", b"[*]"):
            self.assertRaises(InvalidRequest, matcher, b"*" + piece * 50_000)

    def test_never_exponential(self) -> None:
        """Patterns made to go back and forth take time of length times length, not more."""
        text = b"a" * 5000
        began = time.process_time()
        for pattern in (
            b"*a" * 25 + b"b",
            b"*" * 4000 + b"b",
            b"*a*" * 30 + b"b",
            b"a*" * 40 + b"b",
            b"*[a]" * 30 + b"b*",
            b"*a" * 2000 + b"*b",
            b"*a?" * 100 + b"*b",
        ):
            self.assertFalse(matcher(pattern)(text))
        self.assertLess(time.process_time() - began, 2)
