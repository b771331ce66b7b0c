"""Who puts commits where they belong, in a group: a leader's go to the shared log first; a follower's are there.

Neither syncs: what is acknowledged is on a quorum of the shared log's disks, and a node that crashed catches up from
there. `Upkeep` syncs the local log once a second.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from kvstore.base.shared_log import Appended, SharedLog
from kvstore.edge.writers import Done
from kvstore.store.store import Commit, Store


class SharedLogWriter:
    """A leader's `Writer`: a commit is settled when the shared log has it and it is written here, in this order.

    `outcome`: told of each append, before the commit is written; returns whether that is to be, which it is not if
    another leads. Then `done` is never called: nothing settles that commit any more.
    """

    overlaps = True

    def __init__(self, store: Store, log: SharedLog, outcome: Callable[[Appended], bool]) -> None:
        self._store = store
        self._log = log
        self._outcome = outcome

    def begin(self, commit: Commit, done: Done) -> None:
        """See `Writer`."""
        self._log.append(commit.sequence, commit.body, partial(self._appended, commit, done))

    def _appended(self, commit: Commit, done: Done, outcome: Appended) -> None:
        if not self._outcome(outcome):
            return
        try:
            self._store.write(commit)
        except Exception as error:
            done(error)
        else:
            done(None)
