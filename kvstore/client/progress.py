"""A progress bar on a terminal, and nothing anywhere else; nor does a terminal that is gone disturb the work."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from typing import TextIO

_WIDTH_CHARACTERS = 40
_PERIOD_SECONDS = 0.1


def write_on(stream: TextIO | None, text: str) -> None:
    """Write on a standard stream and flush it, if that can be done.

    It is None in a process that was started with it closed, and it may be closed since (ValueError, or EBADF), a pipe
    that nobody reads any more, or a full disk.
    """
    with contextlib.suppress(OSError, ValueError):
        if stream is not None:
            stream.write(text)
            stream.flush()


def _is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except ValueError:
        return False


class Progress:
    """One bar. `label`: stands before it. `stream`: drawn on if it is a terminal. `clock`: seconds."""

    def __init__(self, label: str, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._label = label
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._next_drawing = 0.0 if _is_terminal(self._stream) else float("inf")

    def show(self, fraction: float) -> None:
        """Draw the bar, if it is not just drawn. `fraction`: how much is done, 0 to 1."""
        now = self._clock()
        if now >= self._next_drawing:
            self._next_drawing = now + _PERIOD_SECONDS
            done = int(min(fraction, 1) * _WIDTH_CHARACTERS)
            write_on(self._stream, f"\r{self._label} [{'#' * done:{_WIDTH_CHARACTERS}}] {min(fraction, 1):4.0%}")

    def clear(self) -> None:
        """Take the bar away, so that the line is free for a result."""
        if _is_terminal(self._stream):
            write_on(self._stream, "\r\x1b[K")
