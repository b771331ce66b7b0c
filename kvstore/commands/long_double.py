"""Arithmetic of INCRBYFLOAT: the x87 long double that Redis computes with, in whole-number arithmetic.

Redis adds two `long double` (a 64-bit significand) and prints the sum with 17 decimals, trailing zeros cut. Python
has no such type, and a Python float shows: 0.1 + 0.2 would be 0.30000000000000004 where every Redis says 0.3. So a
number here is a Fraction that was rounded, half to even, to 64 significant bits, which gives Redis's digits.

Smaller and simpler than Redis in one way: what is below 2**-16445 or so is not rounded to a denormal; it prints as 0
all the same.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Annotated, TypeAlias

from kvstore.base.errors import NOT_A_FLOAT, Failure, InvalidRequest
from kvstore.base.limits import KIB
from kvstore.commands.registry import Argument

_DECIMAL = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_INFINITY = re.compile(r"[+-]?inf(?:inity)?", re.IGNORECASE)

_SIGNIFICAND_BITS = 64
#: Numbers as large as this, or nearer to zero than that, have no long double: 2 ** 16384 is about 1e4932.
_TOO_LARGE = Fraction(2) ** 16384
_TOO_SMALL = Fraction(2) ** -16446
#: Decimal places of the first digit that are far outside; what is far outside is not computed with.
_MOST_PLACES, _LEAST_PLACES = 5000, -5000
_DECIMALS = 17
#: Longest text of a number, in bytes. Redis: string2ld refuses MAX_LONG_DOUBLE_CHARS, 5 * 1024.
_MAX_TEXT_BYTES = 5 * KIB - 1


def to_long_double(text: bytes) -> Fraction | None:
    """The number that `text` means, None for an infinity. Raises InvalidRequest for anything else, nan included.

    Differs from Redis, which reads hexadecimal too (`0x1p4`).
    """
    digits = text.decode("latin-1") if len(text) <= _MAX_TEXT_BYTES else ""
    if _INFINITY.fullmatch(digits):
        return None
    number = _nearest(digits) if _DECIMAL.fullmatch(digits) else None
    if number is None:
        raise InvalidRequest(NOT_A_FLOAT)
    return number


def _nearest(digits: str) -> Fraction | None:
    """The long double nearest to a decimal number, None if there is none; what is far too large is not computed."""
    try:
        number = Decimal(digits)
    except InvalidOperation:  # an exponent of more than 18 digits
        return None
    if not number:
        return Fraction(0)
    if not _LEAST_PLACES < number.adjusted() < _MOST_PLACES:
        return None
    nearest = _rounded(Fraction(number))
    return nearest if _TOO_SMALL < abs(nearest) < _TOO_LARGE else None


LongDouble: TypeAlias = Annotated[Fraction | None, Argument("double", to_long_double)]


def add_as_long_doubles(text: bytes, increment: Fraction | None) -> bytes:
    """The text of the sum of the number in `text` and `increment`. Raises Failure."""
    try:
        number = to_long_double(text)
    except InvalidRequest:
        raise Failure(NOT_A_FLOAT) from None
    if number is None or increment is None or abs(total := _rounded(number + increment)) >= _TOO_LARGE:
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
