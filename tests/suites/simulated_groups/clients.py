"""Clients of a group: those that write and read at whoever leads, whose history is checked, and those that read at
followers, whose view is (see `truth`).

A request takes some time to the server, and may find the connection broken. Who waits for too long gives up: he closes
the connection, and does not know what became of his request.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from hiredis import Reader, ReplyError, pack_command
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from tests.suites.histories.checker import REFUSED, UNKNOWN, Operation
from tests.suites.replicas.history import Violation
from tests.suites.simulated_groups.server import Machine
from tests.suites.simulated_groups.truth import View

if TYPE_CHECKING:
    from tests.suites.simulated_groups.world import World

Words = tuple[Any, ...]
#: Longest time that a request takes to the server.
_WAY_S = 0.02
#: What an error may begin with, and then nothing has changed.
_REFUSALS = ("READONLY", "UNBLOCKED", "EXECABORT", "MISCONF", "ERR FAILOVER")

STRINGS = (b"string0", b"string1")
COUNTER, LEFT, RIGHT, BOARD, LOCK = b"counter", b"left", b"right", b"board", b"lock"
QUEUES = (b"queue0", b"queue1")
PASSING = (b"passing0", b"passing1")
#: What is read at followers, together.
READ_TOGETHER = (*STRINGS, COUNTER, LEFT, RIGHT, LOCK, *PASSING)


class Connection(Protocol):
    """A connection to a server. `replies`: that have come and were not taken; `ended`: called when it is lost."""

    def __init__(self, machine: Machine, changed: Callable[[], None]) -> None:
        self.machine = machine
        self._changed = changed
        self._reader = Reader()
        self.replies: list[Any] = []
        self.is_open = True
        machine.connect(self)

    def dataReceived(self, data: bytes) -> None:
        """See Protocol."""
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not False:
            self.replies.append(reply)
        self._changed()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See Protocol."""
        if self.is_open:
            self.is_open = False
            self._changed()

    def send(self, requests: list[Words]) -> None:
        """Send requests together."""
        transport: Any = self.transport
        transport.write(b"".join(pack_command(words) for words in requests))

    def give_up(self) -> None:
        """Close it, whatever is under way."""
        if self.is_open:
            self.is_open = False
            transport: Any = self.transport
            transport.abortConnection()
            self._changed()


class Client:
    """One client, with one request under way at most. `busy`: whether one is."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.chance = world.chance
        self.connection: Connection | None = None
        self._then: Callable[[list[Any] | None], None] | None = None
        self._awaited = 0

    @property
    def busy(self) -> bool:
        """See the class."""
        return self._then is not None

    def connect(self, machine: Machine) -> bool:
        """Have a connection to that server; returns whether there is one."""
        if self.connection is not None and self.connection.is_open:
            if self.connection.machine is machine:
                return True
            self.connection.give_up()
        self.connection = None
        if not machine.running or machine.process.is_dead:
            return False
        self.connection = Connection(machine, self._changed)
        self.connected(self.connection)
        return True

    def connected(self, connection: Connection) -> None:
        """A new connection was made."""

    def ask(self, requests: list[Words], then: Callable[[list[Any] | None], None]) -> None:
        """Send requests, and call `then` with the replies to them; with None if they may not have been executed."""
        connection = self.connection
        assert connection is not None and not self.busy
        self._then, self._awaited = then, len(requests)
        connection.replies.clear()
        delay_s = self.chance.choice([0.0, 0.0, 0.001, _WAY_S]) * self.chance.random()
        self.world.time.call_later(delay_s, lambda: connection.send(requests) if connection.is_open else None)

    def _changed(self) -> None:
        connection, then = self.connection, self._then
        if then is None or connection is None:
            return
        if len(connection.replies) >= self._awaited:
            self._then = None
            then(connection.replies[: self._awaited])
        elif not connection.is_open:
            self._then = None
            then(None)

    def give_up(self) -> None:
        """Wait no longer."""
        if self.connection is not None:
            self.connection.give_up()


def is_refused(reply: Any) -> bool:
    """Whether a request was refused, and has changed nothing. Raises Violation for any other error."""
    if not isinstance(reply, ReplyError):
        return False
    if not str(reply).startswith(_REFUSALS):
        raise Violation(f"a client was answered: {reply}")
    return True


class Writer(Client):
    """A client that goes to whoever leads, as far as it is known. `loyalty`: how likely it stays where it is."""

    loyalty = 0.8

    def value(self) -> bytes:
        """A new one."""
        return b"%b.%d" % (self.name.encode(), next(self.world.values))

    def act(self) -> None:
        """Ask for something, unless something is under way."""
        if not self.busy and self.connect(self._likely_leader()):
            self.chance.choice(self.kinds())(self)

    def kinds(self) -> list[Callable[[Writer], None]]:
        """What it asks for."""
        return KINDS if self.world.walls_jump else KINDS_BY_CLOCK

    def _likely_leader(self) -> Machine:
        """Whom to ask: often who was asked before, if he still says that he leads."""
        connection = self.connection
        stays = connection is not None and connection.is_open and connection.machine.takes_itself_for_leader
        if stays and connection is not None and self.chance.random() < self.loyalty:
            return connection.machine
        return self.world.likely_leader()

    def call(self, words: Words, requests: list[Words], result: Callable[[list[Any]], Any]) -> None:
        """Ask, and note what came back: `result` makes of the replies what the model has."""
        called = self.world.time.seconds()

        def then(replies: list[Any] | None) -> None:
            seen = UNKNOWN if replies is None else REFUSED if is_refused(replies[-1]) else result(replies)
            self.note(words, called, seen)

        self.ask(requests, then)

    def note(self, words: Words, called: float, seen: Any) -> None:
        """An operation has ended."""
        self.world.history.append(Operation(self.name, called, self.world.time.seconds(), words, seen))

    def simple(self, *words: bytes) -> None:
        """A request that is an operation of the model."""
        self.call(words, [words], lambda replies: "+OK" if replies[-1] == b"OK" else replies[-1])


def strings(client: Writer) -> None:
    """One of a few strings."""
    key, value = client.chance.choice(STRINGS), client.value()
    ways: list[Words] = [(b"SET", key, value), (b"SET", key, value, b"NX"), (b"DEL", key), (b"GET", key), (b"GET", key)]
    client.simple(*client.chance.choice(ways))


def counters(client: Writer) -> None:
    """A counter."""
    client.simple(*client.chance.choice([(b"INCR", COUNTER), (b"INCR", COUNTER), (b"GET", COUNTER)]))


def queues(client: Writer) -> None:
    """Put into a queue, take from it, or move from one to the other; some wait for an element."""
    here, there = client.chance.sample(QUEUES, 2)
    kind = client.chance.randrange(6)
    if kind < 2:
        client.simple(b"RPUSH", here, client.value())
    elif kind == 2:
        client.simple(b"LPOP", here)
    elif kind == 3:
        client.simple(b"LMOVE", here, there, b"LEFT", b"RIGHT")
    elif kind == 4:
        client.simple(b"LRANGE", here, b"0", b"-1")
    else:
        client.call((b"BLPOP", here), [(b"BLPOP", here, b"3")], lambda replies: replies[-1])


def blocks(client: Writer) -> None:
    """Two keys at once. A WATCH may be left over from a read that was refused."""
    if client.chance.random() < 0.5:
        client.simple(b"MGET", LEFT, RIGHT)
        return
    value = client.value()
    inner: list[Words] = client.chance.choice(
        [
            [(b"SET", LEFT, value), (b"SET", RIGHT, value)],
            [(b"DEL", LEFT), (b"SET", RIGHT, value, b"NX"), (b"GET", RIGHT)],
        ]
    )
    client.call(
        (b"EXEC", *inner), [(b"MULTI",), *inner, (b"EXEC",)],
        lambda replies: REFUSED if replies[-1] is None else ["+OK" if each == b"OK" else each for each in replies[-1]],
    )  # fmt: skip


def compare_and_set(client: Writer) -> None:
    """Read a string, and change it if nobody else has."""
    key, value, called = client.chance.choice(STRINGS), client.value(), client.world.time.seconds()

    def seen(replies: list[Any] | None) -> None:
        if replies is None or is_refused(replies[-1]):
            return
        client.note((b"GET", key), called, replies[-1])
        client.call(
            (b"CAS", key, replies[-1], value), [(b"MULTI",), (b"SET", key, value), (b"EXEC",)],
            lambda replies: None if replies[-1] is None else ["+OK"],
        )  # fmt: skip

    client.ask([(b"WATCH", key), (b"GET", key)], seen)


def boards(client: Writer) -> None:
    """A sorted set."""
    member = b"member%d" % client.chance.randrange(2)
    if client.chance.random() < 0.5:
        client.simple(b"ZINCRBY", BOARD, b"1", member)
    else:
        client.call((b"ZRANGE", BOARD), [(b"ZRANGE", BOARD, b"0", b"-1", b"WITHSCORES")], lambda replies: replies[-1])


def passing(client: Writer) -> None:
    """A string that passes, once, at any time after it was set: by which clock, nobody knows here."""
    key, value = client.chance.choice(PASSING), client.value()
    if client.chance.random() < 0.6:
        client.simple(b"GET", key)
        return
    after_ms = b"%d" % client.chance.choice([1, 50, 500, 2000])
    client.note((b"VANISH", key, value), client.world.time.seconds(), UNKNOWN)
    client.call((b"SET", key, value), [(b"SET", key, value, b"PX", after_ms)], lambda _: "+OK")


def locks(client: Writer) -> None:
    """A lock, which ends by the wall clock."""
    if client.chance.random() < 0.5:
        client.call((b"HOLDER", LOCK), [(b"GET", LOCK)], lambda replies: replies[-1])
        return
    token, ms = client.value(), b"%d" % client.chance.choice([100, 700, 3000])
    client.call(
        (b"LOCK", LOCK, token, ms), [(b"SET", LOCK, token, b"NX", b"PX", ms)],
        lambda replies: None if replies[-1] is None else "+OK",
    )  # fmt: skip


KINDS: list[Callable[[Writer], None]] = [strings, counters, queues, queues, blocks, compare_and_set, boards, passing]
#: Where all wall clocks are the same.
KINDS_BY_CLOCK = [*KINDS, locks]
#: All keys, as they are read in the end.
LAST_READS: list[Words] = [
    *((b"GET", key) for key in (*STRINGS, COUNTER, *PASSING)), (b"MGET", LEFT, RIGHT),
    *((b"LRANGE", key, b"0", b"-1") for key in QUEUES),
]  # fmt: skip


def reads(client: Writer) -> None:
    """What others write most."""
    client.simple(*client.chance.choice([(b"GET", STRINGS[0]), (b"GET", COUNTER), (b"MGET", LEFT, RIGHT)]))


class Onlooker(Writer):
    """A client that only reads, and stays with a server for as long as that says that it leads."""

    loyalty = 1.0

    def kinds(self) -> list[Callable[[Writer], None]]:
        """See `Writer`."""
        return [reads]


class FollowerReader(Client):
    """A client that reads at followers, after READONLY. What a leader shows it is not looked at: that may be between
    two writes of a commit.
    """

    reads = 0

    def act(self) -> None:
        """Read, unless a read is under way."""
        stays = self.connection is not None and self.connection.is_open and self.chance.random() < 0.9
        machine = self.connection.machine if stays and self.connection else self.chance.choice(self.world.nodes)
        if not self.busy and not machine.is_leading and self.connect(machine):
            keys = self.chance.sample(READ_TOGETHER, len(READ_TOGETHER))
            self.ask([(b"READONLY",), (b"MGET", *keys)], partial(self._answered, machine, self._view, keys))

    def _answered(self, machine: Machine, view: View, keys: list[bytes], replies: list[Any] | None) -> None:
        if replies is None or machine.is_leading:
            return
        if any(is_refused(reply) for reply in replies):
            raise Violation(f"{self.name} was answered {replies}")
        view.shown(keys, replies[-1])
        self.reads += 1

    def connected(self, connection: Connection) -> None:
        """See `Client`."""
        self._view = View(self.world.truth, f"{self.name} at {connection.machine.address}")
