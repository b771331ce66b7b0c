"""Streams: what hangs on the clock, what other commands make of a stream, long ones; and who waits for entries.

Replies and errors are compared with Valkey's, at random, in test_commands_against_valkey.
"""

from __future__ import annotations

from kvstore.base.reply import Pairs
from tests.kit.blocking import NULL_ARRAY, BlockingTestCase, array, string
from tests.kit.harness import START_MS, CommandTestCase


class StreamTests(CommandTestCase):
    """XADD and what reads."""

    def test_ids_of_the_clock(self) -> None:
        """`*` is the time, or follows the last id if the clock is behind it; the log has what was drawn."""
        self.assertEqual(self.do("XADD", "s", "*", "f", "v"), b"%d-0" % START_MS)
        self.assertEqual(self.do("XADD", "s", "*", "f", "v"), b"%d-1" % START_MS)
        self.rig.now_ms -= 5
        self.assertEqual(self.do("XADD", "s", "*", "f", "v"), b"%d-2" % START_MS)
        self.rig.now_ms += 50
        self.assertEqual(self.do("XADD", "s", "*", "f", "v"), b"%d-0" % (START_MS + 45))
        self.assertEqual(self.rig.replayed(), self.rig.state())

    def test_the_last_sequence_number(self) -> None:
        """After it the next millisecond begins; a whole id that is not free is refused."""
        self.do("XADD", "s", f"{START_MS + 1}-18446744073709551615", "f", "v")
        self.assertEqual(self.do("XADD", "s", "*", "f", "v"), b"%d-0" % (START_MS + 2))

    def test_other_commands(self) -> None:
        """A stream is a value like others."""
        self.do("XADD", "s", "1-1", "f", "v")
        self.script("""
            TYPE s -> stream
            OBJECT ENCODING s -> 'stream'
            GET s -> !WRONGTYPE Operation against a key holding the wrong kind of value
            RPUSH s x -> !WRONGTYPE Operation against a key holding the wrong kind of value
            COPY s t -> 1
            RENAME t u -> OK
            SCAN 0 TYPE stream COUNT 100 -> [b'0', [b's', b'u']]
            XDEL u 1-1 -> 1
            XLEN u -> 0
            XLEN s -> 1
            EXISTS u -> 1
            MOVE u 1 -> 1
            SET x y -> OK
            XADD x 1-1 f v -> !WRONGTYPE Operation against a key holding the wrong kind of value
            XREAD STREAMS s x 0 0 -> !WRONGTYPE Operation against a key holding the wrong kind of value
        """)

    def test_hundreds(self) -> None:
        """Over many blocks, in both directions, with and without bounds."""
        for number in range(1, 351):
            self.do("XADD", "s", f"{number // 7}-{number}", "field", str(number))
        entries = [[b"%d-%d" % (n // 7, n), [b"field", b"%d" % n]] for n in range(1, 351)]
        self.assertEqual(self.do("XRANGE", "s", "-", "+"), entries)
        self.assertEqual(self.do("XREVRANGE", "s", "+", "-"), entries[::-1])
        self.assertEqual(self.do("XREVRANGE", "s", "45", "11", "COUNT", "260"), entries[76:321][::-1])
        self.assertEqual(self.do("XRANGE", "s", "(11-77", "45-317", "COUNT", "230"), entries[77:307])
        self.assertEqual(self.do("XREAD", "COUNT", "3", "STREAMS", "s", "28-200"), Pairs([(b"s", entries[200:203])]))
        self.assertEqual(self.do("XTRIM", "s", "MAXLEN", "~", "120"), 200)
        self.assertEqual(self.do("XTRIM", "s", "MAXLEN", "~", "120", "LIMIT", "1000"), 0)
        self.assertEqual(self.do("XTRIM", "s", "MINID", "35-246"), 45)
        self.assertEqual(self.do("XRANGE", "s", "-", "+"), entries[245:])

    def test_blocks_of_another_size(self) -> None:
        """A setting says how many entries `~` removes at once, and how many at most; the last ones go with all."""
        self.do("CONFIG", "SET", "stream-node-max-entries", "10")
        for number in range(1, 102):
            self.do("XADD", "s", f"{number}-1", "f", "v")
        for words, gone in (
            ("MAXLEN ~ 55 LIMIT 30", 30), ("MAXLEN ~ 55 LIMIT 30", 10), ("MINID ~ 50-1", 0), ("MINID ~ 51-1", 10),
            ("MAXLEN ~ 0 LIMIT 9", 0), ("MINID ~ 102", 51),
        ):  # fmt: skip
            self.assertEqual(self.do("XTRIM", "s", *words.split()), gone, words)

    def test_blocks_of_one(self) -> None:
        """Of these a hundred are removed at most."""
        self.do("CONFIG", "SET", "stream-node-max-entries", "1")
        for number in range(1, 103):
            self.do("XADD", "s", f"{number}-1", "f", "v")
        self.assertEqual(self.do("XTRIM", "s", "MAXLEN", "~", "1"), 100)

    def test_thousands_are_read_in_slices(self) -> None:
        """As they were when the request came."""
        for number in range(1, 2400):
            self.do("XADD", "s", f"1-{number}", "f", "v")
        self.assertEqual(len(self.do("XRANGE", "s", "-", "+")), 2399)
        self.assertEqual(self.do("XREVRANGE", "s", "+", "-", "COUNT", "2000")[-1][0], b"1-400")

    def test_in_a_block(self) -> None:
        """Nobody waits there."""
        self.do("MULTI")
        self.do("XREAD", "BLOCK", "0", "STREAMS", "s", "$")
        self.do("XADD", "s", "1-1", "f", "v")
        self.assertEqual(repr(self.do("EXEC")), "[NULL_ARRAY, b'1-1']")


class WaitingTests(BlockingTestCase):
    """XREAD BLOCK."""

    def entry(self, key: bytes, *entries: bytes) -> bytes:
        """The reply of an XREAD of one stream; each entry has field f and value v."""
        shown = b"".join(b"*2\r\n" + string(each) + array(b"f", b"v") for each in entries)
        return b"*1\r\n*2\r\n" + string(key) + b"*%d\r\n" % len(entries) + shown

    def test_all_readers_get_it(self) -> None:
        """A stream is no queue; when its commit is on disk, and not before."""
        self.wait("XREAD BLOCK 0 STREAMS s $", "XREAD BLOCK 0 STREAMS t s 0 0", "XREAD BLOCK 0 STREAMS s 5")
        self.pusher.ask("XADD s 1-1 f v")
        self.assertEqual(self.served(), [b""] * 3)
        self.serving.commit()
        self.assertEqual(self.served(), [self.entry(b"s", b"1-1")] * 2 + [b""])
        self.push("XADD s 6-1 f v")
        self.assertEqual(self.served(), [b"", b"", self.entry(b"s", b"6-1")])

    def test_a_whole_block(self) -> None:
        """Is seen at its end; with + only its last entry."""
        self.wait("XREAD BLOCK 0 STREAMS s $", "XREAD BLOCK 0 STREAMS s +", "XREAD COUNT 1 BLOCK 0 STREAMS s $")
        self.push("MULTI", "XADD s 1-1 f v", "XADD s 1-2 f v", "EXEC")
        self.assertEqual(
            self.served(), [self.entry(b"s", b"1-1", b"1-2"), self.entry(b"s", b"1-2"), self.entry(b"s", b"1-1")]
        )  # fmt: skip

    def test_what_is_nothing_new(self) -> None:
        """Deletions, another type, a stream that goes: they wait on."""
        self.push("XADD s 1-1 f v")
        self.wait("XREAD BLOCK 0 STREAMS s $")
        self.push("XDEL s 1-1", "DEL s", "RPUSH s x", "DEL s")
        self.assertEqual(self.served()[0], b"")
        self.push("XADD s 1-2 f v")
        self.assertEqual(self.served()[0], self.entry(b"s", b"1-2"))

    def test_a_stream_without_entries(self) -> None:
        """That it is there now lets them look at their keys again; one may hold another type by then."""
        self.wait("XREAD BLOCK 0 STREAMS s t $ $", "XREAD BLOCK 0 STREAMS s $")
        self.push("RPUSH t x")
        self.assertEqual(self.served()[:2], [b"", b""])
        self.push("XGROUP CREATE s g $ MKSTREAM")
        self.assertEqual([reply[:10] for reply in self.served()[:2]], [b"-WRONGTYPE", b""])

    def test_time_is_up(self) -> None:
        """As for all who wait."""
        self.wait("XREAD BLOCK 20 STREAMS s $")
        self.serving.clock.advance(0.03)
        self.assertEqual(self.served()[0], NULL_ARRAY)
