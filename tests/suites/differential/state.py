"""All that one server holds, asked by commands, in a form that is the same for equal states."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tests.suites.differential.listed import Reply, is_listed
from tests.suites.differential.peers import Peer

#: By type: what tells all of a value.
_LOOKS: dict[bytes, str] = {
    b"string": "GET KEY",
    b"list": "LRANGE KEY 0 -1",
    b"hash": "HGETALL KEY",
    b"set": "SMEMBERS KEY",
    b"zset": "ZRANGE KEY 0 -1 WITHSCORES",
    b"stream": "XRANGE KEY - +",
}
#: What XINFO STREAM tells of how a stream is held.
_HOW_HELD = (b"radix-tree-keys", b"radix-tree-nodes")


def state_of(peer: Peer) -> dict[tuple[int, bytes], dict[str, Any]]:
    """By database and key: type, encoding, deadline (ms), and the value; a stream's groups too; and, by -1 and
    its name, each library of functions.
    """
    state: dict[tuple[int, bytes], dict[str, Any]] = {}
    for database in _databases(peer):
        peer.ask([b"SELECT", b"%d" % database])
        for key, told in zip(keys := sorted(peer.ask([b"KEYS", b"*"])), _tell(peer, keys), strict=True):
            state[database, key] = told
    _, libraries = peer.ask_each([[b"SELECT", b"0"], [b"FUNCTION", b"LIST", b"WITHCODE"]])
    state |= {(-1, each[1]): {"library": sorted(map(repr, each))} for each in libraries}
    return state


def _databases(peer: Peer) -> list[int]:
    return [int(number) for number in re.findall(rb"db(\d+):", peer.ask([b"INFO", b"keyspace"]))]


def _tell(peer: Peer, keys: list[bytes]) -> Iterator[dict[str, Any]]:
    looks = [b"TYPE", b"OBJECT ENCODING", b"PEXPIRETIME"]
    told = peer.ask_each([[*look.split(), key] for key in keys for look in looks])
    types = told[::3]
    values = peer.ask_each(
        [
            [key if word == "KEY" else word.encode() for word in _LOOKS[of].split()]
            for key, of in zip(keys, types, strict=True)
        ]
    )
    for place, (key, value) in enumerate(zip(keys, values, strict=True)):
        of, encoding, deadline_ms = told[3 * place : 3 * place + 3]
        yield {"type": of, "encoding": encoding, "deadline": deadline_ms, **_PARTS.get(of, _plain)(peer, key, value)}


def _plain(peer: Peer, key: bytes, value: Any) -> dict[str, Any]:
    return {"value": value}


def _of_hash(peer: Peer, key: bytes, value: Any) -> dict[str, Any]:
    fields = sorted(value[::2])
    if not fields:
        return {"value": []}
    deadlines = peer.ask([b"HPEXPIRETIME", key, b"FIELDS", b"%d" % len(fields), *fields])
    return {"value": sorted(zip(value[::2], value[1::2], strict=True)), "deadlines": deadlines}


def _of_set(peer: Peer, key: bytes, value: Any) -> dict[str, Any]:
    return {"value": sorted(value)}


def _of_stream(peer: Peer, key: bytes, value: Any) -> dict[str, Any]:
    stream, groups = peer.ask_each([[b"XINFO", b"STREAM", key], [b"XINFO", b"GROUPS", key]])
    about = {name: each for name, each in zip(stream[::2], stream[1::2], strict=True) if name not in _HOW_HELD}
    return {"value": value, "about": about, "groups": [_of_group(peer, key, group) for group in groups]}


def _of_group(peer: Peer, key: bytes, about: list[Any]) -> Any:
    """What XINFO tells of a group; its consumers; what is pending, without since when."""
    group = about[1]
    consumers, pending = peer.ask_each(
        [[b"XINFO", b"CONSUMERS", key, group], [b"XPENDING", key, group, b"-", b"+", b"10000"]]
    )
    return about, [each[:4] for each in consumers], [(row[0], row[1], row[3]) for row in pending]


_PARTS = {b"hash": _of_hash, b"set": _of_set, b"stream": _of_stream}


def differences(
    theirs: dict[Any, dict[str, Any]], ours: dict[Any, dict[str, Any]], tolerated: tuple[str, ...] = ()
) -> list[str]:
    """What is not the same, a line each. `tolerated`: parts of what is told of a key that are not compared."""
    lines = [f"{key}: only {'Valkey' if key in theirs else 'kvstore'} has it" for key in theirs.keys() ^ ours.keys()]
    for key in sorted(theirs.keys() & ours.keys()):
        lines += [
            f"{key} {part}: Valkey {theirs[key].get(part)!r}, kvstore {ours[key].get(part)!r}"
            for part in sorted(theirs[key].keys() | ours[key].keys())
            if part not in tolerated and not _same(part, theirs[key].get(part), ours[key].get(part))
        ]
    return lines


def _same(part: str, one: Any, other: Any) -> bool:
    """Whether they are equal; times may be some seconds apart."""
    if part == "encoding" and None not in (one, other):
        return one == other or is_listed([b"OBJECT", b"ENCODING"], Reply(b"$", one), Reply(b"$", other))
    if part == "deadline":
        return bool(one == other) or (min(one, other) > 0 and abs(one - other) <= _NEAR_MS)
    if part == "deadlines" and one and other and len(one) == len(other):
        return all(_same("deadline", *both) for both in zip(one, other, strict=True))
    return bool(one == other)


_NEAR_MS = 4000
