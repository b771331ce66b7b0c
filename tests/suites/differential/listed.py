"""The differences from Valkey that are meant: what a run passes over, and why."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple


class Reply(NamedTuple):
    """One reply. `kind`: its first byte. `value`: bytes, or a tuple of replies (a map's names and values in turn)."""

    kind: bytes
    value: Any


class Listed(NamedTuple):
    """A difference. `command`: whose. `difference`, `reason`: for people. `matches`: of the words of a request (in
    upper case), Valkey's reply and kvstore's, whether it is this one; None if no run meets it, by what it sends.
    """

    command: str
    difference: str
    reason: str
    matches: Callable[[list[bytes], Reply, Reply], bool] | None = None


def _is_told_by_content(words: list[bytes], theirs: Reply, ours: Reply) -> bool:
    kinds = [b"int", b"embstr", b"raw"]
    if words[:2] != [b"OBJECT", b"ENCODING"] or not {theirs.value, ours.value}.issubset(kinds):
        return False
    return kinds.index(ours.value) < kinds.index(theirs.value)


def _is_small_for_us(words: list[bytes], theirs: Reply, ours: Reply) -> bool:
    return words[:2] == [b"OBJECT", b"ENCODING"] and (theirs.value, ours.value) == (b"skiplist", b"listpack")


def _is_list(words: list[bytes], theirs: Reply, ours: Reply) -> bool:
    return words[:2] == [b"OBJECT", b"ENCODING"] and (theirs.value, ours.value) == (b"quicklist", b"listpack")


def _counts_expired(words: list[bytes], theirs: Reply, ours: Reply) -> bool:
    return words == [b"DBSIZE"] and int(ours.value) < int(theirs.value)


def _begins_below_0(words: list[bytes], theirs: Reply, ours: Reply) -> bool:
    offsets = [offset for word, offset in itertools.pairwise(words) if word == b"LIMIT"]
    return words[0].startswith((b"ZRANGE", b"ZREVRANGE")) and offsets[-1:] == [b"-1"] and not ours.value


def _is_no_group(words: list[bytes], theirs: Reply, ours: Reply) -> bool:
    both = (theirs, ours)
    return all(reply.kind in b"-$" and reply.value.startswith(b"NOGROUP") for reply in both) and b"\\x" in ours.value


LISTED: tuple[Listed, ...] = (
    Listed(
        "OBJECT ENCODING",
        "a short string that APPEND, SETRANGE or INCRBYFLOAT made is `int` or `embstr`, by what it is; in Valkey `raw`,"
        " or `embstr` for `int`",
        "no write has to note it; Valkey, too, tells it so after a restart",
        _is_told_by_content,
    ),
    Listed(
        "OBJECT ENCODING",
        "a list is a `listpack` whenever its elements have room in one; in Valkey a `quicklist` stays one until half"
        " of that is left, and elements that a waiting client takes have been in it",
        "it is told by what the list holds; Valkey, too, tells it so after a restart",
        _is_list,
    ),
    Listed(
        "OBJECT ENCODING",
        "a sorted set that SORT has read, or to which ZADD was asked to add what it did not (XX), stays a `listpack`;"
        " in Valkey it is a `skiplist` from then on",
        "what reads, or changes nothing, changes nothing",
        _is_small_for_us,
    ),
    Listed(
        "XREADGROUP, XPENDING, ...",
        "names in NOGROUP are escaped where they are not printable; in Valkey they end at a zero byte",
        "nothing a client sent is shown raw",
        _is_no_group,
    ),
    Listed(
        "OBJECT ENCODING",
        "after CONFIG SET of a threshold (`hash-max-listpack-entries`, ...) it tells how a value would be held that was"
        " made now; in Valkey a value changes only when it is written, and never back",
        "how a value really is held depends on no setting",
    ),
    Listed(
        "DBSIZE",
        "does not count what a write has given a deadline that had passed; in Valkey it counts until it is removed",
        "it is removed at once",
        _counts_expired,
    ),
    Listed(
        "PUBLISH, KEYS, SCAN",
        "the pattern `*` matches what is empty; in Valkey only where it is asked for all",
        "every pattern means the same everywhere",
    ),
    Listed(
        "ZRANGE and its kin",
        "LIMIT with an offset below 0 gives nothing; in Valkey not where the sorted set is a `skiplist`",
        "it gives nothing in Valkey's documents, and in its small sorted sets",
        _begins_below_0,
    ),
    Listed(
        "ZRANGEBYLEX and its kin",
        "where scores differ, the range is another one than in Valkey",
        "Redis does not say what it is",
    ),
    Listed(
        "EVAL, FCALL and their kin",
        "a script that raises is undone whole; in Valkey what it did stands",
        "an error means that nothing changed (promise 9)",
    ),
    Listed(
        "UNSUBSCRIBE, PUNSUBSCRIBE, SUNSUBSCRIBE",
        "without arguments: told in the order in which the client subscribed; in Valkey in none",
        "an order that can be relied on",
    ),
)  # fmt: skip


def is_listed(words: list[bytes], theirs: Reply, ours: Reply) -> bool:
    """Whether a difference in a reply is meant."""
    upper = [word.upper() for word in words]
    return any(each.matches is not None and each.matches(upper, theirs, ours) for each in LISTED)
