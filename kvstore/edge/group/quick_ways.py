"""The quick ways of requests in a cluster: those for keys that this server has take them, all others are asked about.

Most requests name one key. That its slot is this group's, that this server leads, and that no slot is with nobody, is
found in half a microsecond here; what is anything else goes through `hash_slots.check_slots`, which answers it if it is
not for this server. Requests of many clients are not executed together: each would have to be looked at before.
"""

from __future__ import annotations

from typing import Any

from kvstore.base.errors import RequestError
from kvstore.base.slots import slot_of
from kvstore.commands import admission, dispatch
from kvstore.commands.registry import Command
from kvstore.edge.group.reads import GroupExecution, GroupSession, GroupTogether, Reads
from kvstore.session.execution import Execution
from kvstore.session.session import Session
from kvstore.wire.multibulk import Uniform
from kvstore.wire.pieces import Encoded

_ONE_KEY = (1, 1, 1)


class ClusterExecution(GroupExecution):
    """See the module."""

    __slots__ = ()

    def run(self, statistics: Any, request: list[bytes]) -> Encoded | None:
        """See `Execution`."""
        row: Command = statistics.row
        if row.has_keys and row.accepts(len(request)) and not (_has_one_key(row) and self._is_here(request[1])):
            try:
                admission.check_place(self._call, row, request)
            except RequestError as error:
                return self._take(dispatch.refuse(self._call, row, error, self._resp))
        return super().run(statistics, request)

    def run_many(self, pipeline: Uniform, budget_bytes: int) -> bytes | None:
        """See `Execution`."""
        statistics = self.plain_rows().get(pipeline.name)
        if statistics is None or not _has_one_key(statistics.row) or not all(map(self._is_here, pipeline.columns[0])):
            return None
        return super().run_many(pipeline, budget_bytes)

    def _is_here(self, key: bytes) -> bool:
        cluster: Any = self._call.server.group.cluster  # type: ignore[union-attr]
        serves: bool = cluster.serves(slot_of(key))
        return serves


def _has_one_key(row: Command) -> bool:
    return row.keys == _ONE_KEY and row.find_keys is None


class ClusterSession(GroupSession):
    """A session of a server in a cluster."""

    __slots__ = ()

    make_execution: type[Execution] = ClusterExecution


class ClusterTogether(GroupTogether):
    """Executes nothing together."""

    def row_of(self, chunk: bytes) -> Command | None:
        """See `Together`."""
        return None

    def execute_mixed(self, sessions: list[Session], chunks: list[bytes]) -> set[int]:
        """See `Together`."""
        return set()


class ClusterReads(Reads):
    """See `Reads`."""

    session = ClusterSession
    together = ClusterTogether
