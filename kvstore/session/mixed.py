"""Requests of several commands, of many clients, executed at once: sorted by command, each of which is columns.

Requests that name different keys may change places: neither sees what the other does, and a log that tells them in
another order comes to the same. So what the clients of one turn have sent is executed command by command, and what is
of one command keeps its order. It is as if the clients had executed one after the other. A test holds it to that.

| a key is named | what becomes of it |
|---|---|
| by one command, or by several that read | nothing: columns |
| by commands that read one element each of a value that is there, and one that writes other elements of it | the same |
| by one that writes and one that reads | the clients that write it are dropped |
| by several that write | those requests are set apart: executed one by one when all else is, client after client |

A client that is dropped goes after the others, one request after the other, and so does whoever sent anything else.

Commands that read come first. They change nothing, so that their clients can still be dropped: when the replies become
too large, or a key holds another type. What writes has to be done then, if need be one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from functools import partial
from typing import TypeAlias, TypeVar

from kvstore.base.limits import MIB
from kvstore.base.reply import Numbers, Status
from kvstore.commands.statistics import CommandStatistics
from kvstore.session import columns
from kvstore.session.hooks import Hooks
from kvstore.session.session import Session
from kvstore.store.operations import encode_each
from kvstore.wire.multibulk import Uniform
from kvstore.wire.pieces import UNLIMITED_BYTES, Encoded, joined
from kvstore.wire.sorting import Alike, Sorted

#: Replies to reads that are more than this together each client gets as it has room for them.
_MOST_BYTES = 1 * MIB

#: Most operations of the log are no longer than so many times the request that they come from (INCR is logged as SET).
_TIMES_LONGER = 4

#: Of a key, or of an element.
_Name = TypeVar("_Name")
_OfRow: TypeAlias = tuple[CommandStatistics, Alike]


def execute(hooks: Hooks, sessions: Sequence[Session], chunks: list[bytes]) -> set[int]:
    """Execute what can be sorted of the input of sessions that are in the middle of nothing, and in one database.

    Returns the places of the sessions whose input was executed. Raises StorageFault.
    """
    # In the middle of it nobody may look, nor a commit be closed: a client's requests are not in their order there, and
    # waiting clients would go on. However long what the log is told becomes (SPOP names what it took).
    pending, limit_bytes = sessions[0].call.store.pending, hooks.size_limit
    at_most_bytes = pending.size_bytes + _TIMES_LONGER * sum(map(len, chunks))
    if hooks.watchers or hooks.request_limit != Hooks.NO_LIMIT or at_most_bytes > limit_bytes:
        return set()
    hooks.size_limit = Hooks.NO_LIMIT
    try:
        taken = _Mixture(hooks, sessions, chunks).execute()
    finally:
        hooks.size_limit = limit_bytes
    if pending.size_bytes > limit_bytes:
        hooks.commit_now()
    return taken


class _Mixture:
    """See the module."""

    def __init__(self, hooks: Hooks, sessions: Sequence[Session], chunks: list[bytes]) -> None:
        self._hooks = hooks
        self._sessions = sessions
        self._call = sessions[0].call
        self._rows = self._call.server.statistics.sortable.copy()  # while it executes, some may be withheld
        self._sorted = Sorted(chunks, self._rows)
        #: To each request, by where it begins.
        self._replies: dict[int, Encoded] = {}
        self._left_bytes = 0
        #: The commit that the replies to each session wait for.
        self._needed = [0] * len(sessions)

    def execute(self) -> set[int]:
        """See the function."""
        of_rows = [(self._rows[alike.name], alike) for alike in self._sorted.alike]
        reads = [each for each in of_rows if not each[0].row.writes]
        writes = [each for each in of_rows if each[0].row.writes]
        self._drop_contended(reads, writes)
        self._set_apart([alike for _, alike in writes])
        while not self._read(reads):
            pass
        for statistics, alike in writes:
            if alike.starts and not self._as_columns(statistics, alike):
                for start, *arguments in zip(alike.starts, *alike.columns, strict=True):
                    self._one(start, [alike.name, *arguments])
        for start, request in sorted(self._sorted.apart.items()):
            self._one(start, request)
        return self._deliver()

    def _drop_contended(self, reads: list[_OfRow], writes: list[_OfRow]) -> None:
        """Drop clients that write what is read by others or by themselves, or what is awaited by a client that moves
        it to another key.
        """
        awaited = self._call.table.awaited.keys()
        for write in writes:
            self._drop_where(write[1], write[1].columns[0], awaited & set(write[1].columns[0]))
            for read in reads:
                keys = set(write[1].columns[0]).intersection(read[1].columns[0])
                if keys and _are_of_elements(write, read):
                    table, elements = self._call.table, _elements(write[1])
                    self._drop_where(write[1], elements, set(elements).intersection(_elements(read[1])))
                    keys = {key for key in keys if key not in table.values or key in table.deadlines}
                self._drop_where(write[1], write[1].columns[0], keys)

    def _drop_where(self, alike: Alike, names: list[_Name], contended: Set[_Name]) -> None:
        """Drop the clients of requests that have, at their place in `names`, one of these."""
        if contended:
            self._drop([start for start, name in zip(alike.starts, names, strict=True) if name in contended])

    def _set_apart(self, writes: list[Alike]) -> None:
        """Set requests apart that write what another command writes, too."""
        named, contended = set[bytes](), set[bytes]()
        for alike in writes:
            keys = set(alike.columns[0])
            contended |= named & keys
            named |= keys
        if contended:
            for alike in writes:
                self._sorted.set_apart(alike, contended)

    def _read(self, reads: list[_OfRow]) -> bool:
        """Execute what reads; False if somebody had to be dropped: then it is to be done again without, and counts."""
        table = self._call.table
        looked_up = table.hits, table.misses
        server = self._call.server
        self._left_bytes = min(_MOST_BYTES, server.max_reply_bytes, server.command_log.reply_bytes)
        for place, (statistics, alike) in enumerate(reads):
            if alike.starts and not self._as_columns(statistics, alike):
                table.hits, table.misses = looked_up
                for executed, each in reads[:place]:
                    executed.not_called(len(each.starts))
                self._drop(alike.starts)
                return False
        return True

    def _drop(self, starts: list[int]) -> None:
        """Drop the clients whose requests begin there."""
        for number in set(map(self._sorted.chunk_of, starts)):
            self._sorted.drop(number)

    def _as_columns(self, statistics: CommandStatistics, alike: Alike) -> bool:
        """Execute requests of one command; False if each has to be executed alone: nothing was done."""
        row, count = statistics.row, len(alike.starts)
        raw = encode_each(row.wire_name, alike.columns) if row.writes else b""
        pipeline = Uniform(row.wire_name, alike.columns, count, raw, b"", False)
        limit_bytes = UNLIMITED_BYTES if row.writes else self._left_bytes
        protocols = partial(self._protocols, alike.starts)
        reply = columns.execute(
            self._call, statistics, pipeline, self._hooks,
            lambda replies: columns.encode_each(replies, protocols, limit_bytes),
        )  # fmt: skip
        if reply is None:
            return False
        if isinstance(reply, Status):
            reply = [reply.wire] * count
        elif isinstance(reply, Numbers):
            reply = list(map(b":%b\r\n".__mod__, reply))
        self._replies.update(zip(alike.starts, reply, strict=True))
        if row.writes:
            needed = self._call.store.commit_for_table()
            for number in set(map(self._sorted.chunk_of, alike.starts)):
                self._needed[number] = max(self._needed[number], needed)
        else:
            self._left_bytes -= sum(map(len, reply))
            self._note_what_is_read(alike)
        return True

    def _protocols(self, starts: list[int]) -> Iterator[int]:
        """The version of RESP in which each of these requests is to be answered."""
        return (self._sessions[number].client.protocol for number in map(self._sorted.chunk_of, starts))

    def _note_what_is_read(self, alike: Alike) -> None:
        """Whose replies wait for a commit, since these requests have read something of it."""
        table, keys = self._call.table, alike.columns[0]
        if table.commit_for_keys(keys):
            for start, commit in zip(alike.starts, map(table.commit_for_key, keys), strict=True):
                if commit:
                    number = self._sorted.chunk_of(start)
                    self._needed[number] = max(self._needed[number], commit)

    def _one(self, start: int, request: list[bytes]) -> None:
        """Execute a request of a command that writes, by itself; none of those takes more than a slice."""
        number = self._sorted.chunk_of(start)
        reply, needed = self._sessions[number].execute_one(self._rows[request[0]], request)
        self._replies[start] = reply
        self._needed[number] = max(self._needed[number], needed)

    def _deliver(self) -> set[int]:
        """Give each session its replies. Returns as `execute`."""
        taken = set()
        for number, starts in self._sorted.by_chunk():
            row = self._rows[self._sorted.name_at(starts[-1])].row
            session = self._sessions[number]
            replies = [self._replies[start] for start in starts]
            session.executed_together(row, len(starts), joined(replies), self._needed[number])
            taken.add(number)
        return taken


def _are_of_elements(*of_rows: _OfRow) -> bool:
    """Whether the requests of two commands of one type are about one element each, which the second argument names."""
    rows = [statistics.row for statistics, _ in of_rows]
    counts = [len(alike.columns) for _, alike in of_rows]
    return rows[0].group == rows[1].group and counts == [row.one_element for row in rows]


def _elements(alike: Alike) -> list[tuple[bytes, bytes]]:
    return list(zip(*alike.columns[:2], strict=True))
