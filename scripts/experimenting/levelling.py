"""How many clients to try, and when more of them bring nothing more: the rule by which a series ends.

A step **gains** when its sum is at least 5 % over the largest sum of all steps before it. A series has **levelled out**
when two successive steps have not gained; it levelled out **at** the last step that did. Two, not one: on a busy disk
a single step may fall short by accident. Against the largest, not the step before: else a fall followed by a recovery
would count as a gain.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

#: A step that brings less than this part of the largest sum so far has not gained.
LEAST_GAIN = 0.05

#: Successive steps without a gain that end a series.
STEPS_WITHOUT_GAIN = 2


def steps(most: int) -> Iterator[int]:
    """1, 2, 3, 4, 6, 8, 12, 16, ... up to `most`: the powers of two, and what is half-way to the next."""
    power = 1
    while power <= most:
        yield power
        if power > 1 and power * 3 // 2 <= most:
            yield power * 3 // 2
        power *= 2


def levelled_at(series: Sequence[tuple[int, float]]) -> int | None:
    """The number of clients at which a series has levelled out, or None if it has not.

    `series`: (clients, sum of their requests per second), the clients growing. Steps after the rule was fulfilled
    change nothing.
    """
    best, at, without = 0.0, 0, 0
    for clients, total in series:
        if total >= best * (1 + LEAST_GAIN) and total > 0:
            at, without = clients, 0
        else:
            without += 1
        best = max(best, total)
        if at and without == STEPS_WITHOUT_GAIN:
            return at
    return None
