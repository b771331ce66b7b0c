"""CLIENT PAUSE: requests wait until a time, all of them or those that may change something.

| a request | while all are paused | while writes are |
|---|---|---|
| that is refused anyway (no such command, wrong number of words) | is refused | is refused |
| CLIENT UNPAUSE | is executed | is executed |
| that may write or tell others something: a block, a script, what is queued in a block, too | waits | waits |
| any other | waits | is executed |

What waits has not begun: it is executed when the pause ends, first come first served, and what its client sent
meanwhile behind it. A client that waits otherwise (BLPOP) and would be served is put with those, too: a block that
pauses writes may have brought what it waits for. A pause of all is not made one of writes by a later one, nor a longer
one shorter. Meanwhile nothing is removed for its deadline, though it is gone for every reader all the same.

Valkey, while all are paused, lets CLIENT UNPAUSE wait as well: there nothing but time ends it.

What has a way by itself for speed (`Statistics.plain`) has none while it may have to wait; so a pause costs nothing
while there is none, and reads nothing while writes are paused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from kvstore.commands.client import Client
from kvstore.commands.row import Command
from kvstore.commands.statistics import Statistics
from kvstore.commands.waiting import WaitingRoom


class Resumes(Protocol):
    """The session of a client whose request waits for the end of a pause."""

    def resume(self) -> None:
        """The pause has ended: execute it, in this turn."""


class Pause:
    """See the module. `is_of_all`: or of writes only. `until_ms`: since the epoch, 0 while there is none.

    `statistics`: of the server. `now_ms`: the wall clock. `room`: has the timers.
    """

    def __init__(self, statistics: Statistics, now_ms: Callable[[], int], room: WaitingRoom) -> None:
        self._statistics = statistics
        self._now_ms = now_ms
        self._room = room
        self.is_of_all = False
        self.until_ms = 0
        self._is_congested = False
        self.waiting: dict[Client, Resumes] = {}
        self._timer: Any = None

    def begin(self, until_ms: int, *, of_all: bool) -> None:
        """Pause until then, or longer if it is paused for longer."""
        self.is_of_all = of_all or (self.until_ms > 0 and self.is_of_all)
        until_ms = max(until_ms, self.until_ms)
        left_ms = until_ms - self._now_ms()
        if left_ms <= 0:
            return
        self._stop_timer()
        self.until_ms = until_ms
        self._timer = self._room.call_later(left_ms / 1000, self.end)
        self._statistics.withhold("pause", lambda row: self.is_of_all or row.may_change)

    def end(self) -> None:
        """Let everybody go on; nothing if there is no pause."""
        self._stop_timer()
        self.until_ms = 0
        self._statistics.withhold("pause", None)
        self._resume()

    def congest(self, is_congested: bool) -> None:
        """Let writes wait, or go on, besides: the commit on its way takes long, and the open one is large enough."""
        if is_congested != self._is_congested:
            self._is_congested = is_congested
            self._statistics.withhold("congestion", (lambda row: row.may_change) if is_congested else None)
            if not is_congested:
                self._resume()

    def _resume(self) -> None:
        """Let all who wait try again: some may have to wait on, for another reason."""
        waiting, self.waiting = self.waiting, {}
        for client, session in waiting.items():
            client.is_postponed = False
            session.resume()

    def holds(self, call: Any, row: Command, request: list[bytes]) -> bool:
        """Whether a request has to wait. `call`: its `Call`."""
        if not (self.until_ms or self._is_congested) or row.name == "CLIENT|UNPAUSE":
            return False
        is_of_all = self.is_of_all and self.until_ms > 0
        if row.name == "EXEC":
            return is_of_all or any(self.holds(call, *each) for each in call.client.queued or ())
        return is_of_all or (row.may_change and not (row.only_reads and row.only_reads(call, request)))

    def enter(self, client: Client, session: Resumes) -> None:
        """A request of this client waits."""
        client.is_postponed = True
        self.waiting[client] = session

    def leave(self, client: Client) -> None:
        """The client is gone, whether its request waits or not."""
        client.is_postponed = False
        self.waiting.pop(client, None)

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
