"""Who decides what a power cut does to each effect that was not synced: a `Chooser`, asked once for every undecided
effect.

The platter (see `platter`) asks `choose(fate, options)` and gets a number below `options`. What the numbers mean:

| fate | 0 | 1 | more |
|---|---|---|---|
| ENTRY, one directory operation | did not happen | happened | |
| SIZE, all size changes of a file | none happened | first byte (or step) of the first one | the last: all happened |
| SECTOR, one write's part of one sector | lost | kept | garbage, zeros, torn at some byte |

So the same choosers serve however the platter is refined: `AllLost` and `AllKept` are the two ends, `RandomFates` a
seeded sample, `Enumeration` every combination. Questions whose answer cannot be seen (a sector past the end of the
file, an entry that is already so) are never asked, which is what keeps enumerations small.

Rejected: choosers that return bytes (each would have to know the model); fates drawn in advance (their number depends
on earlier fates).
"""

from __future__ import annotations

import enum
import math
import random
from collections.abc import Iterator
from typing import Protocol


class Fate(enum.Enum):
    """What kind of effect is being decided."""

    ENTRY = "entry"
    SIZE = "size"
    SECTOR = "sector"


LOST, KEPT, GARBAGE = 0, 1, 2


class Chooser(Protocol):
    """Decides one fate after another."""

    def choose(self, fate: Fate, options: int) -> int:
        """A number from 0 to `options` - 1; `options` is at least 2. See the module's table for what it means."""


class AllLost:
    """Nothing that was not synced is there."""

    def choose(self, fate: Fate, options: int) -> int:
        """See `Chooser`."""
        return LOST


class AllKept:
    """Everything is there, synced or not."""

    def choose(self, fate: Fate, options: int) -> int:
        """See `Chooser`."""
        return options - 1 if fate is Fate.SIZE else KEPT


class RandomFates:
    """A random sample of what can happen. `seed`: the same seed, asked the same questions, gives the same answers.

    How much survives is itself drawn once per chooser: with one fixed chance, states in which nearly all or nearly
    nothing is there would hardly ever come up when there are many effects.
    """

    def __init__(self, seed: int | str) -> None:
        self._random = random.Random(seed)
        self._kept = self._random.choice((0.0, 0.1, 0.5, 0.9, 1.0))
        self._whole = self._random.choice((0.5, 0.9, 1.0))

    def choose(self, fate: Fate, options: int) -> int:
        """See `Chooser`."""
        if self._random.random() >= self._whole:
            return self._random.randrange(options)
        whole = options - 1 if fate is Fate.SIZE else KEPT
        return whole if self._random.random() < self._kept else LOST


class Flipped:
    """One of the two ends, but the effects at some places (counted from 0 in the order asked) go the other way."""

    def __init__(self, base: Chooser, places: range) -> None:
        self._base = base
        self._other = AllKept() if isinstance(base, AllLost) else AllLost()
        self._places = places
        self._asked = 0

    def choose(self, fate: Fate, options: int) -> int:
        """See `Chooser`."""
        chooser = self._other if self._asked in self._places else self._base
        self._asked += 1
        return chooser.choose(fate, options)


class Enumeration:
    """Every combination, one after another: use it for one crash, call `advance`, use it again, until that returns
    False.

    `most`: of a question with more options than this, only so many are tried: the ends and an even spread between.
    """

    def __init__(self, most: int = 4096) -> None:
        self._most = max(most, 3)
        self._path: list[tuple[int, int]] = []  # (place among the tried options, number of options) of each question
        self._place = 0

    def choose(self, fate: Fate, options: int) -> int:
        """See `Chooser`."""
        if self._place == len(self._path):
            self._path.append((0, options))
        place = self._path[self._place][0]
        self._place += 1
        return self._option(place, options)

    def advance(self) -> bool:
        """Go on to the next combination. False when all were tried."""
        self._place = 0
        while self._path and self._path[-1][0] + 1 == min(self._path[-1][1], self._most):
            self._path.pop()
        if not self._path:
            return False
        place, options = self._path[-1]
        self._path[-1] = (place + 1, options)
        return True

    def _option(self, place: int, options: int) -> int:
        if options <= self._most or place < 2:  # lost and kept are always among those tried
            return place
        return 1 + (place - 1) * (options - 2) // (self._most - 2)


class Survey:
    """Answers as `AllKept` does and counts: how many questions there are, and about how many combinations."""

    def __init__(self, most: int = 4096) -> None:
        self._kept = AllKept()
        self._most = most
        self.questions = 0
        self.logarithm = 0.0

    def choose(self, fate: Fate, options: int) -> int:
        """See `Chooser`."""
        self.questions += 1
        self.logarithm += math.log(min(options, self._most))
        return self._kept.choose(fate, options)

    def combinations(self) -> float:
        """How many combinations there are, unless an answer changes the later questions: then more or fewer."""
        return math.exp(min(self.logarithm, 700.0))


def spread(survey: Survey, limit: int, seed: str) -> Iterator[Chooser]:
    """At most `limit` choosers for a crash with too many combinations: both ends, every one and every prefix against
    the rest (so far as they fit into half the limit), then random ones. `seed`: what the random ones are made from.
    """
    ends: list[Chooser] = [AllLost(), AllKept()]
    shapes = [range(n, n + 1) for n in range(survey.questions)] + [range(n) for n in range(2, survey.questions)]
    step = max(1, math.ceil(4 * len(shapes) / max(limit, 1)))
    chosen = ends + [Flipped(end, shape) for shape in shapes[::step] for end in (AllLost(), AllKept())]
    yield from chosen[:limit]
    for n in range(limit - len(chosen)):
        yield RandomFates(f"{seed}/{n}")
