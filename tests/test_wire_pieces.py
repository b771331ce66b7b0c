"""Encoded replies in pieces: what is joined, what stands in them by reference, and the limit."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.errors import ReplyTooLarge
from kvstore.base.limits import KIB, LONG_STRING_BYTES
from kvstore.base.reply import JSONText, Reply
from kvstore.wire import jsonlines, resp
from kvstore.wire.pieces import Encoded, Pieces, Writer, joined

LONG = b"x" * LONG_STRING_BYTES
SHORT = LONG[1:]


def pieces_of(encoded: Encoded) -> list[bytes]:
    """The pieces of a long reply."""
    assert isinstance(encoded, Pieces), "it is one string"
    return encoded.pieces


class WriterTests(SynchronousTestCase):
    """What a reply is made of."""

    def test_long_strings_by_reference(self) -> None:
        """From the limit on a string is not copied, in RESP and in JSON, at the top and inside."""
        for reply in (LONG, [LONG], [[b"key", LONG], LONG], {b"a": LONG}, [JSONText(LONG), None, 1]):
            for encoded in (resp.encode(reply, 2), resp.encode(reply, 3), jsonlines.encode([JSONText(LONG)])):
                self.assertTrue(any(piece is LONG for piece in pieces_of(encoded)), reply)
                self.assertEqual(len(encoded), len(bytes(encoded)))

    def test_short_strings_are_one(self) -> None:
        """Below the limit the reply is one string."""
        for encoded in (resp.encode(SHORT, 2), resp.encode([SHORT, SHORT], 3), jsonlines.encode(JSONText(SHORT))):
            self.assertIsInstance(encoded, bytes)

    def test_one_string_many_times(self) -> None:
        """It takes the memory of one."""
        encoded = resp.encode([LONG] * 2000, 2)
        self.assertEqual(len({id(piece) for piece in pieces_of(encoded) if len(piece) == len(LONG)}), 1)
        self.assertEqual(bytes(encoded), b"*2000\r\n" + (b"$%d\r\n%b\r\n" % (len(LONG), LONG)) * 2000)

    def test_many_short_strings(self) -> None:
        """They are joined some at a time."""
        encoded = resp.encode([b"k"] * 100_000, 2)
        self.assertLess(len(pieces_of(encoded)), 200)
        self.assertEqual(bytes(encoded), b"*100000\r\n" + b"$1\r\nk\r\n" * 100_000)

    def test_the_limit(self) -> None:
        """A reply of just so many bytes is made; one of a byte more is an error that says what to do."""
        many: list[Reply] = [LONG, [LONG, b"a", None], [b"k"] * 5000, {b"k": [LONG]}, [[SHORT]] * 10]
        for reply in many:
            size = len(resp.encode(reply, 2))
            self.assertEqual(len(resp.encode(reply, 2, size)), size)
            error = self.assertRaises(ReplyTooLarge, resp.encode, reply, 2, size - 1)
            self.assertIn(f"larger than {size - 1} bytes", str(error))
            self.assertIn("--drop-client-bytes", str(error))
        for reply in (JSONText(LONG), [[b"k", JSONText(LONG)]], [b"k"] * 5000):
            size = len(jsonlines.encode(reply))
            self.assertEqual(len(jsonlines.encode(reply, limit_bytes=size)), size)
            self.assertRaises(ReplyTooLarge, jsonlines.encode, reply, limit_bytes=size - 1)

    def test_given_up_early(self) -> None:
        """What is far too large is never built."""
        endless = [b"k" * KIB] * 100_000
        writer = Writer(100 * KIB)
        self.assertRaises(ReplyTooLarge, resp._append, writer, endless, 2)
        self.assertLess(writer._size_bytes, 2000 * KIB)

    @given(st.lists(st.one_of(st.binary(max_size=10), st.sampled_from([LONG, SHORT, b""])), max_size=8))
    def test_joined(self, texts: list[bytes]) -> None:
        """Replies one behind the other are their bytes one behind the other, long ones by reference."""
        replies = [resp.encode(text, 2) for text in texts]
        together = joined(replies)
        self.assertEqual(bytes(together), b"".join(map(bytes, replies)))
        self.assertEqual(len(together), sum(map(len, replies)))
        self.assertEqual(isinstance(together, Pieces), LONG in texts)
