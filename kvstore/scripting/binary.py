"""What Lua 5.1 cannot do by itself of numbers: their bits. For the libraries `bit`, `struct`, `cmsgpack` (in `lua/`).

Each function is called by a closure in Lua, with numbers and strings only, and answers as C's casts do on x86-64.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import pack, unpack
from typing import Any, Final

#: Added to a number whose magnitude is less than 2**51 it leaves the integer, rounded, in the low bits.
_MAGIC: Final = 6755399441055744.0
_MASK_64: Final = 2**64 - 1


def _signed(value: int, bits: int) -> float:
    value &= (1 << bits) - 1
    return float(value - (value >> bits - 1 << bits))


def _to_bits(number: Any) -> int:
    low: int = unpack("<I", pack("<d", number + _MAGIC)[:4])[0]
    return low


def _arithmetic_shift(value: int, count: int) -> int:
    return int(_signed(value, 32)) >> count


#: By name: what is done to the first number with each of the others.
_FOLDS: dict[bytes, Callable[[int, int], int]] = {
    b"band": lambda value, other: value & other,
    b"bor": lambda value, other: value | other,
    b"bxor": lambda value, other: value ^ other,
    b"lshift": lambda value, count: value << (count & 31),
    b"rshift": lambda value, count: value >> (count & 31),
    b"arshift": lambda value, count: _arithmetic_shift(value, count & 31),
    b"rol": lambda value, count: value << (count & 31) | value >> 32 - (count & 31),
    b"ror": lambda value, count: value << 32 - (count & 31) | value >> (count & 31),
}


def combine_bits(name: Any, first: Any, *others: Any) -> float:
    """One of LuaBitOp's functions of several numbers, or none: then the first as it is, in 32 bits with a sign."""
    value = _to_bits(first)
    for other in others:
        value = _FOLDS[name](value, _to_bits(other))
    return _signed(value, 32)


def swap_bytes(number: Any) -> float:
    """The four bytes of a number the other way round."""
    return _signed(int.from_bytes(_to_bits(number).to_bytes(4, "little"), "big"), 32)


def to_hex(number: Any, digits: Any) -> bytes:
    """The last `digits` digits of a number in hexadecimal, in capitals if that is negative."""
    count = int(_signed(_to_bits(digits), 32))
    text = b"%08x" % _to_bits(number)
    return text[8 - min(abs(count), 8) :].upper() if count < 0 else text[8 - min(count, 8) :]


def pack_integer(number: Any, size: Any, little: Any) -> bytes:
    """`size` bytes of a number: its 64 bits, then zeros."""
    value = _unsigned(float(number)).to_bytes(max(size, 8), "little")[:size]
    return value if little else value[::-1]


def _unsigned(number: float) -> int:
    if -(2.0**63) <= number < 2.0**64:
        return int(number) & _MASK_64
    return 0 if number > 0 else 2**63


def unpack_integer(data: Any, signed: Any, little: Any) -> float:
    """The number that bytes are. Of more than eight the low ones count, and the sign is where the shift comes to."""
    value = int.from_bytes(data, "little" if little else "big") & _MASK_64
    mask = _MASK_64 << (len(data) * 8 - 1) % 64 & _MASK_64
    if not signed:
        return float(value)
    return _signed(value | mask if value & mask else value, 64)


def pack_float(number: Any, size: Any, little: Any) -> bytes:
    """A number as an IEEE 754 float of 4 or 8 bytes; what is too large for 4 is infinite."""
    order = "<" if little else ">"
    if size == 8:
        return pack(order + "d", number)
    try:
        return pack(order + "f", number)
    except OverflowError:
        return pack(order + "f", float("inf") if number > 0 else float("-inf"))


def unpack_float(data: Any, little: Any) -> float:
    """The number that 4 or 8 bytes are."""
    number: float = unpack(("<" if little else ">") + ("f" if len(data) == 4 else "d"), data)[0]
    return number


def padding(offset: Any, size: Any) -> int:
    """How many bytes stand before what takes `size` bytes, so that it is aligned."""
    aligned: int = (size - (offset & (size - 1))) & (size - 1)
    return aligned


FUNCTIONS: Final[dict[bytes, Callable[..., Any]]] = {
    b"combine_bits": combine_bits,
    b"swap_bytes": swap_bytes,
    b"to_hex": to_hex,
    b"pack_integer": pack_integer,
    b"unpack_integer": unpack_integer,
    b"pack_float": pack_float,
    b"unpack_float": unpack_float,
    b"padding": padding,
}
