"""The single values in REPORT.md's text, by name: each is worked out from the raw data and worded.

A name is a path: `perf.always.insert.best` is the largest sum of inserts of TestPerfs under `--sync always`.

| path | of |
|---|---|
| `perf.SYNC.OPERATION.FIELD` | N TestPerfs |
| `server.VARIANT.OPERATION.FIELD` | the cheap generator; VARIANTS in `data` |
| `compaction.OPERATION.PHASE.FIELD` | the compaction |
| `clients-part.OPERATION` | the part of the server's best sum that TestPerfs do not reach |
| `far.OPERATION.FIELD`, and `near`, `wire`, `veth` | the largest delay, the smallest, and links without any |
| others | see OTHERS |
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from scripts.experimenting.data import (
    VARIANTS,
    Data,
    at,
    best,
    committing_share,
    levelled,
    predicted_per_second,
    thinking_ms,
    us_per_request,
)
from scripts.experimenting.levelling import LEAST_GAIN
from scripts.experimenting.part_compaction import PHASES
from scripts.experimenting.rows import CompactionRow, SumRow
from scripts.experimenting.swarm import OPERATIONS
from scripts.experimenting.wording import SYNCS, count, ms, percent

T = TypeVar("T")

#: Clients of the comparison with one sync per request.
COMPARED_CLIENTS = 16


class NotMeasured(Exception):
    """The data that a value needs are not there."""


def need(found: T | None) -> T:
    """What was found. Raises NotMeasured if it is None."""
    if found is None:
        raise NotMeasured
    return found


# Of a series

Series = Sequence[SumRow]


def _of_best(worded: Callable[[SumRow], str]) -> Callable[[Series], str]:
    return lambda rows: worded(need(best(rows)))


def _of(clients: int, worded: Callable[[SumRow], str]) -> Callable[[Series], str]:
    return lambda rows: worded(need(at(rows, clients)))


def _bound(row: SumRow) -> str:
    """The most that two processors can do of requests that cost what these did."""
    used = row.server_cpu + row.clients_cpu + row.other_cpu + row.link_cpu
    if not used:
        raise NotMeasured
    return count((used + row.idle_cpu + row.disk_wait_cpu) / used * row.per_second)


FIELDS: dict[str, Callable[[Series], str]] = {
    "one": _of(1, lambda r: count(r.per_second)),
    "one-p50": _of(1, lambda r: ms(r.p50_ms)),
    "one-client-us": _of(1, lambda r: f"{us_per_request(r.clients_cpu, r):.0f}"),
    "one-commit-us": _of(1, lambda r: f"{r.commit_us:.0f}"),
    "at16": _of(16, lambda r: count(r.per_second)),
    "at16-p50": _of(16, lambda r: ms(r.p50_ms)),
    "at16-p99": _of(16, lambda r: ms(r.p99_ms)),
    "at16-group": _of(16, lambda r: f"{r.requests_per_commit:.1f}"),
    "at16-commit-us": _of(16, lambda r: f"{r.commit_us:.0f}"),
    "at64": _of(64, lambda r: count(r.per_second)),
    "at256": _of(256, lambda r: count(r.per_second)),
    "best": _of_best(lambda r: count(r.per_second)),
    "best-at": _of_best(lambda r: str(r.clients)),
    "best-each": _of_best(lambda r: count(r.per_second / r.clients)),
    "best-client-us": _of_best(lambda r: f"{us_per_request(r.clients_cpu, r):.0f}"),
    "best-server-us": _of_best(lambda r: f"{us_per_request(r.server_cpu, r):.1f}"),
    "best-other-us": _of_best(lambda r: f"{us_per_request(r.other_cpu, r):.0f}"),
    "best-server": _of_best(lambda r: percent(r.server_cpu)),
    "best-clients": _of_best(lambda r: percent(r.clients_cpu)),
    "best-idle": _of_best(lambda r: percent(r.idle_cpu + r.disk_wait_cpu)),
    "best-bound": _of_best(_bound),
    "best-thinking": _of_best(lambda r: ms(thinking_ms(r))),
    "best-group": _of_best(lambda r: f"{r.requests_per_commit:.1f}"),
    "best-commits": _of_best(lambda r: count(r.commits_per_second)),
    "best-product": _of_best(lambda r: count(r.commits_per_second * r.requests_per_commit)),
    "best-commit-us": _of_best(lambda r: f"{r.commit_us:.0f}"),
    "best-committing": _of_best(lambda r: percent(committing_share(r))),
    "best-p50": _of_best(lambda r: ms(r.p50_ms)),
    "best-p99": _of_best(lambda r: ms(r.p99_ms)),
    "most": lambda rows: str(need(max((row.clients for row in rows), default=None))),
    "levelled": lambda rows: _levelled(rows),
    "times": lambda rows: f"{need(best(rows)).per_second / need(at(rows, 1)).per_second:.1f}",
    "ping": _of(1, lambda r: ms(r.round_trip_ms)),
}


def _levelled(rows: Series) -> str:
    if not rows:
        raise NotMeasured
    return str(levelled(rows) or f"{rows[-1].clients}+")


# Of a compaction

COMPACTION_FIELDS: dict[str, Callable[[CompactionRow], str]] = {
    "per-second": lambda r: count(r.per_second),
    "p50": lambda r: ms(r.p50_ms),
    "p99": lambda r: ms(r.p99_ms),
    "slowest": lambda r: ms(r.slowest_ms),
}


def _compaction(worded: Callable[[CompactionRow], str]) -> Callable[[Data], str]:
    return lambda data: worded(need(data.phase("during", "SET")))


def _compaction_sum(phase: str, data: Data) -> float:
    return sum(need(data.phase(phase, operation)).per_second for operation in ("GET", "SET"))


# Of two hosts

PLACES = ("veth", "wire", "near", "far")


def _place(data: Data, place: str) -> tuple[str, float]:
    """(link, delay in ms) of one of PLACES. Raises NotMeasured."""
    delayed = sorted((found for found in data.distances() if found[1]), key=lambda found: found[1])
    still = {link: (link, delay_ms) for link, delay_ms in data.distances() if not delay_ms}
    if place in ("near", "far"):
        return need(delayed[0 if place == "near" else -1] if delayed else None)
    return need(still.get({"veth": "veth", "wire": "TUN wire"}[place]))


# Comparisons


def _clients_part(operation: str, data: Data) -> str:
    """What part of the server's best sum TestPerfs do not reach, each client with one request at a time."""
    theirs = need(best(data.perf_series("always", operation))).per_second
    return percent(1 - theirs / need(best(data.server_series("always", operation))).per_second)


def _gain(clients: int | None) -> Callable[[Data], str]:
    """Group commit against one sync per request, inserts; None: the best of each."""

    def value(data: Data) -> str:
        pair = [data.server_series(name, "insert") for name in ("always", "single")]
        a, b = (need(at(rows, clients) if clients else best(rows)) for rows in pair)
        return f"{a.per_second / b.per_second:.1f}"

    return value


def _durable_part(data: Data) -> str:
    """Synced inserts as a part of those not synced, both at their best."""
    synced, unsynced = (need(best(data.server_series(name, "insert"))) for name in ("always", "no"))
    return percent(synced.per_second / unsynced.per_second)


def _predictions(data: Data) -> list[float]:
    """g / (S + g c) as parts of what was measured, from 4 clients on. Raises NotMeasured."""
    unsynced = data.server_series("no", "insert")
    parts = [
        predicted_per_second(row, without) / row.per_second
        for row in data.server_series("always", "insert")
        if row.clients >= 4 and (without := at(unsynced, row.clients)) is not None
    ]
    return need(parts or None)


def _spread(data: Data) -> str:
    """The largest difference between the fastest and the slowest client of a run, of the mean; inserts, always."""
    parts = [
        (rates[-1] - rates[0]) / (sum(rates) / len(rates))
        for row in data.perf_series("always", "insert")
        if len(rates := data.client_rates("always", row.clients, "insert")) > 1
    ]
    return percent(need(max(parts, default=None)))


# All of them

OTHERS: dict[str, Callable[[Data], str]] = {
    "rule.gain": lambda data: percent(LEAST_GAIN),
    "machine.sync-us": lambda data: f"{need(data.about.get('server'))['sync_us']:.0f}",
    "gain.16": _gain(COMPARED_CLIENTS),
    "gain.best": _gain(None),
    "durable-part": _durable_part,
    "prediction.least": lambda data: f"{min(_predictions(data)):.2f}",
    "prediction.most": lambda data: f"{max(_predictions(data)):.2f}",
    "spread": _spread,
    "compaction.keys": _compaction(lambda r: f"{r.keys:,}"),
    "compaction.clients": _compaction(lambda r: str(r.clients)),
    "compaction.seconds": _compaction(lambda r: f"{r.seconds:.1f}"),
    "compaction.server-growth": _compaction(lambda r: f"{r.server_growth_mib:.0f}"),
    "compaction.child-peak": _compaction(lambda r: f"{r.child_peak_mib:.0f}"),
    "compaction.child-cpu": _compaction(lambda r: percent(r.child_cpu)),
    "compaction.before": lambda data: count(_compaction_sum("before", data)),
    "compaction.during": lambda data: count(_compaction_sum("during", data)),
    "compaction.after": lambda data: count(_compaction_sum("after", data)),
    "compaction.part": lambda data: percent(_compaction_sum("during", data) / _compaction_sum("before", data)),
    "near.delay": lambda data: f"{_place(data, 'near')[1]:g}",
    "far.delay": lambda data: f"{_place(data, 'far')[1]:g}",
}


def resolve(name: str) -> Callable[[Data], str] | None:
    """What works out the value of that name, or None if there is no such value. It raises NotMeasured."""
    if name in OTHERS:
        return OTHERS[name]
    match name.split("."):
        case ["perf", sync, operation, field] if sync in SYNCS and operation in OPERATIONS and field in FIELDS:
            return lambda data: FIELDS[field](data.perf_series(sync, operation))
        case ["server", variant, operation, field] if variant in VARIANTS and field in FIELDS:
            return lambda data: FIELDS[field](data.server_series(variant, operation))
        case ["compaction", operation, phase, field] if phase in PHASES and field in COMPACTION_FIELDS:
            return lambda data: COMPACTION_FIELDS[field](need(data.phase(phase, operation)))
        case ["clients-part", operation] if operation in OPERATIONS:
            return lambda data: _clients_part(operation, data)
        case [place, operation, field] if place in PLACES and operation in OPERATIONS and field in FIELDS:
            return lambda data: FIELDS[field](data.distance_series(*_place(data, place), operation))
    return None
