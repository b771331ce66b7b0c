"""Arithmetic of INCRBYFLOAT: the x87 long double that Redis computes with, in whole-number arithmetic.

Redis adds two `long double` (a 64-bit significand) and prints the sum with 17 decimals, trailing zeros cut. Python
has no such type, and a Python float shows: 0.1 + 0.2 would be 0.30000000000000004 where every Redis says 0.3. So a
number here is a Fraction that was rounded, half to even, to 64 significant bits, which gives Redis's digits. Text is
read as strtold(3) reads it, hexadecimal included.

Danger: `int` and `str` refuse each other past some thousand digits, which a client can ask for; `Decimal` does not.

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
from kvstore.commands.arguments import Argument

_DECIMAL = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
#: Sign, digits before and after the point, exponent of two.
_HEXADECIMAL = re.compile(r"([+-]?)0[xX](?=\.?[0-9a-fA-F])([0-9a-fA-F]*)\.?([0-9a-fA-F]*)(?:[pP]([+-]?[0-9]+))?")
#: A number that is zero whatever its exponent.
_ZERO = re.compile(r"[+-]?(?:[0.]+(?:[eE].*)?|0[xX][0.]+(?:[pP].*)?)")
_INFINITY = re.compile(r"[+-]?inf(?:inity)?", re.IGNORECASE)

_SIGNIFICAND_BITS = 64
#: Numbers as large as this, or nearer to zero than that, have no long double: 2 ** 16384 is about 1e4932.
_TOO_LARGE = Fraction(2) ** 16384
_TOO_SMALL = Fraction(2) ** -16446
#: Places of the first digit, decimal or binary, that are far outside; what is far outside is not computed with.
_MOST_PLACES, _LEAST_PLACES = 5000, -5000
_MOST_BITS, _LEAST_BITS = 17_000, -17_000
#: Digits of an exponent that is far outside, whatever the 5 KiB of digits before it.
_FAR_DIGITS = 18
_DECIMALS = 17
#: Longest text of a number, in bytes. Redis: string2ld refuses MAX_LONG_DOUBLE_CHARS, 5 * 1024.
_MAX_TEXT_BYTES = 5 * KIB - 1


def to_long_double(text: bytes) -> Fraction | None:
    """The number that `text` means, None for an infinity. Raises InvalidRequest for anything else, nan included."""
    digits = text.decode("latin-1") if len(text) <= _MAX_TEXT_BYTES else ""
    if _INFINITY.fullmatch(digits):
        return None
    number = _exact(digits)
    nearest = None if number is None else _rounded(number)
    if nearest is None or not (nearest == 0 == number or _TOO_SMALL < abs(nearest) < _TOO_LARGE):
        raise InvalidRequest(NOT_A_FLOAT)
    return nearest


def _exact(digits: str) -> Fraction | None:
    """The number that is written there; None if that is none, or far too large or too near to zero to compute with."""
    hexadecimal = _HEXADECIMAL.fullmatch(digits)
    if hexadecimal is None and not _DECIMAL.fullmatch(digits):
        return None
    if _ZERO.fullmatch(digits):
        return Fraction(0)
    return _of_decimal(digits) if hexadecimal is None else _of_hexadecimal(*hexadecimal.groups(default=""))


def _of_decimal(digits: str) -> Fraction | None:
    try:
        number = Decimal(digits)
    except InvalidOperation:  # an exponent of more than _FAR_DIGITS digits
        return None
    return Fraction(number) if _LEAST_PLACES < number.adjusted() < _MOST_PLACES else None


def _of_hexadecimal(sign: str, whole: str, fraction: str, exponent: str) -> Fraction | None:
    if len(exponent.lstrip("+-").lstrip("0")) > _FAR_DIGITS:
        return None
    significand = int(sign + whole + fraction, 16)
    power = int(exponent.lstrip("+-").lstrip("0") or "0") * (-1 if exponent.startswith("-") else 1) - 4 * len(fraction)
    if not _LEAST_BITS < significand.bit_length() + power < _MOST_BITS:
        return None
    return significand * Fraction(2) ** power


LongDouble: TypeAlias = Annotated[Fraction | None, Argument("double", to_long_double)]


def add_as_long_doubles(text: bytes, increment: Fraction | None, not_a_number: str = NOT_A_FLOAT) -> bytes:
    """The text of the sum of the number in `text` and `increment`.

    Raises Failure; `not_a_number` is its text if there is none in `text`.
    """
    try:
        number = to_long_double(text)
    except InvalidRequest:
        raise Failure(not_a_number) from None
    if number is None or increment is None or abs(total := _rounded(number + increment)) >= _TOO_LARGE:
        raise Failure("increment would produce NaN or Infinity")
    return _shown(total)


def _rounded(number: Fraction) -> Fraction:
    """The nearest number with 64 significant bits; of two as near the even one.

    In whole numbers, which takes a quarter of the time that Fractions do.
    """
    above, below = abs(number.numerator), number.denominator
    exponent = above.bit_length() - below.bit_length() - _SIGNIFICAND_BITS
    above, below = above << max(-exponent, 0), below << max(exponent, 0)
    if above >= below << _SIGNIFICAND_BITS:
        exponent, below = exponent + 1, below << 1
    significand, rest = divmod(above, below)
    significand += (2 * rest, significand & 1) > (below, 0)
    nearest = Fraction(significand << max(exponent, 0), 1 << max(-exponent, 0))
    return nearest if number > 0 else -nearest


def _shown(number: Fraction) -> bytes:
    """As printf's `%.17Lf` shows it, without the zeros at the end."""
    digits = f"{Decimal(round(abs(number) * 10**_DECIMALS)):f}".encode().zfill(_DECIMALS + 1)
    text = (digits[:-_DECIMALS] + b"." + digits[-_DECIMALS:]).rstrip(b"0").removesuffix(b".")
    return b"-" + text if number < 0 and text != b"0" else text
