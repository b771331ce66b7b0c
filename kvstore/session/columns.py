"""Many requests of one command executed at once: a few passes at C speed over all names, all keys, all values.

A copy for speed of what `dispatch.execute` does with each of them, for commands that have a function for it
(`CommandTable.many`), of pipelines of one client (`Execution.run_many`) and of the requests of many clients in one turn
(`together`). A test holds it to that.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from kvstore.base.errors import RequestError
from kvstore.base.reply import Arrays, Numbers, Status
from kvstore.commands.context import Call
from kvstore.commands.row import Command, ManyReplies
from kvstore.commands.statistics import CommandStatistics
from kvstore.session.hooks import Hooks
from kvstore.store.table import Table
from kvstore.wire import resp
from kvstore.wire.multibulk import Uniform
from kvstore.wire.pieces import join_parts

_Encoded = TypeVar("_Encoded")


def execute(
    call: Call,
    statistics: CommandStatistics,
    pipeline: Uniform,
    hooks: Hooks,
    encode: Callable[[Sequence[bytes | None] | Arrays], _Encoded | None],
) -> Status | Numbers | _Encoded | None:
    """Execute a pipeline, and count it. `statistics`: of its command. `call`: of any client of those whose it is.

    `encode`: given one string or null for each request, or one array; None if that is too much, never for a command
    that writes. Returns one reply for all requests, or a number for each, or what `encode` returned; None, having done
    nothing, if each request has to be executed alone. Raises StorageFault.
    """
    server, table, row = call.server, call.table, statistics.row
    call.store.clock.go_on()
    began_ns = server.steady_ns()
    looked_up = table.hits, table.misses
    reply = _reply(row, table, pipeline, hooks)
    encoded = reply if reply is None or isinstance(reply, (Status, Numbers)) else encode(reply)
    if encoded is None:
        table.hits, table.misses = looked_up  # each request counts for itself
        return None
    statistics.calls += pipeline.length
    statistics.add_times(server.steady_ns() - began_ns, pipeline.length)
    if row.writes and table.pending.operations:
        table.pending.requests += pipeline.length
        if server.messages:
            server.send_messages(table.pending.sequence, None)
    return encoded


def _reply(row: Command, table: Table, pipeline: Uniform, hooks: Hooks) -> ManyReplies:
    if row.many is None or (row.writes and hooks.request_limit != Hooks.NO_LIMIT):
        return None
    try:
        return row.many(table, pipeline.columns, pipeline.raw if pipeline.name == row.wire_name else None)
    except RequestError:  # the disk is full: each request is told so
        return None


def encode_each(
    replies: Sequence[bytes | None] | Arrays,
    protocols: Callable[[], Iterable[int]],
    limit_bytes: int,
    counts: Sequence[int] | None = None,
) -> list[bytes] | None:
    """The bytes of each reply; None if all are more than `limit_bytes`. `protocols`: tells those of their clients.

    `counts`: so many of them are of one client, and are to be joined.
    """
    if isinstance(replies, Arrays):
        each = resp.encode_arrays(replies, limit_bytes, protocols())
    else:
        with contextlib.suppress(TypeError):  # there are nulls, which have no length
            return resp.encode_each(replies, limit_bytes, counts)  # type: ignore[arg-type]
        if sum(map(len, filter(None, replies))) > limit_bytes:
            return None
        each = [bytes(resp.encode(text, protocol)) for text, protocol in zip(replies, protocols(), strict=True)]
    return each if each is None or counts is None else join_parts(each, counts)
