"""Glob patterns over bytes, as Redis's `stringmatchlen` reads them: for KEYS, SCAN, CONFIG GET, COMMAND LIST.

| pattern | matches |
|---|---|
| `*` | any bytes, none too |
| `?` | one byte |
| `[abc]` `[a-c]` `[^a]` | one byte of the set, of the range (whose ends may be swapped), not of the set |
| `\\x` | the byte x itself, in a set too; at the very end a backslash |

Unlike in Redis, `**` matches the empty text, as `*` does. A set that is not closed ends with the pattern; `[]` is the
empty set, which nothing matches. A pattern becomes a regular expression in which every `*` is an atomic group with
the text up to the next `*`: the first place where that text fits is as good as any later one, so no match ever goes
back, and takes time of key length times pattern length at worst.

Rejected: `fnmatch` (other rules for sets, no escapes); Redis's own recursion (in Python, a hundred times slower).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from kvstore.base.errors import InvalidRequest
from kvstore.base.limits import MAX_PATTERN_BYTES

#: One piece of a pattern: stars, one byte, a set, an escaped byte, or plain bytes.
_PIECE = re.compile(rb"\*+|\?|\[|\\.|[^*?\[\\]+|\\", re.DOTALL)
#: One member of a set: an escaped byte, a range, or a byte.
_MEMBER = re.compile(rb"\\(.)|(.)-(.)|(.)", re.DOTALL)
_SPECIAL = re.compile(rb"[*?\[\\]")


def matcher(pattern: bytes, *, any_case: bool = False) -> Callable[[bytes], object]:
    """A function that tells (by truth) whether a text matches `pattern`, at most MAX_PATTERN_BYTES if it has wildcards.

    `any_case`: letters match in either case. Raises InvalidRequest if the pattern is too long.
    """
    if not _SPECIAL.search(pattern) and not any_case:
        return pattern.__eq__
    if len(pattern) > MAX_PATTERN_BYTES:
        raise InvalidRequest(f"a pattern with wildcards may have {MAX_PATTERN_BYTES} bytes at most")
    return _compiled(pattern, any_case).fullmatch


@lru_cache(maxsize=64)
def _compiled(pattern: bytes, any_case: bool) -> re.Pattern[bytes]:
    return re.compile(_translate(pattern), re.DOTALL | (re.IGNORECASE if any_case else 0))


def _translate(pattern: bytes) -> bytes:
    """The regular expression that matches what `pattern` does."""
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
            parts[-1].append(b".")
        elif text == b"[":
            expression, place = _set(pattern, place)
            parts[-1].append(expression)
        else:
            parts[-1].append(re.escape(text[1:] if text[:1] == b"\\" and len(text) > 1 else text))
    first, *rest = [b"".join(part) for part in parts]
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
