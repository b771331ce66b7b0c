"""Bytes as JSON and as text: keys and values are any bytes, JSON strings are not.

Bytes that are UTF-8 become a string; others become `{"base64": "..."}`. No string stands for an object, so that both
ways are exact.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any


def to_json(word: bytes) -> str | dict[str, str]:
    """The bytes as something that `json.dumps` takes."""
    try:
        return word.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(word).decode("ascii")}


def from_json(word: Any) -> bytes:
    """The bytes that `to_json` was given. Raises ValueError for what it never returns."""
    if isinstance(word, str):
        return word.encode("utf-8")
    if isinstance(word, dict) and set(word) == {"base64"} and isinstance(word["base64"], str):
        return base64.b64decode(word["base64"], validate=True)
    raise ValueError('a key or value is a string or {"base64": "..."}')


def readable(word: bytes, most_bytes: int) -> str:
    """The bytes for a person, shortened: printable ASCII as it is, the rest escaped."""
    text = ascii(word[:most_bytes])[2:-1]
    return f"{text}... ({len(word)} bytes)" if len(word) > most_bytes else text or '""'


def moment(time_us: int) -> str:
    """A time in microseconds since the epoch for a person."""
    return datetime.fromtimestamp(time_us / 1e6, UTC).isoformat(" ", "milliseconds")
