"""Doubles as text, as Redis writes them: in replies, and where a value keeps a number as text.

Source: Redis's `d2string` (util.c) and `fpconv_dtoa`, which write the shortest digits that read back as the same
double.
"""

from __future__ import annotations

import math


def double_text(number: float) -> bytes:
    """The digits of a double as Redis writes them: `3`, `0.1`, `1e+21`, `inf`, `-inf`, `nan`, `-0`."""
    if abs(number) <= 2**62 and number.is_integer():
        return b"-0" if number == 0 and math.copysign(1, number) < 0 else b"%d" % int(number)
    if not math.isfinite(number):
        return b"nan" if math.isnan(number) else b"inf" if number > 0 else b"-inf"
    mantissa, _, exponent = repr(abs(number)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).strip("0")
    trailing = len(whole + fraction) - len((whole + fraction).rstrip("0"))
    text = _place_point(digits, int(exponent or 0) - len(fraction) + trailing)
    return ("-" + text if number < 0 else text).encode("ascii")


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
