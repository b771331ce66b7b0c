"""scripts/bench as a program: its cases, how much is measured, its report."""

from __future__ import annotations

from scripts.benching import large, loops, probes, rates, report
from scripts.measuring.bench import Effort
from scripts.measuring.program import Program

BENCH = Program(
    name="bench",
    cases=[*probes.cases(), *rates.cases(), *loops.cases(), *large.cases()],
    full=Effort(rounds=5, seconds=0.6, keys=1_000_000, idle=5_000),
    quick=(Effort(rounds=2, seconds=0.15, keys=30_000, idle=1_000), []),
    how=report.HOW,
    headline=report.headline,
    verdict=report.verdict,
    tables=report.tables,
    draw=report.draw,
)
