"""Where each thing of a recording is drawn: lanes of clients from top to bottom, time from left to right.

Numbers only, without a unit: the width of the picture is WIDTH, a lane is one high. A request is as wide as it took,
and at least a hair; a commit reaches from the moment it was closed to that of its settling, across all lanes.
"""

from __future__ import annotations

from typing import NamedTuple

from kvstore.base.limits import MAX_LANES
from kvstore.edge.page.recorder import Committed, Recorded, Recording

WIDTH = 1000.0
#: Lanes of clients that did not ask for anything are added up to so many in all.
_ENOUGH_LANES = 10
#: What shows at all of a request, of WIDTH.
_HAIR = 0.4
_NS_PER_MS = 1e6


class Tick(NamedTuple):
    """A request in a lane."""

    x: float
    width: float
    request: Recorded


class Lane(NamedTuple):
    """A client's, or several ones'. `identity`: the client's number, 0 for several. `label`: see `Recording`."""

    identity: int
    label: str
    ticks: list[Tick]


class Band(NamedTuple):
    """A commit across the lanes."""

    x: float
    width: float
    commit: Committed


class Row(NamedTuple):
    """A request with its times in milliseconds: since the picture's begin, and how long from there on.

    `took_us` in microseconds. `on_disk_ms`, `left_ms`: from the begin of the request to its commit's settling, and to
    when its reply left; None if that is not known, or there is none.
    """

    request: Recorded
    began_ms: float
    took_us: float
    on_disk_ms: float | None
    left_ms: float | None


class Picture(NamedTuple):
    """See the module. `span_ms`: of its width. `began_ms`: its left edge, since the epoch. `labels`: of the clients, by
    their numbers. `others`: how many clients have no lane.
    """

    began_ms: int
    span_ms: float
    lanes: list[Lane]
    bands: list[Band]
    rows: list[Row]
    labels: dict[int, str]
    connected: int
    others: int


def draw(recording: Recording) -> Picture:
    """The picture of a recording."""
    begin_ns, span_ns = _span(recording)
    scale = WIDTH / span_ns
    lanes = _lanes(recording)
    by_identity = {lane.identity: lane for lane in lanes}
    for request in recording.requests:
        x = round((request.started_ns - begin_ns) * scale, 3)
        width = max(_HAIR, round((request.ended_ns - request.started_ns) * scale, 3))
        (by_identity.get(request.client) or lanes[-1]).ticks.append(Tick(x, width, request))
    bands = [
        Band(
            round((commit.began_ns - begin_ns) * scale, 3),
            max(_HAIR, round((commit.settled_ns - commit.began_ns) * scale, 3)),
            commit,
        )
        for commit in recording.commits.values()
        if commit.began_ns >= begin_ns
    ]
    rows = [_row(request, recording, begin_ns) for request in recording.requests]
    others = recording.connected - sum(1 for lane in lanes if lane.identity)
    return Picture(
        recording.began_ms + (begin_ns - recording.began_ns) // 1_000_000, span_ns / _NS_PER_MS, lanes, bands, rows,
        recording.clients, recording.connected, max(0, others),
    )  # fmt: skip


def _span(recording: Recording) -> tuple[int, int]:
    """Its left edge, and how much time it shows: that of the requests and their commits, not of the quiet around."""
    if not recording.requests:
        return recording.began_ns, max(1, recording.ended_ns - recording.began_ns)
    begin = recording.requests[0].started_ns
    ends = [request.left_ns or request.ended_ns for request in recording.requests]
    ends += [commit.left_ns for commit in recording.commits.values()]
    around = max(1, max(ends) - begin) // 50
    return begin - around, max(1, max(ends) - begin) + 2 * around


def _lanes(recording: Recording) -> list[Lane]:
    """One for each client that asked, then for some that did not, in the order of their numbers."""
    asked = {request.client for request in recording.requests}
    kept = set(sorted(asked)[:MAX_LANES])
    quiet = (identity for identity in recording.clients if identity not in asked)
    kept.update(identity for identity, _ in zip(quiet, range(_ENOUGH_LANES - len(kept)), strict=False))
    lanes = [Lane(identity, recording.clients[identity], []) for identity in sorted(kept)]
    if len(asked) > MAX_LANES:
        lanes.append(Lane(0, f"{len(asked) - MAX_LANES} others", []))
    return lanes


def _row(request: Recorded, recording: Recording, begin_ns: int) -> Row:
    commit = recording.commits.get(request.commit)
    left_ns = commit.left_ns if commit is not None else request.left_ns
    return Row(
        request,
        (request.started_ns - begin_ns) / _NS_PER_MS,
        (request.ended_ns - request.started_ns) / 1e3,
        (commit.settled_ns - request.started_ns) / _NS_PER_MS if commit is not None else None,
        (left_ns - request.started_ns) / _NS_PER_MS if left_ns is not None else None,
    )
