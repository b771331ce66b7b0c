"""A request on one line: quoted, cut, and without passwords."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

import kvstore.commands  # noqa: F401 - fills the command table
from kvstore.edge.request_line import kind_of, shown
from kvstore.wire.words import split_words


class ShownTests(SynchronousTestCase):
    """How a request is put on one line."""

    def test_words_are_quoted_as_redis_quotes_them(self) -> None:
        """Every kind of byte looks as Valkey 9.1's MONITOR showed it."""
        words = [b"SET", b"", b'\x00\a\b\t\n\r"\\\x7f\xff 1 \x1b']
        self.assertEqual(shown(words, 100, 100), r'"SET" "" "\x00\a\b\t\n\r\"\\\x7f\xff 1 \x1b"')

    @given(st.lists(st.binary(max_size=40), min_size=1, max_size=5))
    def test_a_request_that_is_shown_whole_can_be_typed_in_again(self, words: list[bytes]) -> None:
        """The words grammar reads the very words back, and nothing in the line is a tab or a line end."""
        line = shown([b"ECHO", *words], 10_000, 10_000)
        self.assertTrue(line.isprintable() and line.isascii())
        self.assertEqual(split_words(line.encode(), {}), [b"ECHO", *words])

    def test_a_long_word_is_cut_and_what_is_left_out_is_counted(self) -> None:
        """At the limit nothing is cut; one more and it is."""
        self.assertEqual(shown([b"a" * 31], 100, 32), f'"{"a" * 31}"')
        self.assertEqual(shown([b"a" * 32], 100, 32), f'"{"a" * 32}"')
        self.assertEqual(shown([b"a" * 33], 100, 32), f'"{"a" * 32}... (1 more bytes)"')

    def test_a_word_is_not_cut_inside_an_escape(self) -> None:
        """Escapes count in full, so that binary words are cut sooner."""
        self.assertEqual(shown([b"\xff" * 8], 100, 32), '"' + r"\xff" * 8 + '"')
        self.assertEqual(shown([b"\xff" * 9], 100, 32), '"' + r"\xff" * 8 + '... (1 more bytes)"')
        self.assertEqual(shown([b"a" * 31 + b"\xff"], 100, 32), f'"{"a" * 8}... (24 more bytes)"')

    def test_many_words_are_cut_and_counted(self) -> None:
        """Words are shown until the limit for all of them is used up."""
        self.assertEqual(shown([b"MGET", b"a", b"b", b"c"], 8, 32), '"MGET" "a" ... (2 more arguments)')

    def test_passwords_are_not_shown(self) -> None:
        """AUTH hides all its arguments, HELLO the two after AUTH, however they are spelt; other words stay."""
        self.assertEqual(shown([b"auth", b"fred", b"secret"], 100, 32), '"auth" "(redacted)" "(redacted)"')
        hello = [b"HELLO", b"3", b"Auth", b"fred", b"secret", b"SETNAME", b"me"]
        self.assertEqual(shown(hello, 100, 32), '"HELLO" "3" "Auth" "(redacted)" "(redacted)" "SETNAME" "me"')
        self.assertEqual(shown([b"GET", b"AUTH", b"x"], 100, 32), '"GET" "AUTH" "x"')

    @given(st.lists(st.binary(max_size=200), min_size=1, max_size=30), st.integers(1, 300), st.integers(1, 300))
    def test_the_limit_holds_for_any_words(self, words: list[bytes], most: int, each: int) -> None:
        """The quotes count; besides, there are a space for each word (of two characters at least) and two notes."""
        self.assertLessEqual(len(shown(words, most, each)), 1.5 * most + 100)

    def test_kinds(self) -> None:
        """The kind is the command table's, for every spelling, subcommands and JSON methods too."""
        kinds = {
            (b"SET", b"a", b"1"): "write", (b"del", b"a"): "write", (b"insert", b"a", b"1"): "write",
            (b"GET", b"a"): "read", (b"Size",): "read", (b"EXEC",): "block", (b"MULTI",): "other",
            (b"CLIENT", b"ID"): "other", (b"CLIENT", b"NOSUCH"): "other", (b"NOSUCH",): "other",
        }  # fmt: skip
        self.assertEqual({words: kind_of(list(words)) for words in kinds}, kinds)
