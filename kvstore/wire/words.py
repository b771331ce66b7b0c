"""Requests as a person types them: words between spaces, with Redis's quoting.

The language is that of `sdssplitargs` in Redis's sds.c, which reads inline commands:

- `"..."`: escapes are \\n \\r \\t \\b \\a, \\xHH with two hexadecimal digits, and a backslash before anything else
  stands for that;
- `'...'`: only \\' is an escape;
- a word is quoted and unquoted parts, one behind the other, up to a space or the end of the line;
- outside quotes a backslash is an ordinary character.

Differences: a NUL is an ordinary character (it ends Redis's line); quotes that do not match cost the line, not the
connection. Extension: after a given number of words of a given verb the rest of the line is one argument as it stands,
so that JSON needs no second layer of quotes.

A line is read in time linear in its length, mostly in C. What needs Python code for each occurrence (words of a
line that has quotes, their parts, escapes) is limited to `MAX_INLINE_BYTES` occurrences, as many as a line of Redis's
size could hold.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import islice

from kvstore.base.errors import ProtocolError
from kvstore.base.limits import MAX_INLINE_BYTES, MAX_REQUEST_ELEMENTS


class UnbalancedQuotes(ValueError):
    """A quote that is not closed, or is not closed where its word ends."""


class Words(list[bytes]):
    """A request that was typed as words. The first is the verb, as it was typed."""

    __slots__ = ()


#: isspace() in the C locale; of these a word ends only at the first four.
_SPACE = b" \t\n\r\v\f"
#: What makes a line unfit for bytes.split: quotes, and the two spaces that do not end a word.
_SPECIAL = re.compile(rb"[\"'\v\f]").search
#: Unquoted characters, and what may stand in quotes of either kind. Possessive: no going back, no stack.
_PLAIN, _DOUBLE, _SINGLE = rb"""[^ \t\r\n"']++""", rb"""(?:[^"\\]++|\\.)*+""", rb"""(?:[^'\\]++|\\'|\\)*+"""
#: A word is such parts. (No groups inside what is possessive: Python 3.11's `re` can lose count of them.)
_WORD = re.compile(rb"""(?:%b|"%b"|'%b')*+(?=[ \t\n\r]|\Z)""" % (_PLAIN, _DOUBLE, _SINGLE), re.DOTALL).match
_PARTS = re.compile(rb"""(%b)|"(%b)"|'(%b)'""" % (_PLAIN, _DOUBLE, _SINGLE), re.DOTALL).finditer
_VERB = re.compile(rb"[^ \t\n\r]+").match
_NEXT = re.compile(rb"[^ \t\n\r\v\f]").search
_ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_ESCAPED = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"a": b"\a"}


def split_words(line: bytes, raw_tails: Mapping[bytes, int], max_words: int = MAX_REQUEST_ELEMENTS) -> Words:
    """The words of a line, none if it is blank. `max_words`: how many it may have.

    `line`: without its LF. `raw_tails`: verb in upper case to how many words (the verb counts) come before the rest
    of the line is one argument as it stands, without the spaces around it; 0 if none does. Raises UnbalancedQuotes, and
    ProtocolError for too many words or escapes.
    """
    line = line.lstrip(_SPACE).rstrip(b" \t\r\n")
    if _SPECIAL(line):
        words = _split_quoted(line, raw_tails)
        if len(words) > max_words:
            raise too_big()
        return words
    verb = _VERB(line)
    raw_after = raw_tails.get(verb[0].upper()) if verb else None
    words = Words(line.split(None, raw_after or max_words))
    if len(words) > max_words:
        raise too_big()
    return words


def _split_quoted(line: bytes, raw_tails: Mapping[bytes, int]) -> Words:
    words = Words()
    raw_after: int | None = 0
    left = MAX_INLINE_BYTES
    position: int | None = 0 if line else None
    while position is not None:
        if raw_after and len(words) == raw_after:
            words.append(line[position:])
            break
        found = _WORD(line, position)
        if found is None:
            raise UnbalancedQuotes
        parts = list(islice(_PARTS(line, position, found.end()), left + 2))
        left -= line.count(b"\\", position, found.end()) + len(parts) - 1
        if left < 0 or len(words) == MAX_INLINE_BYTES:
            raise too_big()
        words.append(b"".join(map(_unquote, parts)))
        if len(words) == 1:
            raw_after = raw_tails.get(words[0].upper())
        following = _NEXT(line, found.end())
        position = following.start() if following else None
    return words


def _unquote(found: re.Match[bytes]) -> bytes:
    """What a part of a word stands for."""
    plain, double, single = found.groups()
    if double is not None:
        return _ESCAPE.sub(_unescape, double) if b"\\" in double else double
    return plain if single is None else single.replace(b"\\'", b"'")


def _unescape(found: re.Match[bytes]) -> bytes:
    hexadecimal, character = found.groups()
    return bytes.fromhex(hexadecimal.decode()) if hexadecimal else _ESCAPED.get(character, character)


def encode_lines(text: str) -> bytes:
    """The reply to words that is text for a person, as it is. `text`: lines, the last one ended too."""
    return text.replace("\n", "\r\n").encode("utf-8", "backslashreplace")


def too_big() -> ProtocolError:
    """The error for a line, or a number of words, past the limits."""
    return ProtocolError("too big inline request")
