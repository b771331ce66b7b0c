"""Pub/sub: who gets what and when, what a subscribed client may ask for, limits; the same bytes as a real Valkey."""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.limits import SUBSCRIPTION_BYTES
from kvstore.commands import pubsub, table
from kvstore.commands.channels import Channels
from kvstore.wire import resp
from kvstore.wire.resp import pack
from tests.kit.serving import Serving
from tests.kit.valkey import ValkeyTestCase

OK, QUEUED = b"+OK\r\n", b"+QUEUED\r\n"
ONLY = b": only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"


def _sorted(data: bytes) -> list[bytes]:
    """Messages; those of one that fits several patterns come in no promised order."""
    return sorted(re.split(rb"(?=[*>]4\r\n)", data))


def array(*elements: bytes | int | None, head: bytes = b"*") -> bytes:
    """An array of strings and integers in RESP2; with head `>` the push of RESP3."""
    return head + bytes(resp.encode(list(elements), 3 if head == b">" else 2))[1:]


def message(text: bytes, channel: bytes = b"c") -> bytes:
    """What a subscriber gets."""
    return array(b"message", channel, text)


class PubSubTestCase(SynchronousTestCase):
    """One client that publishes, and two that subscribe; RESP2."""

    def setUp(self) -> None:
        """Connect them."""
        self.serving = Serving()
        self.publisher, self.one, self.two = (self.serving.connect() for _ in range(3))
        self.channels = self.serving.server.channels

    def assert_nothing_left(self) -> None:
        """Nobody subscribes to anything, and nothing is kept of those who did."""
        empty = Channels()
        for kind, nothing in zip(self.channels._kinds, empty._kinds, strict=True):
            self.assertEqual((kind.subscribers, kind._names), (nothing.subscribers, nothing._names))
        self.assertEqual(self.channels.patterns.matchers, {})
        self.assertEqual([each.client.subscription_bytes for each in (self.publisher, self.one, self.two)], [0] * 3)


class MessageTests(PubSubTestCase):
    """Who gets a message, and when."""

    def test_at_once(self) -> None:
        """Where nothing is to be waited for; also while somebody else's write is on its way."""
        self.one.ask("SUBSCRIBE c")
        self.two.ask("SET k 1")
        self.assertEqual(self.publisher.ask("PUBLISH c hi"), b":1\r\n")
        self.assertEqual(self.one.released(), message(b"hi"))

    def test_with_the_commit_of_the_block(self) -> None:
        """No earlier than the reply; then in order."""
        self.one.ask("SUBSCRIBE c")
        self.publisher.ask("MULTI", "PUBLISH c 1", "SET k v", "PUBLISH c 2", "EXEC")
        self.serving.close()
        self.assertEqual((self.publisher.released(), self.one.released()), (b"", b""))
        self.serving.settle()
        self.assertEqual(self.publisher.released(), OK + QUEUED * 3 + b"*3\r\n:1\r\n" + OK + b":1\r\n")
        self.assertEqual(self.one.released(), message(b"1") + message(b"2"))

    def test_with_what_the_request_has_read(self) -> None:
        """A block that reads a pending change waits for it; a request behind a write for that write's reply."""
        self.one.ask("SUBSCRIBE c")
        self.two.ask("SET k 1")
        self.publisher.ask("MULTI", "GET k", "PUBLISH c 1", "EXEC")
        self.assertEqual(self.one.released(), b"")
        self.serving.commit()
        self.assertEqual(self.one.released(), message(b"1"))
        self.publisher.ask("SET k 2", "PUBLISH c 2")
        self.assertEqual(self.one.released(), b"")
        self.serving.commit()
        self.assertEqual(self.one.released(), message(b"2"))

    def test_behind_earlier_ones(self) -> None:
        """A message that could leave at once waits for one that cannot: each subscriber gets them in order."""
        self.one.ask("SUBSCRIBE c")
        self.publisher.ask("SET k 1", "PUBLISH c 1")
        self.two.ask("PUBLISH c 2")
        self.assertEqual(self.one.released(), b"")
        self.serving.commit()
        self.assertEqual(self.one.released(), message(b"1") + message(b"2"))

    def test_of_a_block_that_is_undone(self) -> None:
        """Nobody is told, and who had subscribed in it has not; who had left it has not."""
        self.one.ask("SUBSCRIBE c", "PSUBSCRIBE p*", "SSUBSCRIBE s")
        self.serving.server.max_reply_bytes = 1000
        self.publisher.ask("HELLO 3", "SUBSCRIBE old")
        self.publisher.ask("SET k " + "x" * 2000)
        block = ("MULTI", "PUBLISH c hi", "SPUBLISH s hi", "SUBSCRIBE new", "UNSUBSCRIBE old", "GET k", "EXEC")
        self.publisher.ask(*block)
        self.serving.commit()
        self.assertIn(b"the reply is larger", self.publisher.released())
        self.assertEqual(self.one.released(), b"")
        self.assertEqual(list(self.channels.channels.names_of(self.publisher.client)), [b"old"])
        self.assertEqual(self.publisher.client.subscription_bytes, SUBSCRIPTION_BYTES + 3)

    def test_once_for_each_subscription(self) -> None:
        """One that fits a channel and two patterns comes three times, to each client; shard channels are apart."""
        for client in (self.one, self.two):
            client.ask("SUBSCRIBE news.x s", "PSUBSCRIBE news.* *x")
        self.one.ask("SSUBSCRIBE s")
        self.assertEqual(self.publisher.ask("PUBLISH news.x hi", "SPUBLISH s hi"), b":6\r\n:1\r\n")
        expected = message(b"hi", b"news.x") + b"".join(
            array(b"pmessage", pattern, b"news.x", b"hi") for pattern in (b"news.*", b"*x")
        )
        self.assertEqual(self.one.released(), expected + array(b"smessage", b"s", b"hi"))
        self.assertEqual(self.two.released(), expected)

    def test_encoded_and_matched_once(self) -> None:
        """For each version of RESP, and each pattern, however many clients there are."""
        clients = [self.serving.connect() for _ in range(20)]
        for number, client in enumerate(clients):
            client.ask(f"HELLO {2 + number % 2}", "PSUBSCRIBE c*")
        matched: list[bytes] = []
        self.channels.patterns.matchers[b"c*"] = lambda name: [matched.append(name)]
        self.publisher.ask("PUBLISH c hi")
        self.assertEqual(len({id(data) for client in clients for data in client.session.ready}), 2)
        self.assertEqual(matched, [b"c"])
        for number, client in enumerate(clients):
            head = b">" if number % 2 else b"*"
            self.assertEqual(client.released(), array(b"pmessage", b"c*", b"c", b"hi", head=head))

    def test_many_patterns(self) -> None:
        """A message is matched in slices; it goes to who subscribes when that is done."""
        self.one.ask("PSUBSCRIBE " + " ".join(f"c{number}*" for number in range(20)))
        self.two.ask("SUBSCRIBE c1")
        self.publisher.finishes = False
        with patch.object(pubsub, "in_slices", lambda steps: (None for _ in steps)):
            self.assertEqual(self.publisher.ask("PUBLISH c1 hi", "PING"), b"")
            self.two.ask("RESET")
            self.two.released()
            while self.publisher.session.backlog:
                self.publisher.session.run(10_000)
        self.assertEqual(self.publisher.released(), b":1\r\n+PONG\r\n")
        self.assertEqual((self.one.released(), self.two.released()), (array(b"pmessage", b"c1*", b"c1", b"hi"), b""))


class SubscribedTests(PubSubTestCase):
    """What a subscribed client is, and may."""

    def test_as_a_message_or_not_at_all(self) -> None:
        """In RESP2 other requests are refused, in any grammar and in pipelines; they are counted as rejected."""
        self.one.ask("SUBSCRIBE c")
        refused = b"-ERR Can't execute 'get'" + ONLY + b"\r\n"
        self.assertEqual(self.one.ask("GET k"), refused)
        self.assertEqual(self.one.ask(*["GET k"] * 50), refused * 50)
        self.assertEqual(self.one.ask("get k\n"), refused)
        for line in ('{"method":"size","id":1}', "size\n"):
            self.assertIn(b'{"result":"invalid","error":"Can\'t execute \'size\'' + ONLY + b'"', self.one.ask(line))
        self.assertEqual(self.one.ask("ping\n", "PING hi"), array(b"pong", b"") + array(b"pong", b"hi"))
        self.assertEqual(self.serving.server.statistics[table.by_name[b"GET"]].rejected, 52)
        self.assertEqual(self.one.ask("quit\n"), OK)

    def test_a_typed_subscription(self) -> None:
        """SUBSCRIBE is answered in RESP, also when it is typed, and so are the messages."""
        self.assertEqual(self.one.ask("subscribe c\n"), array(b"subscribe", b"c", 1))
        self.publisher.ask("PUBLISH c hi")
        self.assertEqual(self.one.released(), message(b"hi"))

    def test_anything_in_3(self) -> None:
        """In RESP3 a client goes on as before, its own messages come behind the reply; HELLO 2 ends that."""
        self.one.ask("HELLO 3", "SUBSCRIBE c")
        own = array(b"message", b"c", b"1", head=b">")
        self.assertEqual(self.one.ask("PUBLISH c 1"), b":1\r\n" + own)
        self.assertEqual(
            self.one.ask("PING", *["PUBLISH c 1"] * 2, "GET k"), b"+PONG\r\n" + (b":1\r\n" + own) * 2 + b"_\r\n"
        )
        self.one.ask("SET k v")
        self.assertEqual((self.one.ask("GET k"), self.one.session.in_the_middle), (b"", True))
        self.serving.commit()
        self.assertEqual(self.one.released(), OK + b"$1\r\nv\r\n")
        self.assertTrue(self.one.ask("HELLO 2", "GET k").endswith(ONLY + b"\r\n"))

    def test_gone(self) -> None:
        """RESET, the end of a connection, and a client that is refused leave nothing behind."""
        for end in (
            lambda client: client.ask("RESET"),
            lambda client: client.session.disconnected(),
            lambda client: client.session.refuse_rest("too much"),
        ):
            client = self.serving.connect()
            client.ask("SUBSCRIBE a b", "PSUBSCRIBE p* q", "SSUBSCRIBE s")
            self.assertTrue(client.client.listens)
            end(client)
            self.assertFalse(client.client.listens)
            self.assertEqual(self.publisher.ask("PUBLISH a hi", "PUBLISH q hi", "SPUBLISH s hi"), b":0\r\n" * 3)
            self.assert_nothing_left()

    def test_as_others_see_it(self) -> None:
        """CLIENT LIST has its numbers and flag, and its type; INFO counts."""
        self.one.ask("SUBSCRIBE a b", "PSUBSCRIBE p", "SSUBSCRIBE s t u")
        self.two.ask("SUBSCRIBE a")
        self.assertIn(b"flags=P capa= db=0 sub=2 psub=1 ssub=3 ", self.publisher.ask("CLIENT LIST ID 2"))
        self.assertEqual(self.publisher.ask("CLIENT LIST TYPE pubsub").count(b"id="), 2)
        self.assertEqual(self.publisher.ask("CLIENT LIST TYPE normal").count(b"id="), 1)
        shown = self.publisher.ask("INFO clients", "INFO stats")
        self.assertEqual(
            re.findall(rb"(pubsub\w+):(\d+)", shown),
            [(b"pubsub_clients", b"2"), (b"pubsub_channels", b"2"), (b"pubsub_patterns", b"1"),
             (b"pubsubshard_channels", b"3")],
        )  # fmt: skip
        self.assertEqual(self.publisher.ask("CLIENT KILL TYPE pubsub"), b":2\r\n")
        self.assert_nothing_left()


class LimitTests(PubSubTestCase):
    """What subscriptions may take."""

    def test_bytes(self) -> None:
        """Each counts once, with its name; one too many, and none is added. The patterns' text counts for more."""
        limit = 3 * SUBSCRIPTION_BYTES + 6
        self.serving.server.max_subscription_bytes = limit
        self.assertEqual(self.one.ask("SUBSCRIBE aa bb aa", "SUBSCRIBE cc aa").count(b"subscribe"), 5)
        self.assertEqual((self.one.client.subscription_bytes, self.one.session.unfinished_bytes), (limit, limit))
        self.one.ask("UNSUBSCRIBE cc")
        for words in ("SUBSCRIBE aa ccc", "SUBSCRIBE c d", "PSUBSCRIBE c", "SSUBSCRIBE ccc"):
            self.assertIn(f"would take more than {limit} bytes, so none".encode(), self.one.ask(words))
        self.assertEqual(self.one.client.subscription_bytes, limit - SUBSCRIPTION_BYTES - 2)
        self.assertEqual(self.one.ask("SSUBSCRIBE cc"), array(b"ssubscribe", b"cc", 1))
        self.one.ask("UNSUBSCRIBE", "SUNSUBSCRIBE")
        self.assert_nothing_left()

    def test_confirmations_too_large(self) -> None:
        """More than one reply may hold: nothing is done, either way."""
        self.one.ask("SUBSCRIBE " + " ".join(map(str, range(20))))
        self.serving.server.max_reply_bytes = 1000
        for words in ("SUBSCRIBE " + "a " * 20, "PSUBSCRIBE " + "a* " * 20, "UNSUBSCRIBE"):
            self.assertIn(b"the reply is larger than 1000 bytes", self.one.ask(words))
        self.assertEqual(len(self.channels.channels.names_of(self.one.client)), 20)
        self.assertEqual(self.channels.patterns.matchers, {})

    def test_a_long_pattern(self) -> None:
        """One that is too long is refused, with those before it."""
        self.assertIn(b"4096 bytes at most", self.one.ask("PSUBSCRIBE a* " + "b" * 4096 + "*"))
        self.assert_nothing_left()


#: Sent behind each step, to see where its replies end.
_MARK = b"the end of it"
_MARKS = (array(b"pong", _MARK), bytes(resp.encode(_MARK, 2)))

#: Scripts: steps between bars, each of one client's requests, separated by semicolons; the client is the first letter.
_SCRIPTS = (
    "aSUBSCRIBE|aUNSUBSCRIBE;PUNSUBSCRIBE;SUNSUBSCRIBE;UNSUBSCRIBE x y;PUNSUBSCRIBE x y;SUNSUBSCRIBE x",
    "aSUBSCRIBE a b a;PSUBSCRIBE a* b*;SSUBSCRIBE s t s|bPUBLISH a hi;PUBLISH x hi;SPUBLISH s hi;SPUBLISH a hi"
    "|bPUBSUB CHANNELS b*;PUBSUB NUMSUB a x a;PUBSUB NUMSUB;PUBSUB NUMPAT;PUBSUB SHARDCHANNELS t*"
    "|bPUBSUB SHARDNUMSUB s q"
    "|bPUBSUB;PUBSUB FOO;PUBSUB NUMPAT x;PUBSUB CHANNELS a b;PUBSUB SHARDCHANNELS a b;PUBLISH a;SPUBLISH a b c"
    "|aPING;PING hello;PING a b;GET k;FOO;GET;MULTI;EXEC;DISCARD;CLIENT GETNAME;CLIENT foo;SUBSCRIBE;MULTI;DISCARD"
    "|aUNSUBSCRIBE a;PUNSUBSCRIBE b* zz;GET k;UNSUBSCRIBE;PUNSUBSCRIBE;SUNSUBSCRIBE t zz s;GET k;PING x"
    "|bPUBSUB CHANNELS;PUBSUB SHARDCHANNELS *;PUBSUB NUMPAT",
    "aMULTI;SUBSCRIBE x y;PING;GET k;UNSUBSCRIBE x;EXEC;GET k;RESET;GET k",
    "aMULTI;SSUBSCRIBE x;SUNSUBSCRIBE;PUNSUBSCRIBE;PSUBSCRIBE *;EXEC|bPUBLISH x hi|aRESET",
    "aMULTI;SUBSCRIBE x;PUBLISH x hi;PUNSUBSCRIBE q;UNSUBSCRIBE;PING;EXEC;PING",
    "aSUBSCRIBE x|bMULTI;SET k v;PUBLISH x 1;PUBLISH x 2;EXEC|bMULTI;FOO;PUBLISH x 1;EXEC|bMULTI;PUBLISH x;EXEC;DEL k",
    "aSUBSCRIBE x;PUBLISH x 1;PUBLISH x 2;MULTI;PUBLISH x 3;GET k;EXEC;WATCH k;UNWATCH;AUTH a;ECHO x;CLIENT",
    "aPSUBSCRIBE h?llo h[ae]llo h[^e]llo h* \\* ** [x;PUNSUBSCRIBE h*|bPUBLISH hello 1;PUBLISH hallo 2;PUBLISH * 3",
    "aSUBSCRIBE x|bSUBSCRIBE x;PSUBSCRIBE x|cPUBLISH x 1;PUBSUB NUMSUB x|aUNSUBSCRIBE|cPUBLISH x 2|bQUIT|cPUBLISH x 3",
    "aCOMMAND GETKEYS SPUBLISH a b;COMMAND GETKEYS PUBLISH a b",
)


class _Theirs:
    """A client of Valkey, of which all bytes are looked at."""

    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        self.socket.connect(path)

    def ask(self, *requests: bytes) -> bytes:
        """What comes for these requests, and came before."""
        self.socket.sendall(b"".join(requests) + pack(b"PING", _MARK))
        received = b""
        while not received.endswith(_MARKS) and (data := self.socket.recv(1 << 20)):
            received += data
        for mark in _MARKS:
            received = received.removesuffix(mark)
        return received


class AgainstValkeyTests(ValkeyTestCase):
    """Scripts of three clients, played to both servers."""

    def test_scripts(self) -> None:
        """The same bytes come to each client after each step, in RESP2 and in RESP3."""
        for protocol in (2, 3):
            for script in _SCRIPTS:
                self._play(protocol, script.split("|"))

    def _play(self, protocol: int, steps: Sequence[str]) -> None:
        serving = Serving()
        ours = [serving.connect() for _ in range(3)]
        theirs = [_Theirs(self.valkey.path) for _ in range(3)]
        for mine, yours in zip(ours, theirs, strict=True):
            self.addCleanup(yours.socket.close)
            if protocol == 3:
                mine.ask("HELLO 3")
                yours.ask(pack(b"HELLO", b"3"))
        gone = set()
        for step in steps:
            number, requests = "abc".index(step[0]), [pack(*each.split()) for each in step[1:].encode().split(b";")]
            got = [ours[number].ask(*requests), theirs[number].ask(*requests)]
            gone |= {number} if b"QUIT" in requests[0] else set()
            if ours[number].client.closing:
                ours[number].session.disconnected()
            serving.commit_if_changed()
            got[0] += ours[number].released()
            self.assertEqual(got[0], got[1], (protocol, steps, step))
            for other in {0, 1, 2} - gone - {number}:
                messages = [_sorted(ours[other].released()), _sorted(theirs[other].ask())]
                self.assertEqual(messages[0], messages[1], (protocol, steps, step))
        for number in {0, 1, 2} - gone:
            theirs[number].ask(pack(b"RESET"))
