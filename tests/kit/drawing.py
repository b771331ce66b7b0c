"""What is drawn at random, in two ways: by hypothesis, which cuts a failing example down, or by a `random.Random`,
which is a hundred times as fast.

The functions are those of `hypothesis.strategies`, as far as the tests' requests need them; what they make is a `Draw`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Generic, TypeVar

from hypothesis import strategies as st

T = TypeVar("T")
U = TypeVar("U")


class Draw(Generic[T]):
    """Something to be drawn. `strategy`: for hypothesis. `by(random)`: one of it, each as likely as another."""

    def __init__(self, strategy: st.SearchStrategy[T], by: Callable[[Random], T]) -> None:
        self.strategy = strategy
        self.by = by

    def map(self, function: Callable[[T], U]) -> Draw[U]:
        """What the function makes of it."""
        by = self.by
        return Draw(self.strategy.map(function), lambda random: function(by(random)))

    def filter(self, wanted: Callable[[T], object]) -> Draw[T]:
        """Only what is wanted."""

        def draw(random: Random) -> T:
            while not wanted(drawn := self.by(random)):
                pass
            return drawn

        return Draw(self.strategy.filter(wanted), draw)


def just(value: T) -> Draw[T]:
    """Always this."""
    return Draw(st.just(value), lambda random: value)


def sampled_from(values: Sequence[T]) -> Draw[T]:
    """One of these."""
    return Draw(st.sampled_from(values), lambda random: random.choice(values))


def one_of(*draws: Draw[Any]) -> Draw[Any]:
    """What one of these draws."""
    return Draw(st.one_of(*(each.strategy for each in draws)), lambda random: random.choice(draws).by(random))


def tuples(*draws: Draw[Any]) -> Draw[Any]:
    """One of each."""
    return Draw(
        st.tuples(*(each.strategy for each in draws)), lambda random: tuple([each.by(random) for each in draws])
    )


def lists(elements: Draw[T], min_size: int = 0, max_size: int = 10) -> Draw[list[T]]:
    """So many of them."""
    strategy = st.lists(elements.strategy, min_size=min_size, max_size=max_size)
    return Draw(strategy, lambda random: [elements.by(random) for _ in range(random.randint(min_size, max_size))])


def builds(function: Callable[..., T], *draws: Draw[Any]) -> Draw[T]:
    """What the function makes of one of each."""
    return tuples(*draws).map(lambda drawn: function(*drawn))


def integers(least: int, most: int) -> Draw[int]:
    """A whole number from one to the other."""
    return Draw(st.integers(least, most), lambda random: random.randint(least, most))


def binary(max_size: int) -> Draw[bytes]:
    """Bytes."""
    return Draw(st.binary(max_size=max_size), lambda random: random.randbytes(random.randint(0, max_size)))


def text(alphabet: str, max_size: int) -> Draw[str]:
    """Some of these characters."""
    return Draw(
        st.text(alphabet, max_size=max_size),
        lambda random: "".join(random.choices(alphabet, k=random.randint(0, max_size))),
    )
