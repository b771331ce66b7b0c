"""A client of a history: a thread that asks, one request at a time, and notes what it was told, and when.

What it asks is a workload's business (see `workloads`).
"""

from __future__ import annotations

import itertools
import json
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from kvstore.base.address import Address
from kvstore.client.raw import RawConnection, resp_request
from tests.suites.histories.checker import REFUSED, UNKNOWN, Operation

#: Operations of one client after the start; before it, it works until the server is gone.
_OPERATIONS = 40


class Client:
    """One client in one phase of a history: a thread that works until it is done or its server is gone."""

    def __init__(
        self,
        name: str,
        port: int,
        prefix: bytes,
        chance: random.Random,
        values: Iterator[int],
        padding_bytes: int = 0,
        endless: bool = False,
        kinds: Sequence[Callable[[Client], None]] = (),
    ) -> None:
        self.history: list[Operation] = []
        self.error: Exception | None = None
        self.name = name
        self.prefix = prefix
        self.chance = chance
        self.values = values
        self._padding = b"x" * padding_bytes
        self._endless = endless
        self._kinds = kinds
        self.address = Address("127.0.0.1", port)
        self.connection = RawConnection(self.address)
        #: What it was given and has not given back; what it has seen to once: both are its workload's.
        self.held: list[tuple[bytes, bytes]] = []
        self.known: set[bytes] = set()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def join(self) -> None:
        """Return when it is done. Raises what it ran into, unless that is the server's end."""
        self._thread.join()
        if self.error is not None:
            raise self.error

    def _work(self) -> None:
        try:
            with self.connection:
                for _ in itertools.count() if self._endless else range(_OPERATIONS):
                    self.chance.choice(self._kinds)(self)
        except OSError:
            pass  # the server was killed; the operation under way was noted as unknown
        except Exception as error:
            self.error = error

    def key(self, kind: bytes, count: int) -> bytes:
        """One of so many of a kind."""
        return b"%b:%b:%d" % (self.prefix, kind, self.chance.randrange(count))

    def value(self, most_padding_bytes: int = 1 << 20) -> bytes:
        """A new one."""
        return b"v%d%b" % (next(self.values), self._padding[:most_padding_bytes])

    # Calling

    def pipeline(self, requests: list[tuple[bytes, ...]]) -> None:
        """Send requests together. Each is called when all are sent, and returns when its answer is read."""
        began = time.monotonic()
        answered = 0
        try:
            self.connection.send(b"".join(resp_request(*words) for words in requests))
            for words in requests:
                result = self.connection.resp()
                self.note(words, began, refused(result, words[0]))
                answered += 1
        except OSError:
            for words in requests[answered:]:
                self.note(words, began, UNKNOWN)
            raise

    def resp(self, words: tuple[bytes, ...]) -> None:
        """Ask just that."""
        self.call(words, resp_request(*words), self.connection.resp)

    def last_of(self, count: int) -> Any:
        """The last of so many replies: EXEC's."""
        return [self.connection.resp() for _ in range(count)][-1]

    def json(self) -> tuple[Any, ...]:
        """The reply to a document verb."""
        reply = self.connection.reply()
        if reply["result"] == "success":
            return ("success", json.dumps(reply["value"]).encode()) if "value" in reply else ("success",)
        if reply["error"].startswith(("Errors writing to the log", "command not allowed when used memory")):
            return (REFUSED,)
        assert reply == {"result": "failure", "error": "no such key"}, reply
        return ("failure",)

    def call(self, words: tuple[Any, ...], data: bytes, read: Callable[[], Any]) -> Any:
        """Send a request and note it with its outcome, which is returned. Raises OSError when the server is gone: its
        outcome is unknown, then.
        """
        began = time.monotonic()
        try:
            self.connection.send(data)
            result = read()
        except OSError:
            self.note(words, began, UNKNOWN)
            raise
        self.note(words, began, refused(result, words[0]))
        return result

    def note(self, words: tuple[Any, ...], began: float, result: Any, ended: float | None = None) -> None:
        """An operation has ended: just now, if nothing else is said."""
        self.history.append(Operation(self.name, began, ended or time.monotonic(), words, result))


def refused(result: Any, name: bytes) -> Any:
    """The result with REFUSED for what a full disk or too little memory refuses, and for a script that raised."""
    if result == (REFUSED,) or (
        isinstance(result, str) and result.startswith(("-MISCONF ", "-OOM ", "-ERR user_script:"))
    ):
        return REFUSED
    if isinstance(result, list) and name in (b"EXEC", b"CAS"):
        inner = [refused(one, b"") for one in result]
        return REFUSED if inner == [REFUSED] else inner
    return result
