"""The screen of `kvstore top`: by curses, which knows every terminal, its size when that changes, and its keys.

It asks at its interval, whatever keys are pressed; a server that does not answer is asked again, and the screen says
so.
"""

from __future__ import annotations

import contextlib
import curses
import locale
import os
import time
from collections import deque
from typing import Any, Protocol

from kvstore.base.errors import KVStoreError
from kvstore.tools.figures import Sample, compare
from kvstore.tools.screen import ASCII_MARKS, MARKS, VIEWS, Line, Style, curve, summary, table

#: Rates that are kept for the curve: wider than any screen.
_MOST_RATES = 1000
_HELP = "Tab 1-4 table  Left Right sort  r reverse  Space stand still  q quit"


class Asked(Protocol):
    """The server."""

    target: str

    def ask(self, *wanted: str) -> Sample:
        """See `top`."""


def watch(server: Asked, interval_s: float) -> None:
    """Draw until somebody quits. Raises KVStoreError if the terminal cannot be drawn on."""
    with contextlib.suppress(locale.Error):
        locale.setlocale(locale.LC_ALL, "")  # curses then knows what the terminal can show
    try:
        curses.wrapper(lambda screen: Watcher(screen, server, interval_s).run())
    except curses.error as error:
        terminal = os.environ.get("TERM", "")
        raise KVStoreError(f"this terminal (TERM={terminal!r}) cannot be used: {error}; give --once") from None


class Watcher:
    """What is shown, and what a key changes of it."""

    def __init__(self, screen: Any, server: Asked, interval_s: float) -> None:
        self._screen = screen
        self._server = server
        self._interval_s = interval_s
        self._view = 0
        self._sorts = [view.sort for view in VIEWS]
        self._falls = [True for _ in VIEWS]
        self._stands_still = False
        self._before: Sample | None = None
        self._figures: dict[str, Any] | None = None
        self._trouble = ""
        self._rates: deque[float] = deque(maxlen=_MOST_RATES)
        self._marks = MARKS if screen.encoding.lower() in ("utf-8", "utf8") else ASCII_MARKS
        self._looks = _looks()

    def run(self) -> None:
        """Until q."""
        due = time.monotonic()
        while True:
            if time.monotonic() >= due and not self._stands_still:
                self._ask()
                due = time.monotonic() + self._interval_s
            self._draw()
            left_s = self._interval_s if self._stands_still else due - time.monotonic()
            self._screen.timeout(max(1, int(left_s * 1000)))
            key = self._screen.getch()
            if key in (ord("q"), ord("Q")):
                return
            if self._press(key):
                due = 0

    def _ask(self) -> None:
        """The list of clients only if it is shown: it is long, if they are many."""
        clients = ["clients"] if VIEWS[self._view].rows == "clients" else []
        try:
            now = self._server.ask("info", "slow", "latency", *clients)
        except (OSError, ValueError) as error:
            self._trouble = f"no answer: {error}; asking again"
            self._before = None
            return
        self._trouble = ""
        self._figures, self._before = compare(self._before, now), now
        if (rate := self._figures["rates"]["requests"]) is not None:
            self._rates.append(rate)

    def _press(self, key: int) -> bool:
        """Do what a key asks for. Returns whether the server is to be asked at once."""
        columns = [column.key for column in VIEWS[self._view].columns]
        place = columns.index(self._sorts[self._view])
        if key == ord("\t") or ord("1") <= key < ord("1") + len(VIEWS):
            self._view = (self._view + 1) % len(VIEWS) if key == ord("\t") else key - ord("1")
            return VIEWS[self._view].rows == "clients"
        if key in (curses.KEY_LEFT, ord("<"), curses.KEY_RIGHT, ord(">")):
            step = 1 if key in (curses.KEY_RIGHT, ord(">")) else -1
            self._sorts[self._view] = columns[(place + step) % len(columns)]
        elif key == ord("r"):
            self._falls[self._view] = not self._falls[self._view]
        elif key == ord(" "):
            self._stands_still = not self._stands_still
        return False

    def _draw(self) -> None:
        height, width = self._screen.getmaxyx()
        self._screen.erase()
        for place, line in enumerate(self._lines(height, width)[:height]):
            # The last cell stays free: to write there would scroll.
            self._screen.addnstr(place, 0, line.text, max(0, width - 1), self._looks[line.style])
        self._screen.refresh()

    def _lines(self, height: int, width: int) -> list[Line]:
        trouble = [Line(self._trouble, Style.WARNING)] if self._trouble else []
        if self._figures is None:
            return [*trouble, Line(_HELP)]
        view = VIEWS[self._view]
        still = "  [standing still]" if self._stands_still else ""
        names = "  ".join(f"{place + 1} {each.title}" for place, each in enumerate(VIEWS))
        past = Line(f"requests/s {curve(list(self._rates), width - 11, self._marks)}")
        top = [*summary(self._figures, self._server.target), past, *trouble, Line(f"{names}{still}", Style.TITLE)]
        room = max(1, height - len(top) - 2)
        rows = table(self._figures, view, self._sorts[self._view], self._falls[self._view], room, width - 1)
        return [*top, *rows, Line(_HELP)]


def _looks() -> dict[Style, int]:
    """Attributes of curses for each style; colour where there is one."""
    curses.curs_set(0)
    warning = curses.A_BOLD
    if curses.has_colors():
        curses.use_default_colors()
        curses.init_pair(1, curses.COLOR_RED, -1)
        warning |= curses.color_pair(1)
    return {
        Style.PLAIN: curses.A_NORMAL,
        Style.TITLE: curses.A_BOLD,
        Style.HEADING: curses.A_REVERSE,
        Style.WARNING: warning,
    }
