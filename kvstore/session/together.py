"""Requests of many clients that came in one turn of the loop, executed at once.

A client that waits for each reply before it asks again sends no pipeline, but the clients of one turn are one together:
as many GETs, or SETs, one behind the other. So they are executed as `columns`.

It is as if they had executed one after the other. All of them were on their way at the same time, so any order is as
good; each client's own requests keep theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, repeat

from kvstore.base.limits import MIB
from kvstore.base.reply import Arrays, Numbers, Status
from kvstore.commands.context import Server
from kvstore.commands.registry import Command
from kvstore.session import columns, mixed
from kvstore.session.hooks import Hooks
from kvstore.session.session import Session
from kvstore.wire.multibulk import COUNTS, CRLF, Uniform, uniform_chunks
from kvstore.wire.pieces import UNLIMITED_BYTES, join_parts, parts

#: Strings that are more than this together are read one client after the other, as far as each has room for replies.
_MOST_BYTES = 1 * MIB
#: The same of arrays: their strings are copied in any case, and those alike once for all clients.
_MOST_BYTES_OF_ARRAYS = 8 * MIB


class Together:
    """See the module; one for the whole server. `requests`: how many were executed so since the start."""

    def __init__(self, server: Server, hooks: Hooks) -> None:
        self.requests = 0
        self._server = server
        self._store = server.store
        self._hooks = hooks
        self._plain = server.statistics.plain

    def row_of(self, chunk: bytes) -> Command | None:
        """The command for which chunks that begin like this one can be executed together, if there is one."""
        head = chunk.split(CRLF, 3)
        found = self._plain.get(head[2]) if len(head) > 3 else None
        if found is None or found.row.many is None or self._hooks.watchers:
            return None
        row = found.row
        is_pipeline = b"\r\n*" in chunk  # in which others may follow
        fits = not row.words_of_many or COUNTS.get(head[0]) in row.words_of_many
        return row if fits or is_pipeline else None

    def execute(self, row: Command, sessions: list[Session], chunks: list[bytes]) -> list[bytes] | None:
        """Execute each chunk as the input of the session at its place.

        `row`: see `row_of`. `sessions`: none is in the middle of something. Returns the replies that may leave now, one
        string for each session; or none at all if they are kept in the sessions; None, having done nothing, if the
        chunks have to be taken one by one. Raises StorageFault.
        """
        taken = self.read(chunks)
        if taken is None:
            return None
        pipeline, counts = taken
        protocols = partial(_protocols, sessions, counts)
        of_each = None if pipeline.length == len(counts) else counts
        reply = columns.execute(
            sessions[0].call, self._server.statistics[row], pipeline, self._hooks,
            lambda replies: self._encode(row, replies, protocols, of_each),
        )  # fmt: skip
        if reply is None:
            return None
        self.requests += pipeline.length
        self._server.requests_executed += pipeline.length
        now_ms, name = self._server.recent_ms, row.name
        for session, count in zip(sessions, counts, strict=True):
            client = session.client
            client.last_command = name
            client.last_request_ms = now_ms
            client.requests += count
        if isinstance(reply, Status):
            return self._hold(sessions, [reply.wire * count for count in counts])
        if isinstance(reply, Numbers):
            reply = join_parts([b":%b\r\n" % digits for digits in reply], counts)
        if row.writes:
            return self._hold(sessions, reply)
        return self._deliver(sessions, counts, pipeline.columns[0], reply)

    def read(self, chunks: list[bytes]) -> tuple[Uniform, list[int]] | None:
        """The requests of all chunks, and how many are in each; None if they cannot be executed together."""
        return uniform_chunks(chunks)

    def _encode(
        self, row: Command, replies: Sequence[bytes | None] | Arrays, protocols: Callable[[], Iterable[int]],
        counts: list[int] | None,
    ) -> list[bytes] | None:  # fmt: skip
        """The bytes for each client; None if each request has to be executed alone: for one whose reply is noted."""
        each = columns.encode_each(replies, protocols, self._limit_bytes(row, replies), counts)
        if each is None or row.writes or not isinstance(replies, Arrays):
            return each
        return each if max(map(len, each)) < self._server.command_log.reply_bytes else None

    def _limit_bytes(self, row: Command, replies: Sequence[bytes | None] | Arrays) -> int:
        if row.writes:
            return UNLIMITED_BYTES
        if isinstance(replies, Arrays):
            return min(_MOST_BYTES_OF_ARRAYS, self._server.max_reply_bytes)
        return min(_MOST_BYTES, self._server.max_reply_bytes, self._server.command_log.reply_bytes)

    def execute_mixed(self, sessions: list[Session], chunks: list[bytes]) -> set[int]:
        """The same for requests of several commands, as far as they can be sorted: see `mixed`.

        `sessions`: of one database. Returns the places of those whose chunks were executed.
        """
        before = self._server.requests_executed
        taken = mixed.execute(self._hooks, sessions, chunks)
        self.requests += self._server.requests_executed - before
        return taken

    def _hold(self, sessions: list[Session], replies: list[bytes]) -> list[bytes]:
        """The requests write: their replies wait for the newest commit that changed anything. Returns as `execute`."""
        sequence = self._store.commit_for_table()
        if not sequence:  # they have changed nothing, and nothing is on its way
            return replies
        for session, data in zip(sessions, replies, strict=True):
            session.hold(data, sequence)
        if self._store.pending.size_bytes > self._hooks.size_limit:
            self._hooks.commit_now()
        return []

    def _deliver(
        self, sessions: list[Session], counts: list[int], keys: list[bytes], replies: list[bytes]
    ) -> list[bytes]:
        """All requests have read one key each, and these are the replies. Returns as `execute`."""
        unsettled, table = self._store.commit_for_table(), sessions[0].call.table
        needed: list[int] = []
        if unsettled and table.commit_for_keys(keys):
            needed = list(map(table.commit_for_key, keys))
            if len(keys) > len(sessions):
                needed = [max(needed[part]) for part in parts(counts)]
        if not unsettled or not (needed or any(session.waits_for for session in sessions)):
            return replies
        for session, data, commit in zip(sessions, replies, needed or repeat(0), strict=False):
            session.deliver(data, commit)
        return []


def _protocols(sessions: list[Session], counts: list[int]) -> Iterator[int]:
    """The version of RESP in which each request is to be answered."""
    return chain.from_iterable(
        repeat(session.client.protocol, count) for session, count in zip(sessions, counts, strict=True)
    )
