"""The end of a turn of the loop: what all the sockets that were ready have asked for is done together.

First the replies leave that wait for nothing; then the open commit goes to the disk; then the replies leave that only
waited for it. In that order: while the loop is busy with the disk, the clients are busy with what they got.

On a reactor that tells the end of a turn (`TurnReactor`) outlets gather their replies for it. On any other the end is
`callLater(0)`, which runs after every ready socket was served too, but at a price: there replies leave at once, and
only the commit waits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class Gatherer(Protocol):
    """Whoever has gathered replies in this turn."""

    def flush(self) -> None:
        """Send them. Raises nothing."""


class Turn:
    """See the module. `reactor`: with `callAtEndOfTurn`, or at least callLater.

    `commit`: closes the open commit and puts it on its way; called at the end of each turn that asked for it.
    `gathers`: whether replies are to be gathered.
    """

    def __init__(self, reactor: Any) -> None:
        at_end = getattr(reactor, "callAtEndOfTurn", None)
        self.gathers = at_end is not None
        self._call: Callable[[Callable[[], None]], Any] = at_end or (lambda function: reactor.callLater(0, function))
        self._scheduled = False
        self._gathered: list[Gatherer] = []
        self._commit_asked = False
        self.commit: Callable[[], None] = lambda: None

    def ask_for_commit(self) -> None:
        """There are changes: commit them at the end of this turn."""
        if not self._commit_asked:
            self._commit_asked = True
            self._schedule()

    def gather(self, gatherer: Gatherer) -> None:
        """Flush `gatherer` at the end of this turn. To be called once a turn for each."""
        self._gathered.append(gatherer)
        if not self._scheduled:
            self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._call(self._end)

    def _end(self) -> None:
        self._scheduled = False
        if self._gathered:
            self._flush()
        if self._commit_asked:
            self._commit_asked = False
            self.commit()
            if self._gathered:
                self._flush()

    def _flush(self) -> None:
        gathered, self._gathered = self._gathered, []
        for gatherer in gathered:
            gatherer.flush()
