"""What throughput is to be expected of N clients: mean value analysis of a closed system (Reiser and Lavenberg, 1980).

    X(N) = N / (Z + R(N))             N clients, each away for Z and then waiting R for what all share
    R(N) = D(N) (1 + X(N-1) R(N-1))   who arrives finds there what N-1 clients leave waiting
    D(N) = max(s + f / g(N), (c + s) / P)
    Z    = T - D(1)

D is the time of what limits for one request: of the server's loop, s for the request and its share of a sync of f that
g requests have in common (f = 0 for reads); or of the P processors, c for the client and s for the server. So X tends
to 1 / D. Nothing is fitted, each constant is measured: T, f and c of one client alone; s of the server when clients
cost little and it is full; g is INFO's.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import NamedTuple

from scripts.experimenting.facts import Series


class Model(NamedTuple):
    """The constants of one operation, in microseconds, and the groups: clients to requests in a commit."""

    alone: float
    server: float
    client: float
    sync: float
    groups: dict[int, float]
    processors: int

    @classmethod
    def of(cls, measured: Series, cheap: Series, processors: int) -> Model:
        """From TestPerf's series and that of clients which cost little."""
        one, groups = measured.one, {point.clients: point.group for point in measured.points}
        return cls(1e6 / one.rate, cheap.best.server_us, one.client_us, one.commit_us, groups, processors)

    def demand(self, clients: int) -> float:
        """D(N), in microseconds."""
        loop = self.server + (self.sync / self.group(clients) if self.sync else 0.0)
        return max(loop, (self.client + self.server) / self.processors)

    def group(self, clients: int) -> float:
        """g(N), on a straight line between the numbers of clients that were measured; at least 1."""
        known = sorted(self.groups)
        i = bisect_left(known, min(clients, known[-1]))
        high, low = known[i], known[max(0, i - 1)]
        part = (min(clients, high) - low) / (high - low) if high > low else 0.0
        return max(1.0, self.groups[low] + part * (self.groups[high] - self.groups[low]))

    def curve(self, most: int) -> list[float]:
        """X(1) to X(most), a second."""
        away, waiting, rates = max(0.0, self.alone - self.demand(1)), 0.0, []
        for clients in range(1, most + 1):
            response = self.demand(clients) * (1 + waiting)
            rate = clients / (away + response)
            waiting = rate * response
            rates.append(rate * 1e6)
        return rates
