"""Operations replayed: the ways for many of one shape and for any do the same."""

from __future__ import annotations

import hiredis
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.limits import KIB
from kvstore.store import operations
from kvstore.store.history import History
from kvstore.store.operations import (
    BadOperation,
    decode,
    encode,
    encode_deadline,
    encode_delete,
    encode_history,
    split_history,
)
from kvstore.store.state import State
from kvstore.values import TYPES
from kvstore.values.strings import alike_sets, encode_set
from tests.kit.harness import replay

Content = tuple[dict[bytes, bytes], dict[bytes, int]]


def one_by_one(body: bytes, content: Content) -> int:
    """What `replay` must do."""
    made, state = decode(body), State(TYPES)
    state.values, state.deadlines = content
    for operation in made:
        state.apply(operation)
    return len(made)


def outcome(body: bytes, way: object, before: Content = ({}, {})) -> object:
    """The number of operations and the state after them, or that they are none."""
    state = (dict(before[0]), dict(before[1]))
    try:
        return way(body, *state) if way is replay else one_by_one(body, state), state
    except BadOperation:
        return BadOperation


def sets(keys: list[bytes], values: list[bytes]) -> bytes:
    """Them as operations."""
    return b"".join(map(encode_set, keys, values))


KEYS = [b"key:%04d" % number for number in range(40)]
VALUES = [b"value of %04d" % number for number in range(40)]


class EncodeTests(SynchronousTestCase):
    """Words made one operation."""

    def test_any_number_of_any_length(self) -> None:
        """It is what a parser takes for the words, few or many, short or long."""
        for count in (1, 2, 3, 4, 5, 16, 17, 40):
            for length in (0, 1, KIB - 1, KIB, KIB + 1):
                words = [*KEYS[: count - 1], b"\r" * length]
                self.assertEqual(decode(encode(*words)), [words])

    def test_each(self) -> None:
        """Many of one name, by their words in columns, are what they are one by one, of one length or of any."""
        for columns in ([KEYS, VALUES], [KEYS, KEYS[::-1], [b"%d" % 7**count for count in range(40)]], [[b"%b\r\n"]]):
            each = b"".join(encode(b"X%", *words) for words in zip(*columns, strict=True))
            self.assertEqual(operations.encode_each(b"X%", columns), each)


class DecodeTests(SynchronousTestCase):
    """Bodies taken apart."""

    def test_pieces_end_anywhere(self) -> None:
        """The parser is given few bytes at a time: whatever they end in, the operations are the same."""
        body = sets(KEYS[:3], [b"\r\n*1\r\n", b"", b"v" * 50]) + encode_delete(b"k")
        whole = decode(body)
        for size in range(1, len(body)):
            self.patch(operations, "_FED_BYTES", size)
            self.assertEqual(decode(body), whole)
            self.assertRaises(BadOperation, decode, body[:-1])
            self.assertRaises(BadOperation, decode, body + b"PING\r\n*x")

    def test_it_is_never_given_much(self) -> None:
        """Of a large body: what it has used up costs it a copy of all the rest, each time."""
        given: list[int] = []

        class Reader(hiredis.Reader):
            def feed(self, buf: str | bytes, *place: int) -> None:
                given.append(len(buf))
                super().feed(buf, *place)

        self.patch(hiredis, "Reader", Reader)
        self.assertEqual(len(decode(sets(KEYS, VALUES) * 100)), 4000)
        self.assertLessEqual(max(given), 64 * KIB)


class HistoryTests(SynchronousTestCase):
    """The operation that begins a history."""

    def test_the_first_of_a_frame(self) -> None:
        """It is split off, and what is left is the operations on keys, alike or not; any other place is wrong."""
        begun = History("0123456789abcdef", "f" * 16, 12345678901234567890)
        for rest in (b"", sets(KEYS, VALUES), encode_delete(b"k")):
            self.assertEqual(split_history(encode_history(begun) + rest), (begun, rest))
            self.assertEqual(split_history(rest), (None, rest))
            self.assertIs(outcome(rest + encode_history(begun), replay), BadOperation)
        self.assertEqual(decode(encode_history(begun))[0][0], b"HISTORY")

    def test_what_only_looks_like_it(self) -> None:
        """Is not split off, and no version knows it."""
        whole = encode_history(History("0123456789abcdef", "f" * 16, 7))
        for bad in (whole.upper(), whole[:-1], whole.replace(b"*4", b"*3"), whole.replace(b"0123", b"012g")):
            self.assertEqual(split_history(bad), (None, bad))
            self.assertIs(outcome(bad, replay), BadOperation)

    def test_a_key_that_holds_it(self) -> None:
        """A client's bytes are no operation."""
        inside = encode_set(encode_history(History("0" * 16, "0" * 16, 0)), b"v")
        self.assertEqual(split_history(inside), (None, inside))


class AlikeSetsTests(SynchronousTestCase):
    """What is taken for SETs of one size."""

    def test_keys_and_values(self) -> None:
        """They come out in order, and they are counted."""
        found = alike_sets(sets(KEYS, VALUES))
        assert found is not None
        self.assertEqual((found.number, list(found.pairs)), (40, list(zip(KEYS, VALUES, strict=True))))

    def test_the_last_of_a_key_stands(self) -> None:
        """As when they are replayed one by one."""
        body = sets([b"k"] * 40, VALUES)
        self.assertEqual(outcome(body, replay), (40, ({b"k": VALUES[-1]}, {})))

    def test_empty_strings(self) -> None:
        """Keys and values without a byte are of one size, too."""
        found = alike_sets(sets([b""] * 40, [b""] * 40))
        assert found is not None
        self.assertEqual(list(found.pairs), [(b"", b"")] * 40)

    def test_line_ends_and_operations_in_values(self) -> None:
        """Whatever a value holds, its place and length are known."""
        inside = encode_set(b"other", b"value")
        values = [b"\r\n" * 20 + inside, inside + b"*" * 40] * 20
        found = alike_sets(sets(KEYS, values))
        assert found is not None
        self.assertEqual(list(found.pairs), list(zip(KEYS, values, strict=True)))

    def test_what_is_not_alike(self) -> None:
        """Another length, another operation, few of them, nothing at all: those are decoded."""
        for body in (
            sets(KEYS, [*VALUES[:-1], VALUES[-1] + b"!"]),
            sets([*KEYS[:-1], KEYS[-1] + b"!"], VALUES),
            sets(KEYS, VALUES) + encode_delete(b"k"),
            sets(KEYS[:3], VALUES[:3]),
            b"".join(encode_set(key, b"value", 1_000_000_000_000) for key in KEYS),
            b"".join(map(encode_delete, KEYS)),
            b"",
        ):
            self.assertIsNone(alike_sets(body), body[:60])
            self.assertEqual(outcome(body, replay), outcome(body, one_by_one))

    def test_every_byte_changed(self) -> None:
        """A byte that is not as it should be makes neither way do what the other does not."""
        body = sets(KEYS, VALUES)
        size = len(body) // len(KEYS)
        for at in [*range(3 * size), *range(len(body) - size, len(body))]:
            for byte in (b"\r", b"*", b"9", b"0"):
                changed = body[:at] + byte + body[at + 1 :]
                if alike_sets(changed) is not None:
                    self.assertEqual(outcome(changed, replay), outcome(changed, one_by_one), (at, byte))

    def test_every_end(self) -> None:
        """A body that was cut off is not believed."""
        body = sets(KEYS, VALUES)
        for end in range(len(body) - 2 * len(body) // len(KEYS), len(body)):
            self.assertEqual(outcome(body[:end], replay), outcome(body[:end], one_by_one), end)

    def test_deadlines_go(self) -> None:
        """A SET takes away the deadline that its key had."""
        before = ({KEYS[3]: b"old"}, {KEYS[3]: 5, b"other": 6})
        body = sets(KEYS, VALUES)
        self.assertEqual(outcome(body, replay, before), outcome(body, one_by_one, before))
        self.assertEqual(outcome(body, replay, before), (40, (dict(zip(KEYS, VALUES, strict=True)), {b"other": 6})))

    @given(
        st.lists(
            st.one_of(
                st.builds(encode_set, st.binary(max_size=2), st.binary(max_size=2)),
                st.builds(encode_set, st.binary(max_size=2), st.binary(max_size=2), st.integers(0, 9)),
                st.builds(encode_delete, st.binary(max_size=2)),
                st.builds(encode_deadline, st.binary(max_size=2), st.none() | st.integers(0, 9)),
            ),
            max_size=4,
        ),
        st.integers(1, 30),
    )
    def test_any_operations(self, made: list[bytes], times: int) -> None:
        """The state and the number are those of one by one."""
        body = b"".join(made) * times
        self.assertEqual(outcome(body, replay), outcome(body, one_by_one))
