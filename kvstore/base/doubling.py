"""How whole numbers are distributed, counted so cheaply that each commit can afford it: by their length in bits.

    counts[number.bit_length()] += 1        # counts = zeros()

So it is known how many were at most 0, 1, 3, 7, 15, ...: what Prometheus takes for a histogram, and enough to tell
100 us from 1 ms. Where percentiles have to be exact there are finer ones (`kvstore.commands.histogram`), at some times
the price; a class with a method would double it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

_BUCKETS = 65


def zeros() -> list[int]:
    """Counts of nothing, for numbers below 2**64."""
    return [0] * _BUCKETS


def at_most(counts: Sequence[int], first: int, last: int) -> Iterator[tuple[int, int]]:
    """The bounds from 2**first - 1 to 2**last - 1, each with how many numbers were at most that."""
    for bits in range(first, last + 1):
        yield 2**bits - 1, sum(counts[: bits + 1])


def quantile(counts: Sequence[int], share: float) -> float:
    """The number up to which that share of those counted lies, as far as it is known: within its bucket they are taken
    to be spread evenly, as Prometheus does. 0 if nothing was counted.
    """
    left = share * sum(counts)
    for bits, count in enumerate(counts):
        if count and left <= count:
            lowest, above = 1 << bits >> 1, 1 << bits
            return lowest + (above - lowest) * left / count
        left -= count
    return 0.0
