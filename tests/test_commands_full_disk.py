"""Every command that writes, on a disk that fills up at each of its operations: it changes everything or nothing."""

from __future__ import annotations

from random import Random
from typing import Any

from kvstore.commands import table
from kvstore.commands.function_dump import write_dump
from kvstore.commands.registry import WRITE
from tests.kit.harness import CommandTestCase, Rig

_REQUESTS = """
SET a 9|SET a 9 EX 5|SET a 9 KEEPTTL GET|SET a 9 EXAT 1|SETNX n 9|SETEX a 5 9|PSETEX a 5 9|GETSET a 9|GETDEL a
GETEX a EX 5|GETEX a EXAT 1|GETEX a PERSIST|MSET a 9 n 9 b 9|MSETNX m 9 n 9|APPEND a 9|APPEND n 9
MSETEX 3 a 9 n 9 h 9 EX 5|DELIFEQ a 1
SETRANGE a 3 9|INCR a|DECR a|INCRBY a 2|DECRBY a 2|INCRBYFLOAT a 0.5|DEL a b c|UNLINK a b|FLUSHALL|FLUSHDB
EXPIRE a 5|EXPIRE a 0|PEXPIRE a 5|EXPIREAT a 4000000000|PEXPIREAT a 4000000000000|PERSIST a
RENAME a b|RENAME b n|RENAMENX a n|COPY a b REPLACE|COPY b n|MOVE a 1|SWAPDB 0 1
INSERT a {}|REMOVE a
HSET h f 9|HSET n f 9 g 9|HSETNX h n 9|HMSET h f 9|HDEL h f g|HINCRBY h f 2|HINCRBYFLOAT h f 0.5|HGETDEL h FIELDS 1 f
HEXPIRE h 5 FIELDS 1 f|HPEXPIRE h 5 FIELDS 1 f|HEXPIREAT h 4000000000 FIELDS 1 f|HEXPIREAT h 1 FIELDS 1 f
HPEXPIREAT h 4000000000000 FIELDS 1 f|HPERSIST h FIELDS 1 e|HGETEX h EX 5 FIELDS 1 f|HSETEX h EX 5 FIELDS 2 f 9 n 9
RENAME h n|COPY h n|MOVE h 1|DEL h l
RPUSH l 9 9|LPUSH n 9|RPUSHX l 9|LPUSHX l 9|LPOP l|RPOP l 3|LSET l 0 9|LINSERT l BEFORE 2 9|LREM l 0 1|LTRIM l 1 1
LMOVE l n LEFT RIGHT|LMOVE l l LEFT RIGHT|RPOPLPUSH l n|LMPOP 2 n l LEFT COUNT 2
SADD s 9 8|SADD n 9|SREM s 1 2|SREM s 1 2 x|SMOVE s n x|SMOVE s t x|SMOVE t n y|SPOP s|SPOP s 2|SPOP s 9
SINTERSTORE n s t|SINTERSTORE s s n|SUNIONSTORE s s t|SUNIONSTORE n s t|SDIFFSTORE t s t
BLPOP n l 0|BRPOP l 0|BLMOVE l n LEFT LEFT 0|BRPOPLPUSH l n 0|BLMPOP 0 1 l RIGHT
ZADD z 9 p 9 s|ZADD n 9 p|ZINCRBY z 2 p|ZINCRBY n 2 p|ZREM z p q|ZREM z p q r|RENAME z n|COPY z n
ZPOPMIN z|ZPOPMAX z 2|ZPOPMIN z 9|ZMPOP 2 n z MIN COUNT 2|BZPOPMIN n z 0|BZPOPMAX z 0|BZMPOP 0 2 n z MAX COUNT 9
ZREMRANGEBYRANK z 0 1|ZREMRANGEBYSCORE z 2 3|ZREMRANGEBYLEX z [p [q|ZREMRANGEBYLEX z - +
ZRANGESTORE n z 0 1|ZRANGESTORE z y 0 -1|ZRANGESTORE z n 0 -1|ZUNIONSTORE z 2 z y|ZINTERSTORE n 2 z y
ZINTERSTORE z 2 z n|ZDIFFSTORE y 2 z y|ZDIFFSTORE a 2 z y
XADD e 5-1 f 9|XADD e MAXLEN 1 5-1 f 9|XADD n 1-1 f 9|XDEL e 1-1 4-1|XDEL e 1-1 3-1 4-1|XTRIM e MAXLEN 1|XTRIM e MINID 9
XSETID e 9-1|XSETID e 9-1 ENTRIESADDED 9 MAXDELETEDID 2-1|RENAME e n|COPY e n
XGROUP CREATE e k $|XGROUP CREATE n k 0 MKSTREAM|XGROUP SETID e g 1-1|XGROUP DESTROY e g
XGROUP CREATECONSUMER e g new|XGROUP DELCONSUMER e g one
XREADGROUP GROUP g one STREAMS e >|XREADGROUP GROUP g new STREAMS e >|XREADGROUP GROUP g new NOACK BLOCK 0 STREAMS e >
XREADGROUP GROUP g one STREAMS e 0|XACK e g 1-1|XACK e g 1-1 2-1 3-1
SORT l STORE n|SORT l STORE l|SORT x STORE l
FUNCTION LOAD {new}|FUNCTION LOAD REPLACE {old}|FUNCTION DELETE old|FUNCTION FLUSH|FUNCTION RESTORE {dump}
FUNCTION RESTORE {dump} FLUSH|FUNCTION RESTORE {dump} REPLACE
XCLAIM e g one 0 1-1 2-1|XCLAIM e g new 0 1-1 4-1 FORCE LASTID 4-1|XAUTOCLAIM e g new 0 0|XAUTOCLAIM e g one 0 0 COUNT 1
"""
_TYPED = (
    "HSET h f 1 g 2 e 3",
    "HPEXPIRE h 5000 FIELDS 1 e",
    "RPUSH l 1 2 3",
    "SADD s 1 2 x",
    "SADD t y x",
    "ZADD z 1 p 2 q 3 r",
    "ZADD y 5 q 7 s",
    "XADD e 1-1 f 1",
    "XADD e 2-1 f 2",
    "XADD e 3-1 f 3",
    "XADD e 4-1 f 4",
    "XGROUP CREATE e g 0",
    "XREADGROUP GROUP g one COUNT 3 STREAMS e >",
    "XDEL e 2-1",
)
_OLD, _NEW = (
    b"#!lua name=%b\nredis.register_function('%b', function() return 1 end)" % (name, name) for name in (b"old", b"new")
)
_WORDS = {b"{old}": _OLD, b"{new}": _NEW, b"{dump}": write_dump([_NEW])}
_SAMPLES = [
    [_WORDS.get(word, word) for word in line.split(b" ")]
    for line in _REQUESTS.strip().replace("\n", "|").encode().split(b"|")
]


class _First(Random):
    """By chance always the first."""

    def random(self) -> float:
        """See `Random`."""
        return 0.0

    def choice(self, seq: Any) -> Any:
        """See `Random`."""
        return seq[0]


class FullDiskTests(CommandTestCase):
    """StorageFull at every place where it can arise."""

    def prepared(self) -> Rig:
        """A rig with some keys, deadlines, an index and a scan order; its log is empty."""
        rig = Rig()
        rig.server.random = _First()
        for request in (
            "SET a 1 EX 100",
            "SET b 2",
            "SET c 3 PX 1",
            *_TYPED,
            'INSERT d {"v":1}',
            "QUERY v 1",
            "SCAN 0",
        ):
            rig.do(*request.split(" "))
        rig.do("FUNCTION", "LOAD", _OLD)
        rig.now_ms += 1
        rig.store.pending.begin(2)
        return rig

    def state(self, rig: Rig) -> tuple[object, ...]:
        """Everything that a request may change."""
        scanned = sorted(rig.table.scan_order.scan(0, 1000)[1])
        found = rig.do("QUERY", "v", "1")
        return rig.state(), rig.store.pending.body(), scanned, found

    def test_samples_are_complete(self) -> None:
        """Every command that writes is among the samples."""
        writes = {row.name for row in table.all_rows() if row.flags & WRITE}
        advice = "each command that writes needs a request in _REQUESTS of tests/test_commands_full_disk.py"
        samples = {table.find(words).name for words in _SAMPLES}
        self.assertEqual(samples, writes, advice)

    def check(self, *requests: list[str]) -> None:
        """Run requests with room for 0, 1, 2, ... operations, the last request being the one that fails."""
        whole = self.prepared()
        for words in requests:
            whole.do(*words)
        sizes = list(map(len, whole.table.pending.operations))
        self.assertTrue(sizes, requests)
        for room in range(len(sizes)):
            rig = self.prepared()
            for words in requests[:-1]:
                rig.do(*words)
            before = self.state(rig)
            rig.room_bytes = rig.table.pending.room = sum(sizes[:room])
            self.assertRegex(str(rig.do(*requests[-1])), "^MISCONF Errors writing to the log: no space left")
            self.assertEqual(self.state(rig), before)
            rig.room_bytes = 2**62
            rig.do(*requests[-1])
            self.assertEqual(self.state(rig), self.state(whole))

    def test_every_command(self) -> None:
        """The request fails with MISCONF and leaves nothing behind; when there is room again it does its work."""
        for words in _SAMPLES:
            self.check(words)

    def test_block(self) -> None:
        """A block that does not fit is undone whole, also what its first commands did."""
        rig = self.prepared()
        before = self.state(rig)
        block = [
            ["SET", "a", "9"],
            ["INCR", "q"],
            ["FLUSHALL"],
            ["MSET", "x", "1", "y", "2"],
            ["GET", "x"],
            ["DEL", "x"],
        ]
        for room in range(0, 140, 10):
            rig.room_bytes = 2**62
            rig.do("MULTI")
            for words in block:
                rig.do(*words)
            rig.room_bytes = room
            rig.table.pending.room = 0
            self.assertRegex(str(rig.do("EXEC")), "^MISCONF ", room)
            self.assertEqual(self.state(rig), before)
        self.assertIsNone(rig.call.client.queued)
