"""The end of a turn of the loop: what all the sockets that were ready have asked for is done together.

What has arrived is executed (see `arrivals`), the open commit goes to the disk, and the replies leave, in the order
that lets the disk, the clients and the loop work at the same time:

| the writer | order | meanwhile |
|---|---|---|
| waits for the disk in the loop | replies that are ready, commit, its replies | clients work while the loop waits |
| overlaps the sync with the loop | commit, replies that are ready | the disk works while the loop sends |

Last come the clients whose requests took more than their share of time, or that go on in slices: all of them together
have one share in a turn, in which they go on one after the other, a step each time (`wait`); who is not done then is
first in the next turn, and before that every socket is looked at again. After each step it is asked whether one is
ready already: then the turn ends there. So whatever they ask for, the others wait for a step, and while nobody else
asks, a commit holds what is done in a whole share.

On a reactor that tells the end of a turn (`TurnReactor`) outlets gather their replies for it. On any other the end is
`callLater(0)`, which runs after every ready socket was served too, but at a price: there replies leave at once, and
only the commit waits.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from time import perf_counter_ns
from typing import Any, Protocol

from twisted.logger import Logger

from kvstore.edge.log_limit import LogLimit

_log = Logger()

#: How long one client goes on before it is the next one's turn, and others' who are ready, in nanoseconds.
STEP_NS = 500_000


class Gatherer(Protocol):
    """Whoever has gathered replies in this turn."""

    def flush(self) -> None:
        """Send them. Raises nothing."""


class Waiting(Protocol):
    """Whoever has requests that wait for time."""

    def go_on(self, until_ns: int) -> None:
        """Execute them until then, by the steady clock; `Turn.wait` again for what is left. Raises nothing."""


class Executes(Protocol):
    """Whoever keeps what has arrived until the turn ends: `Arrivals`."""

    def wants_more(self) -> bool:
        """Whether to look first for sockets that have become ready meanwhile."""

    def execute(self) -> None:
        """Execute what has arrived."""


class Commits(Protocol):
    """Whoever puts the open commit on its way: `GroupCommit`."""

    @property
    def overlaps(self) -> bool:
        """Whether the disk works while the loop does: then the commit comes before the replies."""

    @property
    def pauses(self) -> bool:
        """Whether the open commit waits a moment for more, in a later turn."""

    def commit_now(self) -> None:
        """Close the open commit and put it on its way."""


class _Nothing:
    """Nothing arrives, and nothing is committed."""

    overlaps = pauses = False

    def wants_more(self) -> bool:
        """See `Executes`."""
        return False

    def execute(self) -> None:
        """See `Executes`."""

    def commit_now(self) -> None:
        """See `Commits`."""


class Turn:
    """See the module. `reactor`: with `callAtEndOfTurn`, or at least callLater.

    `gathers`: whether replies are to be gathered. `commit_asked`: whether there is a commit at the end of this turn.
    `log_limit`: of the lines that clients can cause.

    `share_ns`: see the module. `steady_ns`: the clock by which it ends. `flushed`: called when gathered replies have
    left.
    """

    def __init__(self, reactor: Any, share_ns: int = 2**62, steady_ns: Callable[[], int] = perf_counter_ns) -> None:
        self.reactor = reactor
        at_end = getattr(reactor, "callAtEndOfTurn", None)
        self.gathers = at_end is not None
        self._call: Callable[[Callable[[], None]], Any] = at_end or (lambda function: reactor.callLater(0, function))
        self._scheduled = False
        self._gathered: list[Gatherer] = []
        self.flushed: list[Callable[[], None]] = []
        self._waiting: OrderedDict[Waiting, None] = OrderedDict()
        self.share_ns = share_ns
        self._steady_ns = steady_ns
        self.commit_asked = False
        self.log_limit = LogLimit(reactor.seconds)
        self._look_again: Callable[[], bool] = getattr(reactor, "look_again", lambda: False)
        self._somebody_is_ready: Callable[[], bool] = getattr(reactor, "somebody_is_ready", lambda: False)
        self._arrivals: Executes = _Nothing()
        self._commit: Commits = _Nothing()

    def drive(self, commit: Commits, arrivals: Executes | None = None) -> None:
        """From now on let these do their part at the end of each turn."""
        self._commit = commit
        self._arrivals = arrivals or self._arrivals

    def ask_for_commit(self) -> None:
        """There are changes: commit them at the end of this turn; asked for at its end, of the next."""
        if not self.commit_asked:
            self.commit_asked = True
            self.schedule()

    def gather(self, gatherer: Gatherer) -> None:
        """Flush `gatherer` at the end of this turn. To be called once a turn for each."""
        self._gathered.append(gatherer)
        if not self._scheduled:
            self.schedule()

    def gather_all(self, gatherers: Iterable[Gatherer]) -> None:
        """Flush those at the end of this turn."""
        self._gathered.extend(gatherers)
        self.schedule()

    def wait(self, waiting: Waiting) -> None:
        """Let `waiting` go on in its time; once, however often it asks before that."""
        self._waiting[waiting] = None
        self.schedule()

    def schedule(self) -> None:
        """Have this turn's end noticed."""
        if not self._scheduled:
            self._scheduled = True
            self._call(self._end)

    def _end(self) -> None:
        try:
            while self._arrivals.wants_more() and self._look_again():
                pass
            self._arrivals.execute()
        except Exception:
            self.log_limit(_log.failure, "bug at the end of a turn; what was executed is committed all the same")
        self._scheduled = False
        if self._gathered and not (self.commit_asked and self._commit.overlaps):
            self._flush()
        if self.commit_asked and self._commit.pauses:
            self.schedule()
        elif self.commit_asked:
            self.commit_asked = False
            self._commit.commit_now()
        if self._gathered:
            self._flush()
        if self._waiting:
            self._go_on()

    def _go_on(self) -> None:
        """See the module."""
        now_ns = self._steady_ns()
        end_ns = now_ns + self.share_ns
        while self._waiting:
            self._waiting.popitem(last=False)[0].go_on(min(now_ns + STEP_NS, end_ns))
            now_ns = self._steady_ns()
            if now_ns >= end_ns or self._somebody_is_ready():
                break
        if self._waiting:
            self.schedule()

    def _flush(self) -> None:
        gathered, self._gathered = self._gathered, []
        for gatherer in gathered:
            try:
                gatherer.flush()
            except Exception:
                self.log_limit(_log.failure, "bug while replies were sent; the others' leave all the same")
        for told in tuple(self.flushed):
            told()
