"""The entries of a shared log as bytes."""

from __future__ import annotations

from typing import Any

import hiredis
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.errors import NewerVersion
from kvstore.base.shared_log import (
    MAX_NODE_BYTES,
    NO_CHECKSUM,
    NOTHING,
    BadEntry,
    Entries,
    Entry,
    Kind,
    Standing,
    chained,
    decode,
    difference,
    encode,
    encode_slots,
    heading,
    is_entry,
    named,
)

_ENTRY = Entry(Kind.FRAME, 3, "a:6380", 1_700_000_000_000_000, 2000, "0123456789abcdef", b"*1\r\n$8\r\nFLUSHALL\r\n")
_NAMES = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=MAX_NODE_BYTES)
_NUMBERS = st.integers(0, 2**63 - 1)
_CHECKSUMS = st.integers(0, 2**64 - 1).map("{:016x}".format)
_KINDS = st.sampled_from([(Kind.SLOTS, encode_slots("0-5460,9"))]) | st.tuples(
    st.sampled_from([kind for kind in Kind if kind is not Kind.SLOTS]), st.binary()
)
_ENTRIES = st.builds(
    lambda kind, *others: Entry(kind[0], *others[:-1], kind[1], others[-1]),
    _KINDS, _NUMBERS, _NAMES, _NUMBERS, _NUMBERS, _CHECKSUMS, st.just("") | _NAMES,
)  # fmt: skip


class CodecTests(SynchronousTestCase):
    """Encoding and decoding."""

    @given(_ENTRIES)
    def test_any(self, entry: Entry) -> None:
        """What is decoded is what was encoded."""
        self.assertEqual(decode(encode(entry)), entry)

    @given(_ENTRIES)
    def test_any_is_resp(self, entry: Entry) -> None:
        """One array, then the operations."""
        reader = hiredis.Reader()
        reader.feed(heading(entry))
        words = reader.gets()
        self.assertEqual((words[:2], len(words), reader.has_data()), ([b"ENTRY", b"1"], 9, False))

    def test_bytes(self) -> None:
        """As they are on disks for good."""
        self.assertEqual(
            encode(_ENTRY),
            b"*9\r\n$5\r\nENTRY\r\n$1\r\n1\r\n$5\r\nframe\r\n$1\r\n3\r\n$6\r\na:6380\r\n$16\r\n1700000000000000\r\n"
            b"$4\r\n2000\r\n$16\r\n0123456789abcdef\r\n$0\r\n\r\n*1\r\n$8\r\nFLUSHALL\r\n",
        )

    def test_newer(self) -> None:
        """Of a later version, whatever follows; or a kind that is unknown. The file is named."""
        for data in (
            b"*2\r\n$5\r\nENTRY\r\n$2\r\n12\r\n",
            encode(_ENTRY).replace(b"$5\r\nframe", b"$4\r\npart"),
        ):
            error = self.assertRaises(NewerVersion, decode, data, "table.txn", 4096)
            self.assertIn("table.txn, byte 4096: an entry of the unknown", str(error))
            self.assertTrue(is_entry(data))

    def test_bad(self) -> None:
        """Another operation; cut off; other lengths; a name with a space; bytes that are no ASCII."""
        whole = encode(_ENTRY)
        for data in (
            b"",
            b"*1\r\n$8\r\nFLUSHALL\r\n",
            heading(_ENTRY)[:-1],
            whole.replace(b"$6\r\na:6380", b"$7\r\na:6380"),
            whole.replace(b"$1\r\n3", b"$2\r\n03"),
            whole.replace(b"a:6380", b"a 6380"),
            whole.replace(b"a:6380", b"a\xe46380"),
            whole.replace(b"$5\r\nframe", b"$6\r\nframe\n"),
        ):
            self.assertRaises(BadEntry, decode, data)

    def test_operations_are_no_entries(self) -> None:
        """A key of that name is none, either."""
        for data in (b"", b"*1\r\n$8\r\nFLUSHALL\r\n", b"*2\r\n$3\r\nDEL\r\n$5\r\nENTRY\r\n"):
            self.assertFalse(is_entry(data))


class NameTests(SynchronousTestCase):
    """Names of nodes."""

    def test_longest(self) -> None:
        """And one more; none; what others could not read."""
        for name in ("a", "a:6380", "x" * MAX_NODE_BYTES):
            self.assertEqual(named(name), name)
        for name in ("", "a b", "a\n", "\xe4", "x" * (MAX_NODE_BYTES + 1)):
            self.assertRaises(ValueError, named, name)


class ChecksumTests(SynchronousTestCase):
    """The running checksum."""

    def test_bytes(self) -> None:
        """As they are on disks for good."""
        self.assertEqual(chained(NO_CHECKSUM, _ENTRY).checksum, "889bdbaf725237d0")

    def test_covers_everything(self) -> None:
        """All words, the operations, and the log before."""
        others: list[dict[str, Any]] = [
            {"kind": Kind.LEADERSHIP}, {"epoch": 4}, {"node": "b:6380"}, {"time_us": 1}, {"lease_ms": 1},
            {"body": b""}, {"successor": "b"},
        ]  # fmt: skip
        found = {chained(NO_CHECKSUM, _ENTRY._replace(**other)).checksum for other in others}
        found |= {chained(before, _ENTRY).checksum for before in (NO_CHECKSUM, "1" * 16)}
        self.assertEqual(len(found), len(others) + 2)

    def test_own_checksum_is_no_part_of_it(self) -> None:
        """So that it can be computed again."""
        once = chained(NO_CHECKSUM, _ENTRY)
        self.assertEqual(chained(NO_CHECKSUM, once), once)


class StandingTests(SynchronousTestCase):
    """Where a node stands."""

    def test_after(self) -> None:
        """One entry more."""
        self.assertEqual(NOTHING.after(_ENTRY), Standing(1, 3, 2000, "0123456789abcdef"))

    def test_slots(self) -> None:
        """They are the group's from their entry on; there are no operations in it."""
        entry = Entry(Kind.SLOTS, 3, "a:6380", 1, 2000, "0123456789abcdef", encode_slots("0-5460,9000"))
        standing = NOTHING.after(entry).after(_ENTRY)
        self.assertEqual((standing.slots, entry.operations), ("0-5460,9000", b""))
        self.assertEqual(Standing.of_word(2, standing.word), standing)
        self.assertRaises(BadEntry, decode, encode(entry._replace(body=b"*1\r\n$5\r\nSLOTS\r\n")))

    def test_word(self) -> None:
        """As a file's header has it, beside the position."""
        standing = Standing(7, 3, 2000, "0123456789abcdef")
        self.assertEqual(standing.word, "3.2000.0123456789abcdef")
        self.assertEqual(Standing.of_word(7, standing.word), standing)
        self.assertRaises(ValueError, Standing.of_word, 7, "3.2000")


class DifferenceTests(SynchronousTestCase):
    """Whether a log is the one in which somebody stands somewhere."""

    def setUp(self) -> None:
        """Two entries, and two of another log behind the same beginning."""
        self.one = chained(NO_CHECKSUM, _ENTRY)
        self.two = chained(self.one.checksum, _ENTRY._replace(time_us=8))
        self.other = chained(NO_CHECKSUM, _ENTRY._replace(time_us=9))
        self.standing = NOTHING.after(self.one)

    def difference(self, first: int, *entries: Entry | bytes) -> str:
        """Of a log that begins there, for who has the first entry."""
        data = [each if isinstance(each, bytes) else encode(each) for each in entries]
        return difference(self.standing, Entries(list(enumerate(data, first)), first + len(data) - 1))

    def test_the_same_log(self) -> None:
        """The newest entry is there; or it was trimmed, and the next one goes on from it."""
        self.assertEqual(self.difference(1, self.one), "")
        self.assertEqual(self.difference(1, self.one, self.two), "")
        self.assertEqual(self.difference(2, self.two), "")

    def test_another_log(self) -> None:
        """It is another entry, or the next one goes on from another; neither is there, or is none."""
        self.assertIn("entry 1 is another one", self.difference(1, self.other, self.two))
        after_other = chained(self.other.checksum, _ENTRY._replace(time_us=8))
        self.assertIn("entry 2 is another one", self.difference(2, after_other))
        self.assertIn("entry 2 cannot be read", self.difference(2, b"damage"))
        self.assertIn("entry 1 cannot be read", self.difference(1, b"damage"))
        self.assertIn("has lost entries: its newest is 0, and 1 was in it", self.difference(1))
