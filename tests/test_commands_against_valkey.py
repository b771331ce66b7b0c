"""Every command, compared with a real Valkey: the same requests to both, and the same bytes must come back.

Requests are made at random (see `random_requests`) by hypothesis, which also cuts a failing sequence down to its
shortest form; two clients, so that WATCH has somebody to watch; RESP2 and RESP3. More sequences, each time others:
KVSTORE_VALKEY_EXAMPLES=20000.

No error's text may differ; times may by what the two servers' clocks do.
"""

from __future__ import annotations

import itertools
import os
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.kit.pair import Pair
from tests.kit.random_requests import (
    group_sequences,
    hash_sequences,
    lexical_sequences,
    list_sequences,
    sequences,
    set_sequences,
    sort_sequences,
    sorted_set_sequences,
    stream_sequences,
)
from tests.kit.valkey import ValkeyTestCase

_EXAMPLES = int(os.environ.get("KVSTORE_VALKEY_EXAMPLES", "0"))

#: What tells the state at the end.
_STATE = [[b"DISCARD"], [b"KEYS", b"*"]] + [
    [key if word == b"KEY" else word for word in look.split()]
    for look in (
        b"GET KEY", b"PEXPIRETIME KEY", b"LRANGE KEY 0 -1", b"HGETALL KEY", b"SMEMBERS KEY",
        b"ZRANGE KEY 0 -1 WITHSCORES", b"XRANGE KEY - +", b"XINFO GROUPS KEY", b"XPENDING KEY g",
    )
    for key in (b"a", b"b", b"c", b"")
]  # fmt: skip

#: What stands before, and what may follow it. An empty word is one of them where two commas meet.
_ODD = {
    b"SET a v": b"EX,PX,NX,XX,GET,KEEPTTL,10,x,",
    b"SET a 10": b"IFEQ,10,GET,NX,x",
    b"DELIFEQ": b"a,10,x",
    b"MSETEX": b"1,a,x,EX,10,NX",
    b"MSETEX 1 a x": b"EX,PX,NX,XX,GET,KEEPTTL,10,x,",
    b"GETEX a": b"EX,PERSIST,PXAT,0,1000,x",
    b"COPY a b": b"REPLACE,DB,0,1,x",
    b"EXPIRE a": b"1000,x,NX,XX,GT,LT,FOO,",
    b"PEXPIREAT b": b"5,9223372036854775808,NX,LT,FOO",
    b"SCAN +0": b"x,MATCH,COUNT,TYPE,a,99999,string,",
    b"SCAN x": b"COUNT,0,FOO",
    b"GETRANGE a": b"0,-1,x, 1,9223372036854775808,-9223372036854775809",
    b"SETRANGE a": b"0,-1,x,+1,9223372036854775807,",
    b"INCRBYFLOAT a": b"1,0x1p3,1e4933,nan,inf, 1,",
    b"DECRBY a": b"1,-9223372036854775808,01,+1,x,",
    b"SETEX a": b"0,-1,10000,x,9223372036854775807",
    b"LPOS l x": b"RANK,COUNT,MAXLEN,0,-1,x",
    b"LMPOP": b"1,2,l,LEFT,COUNT,x",
    b"LPOP l": b"0,-1,x",
    b"LINSERT l": b"BEFORE,x,FOO",
    b"LMOVE l": b"l,a,LEFT,FOO",
    b"LRANGE l": b"0,-1,x",
    b"LSET l": b"0,-1,9,x",
    b"LREM l": b"0,-1,x",
    b"FLUSHALL": b"ASYNC,SYNC,x,",
    b"SELECT": b"0,01,-1,x,99999999999999999999",
    b"AUTH": b"default,x,",
    b"HELLO 4": b"AUTH,x,",
    b"PING": b"x,",
    b"EXEC": b"x",
    b"DISCARD": b"x",
    b"OBJECT ENCODING": b"a,b",
    b"WAIT 0": b"0,5,-1,x,1.5,",
    b"REPLICAOF NO": b"ONE,one",
    b"FAILOVER": b"ABORT",
    b"MEMORY USAGE nosuch": b"SAMPLES,0,-1,x,",
    b"CLIENT SETINFO": b"LIB-NAME,lib-ver,x,a b,",
    b"CLIENT SETNAME": b"x,a b,\n,",
    b"CLIENT NO-TOUCH": b"on,OFF,x",
    b"COMMAND INFO nosuch": b"nosuch,",
    b"COMMAND GETKEYS": b"GET,SET,MSET,PING,a,nosuch",
    b"CONFIG SET nosuch": b"nosuch,x",
}


def _hexadecimal(whole: int, bits: int, power: int) -> str:
    digits = f"{whole:x}"
    return f"0x{digits[:bits]}.{digits[bits:]}p{power}"


_floats = st.one_of(
    st.builds(_hexadecimal, st.integers(1, 2**80), st.integers(1, 20), st.integers(-16500, 16400)),
    st.builds("{}e{}".format, st.integers(-(10**22), 10**22), st.integers(-4970, 4935)),
    st.floats(allow_nan=False).map(repr),
    st.decimals(allow_nan=False, allow_infinity=False).map(str),
    st.tuples(st.integers(-(10**22), 10**22), st.integers(0, 22)).map(lambda parts: f"{parts[0]}e-{parts[1]}"),
)


class AgainstValkeyTests(ValkeyTestCase):
    """The same requests to both servers."""

    def compare(self, protocol: int, requests: list[tuple[int, list[bytes]]]) -> None:
        """Send the requests to both servers; every reply, and the state at the end, must be the same.

        Of a request that is only a number, that many milliseconds pass.
        """
        pair = Pair(self.valkey, protocol)
        try:
            done = []
            for number, words in [*requests, *((0, words) for words in _STATE)]:
                done.append((number, words))
                if words[0].isdigit():
                    time.sleep(int(words[0]) / 1000)
                elif difference := pair.differs(number, words):
                    shown = "\n".join(f"  {n}: {w!r}" for n, w in done)
                    self.fail(f"after\n{shown}\n{difference}")
            self.assertEqual(pair.rig.replayed(), pair.rig.state())
            self.assertEqual(*pair.look_ups(), done)
            self.assertEqual(*pair.events(), done)
        finally:
            pair.close()

    def test_random_sequences(self) -> None:
        """Random requests of two clients get the same replies, byte for byte, and leave the same state and log."""
        self.compare_random(sequences, 120)

    def test_random_lists(self) -> None:
        """The same for lists."""
        self.compare_random(list_sequences, 60)

    def test_random_hashes(self) -> None:
        """The same for hashes."""
        self.compare_random(hash_sequences, 60)

    def test_random_sets(self) -> None:
        """The same for sets."""
        self.compare_random(set_sequences, 60)

    def test_random_sorted_sets(self) -> None:
        """The same for sorted sets."""
        self.compare_random(sorted_set_sequences, 60)

    def test_random_lexical_ranges(self) -> None:
        """The same for sorted sets whose members have one score."""
        self.compare_random(lexical_sequences, 30)

    def test_random_sorts(self) -> None:
        """The same for what SORT takes."""
        self.compare_random(sort_sequences, 60)

    def test_random_streams(self) -> None:
        """The same for streams."""
        self.compare_random(stream_sequences, 60)

    def test_random_stream_groups(self) -> None:
        """The same for their groups."""
        self.compare_random(group_sequences, 60)

    @pytest.mark.long
    def test_more_random_requests(self) -> None:
        """More of each of these."""
        drawn = (sequences, list_sequences, hash_sequences, set_sequences, sorted_set_sequences)
        for each in (*drawn, lexical_sequences, sort_sequences, stream_sequences, group_sequences):
            self.compare_random(each, 400)

    def compare_random(self, drawn: Any, examples: int) -> None:
        """Send random sequences of requests to both servers."""

        @settings(
            max_examples=_EXAMPLES or examples,
            derandomize=not _EXAMPLES,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(st.sampled_from([2, 3]), drawn.strategy)
        def run(protocol: int, requests: list[tuple[int, list[bytes]]]) -> None:
            self.compare(protocol, requests)

        run()

    def test_odd_arguments(self) -> None:
        """Up to three arguments of every kind, in every order, get the same replies: which error comes first, too."""
        pair = Pair(self.valkey, 2)
        self.addCleanup(pair.close)
        for request, choices in _ODD.items():
            words = request.split()
            for count in range(4):
                for arguments in itertools.product(choices.split(b","), repeat=count):
                    self.assertEqual(pair.differs(0, [b"SET", b"a", b"10", b"PX", b"4000000000"]), "")
                    if words[0].startswith(b"L"):
                        pair.differs(0, [b"DEL", b"l"])
                        pair.differs(0, [b"RPUSH", b"l", b"x", b"y", b"x"])
                    self.assertEqual(pair.differs(0, [*words, *arguments]), "", [*words, *arguments])

    def test_random_floats(self) -> None:
        """INCRBYFLOAT gives the same digits for numbers of any size and length."""
        pair = Pair(self.valkey, 2)
        self.addCleanup(pair.close)

        @settings(max_examples=_EXAMPLES or 200, derandomize=not _EXAMPLES, database=None)
        @given(_floats, _floats)
        def run(number: str, increment: str) -> None:
            self.assertEqual(pair.differs(0, [b"SET", b"f", number.encode()]), "")
            self.assertEqual(pair.differs(0, [b"INCRBYFLOAT", b"f", increment.encode()]), "")
            self.assertEqual(pair.differs(0, [b"INCRBYFLOAT", b"f", b"-0.1"]), "")

        run()

    def test_expired_key(self) -> None:
        """Every command takes a key whose deadline has passed, though it is still in memory, for no key."""
        requests = (
            "GET a|EXISTS a|TYPE a|TTL a|PTTL a|EXPIRETIME a|PERSIST a|EXPIRE a 100|PEXPIREAT a 4000000000000 XX"
            "|SET a 2 XX|SET a 2 NX|SET a 2 GET|SET a 2 KEEPTTL|SETNX a 2|GETSET a 2|GETDEL a|GETEX a PERSIST|MGET a b"
            "|MSETNX a 1 b 2|APPEND a x|STRLEN a|INCR a|INCRBYFLOAT a 0.5|GETRANGE a 0 -1|SETRANGE a 2 x|DEL a|UNLINK a"
            "|TOUCH a|KEYS *|RENAME a b|RENAMENX a b|COPY a b|RANDOMKEY|OBJECT ENCODING a|FLUSHALL"
        )
        script = []
        for request in requests.split("|"):
            script += [
                [b"SET", b"a", b"1", b"PX", b"1"],
                [b"4"],
                request.encode().split(),
                [b"GET", b"a"],
                [b"FLUSHALL"],
            ]
        self.compare(2, [(0, words) for words in script])

    def test_watching_an_expiring_key(self) -> None:
        """A watched key that expires is a change at EXEC; the removal of one that had expired before WATCH is not."""
        block = "MULTI|PING|EXEC"
        scripts = (
            f"SET a 1 PX 1|4|WATCH a|{block}",
            f"SET a 1 PX 1|4|WATCH a|GET a|{block}",
            f"SET a 1 PX 1|4|WATCH a|DEL a|{block}",
            f"SET a 1 PX 1|4|WATCH a|SET a 2|{block}",
            f"SET a 1 PX 1|4|WATCH a|FLUSHALL|{block}",
            f"SET a 1 PX 1|4|WATCH a|FLUSHALL|SET a 2|DEL a|{block}",
            f"SET a 1 PX 20|WATCH a|25|{block}",
            f"SET a 1 PX 20|WATCH a|25|GET a|{block}",
            f"WATCH a|FLUSHALL|{block}",
            f"SET b 1|WATCH a|FLUSHALL|{block}",
            f"SET a 1|WATCH a|FLUSHALL|{block}",
            f"SET a 1|WATCH a|EXPIRE a 100|{block}",
            f"SET a 1 EX 100|WATCH a|PERSIST a|{block}",
            f"SET a 1|WATCH a|PERSIST a|{block}",
            f"SET a 1|WATCH a|GETEX a|{block}",
            f"SET a 1|WATCH a|GETEX a EX 100|{block}",
            f"SET a 1|WATCH a|SET a 1|{block}",
            f"SET a 1|WATCH a|SET a 1 NX|{block}",
            f"SET a 1|WATCH a|RENAME a b|{block}",
            f"SET a 1|WATCH b|RENAME a b|{block}",
            f"SET a 1|WATCH b|COPY a b|{block}",
            f"SET a 1|WATCH a|COPY a b|{block}",
            f"SET a 1|WATCH a|APPEND a|SETRANGE a 0|{block}",
            f"SET a 1|WATCH a|UNWATCH|SET a 2|{block}",
            f"SET a 1|WATCH a|SET a 2|MULTI|DISCARD|{block}",
            f"SET a 1|WATCH a|SET a 2|RESET|{block}",
            f"SET a 1|WATCH a|SET a 2|{block}|{block}",
            f"SET a 1|WATCH a|MULTI|UNWATCH|SET a 2|EXEC|{block}",
        )
        for script in scripts:
            self.compare(3, [(0, line.encode().split()) for line in script.split("|")])
