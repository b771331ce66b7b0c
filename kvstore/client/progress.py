"""A progress bar on a terminal, and nothing anywhere else."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

_WIDTH_CHARACTERS = 40
_PERIOD_SECONDS = 0.1


class Progress:
    """One bar. `label`: stands before it. `stream`: drawn on if it is a terminal. `clock`: seconds."""

    def __init__(self, label: str, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._label = label
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._next_drawing = 0.0 if self._stream.isatty() else float("inf")

    def show(self, fraction: float) -> None:
        """Draw the bar, if it is not just drawn. `fraction`: how much is done, 0 to 1."""
        now = self._clock()
        if now >= self._next_drawing:
            self._next_drawing = now + _PERIOD_SECONDS
            done = int(min(fraction, 1) * _WIDTH_CHARACTERS)
            self._stream.write(f"\r{self._label} [{'#' * done:{_WIDTH_CHARACTERS}}] {min(fraction, 1):4.0%}")
            self._stream.flush()

    def clear(self) -> None:
        """Take the bar away, so that the line is free for a result."""
        if self._stream.isatty():
            self._stream.write("\r\x1b[K")
            self._stream.flush()
