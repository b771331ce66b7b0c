"""JSON text in and out: orjson where it can, the standard library where orjson refuses or would round.

One place decides what JSON is here: any RFC 8259 value, with integers of up to `MAX_INTEGER_DIGITS` digits kept exact; no
NaN or Infinity, no number too large for a double; nested at most `MAX_JSON_DEPTH` deep; of two equal member names the last
counts; strings may hold lone surrogates, as JSON's escapes can.

Danger: orjson reads an integer over 64 bits as a float, without a word. Hence the look for 19 digits in a row.
"""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

from kvstore.base.limits import MAX_INTEGER_DIGITS, MAX_JSON_DEPTH

_LONG_NUMBER = re.compile(rb"[0-9]{19}")


def loads(text: bytes) -> Any:
    """The value of a JSON text in UTF-8. Raises ValueError, with a short reason, if it is not JSON."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        value = _loads_exactly(text)
    else:
        if _LONG_NUMBER.search(text):
            value = _loads_exactly(text)
    if text.count(b"[") + text.count(b"{") > MAX_JSON_DEPTH:
        _check_depth(value)
    return value


def dumps(value: Any) -> bytes:
    """The compact JSON text, in UTF-8 and on one line, of a value such as `loads` gives. Raises TypeError for any other."""
    try:
        return orjson.dumps(value)
    except TypeError:  # integers over 64 bits, lone surrogates
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")


def _loads_exactly(text: bytes) -> Any:
    try:
        return json.loads(
            text.decode("utf-8"), parse_int=_integer, parse_float=_finite, parse_constant=_no_constant
        )
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise _too_deep() from None


def _integer(digits: str) -> int:
    if len(digits) > MAX_INTEGER_DIGITS:
        raise ValueError(f"an integer of more than {MAX_INTEGER_DIGITS} digits")
    return int(digits)


def _finite(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise ValueError("a number too large for a double")
    return number


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_JSON_DEPTH + 1):
        level = [inner for outer in level for inner in _members(outer)]
        if not level:
            return
    raise _too_deep()


def _members(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _too_deep() -> ValueError:
    return ValueError(f"nested more than {MAX_JSON_DEPTH} deep")
