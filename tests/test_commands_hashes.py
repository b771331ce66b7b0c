"""The commands on hashes, and on the deadlines of their fields."""

from __future__ import annotations

from types import GeneratorType
from typing import Any
from unittest import mock

from kvstore.base import slices
from kvstore.base.reply import Status, advance
from kvstore.commands import hashes
from kvstore.commands import table as commands
from kvstore.values.hashes import MAX_SMALL_FIELDS
from tests.kit.harness import START_MS, CommandTestCase

_WRONG_TYPE = "!WRONGTYPE Operation against a key holding the wrong kind of value"
_WRONG_NUMBER = "!ERR numfields should be greater than 0 and match the provided number of fields"
_MANY = MAX_SMALL_FIELDS + 300


class HashTestCase(CommandTestCase):
    """With hashes to begin with."""

    def fill(self, key: str, number: int = _MANY) -> dict[bytes, bytes]:
        """Make a hash of so many fields; returns them."""
        fields = {b"f%d" % i: b"v%d" % i for i in range(number)}
        self.do("HSET", key, *(word for pair in fields.items() for word in pair))
        return fields


class FieldTests(HashTestCase):
    """Fields and their values."""

    def test_set_and_get(self) -> None:
        """HSET counts the fields that are new, once each."""
        self.script("""
            HSET h a 1 b 2 a 3 -> 2
            HSET h a 4 c 5 -> 1
            HGET h a -> b'4'
            HGET h nosuch -> None
            HGET nosuch a -> None
            HMGET h c nosuch a -> [b'5', None, b'4']
            HMGET nosuch c d -> [None, None]
            HLEN h -> 3
            HLEN nosuch -> 0
            HEXISTS h a -> 1
            HEXISTS h d -> 0
            HSTRLEN h a -> 1
            HSTRLEN h d -> 0
            HGETALL h -> {b'a': b'4', b'b': b'2', b'c': b'5'}
            HKEYS h -> [b'a', b'b', b'c']
            HVALS h -> [b'4', b'2', b'5']
            HGETALL nosuch -> {}
            HKEYS nosuch -> []
            HMSET h d 6 -> OK
            HSETNX h d 7 -> 0
            HSETNX h e 7 -> 1
            HSETNX new e 7 -> 1
            HSET h a -> !ERR wrong number of arguments for 'hset' command
            HSET h a 1 b -> !ERR wrong number of arguments for 'hset' command
            HMSET h a 1 b -> !ERR wrong number of arguments for 'hmset' command
        """)

    def test_remove(self) -> None:
        """HDEL counts each field that it removes once; with its last field the key is gone."""
        self.script("""
            HSET h a 1 b 2 c 3 -> 3
            HDEL h a a nosuch -> 1
            HDEL h b c -> 2
            EXISTS h -> 0
            HDEL h a -> 0
            TYPE h -> none
        """)

    def test_any_bytes(self) -> None:
        """Fields and values may be any bytes, and empty."""
        odd = [b"", b"\xff", b"\xfe\xfd", b"\r\n\x00", b"x" * 5000]
        words = [word for field in odd for word in (field, field[::-1])]
        for more in (0, _MANY):
            self.fill("h", 1 + more)
            self.do("HSET", "h", *words)
            self.assertEqual(self.do("HMGET", "h", *odd), [field[::-1] for field in odd])

    def test_numbers(self) -> None:
        """HINCRBY and HINCRBYFLOAT add to what a field holds, which has to be a number."""
        self.script("""
            HINCRBY h a 5 -> 5
            HINCRBY h a -7 -> -2
            HINCRBYFLOAT h a 0.1 -> b'-1.9'
            HINCRBY h a 1 -> !ERR hash value is not an integer
            HINCRBY h b x -> !ERR value is not an integer or out of range
            HINCRBY h b 9223372036854775807 -> 9223372036854775807
            HINCRBY h b 1 -> !ERR increment or decrement would overflow
            HSET h s str -> 1
            HINCRBYFLOAT h s 1 -> !ERR hash value is not a float
            HINCRBYFLOAT h a x -> !ERR value is not a valid float
            HINCRBYFLOAT h a inf -> !ERR value is NaN or Infinity
            HGETALL h -> {b'a': b'-1.9', b'b': b'9223372036854775807', b's': b'str'}
            HSET h c 1e4932 -> 1
            HINCRBYFLOAT h c 1e4932 -> !ERR increment would produce NaN or Infinity
        """)

    def test_wrong_type(self) -> None:
        """No command of hashes does anything with a string, and none of strings with a hash."""
        self.script(f"""
            SET s 1 -> OK
            HSET s a 1 -> {_WRONG_TYPE}
            HGET s a -> {_WRONG_TYPE}
            HGETALL s -> {_WRONG_TYPE}
            HSCAN s 0 COUNT 0 -> {_WRONG_TYPE}
            HSCAN s x -> !ERR invalid cursor
            HEXPIRE s 1 FIELDS 1 a -> {_WRONG_TYPE}
            HSETEX s EX 0 FIELDS 1 a 1 -> {_WRONG_TYPE}
            HSET h a 1 -> 1
            GET h -> {_WRONG_TYPE}
            INCR h -> {_WRONG_TYPE}
            SET h 2 -> OK
            GET h -> b'2'
        """)

    def test_undo(self) -> None:
        """When the disk is full nothing of a request is done."""
        self.fill("h")
        self.do("HEXPIRE", "h", 100, "FIELDS", 1, "f1")
        self.rig.room_bytes = self.rig.store.pending.size_bytes
        requests = "HSET h f1 2|HINCRBY h n 1|HSETEX h EX 5 FIELDS 1 f2 3|HDEL h f5|HPERSIST h FIELDS 1 f1"
        for request in requests.split("|"):
            self.assertIn("MISCONF", self.error(*request.split()))
        self.rig.room_bytes += 60
        self.assertIn("MISCONF", self.error("HSETEX", "h", "EX", 5, "FIELDS", 1, "f2", "3"))


class KeyTests(HashTestCase):
    """What commands on keys of any type do with hashes."""

    def test_type_and_encoding(self) -> None:
        """OBJECT ENCODING changes at Valkey's thresholds."""
        self.fill("h", MAX_SMALL_FIELDS)
        self.script("""
            TYPE h -> hash
            OBJECT ENCODING h -> 'listpack'
            HSET h g 1 -> 1
            OBJECT ENCODING h -> 'hashtable'
            HSET i a 1 -> 1
            HEXPIRE i 100 FIELDS 1 a -> [1]
            OBJECT ENCODING i -> 'hashtable'
        """)

    def test_copy_and_rename(self) -> None:
        """A copy is of its own; fields keep their deadlines."""
        self.script("""
            HSET h a 1 b 2 -> 2
            HEXPIRE h 100 FIELDS 1 a -> [1]
            COPY h c -> 1
            HDEL h b -> 1
            RENAME h r -> OK
            HGETALL c -> {b'a': b'1', b'b': b'2'}
            HGETALL r -> {b'a': b'1'}
            HTTL c FIELDS 2 a b -> [100, -1]
            HTTL r FIELDS 1 a -> [100]
            EXISTS h -> 0
            EXPIRE c 5 -> 1
            HSET c d 1 -> 1
            TTL c -> 5
        """)

    def test_scan_by_type(self) -> None:
        """SCAN TYPE hash gives hashes."""
        self.script("""
            HSET h a 1 -> 1
            SET s 1 -> OK
            SCAN 0 TYPE hash COUNT 100 -> [b'0', [b'h']]
            SCAN 0 NOVALUES -> !ERR NOVALUES option can only be used in HSCAN
        """)

    def test_an_expired_hash(self) -> None:
        """A hash past its own deadline is none; what is written is a new one."""
        self.script("HSET h a 1 b 2 -> 2")
        self.do("PEXPIRE", "h", 5)
        self.rig.now_ms += 5
        self.script("""
            HGETALL h -> {}
            HLEN h -> 0
            HSET h c 1 -> 1
            HGETALL h -> {b'c': b'1'}
            TTL h -> -1
        """)


class AllTests(HashTestCase):
    """Replies with all fields, and those picked by chance."""

    def test_large(self) -> None:
        """Of a large hash all are listed, in one order."""
        fields = self.fill("h")
        everything = self.do("HGETALL", "h")
        self.assertEqual(everything, fields)
        self.assertEqual(self.do("HKEYS", "h"), list(everything))
        self.assertEqual(self.do("HVALS", "h"), list(everything.values()))

    def test_in_slices(self) -> None:
        """The reply is as of the request's place in the order, whatever changes before it is complete."""
        fields = self.fill("h", 2000)
        with mock.patch.object(slices, "SLICE_NS", 0):
            for request in ("HGETALL h", "HRANDFIELD h 2000 WITHVALUES"):
                reply = self.begun(request)
                self.assertIsInstance(reply, GeneratorType)
                self.do("DEL", "h")
                while isinstance(reply, GeneratorType):
                    reply = advance(reply)
                found = reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))
                self.assertEqual(found, fields)
                self.fill("h", 2000)

    def begun(self, request: str) -> Any:
        """The first slice of a request."""
        words = request.encode().split()
        row = commands.find(words)
        return advance(row.function(self.rig.call, *row.arguments(words)))

    def test_random_fields(self) -> None:
        """A positive count gives different ones, at most all; a negative one so many, each any of them."""
        self.script("""
            HRANDFIELD nosuch -> None
            HRANDFIELD nosuch 5 -> []
            HSET h a 1 b 2 -> 2
            HRANDFIELD h 5 -> [b'a', b'b']
            HRANDFIELD h 2 WITHVALUES -> [b'a', b'1', b'b', b'2']
            HRANDFIELD h 0 -> []
            HRANDFIELD h x -> !ERR value is not an integer or out of range
            HRANDFIELD h 1 x -> !ERR syntax error
            HRANDFIELD h 1 WITHVALUES x -> !ERR syntax error
            HRANDFIELD h 9223372036854775807 WITHVALUES -> !ERR value is out of range
        """)
        self.assertIn(self.do("HRANDFIELD", "h"), (b"a", b"b"))
        self.assertEqual(
            self.error("HRANDFIELD", "h", -(2**63)),
            "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
        )
        self.rig.call.client.protocol = 3
        self.assertEqual(self.do("HRANDFIELD", "h", 2, "WITHVALUES"), [(b"a", b"1"), (b"b", b"2")])

    def test_random_fields_of_large(self) -> None:
        """The same of a hash with many fields, however many are asked for."""
        fields = self.fill("h")
        self.assertIn(self.do("HRANDFIELD", "h"), fields)
        for count in (1, 3, 200, _MANY // 2, _MANY - 1, _MANY, 2 * _MANY):
            found = self.do("HRANDFIELD", "h", count)
            self.assertEqual(len(found), min(count, _MANY))
            self.assertLessEqual(set(found), fields.keys())
            self.assertEqual(len(set(found)), len(found))
            self.assertEqual(len(self.do("HRANDFIELD", "h", -count)), count)

    def test_too_many_random_fields(self) -> None:
        """What would be a larger reply than the limit is refused instead of being gathered."""
        self.script("HSET h a 1 -> 1")
        self.rig.server.max_reply_bytes = 5000
        self.assertIn("the reply is larger than 5000 bytes", self.error("HRANDFIELD", "h", -(10**15)))

    def test_scan(self) -> None:
        """A small hash is given whole; of a large one each field is given, some at a time."""
        self.script("""
            HSCAN nosuch 0 COUNT 0 -> [b'0', []]
            HSET h a 1 b 2 -> 2
            HSCAN h 0 COUNT 1 -> [b'0', [b'a', b'1', b'b', b'2']]
            HSCAN h 0 MATCH b* NOVALUES -> [b'0', [b'b']]
            HSCAN h x -> !ERR invalid cursor
            HSCAN h 0 COUNT 0 -> !ERR syntax error
            HSCAN h 0 MATCH -> !ERR syntax error
            HSCAN h 0 TYPE hash -> !ERR syntax error
        """)
        fields = self.fill("g")
        cursor = b"0"
        seen: dict[bytes, bytes] = {}
        while True:
            cursor, found = self.do("HSCAN", "g", cursor, "COUNT", 20)
            self.assertLess(len(found), 2 * 80)
            seen.update(zip(found[::2], found[1::2], strict=True))
            if cursor == b"0":
                break
        self.assertEqual(seen, fields)

    def test_long_scan(self) -> None:
        """However large COUNT is, one slice is all that it takes: here one bucket, which may be empty."""
        fields, cursor, seen, calls = self.fill("h", 3000), b"0", {}, 0
        with mock.patch.object(slices, "SLICE_NS", 0):
            while not calls or cursor != b"0":
                cursor, found = self.do("HSCAN", "h", cursor, "COUNT", 10**9)
                self.assertLess(len(found), 200)
                seen.update(zip(found[::2], found[1::2], strict=True))
                calls += 1
        self.assertEqual(seen, fields)
        self.assertGreater(calls, 500)


class DeadlineTests(HashTestCase):
    """Fields that expire."""

    def test_set_and_tell(self) -> None:
        """Deadlines are set in four ways, and told in four."""
        self.script(f"""
            HSET h a 1 b 2 c 3 -> 3
            HEXPIRE h 10 FIELDS 2 a nosuch -> [1, -2]
            HTTL h FIELDS 3 a b nosuch -> [10, -1, -2]
            HPTTL h FIELDS 1 a -> [10000]
            HEXPIRETIME h FIELDS 1 a -> [{START_MS // 1000 + 10}]
            HPEXPIRETIME h FIELDS 1 a -> [{START_MS + 10000}]
            HPEXPIRE h 1500 FIELDS 1 b -> [1]
            HTTL h FIELDS 1 b -> [2]
            HEXPIREAT h 4000000000 FIELDS 1 a -> [1]
            HPEXPIREAT h 4000000000500 FIELDS 1 b -> [1]
            HEXPIRETIME h FIELDS 2 a b -> [4000000000, 4000000001]
            HPERSIST h FIELDS 4 a a c nosuch -> [1, -1, -1, -2]
            HTTL h FIELDS 1 a -> [-1]
            HTTL nosuch FIELDS 1 a -> [-2]
            HEXPIRE nosuch 5 FIELDS 1 a -> [-2]
            HPERSIST nosuch FIELDS 1 a -> [-2]
            HEXPIRE h 0 FIELDS 2 a a -> [2, -2]
            HGETALL h -> {{b'b': b'2', b'c': b'3'}}
            HPEXPIREAT h 1 FIELDS 2 b c -> [2, 2]
            EXISTS h -> 0
        """)

    def test_conditions(self) -> None:
        """NX, XX, GT and LT are as EXPIRE has them."""
        self.script("""
            HSET h a 1 b 2 -> 2
            HEXPIRE h 10 XX FIELDS 1 a -> [0]
            HEXPIRE h 10 NX FIELDS 2 a a -> [1, 0]
            HEXPIRE h 5 GT FIELDS 2 a b -> [0, 0]
            HEXPIRE h 20 GT FIELDS 1 a -> [1]
            HEXPIRE h 20 LT FIELDS 2 a b -> [0, 1]
            HEXPIRE h 5 XX LT FIELDS 1 a -> [1]
            HEXPIRE h 5 NX XX FIELDS 1 a -> !ERR NX and XX, GT or LT options at the same time are not compatible
            HEXPIRE h 5 FOO FIELDS x a -> !ERR Unsupported option FOO
        """)

    def test_errors(self) -> None:
        """What is wrong with a request is told in Valkey's order."""
        self.script(f"""
            HSET h a 1 -> 1
            HEXPIRE h x FIELDS 1 a b -> {_WRONG_NUMBER}
            HEXPIRE h x FIELDS 0 a -> {_WRONG_NUMBER}
            HEXPIRE h x FIELDS x a -> !ERR value is not an integer or out of range
            HEXPIRE h 1 a b c -> {_WRONG_NUMBER}
            HEXPIRE h 1 FIELDS 1 -> !ERR wrong number of arguments for 'hexpire' command
            HEXPIRE h -1 FIELDS 1 a -> !ERR invalid expire time in 'hexpire' command
            HPEXPIRE h 9223372036854775807 FIELDS 1 a -> !ERR invalid expire time in 'hpexpire' command
            HTTL h FIELDS 2 a -> !ERR syntax error
            HTTL h FOO 1 a -> !ERR syntax error
            HTTL h FIELDS x a -> !ERR value is not an integer or out of range
            HPERSIST h FIELDS 2 a -> {_WRONG_NUMBER}
            HGETDEL h FIELDS 2 a -> {_WRONG_NUMBER}
            HGETDEL h FOO 1 a -> !ERR syntax error
            HGETEX h EX FIELDS 1 a -> !ERR syntax error
            HGETEX h EX 1 PERSIST FIELDS 1 a -> !ERR syntax error
            HGETEX h EX x FIELDS 1 a -> !ERR value is not an integer or out of range
            HGETEX h EX -1 FIELDS 1 a -> !ERR invalid expire time in 'hgetex' command
            HSETEX h FIELDS 1 a 1 b 2 -> {_WRONG_NUMBER}
            HSETEX h FNX FXX FIELDS 1 a 1 -> !ERR syntax error
            HSETEX h EX 1 KEEPTTL FIELDS 1 a 1 -> !ERR syntax error
        """)

    def test_what_keeps_a_deadline(self) -> None:
        """Adding to a field keeps its deadline; setting it does not."""
        self.script("""
            HSET h a 1 b 2 -> 2
            HEXPIRE h 10 FIELDS 2 a b -> [1, 1]
            HINCRBY h a 1 -> 2
            HINCRBYFLOAT h a 0.5 -> b'2.5'
            HTTL h FIELDS 1 a -> [10]
            HSET h a 3 -> 0
            HSETNX h b 3 -> 0
            HTTL h FIELDS 2 a b -> [-1, 10]
        """)

    def test_getex_and_getdel(self) -> None:
        """HGETEX reads, and sets or takes away; HGETDEL reads and removes."""
        self.script("""
            HSET h a 1 b 2 c 3 -> 3
            HGETEX h FIELDS 2 a nosuch -> [b'1', None]
            HGETEX h EX 10 FIELDS 2 a b -> [b'1', b'2']
            HTTL h FIELDS 3 a b c -> [10, 10, -1]
            HGETEX h PERSIST FIELDS 2 a c -> [b'1', b'3']
            HTTL h FIELDS 1 a -> [-1]
            HGETEX h PXAT 1 FIELDS 2 a a -> [b'1', None]
            HGETEX nosuch EX 1 FIELDS 1 a -> [None]
            HGETDEL h FIELDS 3 b b nosuch -> [b'2', None, None]
            HGETDEL nosuch FIELDS 1 a -> [None]
            HGETDEL h FIELDS 1 c -> [b'3']
            EXISTS h -> 0
        """)

    def test_setex(self) -> None:
        """HSETEX sets all fields or none."""
        self.script("""
            HSETEX h XX EX 10 FIELDS 1 a 1 -> 0
            HSETEX h XX EX -5 FIELDS 1 a 1 -> 0
            HSETEX h NX EX 10 FIELDS 2 a 1 b 2 -> 1
            HTTL h FIELDS 2 a b -> [10, 10]
            HSETEX h NX FIELDS 1 c 1 -> 0
            HSETEX h NX EX -5 FIELDS 1 c 1 -> 0
            HSETEX h FNX EX -5 FIELDS 1 a 1 -> !ERR invalid expire time in 'hsetex' command
            HSETEX h FNX FIELDS 2 c 1 a 1 -> 0
            HSETEX h FXX FIELDS 2 c 1 a 1 -> 0
            HSETEX h FXX KEEPTTL FIELDS 2 a 3 b 4 -> 1
            HSETEX h KEEPTTL FIELDS 2 a 5 d 6 -> 1
            HTTL h FIELDS 3 a b d -> [10, 10, -1]
            HSETEX h FIELDS 1 a 7 -> 1
            HTTL h FIELDS 1 a -> [-1]
            HGETALL h -> {b'a': b'7', b'b': b'4', b'd': b'6'}
            HSETEX h PXAT 1 FIELDS 2 a 8 new 9 -> 1
            HSETEX new PXAT 1 FIELDS 1 a 8 -> 1
            HKEYS h -> [b'b', b'd']
            EXISTS new -> 0
        """)

    def test_a_field_past_its_deadline(self) -> None:
        """It is gone for every command, though it is still there to be removed."""
        for request, expected in {
            "HGET h a": None, "HMGET h a b": [None, b"2"], "HEXISTS h a": 0, "HSTRLEN h a": 0, "HLEN h": 1,
            "HGETALL h": {b"b": b"2"}, "HSCAN h 0": [b"0", [b"b", b"2"]], "HRANDFIELD h 5": [b"b"], "HDEL h a b": 1,
            "HSET h a 5 b 6": 1, "HSETNX h a 5": 1, "HINCRBY h a 5": 5, "HTTL h FIELDS 1 a": [-2],
            "HPERSIST h FIELDS 1 a": [-2], "HEXPIRE h 5 FIELDS 1 a": [-2], "HGETEX h EX 5 FIELDS 1 a": [None],
            "HGETDEL h FIELDS 1 a": [None], "HSETEX h FNX FIELDS 1 a 1": 1, "HSETEX h FXX FIELDS 1 a 1": 0,
        }.items():  # fmt: skip
            self.do("DEL", "h")
            self.do("HSET", "h", "a", 1, "b", 2)
            self.do("HPEXPIRE", "h", 5, "FIELDS", 1, "a")
            self.rig.now_ms += 5
            self.assertEqual(self.do(*request.split()), expected, request)

    def test_removing_some_of_them(self) -> None:
        """HDEL of several is one operation; it counts each field once, and leaves alone those that have expired."""
        self.do("HSET", "h", "a", 1, "b", 2, "c", 3, "d", 4)
        self.assertEqual(self.do("HDEL", "h", "x", "a", "a", "y"), 1)
        self.do("HPEXPIRE", "h", 5, "FIELDS", 1, "b")
        self.rig.now_ms += 5
        before = self.rig.store.pending.count
        self.assertEqual(self.do("HDEL", "h", "x", "b", "y"), 0)
        self.assertEqual(self.rig.store.pending.count, before)
        self.assertEqual(self.do("HDEL", "h", "b", "c", "d", "x", "d"), 2)
        self.assertEqual(
            (self.rig.store.pending.count, self.do("EXISTS", "h"), self.do("HLEN", "h")), (before + 1, 1, 0)
        )

    def test_all_fields_past_their_deadlines(self) -> None:
        """The key is there, empty, until they are removed: as Valkey has it, but for the count of the fields."""
        for request, expected in {
            "EXISTS h": 1, "TYPE h": Status("hash"), "DBSIZE": 1, "KEYS *": [b"h"], "TTL h": -1, "HLEN h": 0,
            "HGETALL h": {}, "HSCAN h 0": [b"0", []], "HRANDFIELD h": None, "HDEL h a": 0,
            "HGETDEL h FIELDS 1 a": [None], "HPERSIST h FIELDS 1 a": [-2], "SETNX h x": 0, "HSETNX h b 1": 1,
            "HINCRBY h a 1": 1, "COPY h c": 1, "RENAME h c": Status("OK"),
        }.items():  # fmt: skip
            self.do("FLUSHALL")
            self.do("HSET", "h", "a", 7)
            self.do("HPEXPIRE", "h", 5, "FIELDS", 1, "a")
            self.rig.now_ms += 5
            self.assertEqual(self.do(*request.split()), expected, request)
        for request in ("GET c", "LPUSH c x", "SETRANGE c 0 x"):
            self.assertTrue(self.error(*request.split()).startswith("WRONGTYPE"), request)

    def test_removal(self) -> None:
        """Fields past their deadlines are removed between requests; a hash that has no others goes with them."""
        self.fill("h", 3)
        self.fill("g", 100)
        self.do("HPEXPIRE", "h", 5, "FIELDS", 3, "f0", "f1", "f2")
        self.do("HPEXPIRE", "g", 5, "FIELDS", 90, *(f"f{i}" for i in range(90)))
        self.rig.now_ms += 5
        while self.rig.store.tidy():
            pass
        self.assertEqual(self.do("EXISTS", "h"), 0)
        self.assertEqual(len(self.rig.table.values[b"g"]), 10)
        self.assertEqual(self.do("HLEN", "g"), 10)


class LimitTests(HashTestCase):
    """Where what is done at once ends."""

    def test_at_once(self) -> None:
        """At the limit the reply is there at once, past it it comes in slices."""
        for number, kind in ((hashes._AT_ONCE, dict), (hashes._AT_ONCE + 1, GeneratorType)):
            self.fill(f"h{number}", number)
            reply = hashes.hgetall(self.rig.call, b"h%d" % number)
            self.assertIsInstance(reply, kind)
