"""A client of a group: a thread that looks for the leader, asks it, one request at a time, and notes what it was told.

A loyal one stays with its server for as long as that does not say that it follows: it is what finds stale reads of a
leader that was cut off.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

from kvstore.base.address import Address
from kvstore.base.limits import KIB, MIB
from kvstore.client.raw import RawConnection, resp_request
from tests.suites.histories.checker import REFUSED, UNKNOWN, Operation

#: What begins an error after which nothing was done, and nothing is noted; and one that a history tells of.
_ELSEWHERE = "-READONLY"
_REFUSED = ("-MISCONF", "-EXECABORT", "-UNBLOCKED")
#: The one of these after which the server is gone: it led no more before it began with the request.
_GONE = "-UNBLOCKED"


class Client:
    """See the module. It works from `start` until `stop`. `ports`: of the servers. `history`: what it has noted.

    `keys`: all that it asks for. `refused`: how many requests.
    """

    #: Seconds of silence after which a request is given up: its outcome is unknown then.
    patience_s = 1.0
    #: How long it rests between two requests, in seconds, on average.
    rest_s = 0.015

    def __init__(
        self, name: str, ports: Sequence[int], prefix: bytes, chance: random.Random, values: Iterator[int], loyal: bool
    ) -> None:
        self.history: list[Operation] = []
        self.error: Exception | None = None
        self.refused = 0
        self._name = name
        self._ports = ports
        self._prefix = prefix
        self._chance = chance
        self._values = values
        self._loyal = loyal
        self._place = chance.randrange(len(ports))
        self._connection: RawConnection | None = None
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """No more; returns when it has ended. Raises what it ran into."""
        self._ending.set()
        self._thread.join()
        if self.error is not None:
            raise self.error

    @property
    def keys(self) -> list[bytes]:
        """See the class."""
        return self._named(b"string", 6) + self._named(b"counter", 3)

    def _named(self, kind: bytes, count: int) -> list[bytes]:
        return [b"%b:%b:%d" % (self._prefix, kind, number) for number in range(count)]

    def _work(self) -> None:
        try:
            while not self._ending.wait(self._chance.expovariate(1 / self.rest_s)):
                self.ask(self._words())
        except Exception as error:
            self.error = error
        finally:
            self.hang_up()

    def _words(self) -> tuple[Any, ...]:
        chance = self._chance
        if chance.random() < 0.4:
            counter = chance.choice(self._named(b"counter", 3))
            return chance.choice([(b"INCR", counter), (b"GET", counter)])
        key, value = chance.choice(self._named(b"string", 6)), b"v%d" % next(self._values)
        return chance.choice(
            [(b"SET", key, value), (b"SET", key, value, b"NX"), (b"GETSET", key, value), (b"DEL", key), (b"GET", key),
             (b"GET", key)]
        )  # fmt: skip

    def ask(self, words: tuple[Any, ...]) -> bool:
        """Ask a server that is taken for the leader, `words` as in `Operation`; returns whether it answered."""
        began = time.monotonic()
        try:
            connection = self._connection or self._connect()
        except OSError:
            self._next()
            return False
        try:
            replies = _exchange(connection, words)
        except OSError as error:
            self._note(began, words, UNKNOWN)
            self.hang_up()
            if not (self._loyal and isinstance(error, TimeoutError)):
                self._next()
            return False
        if any(isinstance(reply, str) and reply.startswith(_ELSEWHERE) for reply in replies):
            self.hang_up()
            self._next()
            return False
        is_refused = isinstance(replies[-1], str) and replies[-1].startswith(_REFUSED)
        self.refused += is_refused
        self._note(began, words, REFUSED if is_refused else replies[-1])
        if is_refused and replies[-1].startswith(_GONE):
            self.hang_up()
            self._next()
        return not is_refused

    def _note(self, began: float, words: tuple[Any, ...], result: Any) -> None:
        if words[0] == b"GET" and result is UNKNOWN:  # it can have changed nothing
            return
        self.history.append(Operation(self._name, began, time.monotonic(), words, result))

    def _connect(self) -> RawConnection:
        port = self._ports[self._place]
        self._connection = RawConnection(Address("127.0.0.1", port), patience_seconds=self.patience_s)
        return self._connection

    def hang_up(self) -> None:
        """Close the connection; the next request has one of its own."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _next(self) -> None:
        self._place = (self._place + 1) % len(self._ports)
        time.sleep(0.02)  # nobody may lead just now


def _exchange(connection: RawConnection, words: tuple[Any, ...]) -> list[Any]:
    """All replies to it, of which the last is its result."""
    block = [(b"MULTI",), *words[1:], (b"EXEC",)] if words[0] == b"EXEC" else [words]
    connection.send(b"".join(resp_request(*each) for each in block))
    return [connection.resp() for _ in block]


class Reader(Client):
    """A client that only reads, and waits for nothing long: of a leader that was cut off it still gets what no write is
    under way to.
    """

    patience_s = 0.2
    rest_s = 0.01

    def _words(self) -> tuple[Any, ...]:
        return b"GET", self._chance.choice(self.keys)


class LargeClient(Client):
    """A client whose values are of more than 1 MiB, and whose blocks have several of them."""

    patience_s = 4.0
    rest_s = 0.3

    @property
    def keys(self) -> list[bytes]:
        """See `Client`."""
        return self._named(b"large", 3)

    def _value(self) -> bytes:
        text = b"v%d " % next(self._values)
        return text * (self._chance.randrange(1100 * KIB, 1600 * KIB) // len(text))

    def _words(self) -> tuple[Any, ...]:
        key = self._chance.choice(self.keys)
        block = (b"EXEC", *((b"SET", each, self._value()) for each in self.keys))
        return self._chance.choice([(b"SET", key, self._value()), (b"GET", key), block])


class FillingClient(Client):
    """A client that writes some MiB a second, so that etcd gets full: as fast as it can at first, and then so slowly
    that the servers, who look every other second, notice in time.
    """

    _FAST_BYTES = 8 * MIB
    _SIZE_BYTES = 32 * KIB
    rest_s = 0.002

    @property
    def keys(self) -> list[bytes]:
        """See `Client`."""
        return self._named(b"filling", 8)

    def _words(self) -> tuple[Any, ...]:
        if len(self.history) * self._SIZE_BYTES > self._FAST_BYTES:
            self.rest_s = 0.04
        text = b"v%d " % next(self._values)
        return b"SET", self._chance.choice(self.keys), text * (self._SIZE_BYTES // len(text))
