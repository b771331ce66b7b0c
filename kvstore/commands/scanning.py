"""What SCAN and its kin have in common: cursors, MATCH, COUNT and the options beside them.

Words in, what they mean out. It knows no table and no command.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias, TypeVar

from kvstore.base.errors import InvalidRequest, shorten, syntax_error
from kvstore.base.slices import one_slice
from kvstore.commands.arguments import to_integer
from kvstore.commands.glob import matcher
from kvstore.values import TYPES

#: Tells by truth whether a key, or an element, matches.
Matcher: TypeAlias = Callable[[bytes], object]
_Element = TypeVar("_Element")
_Taker: TypeAlias = Callable[[list[Any]], object]

#: Elements that one scan looks at unless told otherwise. Redis: 10.
_COUNT = 10
_MAX_CURSOR = 2**64 - 1
#: A cursor as strtoull(3) reads it, which Redis takes, `-0` too; but never one below 0.
_CURSOR = re.compile(rb"[ \t\n\v\f\r]*(?:\+|-(?=0+\Z))?0*([0-9]{1,20})").fullmatch
#: Every name that TYPE takes: Redis's types, whether this server has such values or not, and our own.
_KNOWN_TYPES = {b"string", b"list", b"set", b"zset", b"hash", b"stream"} | {row.name.encode() for row in TYPES.others}
#: Options that leave out what elements have beside them, and whose each is.
_ALONE = {b"NOVALUES": "HSCAN", b"NOSCORES": "ZSCAN"}


class ScanOptions(NamedTuple):
    """`matches`: None for everything. `number`: about how many elements are looked at. `type_name`: empty for any."""

    matches: Matcher | None = None
    number: int = _COUNT
    type_name: bytes = b""
    without_values: bool = False


def to_cursor(text: bytes) -> int:
    """The cursor that is written there. Raises InvalidRequest."""
    digits = _CURSOR(text)
    if digits is None or (cursor := int(digits[1])) > _MAX_CURSOR:
        raise InvalidRequest("invalid cursor")
    return cursor


def walk(scan: Callable[[int], tuple[int, list[_Element]]], place: int, number: int, take: _Taker) -> int:
    """Scan a value from the cursor `place` on, until `number` elements were looked at, for one slice at most.

    `scan`: given a cursor, tells the next one, and some elements, which `take` is given. Returns the cursor to go on
    with, 0 at the end.
    """

    def steps() -> Iterator[None]:
        nonlocal place, number
        while True:
            place, some = scan(place)
            take(some)
            number -= len(some)
            yield
            if not place or number <= 0:
                return

    one_slice(steps())
    return place


def scan_options(words: tuple[bytes, ...], of_keys: bool = False, alone: bytes = b"") -> ScanOptions:
    """What the options of a scan say; of repeated ones the last counts. Raises InvalidRequest.

    `of_keys`: whether TYPE is one; `alone`: the name of the one that leaves values (NOVALUES) or scores (NOSCORES) out.
    """
    options = ScanOptions()
    for name, argument in _options(words):
        if name == b"MATCH":
            options = options._replace(matches=None if argument == b"*" else matcher(argument))
        elif name == b"COUNT":
            options = options._replace(number=_positive(argument))
        elif name == b"TYPE" and of_keys:
            options = options._replace(type_name=_type_name(argument))
        elif alone and name == alone:
            options = options._replace(without_values=True)
        elif name in _ALONE:
            raise InvalidRequest(f"{name.decode()} option can only be used in {_ALONE[name]}")
        else:
            raise syntax_error()
    return options


def _options(words: tuple[bytes, ...]) -> Iterator[tuple[bytes, bytes]]:
    """The options, their names in upper case, each with its argument if it takes one. Raises InvalidRequest."""
    rest = iter(words)
    for word in rest:
        name = word.upper()
        argument = b"" if name in _ALONE else next(rest, None)
        if argument is None:
            raise syntax_error()
        yield name, argument


def _positive(text: bytes) -> int:
    number = to_integer(text)
    if number < 1:
        raise syntax_error()
    return number


def _type_name(text: bytes) -> bytes:
    name = text.lower()
    if name not in _KNOWN_TYPES:
        raise InvalidRequest(f"unknown type name '{shorten(text)}'")
    return name
