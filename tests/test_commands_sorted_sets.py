"""The commands on sorted sets. That they answer as Valkey does is held by test_commands_against_valkey."""

from __future__ import annotations

from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from kvstore.base import slices
from kvstore.base.errors import ReplyTooLarge
from kvstore.wire.resp import encode
from tests.kit.harness import CommandTestCase
from tests.kit.serving import Serving

_WRONG_TYPE = "!WRONGTYPE Operation against a key holding the wrong kind of value"
_MANY = 3000


class SortedSetTestCase(CommandTestCase):
    """With sorted sets to begin with."""

    def fill(self, key: str, number: int = _MANY) -> list[bytes]:
        """Make a sorted set of so many members, their scores rising; returns them in order."""
        members = [b"m%04d" % i for i in range(number)]
        self.do("ZADD", key, *[word for i, member in enumerate(members) for word in (i, member)])
        return members


class MemberTests(SortedSetTestCase):
    """Members by name."""

    def test_scores(self) -> None:
        """Scores are given, changed, added to and read; with the last member the sorted set is gone."""
        self.script("""
            ZADD z 1 a 2 b 3 a -> 2
            ZADD z 3 a 4 c -> 1
            ZCARD z -> 3
            ZSCORE z a -> 3.0
            ZSCORE z no -> None
            ZMSCORE z a no b -> [3.0, None, 2.0]
            ZINCRBY z 0.5 a -> 3.5
            ZINCRBY z -1 new -> -1.0
            ZRANGE z 0 -1 WITHSCORES -> [b'new', -1.0, b'b', 2.0, b'a', 3.5, b'c', 4.0]
            ZRANK z a -> 2
            ZREVRANK z a WITHSCORE -> [1, 3.5]
            ZRANK z no -> None
            TYPE z -> zset
            OBJECT ENCODING z -> 'listpack'
            ZREM z a no a -> 1
            ZREM z b c new -> 3
            EXISTS z -> 0
            ZCARD z -> 0
            ZREM z a -> 0
        """)

    def test_options(self) -> None:
        """NX, XX, GT, LT say which members change; CH counts the changes, INCR adds."""
        self.script("""
            ZADD z 5 a -> 1
            ZADD z NX 6 a 7 b -> 1
            ZADD z XX 8 a 9 c -> 0
            ZADD z XX CH 1 a 9 c -> 1
            ZADD z GT CH 0 a 8 b 3 d -> 2
            ZADD z LT 9 b 0.5 a -> 0
            ZRANGE z 0 -1 WITHSCORES -> [b'a', 0.5, b'd', 3.0, b'b', 8.0]
            ZADD z INCR 1 a -> 1.5
            ZADD z GT INCR -1 a -> None
            ZADD z NX INCR 1 a -> None
            ZADD z XX INCR 1 no -> None
            ZADD z INCR inf a -> inf
            ZADD z INCR -inf a -> !ERR resulting score is not a number (NaN)
            ZINCRBY z -inf a -> !ERR resulting score is not a number (NaN)
            ZADD z nan a -> !ERR value is not a valid float
            ZADD z 1 a x b -> !ERR value is not a valid float
            ZADD z NX XX 1 a -> !ERR XX and NX options at the same time are not compatible
            ZADD z NX LT 1 a -> !ERR GT, LT, and/or NX options at the same time are not compatible
            ZADD z INCR 1 a 2 b -> !ERR INCR option supports a single increment-element pair
            ZADD z CH 1 -> !ERR syntax error
        """)

    def test_nothing_to_do(self) -> None:
        """What changes nothing is not in the log."""
        self.do("ZADD", "z", 1, "a", 2, "b")
        before = self.rig.store.pending.count
        for request in ("ZADD z 1 a", "ZADD z NX 5 a", "ZADD z XX 5 no", "ZINCRBY z 0 a", "ZREM z no", "ZREM no a",
                        "ZPOPMIN z 0", "ZREMRANGEBYSCORE z 5 9", "ZREMRANGEBYRANK z 5 9", "ZPOPMAX no"):  # fmt: skip
            self.do(*request.split())
            self.assertEqual(self.rig.store.pending.count, before, request)

    def test_wrong_type(self) -> None:
        """No other type is taken for a sorted set, nor it for another."""
        self.script(f"""
            SET s 1 -> OK
            ZADD s 1 a -> {_WRONG_TYPE}
            ZINCRBY s 1 a -> {_WRONG_TYPE}
            ZRANGE s 0 -1 -> {_WRONG_TYPE}
            ZRANGESTORE d s 0 -1 -> {_WRONG_TYPE}
            ZPOPMIN s -> {_WRONG_TYPE}
            ZMPOP 2 no s MIN -> {_WRONG_TYPE}
            ZUNION 2 no s -> {_WRONG_TYPE}
            ZRANDMEMBER s -> {_WRONG_TYPE}
            ZSCAN s 0 -> {_WRONG_TYPE}
            ZADD z 1 a -> 1
            GET z -> {_WRONG_TYPE}
            LPUSH z x -> {_WRONG_TYPE}
            SADD z x -> {_WRONG_TYPE}
            SET z 1 -> OK
        """)

    def test_like_other_values(self) -> None:
        """COPY, RENAME and SCAN TYPE treat it as any other value."""
        self.script("""
            ZADD z 1 a 2 b -> 2
            COPY z y -> 1
            ZADD y 3 c -> 1
            ZCARD z -> 2
            RENAME y x -> OK
            ZRANGE x 0 -1 -> [b'a', b'b', b'c']
            SCAN 0 TYPE zset COUNT 99 -> [b'0', [b'x', b'z']]
        """)

    def test_a_name_is_one_object(self) -> None:
        """A member of a large one whose score changes is not kept twice."""
        self.fill("z", 500)
        for number in range(500):
            self.do("ZADD", "z", 1000 - number, b"m%04d" % number)
        large = self.rig.table.values[b"z"]._held
        names = {member: id(member) for member in large.scores}
        self.assertEqual({id(member) for member in large.members(0, 500)}, set(names.values()))


class RangeTests(SortedSetTestCase):
    """Ranges."""

    def test_spans(self) -> None:
        """Ranks, scores, members; backwards and limited."""
        self.script("""
            ZADD z 1 a 1 b 2 c 3 d -> 4
            ZRANGE z 1 2 -> [b'b', b'c']
            ZRANGE z 1 2 LIMIT 1 -1 -> [b'b', b'c']
            ZRANGE z -2 99 REV -> [b'b', b'a']
            ZREVRANGE z 0 1 WITHSCORES -> [b'd', 3.0, b'c', 2.0]
            ZRANGE z (1 +inf BYSCORE -> [b'c', b'd']
            ZRANGE z 3 1 BYSCORE REV LIMIT 1 2 -> [b'c', b'b']
            ZRANGEBYSCORE z -inf (3 LIMIT 1 -1 -> [b'b', b'c']
            ZREVRANGEBYSCORE z 2 1 -> [b'c', b'b', b'a']
            ZCOUNT z 1 (2 -> 2
            ZRANGE z 3 1 -> []
            ZRANGE z 9 1 BYSCORE -> []
            ZADD l 0 a 0 b 0 c -> 3
            ZRANGEBYLEX l - (c -> [b'a', b'b']
            ZREVRANGEBYLEX l + [b -> [b'c', b'b']
            ZRANGE l [a + BYLEX LIMIT 1 1 -> [b'b']
            ZLEXCOUNT l (a [c -> 2
            ZLEXCOUNT l + - -> 0
            ZREMRANGEBYLEX l [b (c -> 1
            ZREMRANGEBYSCORE z 1 1 -> 2
            ZREMRANGEBYRANK z 0 -2 -> 1
            ZRANGESTORE kept z 0 -1 -> 1
            ZRANGE kept 0 -1 WITHSCORES -> [b'd', 3.0]
            ZREMRANGEBYRANK z 0 -1 -> 1
            ZRANGESTORE kept z 0 -1 -> 0
            EXISTS z kept -> 0
        """)

    def test_in_slices(self) -> None:
        """A long range comes in slices, as it was when it was asked for."""
        members = self.fill("z")
        self.assertEqual(self.finished("ZRANGE", "z", 0, -1), (members, 1))
        reply, number = self.finished("ZREVRANGE", "z", 0, 1999, "WITHSCORES")
        self.assertEqual(reply[:4], [members[-1], _MANY - 1.0, members[-2], _MANY - 2.0])
        self.assertEqual((len(reply), reply[1::2]), (4000, [float(n) for n in range(2999, 999, -1)]))
        self.assertGreater(number, 100)
        self.rig.call.client.protocol = 3
        reply, _ = self.finished("ZRANGE", "z", 0, -1, "WITHSCORES")
        self.assertEqual(reply, [(member, float(i)) for i, member in enumerate(members)])


class TakingTests(SortedSetTestCase):
    """ZPOPMIN and its kin."""

    def test_pop(self) -> None:
        """Members go from either end; who speaks RESP3 gets pairs where a count was given."""
        self.script("""
            ZADD z 1 a 2 b 3 c 4 d 5 e 6 f -> 6
            ZPOPMIN z -> [b'a', 1.0]
            ZPOPMAX z 2 -> [b'f', 6.0, b'e', 5.0]
            ZPOPMIN z 0 -> []
            ZPOPMIN z -1 -> !ERR value is out of range, must be positive
            ZPOPMIN z 1 1 -> !ERR syntax error
            ZMPOP 2 no z MIN COUNT 2 -> [b'z', [(b'b', 2.0), (b'c', 3.0)]]
            ZMPOP 1 no MAX -> NULL_ARRAY
        """)
        self.rig.call.client.protocol = 3
        self.script("""
            ZPOPMIN z 9 -> [(b'd', 4.0)]
            ZPOPMIN z 9 -> []
            EXISTS z -> 0
        """)

    def test_long(self) -> None:
        """Many members of a large one go at once, from the middle too, and one by one."""
        members = self.fill("z")
        self.assertEqual(self.do("ZREMRANGEBYRANK", "z", 500, 2499), 2000)
        left = members[:500] + members[2500:]
        self.assertEqual(self.do("ZRANGE", "z", 0, -1), left)
        for _ in range(300):
            self.assertEqual(self.do("ZPOPMAX", "z")[0], left.pop())
            self.assertEqual(self.do("ZPOPMIN", "z")[0], left.pop(0))
        self.assertEqual(self.do("ZRANGE", "z", 0, -1), left)


class AlgebraTests(SortedSetTestCase):
    """ZUNION and its kin."""

    def test_small(self) -> None:
        """Sorted sets and plain ones are combined, weighed, and added up."""
        self.script("""
            ZADD a 1 x 2 y 3 z -> 3
            ZADD b 10 y 20 w -> 2
            SADD s y z -> 2
            ZUNION 3 a b s WITHSCORES -> [b'x', 1.0, b'z', 4.0, b'y', 13.0, b'w', 20.0]
            ZUNION 2 a b WEIGHTS 2 -1 AGGREGATE MIN WITHSCORES -> [b'w', -20.0, b'y', -10.0, b'x', 2.0, b'z', 6.0]
            ZINTER 3 a b s -> [b'y']
            ZINTER 2 a s AGGREGATE MAX WITHSCORES -> [b'y', 2.0, b'z', 3.0]
            ZDIFF 2 a s WITHSCORES -> [b'x', 1.0]
            ZINTERCARD 2 a s -> 2
            ZINTERCARD 2 a s LIMIT 1 -> 1
            ZUNIONSTORE kept 2 a b -> 4
            ZINTERSTORE kept 2 kept s WEIGHTS inf 0 -> 2
            ZRANGE kept 0 -1 WITHSCORES -> [b'y', inf, b'z', inf]
            ZDIFFSTORE kept 2 a a -> 0
            EXISTS kept -> 0
            ZUNION 2 a b WEIGHTS 1 -> !ERR syntax error
            ZDIFF 1 a WEIGHTS 1 -> !ERR syntax error
            ZUNION 0 a -> !ERR at least 1 input key is needed for 'zunion' command
            ZUNION 1 a WEIGHTS x -> !ERR weight value is not a float
        """)

    def test_no_number(self) -> None:
        """What would be no number is 0."""
        self.script("""
            ZADD a inf x -> 1
            ZADD b -inf x -> 1
            ZUNION 2 a b WITHSCORES -> [b'x', 0.0]
            ZINTER 2 a b WEIGHTS 0 0 WITHSCORES -> [b'x', 0.0]
        """)

    def test_in_slices(self) -> None:
        """Long ones come in slices, of what was there at first."""
        members = self.fill("z")
        self.do("SADD", "s", *members[1000:])
        for request, expected in (
            (("ZUNION", 2, "z", "s"), members),
            (("ZINTER", 2, "z", "s"), members[1000:]),
            (("ZDIFF", 2, "z", "s"), members[:1000]),
        ):
            reply, number = self.finished(*request)
            self.assertEqual((list(reply), number > 5), (expected, True), request)
        self.assertEqual(self.finished("ZINTERCARD", 2, "z", "s")[0], 2000)
        self.assertEqual(self.do("ZUNIONSTORE", "kept", 2, "z", "s"), _MANY)
        self.assertEqual(self.do("ZSCORE", "kept", "m2999"), 3000.0)


class ChanceTests(SortedSetTestCase):
    """ZRANDMEMBER."""

    def test_different_ones(self) -> None:
        """A count asks for different members, as many as there are; one below 0 for so many of any."""
        for number in (5, _MANY):
            members = set(self.fill(f"z{number}", number))
            key = f"z{number}"
            self.assertIn(self.do("ZRANDMEMBER", key), members)
            for count in (1, 3, number // 2, number, number * 2):
                found = self.do("ZRANDMEMBER", key, count)
                self.assertEqual(len(set(found)), len(found))
                self.assertEqual(len(found), min(count, number))
                self.assertLessEqual(set(found), members)
            found = self.do("ZRANDMEMBER", key, -4 * number)
            self.assertEqual((len(found), set(found) <= members), (4 * number, True))
            pairs = self.do("ZRANDMEMBER", key, -3, "WITHSCORES")
            self.assertEqual([self.do("ZSCORE", key, member) for member in pairs[::2]], pairs[1::2])
        self.assertEqual((self.do("ZRANDMEMBER", "no"), self.do("ZRANDMEMBER", "no", 3)), (None, []))

    def test_too_many(self) -> None:
        """A reply that is too large is refused."""
        self.fill("z", 5)
        self.rig.server.max_reply_bytes = 1000
        self.assertIsInstance(self.do("ZRANDMEMBER", "z", -1000), ReplyTooLarge)


class ScanTests(SortedSetTestCase):
    """ZSCAN."""

    def test_small(self) -> None:
        """A small one is given at once."""
        self.script("""
            ZADD z 1.5 a 2 b -> 2
            ZSCAN z 0 -> [b'0', [b'a', b'1.5', b'b', b'2']]
            ZSCAN z 0 MATCH b* NOSCORES -> [b'0', [b'b']]
            ZSCAN no 7 -> [b'0', []]
            ZSCAN z x -> !ERR invalid cursor
            ZSCAN z 0 NOVALUES -> !ERR NOVALUES option can only be used in HSCAN
            SSCAN s 0 NOSCORES -> [b'0', []]
        """)

    def test_digits(self) -> None:
        """Of a large set it tells all seventeen digits of a score, as Valkey does there."""
        self.do("ZADD", "z", "0.1", "a", "5e-324", "b", "3", "c", "inf", "d")
        self.assertEqual(self.do("ZSCAN", "z", 0)[1][1::2], [b"5e-324", b"0.1", b"3", b"inf"])
        self.do("ZADD", "z", "1e20", "m" * 65)
        _, told = self.do("ZSCAN", "z", 0, "COUNT", 100)
        scores = dict(zip(told[::2], told[1::2], strict=True))
        expected = {b"a": b"0.10000000000000001", b"b": b"4.9406564584124654e-324", b"c": b"3", b"d": b"inf"}
        self.assertEqual(scores, expected | {b"m" * 65: b"1e+20"})

    def test_large(self) -> None:
        """A large one is walked through, some at a time; while its order is being made, nothing is given."""
        members, found = set(self.fill("z")), list[bytes]()
        cursor, calls = b"0", 0
        with mock.patch.object(slices, "SLICE_NS", 0):
            while calls == 0 or cursor != b"0":
                cursor, some = self.do("ZSCAN", "z", cursor, "NOSCORES")
                found += some
                calls += 1
        self.assertEqual((set(found), len(found), calls > 100), (members, _MANY, True))


class BlockingTests(SynchronousTestCase):
    """Clients that wait for sorted sets."""

    def setUp(self) -> None:
        """Connect two that wait, and one that adds."""
        self.serving = Serving()
        self.adder, *self.waiters = (self.serving.connect() for _ in range(3))

    def test_first_come_first_served(self) -> None:
        """Who waits gets the lowest, or the highest, when it comes: the first to come first; what is left stays."""
        one, two = self.waiters
        self.assertEqual(one.told("BZPOPMAX y z 0"), b"")
        self.assertEqual(two.told("BZMPOP 0 1 z MIN COUNT 2"), b"")
        self.assertEqual(self.adder.told("ZADD z 1 a 2 b 3 c 4 d"), b":4\r\n")
        self.assertEqual(one.released(), b"*3\r\n$1\r\nz\r\n$1\r\nd\r\n$1\r\n4\r\n")
        self.assertEqual(
            two.released(), b"*2\r\n$1\r\nz\r\n*2\r\n*2\r\n$1\r\na\r\n$1\r\n1\r\n*2\r\n$1\r\nb\r\n$1\r\n2\r\n"
        )
        self.assertEqual(self.adder.told("ZCARD z"), b":1\r\n")
        self.assertEqual(one.told("BZPOPMIN z 0"), b"*3\r\n$1\r\nz\r\n$1\r\nc\r\n$1\r\n3\r\n")

    def test_other_types(self) -> None:
        """What is no sorted set is waited past; time that is up, and a block, mean nothing came."""
        one, two = self.waiters
        self.assertEqual(one.told("BZPOPMIN z 1"), b"")
        self.assertEqual(self.adder.told("RPUSH z x", "DEL z"), b":1\r\n:1\r\n")
        self.assertEqual(one.released(), b"")
        self.serving.clock.advance(2)
        self.assertEqual(one.released(), b"*-1\r\n")
        self.assertEqual(two.told("MULTI", "BZPOPMIN z 0", "EXEC")[-9:], b"*1\r\n*-1\r\n")
        self.assertEqual(two.told("BZPOPMIN z -1"), b"-ERR timeout is negative\r\n")
        self.assertEqual(self.serving.bugs, [])


class EncodedTests(SortedSetTestCase):
    """Replies in both versions of the protocol."""

    def test_doubles(self) -> None:
        """Scores are strings in RESP2, doubles in RESP3, where pairs are arrays."""
        self.do("ZADD", "z", "1e17", "a", "-inf", "b")
        reply = self.do("ZRANGE", "z", 0, -1, "WITHSCORES")
        self.assertEqual(encode(reply, 2), b"*4\r\n$1\r\nb\r\n$4\r\n-inf\r\n$1\r\na\r\n$18\r\n100000000000000000\r\n")
        self.rig.call.client.protocol = 3
        reply = self.do("ZRANGE", "z", 0, -1, "WITHSCORES")
        self.assertEqual(
            encode(reply, 3), b"*2\r\n*2\r\n$1\r\nb\r\n,-inf\r\n*2\r\n$1\r\na\r\n,100000000000000000\r\n"
        )  # fmt: skip
