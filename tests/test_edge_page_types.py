"""Keys and their memory by type: exact of few keys, near enough of many."""

from __future__ import annotations

from random import Random

from kvstore.base.limits import MAX_EXAMINED_KEYS
from kvstore.edge.page.types import Types
from tests.kit.edge import ProtocolTestCase


class TypesTests(ProtocolTestCase):
    """What there is of each type."""

    def setUp(self) -> None:
        """Make it."""
        super().setUp()
        self.types = Types(self.store, Random(1))

    def test_few(self) -> None:
        """All of them are counted, in every database; what takes most comes first."""
        client = self.connect()
        client.send(b"SET a 1\r\nSET b 2\r\nRPUSH list " + b"x" * 500 + b"\r\nSELECT 3\r\nHSET hash f v\r\n")
        shares = self.types.shares()
        self.assertEqual({share.name: share.keys for share in shares}, {"string": 2, "list": 1, "hash": 1})
        self.assertEqual((shares[0].name, self.types.is_exact), ("list", True))
        self.assertGreater(shares[0].size_bytes, 500)

    def test_none(self) -> None:
        """Of no keys there is nothing to tell."""
        self.assertEqual(self.types.shares(), [])

    def test_many(self) -> None:
        """Some are drawn, and tell of all."""
        client = self.connect()
        number = 4 * MAX_EXAMINED_KEYS
        for n in range(number):  # one by one: together they may take more than a client's share
            client.send(b"SADD set%d m\r\n" % n if n % 4 == 0 else b"SET s%d v\r\n" % n)
        found = {share.name: share.keys for share in self.types.shares()}
        self.assertFalse(self.types.is_exact)
        self.assertEqual(round(sum(found.values())), number)
        self.assertLess(abs(found["set"] - number / 4), number / 16)
