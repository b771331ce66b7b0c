"""The list commands: every option, every error, and lists that are long."""

from __future__ import annotations

from kvstore.base.reply import NULL_ARRAY
from tests.kit.harness import CommandTestCase

WRONG = "!WRONGTYPE Operation against a key holding the wrong kind of value"
NOT_AN_INTEGER = "!ERR value is not an integer or out of range"


class PushTests(CommandTestCase):
    """What puts elements in."""

    def test_push(self) -> None:
        """Left and right, one and many, to a list that exists or not; how many there are is the reply."""
        self.script("""
            RPUSH a 1 2 -> 2
            LPUSH a 3 4 -> 4
            LRANGE a 0 -1 -> [b'4', b'3', b'1', b'2']
            LPUSHX b 1 -> 0
            RPUSHX b 1 -> 0
            LPUSHX a 5 -> 5
            RPUSHX a 6 7 -> 7
            LRANGE a 0 -1 -> [b'5', b'4', b'3', b'1', b'2', b'6', b'7']
            EXISTS b -> 0
            RPUSH a -> !ERR wrong number of arguments for 'rpush' command
        """)

    def test_insert(self) -> None:
        """LINSERT before and after the first that fits; 0 without a list, -1 without such an element."""
        self.script("""
            RPUSH a x y x -> 3
            LINSERT a before x 1 -> 4
            LINSERT a AFTER x 2 -> 5
            LRANGE a 0 -1 -> [b'1', b'x', b'2', b'y', b'x']
            LINSERT a AFTER z 2 -> -1
            LINSERT b AFTER z 2 -> 0
            LINSERT b BESIDE z 2 -> !ERR syntax error
        """)

    def test_set(self) -> None:
        """LSET from both ends, and past them."""
        self.script(f"""
            RPUSH a x y z -> 3
            LSET a 0 1 -> OK
            LSET a -1 3 -> OK
            LRANGE a 0 -1 -> [b'1', b'y', b'3']
            LSET a 3 x -> !ERR index out of range
            LSET a -4 x -> !ERR index out of range
            LSET a x x -> {NOT_AN_INTEGER}
            LSET b x x -> !ERR no such key
        """)

    def test_a_list_keeps_its_deadline(self) -> None:
        """As long as there is an element; a list that is made anew has none."""
        self.script("""
            RPUSH a 1 -> 1
            EXPIRE a 100 -> 1
            RPUSH a 2 -> 2
            LPOP a -> b'1'
            LMOVE a a LEFT RIGHT -> b'2'
            LMOVE a a RIGHT RIGHT -> b'2'
            TTL a -> 100
            LPOP a -> b'2'
            RPUSH a 1 -> 1
            TTL a -> -1
        """)


class ReadTests(CommandTestCase):
    """What reads."""

    def test_range_and_index(self) -> None:
        """Indices from both ends, and past them."""
        self.script(f"""
            LRANGE a 0 -1 -> []
            LLEN a -> 0
            LINDEX a x -> None
            RPUSH a 1 2 3 4 -> 4
            LLEN a -> 4
            LRANGE a 1 2 -> [b'2', b'3']
            LRANGE a -2 100 -> [b'3', b'4']
            LRANGE a -100 0 -> [b'1']
            LRANGE a 3 1 -> []
            LRANGE a 4 5 -> []
            LRANGE a 0 -5 -> []
            LRANGE a x 1 -> {NOT_AN_INTEGER}
            LINDEX a 0 -> b'1'
            LINDEX a -4 -> b'1'
            LINDEX a 4 -> None
            LINDEX a -5 -> None
            LINDEX a x -> {NOT_AN_INTEGER}
        """)

    def test_positions(self) -> None:
        """LPOS from both ends, some or all, and not past MAXLEN; the last of repeated options counts."""
        self.script("""
            RPUSH a x y x z x -> 5
            LPOS a x -> 0
            LPOS a q -> None
            LPOS b x -> None
            LPOS b x COUNT 1 -> []
            LPOS a x RANK 2 -> 2
            LPOS a x RANK -1 -> 4
            LPOS a x RANK -2 count 2 -> [2, 0]
            LPOS a x COUNT 0 -> [0, 2, 4]
            LPOS a x COUNT 0 MAXLEN 3 -> [0, 2]
            LPOS a x RANK -1 COUNT 0 MAXLEN 3 -> [4, 2]
            LPOS a x RANK 4 COUNT 0 -> []
            LPOS a x COUNT 1 COUNT 2 -> [0, 2]
            LPOS a x COUNT -1 -> !ERR COUNT can't be negative
            LPOS a x MAXLEN x -> !ERR MAXLEN can't be negative
            LPOS a x RANK x -> !ERR value is not an integer or out of range
            LPOS a x RANK -> !ERR syntax error
            LPOS a x FOO 1 -> !ERR syntax error
        """)
        self.assertIn("RANK can't be zero: use 1 to start", self.error("LPOS", "a", "x", "RANK", 0))
        self.assertIn("value must between -9223372036854775807", self.error("LPOS", "a", "x", "RANK", -(2**63)))

    def test_types(self) -> None:
        """Each command refuses a string; the string commands refuse a list, and TYPE and OBJECT ENCODING tell it."""
        self.do("SET", "s", 1)
        self.do("RPUSH", "a", 1)
        requests = (
            "LPUSH s 1|RPUSHX s 1|LINSERT s BEFORE 1 2|LSET s 0 1|LLEN s|LINDEX s 0|LRANGE s 0 1|LPOS s 1|LPOP s"
            "|RPOP s 0|LREM s 0 1|LTRIM s 0 1|LMPOP 2 b s LEFT|LMOVE s a LEFT LEFT|LMOVE a s LEFT LEFT"
            "|RPOPLPUSH s a|GET a|APPEND a x|INCR a"
        )
        for request in requests.split("|"):
            self.script(f"{request} -> {WRONG}")
        self.script("""
            TYPE a -> list
            OBJECT ENCODING a -> 'listpack'
            SET a 1 -> OK
            TYPE a -> string
        """)


class TakeTests(CommandTestCase):
    """What takes elements out, and puts them elsewhere."""

    def test_pop(self) -> None:
        """One, some, none, all; the list is gone with its last element."""
        self.script("""
            LPOP a -> None
            LPOP a 1 -> NULL_ARRAY
            RPUSH a 1 2 3 4 5 -> 5
            LPOP a -> b'1'
            RPOP a -> b'5'
            LPOP a 0 -> []
            RPOP a 2 -> [b'4', b'3']
            LPOP a 9 -> [b'2']
            EXISTS a -> 0
            LPOP a -1 -> !ERR value is out of range, must be positive
            RPOP a x -> !ERR value is out of range, must be positive
            LPOP a 1 2 -> !ERR wrong number of arguments for 'lpop' command
        """)

    def test_remove_and_trim(self) -> None:
        """LREM from both ends; LTRIM to some, all, none."""
        self.script("""
            RPUSH a x y x z x -> 5
            LREM a 1 x -> 1
            LREM a -1 x -> 1
            LRANGE a 0 -1 -> [b'y', b'x', b'z']
            LREM a 0 q -> 0
            LREM b 0 q -> 0
            RPUSH a x -> 4
            LREM a 0 x -> 2
            LTRIM a 0 -1 -> OK
            LTRIM a -1 5 -> OK
            LRANGE a 0 -1 -> [b'z']
            LTRIM a 1 0 -> OK
            EXISTS a -> 0
            LTRIM a 1 0 -> OK
            RPUSH a x -> 1
            LREM a 0 x -> 1
            EXISTS a -> 0
        """)
        expected = "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807"
        self.assertEqual(self.error("LREM", "a", -(2**63), "x"), expected)

    def test_mpop(self) -> None:
        """LMPOP takes from the first list there is."""
        self.script("""
            LMPOP 2 a b LEFT -> NULL_ARRAY
            RPUSH b 1 2 3 4 -> 4
            LMPOP 2 a b LEFT -> [b'b', [b'1']]
            LMPOP 1 b right COUNT 2 -> [b'b', [b'4', b'3']]
            LMPOP 1 b LEFT COUNT 9 -> [b'b', [b'2']]
            EXISTS b -> 0
            LMPOP 0 b LEFT -> !ERR numkeys should be greater than 0
            LMPOP x b LEFT -> !ERR numkeys should be greater than 0
            LMPOP 2 b LEFT -> !ERR syntax error
            LMPOP 1 b UP -> !ERR syntax error
            LMPOP 1 b LEFT COUNT 0 -> !ERR count should be greater than 0
            LMPOP 1 b LEFT COUNT 1 COUNT 1 -> !ERR syntax error
            LMPOP 1 b LEFT COUNT -> !ERR syntax error
            COMMAND GETKEYS LMPOP 2 a b LEFT -> [b'a', b'b']
        """)

    def test_move(self) -> None:
        """LMOVE and RPOPLPUSH between two lists and within one."""
        self.script("""
            LMOVE a b LEFT LEFT -> None
            RPUSH a 1 2 3 -> 3
            LMOVE a b LEFT RIGHT -> b'1'
            RPOPLPUSH a b -> b'3'
            LRANGE b 0 -1 -> [b'3', b'1']
            RPOPLPUSH b b -> b'1'
            LMOVE b b LEFT LEFT -> b'1'
            LRANGE b 0 -1 -> [b'1', b'3']
            LMOVE a b RIGHT RIGHT -> b'2'
            EXISTS a -> 0
            LMOVE a b UP LEFT -> !ERR syntax error
        """)


class LongTests(CommandTestCase):
    """Lists of many blocks."""

    def setUp(self) -> None:
        """A list of 20,000 numbers."""
        super().setUp()
        self.elements = [b"%d" % number for number in range(20_000)]
        for start in range(0, 20_000, 1000):
            self.do("RPUSH", "a", *self.elements[start : start + 1000])

    def test_reading(self) -> None:
        """Whole, and searched through."""
        self.assertEqual(self.do("LRANGE", "a", 0, -1), self.elements)
        self.assertEqual(self.do("LRANGE", "a", 7000, 7099), self.elements[7000:7100])
        self.assertEqual(self.do("LINDEX", "a", 12_345), b"12345")
        self.assertEqual(self.do("LPOS", "a", 19_999), 19_999)
        self.assertEqual(self.do("LPOS", "a", 19_999, "MAXLEN", 19_999), None)
        self.assertEqual(self.do("LPOS", "a", 7, "RANK", -1, "COUNT", 0), [7])
        self.assertEqual(self.do("OBJECT", "ENCODING", "a"), "quicklist")

    def test_copying_and_renaming(self) -> None:
        """A copy is its own."""
        self.script("""
            COPY a b -> 1
            LTRIM a 0 0 -> OK
            RENAME b c -> OK
            LLEN c -> 20000
            LINDEX c 19999 -> b'19999'
            LRANGE a 0 -1 -> [b'0']
        """)

    def test_undone_in_a_full_disk(self) -> None:
        """A move whose second half finds no room leaves both lists as they were."""
        self.rig.room_bytes = self.rig.store.pending.size_bytes + 50
        self.assertIn("MISCONF", self.error("LMOVE", "a", "b", "LEFT", "LEFT"))
        self.assertEqual(self.do("LLEN", "a"), 20_000)
        self.assertEqual(self.do("LPOP", "b", 1), NULL_ARRAY)
