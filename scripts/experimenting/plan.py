"""What is measured: for each part its variants, with how many clients, in which order, for how long.

Runs are interleaved: in each round the clients grow, and with each number of clients the variants take turns; rounds
follow one another. So what changes on the machine in minutes does to all variants alike, and shows as spread between
rounds instead of a bend in a curve.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

OPERATIONS = ("insert", "lookup", "query", "remove")
CLIENTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)

#: Tried after all rounds, one after the other, as long as an operation has not levelled out.
MORE_CLIENTS = (48, 64)

PIPELINE = 16


class Variant(NamedTuple):
    """One way to ask one kind of server. `options`: of the server. `testperf`: clients are scripts/TestPerf.py, else
    connections of the generator in C, each with `pipeline` requests on the way. `server`: kvstore or Valkey.
    `delay_ms`: one way, to another host; None: on loopback.
    """

    name: str
    clients: Sequence[int]
    operations: Sequence[str] = OPERATIONS
    options: Sequence[str] = ()
    testperf: bool = False
    pipeline: int = 1
    server: str = "kvstore"
    delay_ms: float | None = None


class Run(NamedTuple):
    """One run: a fresh server, so many clients, all operations of the variant one after the other."""

    round: int
    variant: Variant
    clients: int


class Effort(NamedTuple):
    """How much: rounds; seconds of an operation, not measured and measured; numbers of clients up to `most`; keys of
    the compaction, and seconds before and after it.
    """

    rounds: int
    warm_up: float
    seconds: float
    most: int
    keys: int
    lead_seconds: float

    def run_seconds(self, run: Run) -> float:
        """What a run takes, about."""
        if run.variant.name == "compaction":
            return 5.0 + 2 * self.lead_seconds + 15e-6 * self.keys
        each = self.warm_up + self.seconds + (0.2 if run.variant.testperf else 0.4)
        connecting = run.clients * (0.02 if run.variant.testperf else 0.006 * (run.variant.delay_ms or 0.0))
        return 1.3 + len(run.variant.operations) * each + connecting


FULL = Effort(rounds=3, warm_up=0.2, seconds=0.9, most=1000, keys=1_000_000, lead_seconds=3.0)
QUICK = Effort(rounds=3, warm_up=0.1, seconds=0.3, most=6, keys=30_000, lead_seconds=0.5)

_FEW = (1, 2, 4, 8, 16, 32)

PARTS: dict[str, Sequence[Variant]] = {
    "clients": (
        Variant("always", CLIENTS, testperf=True),
        Variant("no sync", _FEW, options=("--sync", "no"), testperf=True),
        Variant("cheap clients", (*_FEW, 64)),
    ),
    "one-sync": (
        Variant("group commit", _FEW, ("insert",)),
        Variant("one sync each", _FEW, ("insert",), options=("--group-limit", "1")),
    ),
    "cost": (
        Variant("one at a time", _FEW, OPERATIONS[:3]),
        Variant("pipelined", _FEW, OPERATIONS[:3], pipeline=PIPELINE),
        Variant("pipelined, no sync", _FEW, OPERATIONS[:1], options=("--sync", "no"), pipeline=PIPELINE),
    ),
    "compaction": (Variant("compaction", (16,), ("GET", "SET")),),
    "distance": tuple(
        Variant(f"{delay_ms:g} ms", (1, 4, 16, 64, 256), OPERATIONS[:2], delay_ms=delay_ms)
        for delay_ms in (0.0, 0.5, 5.0)
    ),
    "valkey": tuple(
        Variant(server, (1, 4, 16, 64), ("SET", "GET"), server=server) for server in ("kvstore", "Valkey")
    ),
}  # fmt: skip

#: Measured when nothing is named: what the first page of REPORT.md is made of.
FIRST_PAGE = ("clients",)


def runs(part: str, effort: Effort) -> Iterator[Run]:
    """All runs of a part in their order."""
    steps = sorted({clients for variant in PARTS[part] for clients in variant.clients})
    for round_ in range(1, effort.rounds + 1):
        for clients in steps:
            for variant in PARTS[part]:
                if clients in variant.clients and clients <= max(effort.most, variant.clients[0]):
                    yield Run(round_, variant, clients)


def more_runs(part: str, clients: int, effort: Effort) -> Iterator[Run]:
    """The runs of TestPerf with more clients than were planned."""
    for round_ in range(1, effort.rounds + 1):
        yield from (Run(round_, variant, clients) for variant in PARTS[part][:1])
