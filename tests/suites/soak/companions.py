"""Clients of a soak who behave, each in a thread, with keys of their own; they connect again when the server is gone.

| client | does | and sees to it that |
|---|---|---|
| `Cache` | strings and fields of hashes with deadlines, many keys | what is read was written there |
| `Large` | strings of a MiB, lists, sets and sorted sets of 20,000, replaced again and again | lengths are right |
| `Listener` | subscribes to a channel, another publishes numbers | they come in order, each once |
| `Tracker` | caches what it reads (CLIENT TRACKING), another changes that | each change is told of |
| `Looker` | looks at the pages of --http | they answer |
"""

from __future__ import annotations

import http.client
import itertools
import random
import threading
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Sequence

import hiredis

from tests.suites.soak.sockets import Server

_RECONNECT_S = 0.2
_MIB = 1 << 20


class Companion(threading.Thread):
    """One of them. `period_s`: between two of its steps. `counts`: what it did; `wrong`: what was not as it must be."""

    def __init__(self, server: Server, period_s: float, seed: int) -> None:
        super().__init__(daemon=True, name=type(self).__name__)
        self.server = server
        self.chance = random.Random(f"{seed}/{self.name}")
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._period_s = period_s
        self._stopping = threading.Event()
        self._steps = itertools.count()

    def run(self) -> None:
        """Step by step, until `stop`."""
        while not self._stopping.is_set():
            try:
                self.connect()
                while not self._stopping.wait(self._period_s):
                    self.step(next(self._steps))
                    self.counts["steps"] += 1
            except (OSError, http.client.HTTPException):
                self.counts["connections lost"] += 1
                self._stopping.wait(_RECONNECT_S)
            except Exception as error:
                self.fault(repr(error))
                self._stopping.wait(_RECONNECT_S)
            finally:
                self.disconnect()

    def connect(self) -> None:
        """Begin, again maybe. Raises OSError."""
        self.client = self.server.known()

    def disconnect(self) -> None:
        """Let go of what `connect` made, if it did."""
        if hasattr(self, "client"):
            self.client.close()

    def step(self, number: int) -> None:
        """Do something. Raises OSError."""
        raise NotImplementedError

    def stop(self) -> None:
        """End it, soon."""
        self._stopping.set()

    def fault(self, what: str) -> None:
        """Something is not as it must be."""
        self.wrong.append(f"{self.name}: {what}")

    def ask(self, *words: str | bytes) -> object:
        """Ask, and note an error: a full disk is none."""
        reply = self.client.ask(*words)
        if isinstance(reply, hiredis.ReplyError):
            refused = str(reply).startswith(("MISCONF", "OOM"))
            self.counts["refused" if refused else "errors"] += 1
            if not refused:
                self.fault(f"{words[:3]!r:.100} was answered {reply}")
        return reply


class Cache(Companion):
    """See the module. It begins with more than --max-memory leaves room for: so it is as large from the beginning on as
    it will ever be, however busy the machine is.
    """

    _KEYS, _FIRST, _AT_ONCE = 50_000, 6_000, 100

    def connect(self) -> None:
        """The first time, fill it."""
        super().connect()
        while self.counts["filled"] < self._FIRST:
            for _ in range(self._AT_ONCE):
                self.client.send(*self._write())
            for _ in range(self._AT_ONCE):
                self.client.read()
            self.counts["filled"] += self._AT_ONCE

    def _write(self) -> tuple[str, ...]:
        chance = self.chance
        key, size = f"soak:cache:{chance.randrange(self._KEYS)}", chance.randrange(50, 20_000)
        return "SET", key, f"{key}=".ljust(size, "x"), "EX", str(chance.randint(60, 7200))

    def step(self, number: int) -> None:
        """Write one, read another."""
        self.ask(*self._write())
        read = f"soak:cache:{self.chance.randrange(self._KEYS)}"
        found = self.ask("GET", read)
        if isinstance(found, bytes) and not found.startswith(f"{read}=".encode()):
            self.fault(f"{read} holds {found[:40]!r}")
        hash_key = f"soak:fields:{self.chance.randrange(20)}"
        if number % 4 == 0 and not isinstance(self.ask("HSET", hash_key, str(number), "x" * 100), hiredis.ReplyError):
            self.ask("HEXPIRE", hash_key, "20", "FIELDS", "1", str(number))


class Large(Companion):
    """See the module."""

    LENGTH = 20_000

    def step(self, number: int) -> None:
        """Replace one of each kind."""
        key = f"soak:large:{number % 3}"
        if self.ask("SET", f"{key}:string", "x" * _MIB) == b"OK" and self.ask("STRLEN", f"{key}:string") != _MIB:
            self.fault("a string is too short")
        for kind, add, count in (("list", "RPUSH", "LLEN"), ("set", "SADD", "SCARD"), ("ranking", "ZADD", "ZCARD")):
            self.ask("UNLINK", f"{key}:{kind}")
            words = [f"{number}:{i}" for i in range(self.LENGTH)]
            given = [word for i, name in enumerate(words) for word in (str(i), name)] if kind == "ranking" else words
            if not isinstance(self.ask(add, f"{key}:{kind}", *given), hiredis.ReplyError):
                length = self.ask(count, f"{key}:{kind}")
                if length != self.LENGTH:
                    self.fault(f"a {kind} of {self.LENGTH} says that it has {length}")


class Listener(Companion):
    """See the module."""

    def connect(self) -> None:
        """A subscriber, and who publishes."""
        super().connect()
        self.subscriber = self.server.known()
        self.subscriber.ask("SUBSCRIBE", "soak:channel")

    def disconnect(self) -> None:
        """Both."""
        super().disconnect()
        if hasattr(self, "subscriber"):
            self.subscriber.close()

    def step(self, number: int) -> None:
        """Some messages, one after the other."""
        for each in range(5):
            self.ask("PUBLISH", "soak:channel", f"{number}:{each}")
        heard = [self.subscriber.read() for _ in range(5)]
        wanted = [[b"message", b"soak:channel", f"{number}:{each}".encode()] for each in range(5)]
        if heard != wanted:
            self.fault(f"heard {heard}, not {wanted}")


class Tracker(Companion):
    """See the module: one client changes what the other has read."""

    def connect(self) -> None:
        """Both; the one who caches speaks RESP3."""
        super().connect()
        self.reader = self.server.known()
        self.reader.ask("HELLO", "3")
        self.reader.ask("CLIENT", "TRACKING", "ON")

    def disconnect(self) -> None:
        """Both."""
        super().disconnect()
        if hasattr(self, "reader"):
            self.reader.close()

    def step(self, number: int) -> None:
        """Read, change, be told."""
        key = f"soak:tracked:{self.chance.randrange(1000)}"
        self.reader.ask("GET", key)
        if not isinstance(self.ask("SET", key, str(number)), hiredis.ReplyError):
            told = self.reader.read()
            if told != [b"invalidate", [key.encode()]]:
                self.fault(f"was told {told!r:.200} of {key}")


class Looker(Companion):
    """See the module. `port`: of --http; `paths`: what is asked for."""

    def __init__(self, server: Server, period_s: float, seed: int, port: int, paths: Sequence[str]) -> None:
        super().__init__(server, period_s, seed)
        self._port = port
        self._paths = paths
        self._headers = {"Connection": "close"}
        if server.password is not None:
            self._headers["Authorization"] = "Basic " + b64encode(f"default:{server.password}".encode()).decode()

    def connect(self) -> None:
        """Each page has its own connection."""

    def step(self, number: int) -> None:
        """Look at one page; of a stream of events at the beginning."""
        path = self._paths[number % len(self._paths)]
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            connection.request("GET", path, headers=self._headers)
            response = connection.getresponse()
            response.read1(65536)
            self.counts[f"{path}: {response.status}"] += 1
            if response.status not in (200, 503):
                self.fault(f"{path} answered {response.status}")
        finally:
            connection.close()


def make(server: Server, seed: int, others: list[Callable[[], Companion]]) -> list[Companion]:
    """All of them, not started."""
    periods = {Cache: 0.03, Large: 10.0, Listener: 0.25, Tracker: 0.1}
    return [*(kind(server, period_s, seed) for kind, period_s in periods.items()), *(make_one() for make_one in others)]
