"""What executing requests tells the edge, and how much it may do at once. One for all sessions of a server."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from kvstore.base.errors import ForeignProtocol
from kvstore.base.limits import MIB


class Executed(NamedTuple):
    """One executed request, for whoever watches (trace, MONITOR).

    `number`: the order in which requests executed, from 1. `database`: the one it was about. `started_ns`, `ended_ns`:
    steady clock. `time_us`: since the epoch. `words`: the request. `outcome`: `ok` or the error's text. `commit`: the
    commit its reply waits for, 0 for none. `has_begun`: see `Outcome`. `reply_bytes`: of its reply, -1 if that is not
    there yet.
    """

    number: int
    client: int
    database: int
    address: str
    time_us: int
    started_ns: int
    ended_ns: int
    words: list[bytes]
    outcome: str
    commit: int
    has_begun: bool = True
    reply_bytes: int = -1


class Hooks:
    """What executing requests tells the edge; shared by all sessions of a server.

    `watchers`: called with each `Executed` request; while there are none, nothing is gathered. `commit_now`: called
    when the open commit holds `request_limit` write requests, or more than `size_limit` bytes of operations: so that a
    frame stays small beside the data.
    `report_foreign`: called with the address of a client that speaks another protocol. `monitor`: called with the
    number of a client that is in MONITOR. `watched`: requests shown to watchers so far. `share_ns`: nanoseconds that
    one client's requests may take before others have their turn.
    """

    NO_LIMIT = 2**62

    def __init__(self) -> None:
        self.watchers: list[Callable[[Executed], None]] = []
        self.request_limit = self.NO_LIMIT
        self.size_limit = 16 * MIB
        self.share_ns = self.NO_LIMIT
        self.commit_now: Callable[[], None] = lambda: None
        self.report_foreign: Callable[[str, ForeignProtocol], None] = lambda address, error: None
        self.monitor: Callable[[int], None] = lambda identity: None
        self.watched = 0
