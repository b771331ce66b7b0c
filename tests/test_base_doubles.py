"""Doubles as text. That a million of all kinds are written as Valkey writes them was tried; here are some of those that
are not written as Python does.
"""

from __future__ import annotations

import math
import struct
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.doubles import double_text
from tests.kit.valkey import ValkeyTestCase

_NEAR_HALF = (
    "454.70163004570003 9.794065944346459e+235 0.26679368999999997 5.5441635029670703e-191 647.0839290709999 "
    "2675.2473794000002 338.64255000000003 6.550000000000001e-11"
)
_NOT_QUITE = "5.779e-8 5.6732e-13 3.3871 246.9619 998.0351 6.518e-7 4.3941e-16 627.2851"


class DoubleTests(SynchronousTestCase):
    """Their digits."""

    def test_as_valkey_writes_them(self) -> None:
        """Where the shortest digits are nearly half the way to the next double, Valkey has others, or just these."""
        for text in (_NEAR_HALF + " " + _NOT_QUITE).split():
            self.assertEqual(double_text(float(text)), text.encode())
            self.assertEqual(double_text(-float(text)), b"-" + text.encode())

    def test_limits(self) -> None:
        """The least, the greatest, powers of two, and what is no number."""
        for text in ("5e-324", "1.7976931348623157e+308", "2.2250738585072014e-308", "0.5", "1.1102230246251565e-16"):
            self.assertEqual(double_text(float(text)), text.encode())
        self.assertEqual([double_text(each) for each in (math.inf, -math.inf, math.nan)], [b"inf", b"-inf", b"nan"])

    def test_reads_back(self) -> None:
        """As the same double, whichever it is."""
        for number in _doubles(3000):
            self.assertEqual(float(double_text(number)), number)


class AgainstValkeyTests(ValkeyTestCase):
    """A real Valkey's."""

    def test_random_doubles(self) -> None:
        """Random bits, and numbers as people write them."""
        client = self.valkey.connect()
        self.addCleanup(client.close)
        numbers = _doubles(20_000)
        members = [b"%d" % place for place in range(len(numbers))]
        scored = zip(numbers, members, strict=True)
        client.ask([b"ZADD", b"z", *[word for number, member in scored for word in (repr(number).encode(), member)]])
        theirs = client.ask([b"ZMSCORE", b"z", *members])[1]
        self.assertEqual([double_text(number) for number in numbers], theirs)


def _doubles(count: int) -> list[float]:
    """Doubles of several kinds, as many as are asked for; none that is no number, nor 0."""
    chance = Random(9)
    kinds = (
        lambda: struct.unpack("<d", chance.randbytes(8))[0],
        chance.random,
        lambda: chance.randint(1, 10 ** chance.randint(1, 17)) / 10 ** chance.randint(0, 20),
        lambda: chance.getrandbits(52) * 5e-324,
        lambda: 2.0 ** chance.randint(-1074, 1023),
    )
    numbers = (chance.choice(kinds)() for _ in iter(int, 1))
    finite = (number for number in numbers if math.isfinite(number) and number)
    return [next(finite) for _ in range(count)]
