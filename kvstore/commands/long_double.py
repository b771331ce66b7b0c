"""Arithmetic of INCRBYFLOAT: the x87 long double that Redis computes with, in whole-number arithmetic.

Redis adds two `long double` (a 64-bit significand) and prints the sum with 17 decimals, trailing zeros cut. Python
has no such type, and a Python float shows: 0.1 + 0.2 would be 0.30000000000000004 where every Redis says 0.3. So a
number here is a Fraction that was rounded, half to even, to 64 significant bits, which gives Redis's digits.

Smaller and simpler than Redis in one way: what is below 2**-16445 or so is not rounded to a denormal; it prints as 0
all the same.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Annotated, TypeAlias

from kvstore.base.errors import NOT_A_FLOAT, Failure, InvalidRequest
from kvstore.commands.registry import Argument

_DECIMAL = re.compile(rb"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE]([+-]?\d+))?", re.ASCII)
_INFINITY = re.compile(rb"[+-]?inf(?:inity)?", re.IGNORECASE)

_SIGNIFICAND_BITS = 64
_LARGEST = Fraction(2) ** 16384
_DECIMALS = 17
#: Longest text of a number, in bytes. Redis: MAX_LONG_DOUBLE_CHARS 5 KiB; it refuses from 256 on (string2ld).
_MAX_TEXT_BYTES = 255
#: Decimal exponents past this are infinite or nothing, whatever the digits before them are.
_MAX_EXPONENT = 5200


def to_long_double(text: bytes) -> Fraction | None:
    """The number that `text` means, None for an infinity. Raises InvalidRequest for anything else, nan included."""
    match = _DECIMAL.fullmatch(text) if len(text) <= _MAX_TEXT_BYTES else None
    if match is None:
        if _INFINITY.fullmatch(text):
            return None
        raise InvalidRequest(NOT_A_FLOAT)
    exponent = int(match[1] or 0)
    mantissa = Fraction(text[: match.start(1) - 1 if match[1] else None].decode("ascii"))
    return _scaled(mantissa, exponent)


def _scaled(mantissa: Fraction, exponent: int) -> Fraction | None:
    if not mantissa or exponent < -_MAX_EXPONENT:
        return Fraction(0)
    if exponent > _MAX_EXPONENT:
        return None
    number = _rounded(mantissa * Fraction(10) ** exponent)
    return number if abs(number) < _LARGEST else None


LongDouble: TypeAlias = Annotated[Fraction | None, Argument("double", to_long_double)]


def add_as_long_doubles(text: bytes, increment: Fraction | None) -> bytes:
    """The text of the sum of the number in `text` and `increment`. Raises Failure."""
    try:
        number = to_long_double(text)
    except InvalidRequest:
        raise Failure(NOT_A_FLOAT) from None
    if number is None or increment is None or abs(total := _rounded(number + increment)) >= _LARGEST:
        raise Failure("increment would produce NaN or Infinity")
    return _shown(total)


def _rounded(number: Fraction) -> Fraction:
    """The nearest number with 64 significant bits; of two as near the even one."""
    if not number:
        return number
    size = abs(number.numerator).bit_length() - number.denominator.bit_length()
    unit = Fraction(2) ** (size - _SIGNIFICAND_BITS)
    while abs(number) / unit >= 2**_SIGNIFICAND_BITS:
        unit *= 2
    return round(number / unit) * unit


def _shown(number: Fraction) -> bytes:
    """As printf's `%.17Lf` shows it, without the zeros at the end."""
    digits = b"%0*d" % (_DECIMALS + 1, round(abs(number) * 10**_DECIMALS))
    text = (digits[:-_DECIMALS] + b"." + digits[-_DECIMALS:]).rstrip(b"0").removesuffix(b".")
    return b"-" + text if number < 0 and text != b"0" else text
