"""The quick ways of requests in a cluster: those for keys that this server has take them, all others are asked about.

Most requests name one key. That its slot is this group's, that this server leads, and that no slot is with nobody, is
found in half a microsecond here; what is anything else goes through `hash_slots.check_slots`, which answers it if it is
not for this server. Requests of one command, of many clients, are executed together if all their keys are here; those
of several commands are not sorted.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kvstore.base.errors import RequestError
from kvstore.commands import admission, dispatch
from kvstore.commands.context import Server
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
        if row.has_keys and row.accepts(len(request)) and not (_has_one_key(row) and self._are_here((request[1],))):
            try:
                admission.check_place(self._call, row, request)
            except RequestError as error:
                return self._take(dispatch.refuse(self._call, row, error, self._resp))
        return super().run(statistics, request)

    def run_many(self, pipeline: Uniform, budget_bytes: int) -> bytes | None:
        """See `Execution`."""
        statistics = self.plain_rows().get(pipeline.name)
        if statistics is None or not _has_one_key(statistics.row) or not self._are_here(pipeline.columns[0]):
            return None
        return super().run_many(pipeline, budget_bytes)

    def _are_here(self, keys: Iterable[bytes]) -> bool:
        return _serves(self._call.server, keys)


def _serves(server: Server, keys: Iterable[bytes]) -> bool:
    cluster: Any = server.group.cluster  # type: ignore[union-attr]
    serves: bool = cluster.serves(keys)
    return serves


def _has_one_key(row: Command) -> bool:
    return row.keys == _ONE_KEY and row.find_keys is None


class ClusterSession(GroupSession):
    """A session of a server in a cluster."""

    __slots__ = ()

    make_execution: type[Execution] = ClusterExecution


class ClusterTogether(GroupTogether):
    """Executes requests of one command together whose keys are all here."""

    def row_of(self, chunk: bytes) -> Command | None:
        """See `Together`."""
        row = super().row_of(chunk)
        return row if row is not None and _has_one_key(row) else None

    def read(self, chunks: list[bytes]) -> tuple[Uniform, list[int]] | None:
        """See `Together`."""
        taken = super().read(chunks)
        return taken if taken is not None and _serves(self._server, taken[0].columns[0]) else None

    def execute_mixed(self, sessions: list[Session], chunks: list[bytes]) -> set[int]:
        """See `Together`."""
        return set()


class ClusterReads(Reads):
    """See `Reads`."""

    session = ClusterSession
    together = ClusterTogether
