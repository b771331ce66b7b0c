"""The commands on sets."""

from __future__ import annotations

from collections import Counter
from types import GeneratorType
from unittest import mock

from kvstore.base import slices
from kvstore.base.reply import advance
from kvstore.commands import set_algebra, sets
from kvstore.commands.registry import table as commands
from kvstore.wire.resp import encode
from tests.kit.harness import CommandTestCase

_WRONG_TYPE = "!WRONGTYPE Operation against a key holding the wrong kind of value"
_MANY = 3000


class SetTestCase(CommandTestCase):
    """With sets to begin with."""

    def fill(self, key: str, number: int = _MANY, first: int = 0) -> set[bytes]:
        """Make a set of so many members; returns them."""
        members = {b"m%d" % i for i in range(first, first + number)}
        self.do("SADD", key, *members)
        return members


class MemberTests(SetTestCase):
    """Members by name."""

    def test_add_and_remove(self) -> None:
        """SADD counts the members that are new, once each; with the last one the set is gone."""
        self.script("""
            SADD s a b a -> 2
            SADD s a c -> 1
            SADD s a -> 0
            SMEMBERS s -> [b'a', b'b', b'c']
            SCARD s -> 3
            SISMEMBER s a -> 1
            SISMEMBER s d -> 0
            SMISMEMBER s a d b -> [1, 0, 1]
            SREM s d -> 0
            SREM s a d a b -> 2
            SREM s c -> 1
            EXISTS s -> 0
            SREM s c -> 0
            SMEMBERS s -> []
            SCARD s -> 0
            SISMEMBER s a -> 0
            SMISMEMBER s a b -> [0, 0]
            SADD s -> !ERR wrong number of arguments for 'sadd' command
        """)

    def test_nothing_to_do(self) -> None:
        """What changes nothing is not in the log."""
        self.do("SADD", "s", "a", "b")
        before = self.rig.store.pending.count
        for request in ("SADD s a", "SADD s b a", "SREM s x y", "SREM no x", "SMOVE s s a", "SMOVE s t x", "SPOP s 0"):
            self.do(*request.split())
        self.assertEqual(self.rig.store.pending.count, before)

    def test_move(self) -> None:
        """SMOVE takes a member from one set to another, which may have it."""
        self.script(f"""
            SADD s a b -> 2
            SADD t b -> 1
            SMOVE s t a -> 1
            SMOVE s t a -> 0
            SMOVE s s b -> 1
            SMOVE s t b -> 1
            EXISTS s -> 0
            SMEMBERS t -> [b'b', b'a']
            SMOVE t u b -> 1
            SMEMBERS u -> [b'b']
            SET string x -> OK
            SMOVE nosuch string a -> 0
            SMOVE t string nosuch -> {_WRONG_TYPE}
            SMOVE string t a -> {_WRONG_TYPE}
        """)

    def test_types(self) -> None:
        """A set is of its type to every other command, and others are not to its own."""
        self.script(f"""
            SADD s a b -> 2
            TYPE s -> set
            OBJECT ENCODING s -> 'listpack'
            SCAN 0 TYPE set -> [b'0', [b's']]
            COPY s t -> 1
            SADD t c -> 1
            SCARD s -> 2
            RENAME t u -> OK
            SMEMBERS u -> [b'a', b'b', b'c']
            GET s -> {_WRONG_TYPE}
            HGET s a -> {_WRONG_TYPE}
            LPUSH s a -> {_WRONG_TYPE}
            SET string x -> OK
            SET s x -> OK
            RPUSH l x -> 1
        """)
        for row in commands.rows():
            if row.group == "set":
                words = [row.name, "string", "l", "x"] if row.name != "SINTERCARD" else [row.name, "1", "string"]
                if row.name.endswith("STORE"):
                    words = [row.name, "new", "string"]
                elif not row.accepts(4):
                    words = words[: row.least]
                words = ["SPOP", "string"] if row.name == "SPOP" else words
                words = ["SRANDMEMBER", "string"] if row.name == "SRANDMEMBER" else words
                words = ["SSCAN", "string", "0"] if row.name == "SSCAN" else words
                self.assertEqual("!" + self.error(*words), _WRONG_TYPE, row.name)

    def test_replies(self) -> None:
        """What is a set is told as one in RESP3, as an array in RESP2."""
        self.do("SADD", "s", "a", "b")
        for request in ("SMEMBERS s", "SINTER s", "SUNION s", "SDIFF s", "SPOP s 5", "SPOP s 5", "SMEMBERS s"):
            reply = self.do(*request.split())
            self.assertTrue(bytes(encode(reply, 3)).startswith(b"~%d\r\n" % len(reply)), request)
            self.assertTrue(bytes(encode(reply, 2)).startswith(b"*%d\r\n" % len(reply)), request)


class CombinationTests(SetTestCase):
    """Sets and other sets."""

    def test_small(self) -> None:
        """SINTER, SUNION and SDIFF, told, counted and kept."""
        self.script(f"""
            SADD s a b c d -> 4
            SADD t b c e -> 3
            SADD u c f -> 2
            SINTER s t -> [b'b', b'c']
            SINTER s t u -> [b'c']
            SINTER s nosuch -> []
            SUNION s t nosuch -> [b'a', b'b', b'c', b'd', b'e']
            SUNION nosuch -> []
            SDIFF s t nosuch u -> [b'a', b'd']
            SDIFF s s -> []
            SDIFF nosuch s -> []
            SINTERCARD 2 s t -> 2
            SINTERCARD 2 s t LIMIT 1 -> 1
            SINTERCARD 2 s t limit 0 -> 2
            SINTERCARD 1 nosuch -> 0
            SINTERSTORE k s t -> 2
            SMEMBERS k -> [b'b', b'c']
            SUNIONSTORE k t u -> 4
            SDIFFSTORE k k u -> 2
            SMEMBERS k -> [b'b', b'e']
            EXPIRE k 10 -> 1
            SUNIONSTORE k k u -> 4
            TTL k -> -1
            SET k x -> OK
            SINTERSTORE k s t u -> 1
            SDIFFSTORE k s s -> 0
            EXISTS k -> 0
            SINTERSTORE k s nosuch -> 0
            SET string x -> OK
            SINTER nosuch string -> {_WRONG_TYPE}
            SDIFFSTORE k nosuch string -> {_WRONG_TYPE}
        """)

    def test_errors(self) -> None:
        """SINTERCARD's arguments are looked at in Valkey's order."""
        self.script("""
            SINTERCARD 0 s -> !ERR numkeys should be greater than 0
            SINTERCARD x s -> !ERR numkeys should be greater than 0
            SINTERCARD 2 s -> !ERR Number of keys can't be greater than number of args
            SINTERCARD 1 s LIMIT -> !ERR syntax error
            SINTERCARD 1 s FOO 1 -> !ERR syntax error
            SINTERCARD 1 s LIMIT -1 -> !ERR LIMIT can't be negative
            SINTERCARD 1 s LIMIT x -> !ERR LIMIT can't be negative
        """)

    def test_large(self) -> None:
        """The same of large ones, in slices, of what is there when the request comes."""
        one, other = self.fill("s"), self.fill("t", first=1000)
        expected = {"SINTER": one & other, "SUNION": one | other, "SDIFF": one - other}
        with mock.patch.object(slices, "SLICE_NS", 0):
            replies = {}
            for name in expected:
                reply = commands.by_name[name.encode()].function(self.rig.call, b"s", b"t")
                self.assertIsInstance(reply, GeneratorType)
                replies[name] = advance(reply)
            self.do("SREM", "s", *one)
            self.do("SADD", "t", "new")
            for name, reply in replies.items():
                while isinstance(reply, GeneratorType):
                    reply = advance(reply)
                self.assertEqual((set(reply), len(reply)), (expected[name], len(expected[name])), name)

    def test_large_kept(self) -> None:
        """Kept, and counted up to a limit."""
        one, other = self.fill("s"), self.fill("t", first=1000)
        self.assertEqual(self.do("SINTERSTORE", "k", "s", "t"), len(one & other))
        self.assertEqual(set(self.do("SMEMBERS", "k")), one & other)
        self.assertEqual(self.do("SINTERCARD", 2, "s", "t", "LIMIT", 100), 100)
        self.assertEqual(self.do("SINTERCARD", 2, "s", "t"), len(one & other))
        self.assertEqual(self.do("SDIFFSTORE", "s", "s", "t"), len(one - other))
        self.assertEqual(self.rig.replayed(), self.rig.state())

    def test_encodings_of_what_is_left(self) -> None:
        """Where Valkey takes members out of a copy, that stays what the copy was."""
        self.do("SADD", "s", *range(600))
        self.do("SADD", "n", *range(9), "x")
        for key in ("a", "b", "c", "d"):
            self.do("SADD", key, "x", "100")
        self.script("""
            SDIFFSTORE k s a b -> 599
            OBJECT ENCODING k -> 'hashtable'
            SDIFFSTORE k n a b c d -> 9
            OBJECT ENCODING k -> 'listpack'
            SDIFFSTORE k n a -> 9
            OBJECT ENCODING k -> 'intset'
        """)


class ChanceTests(SetTestCase):
    """Members at random."""

    def test_random_members(self) -> None:
        """SRANDMEMBER gives some that are all different or, with a number below 0, so many."""
        for number in (100, _MANY):
            members = self.fill("s", number)
            self.assertIn(self.do("SRANDMEMBER", "s"), members)
            for count in (1, 3, 30, 90, number - 1, number, number + 1, 10**9):
                found = self.do("SRANDMEMBER", "s", count)
                self.assertLessEqual(set(found), members)
                self.assertEqual((len(found), len(set(found))), (min(count, number),) * 2)
            found = self.do("SRANDMEMBER", "s", -10 * number)
            self.assertEqual((len(found), set(found) <= members), (10 * number, True))

    def test_limit(self) -> None:
        """A reply of any number of members, be they empty, is refused before it is made."""
        self.do("SADD", "s", "")
        self.do("HSET", "h", "", "")
        self.rig.server.max_reply_bytes = 10_000
        for name in ("SRANDMEMBER s", "HRANDFIELD h"):
            self.assertIn("reply is larger", self.error(*name.split(), -(2**63) + 1))

    def test_errors(self) -> None:
        """In Valkey's words."""
        self.script("""
            SADD s a -> 1
            SRANDMEMBER nosuch -> None
            SRANDMEMBER nosuch 5 -> []
            SRANDMEMBER s 0 -> []
            SRANDMEMBER s x -> !ERR value is not an integer or out of range
            SRANDMEMBER s 1 x -> !ERR syntax error
            SPOP nosuch -> None
            SPOP nosuch 5 -> []
            SPOP s 0 -> []
            SPOP s -1 -> !ERR value is out of range, must be positive
            SPOP s x -> !ERR value is out of range, must be positive
            SPOP s 1 x -> !ERR syntax error
        """)

    def test_pop(self) -> None:
        """What SPOP takes out is gone, once, and the log says what it was."""
        for number in (100, _MANY):
            for count in (1, 2, number // 2, number * 9 // 10, number - 1, number, number + 5):
                members = self.fill("s", number)
                self.do("EXPIRE", "s", 100)
                popped = self.do("SPOP", "s", count)
                self.assertEqual((len(popped), len(set(popped))), (min(count, number),) * 2)
                self.assertEqual(set(self.do("SMEMBERS", "s")), members - set(popped))
                self.assertEqual(self.do("TTL", "s"), 100 if count < number else -2)
                self.assertEqual(self.rig.replayed(), self.rig.state())
                self.do("DEL", "s")

    def test_pops_of_many(self) -> None:
        """Many SPOPs at once take each member once, in any order."""
        members = self.fill("s", 50)
        self.rig.table.pending.room = 2**40
        popped = sets.spop_many(self.rig.table, [[b"s"] * 40], b"")
        assert popped is not None
        self.assertEqual((len(set(popped)), len(popped)), (40, 40))
        self.assertEqual(set(self.do("SMEMBERS", "s")), members.difference(filter(None, popped)))
        self.assertNotEqual(popped, sorted(popped, key=lambda member: int(member[1:]) if member else 0))
        self.assertIsNone(sets.spop_many(self.rig.table, [[b"s"] * 40], b""))
        self.assertEqual(sets.spop_many(self.rig.table, [[b"nosuch"] * 3], b""), [None] * 3)

    def test_uniform(self) -> None:
        """Each pair is as likely, whichever way members are drawn."""
        self.do("SADD", "s", *range(8))
        for count, pairs in ((2, 28), (6, 28)):
            counts = Counter(frozenset(self.do("SRANDMEMBER", "s", count)) for _ in range(50 * pairs))
            squares = sum((number - 50) ** 2 / 50 for number in counts.values())
            self.assertEqual(len(counts), pairs)
            self.assertLess(squares, pairs + 5 * (2 * pairs) ** 0.5)


class ScanTests(SetTestCase):
    """SSCAN."""

    def test_all(self) -> None:
        """Every member is given; MATCH leaves out others."""
        for number in (100, _MANY):
            members, cursor, seen = self.fill("s", number), b"0", list[bytes]()
            while True:
                cursor, found = self.do("SSCAN", "s", cursor, "COUNT", 50)
                seen += found
                if cursor == b"0":
                    break
            self.assertEqual((set(seen), len(seen)), (members, number))
        self.script("""
            SADD t a1 a2 b1 -> 3
            SSCAN t 0 MATCH a* -> [b'0', [b'a1', b'a2']]
            SSCAN t 0 NOVALUES -> !ERR NOVALUES option can only be used in HSCAN
            SSCAN t x -> !ERR invalid cursor
            SSCAN nosuch 0 -> [b'0', []]
        """)


class LimitTests(SetTestCase):
    """Where what is done at once ends."""

    def test_at_once(self) -> None:
        """At the limit the reply is there at once, past it it comes in slices."""
        for number, sliced in ((sets._AT_ONCE, False), (sets._AT_ONCE + 1, True)):
            self.fill(f"s{number}", number)
            for reply in (
                sets.smembers(self.rig.call, b"s%d" % number),
                sets.srandmember(self.rig.call, b"s%d" % number, b"%d" % number),
                set_algebra.sunion(self.rig.call, b"s%d" % number),
            ):
                self.assertEqual(isinstance(reply, GeneratorType), sliced)
