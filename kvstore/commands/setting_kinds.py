"""What a setting of CONFIG may be: each kind checks a text, and gives it as CONFIG GET shows it, or says what is wrong.

Texts of errors are Valkey's, the part behind `CONFIG SET failed (...) - `.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

from kvstore.base.errors import InvalidRequest
from kvstore.base.sizes import UNITS
from kvstore.commands.arguments import INT64_MAX, to_integer, to_number

#: From what CONFIG SET is given to what CONFIG GET shows. Raises ValueError with what is wrong.
Kind: TypeAlias = Callable[[str], str]

INT32_MAX = 2**31 - 1

_AMOUNT = re.compile(r"(\d*)([a-z]*)", re.ASCII).fullmatch


def integer(least: int = 0, most: int = INT64_MAX) -> Kind:
    """A whole number in Redis's strict form."""

    def check(text: str) -> str:
        try:
            number = to_integer(text.encode())
        except InvalidRequest:
            raise ValueError("argument couldn't be parsed into an integer") from None
        return _within(number, least, most)

    return check


def memory(least: int = 0, most: int = INT64_MAX, what: str = "a memory") -> Kind:
    """A number of bytes, perhaps with a unit: `1kb` is 1024, `1k` is 1000. None at all is 0, as in Redis.

    `what`: it may be, for who is told that it is none.
    """

    def check(text: str) -> str:
        found = _AMOUNT(text.lower())
        if found is None or found[2] not in UNITS or len(found[1]) > 20 or int(found[1] or 0) >= 2**64:
            raise ValueError(f"argument must be {what} value")
        return _within(int(found[1] or 0) * UNITS[found[2]], least, most)

    return check


def memory_or_share(text: str) -> str:
    """A number of bytes, as `memory` has it, or a share of `maxmemory`: `5%`; too many bytes count as one."""
    is_share = text.endswith("%") and text[:-1].isascii() and text[:-1].isdigit()
    value = text if is_share else memory(most=2**128, what="a memory or percent")(text)
    if int(text[:-1]) > 100 if is_share else int(value) > INT64_MAX:
        raise ValueError("percentage argument must be less or equal to 100")
    return value


_CLASSES = ("normal", "slave", "pubsub")


def output_limits(text: str) -> str:
    """How many bytes of replies a class of clients may leave untaken: `CLASS HARD SOFT SECONDS`, once for each of some
    classes, in Redis's order.
    """
    words = text.split()
    if len(words) % 4:
        raise ValueError("Wrong number of arguments in buffer limit configuration.")
    given = {}
    for name, hard, soft, seconds in zip(*[iter(words)] * 4, strict=True):
        name = {"replica": "slave"}.get(name.lower(), name.lower())
        if name not in _CLASSES:
            raise ValueError("Invalid client class specified in buffer limit configuration.")
        try:
            given[name] = f"{memory()(hard)} {memory()(soft)} {integer(0, INT32_MAX)(seconds)}"
        except ValueError:
            raise ValueError("Error in hard, soft or soft_seconds setting in buffer limit configuration.") from None
    return " ".join(f"{name} {given[name]}" for name in _CLASSES if name in given)


def with_output_limits(before: str, given: str) -> str:
    """The limits of all classes, those that were given in the place of those before."""
    return " ".join(" ".join(pair) for pair in (_by_class(before) | _by_class(given)).items())


def _by_class(text: str) -> dict[str, str]:
    words = text.split()
    return {words[place]: " ".join(words[place + 1 : place + 4]) for place in range(0, len(words), 4)}


def output_limits_of(text: str, name: str) -> tuple[int, int, int]:
    """Of one class: hard and soft in bytes, and for how many seconds more than soft is too long; 0 for no limit."""
    hard, soft, seconds = map(int, _by_class(text)[name].split())
    return hard, soft, seconds


def bytes_of_share(text: str, whole_bytes: int) -> int:
    """What `memory_or_share` has let pass, as bytes. `whole_bytes`: of `maxmemory`; of 0 any share is 0."""
    return whole_bytes * int(text[:-1]) // 100 if text.endswith("%") else int(text)


def _within(number: int, least: int, most: int) -> str:
    if not least <= number <= most:
        raise ValueError(f"argument must be between {least} and {most} inclusive")
    return str(number)


def yes_or_no(text: str) -> str:
    """A switch."""
    if text.lower() not in ("yes", "no"):
        raise ValueError("argument must be 'yes' or 'no'")
    return text.lower()


def one_of(*words: str) -> Kind:
    """One of some words, in any case of letters."""

    def check(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(f"argument(s) must be one of the following: {', '.join(words)}")
        return text.lower()

    return check


def percentiles(text: str) -> str:
    """Numbers from 0 to 100, between blanks; or none."""
    try:
        numbers = [to_number(word.encode()) for word in text.split()]
    except InvalidRequest:
        raise ValueError("Invalid latency-tracking-info-percentiles parameters") from None
    if not all(0 <= number <= 100 for number in numbers):
        raise ValueError("latency-tracking-info-percentiles parameters should sit between [0.0,100.0]")
    return " ".join(f"{number:f}".rstrip("0").rstrip(".") for number in numbers)


def anything(text: str) -> str:
    """Any text."""
    return text
