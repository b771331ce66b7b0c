"""What tests of commands stand on: a table on a simulated clock, with a log that has room until it is told not to."""

from __future__ import annotations

from collections.abc import Callable
from types import GeneratorType
from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from kvstore.base import slices
from kvstore.base.errors import RequestError, StorageFull
from kvstore.base.frame import HEADER_BYTES
from kvstore.base.keyed_hash import KeyedHash
from kvstore.base.limits import MOST_SCRIPT_MS
from kvstore.base.reply import Status, advance, finish
from kvstore.base.slices import Slicing
from kvstore.commands import dispatch
from kvstore.commands.client import Client
from kvstore.commands.context import Call, Server
from kvstore.commands.registry import table as commands
from kvstore.store.commit import OpenCommit
from kvstore.store.garbage import Garbage
from kvstore.store.keyspace import Keyspace
from kvstore.store.log import Purpose
from kvstore.store.operations import decode, split_history
from kvstore.store.state import Databases, State
from kvstore.store.store import Commit
from kvstore.store.table import Table
from kvstore.values import TYPES

#: Where keys lie for SCAN.
HASHED = KeyedHash(bytes(16))
#: The time at which every test begins: milliseconds since the epoch, some day in 2033.
START_MS = 2_000_000_000_000


def no_limit(size_bytes: int, purpose: Purpose) -> int:
    """What a log with room for everything answers an open commit."""
    return 1 << 60


class AsItIs:
    """Leaves replies as they are: an `Encoder`. What takes long is done at once."""

    def begin(self, reply: Any, *, in_slices: bool) -> Any:
        """See `Encoder`."""
        return finish(reply)

    def refusal(self, error: RequestError) -> Any:
        """See `Encoder`."""
        return error


def _words(request: tuple[bytes | str | int, ...]) -> list[bytes]:
    return [word if isinstance(word, bytes) else str(word).encode() for word in request]


def _reraise(text: str) -> None:
    raise  # inside the `except` of a bug


#: Of a database, by key: the operations that make it anew.
Content = dict[bytes, list[bytes]]


def content(state: State) -> Content:
    """What is in a database, deadlines included."""
    return {key: list(state.whole(key)) for key in state.values}


def replay(body: bytes, values: dict[bytes, Any], deadlines: dict[bytes, int]) -> int:
    """Apply the operations of a frame to the state of database 0; returns how many there are. Raises BadOperation."""
    found = Databases(TYPES)
    state = found.at(0)
    state.values, state.deadlines = values, deadlines
    return found.replay(body)


def watched(server: Server) -> int:
    """How many keys are watched, in all databases."""
    return sum(watches.count() for watches in server.watches)


def keys_in(commit: Commit) -> set[bytes]:
    """The keys that a commit has operations about."""
    _, body = split_history(commit.frame[HEADER_BYTES:])
    return {operation[1] for operation in decode(body)}


def a_table(now_ms: Callable[[], int] = lambda: 0, reserve: Callable[[int, Purpose], int] = no_limit) -> Table:
    """A database without a server. `now_ms`: its clock, which never stands still."""
    pending = OpenCommit(1, reserve)
    table = Table(TYPES, 0, now_ms, pending, Garbage(), Slicing(), HASHED)
    pending.begin_in(table)
    return table


class Rig:
    """One server without files or wire, and one client of it.

    `do` executes one request and returns the reply value, an error as a value too. `now_ms` is the clock, `room_bytes`
    how much the log has room for; tests set them. `store`: another one, with files and a clock of its own.
    """

    def __init__(self, store: Any = None) -> None:
        self._now_ms = START_MS
        self.room_bytes = 2**62
        self.store: Any = store or Keyspace(TYPES, lambda: self.now_ms * 1000 + 7, self.reserve, HASHED)
        if store is None:
            self.store.commit_for_table = lambda: 0
        self.table = self.store.table
        self.server = Server(self.store, lambda: self.now_ms, {}, "0" * 40)
        self.server.report_bug = _reraise
        self.server.script_ms = MOST_SCRIPT_MS  # which no script comes to, on a busy machine either
        self.call = self.connect()

    @property
    def now_ms(self) -> int:
        """See the class."""
        return self._now_ms

    @now_ms.setter
    def now_ms(self, now_ms: int) -> None:
        self._now_ms = now_ms
        self.store.clock.go_on()

    def connect(self) -> Call:
        """Another client; returns its view of the server."""
        client = Client(len(self.server.clients) + 1, "127.0.0.1:50000", "127.0.0.1:6380", self.now_ms)
        self.server.clients[client.identity] = client
        return Call(self.server, client)

    def do(self, *request: bytes | str | int, by: Call | None = None) -> Any:
        """Execute one request of client `by` (the first one unless told); words may be given as str or int.

        Of one that waits the time is up at once.
        """
        words = _words(request)
        reply = dispatch.answer(by or self.call, words, AsItIs()).reply
        return dispatch.give_up(reply, None).reply if isinstance(reply, dispatch.Blocked) else reply

    def error(self, *request: bytes | str | int, by: Call | None = None) -> str:
        """The error text, code included, of a request that must fail; and that it left nothing behind."""
        before = (self.state(), self.store.pending.body())
        reply = self.do(*request, by=by)
        assert isinstance(reply, RequestError), f"{request!r} answered {reply!r}"
        assert before == (self.state(), self.store.pending.body())
        return str(reply)

    def state(self) -> dict[int, Content]:
        """What is in the databases, and the libraries of functions, that are not empty."""
        return {table.number: content(table) for table in self.store.tables if table.values}

    def replayed(self) -> dict[int, Content]:
        """The state that recovery would make of the log."""
        found = Databases(TYPES)
        found.replay(self.store.pending.body())
        return {number: content(state) for number, state in found.by_number.items() if state.values}

    def reserve(self, size_bytes: int, purpose: Purpose = Purpose.GROW) -> int:
        """Room for the open commit, as the log gives it."""
        if size_bytes > self.room_bytes:
            raise StorageFull("no space left on device")
        return size_bytes


class CommandTestCase(SynchronousTestCase):
    """A test of commands, on a rig of its own."""

    def setUp(self) -> None:
        """Make the rig; `do` and `error` are its."""
        self.rig = Rig()
        self.do: Callable[..., Any] = self.rig.do
        self.error: Callable[..., str] = self.rig.error

    def script(self, lines: str) -> None:
        """Check requests and replies, one pair a line: `GET a -> b'1'`. A request's words stand between spaces.

        The reply is a Python literal, a status word such as OK, or `!` and the text of an error.
        """
        for line in filter(None, map(str.strip, lines.splitlines())):
            request, _, expected = line.partition(" -> ")
            words = [word.encode().decode("unicode_escape").encode("latin-1") for word in request.split(" ")]
            if expected.startswith("!"):
                self.assertEqual(self.error(*words), expected[1:], line)
            else:
                self.assertEqual(_plain(self.do(*words)), expected, line)

    def finished(self, *request: bytes | str | int, between: Callable[[], object] = lambda: None) -> tuple[Any, int]:
        """The reply of a request that comes in slices, of which each is as short as can be; and how many they were.

        `between`: is done after each of them.
        """
        words = _words(request)
        row = commands.find(words)
        number = 0
        with mock.patch.object(slices, "SLICE_NS", 0):
            reply = row.function(self.rig.call, *row.arguments(words))
            while reply.__class__ is GeneratorType:
                reply = advance(reply)
                number += 1
                between()
        return reply, number

    def tearDown(self) -> None:
        """Whatever the test did: recovery would find the state that it left."""
        self.assertEqual(self.rig.replayed(), self.rig.state())


def _plain(reply: Any) -> str:
    """A reply as a script writes it."""
    return reply.text if isinstance(reply, Status) else repr(reply)
