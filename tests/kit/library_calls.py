"""Calls of the libraries that scripts have (bit, struct, cmsgpack, cjson), made at random; right ones and wrong."""

from __future__ import annotations

import struct
from collections.abc import Callable
from random import Random
from typing import Any

_BITS = ("tobit", "bnot", "band", "bor", "bxor", "lshift", "rshift", "arshift", "rol", "ror", "bswap", "tohex")
_LETTERS = (
    "<", ">", "!", "!4", "!8", "!2", "b", "B", "h", "H", "l", "L", "T", "i", "I", "i1", "i2", "I3", "i4", "i5", "i7",
    "i8", "I8", "i9", "i12", "I16", "i16", "i32", "i0", "c", "c0", "c3", "s", "f", "d", "x",
    # Wrong ones, and such as end a format.
    "!3", "i33", "c99999999999", "i99999999999", "z", "?", "5", "\\000",
)  # fmt: skip
_VALUES = 36
_WORDS = (None, True, b"12", b" 0x10 ", b"abc", b"1e3", "cjson.null", "select")
_JSON = (b"null", b"true", b"false", b"nul", b"True", b"NaN", b"-Infinity", b"0x10", b"01", b"-", b"+1")
_CHARACTERS = (
    b"\\n", b"\\u00e9", b"\\ud83d\\ude00", b"\\ud83d", b"\\x", b"\\/", b"\\u12", b"\xff", b"a", b"\x01", b"\x7f",
)  # fmt: skip
_LIMITS = ("", ", 0", ", 1", ", 2", ", -1", ", 1, 1", ", 2, 0", ", '2', 1", ", nil", ", 1, 99", ", 1.9, 1.9")
_ODD = (
    0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -0.0, float("inf"), float("-inf"), float("nan"), 1e300, -1e300, 1e-310, 1e-40,
    3.4028235e38, 3.5e38, 2.0**51, 2.0**52 + 1, 2.0**53, 2.0**63, -(2.0**63), 2.0**64, 2.0**31, 2.0**31 - 1, -(2.0**31),
    2.0**32, 127.0, 128.0, 255.0, 256.0, -32.0, -33.0, -128.0, -129.0, -32768.0, -32769.0, 65535.0, 65536.0,
)  # fmt: skip
_HEADS = {b"\xcc": 1, b"\xd0": 1, b"\xcd": 2, b"\xd1": 2, b"\xce": 4, b"\xd2": 4, b"\xcf": 8, b"\xd3": 8}


class LibraryCalls:
    """Makes calls, each an expression in Lua. `seed`: the same makes the same."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._pick = self._random.choice

    def make(self) -> str:
        """A call."""
        kinds: list[Callable[[], str]] = [
            self._bit, self._pack, self._unpack, self._size, self._packed, self._unpacked, self._round_trip,
            self._encoded, self._decoded,
        ]  # fmt: skip
        return self._pick(kinds)()

    def _number(self) -> float:
        kind = self._random.randrange(6)
        if kind == 0:
            return self._pick(_ODD)
        if kind == 1:
            return float(struct.unpack("<d", self._random.randbytes(8))[0])
        if kind == 2:
            return self._random.uniform(-1e6, 1e6)
        return float(self._random.randrange(-(2 ** self._pick((8, 33, 52, 70))), 2 ** self._pick((8, 33, 52, 70))))

    def _text(self) -> bytes:
        return self._random.randbytes(self._pick((0, 1, 2, 3, 10, 40)))

    def _scalar(self) -> Any:
        kind = self._random.randrange(9)
        if kind < 4:
            return self._number()
        return (
            self._text()
            if kind < 7
            else self._pick((None, True, b"12", b" 0x10 ", b"abc", b"1e3", "cjson.null", "select"))
        )

    def _value(self, depth: int = 0) -> Any:
        kind = self._random.randrange(10)
        if kind < 7 or depth > 4:
            return self._scalar()
        if kind < 9:
            return [self._value(depth + 1) for _ in range(self._pick((0, 1, 3, 17)))]
        key = self._pick((self._text(), float(self._random.randrange(1, 5)), 1.5))  # one: they are in no order
        return {key: self._value(depth + 1)}

    def _list(self, make: Callable[[], Any], *counts: int) -> str:
        return ", ".join(lua(make()) for _ in range(self._pick(counts)))

    def _bit(self) -> str:
        make = self._number if self._random.random() < 0.8 else self._scalar
        return f"bit.{self._pick(_BITS)}({self._list(make, 0, 1, 2, 2, 3)})"

    def _format(self) -> tuple[str, list[Any]]:
        """A format, and values for it."""
        letters = [self._pick(_LETTERS[: None if self._random.random() < 0.2 else _VALUES]) for _ in range(5)]
        values = [self._text() if each[0] in "cs" else self._number() for each in letters if each[0].isalpha()]
        return "".join(letters), values

    def _pack(self) -> str:
        letters, values = self._format()
        if self._random.random() < 0.2:
            values = [self._scalar() for _ in range(3)]
        return f"struct.pack({', '.join([repr(letters), *map(lua, values)])})".replace("\\\\", "\\")

    def _unpack(self) -> str:
        data = self._random.randbytes(self._pick((0, 4, 20, 60))) + self._pick((b"", b"\0"))
        place = self._pick(("", "", ", 1", ", 2", ", -1", ", 0", ", 100", ", 1.7", ", '3'", ", nil", ", {}"))
        return f"struct.unpack('{self._format()[0]}', {lua(data)}{place})"

    def _size(self) -> str:
        return f"struct.size({self._pick((repr(self._format()[0]), lua(self._scalar()), ''))})".replace("\\\\", "\\")

    def _packed(self) -> str:
        return f"cmsgpack.pack({self._list(self._value, 0, 1, 1, 2)})"

    def _round_trip(self) -> str:
        return f"cmsgpack.unpack(cmsgpack.pack({self._list(self._value, 1, 2)}))"

    def _message(self, depth: int = 0) -> bytes:
        kind = self._random.randrange(7 if depth < 4 else 5)
        if kind == 0:
            return self._pick((b"\xc0", b"\xc2", b"\xc3", b"\x05", b"\xe5"))
        if kind == 1:
            head = self._pick(list(_HEADS))
            return head + self._random.randbytes(_HEADS[head])
        if kind == 2:
            return self._pick((struct.pack(">Bf", 0xCA, 1.5), struct.pack(">Bd", 0xCB, self._number())))
        if kind < 5:
            text = self._text()[:31]
            size = len(text)
            return self._pick((bytes([0xA0 + size]), bytes([0xD9, size]), struct.pack(">BH", 0xDA, size))) + text
        count = self._pick((0, 1, 3)) if kind == 5 else self._pick((0, 1))
        few, many = (0x90, 0xDC) if kind == 5 else (0x80, 0xDE)
        heads = (bytes([few + count]), struct.pack(">BH", many, count), struct.pack(">BI", many + 1, count))
        return self._pick(heads) + b"".join(self._message(depth + 1) for _ in range(count * (kind - 4)))

    def _unpacked(self) -> str:
        data = bytearray(b"".join(self._message() for _ in range(self._pick((1, 1, 2, 3)))))
        if self._random.random() < 0.3:
            data[self._random.randrange(len(data))] = self._random.randrange(256)
        end = self._random.randrange(len(data) + 1) if self._random.random() < 0.2 else len(data)
        what = lua(bytes(data[:end])) if self._random.random() < 0.95 else lua(self._scalar())
        if self._random.random() < 0.5:
            return f"cmsgpack.unpack({what})"
        if self._random.random() < 0.5:
            return f"cmsgpack.unpack_one({what}{self._pick(('', ', 0', ', 1', ', -1', ', 99', ', {}', ', nil'))})"
        return f"cmsgpack.unpack_limit({what}{self._pick(_LIMITS)})"

    def _encoded(self) -> str:
        return f"cjson.encode({self._list(self._value, 0, 1, 1, 1, 2)})"

    def _json(self, depth: int = 0) -> bytes:
        kind = self._random.randrange(7 if depth < 4 else 5)
        if kind == 0:
            return self._pick(_JSON)
        if kind < 3:
            number = self._number()
            digits = b"%d" % number if abs(number) < 1e300 else b"1"
            return self._pick((digits, repr(number).encode(), b"1e5", b"-0.5E-2"))
        if kind < 5:
            return b'"' + b"".join(self._pick((b"a", b"b", self._pick(_CHARACTERS))) for _ in range(5)) + b'"'
        inner = [self._json(depth + 1) for _ in range(self._pick((0, 1, 3)))]
        if kind == 5:
            return b"[" + self._pick((b",", b" , ")).join(inner) + b"]"
        return b"{" + b"".join(b'"k":' + each for each in inner[:1]) + b"}"

    def _decoded(self) -> str:
        text = bytearray(self._json())
        if self._random.random() < 0.3:
            text[self._random.randrange(len(text))] = self._random.randrange(256)
        return f"cjson.decode({lua(bytes(text)) if self._random.random() < 0.95 else self._list(self._value, 0, 1, 2)})"


def lua(value: Any) -> str:
    """A value as Lua's source."""
    if isinstance(value, bytes):
        return '"' + "".join(f"\\{byte:03}" for byte in value) + '"'
    if isinstance(value, list):
        return "{" + ", ".join(map(lua, value)) + "}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"[{lua(key)}] = {lua(each)}" for key, each in value.items()) + "}"
    if isinstance(value, float):
        return _number(value)
    return {None: "nil", True: "true"}.get(value, str(value))


def _number(value: float) -> str:
    if value != value:
        return "(0/0)"
    if value in (float("inf"), float("-inf")):
        return "(1/0)" if value > 0 else "(-1/0)"
    return repr(value) if value or repr(value) == "0.0" else "(-1/(1/0))"
