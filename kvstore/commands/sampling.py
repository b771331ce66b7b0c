"""Elements taken at random, as SRANDMEMBER and its kin do: some that are all different, or each any of all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TypeVar

from kvstore.base.chance import Chance
from kvstore.base.errors import InvalidRequest, ReplyTooLarge, syntax_error
from kvstore.commands.arguments import INT64_MAX, negatable, to_integer

_Element = TypeVar("_Element")

#: More of all than one in so many are found faster by a look at each.
_ONE_IN = 3
#: What an element takes in a reply at least: two line breaks, and two bytes of a header.
_LEAST_BYTES = 6


def number_asked(options: tuple[bytes, ...], with_word: bytes) -> int:
    """How many elements are asked for by a number, maybe with `with_word` behind it. Raises InvalidRequest."""
    count = negatable(to_integer(options[0]))
    if len(options) > 2 or (len(options) == 2 and options[1].upper() != with_word):
        raise syntax_error()
    if len(options) == 2 and abs(count) > INT64_MAX // 2:
        raise InvalidRequest("value is out of range")
    return count


def drawn(
    picks: Callable[[], Iterator[_Element]],
    everything: Callable[[], Iterable[_Element]],
    count: int,
    number: int,
    chance: Chance,
) -> Iterator[_Element]:
    """`count` of `number` elements, all different; or, if it is below 0, so many of which each is any of them.

    `picks`: gives elements without end, each time any of them. `everything`: gives each once.
    """
    if count < 0:
        return islice(picks(), -count)
    if _ONE_IN * count <= number:
        return _different(picks(), count)
    return _selected(everything(), min(count, number), number, chance)


def takes_long(count: int, number: int, at_once: int) -> bool:
    """Whether `drawn` may look at more than `at_once` elements."""
    return abs(count) > at_once or (_ONE_IN * count > at_once and number > at_once)


def _different(picks: Iterator[_Element], count: int) -> Iterator[_Element]:
    """So many different ones of the picks. Fewer only if most are what has expired."""
    seen: set[_Element] = set()
    for element in islice(picks, 10 * count):
        if element not in seen:
            seen.add(element)
            yield element
            if len(seen) == count:
                return


def _selected(elements: Iterable[_Element], count: int, number: int, chance: Chance) -> Iterator[_Element]:
    """`count` of `number` elements, in their order, each with the same chance (Knuth's Algorithm S)."""
    for element in elements:
        if chance.random() * number < count:
            yield element
            count -= 1
        number -= 1


def limited(
    elements: Iterable[_Element], size_bytes: Callable[[_Element], int], limit_bytes: int
) -> Iterator[_Element]:
    """The same elements. Raises ReplyTooLarge when they are more bytes together than a reply may have."""
    left_bytes = limit_bytes
    for element in elements:
        left_bytes -= size_bytes(element) + _LEAST_BYTES
        if left_bytes < 0:
            raise ReplyTooLarge(limit_bytes)
        yield element
