"""A stretch of a trace as a picture: one lane per client, one tick per request, commits as vertical lines.

Along the time of the server's steady clock, each request is as wide as it took, and never too narrow to be seen. The
lowest lane has all requests: that none overlaps another is that they executed one at a time. A commit's line stands
where the last request that waits for it has ended: from there on it may be closed, written and synced. A triangle to
the right is a client that connects, one to the left a client that is gone; red, if its connection broke.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from .reading import COMINGS, Request

#: Told apart by those who see colours differently, too (Okabe and Ito's palette).
COLOURS = {
    "write": "#0072B2", "read": "#009E73", "block": "#CC79A7", "queued": "#56B4E9", "other": "#999999",
    "failed": "#D55E00",
}  # fmt: skip
_MEANINGS = {"block": "EXEC", "queued": "queued by MULTI"}
_MARKERS = {"connect": ">", "disconnect": "<"}
_WIDTH_IN = 11.0
_LANE_IN = 0.24
_DOTS_PER_IN = 110
#: No tick is narrower than this share of the picture's width: 2 dots.
_NARROWEST = 0.0018
_MOST_LABELS = 60


def draw(lines: Sequence[Request], path: str) -> None:
    """Draw these lines of a trace, of them at least one request, into `path`; the name's end says the format. Raises
    OSError. Who comes or goes before the first request or after the last is left out.
    """
    window = [line for line in lines if not line.is_coming]
    comings = [line for line in lines if line.is_coming and window[0].end_ns <= line.start_ns < window[-1].end_ns]
    lanes = sorted(
        {line.client for line in (*window, *comings)}, key=lambda client: (len(client.partition("@")[0]), client)
    )
    figure = Figure(figsize=(_WIDTH_IN, 1.6 + _LANE_IN * min(len(lanes) + 2, 80)), layout="constrained")
    axes = figure.add_subplot()
    origin = window[0].start_ns
    span_ms = max((window[-1].end_ns - origin) / 1e6, 1e-6)
    _draw_ticks(axes, window, lanes, span_ms)
    _draw_commits(axes, window, len(lanes), span_ms)
    _draw_comings(axes, comings, lanes, origin)
    _label(axes, window, lanes, span_ms)
    _legend(figure, window, comings)
    metadata = {"Date": None} if path.endswith(".svg") else {}
    figure.savefig(path, dpi=_DOTS_PER_IN, metadata=metadata)


def _look(request: Request) -> str:
    return "failed" if request.failed else request.kind


def _draw_ticks(axes: Axes, window: Sequence[Request], lanes: list[str], span_ms: float) -> None:
    """A rectangle for each request in its client's lane, and one in the lane of all."""
    places = {client: place for place, client in enumerate(lanes)}
    shapes, colours = [], []
    for request in window:
        left = (request.start_ns - window[0].start_ns) / 1e6
        right = max((request.end_ns - window[0].start_ns) / 1e6, left + _NARROWEST * span_ms)
        for middle in (places[request.client], len(lanes) + 0.6):
            low, high = middle - 0.38, middle + 0.38
            shapes.append([(left, low), (left, high), (right, high), (right, low)])
            colours.append(COLOURS[_look(request)])
    axes.add_collection(PolyCollection(shapes, facecolors=colours, linewidths=0, zorder=3))


def _draw_commits(axes: Axes, window: Sequence[Request], lanes: int, span_ms: float) -> None:
    """A line for each commit that requests of the window wait for, with its number if there is room."""
    ends = {request.commit: (request.end_ns - window[0].start_ns) / 1e6 for request in window if request.commit}
    writes = Counter(request.commit for request in window if request.is_write)
    axes.vlines(list(ends.values()), -0.7, lanes + 1.1, colors="black", linewidths=0.8, alpha=0.55, zorder=2)
    free_from = -1.0
    for commit, at in ends.items():
        if at - free_from < 0.035 * span_ms:
            continue
        free_from = at
        axes.annotate(
            f"{commit}\n({writes[commit]})", (at, -0.7), xytext=(0, 3), textcoords="offset points", ha="center",
            va="bottom", fontsize=7, annotation_clip=False,
        )  # fmt: skip


def _draw_comings(axes: Axes, comings: list[Request], lanes: list[str], origin_ns: int) -> None:
    """A triangle for each client that comes or goes, in its lane."""
    places = {client: place for place, client in enumerate(lanes)}
    for line in comings:
        at_ms, colour = (line.start_ns - origin_ns) / 1e6, COLOURS["failed"] if line.failed else "black"
        axes.plot(at_ms, places[line.client], _MARKERS[line.kind], markersize=6, color=colour, zorder=4)


def _label(axes: Axes, window: Sequence[Request], lanes: list[str], span_ms: float) -> None:
    count = len(lanes)
    every = -(-count // _MOST_LABELS)
    shown = list(range(0, count, every))
    labels = [f"client {lanes[place].partition('@')[0]}" for place in shown]
    axes.set_yticks([*shown, count + 0.6], [*labels, "all: one at a time"], fontsize=8)
    axes.set_ylim(count + 1.2, -0.7)
    axes.set_xlim(-0.01 * span_ms, 1.01 * span_ms)
    axes.set_xlabel("milliseconds of the server's steady clock", fontsize=9)
    axes.tick_params(axis="x", labelsize=8)
    axes.tick_params(axis="y", length=0)
    axes.hlines(range(count), -0.01 * span_ms, 1.01 * span_ms, colors="#dddddd", linewidths=0.6, zorder=1)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    switches = sum(one.client != other.client for one, other in pairwise(window))
    commits = len({request.commit for request in window if request.commit})
    title = f"Requests {window[0].number:,} to {window[-1].number:,}: {count} clients, {switches} switches, "
    axes.set_title(f"{title}{commits} commits\nLines: commit number (writes in it)", loc="left", fontsize=9, pad=24)


def _legend(figure: Figure, window: Sequence[Request], comings: list[Request]) -> None:
    """Tell what the colours mean, of those that are there, in a row of its own."""
    looks = [look for look in COLOURS if any(_look(request) == look for request in window)]
    handles: list[Patch | Line2D] = [Patch(color=COLOURS[look], label=_MEANINGS.get(look, look)) for look in looks]
    for kind in COMINGS:
        if any(line.kind == kind for line in comings):
            handles.append(Line2D([], [], linestyle="", marker=_MARKERS[kind], color="black", label=kind))
    figure.legend(handles=handles, ncols=len(handles), loc="outside lower right", frameon=False, fontsize=8)
