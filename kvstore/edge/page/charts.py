"""Lines over time, as paths of SVG; numbers to be put into templates, no text that anybody else has said.

The newest value is at the right edge. Where nothing is known there is a gap. Values stand for the same stretch of time
each, and there are at most POINTS of them in a chart: of longer rows neighbours are put together to their mean, or to
their highest where that is what is looked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import NamedTuple

WIDTH, HEIGHT = 600, 120
POINTS = 120

#: A value, or None where nothing is known.
Values = Sequence[float | None]


class Line(NamedTuple):
    """One of a chart's. `path`: for the attribute `d`. `now`, `median`, `most`: of its values; None: there are none."""

    name: str
    path: str
    now: float | None
    median: float | None
    most: float | None


class Chart(NamedTuple):
    """Lines that share their scale, which ends at `top`. `form`: the filter of templates that writes a value of it."""

    title: str
    form: str
    lines: list[Line]
    top: float


def chart(
    title: str, form: str, rows: dict[str, Values], points: int, together: Callable[[Sequence[float]], float]
) -> Chart:
    """A chart of `rows`, the oldest value first, which would be `points` long if everything was known.

    `together`: of values that fall on one point, such as `max`.
    """
    size = max(1, -(-points // POINTS))
    found = {name: _gathered(values, size, together) for name, values in rows.items()}
    top = max((value for values in found.values() for value in values if value is not None), default=0) or 1
    lines = [_line(name, values, rows[name], top, -(-points // size)) for name, values in found.items()]
    return Chart(title, form, lines, top)


def _gathered(values: Values, size: int, together: Callable[[Sequence[float]], float]) -> Values:
    """Each `size` neighbours as one; the groups end with the newest value."""
    if size == 1:
        return values
    first = len(values) % size
    groups = [values[:first]] if first else []
    groups += [values[at : at + size] for at in range(first, len(values), size)]
    known = ([value for value in group if value is not None] for group in groups)
    return [together(group) if group else None for group in known]


def _line(name: str, values: Values, exact: Values, top: float, points: int) -> Line:
    known = [value for value in exact if value is not None]
    if not known:
        return Line(name, "", None, None, None)
    return Line(name, _path(values, top, points), exact[-1], median(known), max(known))


def _path(values: Values, top: float, points: int) -> str:
    step = WIDTH / max(1, points - 1)
    x = WIDTH - step * (len(values) - 1)
    pieces, pen = [], "M"
    for place, value in enumerate(values):
        if value is None:
            pen = "M"
            continue
        pieces.append(f"{pen}{x + place * step:.0f} {HEIGHT - value / top * HEIGHT:.0f}")
        pen = "L"
    return "".join(pieces)
