"""What three machines would do, by a formula of what was measured on one: no process and no clock.

The formula stands in `SAID`, which is part of the report.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from scripts.measuring.metering import Measures
from scripts.measuring.results import Table
from tests.suites.group_figures.figures import Part
from tests.suites.group_figures.rates import middle
from tests.suites.group_figures.sides import (
    FOLLOWERS,
    GENERATOR,
    GROUP,
    LEADING_NODE,
    LOCAL,
    NODES,
    SERVER,
)  # fmt: skip

#: Milliseconds there and back between two machines: assumed.
TRIPS_MS = (0.1, 0.5)
#: Of an append: from the server to etcd's leader, from that one to another node.
TRIPS = 2

SAID = """One append is under way at a time, with `n` requests in it, and it takes

    append = n (server + etcd's leader + one other node) + sync + 2 trip

where the processor time of each is what was measured for a request with so many connections, `n` the requests in a
commit then, `sync` one fdatasync of this disk (etcd's leader and the other nodes sync at the same time), `trip` the way
to another machine and back: from the server to etcd's leader, and from that to the first node that makes a quorum with
it (if the group's leader and etcd's are on one machine it is one trip). With `C` connections, and `cores` processors in
each machine, the requests a second are the least of

    appends       n / append
    clients       C / (append + trip)
    thread        1 / server
    processors    cores / (server + etcd's leader)      on the leader's machine, if etcd's leader is there, too
                  cores / (all of it)                   on one machine, with followers, nodes and the generator

and a request takes `C / requests a second`. Nothing overlaps in `append` but the syncs, though a server reads the next
requests while an append is under way: so the formula is low where appends limit. That a process waits for a processor
is in none of it: so it is high where the machine is full. What it gives for this machine, with no trip, stands beside
what was measured."""


class Costs(NamedTuple):
    """What was measured with so many connections. `*_ms`: processor time of a request; `node_ms`: of one other node of
    etcd; `others_ms`: of both, the followers and the generator in all. Rates: requests a second.
    """

    connections: int
    in_commit: float
    server_ms: float
    leading_ms: float
    node_ms: float
    others_ms: float
    group_rate: float
    local_rate: float


def costs_of(connections: int, turns: Mapping[str, Sequence[Measures]]) -> Costs:
    """Of the medians of turns of a group and of a server by itself."""
    ms = {who: middle(turns[GROUP], f"{who}_ms") for who in (SERVER, FOLLOWERS, LEADING_NODE, NODES, GENERATOR)}
    return Costs(
        connections, max(1.0, middle(turns[GROUP], "requests_per_commit")), ms[SERVER], ms[LEADING_NODE],
        ms[NODES] / 2, ms[FOLLOWERS] + ms[NODES] + ms[GENERATOR], middle(turns[GROUP], "per_second"),
        middle(turns[LOCAL], "per_second"),
    )  # fmt: skip


def append_ms(costs: Costs, sync_ms: float, trip_ms: float) -> float:
    """How long one append takes."""
    busy_ms = costs.in_commit * (costs.server_ms + costs.leading_ms + costs.node_ms)
    return busy_ms + sync_ms + TRIPS * trip_ms


def limits(costs: Costs, sync_ms: float, trip_ms: float, cores: int, machines: int) -> dict[str, float]:
    """Requests a second that each lets through. `machines`: 1, or 3."""
    append = append_ms(costs, sync_ms, trip_ms)
    beside_ms = costs.others_ms if machines == 1 else 0.0
    return {
        "appends": 1e3 * costs.in_commit / append,
        "clients": 1e3 * costs.connections / (append + trip_ms),
        "thread": 1e3 / costs.server_ms,
        "processors": 1e3 * cores / (costs.server_ms + costs.leading_ms + beside_ms),
    }


def local_rate(costs: Costs, one: Costs, trip_ms: float) -> float:
    """Requests a second of a server by itself whose clients are on another machine. `one`: with one connection."""
    return min(costs.local_rate, 1e3 * costs.connections / (1e3 / one.local_rate + trip_ms))


def part_of(turns: Mapping[str, Mapping[str, Sequence[Measures]]], sync_ms: float, cores: int) -> Part:
    """Of the turns of SET, by connections."""
    every = [costs_of(int(connections), each) for connections, each in turns.items()]
    one = min(every)
    rows = []
    for costs in every:
        rows.append(_row(costs, f"{costs.connections}, this machine", sync_ms, 0.0, cores, 1, costs.local_rate))
        for trip_ms in TRIPS_MS:
            title = f"{costs.connections}, three, trip {trip_ms:g} ms"
            rows.append(_row(costs, title, sync_ms, trip_ms, cores, 3, local_rate(costs, one, trip_ms)))
    columns = ["connections", "n", "append", "limit", "requests/s", "measured", "/ local", "a request takes"]
    caption = f"SET of 100 bytes; sync {sync_ms:.3f} ms, {cores} processors in each machine"
    raw = {"sync_ms": sync_ms, "cores": cores, "costs": [each._asdict() for each in every]}
    return Part("Three machines: an estimate", tables=[Table(caption, columns, rows)], said=[SAID], raw=raw)


def _row(
    costs: Costs, title: str, sync_ms: float, trip_ms: float, cores: int, machines: int, beside: float
) -> list[str]:
    found = limits(costs, sync_ms, trip_ms, cores, machines)
    least = min(found, key=found.__getitem__)
    rate = found[least]
    measured = f"{costs.group_rate:,.0f}" if machines == 1 else "-"
    return [
        title, f"{costs.in_commit:.1f}", f"{append_ms(costs, sync_ms, trip_ms):.2f} ms", least, f"{rate:,.0f}",
        measured, f"{rate / beside:.2f}", f"{1e3 * costs.connections / rate:.2f} ms",
    ]  # fmt: skip
