"""A client of a group: a thread that looks for the leader, asks it, one request at a time, and notes what it was told.

A loyal one stays with its server for as long as that does not say that it follows: it is what finds stale reads of a
leader that was cut off.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Sequence

from kvstore.base.address import Address
from kvstore.client.raw import RawConnection, resp_request
from tests.suites.histories.checker import UNKNOWN, Operation

#: Seconds of silence after which a request is given up: its outcome is unknown then.
_PATIENCE_S = 1.0


class Client:
    """See the module. It works from `start` until `stop`. `ports`: of the servers. `history`: what it has noted."""

    def __init__(
        self, name: str, ports: Sequence[int], prefix: bytes, chance: random.Random, values: Iterator[int], loyal: bool
    ) -> None:
        self.history: list[Operation] = []
        self.error: Exception | None = None
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

    def _work(self) -> None:
        try:
            while not self._ending.is_set():
                self.ask(self._words())
        except Exception as error:
            self.error = error
        finally:
            self._hang_up()

    def _words(self) -> tuple[bytes, ...]:
        chance = self._chance
        if chance.random() < 0.4:
            counter = b"%b:counter:%d" % (self._prefix, chance.randrange(2))
            return chance.choice([(b"INCR", counter), (b"GET", counter)])
        key, value = b"%b:string:%d" % (self._prefix, chance.randrange(3)), b"v%d" % next(self._values)
        return chance.choice(
            [(b"SET", key, value), (b"SET", key, value, b"NX"), (b"GETSET", key, value), (b"DEL", key), (b"GET", key),
             (b"GET", key)]
        )  # fmt: skip

    def ask(self, words: tuple[bytes, ...]) -> bool:
        """Ask a server that is taken for the leader; returns whether it answered."""
        began = time.monotonic()
        try:
            connection = self._connection or self._connect()
        except OSError:
            self._next()
            return False
        try:
            connection.send(resp_request(*words))
            result = connection.resp()
        except OSError as error:
            self.history.append(Operation(self._name, began, time.monotonic(), words, UNKNOWN))
            self._hang_up()
            if not (self._loyal and isinstance(error, TimeoutError)):
                self._next()
            return False
        if isinstance(result, str) and result.startswith("-READONLY"):  # it has done nothing
            self._hang_up()
            self._next()
            return False
        self.history.append(Operation(self._name, began, time.monotonic(), words, result))
        return True

    def _connect(self) -> RawConnection:
        port = self._ports[self._place]
        self._connection = RawConnection(Address("127.0.0.1", port), patience_seconds=_PATIENCE_S)
        return self._connection

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _next(self) -> None:
        self._place = (self._place + 1) % len(self._ports)
        time.sleep(0.02)  # nobody may lead just now
