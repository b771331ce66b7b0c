"""The differences from Valkey that are meant, as far as a run meets them in replies, which it passes over then.

What they are is said in one place, docs/COMMANDS.md, which is made from the docstrings of the commands; of what is
compared in another way (events, keys that clients track, states) too.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple


class Reply(NamedTuple):
    """One reply. `kind`: its first byte. `value`: bytes, or a tuple of replies (a map's names and values in turn)."""

    kind: bytes
    value: Any


class Listed(NamedTuple):
    """A difference that a run meets. `command`: the name of its row, whose docstring, and so docs/COMMANDS.md, tells of
    it behind "Unlike Valkey". `says`: some words of that. `matches`: of the words of a request (in upper case),
    Valkey's reply and kvstore's, whether it is this one.
    """

    command: str
    says: str
    matches: Callable[[list[bytes], Reply, Reply], bool]


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
    return words == [b"DBSIZE"] and theirs.kind == ours.kind == b":" and int(ours.value) < int(theirs.value)


def _begins_below_0(words: list[bytes], theirs: Reply, ours: Reply) -> bool:
    offsets = [offset for word, offset in itertools.pairwise(words) if word == b"LIMIT"]
    return words[0].startswith((b"ZRANGE", b"ZREVRANGE")) and offsets[-1:] == [b"-1"] and not ours.value


def _is_no_group(words: list[bytes], theirs: Reply, ours: Reply) -> bool:
    both = (theirs, ours)
    return all(reply.kind in b"-$" and reply.value.startswith(b"NOGROUP") for reply in both) and b"\\x" in ours.value


def _is_on_disk(words: list[bytes], theirs: Reply, ours: Reply) -> bool:
    return words[0] == b"WAITAOF" and theirs.kind == ours.kind == b"*" and theirs.value[1:] == ours.value[1:]


def _has_expired(words: list[bytes], theirs: Reply, ours: Reply) -> bool:
    return words[:2] == [b"MEMORY", b"USAGE"] and theirs.kind == b":" and ours.value in (b"", b"-1")


LISTED: tuple[Listed, ...] = (
    Listed("OBJECT|ENCODING", "is `int` or `embstr`", _is_told_by_content),
    Listed("OBJECT|ENCODING", "a list a `listpack` whenever its elements have room in one", _is_list),
    Listed("OBJECT|ENCODING", "stays a `listpack`", _is_small_for_us),
    Listed("XREADGROUP", "escaped where they are not printable", _is_no_group),
    Listed("DBSIZE", "a deadline that has passed is removed at once", _counts_expired),
    Listed("ZRANGE", "an offset below 0 gives nothing", _begins_below_0),
    Listed("MEMORY|USAGE", "of a key that has expired it is null", _has_expired),
    Listed("WAITAOF", "there is always a log", _is_on_disk),
)


def is_listed(words: list[bytes], theirs: Reply, ours: Reply) -> bool:
    """Whether a difference in a reply is meant."""
    upper = [word.upper() for word in words]
    return any(each.matches(upper, theirs, ours) for each in LISTED)
