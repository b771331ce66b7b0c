"""Scores of sorted sets, and ranges of them, as words of a request: numbers, `(1.5`, `-inf`, `[a`, `(b`, `-`, `+`.

Words in; numbers, and what is between two ends, out. It knows no table and no command. The errors are Valkey's.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from kvstore.base.errors import NOT_A_FLOAT, InvalidRequest
from kvstore.values.sorted_sets import SortedSet

_DECIMAL = re.compile(rb"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?").fullmatch
_INFINITY = re.compile(rb"[+-]?inf(?:inity)?", re.IGNORECASE).fullmatch
#: A zero, written in whatever way: any other number that a double takes for 0 is too small for one.
_ZERO = re.compile(rb"[+-]?[0.]+(?:[eE].*)?").fullmatch

#: Scores as nearly all are written: that are no option, nor what is refused.
is_plain_score = re.compile(rb"-?[0-9]{1,15}(?:\.[0-9]{1,15})?").fullmatch


def to_score(text: bytes, otherwise: str = NOT_A_FLOAT) -> float:
    """A double. Raises InvalidRequest, with the text `otherwise`, for anything else, and what no double is near to."""
    if _INFINITY(text):
        return float(text)
    number = float(text) if _DECIMAL(text) else math.nan
    if not math.isfinite(number) or (not number and not _ZERO(text)):
        raise InvalidRequest(otherwise)
    return number


class Span(NamedTuple):
    """From which rank on, and to before which, members are; none if `stop` is not above `start`."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        """How many these are."""
        return max(0, self.stop - self.start)


class ScoreRange(NamedTuple):
    """Of scores from `least` to `most`, without these where they are `above` and `below`."""

    least: float
    above: bool
    most: float
    below: bool

    def span(self, value: SortedSet) -> Span:
        """Where the members with such scores are."""
        return Span(value.below(self.least, inclusive=self.above), value.below(self.most, inclusive=not self.below))


class MemberRange(NamedTuple):
    """The same of members, where all have one score. No `least` is before all, no `most` after all; an end that is
    neither is `empty`.
    """

    least: bytes | None
    above: bool
    most: bytes | None
    below: bool
    is_empty: bool

    def span(self, value: SortedSet) -> Span:
        """Where the members are."""
        if self.is_empty:
            return Span(0, 0)
        start = 0 if self.least is None else value.before(self.least, inclusive=self.above)
        stop = len(value) if self.most is None else value.before(self.most, inclusive=not self.below)
        return Span(start, stop)


def score_range(least: bytes, most: bytes) -> ScoreRange:
    """The range between two ends. Raises InvalidRequest."""
    return ScoreRange(_score_end(least), least.startswith(b"("), _score_end(most), most.startswith(b"("))


def _score_end(text: bytes) -> float:
    digits = text.removeprefix(b"(")
    if not digits:  # as strtod(3) has it
        return 0.0
    if _DECIMAL(digits) or _INFINITY(digits):
        return float(digits)
    raise InvalidRequest("min or max is not a float")


def member_range(least: bytes, most: bytes) -> MemberRange:
    """The range between two ends. Raises InvalidRequest."""
    first, above, last, below = *_member_end(least), *_member_end(most)
    is_empty = least == b"+" or most == b"-"
    return MemberRange(first, above, last, below, is_empty)


def _member_end(text: bytes) -> tuple[bytes | None, bool]:
    """The member, None for one before or after all, and whether it is not in the range."""
    if text in (b"-", b"+"):
        return None, False
    if text[:1] in (b"[", b"("):
        return text[1:], text[:1] == b"("
    raise InvalidRequest("min or max not valid string range item")
