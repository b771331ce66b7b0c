"""Requests as a person types them: words between spaces, with Redis's quoting.

The language is that of `sdssplitargs` in Redis's sds.c, which reads inline commands:

- `"..."`: escapes are \\n \\r \\t \\b \\a, \\xHH with two hexadecimal digits, and a backslash before anything else
  stands for that;
- `'...'`: only \\' is an escape;
- a quoted part may follow unquoted characters in a word, and ends the word: a space or the end of the line must
  come next;
- outside quotes a backslash is an ordinary character.

Differences: a NUL is an ordinary character (it ends Redis's line); quotes that do not match cost the line, not the
connection. Extension: after a given number of words of a given verb the rest of the line is one argument as it stands,
so that JSON needs no second layer of quotes.

A line is read in time linear in its length, mostly in C. What needs Python code for each occurrence (words of a
line that has quotes, escapes) is limited to `MAX_HEADER_BYTES` occurrences, which is what a line of Redis's size
could hold.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from kvstore.base.errors import ProtocolError
from kvstore.base.limits import MAX_HEADER_BYTES, MAX_REQUEST_ELEMENTS


class UnbalancedQuotes(ValueError):
    """A quote that is not closed, or is not closed where its word ends."""


class Words(list[bytes]):
    """A request that was typed as words. The first is the verb, as it was typed."""

    __slots__ = ()


#: isspace() in the C locale; of these a word ends only at the first four.
_SPACE = b" \t\n\r\v\f"
#: What makes a line unfit for bytes.split: quotes, and the two spaces that do not end a word.
_SPECIAL = re.compile(rb"[\"'\v\f]").search
#: One word: unquoted characters, then perhaps a quoted part. Possessive inside: it never goes far back, nor needs a
#: stack.
_WORD = re.compile(
    rb"""([^ \t\r\n"']*+) (?: "((?:[^"\\]++|\\.)*+)" | '((?:[^'\\]++|\\'|\\)*+)' )? (?=[ \t\n\r\v\f]|\Z)""",
    re.DOTALL | re.VERBOSE,
).match
_VERB = re.compile(rb"[^ \t\n\r]+").match
_NEXT = re.compile(rb"[^ \t\n\r\v\f]").search
_ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_ESCAPED = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"a": b"\a"}


def split_words(line: bytes, raw_tails: Mapping[bytes, int]) -> Words:
    """The words of a line, none if it is blank.

    `line`: without its LF. `raw_tails`: verb in upper case to how many words (the verb counts) come before the rest
    of the line is one argument as it stands, without the spaces around it. Raises UnbalancedQuotes, and ProtocolError
    for too many words or escapes.
    """
    line = line.lstrip(_SPACE).rstrip(b" \t\r\n")
    if _SPECIAL(line):
        return _split_quoted(line, raw_tails)
    verb = _VERB(line)
    raw_after = raw_tails.get(verb[0].upper()) if verb else None
    words = Words(line.split(None, MAX_REQUEST_ELEMENTS if raw_after is None else raw_after))
    if len(words) > MAX_REQUEST_ELEMENTS:
        raise too_big()
    return words


def _split_quoted(line: bytes, raw_tails: Mapping[bytes, int]) -> Words:
    words = Words()
    raw_after: int | None = None
    escapes_left = MAX_HEADER_BYTES
    position: int | None = 0 if line else None
    while position is not None:
        if len(words) == raw_after:
            words.append(line[position:])
            break
        found = _WORD(line, position)
        if found is None:
            raise UnbalancedQuotes
        escapes_left -= line.count(b"\\", position, found.end())
        if escapes_left < 0 or len(words) == MAX_HEADER_BYTES:
            raise too_big()
        words.append(_unquote(found))
        if len(words) == 1:
            raw_after = raw_tails.get(words[0].upper())
        following = _NEXT(line, found.end())
        position = following.start() if following else None
    return words


def _unquote(found: re.Match[bytes]) -> bytes:
    """The word that a match of `_WORD` stands for."""
    plain, double, single = found.groups()
    if double is not None:
        return plain + (_ESCAPE.sub(_unescape, double) if b"\\" in double else double)
    return plain + single.replace(b"\\'", b"'") if single is not None else plain


def _unescape(found: re.Match[bytes]) -> bytes:
    hexadecimal, character = found.groups()
    return bytes.fromhex(hexadecimal.decode()) if hexadecimal else _ESCAPED.get(character, character)


def encode_lines(text: str) -> bytes:
    """The reply to words that is text for a person, as it is. `text`: lines, the last one ended too."""
    return text.replace("\n", "\r\n").encode("utf-8", "backslashreplace")


def too_big() -> ProtocolError:
    """The error for a line, or a number of words, past the limits."""
    return ProtocolError("too big inline request")
