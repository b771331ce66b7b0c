"""Lists, for clients that wait: BLPOP and its kin. Who waits, and when they are served, is told in `waiting`.

Each is what its namesake without the B is; where that finds no list, the client waits for one at its keys. It waits on
if something else comes to be there. Once there is a list, its request is done as if it had come just then, errors
included.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from kvstore.base.reply import NULL_ARRAY, Arrays, Reply, Wait
from kvstore.commands.arguments import IntegerText, Key
from kvstore.commands.context import Call
from kvstore.commands.deadlines import end_after_seconds
from kvstore.commands.lists import ENDS, move, mpop_arguments, one_of, pop_each, pop_first
from kvstore.commands.registry import command, many
from kvstore.commands.row import BLOCKING, WRITE, numbered_keys
from kvstore.store.table import Table
from kvstore.values.lists import List

#: Whether that is a number of seconds beyond doubt.
_IS_SHORT_TIMEOUT = re.compile(rb"[0-9]{1,9}").fullmatch


@command("BLPOP", WRITE | BLOCKING, group="list", keys=(1, -2, 1), least=3, options="[key ...] timeout")
def blpop(call: Call, key: Key, *more: bytes) -> Reply:
    """Take the first element out of the first list that exists, or wait for one; returns its key, and it."""
    return _pop(call, (key, *more), b"LEFT")


@command("BRPOP", WRITE | BLOCKING, group="list", keys=(1, -2, 1), least=3, options="[key ...] timeout")
def brpop(call: Call, key: Key, *more: bytes) -> Reply:
    """Take the last element out of the first list that exists, or wait for one; returns its key, and it."""
    return _pop(call, (key, *more), b"RIGHT")


@many("BLPOP", 3)
def blpop_many(table: Table, columns: list[list[bytes]], raw: bytes | None) -> Arrays | None:
    """As many BLPOPs of one key that find their element; none if one has to wait."""
    return _pop_each(table, columns, b"LEFT")


@many("BRPOP", 3)
def brpop_many(table: Table, columns: list[list[bytes]], raw: bytes | None) -> Arrays | None:
    """As many BRPOPs of one key that find their element; none if one has to wait."""
    return _pop_each(table, columns, b"RIGHT")


def _pop_each(table: Table, columns: list[list[bytes]], end: bytes) -> Arrays | None:
    if len(columns) != 2 or not all(map(_IS_SHORT_TIMEOUT, columns[1])):
        return None
    keys = columns[0]
    elements = pop_each(table, keys, end)
    return None if elements is None else Arrays(zip(keys, elements, strict=True))


def _pop(call: Call, words: tuple[bytes, ...], end: bytes) -> Reply:
    *keys, timeout = words

    def take() -> Reply | None:
        taken = pop_first(call.table, keys, end, 1)
        return None if taken is None else [taken[0], taken[1][0]]

    return or_wait(call, keys, List, timeout, take, NULL_ARRAY)


@command("BLMPOP", WRITE | BLOCKING, group="list", keys=numbered_keys(2), options="... LEFT|RIGHT [COUNT count]")
def blmpop(call: Call, timeout: bytes, numkeys: IntegerText, key: Key, where: bytes, *more: bytes) -> Reply:
    """Take elements out of the first list that exists, or wait for one; returns its key, and them."""
    keys, end, count = mpop_arguments(numkeys, (key, where, *more))
    return or_wait(call, keys, List, timeout, lambda: pop_first(call.table, keys, end, count), NULL_ARRAY)


@command("BLMOVE", WRITE | BLOCKING, group="list")
def blmove(call: Call, source: Key, destination: Key, wherefrom: bytes, whereto: bytes, timeout: bytes) -> Reply:
    """Take an element from an end of a list, or wait for one, and put it at an end of another; returns it."""
    return _move(call, source, destination, one_of(ENDS, wherefrom), one_of(ENDS, whereto), timeout)


@command("BRPOPLPUSH", WRITE | BLOCKING, group="list")
def brpoplpush(call: Call, source: Key, destination: Key, timeout: bytes) -> Reply:
    """Take the last element of a list, or wait for one, and put it before the first of another; returns it."""
    return _move(call, source, destination, b"RIGHT", b"LEFT", timeout)


def _move(call: Call, source: bytes, destination: bytes, wherefrom: bytes, whereto: bytes, timeout: bytes) -> Reply:
    return or_wait(
        call, (source,), List, timeout, lambda: move(call.table, source, destination, wherefrom, whereto), None
    )  # fmt: skip


def or_wait(
    call: Call,
    keys: Sequence[bytes],
    takes: type,
    timeout: bytes,
    take: Callable[[], Reply | None],
    in_block: Reply,
) -> Reply:
    """What `take` takes; if there is nothing, the client waits for a value of the class `takes` at one of the keys."""
    table = call.table
    until_ms = end_after_seconds(timeout, table.now_ms())
    reply = take()
    return Wait(keys, takes, until_ms, take, in_block) if reply is None else reply
