"""A cluster of one group against a Valkey in cluster mode that has all slots: reply for reply."""

from __future__ import annotations

import re
import time

from kvstore.wire.resp import pack
from tests.kit.group import MemoryGroup, Talker
from tests.kit.valkey import ValkeyTestCase

#: Each in its turn.
REQUESTS = """
    SET b 1 | GET b | MSET b 1 foo 2 | MSET {b}1 1 {b}2 2 | MGET {b}1 {b}2 | DEL {b}1 foo | RENAME b foo | RENAME b {b}9
    CLUSTER KEYSLOT foo | CLUSTER KEYSLOT {foo}bar | CLUSTER KEYSLOT | CLUSTER KEYSLOT a b | CLUSTER | CLUSTER NOSUCH
    CLUSTER COUNTKEYSINSLOT 3300 | CLUSTER COUNTKEYSINSLOT -1 | CLUSTER COUNTKEYSINSLOT x | CLUSTER COUNTKEYSINSLOT
    CLUSTER GETKEYSINSLOT 12182 10 | CLUSTER GETKEYSINSLOT 3300 0 | CLUSTER GETKEYSINSLOT 3300 -1
    CLUSTER GETKEYSINSLOT 16384 1 | CLUSTER GETKEYSINSLOT x 1 | CLUSTER GETKEYSINSLOT 1 x | CLUSTER REPLICAS nosuch
    CLUSTER SLAVES nosuch | CLUSTER LINKS | CLUSTER INFO x | CLUSTER SLOTS x | CLUSTER MYID x
    ASKING | READONLY | GET b | SET b 2 | READWRITE | SELECT 1 | SELECT 0 | SWAPDB 0 1 | MOVE b 1 | COPY b {b}c DB 1
    COPY {b}9 {b}c | COPY {b}9 foo | SUNIONSTORE {b}s a b | SINTERCARD 2 a b | LMPOP 2 a b LEFT | EVAL x 2 a b
    XREAD STREAMS a b 0 0 | BLPOP a b 0 | BLPOP {b}l a 1 | SSUBSCRIBE a b | SPUBLISH a x | PUBSUB SHARDCHANNELS
    MULTI | SET b 1 | SET foo 1 | EXEC | EXEC | MULTI | MSET a 1 b 2 | SET b 1 | EXEC | MULTI | PING | EXEC
    MULTI | SET b 1 | GET b | EXEC | MULTI | SET b 1 | SET foo 1 | DISCARD | WATCH a b | WATCH b | UNWATCH
    SORT b BY w_* | SORT b BY w_*{b} | RPUSH l 1 2 | SORT l BY w_*{l} | SORT l BY w_*
    SORT l BY nosort GET # | SORT l GET w_* GET # | SORT l GET w_*{l} | SORT_RO l BY {l}_* GET {l}_*
    SORT l BY {l*} | SORT l GET {*}l
    DBSIZE | RANDOMKEY x | FLUSHALL | DBSIZE | INFO cluster
"""
SCRIPTS = [
    (b"return redis.call('get', KEYS[1])", b"1", b"foo"),
    (b"redis.call('get', 'a') return redis.call('get', 'b')", b"0"),
    (b"#!lua\nredis.call('get', 'a') return redis.call('get', 'b')", b"0"),
    (b"#!lua flags=allow-cross-slot-keys\nredis.call('get', 'a') return redis.call('get', 'b')", b"0"),
    (b"#!lua flags=no-cluster\nreturn 1", b"0"),
    (b"#!lua\nreturn redis.call('get', 'a')", b"1", b"b"),
    (b"return redis.call('mget', 'a', 'b')", b"0"),
]


class AgainstValkeyTests(ValkeyTestCase):
    """Replies, byte for byte."""

    options = ("--cluster-enabled", "yes", "--cluster-require-full-coverage", "yes")

    def setUp(self) -> None:
        """Both have all slots."""
        super().setUp()
        self.theirs = self.valkey.connect()
        self.addCleanup(self.theirs.close)
        self.theirs.ask([b"CLUSTER", b"ADDSLOTSRANGE", b"0", b"16383"])
        while b"cluster_state:ok" not in self.theirs.ask([b"CLUSTER", b"INFO"])[0]:
            time.sleep(0.01)
        self.group = MemoryGroup(1, name="a", slots="0-16383")
        self.ours = Talker(self.group.leader())
        self.group.go_on(1)

    def our_reply(self, words: list[bytes]) -> bytes:
        """Of one request."""
        self.ours.received = b""
        self.ours.write(pack(*words))
        self.group.until(lambda: self.ours.received)
        self.group.go_on(0.01)
        return self.ours.received

    def test_replies(self) -> None:
        """The same, errors included."""
        texts = [request.encode().split() for line in REQUESTS.strip().splitlines() for request in line.split("|")]
        requests = texts + [[b"EVAL", *each] for each in SCRIPTS]
        replies = [(words, self.our_reply(words), self.theirs.ask(words)[0]) for words in requests]
        self.assertEqual([each for each in replies if each[1] != each[2]], [])

    def test_what_is_told_of_the_cluster(self) -> None:
        """The fields are the same."""
        of_messages = re.compile(rb"cluster_stats_messages_[a-z]+_(sent|received):.*\r\n")
        ours, theirs = (
            re.sub(rb":[0-9]+\r", b":N\r", of_messages.sub(b"", reply)).split(b"\r\n")[1:]
            for reply in (self.our_reply([b"CLUSTER", b"INFO"]), self.theirs.ask([b"CLUSTER", b"INFO"])[0])
        )
        self.assertEqual(ours, theirs)
        line = re.compile(rb"[0-9a-f]{40} .* myself,master - [0-9]+ [0-9]+ [0-9]+ connected 0-16383\n")
        for reply in (self.our_reply, lambda w: self.theirs.ask(w)[0]):
            self.assertRegex(reply(b"CLUSTER NODES".split()), line)
