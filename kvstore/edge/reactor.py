"""The epoll reactor with two things that a server of many small requests wants: sockets served without a log context
around each event, and a word when a turn of the loop ends.

Twisted's own loop puts a log context around every event of every socket: a dictionary copied, a stack pushed and
popped, an interface looked up. That is a third of what a GET costs here, and our log lines name the client themselves.
So `doPoll` reads from accepted connections directly, and leaves every other event (writing, closing, errors, listening
ports, child processes, TLS, timers) to the code it inherits.

`callAtEndOfTurn(f)`: f runs when all sockets that were ready have been served: the place for one commit of all that
they changed, and for their replies in one burst. Sent one by one, each reply wakes a client that was asleep, which
costs the sender; sent together, the first wakes it and the others find it at work. `Turn` asks for it; on any other
reactor it makes do with `callLater(0)`.

Rejected: an epoll descriptor of our own with all the clients in it, watched by the reactor as one reader (a third
faster still, but then transports, half-closing and TLS are ours to write again); asyncio's and uvloop's loops behind
Twisted (30 to 50 % slower than epoll, see docs/PERFORMANCE.md).
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from select import EPOLLIN
from time import perf_counter_ns
from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST, installReactor
from twisted.python import log

#: Transports of accepted connections. Their doRead is a recv and a call of the protocol's dataReceived.
_CONNECTIONS = (tcp.Server, unix.Server)


class TurnReactor(EPollReactor):
    """See the module."""

    def __init__(self) -> None:
        self._at_end: list[Callable[[], None]] = []
        #: How many sockets were ready when the loop last looked.
        self.ready = 0
        self._turn_watchers: dict[object, Callable[[int], None]] = {}
        super().__init__()

    def callAtEndOfTurn(self, function: Callable[[], None]) -> None:
        """Call `function` once, when the sockets that are ready now have been served; soon, if none is being served.

        What it raises is logged, as for `callLater`.
        """
        self._at_end.append(function)

    def doPoll(self, timeout: float | None) -> None:
        """Serve the sockets that are ready, then end the turn. `timeout`: seconds to wait for one, None for ever."""
        if self._at_end:  # a timer asked for it, or the last turn's end
            timeout = 0
        try:
            events = self._poller.poll(-1 if timeout is None else timeout, len(self._selectables))
        except OSError as error:
            if error.errno == errno.EINTR:
                return
            raise
        self._serve(events)
        if self._at_end:
            self._end_turn()

    def look_again(self) -> bool:
        """Serve the sockets that have become ready meanwhile, in the middle of the end of a turn; were there any?"""
        events = self._poller.poll(0, len(self._selectables))
        self._serve(events)
        return bool(events)

    def somebody_is_ready(self) -> bool:
        """Whether there is a socket to be served; it is not served yet."""
        return bool(self._poller.poll(0, 1))

    def _serve(self, events: list[tuple[int, int]]) -> None:
        self.ready = len(events)
        find = self._selectables.get
        for descriptor, event in events:
            selectable = find(descriptor)
            if event == EPOLLIN and selectable.__class__ in _CONNECTIONS:
                try:
                    data = selectable.socket.recv(selectable.bufferSize)
                except BlockingIOError:
                    continue
                except OSError:
                    self._disconnectSelectable(selectable, CONNECTION_LOST, True)
                    continue
                if not data:
                    self._disconnectSelectable(selectable, CONNECTION_DONE, True)
                    continue
                try:
                    selectable.protocol.dataReceived(data)
                except BaseException as error:
                    log.err()
                    self._disconnectSelectable(selectable, error, True)
            elif selectable is not None:
                log.callWithLogger(selectable, self._doReadOrWrite, selectable, descriptor, event)

    doIteration = doPoll

    def watch_turns(self, owner: object, told: Callable[[int], None] | None) -> None:
        """Have `told` called with how many nanoseconds each turn takes, without waiting for something to do; None: no
        more. One for each `owner`. While nobody watches, it costs nothing.
        """
        self._turn_watchers.pop(owner, None)
        if told is not None:
            self._turn_watchers[owner] = told
        self.doIteration = self._timed_turn if self._turn_watchers else self.doPoll  # type: ignore[method-assign]

    def _timed_turn(self, timeout: float | None) -> None:
        if not self._at_end:
            self._poller.poll(-1 if timeout is None else timeout, 1)  # what is ready is so when asked again
        began_ns = perf_counter_ns()
        self.doPoll(0)
        took_ns = perf_counter_ns() - began_ns
        for told in list(self._turn_watchers.values()):
            told(took_ns)

    def _end_turn(self) -> None:
        functions, self._at_end = self._at_end, []
        for function in functions:
            try:
                function()
            except BaseException:
                log.err()


def the_reactor() -> Any:
    """Twisted's reactor: the one installed already (`twistd --reactor`, a test), else ours."""
    if "twisted.internet.reactor" not in sys.modules:
        installReactor(TurnReactor())
    from twisted.internet import reactor

    return reactor
