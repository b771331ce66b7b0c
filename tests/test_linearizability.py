"""The checker of histories accepts what is right and refuses what is wrong; the real server's histories are right."""

from __future__ import annotations

import itertools
import os
import random
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from twisted.trial.unittest import SynchronousTestCase

from tests.suites.histories.checker import REFUSED, UNKNOWN, NotLinearizable, Operation, check
from tests.suites.histories.model import execute
from tests.suites.histories.run import ConcurrentRun
from tests.suites.histories.typed_workloads import check_fences
from tests.suites.histories.workloads import WORKLOADS

_K, _L = b"k", b"l"
_LINE = re.compile(r"(\w+) +([\d.]+)-([\d.]+) +(\S+) ->? *(.*)")


def history(text: str) -> list[Operation]:
    """A history from lines `CLIENT CALLED-RETURNED WORD,WORD,... -> RESULT`.

    RESULT is a Python expression; `?` is an unknown one. `a+b` as words is a block of a and b.
    """
    operations = []
    for line in text.strip().splitlines():
        match = _LINE.fullmatch(line.strip())
        assert match is not None, line
        client, called, returned, request, result = match.groups()
        blocks = [tuple(word.encode() for word in part.split(",")) for part in request.split("+")]
        words: tuple[Any, ...] = blocks[0] if len(blocks) == 1 else (b"EXEC", *blocks)
        value = (
            UNKNOWN
            if result == "?"
            else eval(result, {"OK": "+OK", "done": ("success",), "none": ("failure",), "refused": REFUSED})
        )
        operations.append(Operation(client, float(called), float(returned), words, value))
    return operations


class RightHistoriesTests(SynchronousTestCase):
    """What may happen is accepted."""

    def accept(self, text: str) -> None:
        """The history in `text` is linearizable, in whatever order it is written down."""
        operations = history(text)
        for order in itertools.islice(itertools.permutations(operations), 50):
            check(order)

    def test_one_after_the_other(self) -> None:
        """A history without concurrency: what the commands do."""
        self.accept("""
            a 1-2 SET,k,1 -> OK
            b 3-4 INCR,k -> 2
            a 5-6 GETSET,k,9 -> b"2"
            b 7-8 SET,k,5,NX -> None
            a 9-10 DEL,k -> 1
            a 11-12 DEL,k -> 0
            b 13-14 SET,k,5,NX -> OK
            b 15-16 GET,k -> b"5"
        """)

    def test_queues(self) -> None:
        """Elements come out at either end, of who waits too, and move."""
        self.accept("""
            a 1-2 RPUSH,k,x -> 1
            a 3-4 LPUSH,k,y -> 2
            b 5-6 LPOP,k -> b"y"
            b 7-8 LMOVE,k,l,LEFT,RIGHT -> b"x"
            a 9-10 BRPOP,k -> None
            a 11-16 BLPOP,k -> [b"k", b"x"]
            b 13-14 BLMOVE,l,k,RIGHT,LEFT -> b"x"
            b 17-18 RPOP,l -> None
            b 19-20 LRANGE,k -> []
        """)
        self.accept("""
            a 1-2 RPUSH,k,x -> 1
            b 3-3 BLPOP,k -> ?
            a 5-6 LPOP,k -> None
        """)

    def test_boards(self) -> None:
        """Scores, ranks, what is popped at either end, by one who waits too, a set united with another."""
        self.accept("""
            a 1-2 ZADD,k,5,x -> 1
            a 3-4 ZINCRBY,k,2,y -> b"2"
            b 5-6 ZRANK,k,x -> 1
            b 7-8 ZUNIONSTORE,l,k -> 2
            a 9-10 ZPOPMIN,k -> [b"y", b"2"]
            a 11-12 ZPOPMAX,k -> [b"x", b"5"]
            a 13-20 BZPOPMIN,k -> [b"k", b"z", b"1"]
            b 14-15 ZADD,k,1,z -> 1
            b 21-22 ZRANGE,l -> [b"y", b"2", b"x", b"5"]
            b 23-24 ZSCORE,k,z -> None
            b 25-26 ZREM,l,y+ZINCRBY,k,7,y -> [1, b"7"]
        """)

    def test_groups(self) -> None:
        """An entry is given out once, acknowledged once, claimed from one who was not heard of again."""
        self.accept("""
            a 1-2 XGROUP,k -> OK
            b 3-4 XGROUP,k -> "-BUSYGROUP Consumer Group name already exists"
            a 5-6 XADD,k,x -> b"1-0"
            a 5-7 XADD,k,y -> b"1-1"
            b 8-9 XREADGROUP,k,b -> (b"1-0", b"x")
            c 8-8 XREADGROUP,k,c -> ?
            b 10-11 XPENDING,k -> ((b"1-0", b"b", 1), (b"1-1", b"c", 1))
            b 12-13 XACK,k,1-0 -> 1
            b 14-15 XACK,k,1-0 -> 0
            d 16-17 XAUTOCLAIM,k,d -> (b"1-1", b"y")
            e 18-19 XCLAIM,k,e,1-1 -> (b"1-1", b"y")
            e 20-21 XPENDING,k -> ((b"1-1", b"e", 3),)
            e 22-23 XREADGROUP,k,e -> None
        """)

    def test_locks(self) -> None:
        """One has it until it is let go or its time is up: 5 s, from some moment of the request on."""
        self.accept("""
            a 1-2 LOCK,k,x,5000 -> OK
            b 3-4 LOCK,k,y,5000 -> None
            a 3-4 FENCED,k,f,s,x,v -> 1
            b 3-4 FENCED,k,f,s,y,w -> 0
            b 5-6 HOLDER,k -> b"x"
            b 6-7 LOCK,k,y,5000 -> OK
            a 8-9 UNLOCK,k,x -> 0
            b 8-9 SHARED,k,f,s -> [b"1", b"v"]
            b 10-11 EXTEND,k,y,5000 -> 1
            b 12-13 UNLOCK,k,y -> 1
            b 14-15 HOLDER,k -> None
            b 16-17 RAISES,k,f,s,n,v -> refused
        """)
        self.accept("""
            a 1-2 LOCK,k,x,5000 -> ?
            b 3-4 HOLDER,k -> b"x"
            b 7-8 LOCK,k,y,5000 -> OK
        """)

    def test_fields(self) -> None:
        """Each field of a hash is a register of its own."""
        self.accept("""
            a 1-2 HSET,k,f,x -> 1
            b 3-4 HGET,k,g -> None
            a 5-6 HSET,k,f,y -> 0
            b 5-9 HSETNX,k,f,z -> 0
            b 10-11 HGET,k,f -> b"y"
            a 12-13 HDEL,k,f -> 1
            b 12-19 HINCRBY,k,n -> 1
            a 20-21 HGET,k,n -> b"1"
        """)

    def test_documents(self) -> None:
        """Insert, lookup and remove."""
        self.accept("""
            a 1-2 REMOVE,k -> none
            a 3-4 INSERT,k,[1] -> done
            b 5-6 LOOKUP,k -> ("success", b"[1]")
            a 7-8 REMOVE,k -> done
            b 9-10 LOOKUP,k -> none
        """)

    def test_concurrent_operations_take_any_order(self) -> None:
        """Readers during a write see the old value or the new one."""
        self.accept("""
            a 1-10 SET,k,1 -> OK
            b 2-3 GET,k -> None
            c 4-5 GET,k -> b"1"
            b 6-7 GET,k -> b"1"
        """)

    def test_unknown_outcomes(self) -> None:
        """What was not answered may have been done at once, much later, or never."""
        for seen in ("None", 'b"1"'):
            self.accept(f"a 1-2 SET,k,1 -> ?\nb 3-4 GET,k -> {seen}\nb 5-6 GET,k -> {seen}")
        self.accept('a 1-2 SET,k,1 -> ?\nb 3-4 GET,k -> None\nb 5-6 GET,k -> b"1"')

    def test_blocks_and_compare_and_set(self) -> None:
        """Blocks over two keys, a compare-and-set that won and one that was refused."""
        self.accept("""
            a 1-10 SET,k,1+SET,l,1 -> [OK, OK]
            b 2-3 GET,k+GET,l -> [None, None]
            c 4-5 MGET,k,l -> [b"1", b"1"]
            b 11-12 CAS,k,1,2 -> [OK]
            c 11-13 CAS,k,1,3 -> None
            b 14-15 GET,k -> b"2"
        """)

    def test_refused(self) -> None:
        """What was refused, alone or inside a block, has changed nothing."""
        self.accept("""
            a 1-2 SET,k,1 -> refused
            b 3-4 GET,k -> None
            a 5-6 SET,k,2+SET,l,2 -> [refused, OK]
            b 7-8 MGET,k,l -> [None, b"2"]
        """)

    def test_random_histories_of_a_real_table(self) -> None:
        """Operations that were really executed one by one, with calls and returns spread around them, are accepted."""
        chance = random.Random(5)
        for _ in range(30):
            table: dict[bytes, bytes] = {}
            operations = []
            for moment in range(40):
                key = chance.choice((_K, _L))
                words: Any = chance.choice(
                    ((b"GET", key), (b"INCR", key), (b"DEL", key), (b"GETSET", key, b"7"), (b"SET", key, b"3", b"NX"),
                     (b"EXEC", (b"INCR", _K), (b"INCR", _L)))
                )  # fmt: skip
                result = execute(table, words)
                start, end = moment - chance.uniform(0, 3), moment + chance.uniform(0, 3)
                operations.append(Operation("x", start, end, words, UNKNOWN if chance.random() < 0.1 else result))
            check(operations)


class WrongHistoriesTests(SynchronousTestCase):
    """What must not happen is refused, and the text shows where."""

    def refuse(self, text: str) -> str:
        """The history in `text` is not linearizable; returns what is said of it."""
        return str(self.assertRaises(NotLinearizable, check, history(text)))

    def test_lost_update(self) -> None:
        """Two increments, both answered, of which one is gone: or both were told the same number."""
        self.refuse("a 1-2 INCR,k -> 1\nb 1-2 INCR,k -> 2\na 3-4 GET,k -> b'1'")
        self.refuse("a 1-2 INCR,k -> 1\nb 1-2 INCR,k -> 1")

    def test_lost_write(self) -> None:
        """An acknowledged write is not there: what kill -9 must not lead to."""
        said = self.refuse("a 1-2 SET,k,1 -> OK\nb 3-4 GET,k -> None")
        self.assertIn("GET", said)
        self.refuse("a 1-2 INSERT,k,1 -> done\nb 3-4 LOOKUP,k -> none")

    def test_stale_read(self) -> None:
        """A read that began after a write was acknowledged sees the value before it."""
        self.refuse("a 1-2 SET,k,1 -> OK\na 3-4 SET,k,2 -> OK\nb 5-6 GET,k -> b'1'")

    def test_taken_back(self) -> None:
        """A value that was not acknowledged was seen, and then was not there: what a reply sent too early leads to."""
        self.refuse("a 1-2 SET,k,1 -> ?\nb 3-4 GET,k -> b'1'\nb 5-6 GET,k -> None")
        self.refuse("a 1-9 SET,k,1 -> OK\nb 2-3 GET,k -> b'1'\nc 4-5 GET,k -> None")

    def test_before_its_call(self) -> None:
        """A value is seen before anybody asked for it, even if its outcome is unknown."""
        self.refuse("b 1-2 GET,k -> b'1'\na 3-4 SET,k,1 -> OK")
        self.refuse("b 1-2 GET,k -> b'1'\na 3-4 SET,k,1 -> ?")

    def test_from_nowhere(self) -> None:
        """A value that nobody wrote."""
        self.refuse("a 1-9 SET,k,1 -> OK\nb 2-8 GET,k -> b'2'")

    def test_done_twice(self) -> None:
        """One increment, unanswered, that counts twice."""
        self.refuse("a 1-2 INCR,k -> ?\nb 3-4 GET,k -> b'2'")

    def test_half_a_transaction(self) -> None:
        """One key of a block is there and the other is not, at once or one after the other."""
        self.refuse("a 1-2 SET,k,1+SET,l,1 -> [OK, OK]\nb 3-4 MGET,k,l -> [b'1', None]")
        self.refuse("a 1-2 SET,k,1+SET,l,1 -> ?\nb 3-4 GET,k+GET,l -> [None, b'1']")
        self.refuse("a 1-2 SET,k,1+SET,l,1 -> ?\nb 3-4 GET,k -> b'1'\nb 5-6 GET,l -> None")

    def test_order_inversion(self) -> None:
        """Two readers see two writes in opposite orders."""
        self.refuse("""
            a 1-20 SET,k,1 -> OK
            b 1-20 SET,k,2 -> OK
            c 2-3 GET,k -> b"1"
            c 4-5 GET,k -> b"2"
            d 6-7 GET,k -> b"1"
        """)
        self.refuse("""
            a 1-20 SET,k,1+GET,l -> [OK, None]
            b 1-20 SET,l,1+GET,k -> [OK, None]
        """)

    def test_won_twice(self) -> None:
        """SET NX and compare-and-set are won by one, and not by somebody after it was taken."""
        self.refuse("a 1-9 SET,k,1,NX -> OK\nb 1-9 SET,k,2,NX -> OK")
        self.refuse("c 0-1 SET,k,0 -> OK\na 2-9 CAS,k,0,1 -> [OK]\nb 2-9 CAS,k,0,2 -> [OK]")
        self.refuse("a 1-2 SET,k,1,NX -> None")

    def test_both_got_the_same(self) -> None:
        """GETSET hands each value on once; DEL and remove tell one client that it was there."""
        self.refuse("a 1-2 SET,k,1 -> OK\na 3-9 GETSET,k,2 -> b'1'\nb 3-9 GETSET,k,3 -> b'1'")
        self.refuse("a 1-2 SET,k,1 -> OK\na 3-9 DEL,k -> 1\nb 3-9 DEL,k -> 1")
        self.refuse("a 1-2 INSERT,k,1 -> done\na 3-9 REMOVE,k -> done\nb 3-9 REMOVE,k -> done")

    def test_refused_and_done(self) -> None:
        """What was refused was done all the same; a block's reply lacks a part."""
        self.refuse("a 1-2 SET,k,1 -> refused\nb 3-4 GET,k -> b'1'")
        self.refuse("a 1-2 SET,k,1+SET,l,1 -> [OK, refused]\nb 3-4 GET,l -> b'1'")
        self.refuse("a 1-2 SET,k,1+SET,l,1 -> [OK]")

    def test_one_bad_key_among_many(self) -> None:
        """Groups of keys are checked apart, and each of them is."""
        good = "\n".join(f"a {2 * n}-{2 * n + 1} SET,k{n},1 -> OK" for n in range(50))
        self.assertEqual(check(history(good)), 50)
        self.refuse(good + "\nb 200-201 GET,k33 -> None")

    def test_queues(self) -> None:
        """An element that comes out twice, is lost, or comes out before one that was pushed before it."""
        self.refuse("""
            a 1-2 RPUSH,k,x -> 1
            a 3-4 LPOP,k -> b"x"
            b 3-4 BLPOP,k -> [b"k", b"x"]
        """)
        self.refuse("""
            a 1-2 RPUSH,k,x -> 1
            a 3-4 LMOVE,k,l,LEFT,LEFT -> b"x"
            b 5-6 LRANGE,l -> []
        """)
        self.refuse("""
            a 1-2 RPUSH,k,x -> 1
            a 3-4 RPUSH,k,y -> 2
            b 5-6 BLPOP,k -> [b"k", b"y"]
        """)

    def test_boards(self) -> None:
        """A member that is popped twice, a score or a rank that is not so, a block that is half done."""
        self.refuse("""
            a 1-2 ZADD,k,1,x -> 1
            a 3-4 ZPOPMIN,k -> [b"x", b"1"]
            b 3-4 BZPOPMIN,k -> [b"k", b"x", b"1"]
        """)
        self.refuse("a 1-2 ZINCRBY,k,1,x -> b'1'\nb 1-2 ZINCRBY,k,1,x -> b'1'")
        for request, seen in (
            ("ZPOPMIN,k", '[b"y", b"2"]'), ("ZPOPMAX,k", '[b"x", b"1"]'), ("ZRANK,k,y", "0"), ("ZSCORE,k,x", 'b"2"'),
            ("ZRANGE,k", '[b"y", b"2", b"x", b"1"]'), ("ZREM,k,x", "0"), ("ZADD,k,3,x", "1"), ("BZPOPMIN,k", "None"),
        ):  # fmt: skip
            self.refuse(f"a 1-2 ZADD,k,1,x -> 1\na 3-4 ZADD,k,2,y -> 1\nb 5-6 {request} -> {seen}")
        self.refuse("a 1-2 ZREM,l,y+ZINCRBY,k,7,y -> ?\nb 3-4 ZSCORE,k,y -> b'7'\nb 5-6 ZADD,l,1,y -> 0")
        self.refuse("a 1-2 ZADD,k,1,x -> 1\na 3-4 ZUNIONSTORE,l,k -> 1\nb 5-6 ZRANGE,l -> []")

    def test_groups(self) -> None:
        """An entry that two are given, that is skipped or forgotten, pending with another, given out uncounted."""
        begin = "a 1-2 XGROUP,k -> OK\na 3-4 XADD,k,x -> b'1-0'\na 5-6 XADD,k,y -> b'1-1'\n"
        given = begin + "b 7-8 XREADGROUP,k,b -> (b'1-0', b'x')\n"
        for wrong in (
            given + "c 7-8 XREADGROUP,k,c -> (b'1-0', b'x')", begin + "b 7-8 XREADGROUP,k,b -> (b'1-1', b'y')",
            begin + "b 7-8 XREADGROUP,k,b -> None", given + "b 9-10 XACK,k,1-0 -> 0", given + "b 9-10 XPENDING,k -> ()",
            given + "b 9-10 XPENDING,k -> ((b'1-0', b'c', 1),)", given + "b 9-10 XPENDING,k -> ((b'1-0', b'b', 2),)",
            given + "b 9-10 XACK,k,1-0 -> 1\nc 9-10 XACK,k,1-0 -> 1", given + "c 9-10 XAUTOCLAIM,k,c -> None",
            given + "b 9-10 XACK,k,1-0 -> 1\nc 11-12 XCLAIM,k,c,1-0 -> (b'1-0', b'x')",
            given + "c 9-10 XCLAIM,k,c,1-0 -> (b'1-0', b'x')\nc 11-12 XPENDING,k -> ((b'1-0', b'c', 1),)",
            begin + "c 7-8 XADD,k,z -> b'1-1'", begin + "c 7-8 XLEN,k -> 1", begin + "c 7-8 XGROUP,k -> OK",
        ):  # fmt: skip
            self.refuse(wrong)

    def test_locks(self) -> None:
        """Two who hold it, one who holds it after its time or loses it before, the work of one who does not hold it."""
        got = "a 1-2 LOCK,k,x,5000 -> OK\n"
        for wrong in (
            got + "b 1-2 LOCK,k,y,5000 -> OK", got + "b 3-5 LOCK,k,y,5000 -> OK", got + "b 3-5 HOLDER,k -> None",
            got + "b 8-9 HOLDER,k -> b'x'", got + "b 8-9 LOCK,k,y,5000 -> None", got + "a 8-9 FENCED,k,f,s,x,v -> 1",
            got + "a 3-4 UNLOCK,k,x -> 0", got + "b 3-4 UNLOCK,k,y -> 1", got + "a 3-4 FENCED,k,f,s,x,v -> 0",
            got + "b 3-4 FENCED,k,f,s,y,v -> 1", got + "a 3-4 UNLOCK,k,x -> 1\nb 5-6 HOLDER,k -> b'x'",
            got + "a 3-4 FENCED,k,f,s,x,v -> 1\nb 5-6 SHARED,k,f,s -> [b'1', None]",
            got + "b 3-4 RAISES,k,f,s,n,v -> refused\nb 5-6 SHARED,k,f,s -> [b'1', None]",
            got + "b 3-4 RAISES,k,f,s,n,v -> ?\nb 5-5.5 HOLDER,k -> None",
            got + "a 3-4 EXTEND,k,x,5000 -> 1\nb 6-7 LOCK,k,y,5000 -> OK",
        ):  # fmt: skip
            self.refuse(wrong)

    def test_fences(self) -> None:
        """Two who were let in by turns, or as the same number: seen without a search."""
        for tokens, numbers, good in (
            ("xxy", "123", True), ("xyy", "135", True), ("xyx", "123", False), ("xy", "11", False),
        ):  # fmt: skip
            passed = [
                Operation("a", 0, 0, (b"FENCED", b"k", b"f", b"s", token.encode(), b"v"), int(number))
                for token, number in zip(tokens, numbers, strict=True)
            ]
            if good:
                check_fences(passed)
            else:
                self.assertRaises(NotLinearizable, check_fences, passed)

    def test_fields(self) -> None:
        """A field that was set is not there, or has what it had before."""
        for seen in ("None", 'b"x"'):
            self.refuse(f"""
                a 1-2 HSET,k,f,x -> 1
                a 3-4 HSET,k,f,y -> 0
                b 5-6 HGET,k,f -> {seen}
            """)

    def test_a_long_history_with_one_wrong_read(self) -> None:
        """Among hundreds of concurrent operations one stale read is found, in a moment."""
        lines = [f"c{n % 5} {n}-{n + 4.5} INCR,k -> {n + 1}" for n in range(300)]
        check(history("\n".join(lines)))
        self.refuse("\n".join([*lines, "r 200-201 GET,k -> b'150'"]))


class EvictionTests(SynchronousTestCase):
    """A key that is gone was evicted, which is in the history."""

    def test_histories(self) -> None:
        """It is gone at some moment of that time, and for good; nothing else goes."""
        set_it, read = "a 1-2 SET,k,1 -> OK", "b {} GET,k -> {}"
        evicted = "e 2.5-4 EVICT,k -> None"
        for right in ([read.format("3-5", None)], [read.format("3-3.5", b"1"), read.format("3.6-5", None)]):
            check(history("\n".join([set_it, evicted, *right])))
        for wrong in (
            [read.format("3-5", None)], [evicted, read.format("4.5-5", b"1")], [evicted, read.format("2.1-2.4", None)],
            [evicted, read.format("3-3.5", None), read.format("3.6-5", b"1")],
        ):  # fmt: skip
            self.assertRaises(NotLinearizable, check, history("\n".join([set_it, *wrong])))


class RealServerTests(SynchronousTestCase):
    """A few histories of the real server; scripts/linearizability makes many."""

    def run_on_the_side(self, workload: str = "keys") -> ConcurrentRun:
        """Histories on a directory of their own."""
        directory = tempfile.mkdtemp(prefix="kvstore-concurrent-")
        self.addCleanup(shutil.rmtree, directory, ignore_errors=True)
        data, seed = Path(directory, "data"), random.randrange(2**32)
        run = ConcurrentRun(
            data, seed, ("--compact-after", "100"), clients=6 if workload == "keys" else 4, workload=workload
        )
        self.addCleanup(run.stop)
        return run

    def check(self, run: ConcurrentRun) -> None:
        """One more history."""
        try:
            run.check_one()
        except NotLinearizable as error:
            raise AssertionError(f"seed {run.seed}: {error}") from None

    def test_crowded(self) -> None:
        """Clients whose requests are kept until the turn ends, and executed together, see one order too."""
        crowded = str(Path(__file__).parent / "kit" / "crowded")
        with mock.patch.dict(os.environ, PYTHONPATH=os.pathsep.join([crowded, os.environ.get("PYTHONPATH", "")])):
            run = self.run_on_the_side()
            self.check(run)
        self.assertGreater(run.counts.together, 0)

    def test_histories_with_kills(self) -> None:
        """Clients at work while the server is killed and started again see one order of everything."""
        run = self.run_on_the_side()
        for _ in range(2):
            self.check(run)
        self.assertGreater(run.counts.operations, 300)
        self.assertGreater(run.counts.unknown, 0)
        recorded = run.record()
        check(recorded)
        place = max(n for n, each in enumerate(recorded) if each.words[0] == b"GET" and each.result is not None)
        recorded[place] = recorded[place]._replace(result=b"never written")
        self.assertRaises(NotLinearizable, check, recorded)
        self.assertEqual(run.counts.kills, 3)
        self.assertEqual(set(run.counts.by_overlap), {"always", "auto", "never"})
        self.assertGreater(run.counts.by_command["GET pipelined"], 0)
        self.assertGreater(run.counts.by_command["SET pipelined"], 0)

    def test_queues_with_kills(self) -> None:
        """No element of a queue comes out twice, or is lost, whoever pops, waits, moves or vanishes."""
        run = self.run_on_the_side("queues")
        recorded = run.record()
        check(recorded)
        taken = next(each for each in recorded if each.words[0] == b"LPOP" and isinstance(each.result, bytes))
        recorded.append(taken._replace(client="thief", called=1e9, returned=1e9 + 1))
        self.assertRaises(NotLinearizable, check, recorded)
        for name in ("RPUSH", "BLPOP", "LMOVE", "BLMOVE", "EXEC"):
            self.assertGreater(run.counts.by_command[name], 0, name)

    @pytest.mark.long
    def test_boards_groups_and_locks_with_kills(self) -> None:
        """Each of them, and that a fault planted in its history would be seen."""
        planted: dict[str, Callable[[Operation], Any]] = {
            "boards": lambda each: each.words[0] == b"ZINCRBY" and each._replace(result=b"-1"),
            "groups": lambda each: each.words[0] == b"XREADGROUP" and each.result and each._replace(client="thief"),
            "locks": lambda each: each.words[0] == b"FENCED" and each.result and each._replace(result=each.result + 1),
        }
        for workload, plant in planted.items():
            run = self.run_on_the_side(workload)
            recorded = run.record()
            check(recorded)
            WORKLOADS[workload].check(recorded)
            answered = [each for each in recorded if each.result is not UNKNOWN]
            recorded.append(next(wrong for each in reversed(answered) if (wrong := plant(each))))
            self.assertRaises(NotLinearizable, check, recorded)
