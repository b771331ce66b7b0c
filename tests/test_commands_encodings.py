"""OBJECT ENCODING under thresholds that were changed, beside a real Valkey. (By default: in the tests of each type.)"""

from __future__ import annotations

from tests.kit.harness import Rig
from tests.kit.valkey import ValkeyTestCase

#: A setting, its values, a command, and how many elements of how many bytes it is given; 0 for numbers.
_CASES = (
    ("list-max-listpack-size", "3 1 0 100 -1 -2 -5", "RPUSH", ((1, 2), (2, 2), (3, 2), (4, 2), (2, 2000), (3, 3000))),
    ("list-max-listpack-size", "1 -1 -5", "RPUSH", ((1, 9000),)),
    ("hash-max-listpack-entries", "0 1 2 1000", "HSET", ((1, 2), (2, 3), (3, 3), (600, 5), (2, 65))),
    ("hash-max-listpack-value", "0 1 3 100", "HSET", ((1, 2), (1, 3), (1, 4), (1, 65), (513, 5))),
    ("set-max-listpack-entries", "0 1 2 1000", "SADD", ((1, 2), (2, 2), (3, 2), (600, 5), (1, 65))),
    ("set-max-listpack-value", "0 2 100", "SADD", ((1, 2), (1, 3), (1, 65), (129, 5))),
    ("set-max-intset-entries", "0 1 2 1000", "SADD", ((1, 0), (2, 0), (3, 0), (600, 0), (129, 0))),
    ("zset-max-listpack-entries", "0 1 2 1000", "ZADD", ((1, 2), (2, 2), (3, 2), (200, 5), (1, 65))),
    ("zset-max-listpack-value", "0 2 100", "ZADD", ((1, 2), (1, 3), (1, 65), (129, 5))),
)  # fmt: skip


def _arguments(command: str, count: int, length: int) -> list[bytes]:
    words = [(b"w%d" % number).ljust(length, b".") if length else b"%d" % number for number in range(count)]
    if command in ("HSET", "ZADD"):
        return [word for each in words for word in ((each, b"v") if command == "HSET" else (b"1", each))]
    return words


class ThresholdTests(ValkeyTestCase):
    """The same settings and values in both."""

    def test_thresholds(self) -> None:
        """Lower and higher than at first, at each limit and past it; back at their defaults a value tells itself."""
        rig, theirs = Rig(), self.valkey.connect()
        self.addCleanup(theirs.close)
        for name, values, command, sizes in _CASES:
            before = rig.server.configuration.text(name)
            for value in values.split():
                for count, length in sizes:
                    asked: list[list[object]] = [[], []]
                    for request in (
                        [b"CONFIG", b"SET", name.encode(), value.encode()], [b"DEL", b"k"],
                        [command.encode(), b"k", *_arguments(command, count, length)], [b"OBJECT", b"ENCODING", b"k"],
                    ):  # fmt: skip
                        reply = rig.do(*request)
                        asked[0].append(reply.encode() if isinstance(reply, str) else reply)
                        asked[1].append(theirs.ask(request)[1])
                    self.assertEqual(asked[0][-1], asked[1][-1], (name, value, command, count, length))
            rig.do("CONFIG", "SET", name, before)
            theirs.ask([b"CONFIG", b"SET", name.encode(), before.encode()])

    def test_a_set_of_numbers_that_held_others(self) -> None:
        """It stays a listpack, in both."""
        rig, theirs = Rig(), self.valkey.connect()
        self.addCleanup(theirs.close)
        for request in ("CONFIG SET set-max-listpack-value 32", "SADD k 1 2 a", "SREM k a"):
            rig.do(*request.split())
            theirs.ask(request.encode().split())
        self.assertEqual(rig.do("OBJECT", "ENCODING", "k"), "listpack")
        self.assertEqual(theirs.ask([b"OBJECT", b"ENCODING", b"k"])[1], b"listpack")

    def test_a_hash_with_deadlines(self) -> None:
        """It is never small, in both."""
        rig, theirs = Rig(), self.valkey.connect()
        self.addCleanup(theirs.close)
        for request in ("CONFIG SET hash-max-listpack-entries 5", "HSET k a 1 b 2", "HEXPIRE k 100 FIELDS 1 a"):
            rig.do(*request.split())
            theirs.ask(request.encode().split())
        self.assertEqual(rig.do("OBJECT", "ENCODING", "k"), "hashtable")
        self.assertEqual(theirs.ask([b"OBJECT", b"ENCODING", b"k"])[1], b"hashtable")
