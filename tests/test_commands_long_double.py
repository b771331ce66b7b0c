"""Arithmetic of INCRBYFLOAT, against figures that Redis prints."""

from __future__ import annotations

from decimal import Decimal, localcontext
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.errors import Failure, InvalidRequest
from kvstore.commands.long_double import add_as_long_doubles, to_long_double


class LongDoubleTests(SynchronousTestCase):
    """Text to number, sum, number to text."""

    def test_sums(self) -> None:
        """Sums have 64 significant bits and 17 decimals, without the zeros at the end."""
        for number, increment, total in (
            (b"0.1", b"0.2", b"0.3"),
            (b"3.0e3", b"1", b"3001"),
            (b"-0.1", b"0.1", b"0"),
            (b"-1", b"0.5", b"-0.5"),
            (b"1e20", b"0.1", b"100000000000000000000"),
            (b"9007199254740993", b"0", b"9007199254740993"),
            (b"18446744073709551617", b"0", b"18446744073709551616"),
            (b"1e-17", b"0", b"0.00000000000000001"),
            (b"-4e-18", b"0", b"0"),
            (b"12345678901234567890.123", b"0", b"12345678901234567890"),
            (b"1.1", b"0", b"1.1"),
            (b"0x1p3", b"0x10", b"24"),
            (b"-0X.8P+1", b"0xa.8", b"9.5"),
            (b"0x0p" + b"9" * 5000, b"0e99999999999999999999", b"0"),
            (b"0x" + b"f" * 4096 + b"p-16384", b"0", b"1"),
            (b"0x1p-16445", b"0", b"0"),
        ):
            self.assertEqual(add_as_long_doubles(number, to_long_double(increment)), total)

    def test_text_that_is_no_number(self) -> None:
        """Spaces, underscores, nan, numbers without digits, and numbers that no long double is near, are refused."""
        for text in (
            b"",
            b" 1",
            b"1 ",
            b"1_0",
            b"nan",
            b"e5",
            b".",
            b"1e",
            b"--1",
            b"1e5000",
            b"1e-5000",
            b"0x",
            b"0x.p1",
            b"0x1p",
            b"0x1p16384",
            b"0x1p-16446",
            b"0x1.ffffffffffffffffp16383",
            b"0x1p" + b"9" * 5000,
            b"0x1p-" + b"9" * 5000,
            b"0_x1",
            b"\xb2",
            b"x",
        ):
            self.assertRaises(InvalidRequest, to_long_double, text)
            self.assertRaises(Failure, add_as_long_doubles, text, Fraction(0))

    def test_infinity(self) -> None:
        """An infinity is a number that cannot be added, and no sum may become one."""
        largest = b"1.18973149535723176502e4932"
        for number, increment in ((b"inf", b"1"), (b"1", b"-Infinity"), (largest, largest)):
            self.assertRaises(Failure, add_as_long_doubles, number, to_long_double(increment))

    def test_hostile_exponents(self) -> None:
        """An exponent or a row of digits of any length is read in no time."""
        for text in (b"1e999999999", b"1e-999999999999999999999999", b"1e" + b"9" * 5000, b"9" * 5119, b"9" * 5120):
            self.assertRaises(InvalidRequest, to_long_double, text)
        self.assertEqual(to_long_double(b"1" + b"0" * 4931), to_long_double(b"1e4931"))
        self.assertEqual(to_long_double(b"0." + b"0" * 5000 + b"1e5001"), Fraction(1))

    def test_long_sums(self) -> None:
        """A sum may have as many digits as a long double has, which is more than Python turns into an int at once."""
        for text, digits in ((b"1e4300", 4301), (b"1e4932", 4933), (b"0x1.fffffffffffffffep16383", 4932 + 1)):
            total = add_as_long_doubles(text, Fraction(1))
            self.assertEqual((len(total), to_long_double(total)), (digits, to_long_double(text)))
        self.assertTrue(
            add_as_long_doubles(b"1e4300", Fraction(0)).startswith(b"10000000000000000000363292426322313202")
        )

    @given(st.integers(-(2**63), 2**63), st.integers(0, 17))
    def test_exact_where_64_bits_suffice(self, numerator: int, halvings: int) -> None:
        """A number of 64 bits with up to 17 decimals comes back as it was written."""
        with localcontext(prec=100):
            text = f"{Decimal(numerator) / 2**halvings:f}".encode()
        self.assertEqual(add_as_long_doubles(text, Fraction(0)), text)
