"""`SimulatedSharedLog`: a shared log in memory, that several nodes are connected to by messages that go astray.

The log itself does what it is asked for at one moment (it stands for a quorum of disks). What can go wrong is on the
way: a request or its reply is lost, comes twice, comes late, so that others overtake it; the log refuses, and may have
done what was asked for all the same. A connection repeats what is not answered, as a real one does, and keeps what a
`SharedLog` promises: `done` once, a watch in order.

    log = SimulatedSharedLog(clock.callLater, Random(1), Trouble(lost=0.1))
    connection = log.connect()      # a SharedLog
    connection.cut()                # no message gets through until heal(); deafen(): none of the log's
    connection.pause()              # the process stands still until resume(): messages wait for it

Time is whoever's `callLater` it is given: Twisted's Clock, its reactor, or a scheduler's of one's own.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeAlias, TypeVar

from kvstore.base.limits import MIB
from kvstore.base.shared_log import Appended, Entries, Note, Read, Size, Trimmed

if TYPE_CHECKING:
    from kvstore.base.shared_log import SharedLog, Watch

#: After which a connection repeats what was not answered, and a watch looks by itself; in seconds.
REPEAT_S = 0.5
POLL_S = 1.0
#: A quota that is never reached.
PLENTY_BYTES = 1 << 62
#: What `read` returns at once.
_READ_BYTES = MIB

_Value = TypeVar("_Value")
#: Calls something after so many seconds.
CallLater: TypeAlias = Callable[[float, Callable[[], None]], object]


class Trouble(NamedTuple):
    """What befalls messages: the probability for each one, but for those in seconds.

    `delay_s`: each takes up to that. `late`: it takes up to `late_s` instead. `refused`: the log answers a request with
    a refusal, and does half of those all the same.
    """

    delay_s: float = 0.001
    lost: float = 0.0
    repeated: float = 0.0
    late: float = 0.0
    late_s: float = 10.0
    refused: float = 0.0


class SimulatedSharedLog:
    """See the module. `refuses`: all requests, as an engine without a quorum does. `trouble` may be changed at any
    time.

    `quota_bytes`: what it says that it takes; it takes more all the same. `file_bytes`: how large it
    says that its file is. `freed`: how often it was told to forget.

    `entries`, by their positions, the newest at `head`; `first`: where they begin; `asked_first`: where they will, when
    all is done that was asked for; `noted`: see `SharedLog.note`.
    """

    def __init__(self, call_later: CallLater, chance: Random, trouble: Trouble | None = None) -> None:
        self.call_later = call_later
        self.chance = chance
        self.trouble = trouble or Trouble()
        self.refuses = False
        self.entries: dict[int, bytes] = {}
        self.first, self.head = 1, 0
        self.asked_first = 1
        self.noted: dict[str, Note] = {}
        self.quota_bytes = PLENTY_BYTES
        self.file_bytes = 0
        self.freed = 0
        self._connections: list[SimulatedConnection] = []

    def connect(self) -> SimulatedConnection:
        """The log as one run of one node sees it."""
        connection = SimulatedConnection(self)
        self._connections.append(connection)
        return connection

    def disconnect(self, connection: SimulatedConnection) -> None:
        """It hears of new entries no more."""
        if connection in self._connections:
            self._connections.remove(connection)

    # What the log does with a request, at one moment

    def append(self, position: int, entry: bytes) -> Appended:
        """See `SharedLog`."""
        if position > self.head + 1:
            return Appended.LOST
        if not self.is_next(position):
            return Appended.THERE if self.entries.get(position) == entry else Appended.FENCED
        self.entries[position] = entry
        self.head = max(self.head, position)
        for connection in self._connections:
            self.carry(connection.grown)
        return Appended.THERE

    def is_next(self, position: int) -> bool:
        """Whether an entry may be appended there: the condition of the transaction."""
        return position == self.head + 1

    def set_back(self, head: int) -> None:
        """Lose what is behind that position, as an engine that is restored from an old backup does."""
        self.entries = {position: entry for position, entry in self.entries.items() if position <= head}
        self.first, self.head = min(self.first, head + 1), head

    def read(self, position: int) -> Read:
        """See `SharedLog`."""
        if position < self.first:
            return Trimmed(self.first)
        found: list[tuple[int, bytes]] = []
        size = 0
        while position <= self.head and size < _READ_BYTES:
            found.append((position, self.entries[position]))
            size += len(self.entries[position])
            position += 1
        return Entries(found, self.head)

    def trim(self, first: int) -> None:
        """See `SharedLog`."""
        while self.first < min(first, self.head):
            del self.entries[self.first]
            self.first += 1

    def note(self, node: str, note: Note) -> Note | None:
        """See `SharedLog`."""
        before = self.noted.get(node)
        self.noted[node] = note
        return before

    def forget(self, node: str) -> None:
        """See `SharedLog`."""
        self.noted.pop(node, None)

    def free(self) -> None:
        """See `SharedLog`. There is no history here."""
        self.freed += 1

    def size(self) -> Size:
        """See `SharedLog`."""
        return Size(sum(map(len, self.entries.values())), self.quota_bytes, self.file_bytes)

    # The way

    def carry(self, message: Callable[[], None]) -> None:
        """Let a message arrive in some time, or not, or twice."""
        if self.happens(self.trouble.lost):
            return
        for _ in range(2 if self.happens(self.trouble.repeated) else 1):
            longest_s = self.trouble.late_s if self.happens(self.trouble.late) else self.trouble.delay_s
            self.call_later(self.chance.random() * longest_s, message)

    def happens(self, probability: float) -> bool:
        """Whether something does that is so likely."""
        return probability > 0 and self.chance.random() < probability


class SimulatedConnection:
    """See the module, and `SharedLog`."""

    def __init__(self, log: SimulatedSharedLog) -> None:
        self.log = log
        self.is_cut = self.is_deaf = self.is_stopped = False
        self._held: list[Callable[[], None]] | None = None
        self._watches: list[_Watch] = []

    # SharedLog

    def append(self, position: int, entry: bytes, done: Callable[[Appended], None]) -> None:
        """See `SharedLog`."""
        self._ask(lambda: self.log.append(position, entry), done)

    def read(self, position: int, done: Callable[[Read], None]) -> None:
        """See `SharedLog`."""
        self._ask(lambda: self.log.read(position), done)

    def watch(self, position: int, seen: Callable[[int, bytes], None], trimmed: Callable[[int], None]) -> Watch:
        """See `SharedLog`."""
        watch = _Watch(self, position, seen, trimmed)
        self._watches.append(watch)
        watch.begin()
        return watch

    def trim(self, first: int, done: Callable[[], None]) -> None:
        """See `SharedLog`."""
        self.log.asked_first = max(self.log.asked_first, first)
        self._ask(lambda: self.log.trim(first), lambda _: done())

    def note(self, node: str, note: Note, done: Callable[[Note | None], None]) -> None:
        """See `SharedLog`."""
        self._ask(lambda: self.log.note(node, note), done)

    def forget(self, node: str, done: Callable[[], None]) -> None:
        """See `SharedLog`."""
        self._ask(lambda: self.log.forget(node), lambda _: done())

    def notes(self, done: Callable[[dict[str, Note]], None]) -> None:
        """See `SharedLog`."""
        self._ask(lambda: dict(self.log.noted), done)

    def free(self, done: Callable[[], None]) -> None:
        """See `SharedLog`."""
        self._ask(self.log.free, lambda _: done())

    def size(self, done: Callable[[Size], None]) -> None:
        """See `SharedLog`."""
        self._ask(self.log.size, done)

    def stop(self) -> None:
        """See `SharedLog`; also what becomes of a connection whose process was killed."""
        self.is_stopped = True
        self._held = None
        self.log.disconnect(self)

    def _ask(self, execute: Callable[[], _Value], done: Callable[[_Value], None]) -> None:
        _Request(self, execute, done).send()

    def sending(self) -> None:
        """A request leaves, for the first time or again."""

    # What befalls the node

    def cut(self) -> None:
        """No message gets through, in either direction."""
        self.is_cut = True

    def deafen(self) -> None:
        """Its requests reach the log, and what the log says does not reach it."""
        self.is_deaf = True

    def heal(self) -> None:
        """All messages get through again."""
        self.is_cut = self.is_deaf = False

    @property
    def hears(self) -> bool:
        """Whether a message of the log gets through, now."""
        return not (self.is_cut or self.is_deaf)

    def pause(self) -> None:
        """The process stands still: nothing is called, and nothing repeated."""
        if self._held is None:
            self._held = []

    def resume(self) -> None:
        """It goes on: with all that it missed, in order."""
        held, self._held = self._held or [], None
        for call in held:
            self.awake(call)

    def awake(self, call: Callable[[], None]) -> None:
        """Call something in the process: now, when it goes on, or never."""
        if self._held is not None:
            self._held.append(call)
        elif not self.is_stopped:
            call()

    def grown(self) -> None:
        """A message: there are new entries."""
        if self.hears:
            self.awake(self._look)

    def _look(self) -> None:
        self._watches = [watch for watch in self._watches if not watch.is_stopped]
        for watch in self._watches:
            watch.look()


class _Request(Generic[_Value]):
    """One thing that is asked for, and asked for again until it is answered."""

    def __init__(
        self, connection: SimulatedConnection, execute: Callable[[], _Value], done: Callable[[_Value], None]
    ) -> None:
        self._connection = connection
        self._log = connection.log
        self._execute = execute
        self._done = done
        self._is_done = False

    def send(self) -> None:
        """Send it, and again later."""
        if self._is_done or self._connection.is_stopped:
            return
        self._connection.sending()
        self._log.carry(self._arrived)
        self._log.call_later(REPEAT_S, lambda: self._connection.awake(self.send))

    def _arrived(self) -> None:
        if self._connection.is_cut or self._log.refuses:
            return
        refused = self._log.happens(self._log.trouble.refused)
        if refused and self._log.happens(0.5):
            return
        value = self._execute()
        if not refused:
            self._log.carry(lambda: self._answered(value))

    def _answered(self, value: _Value) -> None:
        if self._connection.hears:
            self._connection.awake(lambda: self._end(value))

    def _end(self, value: _Value) -> None:
        if not self._is_done:
            self._is_done = True
            self._done(value)


class _Watch:
    """Reads on from its place, when it hears of new entries and now and then."""

    def __init__(
        self,
        connection: SimulatedConnection,
        position: int,
        seen: Callable[[int, bytes], None],
        trimmed: Callable[[int], None],
    ) -> None:
        self._connection = connection
        self._next = position
        self._seen = seen
        self._trimmed = trimmed
        self._is_reading = False
        self._heard = False
        self.is_stopped = False

    def begin(self) -> None:
        """Look now, and again and again."""
        if not self.is_stopped and not self._connection.is_stopped:
            self.look()
            self._connection.log.call_later(POLL_S, lambda: self._connection.awake(self.begin))

    def look(self) -> None:
        """Read what is there, if that is not being done; then it is done once more."""
        self._heard = self._is_reading
        if not self._is_reading and not self.is_stopped:
            self._is_reading = True
            self._connection.read(self._next, self._read)

    def _read(self, found: Read) -> None:
        self._is_reading = False
        if isinstance(found, Trimmed):
            self._tell_trimmed(found.first)
            return
        for position, entry in found.entries:
            if self.is_stopped:
                return
            self._next = position + 1
            self._seen(position, entry)
        if self._heard or self._next <= found.head:
            self.look()

    def _tell_trimmed(self, first: int) -> None:
        if not self.is_stopped:
            self.is_stopped = True
            self._trimmed(first)

    def stop(self) -> None:
        """See `Watch`."""
        self.is_stopped = True


if TYPE_CHECKING:

    def _is_a_shared_log(connection: SimulatedConnection) -> SharedLog:
        return connection
