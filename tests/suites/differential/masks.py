"""Replies of which only a part can be compared: what tells of the server itself (addresses, bytes, summaries) is left
out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kvstore.commands import table
from kvstore.commands.facts import names
from tests.suites.differential.listed import Reply

#: The name of the run's own connections.
CONTROL = "control"
#: Fields of CLIENT LIST that tell of the server, its clock or what it was sent before; and its own connections' name.
_OWN_FIELDS = frozenset([
    "addr", "laddr", "fd", "age", "idle", "qbuf", "qbuf-free", "argv-mem", "multi-mem", "rbs", "rbp", "obl", "oll",
    "omem", "tot-mem", "events", "tot-net-in", "tot-net-out", "tot-cmds",
])  # fmt: skip
_COMMON_NAMES = {row.name.lower().encode() for row in table.all_rows()} & {name.encode() for name in names()}


def _clients(reply: Reply) -> Any:
    if not isinstance(reply.value, bytes) or reply.kind not in b"$=":
        return reply
    lines = [dict(field.split("=", 1) for field in line.split(" ")) for line in _lines(reply.value)]
    return [
        {name: _told(name, told) for name, told in line.items() if not _is_own(name, line)}
        for line in lines
        if line["name"] != CONTROL
    ]


def _is_own(name: str, line: dict[str, str]) -> bool:
    """Whether a field cannot be compared; also what is told of a client from inside its block."""
    return name in _OWN_FIELDS or (line["cmd"] == "exec" and name in ("flags", "multi"))


def _lines(text: bytes) -> list[str]:
    return text.removeprefix(b"txt:").decode("latin-1").splitlines()


def _told(name: str, told: str) -> str:
    """Only Valkey's clients are connected by a file; and only there it says of one that it has had a block, or has
    waited.
    """
    if name == "multi" and told == "-1":
        return "0"
    return (told.replace("U", "").replace("u", "") or "N") if name == "flags" else told


def _names(reply: Reply) -> Any:
    if not isinstance(reply.value, tuple):
        return reply
    return sorted(each.value for each in reply.value if each.value in _COMMON_NAMES)


def _described(reply: Reply) -> Any:
    """Without summaries, in any order."""
    if not isinstance(reply.value, tuple):
        return reply
    told, skips = [], False
    for each in reply.value:
        if not skips:
            told.append(_described(each))
        skips = each.value == b"summary"
    return reply.kind, sorted(told, key=repr)


def _kind(reply: Reply) -> Any:
    """That there is a number, or such."""
    return reply if reply.kind in b"-_" or reply.value == b"-1" else reply.kind


_MASKS: dict[tuple[bytes, ...], Callable[[Reply], Any]] = {
    (b"CLIENT", b"LIST"): _clients,
    (b"CLIENT", b"INFO"): _clients,
    (b"COMMAND", b"LIST"): _names,
    (b"COMMAND", b"DOCS"): _described,
    (b"COMMAND", b"INFO"): _described,
    (b"DEBUG", b"OBJECT"): _kind,
    (b"MEMORY", b"USAGE"): _kind,
    (b"TIME",): _kind,
    (b"LASTSAVE",): _kind,
}


def masked(words: list[bytes], reply: Reply) -> Any:
    """What can be compared of the reply to a request; None if that is all of it."""
    upper = tuple(word.upper() for word in words[:2])
    mask = _MASKS.get(upper) or _MASKS.get(upper[:1])
    return None if mask is None else mask(reply)


def alike_masked(words: list[bytes], theirs: Reply, ours: Reply) -> bool:
    """Whether what can be compared of the replies to a request is the same."""
    told = masked(words, theirs)
    return told is not None and bool(told == masked(words, ours))
