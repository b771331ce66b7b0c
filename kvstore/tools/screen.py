"""The figures of a server as lines of text: what `kvstore top` draws. Nothing here knows a terminal.

A line is a text and a style. No line is wider than the screen; what comes from clients (names, requests) was made
printable before it got here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from enum import Enum, auto
from typing import Any, NamedTuple

from kvstore.base.sizes import human

_NOTHING = "-"

#: What curves are drawn with; the second for terminals that have ASCII only.
MARKS = " \u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
ASCII_MARKS = " .:-=+*#"


class Style(Enum):
    """How a line looks."""

    PLAIN = auto()
    TITLE = auto()
    HEADING = auto()
    WARNING = auto()


class Line(NamedTuple):
    """One of the screen."""

    text: str
    style: Style = Style.PLAIN


class Column(NamedTuple):
    """Of a table. `key`: of the figure; `width`: in characters, 0 for the rest of the line, which is for text."""

    key: str
    heading: str
    width: int
    show: Callable[[Any], str] = str
    is_text: bool = False


class View(NamedTuple):
    """A table. `rows`: the name of its figures; `sort`: the column that it is sorted by at first, falling."""

    rows: str
    title: str
    columns: tuple[Column, ...]
    sort: str


def count(number: float | None) -> str:
    """A number or a rate, short."""
    if number is None:
        return _NOTHING
    for power, unit in ((9, "G"), (6, "M"), (4, "k")):
        if number >= 10**power:
            return f"{number / 10 ** (power - power % 3):.4g}{unit}"
    return f"{number:.0f}" if number >= 10 or number == int(number) else f"{number:.1f}"


def size(bytes_: float | None) -> str:
    """Bytes, as Redis shows them."""
    return _NOTHING if bytes_ is None else human(int(bytes_))


def duration(seconds: float | None) -> str:
    """How long something took."""
    if seconds is None:
        return _NOTHING
    for least, factor, unit in ((1, 1, "s"), (1e-3, 1e3, "ms")):
        if seconds >= least:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"


def age(seconds: float | None) -> str:
    """How long something has been there."""
    left = int(seconds or 0)
    for unit_s, unit, smaller_s, smaller in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if left >= unit_s:
            return f"{left // unit_s}{unit}{left % unit_s // smaller_s:02}{smaller}"
    return f"{left}s"


def percent(share: float | None) -> str:
    """A share of 1."""
    return _NOTHING if share is None else f"{100 * share:.1f}%"


def clock(at_s: float) -> str:
    """A time of today, or some day, here."""
    return time.strftime("%m-%d %H:%M:%S", time.localtime(at_s))


def curve(values: Sequence[float], width: int, marks: str = MARKS) -> str:
    """The newest values as so many characters, the greatest as the last of `marks`, and what that is."""
    shown = values[max(0, len(values) - max(0, width - 12)) :]
    most = max(shown, default=0)
    steps = (int(value / most * (len(marks) - 1) + 0.5) if most else 0 for value in shown)
    return f"{''.join(marks[step] for step in steps)} {count(most)}"


VIEWS = (
    View("commands", "Commands", (
        Column("name", "command", 24, is_text=True), Column("per_second", "calls/s", 9, count),
        Column("busy_share", "busy", 7, percent), Column("seconds_each", "mean", 9, duration),
        Column("p99_s", "p99", 9, duration), Column("failures_per_second", "errors/s", 10, count),
        Column("calls", "calls", 9, count),
    ), "per_second"),
    View("clients", "Clients", (
        Column("id", "id", 7), Column("address", "address", 21, is_text=True), Column("user", "user", 9, is_text=True),
        Column("received_bytes", "in/s", 8, size), Column("sent_bytes", "out/s", 8, size),
        Column("unsent_bytes", "unsent", 8, size), Column("age_s", "age", 7, age), Column("idle_s", "idle", 7, age),
        Column("flags", "flags", 6, is_text=True), Column("command", "command", 14, is_text=True),
        Column("name", "name", 0, is_text=True),
    ), "received_bytes"),
    View("slow", "Slow requests", (
        Column("number", "number", 7), Column("at", "at", 15, clock), Column("seconds", "took", 9, duration),
        Column("address", "address", 21, is_text=True), Column("request", "request", 0, is_text=True),
    ), "seconds"),
    View("latency", "Latency events", (
        Column("event", "event", 24, is_text=True), Column("at", "newest", 15, clock),
        Column("newest_s", "took", 9, duration), Column("longest_s", "longest", 9, duration),
    ), "at"),
)  # fmt: skip


def summary(figures: dict[str, Any], target: str) -> list[Line]:
    """The lines on top."""
    server, rates, commits = figures["server"], figures["rates"], figures["commits"]
    keys, memory, files, connections = (figures[name] for name in ("keys", "memory", "files", "connections"))
    limit = f" of {size(memory['max_bytes'])}, {memory['policy']}" if memory["max_bytes"] else ""
    ended = f"last {duration(files['last_compaction_s'])}" if files["compactions"] else "none yet"
    compaction = "running" if files["compacting"] else ended
    lines = [
        Line(f"kvstore {server['version']} at {target}  up {age(server['uptime_s'])}  process {server['process']}"
             f"  sync {server['sync']}", Style.TITLE),
        Line(f"requests  {count(rates['requests'])}/s  errors {count(rates['errors'])}/s"
             f"  in {size(rates['received_bytes'])}/s  out {size(rates['sent_bytes'])}/s"
             f"  hits {percent(rates['hit_share'])}"),
        Line(f"commits   {count(commits['per_second'])}/s  {count(commits['requests_each'])} requests and"
             f" {duration(commits['seconds_each'])} each  newest {commits['newest']}  on disk {commits['durable']}"),
        Line(f"keys      {count(keys['all'])}  {count(keys['with_deadline'])} with a deadline"
             f"  expired {count(rates['expired_keys'])}/s  evicted {count(rates['evicted_keys'])}/s"),
        Line(f"memory    {size(memory['used_bytes'])}{limit}  resident {size(memory['resident_bytes'])}"
             f"  peak {size(memory['peak_bytes'])}"),
        Line(f"files     log {size(files['log_bytes'])}  checkpoint {size(files['checkpoint_bytes'])}"
             f"  room {size(files['room_bytes'])}  compactions {files['compactions']} ({compaction})"),
        Line(f"clients   {connections['now']} of {connections['most']}  blocked {connections['blocked']}"
             f"  subscribed {connections['subscribed']}  new {count(rates['connections'])}/s"
             f"  refused {connections['refused']}"),
    ]  # fmt: skip
    return [*lines, *(Line(text, Style.WARNING) for text in warnings(figures))]


def warnings(figures: dict[str, Any]) -> Iterable[str]:
    """What somebody should look after."""
    if figures["files"]["full"]:
        yield "The disk is full: writes are refused"
    if figures["files"]["last_compaction_error"]:
        yield f"The last compaction failed: {figures['files']['last_compaction_error']}"


def table(figures: dict[str, Any], view: View, sort: str, falling: bool, most: int, width: int) -> list[Line]:
    """A view with its heading, and at most so many rows."""
    rows = sorted(figures[view.rows], key=lambda row: _order(row[sort]), reverse=falling)
    if view.rows in figures["refused"]:
        return [Line(f"{view.title}: {figures['refused'][view.rows]}", Style.WARNING)]
    marks = {sort: " v" if falling else " ^"}
    heading = _row(view, {each.key: each.heading + marks.get(each.key, "") for each in view.columns}, width)
    shown = [
        Line(_row(view, {each.key: each.show(row[each.key]) for each in view.columns}, width)) for row in rows[:most]
    ]
    return [Line(heading, Style.HEADING), *(shown or [Line(f"no {view.title.lower()}")])]


def _order(value: Any) -> tuple[bool, Any]:
    return (value is not None, value)


def _row(view: View, texts: dict[str, str], width: int) -> str:
    cells = []
    for column in view.columns:
        text = texts[column.key]
        if not column.width:
            cells.append(text)
        elif column.is_text:
            cells.append(text[: column.width].ljust(column.width))
        else:
            cells.append(text.rjust(column.width))
    return " ".join(cells)[:width].rstrip()
