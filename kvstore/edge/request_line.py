"""A request on one line, for people and programs: its words quoted as Redis quotes them, cut, without passwords."""

from __future__ import annotations

import re

from kvstore.base.errors import InvalidRequest
from kvstore.commands.passwords import without_passwords
from kvstore.commands.registry import READ, table

_PLAIN = re.compile(rb"[ !#-\[\]-~]*").fullmatch
_ESCAPES = {byte: f"\\x{byte:02x}" for byte in (*range(0x20), *range(0x7F, 0x100))} | {
    ord(character): escape
    for character, escape in {
        '"': r"\"", "\\": r"\\", "\n": r"\n", "\r": r"\r", "\t": r"\t", "\a": r"\a", "\b": r"\b",
    }.items()
}  # fmt: skip


def kind_of(words: list[bytes]) -> str:
    """The kind of a request, by the command table: `write`, `read`, `block` or `other`."""
    try:
        row = table.find(words)
    except InvalidRequest:
        return "other"
    if row.writes:
        return "write"
    if row.flags & READ:
        return "read"
    return "block" if row.name == "EXEC" else "other"


def shown(words: list[bytes], most: int, most_of_a_word: int) -> str:
    """A request on one line, quoted as Redis does.

    `most`, `most_of_a_word`: characters to show of all words and of each; what is left out is counted, in the words
    of Redis's SLOWLOG.
    """
    pieces = []
    for place, word in enumerate(without_passwords(words)):
        if most <= 0:
            pieces.append(f"... ({len(words) - place} more arguments)")
            break
        piece = _quoted(word, min(most, most_of_a_word))
        pieces.append(piece)
        most -= len(piece)
    return " ".join(pieces)


def _quoted(word: bytes, most: int) -> str:
    """A word in quotes, at most so many characters of it. Never cut inside an escape: those have at most four."""
    text = escaped(word[:most])
    kept = most
    if len(text) > most:
        kept = most // 4
        text = escaped(word[:kept])
    more = len(word) - kept
    return f'"{text}... ({more} more bytes)"' if more > 0 else f'"{text}"'


def escaped(data: bytes) -> str:
    """Bytes as sdscatrepr (Redis, sds.c) shows them between the quotes: printable ASCII without tabs."""
    return data.decode("ascii") if _PLAIN(data) else data.decode("latin-1").translate(_ESCAPES)
