"""What tests of commands stand on: a table on a simulated clock, with a log that has room until it is told not to."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.errors import RequestError, StorageFull
from kvstore.base.reply import Status, finish
from kvstore.commands import dispatch
from kvstore.commands.client import Client
from kvstore.commands.context import Call, Server
from kvstore.store.commit import OpenCommit
from kvstore.store.log import Purpose
from kvstore.store.operations import apply, decode
from kvstore.store.table import Table

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


def _reraise(text: str) -> None:
    raise  # inside the `except` of a bug


class Rig:
    """One server without files or wire, and one client of it.

    `do` executes one request and returns the reply value, an error as a value too. `now_ms` is the clock, `room_bytes`
    how much the log has room for; tests set them.
    """

    def __init__(self) -> None:
        self.now_ms = START_MS
        self.room_bytes = 2**62
        pending = OpenCommit(1, self.reserve)
        self.table = Table(lambda: self.now_ms, pending)
        store: Any = SimpleNamespace(
            table=self.table, now_us=lambda: self.now_ms * 1000 + 7,
            commit_for_key=lambda key: 0, commit_for_table=lambda: 0,
        )  # fmt: skip
        self.server = Server(store, lambda: self.now_ms, {}, "0" * 40)
        self.server.report_bug = _reraise
        self.call = self.connect()

    def connect(self) -> Call:
        """Another client; returns its view of the server."""
        client = Client(len(self.server.clients) + 1, "127.0.0.1:50000", "127.0.0.1:6380", self.now_ms)
        self.server.clients[client.identity] = client
        return Call(self.server, client)

    def do(self, *request: bytes | str | int, by: Call | None = None) -> Any:
        """Execute one request of client `by` (the first one unless told); words may be given as str or int."""
        words = [word if isinstance(word, bytes) else str(word).encode() for word in request]
        return dispatch.answer(by or self.call, words, AsItIs()).reply

    def error(self, *request: bytes | str | int, by: Call | None = None) -> str:
        """The error text, code included, of a request that must fail; and that it left nothing behind."""
        before = (dict(self.table.values), dict(self.table.deadlines), list(self.table.pending.operations))
        reply = self.do(*request, by=by)
        assert isinstance(reply, RequestError), f"{request!r} answered {reply!r}"
        assert before == (self.table.values, self.table.deadlines, self.table.pending.operations)
        return str(reply)

    def replayed(self) -> tuple[dict[bytes, bytes], dict[bytes, int]]:
        """The state that recovery would make of the log: values and deadlines."""
        values: dict[bytes, bytes] = {}
        deadlines: dict[bytes, int] = {}
        apply(decode(b"".join(self.table.pending.operations)), values, deadlines)
        return values, deadlines

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

    def tearDown(self) -> None:
        """Whatever the test did: recovery would find the state that it left."""
        self.assertEqual(self.rig.replayed(), (self.rig.table.values, self.rig.table.deadlines))


def _plain(reply: Any) -> str:
    """A reply as a script writes it."""
    return reply.text if isinstance(reply, Status) else repr(reply)
