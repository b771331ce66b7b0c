"""When the replies of reads may leave a group's leader.

A read is stale if another has led, and acknowledged writes, before the reply to it left. So at the leader

| `--reads` | a reply leaves |
|---|---|
| lease | at once if the lease still runs *after* the request was executed: nobody else could lead until then |
| lease, and it does not run | when an entry that was sent after it is in the log: nobody else has led until then |
| quorum | the same way, always: no clock is asked |

To wait for such an entry is to wait for the open commit, as replies to writes do; it is closed though it is empty, if
somebody waits for it (`GroupCommit`). So all reads of a turn wait for one entry, together with its writes. What a write
answers waits for its own commit in any case, and for no lease. At followers nothing waits: see `membership`.

A request that tells of no data (PING, ROLE, SENTINEL, CLIENT) is answered at once, so that a leader cut off from its
log can be asked how it does; so is INFO, for the same reason.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kvstore.commands.client import UNKNOWN
from kvstore.commands.context import Server
from kvstore.commands.registry import Command
from kvstore.commands.registry import table as commands
from kvstore.commands.row import Scope
from kvstore.edge.turn import Turn
from kvstore.session.execution import Execution
from kvstore.session.hooks import Hooks
from kvstore.session.session import Session
from kvstore.session.together import Together
from kvstore.store.replica import Replica, Role
from kvstore.wire.multibulk import Uniform
from kvstore.wire.pieces import Encoded


class Reads:
    """See the module. `now_ns`: the clock of leases. `trusts_lease`: what `--reads` says."""

    #: What executes requests of one client, and of many together.
    session: type[GroupSession]
    together: type[GroupTogether]

    def __init__(
        self, server: Server, turn: Turn, replica: Replica, now_ns: Callable[[], int], *, trusts_lease: bool
    ) -> None:
        self._store = server.store
        self._turn = turn
        self._replica = replica
        self._now_ns = now_ns
        self._trusts_lease = trusts_lease
        #: See `_hides_expired`: what was found, and at which time.
        self._looked_ms, self._hidden = 0, False

    def make_session(self, *arguments: Any) -> Session:
        """A session of a server in a group."""
        return self.session(self, *arguments)

    def make_together(self, server: Server, hooks: Hooks) -> Together:
        """What executes many clients' requests together in one."""
        return self.together(self, server, hooks)

    def may_leave(self) -> bool:
        """Whether replies of reads may leave now."""
        if self._replica.role is not Role.LEADING:
            return True
        return self._trusts_lease and self._replica.lease_runs(self._now_ns()) and not self._hides_expired()

    def _hides_expired(self) -> bool:
        """Whether a read may have left out a key by a time that is later than any in the log: another leader's clock
        may be behind, and must not show the key again. So the read waits for an entry that has that time.
        """
        now_ms = self._store.now_us() // 1000
        if now_ms != self._looked_ms:
            self._looked_ms = now_ms
            self._hidden = any(table.hides_expired(now_ms) for table in self._store.databases)
        return self._hidden

    def commit_to_wait_for(self) -> int:
        """The number of the commit that replies are to wait for, which comes at the end of this turn."""
        self._turn.ask_for_commit()
        return self._store.pending.sequence


class GroupExecution(Execution):
    """Notes whether any request tells of data. `tells`: one has, since it was set back."""

    __slots__ = ("tells",)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.tells = False

    def run(self, statistics: Any, request: list[bytes]) -> Encoded | None:
        """See `Execution`: of data, all of them."""
        self.tells = True
        return super().run(statistics, request)

    def run_many(self, pipeline: Uniform, budget_bytes: int) -> bytes | None:
        """See `Execution`: of data, all of them."""
        self.tells = True
        return super().run_many(pipeline, budget_bytes)

    def respond(self, request: Any) -> Encoded | None:
        """See `Execution`."""
        encoded = super().respond(request)
        self.tells |= self._client.last_command not in _ABOUT_THE_SERVER
        return encoded


class GroupSession(Session):
    """A session whose reads wait: see the module."""

    __slots__ = ("_reads", "_tells")

    make_execution: type[Execution] = GroupExecution
    _execution: GroupExecution

    def __init__(self, reads: Reads, *arguments: Any) -> None:
        self._reads = reads
        #: Whether what is delivered tells of data.
        self._tells = True
        super().__init__(*arguments)

    def deliver(self, data: Encoded, needed: int) -> None:
        """See `Session`."""
        if self._tells and data and needed != self._store.pending.sequence and not self._reads.may_leave():
            needed = self._reads.commit_to_wait_for()
        super().deliver(data, needed)

    def _executed(self, replies: Encoded, count: int) -> None:
        self._tells, self._execution.tells = self._execution.tells, False
        super()._executed(replies, count)
        self._tells = True

    def _one(self, request: Any) -> bool:
        before = len(self.ready)
        is_done = super()._one(request)
        self._execution.tells = False
        if len(self.ready) > before and not self._reads.may_leave():
            self.hold(self.ready.pop(), self._reads.commit_to_wait_for())
        return is_done


class GroupTogether(Together):
    """Requests of many clients whose reads wait: see the module."""

    def __init__(self, reads: Reads, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._reads = reads

    def execute(self, row: Command, sessions: list[Session], chunks: list[bytes]) -> list[bytes] | None:
        """See `Together`."""
        replies = super().execute(row, sessions, chunks)
        if not replies:
            return replies
        if not self._reads.may_leave():
            return self._wait(sessions, replies)
        if not any(session.waits_for for session in sessions):
            return replies
        for session, data in zip(sessions, replies, strict=True):  # behind reads that wait for a commit of nothing
            session.deliver(data, 0)
        return []

    def _hold(self, sessions: list[Session], replies: list[bytes]) -> list[bytes]:
        """See `Together`. Writes that have changed nothing have read: what was sent before says nothing of them."""
        if self._store.pending.operations or self._reads.may_leave():
            return super()._hold(sessions, replies)
        return self._wait(sessions, replies)

    def _wait(self, sessions: list[Session], replies: list[bytes]) -> list[bytes]:
        sequence = self._reads.commit_to_wait_for()
        for session, data in zip(sessions, replies, strict=True):
            session.hold(data, sequence)
        return []


Reads.session, Reads.together = GroupSession, GroupTogether


def _names() -> frozenset[str]:
    rows = [row for each in commands.by_name.values() for row in (each, *each.subcommands.values())]
    return frozenset(row.name for row in rows if row.scope is Scope.NOTHING) - {"EXEC"} | {"INFO", UNKNOWN}


#: Commands that tell of no data, and INFO; and what is no command.
_ABOUT_THE_SERVER = _names()
