"""JSON text in and out: orjson where it can, the standard library where orjson refuses or would round.

One place decides what JSON is here: any RFC 8259 value, with integers of up to `MAX_INTEGER_DIGITS` digits kept exact;
no NaN or Infinity, no number too large for a double; nested at most `MAX_JSON_DEPTH` deep (`[]` is one deep, `[[1]]`
two); of two equal member names the last counts; strings may hold lone surrogates, as JSON's escapes can.

Danger: orjson reads an integer over 64 bits as a float, without a word. Hence the look for 19 digits in a row.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import orjson

from kvstore.base.limits import MAX_INTEGER_DIGITS, MAX_JSON_DEPTH

_Tag = TypeVar("_Tag")

_LONG_NUMBER = re.compile(rb"[0-9]{19}")
#: Words in orjson's reasons for refusing what the standard library may take, or can give a better reason for.
_LOOK_AGAIN = ("infinity", "depth", "UTF-8", "surrogate")
_TYPES = (dict, list, tuple, str, int, float, bool, type(None))
#: How deep a value may be nested to be written: far above what `loads` gives, far below what breaks the writers.
_PYTHON_DEPTH = 4 * MAX_JSON_DEPTH
#: A text as long as this cannot be nested too deep, nor hold an integer of too many digits.
_FLAT_BYTES = 2 * MAX_JSON_DEPTH
_NO_EXTRAS = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_SUBCLASS


def loads(text: bytes, depth: int = MAX_JSON_DEPTH) -> Any:
    """The value of a JSON text in UTF-8. `depth`: how deep it may be nested; for a request one more than for a value.

    Raises ValueError, with a short reason, if it is not JSON.
    """
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as refused:
        if not any(word in str(refused) for word in _LOOK_AGAIN) and b"NaN" not in text and b"Infinity" not in text:
            raise ValueError(str(refused)) from None  # looking again would cost five times as much, and find the same
        value = _loads_exactly(text)
    else:
        if _LONG_NUMBER.search(text):
            value = _loads_exactly(text)
    if text.count(b"[") + text.count(b"{") > depth:
        check_depth(value, depth)
    return value


def atoms_named(name: str, texts: Iterable[tuple[_Tag, bytes]]) -> Iterator[tuple[_Tag, Any]]:
    """The member `name` of each text that is a JSON object and has it, if it is no array or object; for many texts.

    `texts`: each with something that comes back beside its member. What `loads` refuses has no members.
    """
    quoted = b'"%b"' % name.encode("utf-8", "surrogatepass")
    for tag, text in texts:
        if quoted not in text and b"\\" not in text:  # only with an escape can the name be written in another way
            continue
        if text[:1] != b"{":
            continue
        try:
            member = orjson.loads(text)[name] if len(text) <= _FLAT_BYTES else loads(text)[name]
            if member.__class__ is float:  # or an integer that orjson has rounded
                member = loads(text)[name]
        except KeyError:
            continue
        except ValueError:
            try:
                member = loads(text)[name]
            except (KeyError, ValueError):
                continue
        if member.__class__ is not dict and member.__class__ is not list:
            yield tag, member


def dumps(value: Any) -> bytes:
    """The compact JSON text, in UTF-8 and on one line, of a value such as `loads` gives (tuples may stand for lists).

    Raises TypeError for what JSON has no text for: NaN, Infinity, member names that are not strings, other types.
    """
    try:
        text = orjson.dumps(value, option=_NO_EXTRAS)
    except TypeError:  # integers over 64 bits, lone surrogates
        _check_types(value)
        return _dumps_exactly(value)
    if b"null" in text:  # orjson writes NaN and Infinity as null
        _check_types(value)
    return text


def dumps_to_keep(value: Any) -> bytes:
    """The same, to be stored: orjson's own bytes keep 4 KiB of memory, however short they are."""
    return bytes(memoryview(dumps(value)))


def _loads_exactly(text: bytes) -> Any:
    try:
        return json.loads(text.decode("utf-8"), parse_int=_integer, parse_float=_finite, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise _too_deep() from None


def _integer(digits: str) -> int:
    if len(digits.lstrip("-")) > MAX_INTEGER_DIGITS:
        raise ValueError(f"an integer of more than {MAX_INTEGER_DIGITS} digits")
    return int(digits)


def _finite(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise ValueError("a number too large for a double")
    return number


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _dumps_exactly(value: Any) -> bytes:
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")
    except (ValueError, RecursionError) as error:  # an integer of too many digits, a value that contains itself
        raise TypeError(str(error)) from None


def _check_types(value: Any) -> None:
    """Raise TypeError unless `value` is made of what `loads` gives."""
    level = [value]
    for _ in range(_PYTHON_DEPTH):
        for inner in level:
            if type(inner) not in _TYPES or (inner.__class__ is float and not math.isfinite(inner)):
                raise TypeError(f"{inner!r:.40} has no JSON text")
            if inner.__class__ is dict and any(type(name) is not str for name in inner):
                raise TypeError("a member name that is not a string")
        level = [inner for outer in level for inner in _members(outer)]
        if not level:
            return
    raise TypeError("nested too deep")


def check_depth(value: Any, depth: int) -> None:
    """Raise ValueError if `value` is nested too deep: `[]` is one deep, `[[]]` and `[[1]]` two."""
    level = _containers([value])
    for _ in range(depth):
        level = _containers(inner for outer in level for inner in _members(outer))
        if not level:
            return
    raise _too_deep(depth)


def _containers(values: Iterable[Any]) -> list[Any]:
    return [value for value in values if isinstance(value, dict | list)]


def _members(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list | tuple) else ()


def _too_deep(depth: int = MAX_JSON_DEPTH) -> ValueError:
    return ValueError(f"nested more than {min(depth, MAX_JSON_DEPTH)} deep")
