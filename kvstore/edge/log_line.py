"""A log event as one line: text for people, JSON for programs.

Nothing that users store, and no password, is in it. So of an exception that nobody expected its kind is told and where
it was raised, not its message, which may hold a part of a request; Valkey's setting `hide-user-data-from-log` decides.
What the system says of a file or a socket (OSError) is no user's data. Control characters are escaped: nobody's name or
script begins a line of its own.

A text line is as Twisted writes it, a JSON line an object of `time` (RFC 3339, UTC), `level`, `namespace`, `text`,
`format` (the same for all lines of one kind) and `fields`, which has a `traceback` if there is one.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from twisted.logger import LogEvent, LogLevel, formatEvent, formatTime
from twisted.python.failure import Failure
from twisted.python.reflect import safe_str

#: Exceptions of one chain that are told of.
_MOST_CAUSES = 8

#: Fields that say nothing: of Twisted's older log, and of Failure events, told as a traceback.
_LEFT_OUT = frozenset({"failure", "format", "isError", "message", "system", "time", "why", "debugInfo"})

_ESCAPES = {number: f"\\x{number:02x}" for number in (*range(0x20), *range(0x7F, 0xA0))}


def level_of(event: LogEvent) -> Any:
    """The LogLevel of an event."""
    return event.get("log_level") or LogLevel.info


def text_line(event: LogEvent, shows_data: bool) -> str:
    """An event as text, without its line end; behind further ones of a traceback there are tabs."""
    time = formatTime(event.get("log_time"))
    where = f"{event.get('log_namespace', '-')}#{level_of(event).name}"
    lines = [f"{time} [{where}] {_text(event)}", *_traceback(event, shows_data)]
    return "\n\t".join(line.translate(_ESCAPES) for line in lines)


def json_line(event: LogEvent, shows_data: bool) -> str:
    """An event as JSON, ASCII, without its line end."""
    fields = {name: _plain(value) for name, value in event.items() if not (name[:4] == "log_" or name in _LEFT_OUT)}
    if failure_of(event) is not None:
        fields["traceback"] = "\n".join(_traceback(event, shows_data))
    return json.dumps({
        "time": datetime.fromtimestamp(event.get("log_time", 0), UTC).isoformat(timespec="microseconds"),
        "level": level_of(event).name,
        "namespace": event.get("log_namespace", "-"),
        "text": _text(event),
        "format": event.get("log_format") or "",
        "fields": fields,
    })  # fmt: skip


def _text(event: LogEvent) -> str:
    """The message. Twisted's older log puts a whole traceback into it, with what the exception says."""
    if failure_of(event) is not None and "log_text" in event:
        return str(event.get("why") or "unhandled error")
    return formatEvent(event)


def failure_of(event: LogEvent) -> Failure | None:
    """What the event is about, if that is an exception. Twisted's older log has another name for it."""
    return event.get("log_failure") or event.get("failure")


def _plain(value: object) -> object:
    return value if value is None or isinstance(value, bool | int | float | str) else safe_str(value)


def _traceback(event: LogEvent, shows_data: bool) -> Iterator[str]:
    """The lines of the traceback of an event, if there is one, the causes first."""
    failure = failure_of(event)
    if failure is None:
        return
    chain: list[tuple[BaseException, Any]] = []
    error, where = failure.value, failure.getTracebackObject()
    while error is not None and len(chain) < _MOST_CAUSES:
        chain.append((error, where))
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        where = error and error.__traceback__
    for error, where in reversed(chain):
        yield "Traceback (most recent call last):"
        for entry in traceback.format_tb(where):
            yield from entry.rstrip("\n").split("\n")
        yield _told(error, shows_data)


def _told(error: BaseException, shows_data: bool) -> str:
    kind = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    if shows_data or isinstance(error, OSError):
        return f"{kind}: {error}"
    return f"{kind} (CONFIG SET hide-user-data-from-log no has the next ones say more)"
