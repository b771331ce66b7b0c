"""Sorted sets, for clients that wait: BZPOPMIN and its kin, which are to ZPOPMIN what BLPOP is to LPOP."""

from __future__ import annotations

from kvstore.base.reply import NULL_ARRAY, Reply
from kvstore.commands.arguments import IntegerText, Key
from kvstore.commands.blocking_lists import or_wait
from kvstore.commands.context import Call
from kvstore.commands.lists import mpop_arguments
from kvstore.commands.registry import command
from kvstore.commands.row import BLOCKING, FAST, WRITE, numbered_keys
from kvstore.commands.sorted_sets import ENDS, pop_first
from kvstore.values.sorted_sets import SortedSet


@command(
    "BZPOPMIN", WRITE | BLOCKING | FAST, group="sorted-set", keys=(1, -2, 1), least=3, options="[key ...] timeout"
)  # fmt: skip
def bzpopmin(call: Call, key: Key, *more: bytes) -> Reply:
    """Take the member with the lowest score out of the first sorted set that exists, or wait for one."""
    return _pop(call, (key, *more), b"MIN")


@command(
    "BZPOPMAX", WRITE | BLOCKING | FAST, group="sorted-set", keys=(1, -2, 1), least=3, options="[key ...] timeout"
)  # fmt: skip
def bzpopmax(call: Call, key: Key, *more: bytes) -> Reply:
    """Take the member with the highest score out of the first sorted set that exists, or wait for one."""
    return _pop(call, (key, *more), b"MAX")


def _pop(call: Call, words: tuple[bytes, ...], end: bytes) -> Reply:
    *keys, timeout = words

    def take() -> Reply | None:
        taken = pop_first(call.table, keys, end, 1)
        return None if taken is None else [taken[0], *taken[1][0]]

    return or_wait(call, keys, SortedSet, timeout, take, NULL_ARRAY)


@command("BZMPOP", WRITE | BLOCKING, group="sorted-set", keys=numbered_keys(2), options="... MIN|MAX [COUNT count]")
def bzmpop(call: Call, timeout: bytes, numkeys: IntegerText, key: Key, where: bytes, *more: bytes) -> Reply:
    """Take members out of the first sorted set that exists, or wait for one; returns its key, and them."""
    keys, end, count = mpop_arguments(numkeys, (key, where, *more), ENDS)
    return or_wait(call, keys, SortedSet, timeout, lambda: pop_first(call.table, keys, end, count), NULL_ARRAY)
