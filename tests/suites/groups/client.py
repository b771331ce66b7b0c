"""A client of a simulated group: one request after the other, and what came back, as `histories` checks it."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from hiredis import Reader, ReplyError, pack_command
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from tests.kit.group import MemoryNode
from tests.suites.histories.checker import REFUSED, UNKNOWN, Operation


class Client:
    """See the module. `moment`: a number that grows with each call. `history`: what it asked and was told."""

    def __init__(self, name: str, chance: Random, moment: Callable[[], float], history: list[Operation]) -> None:
        self.name = name
        self._chance = chance
        self._moment = moment
        self._history = history
        self._asked = 0
        self._connection: _Connection | None = None
        self._words: tuple[bytes, ...] | None = None
        self._called = 0.0

    @property
    def is_waiting(self) -> bool:
        """Whether a request is under way."""
        return self._words is not None

    def ask(self, node: MemoryNode, words: tuple[bytes, ...] | None = None) -> None:
        """Send a request to this node, drawn unless given: through the connection that there is, if it is one to it."""
        if self._connection is None or self._connection.node is not node:
            self.give_up()
            try:
                self._connection = _Connection(node, self)
            except ConnectionRefusedError:
                return
        self._words = words or self._drawn()
        self._called = self._moment()
        self._connection.send(self._words)

    def give_up(self) -> None:
        """Wait no longer."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.owner = None
            connection.end()
        self._ends(UNKNOWN)

    def _drawn(self) -> tuple[bytes, ...]:
        self._asked += 1
        value = b"%b%d" % (self.name.encode(), self._asked)
        key = self._chance.choice([b"k", b"l"])
        return self._chance.choice(
            [
                (b"SET", key, value), (b"GETSET", key, value), (b"DEL", key), (b"GET", key), (b"GET", key),
                (b"MGET", b"k", b"l"), (b"INCR", b"n"), (b"GET", b"n"),
                (b"RPUSH", b"q", value), (b"LPOP", b"q"), (b"LRANGE", b"q", b"0", b"-1"),
            ]
        )  # fmt: skip

    def replied(self, reply: Any) -> None:
        """A reply has come."""
        if isinstance(reply, ReplyError):
            self._ends(UNKNOWN if str(reply).startswith("UNBLOCKED") else REFUSED)
        else:
            self._ends("+OK" if reply == b"OK" else reply)

    def lost(self) -> None:
        """The connection has ended."""
        self._connection = None
        self._ends(UNKNOWN)

    def _ends(self, result: Any) -> None:
        if self._words is not None:
            self._history.append(Operation(self.name, self._called, self._moment(), self._words, result))
            self._words = None


class _Connection(Protocol):
    def __init__(self, node: MemoryNode, owner: Client) -> None:
        self.node = node
        self.owner: Client | None = owner
        self._reader = Reader()
        node.connect(self)

    def send(self, words: tuple[bytes, ...]) -> None:
        """Send a request."""
        transport: Any = self.transport
        transport.write(pack_command(words))

    def end(self) -> None:
        """End it."""
        transport: Any = self.transport
        transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        """See Protocol."""
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not False:
            if self.owner is not None:
                self.owner.replied(reply)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See Protocol."""
        if self.owner is not None:
            self.owner.lost()
