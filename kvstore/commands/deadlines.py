"""Options, and the deadlines that some of them set, as SET, GETEX and the EXPIRE family take them.

Words in; a deadline in milliseconds since the epoch out. It knows no table and no command.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from kvstore.base.errors import InvalidRequest, shorten, syntax_error
from kvstore.commands.arguments import is_short_number
from kvstore.commands.long_double import to_long_double
from kvstore.commands.registry import INT64_MAX, INT64_MIN, to_integer

MS_PER_S = 1000
US_PER_S = 1_000_000

#: Option: (milliseconds in its unit, whether it counts from the epoch instead of from now).
TIMES = {b"EX": (MS_PER_S, False), b"PX": (1, False), b"EXAT": (MS_PER_S, True), b"PXAT": (1, True)}

#: The same for people.
TIMES_TEXT = "EX seconds|PX milliseconds|EXAT unix-time-seconds|PXAT unix-time-milliseconds"

_WITH_WORD = {*TIMES, b"IFEQ"}

#: Option name in upper case to the options that contradict it. Repeating an option is allowed: the last counts.
OptionTable = Mapping[bytes, frozenset[bytes]]


def excluding_each_other(*names: bytes) -> dict[bytes, frozenset[bytes]]:
    """A part of an option table: of these options at most one may be given."""
    return {name: frozenset(names) - {name} for name in names}


def parse_options(words: Iterable[bytes], allowed: OptionTable) -> dict[bytes, bytes]:
    """The options given, by name in upper case; those of `TIMES`, and IFEQ, with the word that follows, others with an
    empty one.

    Raises InvalidRequest (syntax error) for unknown options, contradictions, and a missing word.
    """
    given: dict[bytes, bytes] = {}
    rest = iter(words)
    for word in rest:
        name = word.upper()
        contradicting = allowed.get(name)
        if contradicting is None or not contradicting.isdisjoint(given):
            raise syntax_error()
        argument = next(rest, None) if name in _WITH_WORD else b""
        if argument is None:
            raise syntax_error()
        given[name] = argument
    return given


def deadline_given(given: Mapping[bytes, bytes], now_ms: int, command: str, least: int = 1) -> int | None:
    """The deadline that the options give (ms since the epoch), or None. `command`: in lower case, for the error.

    Raises InvalidRequest if the time is not a number, less than `least` or too large.
    """
    for name in TIMES.keys() & given.keys():
        unit_ms, absolute = TIMES[name]
        return future_deadline(to_integer(given[name]), unit_ms, 0 if absolute else now_ms, command, least)
    return None


def future_deadline(amount: int, unit_ms: int, base_ms: int, command: str, least: int = 1) -> int:
    """`amount` units after `base_ms`, in ms since the epoch.

    Raises InvalidRequest if it is less than `least` or too large.
    """
    if amount < least:
        raise invalid_expire_time(command)
    return any_deadline(amount, unit_ms, base_ms, command)


def any_deadline(amount: int, unit_ms: int, base_ms: int, command: str) -> int:
    """The same, but the past is allowed. Raises InvalidRequest if it does not fit in 64 bits."""
    if not INT64_MIN <= amount * unit_ms <= INT64_MAX - base_ms:
        raise invalid_expire_time(command)
    return amount * unit_ms + base_ms


def invalid_expire_time(command: str) -> InvalidRequest:
    """The error for a time that makes no deadline, as Redis words it."""
    return InvalidRequest(f"invalid expire time in '{command}' command")


def expire_conditions(words: Sequence[bytes]) -> set[bytes]:
    """The conditions under which EXPIRE and its kin change a deadline, in upper case. Raises InvalidRequest."""
    conditions = {word.upper() for word in words}
    for word in words:
        if word.upper() not in (b"NX", b"XX", b"GT", b"LT"):
            raise InvalidRequest(f"Unsupported option {shorten(word)}")
    if b"NX" in conditions and len(conditions) > 1:
        raise InvalidRequest("NX and XX, GT or LT options at the same time are not compatible")
    if b"GT" in conditions and b"LT" in conditions:
        raise InvalidRequest("GT and LT options at the same time are not compatible")
    return conditions


def may_change(conditions: set[bytes], current_ms: int | None, deadline_ms: int) -> bool:
    """Whether a key, or a field, may get another deadline. Without one it counts as living for ever: LT is true of it,
    GT is not.
    """
    if current_ms is None:
        return not conditions & {b"XX", b"GT"}
    if b"NX" in conditions:
        return False
    return not (
        (b"GT" in conditions and deadline_ms <= current_ms) or (b"LT" in conditions and deadline_ms >= current_ms)
    )


def in_seconds(milliseconds: int) -> int:
    """The same in seconds, rounded; what is negative is no time, and stays as it is."""
    return milliseconds if milliseconds < 0 else (milliseconds + MS_PER_S // 2) // MS_PER_S


def end_after_seconds(text: bytes, now_ms: int) -> int | None:
    """When a client waits no more that waits for so many seconds (BLPOP), in ms since the epoch; None: never.

    Raises InvalidRequest.
    """
    if is_short_number(text):  # mostly; any other takes 20 us
        return _end(int(text) * MS_PER_S, now_ms)
    try:
        seconds = to_long_double(text)
    except InvalidRequest:
        raise InvalidRequest("timeout is not a float or out of range") from None
    if seconds is None:  # an infinity
        raise InvalidRequest("timeout is negative" if text.startswith(b"-") else "timeout is out of range")
    return _end(math.ceil(seconds * MS_PER_S), now_ms)


def end_after_ms(text: bytes, now_ms: int) -> int | None:
    """The same of milliseconds (XREAD)."""
    return _end(to_integer(text, "timeout is not an integer or out of range"), now_ms)


def _end(left_ms: int, now_ms: int) -> int | None:
    if left_ms < 0:
        raise InvalidRequest("timeout is negative")
    if left_ms > INT64_MAX - now_ms:
        raise InvalidRequest("timeout is out of range")
    return now_ms + left_ms if left_ms else None
