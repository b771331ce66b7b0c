"""Doubles as text, as Redis writes them: in replies, and where a value keeps a number as text.

Source: Redis's `d2string` (util.c) and `fpconv_dtoa`, which has its digits by Grisu2 (Florian Loitsch, "Printing
Floating-Point Numbers Quickly and Accurately with Integers", 2010): in arithmetic of 64 bits, so that of one double in
some 700 they are not quite the shortest, or the nearest, of all that read back as the same double. Python's are, and
four times as fast; they are taken where Grisu2 must find the same.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cache
from struct import Struct

#: Of so many digits no two read back as the same double, and so few after the point are taken from Python.
_FEW_DIGITS = 15
_TENS = [10**power for power in range(_FEW_DIGITS + 8)]
#: 10 to the power of 64-bit numbers that Grisu2 has at hand: from the first on, each so much higher than the last.
_FIRST_POWER, _POWER_STEP = -348, 8
_POWERS = 87
_LOG10_OF_2 = 0.30102999566398114
#: Where the binary point of what digits are taken from may be: so many bits behind it.
_MOST_BITS, _LEAST_BITS = 60, 32
#: Of a double: the bit that its 52 stand behind, and the exponent of the least.
_HIDDEN_BIT = 1 << 52
_LEAST_EXPONENT = -1074
_BITS, _DOUBLE = Struct("<Q"), Struct("<d")


def double_text(number: float) -> bytes:
    """The digits of a double as Redis writes them: `3`, `0.1`, `1e+21`, `inf`, `-inf`, `nan`, `-0`."""
    if abs(number) <= 2**62 and number.is_integer():
        return b"-0" if number == 0 and math.copysign(1, number) < 0 else b"%d" % int(number)
    if not math.isfinite(number):
        return b"nan" if math.isnan(number) else b"inf" if number > 0 else b"-inf"
    text = _place_point(*_digits(abs(number)))
    return ("-" + text if number < 0 else text).encode("ascii")


def _digits(number: float) -> tuple[str, int]:
    """The digits of a number above 0, and the power of ten of the last of them."""
    mantissa, _, exponent = repr(number).partition("e")
    whole, _, fraction = mantissa.partition(".")
    all_digits = whole + fraction
    digits = all_digits.rstrip("0")
    power = int(exponent or 0) - len(fraction) + len(all_digits) - len(digits)
    digits = digits.lstrip("0")
    return (digits, power) if _are_sure(number, digits, power) else _by_grisu2(number)


def _are_sure(number: float, digits: str, power: int) -> bool:
    """Whether Grisu2 finds these digits, too: no others are as few, and they are not near to half the way to the next
    double, where its arithmetic is not sure that they read back as this one. Numbers as people write them mostly are.
    """
    part, exponent = math.frexp(number)
    if len(digits) > _FEW_DIGITS or not -len(_TENS) < power <= 0 or part == 0.5 or not -_FEW_DIGITS < exponent <= 53:
        return False
    ten = _TENS[-power]
    off: int = abs((int(digits) << (53 - exponent)) - int(part * 2**53) * ten)
    return bool(100 * off < 49 * ten)


def _by_grisu2(number: float) -> tuple[str, int]:
    """The same by Grisu2, digit for digit.

    What reads back as `number` lies between `lower` and `upper`, all three multiplied by a power of ten so that `one`
    is a good way up their 64 bits. The digits of `upper` end where what is left of it is at most the distance to
    `lower`; then the last is made smaller as long as that leads nearer to the number.
    """
    value, exponent = _binary(number)
    shift = 64 - value.bit_length()
    narrow = 2 if value == _HIDDEN_BIT else 1  # below a power of two doubles are closer together
    factor, factor_exponent, power = _power_of_ten(exponent - shift)
    upper = _multiplied((2 * value + 1) << (shift - 1), factor) - 1
    lower = _multiplied(((value << narrow) - 1) << (shift - narrow), factor) + 1
    room, target = upper - lower, upper - _multiplied(value << shift, factor)
    one = 1 << -(exponent - shift + factor_exponent + 64)
    scale, unit, place = _last_place(upper, room, one)
    digits, left = divmod(upper * scale, unit)
    room, target = room * scale, target * scale
    while left < target and room - left >= unit and (left + unit < target or 2 * target > 2 * left + unit):
        digits -= 1
        left += unit
    return str(digits), place - power


def _last_place(upper: int, room: int, one: int) -> tuple[int, int, int]:
    """Where the digits of `upper`, which counts in parts of `one`, can end: what is left is less than `room`; up to the
    point, or just as much.

    Returns the place of the last digit, and what that stands for in numbers that are `scale` times as large: (scale,
    unit, place).
    """
    unit, place = one, 0
    if upper % one <= room:
        while upper % (10 * unit) <= room:
            unit *= 10
            place += 1
        return 1, unit, place
    place = -len(str(one // room))  # there they can, at the latest
    scale = 10**-place
    while scale > 10 and upper * (scale // 10) % one < room * (scale // 10):
        scale //= 10
        place += 1
    return scale, one, place


def _binary(number: float) -> tuple[int, int]:
    """A number above 0 as a whole number of at most 53 bits, fewer only if it is subnormal, times a power of two."""
    (bits,) = _BITS.unpack(_DOUBLE.pack(number))
    exponent = bits >> 52
    if not exponent:
        return bits, _LEAST_EXPONENT
    return bits & (_HIDDEN_BIT - 1) | _HIDDEN_BIT, exponent + _LEAST_EXPONENT - 1


def _multiplied(one: int, other: int) -> int:
    """The upper 64 bits of a product, rounded."""
    return (one * other + (1 << 63)) >> 64


@cache
def _power_of_ten(exponent: int) -> tuple[int, int, int]:
    """What to multiply numbers of 64 bits and this exponent by: 64 bits of a power of ten, its exponent, the power."""
    place = (int(-(exponent + _POWERS) * _LOG10_OF_2) - _FIRST_POWER) // _POWER_STEP
    while True:
        power = _FIRST_POWER + place * _POWER_STEP
        factor, factor_exponent = _rounded(power)
        bits = -(exponent + factor_exponent + 64)
        if _LEAST_BITS <= bits <= _MOST_BITS:
            return factor, factor_exponent, power
        place += 1 if bits > _MOST_BITS else -1


def _rounded(power: int) -> tuple[int, int]:
    """A power of ten, rounded to 64 bits times a power of two."""
    exact = Fraction(10) ** power
    exponent = exact.numerator.bit_length() - exact.denominator.bit_length() - 64
    factor = round(exact / Fraction(2) ** exponent)
    if factor.bit_length() > 64:
        exponent += 1
        factor = round(exact / Fraction(2) ** exponent)
    elif factor.bit_length() < 64:
        exponent -= 1
        factor = round(exact / Fraction(2) ** exponent)
    return factor, exponent


def _place_point(digits: str, power: int) -> str:
    """The number `digits` times ten to the `power`, plain or scientific as fpconv's emit_digits decides."""
    leading = len(digits) + power - 1
    if power >= 0 and leading < len(digits) + 7:
        return digits + "0" * power
    if power < 0 and (power > -7 or abs(leading) < 4):
        padded = digits.rjust(1 - power, "0")
        return f"{padded[:power]}.{padded[power:]}"
    point = "." if len(digits) > 1 else ""
    return f"{digits[0]}{point}{digits[1:]}e{leading:+d}"
