"""Replies as Lua's values, and Lua's values as replies: the two tables of Redis's documentation.

Which a script gets depends on what it has told by `server.setresp`: in version 2 (as at first) a null is false, and
maps, sets and doubles are what they are in RESP2; in version 3 each has a table with one field.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from kvstore.base.doubles import double_text
from kvstore.base.errors import Failure, RequestError
from kvstore.base.reply import (
    NULL_ARRAY,
    Attributed,
    BigNumber,
    Distinct,
    JSONText,
    Map,
    Members,
    Pairs,
    Reply,
    Status,
    Verbatim,
)

#: What `lua/flattening.lua` puts before each value.
_SCALAR, _ARRAY, _MAP, _SET, _DOUBLE, _STATUS, _ERROR, _BIG, _VERBATIM, _DEEP, _NULL = range(11)


class Conversion:
    """Converts for the script that runs. `make_table`: a Lua table of a list or a dict."""

    def __init__(self, make_table: Callable[[Any], Any]) -> None:
        self._make_table = make_table
        #: The version of RESP in which commands answer the script: 2 or 3, what `server.setresp` asks for.
        self.protocol = 2

    def to_lua(self, reply: Reply) -> Any:
        """What a script gets for a reply: bytes, a number, a boolean, None or a Lua table."""
        kind = reply.__class__
        if kind is bytes or kind is int:
            return reply
        if reply is None or reply is NULL_ARRAY:
            return False if self.protocol == 2 else None
        if kind is Status:
            return self._make_table({b"ok": reply.text.encode()})
        if kind is bool:
            return int(reply) if self.protocol == 2 else reply
        if isinstance(reply, RequestError):
            return self._make_table({b"err": str(reply).encode()})
        if isinstance(reply, JSONText):
            return reply.text
        if isinstance(reply, str):
            return self._text(reply)
        if kind is float:
            return self._make_table({b"double": reply}) if self.protocol == 3 else double_text(reply)
        return self._container(reply)

    def _text(self, reply: str) -> Any:
        text = reply.encode("utf-8", "surrogatepass")
        if self.protocol == 3 and isinstance(reply, BigNumber):
            return self._make_table({b"big_number": text})
        if self.protocol == 2 or not isinstance(reply, Verbatim):
            return text
        return self._make_table({b"verbatim_string": self._make_table({b"string": text, b"format": b"txt"})})

    def _container(self, reply: Any) -> Any:
        if isinstance(reply, Attributed):
            return self.to_lua(reply.reply)
        if self.protocol == 3 and isinstance(reply, (dict, Pairs)):
            pairs = reply.items() if isinstance(reply, dict) else reply
            table = self._make_table({self._key(key): self.to_lua(value) for key, value in pairs})
            return self._make_table({b"map": table})
        if self.protocol == 3 and isinstance(reply, (set, frozenset, Members, Distinct)):
            return self._make_table({b"set": self._make_table({self._key(each): True for each in reply})})
        if isinstance(reply, dict):
            reply = [each for pair in reply.items() for each in pair]
        return self._make_table([self.to_lua(each) for each in reply])

    def _key(self, key: Any) -> Any:
        return key if key.__class__ is bytes else self.to_lua(key)

    def scalar(self, value: Any) -> Reply:
        """The reply that a string, a number, a boolean or nil is."""
        kind = value.__class__
        if kind is bytes or kind is int:
            return value
        if kind is float:
            return truncated(value)
        if kind is bool and self.protocol == 2:
            return 1 if value else None
        return value

    def to_reply(self, parts: Iterator[Any]) -> Reply:
        """The reply that a table is, which `lua/flattening.lua` has made into codes and values. Raises Failure if it is
        too deep.
        """
        code, value = next(parts), next(parts)
        if code == _SCALAR:
            return self.scalar(value)
        if code == _ARRAY:
            return [self.to_reply(parts) for _ in range(value)]
        if code == _MAP:
            return Map((self.to_reply(parts), self.to_reply(parts)) for _ in range(value))
        if code == _SET:
            return Distinct(self.to_reply(parts) for _ in range(value))
        return _special(code, value)


def truncated(number: float) -> int:
    """A number as an integer reply, as C casts it on x86: what has no integer is the smallest one."""
    return int(number) if -(2.0**63) <= number < 2.0**63 else -(2**63)


def number_text(number: float) -> bytes:
    """A number of a script as a word of a request. What is no number has a sign there, as the processor makes it."""
    return b"-nan" if math.isnan(number) else double_text(number)


def _special(code: int, value: Any) -> Reply:
    if code == _DOUBLE:
        return float(value)
    if code == _NULL:
        return None
    if code == _STATUS:
        return Status(_line(value))
    if code == _ERROR:
        return ScriptError(_line(value))
    if code == _BIG:
        return BigNumber(_line(value))
    if code == _VERBATIM:
        return Verbatim(value[4:].decode("utf-8", "surrogateescape"))
    assert code == _DEEP
    raise Failure("reached lua stack limit")


def _line(text: bytes) -> str:
    return text.decode("ascii", "replace").replace("\r", " ").replace("\n", " ")


class ScriptError(RequestError):
    """What a script has raised, or answers, as an error: its text as it is."""

    is_custom = True

    def __init__(self, line: str) -> None:
        code, _, text = line.partition(" ")
        super().__init__(text, code)

    def __str__(self) -> str:
        return f"{self.code} {self.text}".rstrip()
