"""The client libraries that Redis's users have, unchanged, against the real server on epoll and on select."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.protocol import ClientCreator
from twisted.trial.unittest import SynchronousTestCase, TestCase

from kvstore.testing.server_process import PATIENCE_S
from tests.kit.server_process import Serving, eventually

try:
    import redis
    import txredisapi
except ImportError as missing:
    MISSING: str | None = f"{missing.name} is not installed: pip install -r requirements-dev.txt"
else:
    MISSING = None


class RedisPyChecks(Serving):
    """redis-py, the blocking client. `protocol`: the version of RESP."""

    protocol = 2
    skip = MISSING

    def client(self, **options: Any) -> redis.Redis:
        """A client with one connection of its own, closed after the test."""
        options = {"protocol": self.protocol, "socket_timeout": PATIENCE_S} | options
        client = redis.Redis(host="127.0.0.1", port=self.server.port, **options)
        self.addCleanup(client.close)
        return client

    def test_plain_work(self) -> None:
        """Strings, numbers, several keys at once, and a missing one."""
        client = self.client()
        self.assertTrue(client.ping())
        self.assertTrue(client.set("a", "1"))
        self.assertEqual((client.get("a"), client.get("none")), (b"1", None))
        self.assertEqual((client.incrby("a", 41), client.append("a", "!"), client.strlen("a")), (42, 3, 3))
        self.assertTrue(client.mset({"b": b"2", "c": b"3"}))
        self.assertEqual(client.mget("a", "b", "none", "c"), [b"42!", b"2", None, b"3"])
        self.assertEqual((client.exists("a", "b", "none"), client.delete("a", "none"), client.dbsize()), (2, 1, 2))

    def test_options_of_set(self) -> None:
        """NX, XX, GET and deadlines."""
        client = self.client()
        self.assertTrue(client.set("k", "1", nx=True, px=50_000))
        self.assertIsNone(client.set("k", "2", nx=True))
        self.assertEqual(client.set("k", "3", xx=True, get=True, keepttl=True), b"1")
        self.assertTrue(0 < client.pttl("k") <= 50_000)
        self.assertTrue(client.persist("k"))
        self.assertEqual((client.ttl("k"), client.ttl("none")), (-1, -2))

    def test_binary_keys_and_values(self) -> None:
        """Every byte, line ends and NUL included, in key and value."""
        client = self.client()
        everything = bytes(range(256)) + b"\r\n$3\r\n"
        client.set(everything, everything[::-1])
        self.assertEqual(client.get(everything), everything[::-1])
        self.assertEqual(client.keys(), [everything])

    def test_decoded_responses(self) -> None:
        """With decode_responses texts come back as texts."""
        client = self.client(decode_responses=True)
        client.set("schlüssel", "wört")
        self.assertEqual((client.get("schlüssel"), client.keys("schl*")), ("wört", ["schlüssel"]))

    def test_locks(self) -> None:
        """Lock acquires, extends and releases by scripts; only its owner does."""
        client = self.client()
        mine, other = client.lock("lock", timeout=50), client.lock("lock", timeout=50)
        self.assertTrue(mine.acquire(blocking=False))
        self.assertFalse(other.acquire(blocking=False))
        self.assertTrue(mine.extend(20) and mine.reacquire())
        other.local.token = b"not mine"
        self.assertRaises(redis.exceptions.LockError, other.release)
        mine.release()
        self.assertTrue(other.acquire(blocking=False))

    def test_scripts(self) -> None:
        """A registered script is loaded when it is missing, in a pipeline too; an error undoes it."""
        client = self.client()
        script = client.register_script(
            "redis.call('SET', KEYS[1], ARGV[1]) return {KEYS[1], redis.call('GET', KEYS[1])}"
        )
        self.assertEqual(script(keys=["k"], args=[7]), [b"k", b"7"])
        client.script_flush()
        self.assertEqual(script(keys=["k"], args=[8]), [b"k", b"8"])
        client.script_flush()
        pipeline = client.pipeline()
        script(keys=["k"], args=[9], client=pipeline)
        pipeline.get("k")
        self.assertEqual(pipeline.execute(), [[b"k", b"9"], b"9"])
        failing = "redis.call('SET', KEYS[1], 'x') error('no')"
        self.assertRaisesRegex(redis.ResponseError, "no", client.eval, failing, 1, "k")
        self.assertEqual(client.get("k"), b"9")

    def test_pipeline(self) -> None:
        """Many requests in one go, with an error among them that hurts no other."""
        client = self.client()
        pipeline = client.pipeline(transaction=False)
        for number in range(5000):
            pipeline.set(f"k{number}", number)
        self.assertEqual(pipeline.execute(), [True] * 5000)
        pipeline.incr("k1").execute_command("NONSENSE").incr("k1")
        replies = pipeline.execute(raise_on_error=False)
        self.assertEqual((replies[0], replies[2]), (2, 3))
        self.assertIsInstance(replies[1], redis.ResponseError)

    def test_transaction(self) -> None:
        """A block is executed whole; what fails in it is told."""
        client = self.client()
        self.assertEqual(client.pipeline().set("a", 1).incr("a").get("a").execute(), [True, 2, b"2"])
        replies = client.pipeline().set("a", "x").incr("a").set("b", 1).execute(raise_on_error=False)
        self.assertEqual((replies[0], replies[2], client.get("b")), (True, True, b"1"))
        self.assertIsInstance(replies[1], redis.ResponseError)

    def test_watch(self) -> None:
        """A watched key that another client changes lets the block fail; redis-py's helper tries again."""
        client, other = self.client(), self.client()
        with client.pipeline() as pipeline:
            pipeline.watch("n")
            other.set("n", 5)
            pipeline.multi()
            pipeline.set("n", 1)
            self.assertRaises(redis.WatchError, pipeline.execute)
        attempts = []

        def add(pipeline: Any) -> None:
            value = int(pipeline.get("n"))
            if not attempts:
                other.incr("n")
            attempts.append(value)
            pipeline.multi()
            pipeline.set("n", value + 10)

        client.transaction(add, "n")
        self.assertEqual((attempts, client.get("n")), ([5, 6], b"16"))

    def test_scan(self) -> None:
        """scan_iter finds each key, and only those that match."""
        client = self.client()
        client.mset({f"user:{number}": number for number in range(500)} | {"other": 1})
        self.assertEqual(
            sorted(client.scan_iter("user:*", count=70)), sorted(b"user:%d" % number for number in range(500))
        )

    def test_who_one_is(self) -> None:
        """The library names itself on connecting; CLIENT INFO and CLIENT LIST show that and the name given."""
        client = self.client(client_name="me")
        described = client.client_info()
        self.assertEqual((described["name"], described["lib-name"]), ("me", "redis-py"))
        self.assertEqual(int(described["resp"]), self.protocol)
        self.assertIn(client.client_id(), [int(each["id"]) for each in client.client_list()])
        self.assertEqual(client.client_getname() in (b"me", "me"), True)

    def test_looking_at_the_server(self) -> None:
        """INFO, CONFIG GET, TIME and COMMAND, parsed by the library."""
        client = self.client()
        client.set("k", 1, ex=100)
        self.assertEqual(client.info()["redis_mode"], "standalone")
        self.assertEqual(client.info("keyspace")["db0"]["keys"], 1)
        self.assertEqual(client.info("persistence")["sync_policy"], "always")
        self.assertIn("appendfsync", {_text(name) for name in client.config_get("append*")})
        self.assertEqual(len(client.time()), 2)
        self.assertIn("insert", {_text(name) for name in client.command()})

    def test_hashes_and_lists(self) -> None:
        """Both types, and a client that waits for an element, in a database of its own."""
        client, other = self.client(db=3), self.client(db=3)
        self.assertEqual(client.hset("user", mapping={"name": "fred", "age": 41}), 2)
        self.assertEqual((client.hget("user", "age"), client.hincrby("user", "age", 1)), (b"41", 42))
        self.assertEqual(client.hgetall("user"), {b"name": b"fred", b"age": b"42"})
        self.assertEqual((client.rpush("jobs", 1, 2, 3), client.lrange("jobs", 1, -1)), (3, [b"2", b"3"]))
        self.assertEqual((client.lpop("jobs", 3), client.blpop("jobs", 0.01)), ([b"1", b"2", b"3"], None))
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(client.blpop, ["none", "jobs"])
            eventually(lambda: "blpop" in [each["cmd"] for each in other.client_list()])
            other.rpush("jobs", "late")
            self.assertEqual(list(waiting.result()), [b"jobs", b"late"])
        self.assertEqual((client.dbsize(), self.client().dbsize()), (1, 0))

    def test_pubsub(self) -> None:
        """Channels, patterns and shard channels; the library knows each message for what it is."""
        client = self.client(decode_responses=True)
        with client.pubsub() as subscriber:
            subscriber.subscribe("news", "other")
            subscriber.psubscribe("n*")
            subscriber.ssubscribe("shard")
            seen = [subscriber.get_message(timeout=PATIENCE_S) for _ in range(4)]
            self.assertEqual([each["data"] for each in seen if each], [1, 2, 3, 1])
            self.assertEqual((client.publish("news", "hi"), client.spublish("shard", "there")), (2, 1))
            seen = [subscriber.get_message(timeout=PATIENCE_S) for _ in range(3)]
            self.assertEqual(
                [(each["type"], each["pattern"], each["channel"], each["data"]) for each in seen if each],
                [
                    ("message", None, "news", "hi"),
                    ("pmessage", "n*", "news", "hi"),
                    ("smessage", None, "shard", "there"),
                ],
            )
            self.assertEqual(dict(client.pubsub_numsub("news", "none")), {"news": 1, "none": 0})
            self.assertEqual((client.pubsub_channels("n*"), client.pubsub_numpat()), (["news"], 1))
            if self.protocol == 2:  # in RESP3 the library takes the answer, a string, for a message
                subscriber.ping("x")
                self.assertEqual(subscriber.get_message(timeout=PATIENCE_S)["data"], "x")
            subscriber.unsubscribe()
            subscriber.punsubscribe()
            seen = [subscriber.get_message(timeout=PATIENCE_S) for _ in range(3)]
            self.assertEqual([each["data"] for each in seen if each], [2, 1, 0])

    def test_errors(self) -> None:
        """An error is an exception, and the connection goes on."""
        client = self.client()
        client.set("k", "text")
        self.assertRaisesRegex(redis.ResponseError, "not an integer", client.incr, "k")
        self.assertRaisesRegex(redis.ResponseError, "out of range", client.execute_command, "SELECT", 16)
        self.assertEqual(client.get("k"), b"text")


class RedisPyIn3Checks(RedisPyChecks):
    """redis-py, speaking RESP3."""

    protocol = 3


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name


if MISSING is None:

    class _Subscriber(txredisapi.SubscriberProtocol):
        """Tells of the first message that it gets. `factory`: what the library's pools have."""

        def __init__(self, heard: Deferred[object]) -> None:
            super().__init__()
            self.heard = heard
            self.factory = txredisapi.SubscriberFactory()
            self.factory.continueTrying = False

        def messageReceived(self, *message: object) -> None:
            """See the library."""
            self.heard.callback(message)


class TxRedisChecks(Serving):
    """txredisapi, the client of Twisted's users. It gives digits back as a number."""

    skip = MISSING

    async def client(self, poolsize: int = 1) -> Any:
        """A client, disconnected after the test."""
        client = await txredisapi.ConnectionPool("127.0.0.1", self.server.port, poolsize=poolsize, reconnect=False)
        self.addCleanup(client.disconnect)
        return client

    def test_plain_work(self) -> Deferred[None]:
        """Strings and numbers."""

        async def work() -> None:
            client = await self.client()
            self.assertEqual(await client.set("a", "1"), "OK")
            self.assertEqual([await client.get("a"), await client.get("none")], [1, None])
            self.assertEqual([await client.incr("a"), await client.mget(["a", "none"])], [2, [2, None]])
            self.assertEqual([await client.delete("a"), await client.dbsize()], [1, 0])

        return Deferred.fromCoroutine(work())

    def test_transaction(self) -> Deferred[None]:
        """MULTI and EXEC, and a block that a watched key stops."""

        async def work() -> None:
            client, other = await self.client(), await self.client()
            block = await client.multi("a")
            self.assertEqual([await block.set("a", 1), await block.incr("a")], ["QUEUED", "QUEUED"])
            self.assertEqual(await block.commit(), ["OK", 2])
            block = await client.multi("a")
            await other.set("a", 7)
            await block.set("a", 1)
            await self.assertFailure(block.commit(), txredisapi.WatchError)
            self.assertEqual(await other.get("a"), 7)

        return Deferred.fromCoroutine(work())

    def test_many_at_once(self) -> Deferred[None]:
        """A thousand requests on the way at once, over several connections."""

        async def work() -> None:
            client = await self.client(poolsize=5)
            await gatherResults([client.set(f"k{number}", number) for number in range(1000)])
            values = await gatherResults([client.get(f"k{number}") for number in range(1000)])
            self.assertEqual(values, list(range(1000)))
            pipeline = await client.pipeline()
            pipeline.set("p", 1)
            pipeline.incr("p")
            self.assertEqual(await pipeline.execute_pipeline(), ["OK", 2])

        return Deferred.fromCoroutine(work())

    def test_subscriber(self) -> Deferred[None]:
        """Its subscriber hears what is published."""

        async def work() -> None:
            client, heard = await self.client(), Deferred[object]()
            subscriber = await ClientCreator(reactor, _Subscriber, heard).connectTCP("127.0.0.1", self.server.port)
            self.addCleanup(subscriber.transport.loseConnection)
            await subscriber.subscribe("news")
            self.assertEqual(await client.publish("news", "hi"), 1)
            self.assertEqual(await heard, (None, "news", "hi"))

        return Deferred.fromCoroutine(work())

    def test_error(self) -> Deferred[None]:
        """An error reply is a failure of the Deferred."""

        async def work() -> None:
            client = await self.client()
            await client.set("k", "text")
            await self.assertFailure(client.incr("k"), txredisapi.ResponseError)
            self.assertEqual(await client.get("k"), "text")

        return Deferred.fromCoroutine(work())


class RedisPyOnEpollTests(RedisPyChecks, SynchronousTestCase):
    """RESP2, on epoll."""

    reactor = "epoll"


@pytest.mark.long
class RedisPyOnSelectTests(RedisPyChecks, SynchronousTestCase):
    """RESP2, on select."""

    reactor = "select"


class RedisPyIn3OnEpollTests(RedisPyIn3Checks, SynchronousTestCase):
    """RESP3, on epoll."""

    reactor = "epoll"


@pytest.mark.long
class RedisPyIn3OnSelectTests(RedisPyIn3Checks, SynchronousTestCase):
    """RESP3, on select."""

    reactor = "select"


class TxRedisOnEpollTests(TxRedisChecks, TestCase):
    """A server on epoll."""

    reactor = "epoll"


@pytest.mark.long
class TxRedisOnSelectTests(TxRedisChecks, TestCase):
    """A server on select."""

    reactor = "select"
