"""SORT and SORT_RO. That they answer as Valkey does is held by test_commands_against_valkey."""

from __future__ import annotations

from random import Random

from kvstore.base.errors import InvalidRequest
from tests.kit.harness import CommandTestCase
from tests.kit.serving import SessionTestCase

_MANY = 5000


class SortTests(CommandTestCase):
    """What comes first."""

    def test_numbers_and_text(self) -> None:
        """Elements are sorted as numbers or as text, up or down; some of them may be asked for."""
        self.script("""
            RPUSH l 10 9 1 -1 -> 4
            SORT l -> [b'-1', b'1', b'9', b'10']
            SORT l DESC LIMIT 1 2 -> [b'9', b'1']
            SORT l ALPHA -> [b'-1', b'1', b'10', b'9']
            SORT l LIMIT 9 1 -> []
            RPUSH l x -> 5
            SORT l -> !ERR One or more scores can't be converted into double
            SORT l BY nosort -> [b'10', b'9', b'1', b'-1', b'x']
            SORT l BY nosort DESC LIMIT 0 1 -> [b'x']
            SORT_RO l STORE k -> !ERR syntax error
            SET s x -> OK
            SORT s -> !WRONGTYPE Operation against a key holding the wrong kind of value
            SORT nosuch -> []
        """)

    def test_patterns(self) -> None:
        """Patterns lead to strings and to fields of hashes; what leads nowhere counts as 0, and is null."""
        self.script("""
            RPUSH l 1 2 3 -> 3
            MSET w1 3 w2 1 -> OK
            HSET h1 f a -> 1
            HSET h3 f b -> 1
            SORT l BY w* -> [b'3', b'2', b'1']
            SORT l BY w* GET # GET h*->f GET nowhere -> [b'3', b'b', None, b'2', None, None, b'1', b'a', None]
            SORT l BY h*->f ALPHA -> [b'2', b'1', b'3']
            SORT l BY h*->f -> !ERR One or more scores can't be converted into double
            SORT l GET h* -> [None, None, None]
        """)

    def test_kept(self) -> None:
        """The result is kept as a list, null as an empty string; an empty result removes what was there."""
        self.script("""
            SADD s 3 1 2 -> 3
            SET w1 x -> OK
            SET d y PX 100 -> OK
            SORT s GET w* STORE d -> 3
            LRANGE d 0 -1 -> [b'x', b'', b'']
            PTTL d -> -1
            SORT s STORE s -> 3
            TYPE s -> list
            SORT nosuch STORE d -> 0
            EXISTS d -> 0
        """)

    def test_keeps_order(self) -> None:
        """Elements whose text is the same keep their order, in descending order, too."""
        self.do("RPUSH", "l", *range(100))
        for order in ("ASC", "DESC"):
            self.assertEqual(self.do("SORT", "l", "BY", "w*", "ALPHA", order), [b"%d" % i for i in range(100)])


class SlicesTests(CommandTestCase):
    """Many elements, that are gone after the first slice."""

    def remove(self) -> None:
        """Remove them."""
        self.do("DEL", "k")

    def test_slices(self) -> None:
        """A large value of any type is sorted in slices, as it is when they begin."""
        numbers = [b"%d" % i for i in range(-_MANY // 2, _MANY // 2)]
        shuffled = Random(1).sample(numbers, _MANY)
        fill = {
            "RPUSH": shuffled,
            "SADD": shuffled,
            "ZADD": [word for number in shuffled for word in (b"0", number)],
        }
        for command, elements in fill.items():
            for options, expected in (
                ((), numbers),
                (("DESC", "LIMIT", "10", "2000"), numbers[::-1][10:2010]),
                (("ALPHA", "GET", "#"), sorted(numbers)),
                (("LIMIT", "1", "0"), []),
            ):
                self.do(command, "k", *elements)
                reply, number = self.finished("SORT_RO", "k", *options, between=self.remove)
                self.assertEqual(reply, expected)
                self.assertGreater(number, 2)

    def test_no_number(self) -> None:
        """What is no number is found in a later slice, too."""
        self.do("RPUSH", "k", *range(_MANY), "x")
        self.assertRaises(InvalidRequest, self.finished, "SORT", "k", between=self.remove)

    def test_all_alike(self) -> None:
        """So are elements that are all the same."""
        self.do("RPUSH", "k", *[b"7"] * _MANY)
        self.assertEqual(self.finished("SORT", "k", "LIMIT", "1", "3", between=self.remove)[0], [b"7"] * 3)


class WaitingTests(SessionTestCase):
    """Who waits for a list."""

    def test_store_serves(self) -> None:
        """What is kept goes to who waits for it."""
        self.one.ask("BLPOP d 0")
        self.two.told("RPUSH l 2 1", "SORT l STORE d")
        self.assertEqual(self.one.released(), b"*2\r\n$1\r\nd\r\n$1\r\n1\r\n")
