"""Server and clients on two hosts, at several distances: see `network`."""

from __future__ import annotations

from scripts.experimenting.network import TwoHosts
from scripts.experimenting.rows import DistanceRow, write_rows
from scripts.experimenting.runs import Load, Pace, Run
from scripts.experimenting.setup import Setup, say


def run(setup: Setup) -> None:
    """Measure each distance, and what the link itself costs, and write the rows as they come. Raises NoNetwork."""
    rows: list[DistanceRow] = []
    places = [(0.0, False), (0.0, True), *((delay_ms, False) for delay_ms in setup.effort.delays_ms)]
    for delay_ms, by_wire in places:
        with TwoHosts(delay_ms, by_wire=by_wire) as hosts:
            print(f"{hosts.link}, {delay_ms:g} ms each way:", flush=True)
            for count in setup.effort.far_clients:
                pace = _pace(setup.effort.swarm_pace, delay_ms)
                found = Run(setup.next_number(), Load("swarm", count), hosts, pace).measure(
                    DistanceRow, setup.directory
                )
                say(found)
                rows += found
                write_rows(setup.out, DistanceRow, rows)


def _pace(pace: Pace, delay_ms: float) -> Pace:
    """Longer where requests take longer: a warm-up of less than some round trips warms nothing up."""
    return Pace(pace.warm_up + 20 * delay_ms / 1000, pace.seconds)
