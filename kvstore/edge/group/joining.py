"""A server that is too far behind fetches the checkpoint of another one: see `kvstore.store.joining` for what with it.

The servers that are far enough are known by their notes; they are asked one after the other, first those whose
checkpoint goes so far, else in an order by chance, over the port that clients use: `GROUP CHECKPOINT offset least`, a
mebibyte at a time, until it is whole. A server that compacts meanwhile has another checkpoint, which is then fetched
from its beginning: that is seldom, see `lending`. One whose checkpoint does not go far enough refuses, and makes one
that does, for the next try: so it suffices that one server is left that has what the log has no more.

What was fetched is compared with the log before it replaces anything. If that has another entry there, the server that
has sent it holds what the group does not: it is named loudly, and another one is asked. If the log was trimmed beyond
it meanwhile, it is of no use, and all begins anew.

Where none can be had, all is tried again after a while; the log says so once a minute.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hiredis
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure as Reason

from kvstore.base.address import Address
from kvstore.base.chance import Chance
from kvstore.base.errors import KVStoreError, shorten
from kvstore.base.shared_log import Note, Read, SharedLog, Trimmed, difference
from kvstore.edge.group.peers import by_address
from kvstore.store.joining import Incoming
from kvstore.wire.resp import pack

_log = Logger()

#: Who sends nothing for so long is not waited for.
_SILENT_S = 10.0
_AGAIN_S = 2.0
#: How often the log says that none can be had; and for how long nobody is asked whose checkpoint is of another log.
_A_WHILE_S = 60.0


class Fetch(Protocol):
    """A checkpoint on its way from one server. `login`: user and password, or None. `least`: the position that it has
    to cover. `begin`: begins to write one of that size down. `ended`: called once, with all of it, or why it did not
    come.
    """

    def __init__(
        self,
        clock: Any,
        login: tuple[str, bytes] | None,
        least: int,
        begin: Callable[[int], Incoming],
        ended: Callable[[Incoming | str], None],
    ) -> None:
        self._login = login
        self._least = least
        self._begin = begin
        self._ended = ended
        self._reader = hiredis.Reader()
        self._identity = b""
        self._incoming: Incoming | None = None
        self._is_over = False
        self._silence: IDelayedCall = clock.callLater(_SILENT_S, self.fail, "it sends nothing")

    def connectionMade(self) -> None:
        """Log in, and ask for the first piece; not if the fetch was given up before."""
        if self._is_over:
            transport: Any = self.transport
            transport.abortConnection()
            return
        if self._login is not None:
            self._send(b"AUTH", self._login[0].encode(), self._login[1])
        self._ask()

    def _ask(self) -> None:
        offset = 0 if self._incoming is None else self._incoming.size_bytes
        self._send(b"GROUP", b"CHECKPOINT", b"%d" % offset, b"%d" % self._least)

    def _send(self, *words: bytes) -> None:
        transport: Any = self.transport
        transport.write(pack(*words))

    def dataReceived(self, data: bytes) -> None:
        """Some of an answer."""
        if self._is_over:
            return
        self._silence.reset(_SILENT_S)
        self._reader.feed(data)
        try:
            while not self._is_over and (reply := self._reader.gets()) is not False:
                self._answered(reply)
        except (OSError, KVStoreError, ValueError, TypeError, hiredis.HiredisError) as error:
            self.fail(str(error))

    def _answered(self, reply: Any) -> None:
        if isinstance(reply, Exception):
            self.fail(shorten(str(reply).encode()))
        elif reply != b"OK":
            self._take(*reply)

    def _take(self, identity: bytes, covers: int, size_bytes: int, data: bytes) -> None:
        """A piece of the checkpoint."""
        if covers < self._least:
            self.fail(f"its checkpoint has entries up to {covers} only")
        elif self._incoming is None or identity != self._identity:
            self._begin_with(identity, data if self._incoming is None else b"", size_bytes)
        else:
            self._add(data, size_bytes)

    def _begin_with(self, identity: bytes, data: bytes, size_bytes: int) -> None:
        """A checkpoint, or another one than before: which is fetched from its first byte on."""
        self._drop()
        self._identity, self._incoming = identity, self._begin(size_bytes)
        if data:
            self._add(data, size_bytes)
        else:
            self._ask()

    def _add(self, data: bytes, size_bytes: int) -> None:
        assert self._incoming is not None
        self._incoming.add(data)
        if self._incoming.size_bytes < size_bytes and data:
            self._ask()
            return
        self._incoming.check(self._least)
        whole, self._incoming = self._incoming, None
        self._end(whole)

    def connectionLost(self, reason: Reason = connectionDone) -> None:
        """See Protocol."""
        is_clean = reason.check(ConnectionDone) is not None
        self.fail("it has closed the connection" if is_clean else shorten(reason.getErrorMessage().encode()))

    def fail(self, reason: str) -> None:
        """It does not come; nothing if it has."""
        if not self._is_over:
            self._end(reason)

    def stop(self) -> None:
        """Forget it; nobody is told."""
        self._is_over = True
        if self._silence.active():
            self._silence.cancel()
        self._drop()
        transport: Any = self.transport
        if transport is not None:
            transport.abortConnection()  # who is silent would not hear of a better end

    def _end(self, outcome: Incoming | str) -> None:
        self.stop()
        self._ended(outcome)

    def _drop(self) -> None:
        if self._incoming is not None:
            self._incoming.abandon()
            self._incoming = None


class Joining:
    """See the module. `connect`: connects a protocol to a server, or has it `fail`. `own`: this server. `least`: the
    position that a checkpoint has to cover. `joined`: called when one was fetched that is of the log, with whose it is
    and the position that it covers: the next start begins with it.
    """

    def __init__(
        self,
        clock: Any,
        log: SharedLog,
        connect: Callable[[Address, Fetch], None],
        login: tuple[str, bytes] | None,
        own: Address,
        least: int,
        begin: Callable[[int], Incoming],
        joined: Callable[[Address, int], None],
        chance: Chance,
    ) -> None:
        self._clock = clock
        self._log = log
        self._connect = connect
        self._login = login
        self._own = own
        self._least = least
        self._begin = begin
        self._joined = joined
        self._chance = chance
        self._places: list[Address] = []
        self._why = ""
        self._said_s = -_A_WHILE_S
        self._avoided: dict[Address, float] = {}  # until when
        self._fetch: Fetch | None = None
        self._incoming: Incoming | None = None  # which is whole, while the log is asked about it
        self._again: IDelayedCall | None = None
        self._is_stopped = False

    def start(self) -> None:
        """Find out who can be asked."""
        self._why = f"no other server has noted that it has entry {self._least}"
        self._log.notes(self._noted)

    def _noted(self, noted: dict[str, Note]) -> None:
        notes = by_address(noted)
        places = [place for place, note in notes.items() if note.position >= self._least]
        self._chance.shuffle(places)
        places.sort(key=lambda place: notes[place].covers >= self._least)  # the last is asked first
        now_s = self._clock.seconds()
        self._places = [each for each in places if each != self._own and now_s >= self._avoided.get(each, now_s)]
        self._next()

    def _next(self) -> None:
        if self._is_stopped:
            return
        if not self._places:
            now_s = self._clock.seconds()
            if now_s >= self._said_s + _A_WHILE_S:
                self._said_s = now_s
                _log.warn("no checkpoint can be had; trying on: {reason}", reason=self._why)
            self._again = self._clock.callLater(_AGAIN_S, self.start)
            return
        place = self._places.pop()
        self._fetch = Fetch(
            self._clock, self._login, self._least, self._begin, lambda outcome: self._ended(place, outcome)
        )
        self._connect(place, self._fetch)

    def _ended(self, place: Address, outcome: Incoming | str) -> None:
        self._fetch = None
        if isinstance(outcome, str):
            self._failed(place, outcome)
        else:
            self._incoming = outcome
            self._compare(place, outcome, outcome.standing.position)

    def _failed(self, place: Address, reason: str) -> None:
        self._drop()
        self._why = f"{place}: {reason}"
        self._clock.callLater(0, self._next)

    def _compare(self, place: Address, incoming: Incoming, position: int) -> None:
        """Read the log from there on: the newest entry in the checkpoint, or the one behind it."""
        self._log.read(position, lambda found: self._compared(place, incoming, found))

    def _compared(self, place: Address, incoming: Incoming, found: Read) -> None:
        if self._is_stopped:
            return
        position = incoming.standing.position
        if isinstance(found, Trimmed):
            if found.first == position + 1:
                self._compare(place, incoming, found.first)
            else:
                self._begin_anew(position, found.first)
        elif reason := difference(incoming.standing, found):
            _log.critical(
                "the checkpoint of {place}, up to entry {position}, is not of the group's log, and not used; that "
                "server's data are not the group's: {reason}", place=str(place), position=position, reason=reason,
            )  # fmt: skip
            self._avoided[place] = self._clock.seconds() + _A_WHILE_S
            self._failed(place, f"its checkpoint is not of the group's log: {reason}")
        else:
            self._keep(place, incoming)

    def _begin_anew(self, position: int, first: int) -> None:
        _log.warn(
            "what was fetched has entries up to {position}, and the log begins with {first} by now: fetching anew",
            position=position, first=first,
        )  # fmt: skip
        self._drop()
        self._least = first - 1
        self._again = self._clock.callLater(0, self.start)

    def _keep(self, place: Address, incoming: Incoming) -> None:
        try:
            incoming.keep()
        except OSError as error:
            self._failed(place, f"it cannot be kept: {error}")
            return
        self._incoming = None
        self._joined(place, incoming.standing.position)

    def _drop(self) -> None:
        if self._incoming is not None:
            self._incoming.abandon()
            self._incoming = None

    def stop(self) -> None:
        """Try no more."""
        self._is_stopped = True
        self._drop()
        if self._fetch is not None:
            self._fetch.stop()
        if self._again is not None and self._again.active():
            self._again.cancel()
