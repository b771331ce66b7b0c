"""Glob patterns over bytes, as Redis's `stringmatchlen` reads them: for KEYS, SCAN, CONFIG GET, COMMAND LIST.

| pattern | matches |
|---|---|
| `*` | any bytes, none too |
| `?` | one byte |
| `[abc]` `[a-c]` `[^a]` | one byte of the set, of the range (whose ends may be swapped), not of the set |
| `\\x` | the byte x itself, in a set too; at the very end a backslash |

Unlike in Redis, `**` matches the empty text, as `*` does, and bytes of a range are 0 to 255 (there, as C's `char` is on
the machine: -128 to 127 on most). A set that is not closed ends with the pattern; `[]` is the empty set, which nothing
matches.

A pattern is cut at its stars. The first place where the text between two of them fits is as good as any later one, so
no match ever goes back, and takes time of key length times pattern length at worst. A pattern becomes a regular
expression, in which every `*` is an atomic group with what follows it. To compile that takes Python 2 to 15
microseconds a byte, so only a pattern that has nothing but bytes between its stars may be long: these are looked for
as they are, which takes twice as long for a short key.

Rejected: `fnmatch` (other rules for sets, no escapes); Redis's own recursion (in Python, a hundred times slower).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from kvstore.base.errors import InvalidRequest
from kvstore.base.limits import MAX_COUNTED_PATTERN_BYTES, MAX_PATTERN_BYTES, MAX_SET_PATTERN_BYTES, MAX_STARS

#: One piece of a pattern: stars, one byte, a set, an escaped byte, or plain bytes.
_PIECE = re.compile(rb"\*+|\?|\[|\\.|[^*?\[\\]+|\\", re.DOTALL)
#: One member of a set: an escaped byte, a range, or a byte.
_MEMBER = re.compile(rb"\\(.)|(.)-(.)|(.)", re.DOTALL)
_SPECIAL = re.compile(rb"[*?\[\\]")
#: Pieces that hold stars which are none.
_OTHERS = re.compile(rb"\\.|\[\^?(?:(?!\])(?:\\.|.-.|.))*+\]?", re.DOTALL)
_STARS = re.compile(rb"\*++(?!\Z)").findall


class _Expression(bytes):
    """A regular expression that one byte fits, among pieces that stand for themselves."""


def matcher(pattern: bytes, *, any_case: bool = False) -> Callable[[bytes], object]:
    """A function that tells (by truth) whether a text matches `pattern`, at most MAX_PATTERN_BYTES if it has wildcards,
    MAX_SET_PATTERN_BYTES if they are not all stars.

    One with more stars than MAX_STARS matches nothing, as in Redis. `any_case`: letters match in either case. Raises
    InvalidRequest if the pattern is too long.
    """
    if not _SPECIAL.search(pattern) and not any_case:
        return pattern.__eq__
    if 2 * MAX_STARS <= len(pattern) <= MAX_COUNTED_PATTERN_BYTES and _stars(pattern) > MAX_STARS:
        return _matches_nothing
    if len(pattern) > MAX_PATTERN_BYTES:
        raise InvalidRequest(f"a pattern with wildcards may have {MAX_PATTERN_BYTES} bytes at most")
    return _compiled(pattern, any_case)


def _stars(pattern: bytes) -> int:
    """How many stars, one behind the other counted once, stand before something else."""
    return len(_STARS(_OTHERS.sub(b"x", pattern)))


def _matches_nothing(text: bytes) -> object:
    return False


@lru_cache(maxsize=64)
def _compiled(pattern: bytes, any_case: bool) -> Callable[[bytes], object]:
    parts = _parts(pattern)
    if len(pattern) <= MAX_SET_PATTERN_BYTES:
        return re.compile(_expression(parts), re.DOTALL | (re.IGNORECASE if any_case else 0)).fullmatch
    if any(isinstance(piece, _Expression) for part in parts for piece in part):
        raise InvalidRequest(f"a pattern with `?` or `[` may have {MAX_SET_PATTERN_BYTES} bytes at most")
    texts = [b"".join(part) for part in parts]
    if not any_case:
        return _between_stars(texts)
    matches = _between_stars([text.lower() for text in texts])
    return lambda text: matches(text.lower())


def _parts(pattern: bytes) -> list[list[bytes]]:
    """The pieces between one `*` and the next."""
    parts: list[list[bytes]] = [[]]
    place = 0
    while place < len(pattern):
        piece = _PIECE.match(pattern, place)
        assert piece is not None
        place = piece.end()
        text = piece[0]
        if text[:1] == b"*":
            parts.append([])
        elif text == b"?":
            parts[-1].append(_Expression(b"."))
        elif text == b"[":
            expression, place = _set(pattern, place)
            parts[-1].append(_Expression(expression))
        else:
            parts[-1].append(text[1:] if text[:1] == b"\\" and len(text) > 1 else text)
    return parts


def _between_stars(parts: list[bytes]) -> Callable[[bytes], object]:
    """What matches texts that have these parts in their order, with anything in between."""
    first, last = parts[0], parts[-1]
    if len(parts) == 1:
        return first.__eq__
    middle = [part for part in parts[1:-1] if part]
    least = len(first) + len(last)

    def matches(text: bytes) -> bool:
        if len(text) < least or not text.startswith(first) or not text.endswith(last):
            return False
        place, end = len(first), len(text) - len(last)
        for part in middle:
            place = text.find(part, place, end)
            if place < 0:
                return False
            place += len(part)
        return True

    return matches


def _expression(parts: list[list[bytes]]) -> bytes:
    """The regular expression that matches the same."""
    first, *rest = [
        b"".join(piece if isinstance(piece, _Expression) else re.escape(piece) for piece in part) for part in parts
    ]
    if not rest:
        return first
    return first + b"".join(b"(?>.*?%b)" % part for part in rest[:-1]) + b".*" + rest[-1]


def _set(pattern: bytes, place: int) -> tuple[bytes, int]:
    """The expression of the set that begins before `place`, and the place after it."""
    negated = pattern[place : place + 1] == b"^"
    place += negated
    members = []
    while place < len(pattern) and pattern[place : place + 1] != b"]":
        member = _MEMBER.match(pattern, place)
        assert member is not None
        place = member.end()
        escaped, low, high, byte = member.groups()
        if low is not None:
            low, high = sorted((low, high))
            members.append(re.escape(low) + b"-" + re.escape(high))
        else:
            members.append(re.escape(escaped if escaped is not None else byte))
    if not members:
        return (b"." if negated else b"(?!)"), place + 1
    return (b"[^" if negated else b"[") + b"".join(members) + b"]", place + 1
