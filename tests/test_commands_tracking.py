"""Client-side caching: who is told of what, when, and in Valkey's words; nothing is told of what is undone."""

from __future__ import annotations

import random
import re
from typing import Any

import hiredis

from kvstore.base.limits import TRACKED_KEY_BYTES, TRACKED_READER_BYTES
from kvstore.commands import tracking
from kvstore.wire.resp import pack
from tests.kit.serving import OK, Connection, Serving, SessionTestCase
from tests.kit.valkey import Connection as ValkeyConnection
from tests.kit.valkey import ValkeyTestCase


def invalidate(*keys: bytes) -> bytes:
    """The push of RESP3 that tells of keys."""
    return b">2\r\n$10\r\ninvalidate\r\n*%d\r\n" % len(keys) + b"".join(b"$%d\r\n%b\r\n" % (len(k), k) for k in keys)


class TrackingTests(SessionTestCase):
    """One client that caches, and one that changes."""

    def track(self, *options: str) -> None:
        """Let the first cache."""
        self.one.ask("HELLO 3")
        self.assertEqual(self.one.ask(" ".join(("CLIENT TRACKING ON", *options))), OK)

    def told(self, *requests: str) -> bytes:
        """What the first is told when the second's requests are on disk."""
        self.two.told(*requests)
        return self.one.released()

    def test_told_once_with_the_commit(self) -> None:
        """Not before it is on disk; and never again, unless the key is read again."""
        self.track()
        self.one.ask("GET a", "GET b")
        self.two.ask("SET a 1")
        self.assertEqual(self.one.released(), b"")
        self.serving.close()
        self.assertEqual(self.one.released(), b"")
        self.serving.settle()
        self.assertEqual(self.one.released(), invalidate(b"a"))
        self.assertEqual(self.told("SET a 2", "SET c 2"), b"")

    def test_scripts(self) -> None:
        """What a script reads, not what it is told that it may; one that may only read, too."""
        self.track()
        for name in (b"EVAL", b"EVAL_RO"):
            self.one.ask(pack(name, b"redis.call('GET', 'a')", b"2", b"a", b"b"))
            self.assertEqual(self.told("SET b 1"), b"")
            self.assertEqual(self.told("SET a 1"), invalidate(b"a"))

    def test_pipelines(self) -> None:
        """What executes at once tells as well; each key in its own message, but for those with a prefix."""
        sets = [f"SET k{number} 1" for number in range(9)]
        self.track()
        self.one.ask("MGET k1 k3")
        self.assertEqual(self.told(*sets), invalidate(b"k1") + invalidate(b"k3"))
        self.one.ask("CLIENT TRACKING OFF", "CLIENT TRACKING ON BCAST PREFIX k")
        self.assertEqual(self.told(*sets, *sets), invalidate(*(b"k%d" % number for number in range(9))))

    def test_reply_first(self) -> None:
        """Who changes what it has read is told behind the reply; with NOLOOP not at all."""
        self.track()
        self.assertEqual(self.one.told("GET a", "SET a 1"), b"_\r\n" + OK + invalidate(b"a"))
        self.track("NOLOOP")
        self.assertEqual(self.one.told("GET a", "SET a 1"), b"$1\r\n1\r\n" + OK)
        self.track("BCAST", "NOLOOP") if self.one.ask("CLIENT TRACKING OFF") else None
        self.assertEqual(self.one.told("SET a 1"), OK)
        self.assertEqual(self.told("SET a 1"), invalidate(b"a"))

    def test_undone(self) -> None:
        """A script that raises has told nobody, and what was read is remembered as before."""
        self.track()
        self.one.ask("GET a")
        raising = pack(b"EVAL", b"redis.call('set','a','1') error('no more')", b"0")
        self.assertIn(b"no more", self.two.told(raising))
        self.assertEqual(self.one.released(), b"")
        self.assertEqual(self.told("SET a 1"), invalidate(b"a"))

    def test_forgotten_at_the_limits(self) -> None:
        """Keys past either limit are told as if they had changed, those that were read first."""
        self.track()
        self.two.ask("CONFIG SET tracking-table-max-keys 2")
        self.assertEqual(self.one.ask("MGET a b"), b"*2\r\n_\r\n_\r\n")
        self.assertEqual(self.one.ask("GET c"), b"_\r\n" + invalidate(b"a"))
        self.assertEqual(self.told("CONFIG SET tracking-table-max-keys 1"), invalidate(b"b"))
        self.two.ask("CONFIG SET tracking-table-max-keys 0")
        self.assertEqual(self.told("SET c 1"), invalidate(b"c"))
        self.one.ask("GET b", "GET c")
        one_bytes = TRACKED_KEY_BYTES + 1 + TRACKED_READER_BYTES
        for room_bytes, told in ((3 * one_bytes, b""), (3 * one_bytes - 1, invalidate(b"b"))):
            self.patch(tracking, "MAX_TRACKED_BYTES", room_bytes)
            self.assertEqual(self.one.ask("GET d"), b"_\r\n" + told)
            self.one.ask("GET b")

    def test_gone(self) -> None:
        """A client that is gone leaves nothing behind, and nobody observes any more."""
        self.track("BCAST", "PREFIX", "a")
        self.two.ask("HELLO 3", "CLIENT TRACKING ON", "GET a")
        found = self.serving.server.tracking
        for connection in (self.one, self.two):
            connection.close()
        self.assertEqual((found.modes, found.readers, found.prefixes, found.reader_count), ({}, {}, {}, 0))
        self.assertEqual((found._size_bytes, found._alone), (0, {}))
        self.assertEqual(self.serving.table._observers, [])

    def test_redirected(self) -> None:
        """Another client is told, in RESP2 if it subscribes to something; if it is gone, the first is told that."""
        self.two.ask("SUBSCRIBE __redis__:invalidate")
        self.track("REDIRECT", "2")
        self.one.told("GET a", "SET a 1")
        published = b"*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n"
        self.assertEqual(self.two.released(), published + b"*1\r\n$1\r\na\r\n")
        self.one.told("FLUSHALL")
        self.assertEqual(self.two.released(), published + b"$-1\r\n")
        self.two.close()
        del self.serving.server.clients[2]
        broken = b">2\r\n$21\r\ntracking-redir-broken\r\n:2\r\n"
        self.assertEqual(self.one.told("GET a", "SET a 1"), b"_\r\n" + OK + broken)
        self.assertIn(b"flags=tR ", self.one.ask("CLIENT LIST"))
        self.assertIn(b"broken_redirect", self.one.ask("CLIENT TRACKINGINFO"))

    def test_who_waited_is_told_behind_its_reply(self) -> None:
        """Of what its own request changed; of what brought it, before."""
        self.two.told(
            "HELLO 3", "RPUSH to a", "CLIENT TRACKING on", "LLEN to", "LLEN from", "BLMOVE from to LEFT LEFT 0"
        )
        self.one.told("RPUSH from b")
        self.assertEqual(self.two.released(), invalidate(b"from") + b"$1\r\nb\r\n" + invalidate(b"to"))

    def test_redirected_to_one_that_has_quit(self) -> None:
        """It is gone, though its connection may not be closed yet."""
        self.two.ask("SUBSCRIBE __redis__:invalidate")
        self.track("REDIRECT", "2")
        self.two.ask("QUIT")
        self.assertIn(2, self.serving.server.clients)
        self.assertIn(b"tracking-redir-broken", self.one.told("GET a", "SET a 1"))
        self.assertEqual(self.two.released(), b"")

    def test_expired(self) -> None:
        """A key whose time has come is told when it is removed."""
        self.two.told("SET a 1 PX 5")
        self.track()
        self.one.ask("GET a")
        self.serving.now_ms += 6
        self.serving.store.clock.go_on()
        self.assertEqual(self.told("SET a 2"), invalidate(b"a"))


_KEYS = ("a", "ab", "abc", "b", "c")
_OPTIONS = (
    "BCAST", "NOLOOP", "OPTIN", "OPTOUT", "FOO", "redirect", "REDIRECT ID0", "REDIRECT ID1", "REDIRECT ID3",
    "REDIRECT 999999", "PREFIX a", "PREFIX ab", "PREFIX b", "BCAST PREFIX ab PREFIX b", "BCAST PREFIX c PREFIX a",
)  # fmt: skip
_OTHERS = (
    "CLIENT CACHING YES", "CLIENT CACHING no", "CLIENT CACHING x", "CLIENT TRACKINGINFO", "CLIENT GETREDIR", "HELLO 2",
    "HELLO 3", "HELLO 3", "SUBSCRIBE __redis__:invalidate", "UNSUBSCRIBE", "RESET", "FLUSHALL", "FLUSHDB",
    "CLIENT CACHING YES|GET K", "CLIENT CACHING NO|GET K", "MULTI|GET K|SET K 1|EXEC", "SELECT 1", "SELECT 0",
    "CLIENT CACHING YES|MULTI|GET K|DEL K|GET K|EXEC|GET K", "CLIENT CACHING YES|MULTI|GET K|SET K 1|EXEC",
)  # fmt: skip
_REQUESTS = (
    "GET K", "GET K", "GET K", "MGET K K", "HGETALL K", "LRANGE K 0 -1", "SUNION K K", "EXISTS K", "TYPE K", "TOUCH K",
    "SET K 1", "SET K 2 EX 100", "DEL K", "INCR K", "RPUSH K x", "LPOP K", "MSET K 1 K 2", "RENAME K K", "COPY K K",
    "EXPIRE K 100", "EXPIRE K -1", "PERSIST K", "LMOVE K K LEFT RIGHT", "SADD K m", "SUNIONSTORE K K K", "GETDEL K",
    "GETEX K PERSIST", "SORT K", "MOVE K 1", "ZADD K 1 m", "HSET K f v", "APPEND K x", "SPOP K",
)  # fmt: skip


class AgainstValkeyTests(ValkeyTestCase):
    """The same to both servers, by four clients: replies and pushes, of all, after each request."""

    def test_random_requests(self) -> None:
        """Modes, redirections, prefixes, blocks and changes at random."""
        chance = random.Random(5)
        for _ in range(10):
            theirs = [self.valkey.connect() for _ in range(4)]
            serving = Serving()
            ours = [_Ours(serving) for _ in range(4)]
            theirs[0].ask([b"FLUSHALL"])
            identities = [
                (their.ask([b"CLIENT", b"ID"])[1], our.client.identity) for their, our in zip(theirs, ours, strict=True)
            ]
            done: list[Any] = []
            for number in range(4):
                self.compare(theirs, ours, number, "HELLO 3", identities, done)
            for _ in range(60):
                self.compare(theirs, ours, chance.randrange(4), _drawn(chance), identities, done)
            for connection in theirs:
                connection.close()

    def compare(
        self, theirs: list[ValkeyConnection], ours: list[_Ours], number: int, request: str, identities: Any, done: Any
    ) -> None:
        """Send a request of one client to both."""
        done.append((number, request))
        asked = [request, request]
        for place, (their, our) in enumerate(identities):
            asked = [asked[0].replace(f"ID{place}", str(their)), asked[1].replace(f"ID{place}", str(our))]
        places: list[dict[int, str]] = [{}, {}]
        if request.endswith(("GETREDIR", "INFO")):
            places = [
                {identity: f"ID{place}" for place, identity in enumerate(each)}
                for each in zip(*identities, strict=True)
            ]
        for place in range(4):
            words = asked if place == number else ["", ""]
            received = theirs[place].told(*(each.split() for each in words[0].encode().split(b"|")))
            received += theirs[place].told()  # what is told of prefixes comes at the end of the turn
            told = [_shown(received, places[0])]
            told.append(_shown(ours[place].told(words[1]), places[1]))
            # A client that is told for another may be told before the reply to its own request.
            told = [sorted(each, key=lambda reply: "PushNotification" in repr(reply)) for each in told]
            if request.startswith("HELLO") and place == number:
                told = [each[2:] for each in told]
            self.assertEqual(*told, (place, done))


class _Ours:
    """A client of ours, whose replies and pushes are read as Valkey's are."""

    def __init__(self, serving: Serving) -> None:
        self._connection: Connection = serving.connect()
        self.client = self._connection.client
        self._reader = hiredis.Reader()

    def told(self, request: str) -> list[Any]:
        """See the other's."""
        for each in filter(None, (*request.split("|"), "PING")):
            self._reader.feed(self._connection.told(each))
        told = []
        while (reply := self._reader.gets()) is not False:
            told.append(reply)
        return [reply for reply in told if reply not in ([b"pong", b""], b"PONG")]


def _drawn(chance: random.Random) -> str:
    kind = chance.random()
    if kind < 0.25:
        options = chance.choices(_OPTIONS, k=chance.choice((0, 0, 1, 1, 2)))
        return " ".join(["CLIENT TRACKING", chance.choice(("ON", "on", "ON", "OFF", "x")), *options])
    request = chance.choice(_OTHERS if kind < 0.45 else _REQUESTS)
    return re.sub(r"\bK\b", lambda found: chance.choice(_KEYS), request)


def _shown(reply: Any, identities: dict[int, str]) -> Any:
    """A reply that can be compared: with the clients' places for their numbers."""
    if isinstance(reply, dict):
        return {name: _shown(each, identities) for name, each in reply.items()}
    if isinstance(reply, list):
        return [reply.__class__.__name__, *(_shown(each, identities) for each in reply)]
    if isinstance(reply, int):
        return identities.get(reply, reply)
    return str(reply) if isinstance(reply, hiredis.ReplyError) else reply
