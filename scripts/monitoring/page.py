"""The table of metrics as docs/MONITORING.md shows it."""

from __future__ import annotations

from kvstore.edge.http.group_metrics import GROUP_METRICS
from kvstore.edge.http.metrics_table import METRICS, Metric

#: The lines around the section.
BEGIN, END = "<!-- begin: scripts/monitoring_documents -->\n", "<!-- end -->\n"


def replace_section(page: str) -> str:
    """The page with its section made anew. Raises ValueError if it does not have both markers."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page needs the lines {BEGIN!r} and {END!r} around the table of metrics")
    return f"{before}{begin}\n{table()}\n{end}{after}"


def table() -> str:
    """All metrics, in Markdown."""
    lines = ["| metric | kind | what it tells |", "|---|---|---|"]
    return "\n".join([*lines, *map(_line, METRICS + GROUP_METRICS), ""])


def _line(metric: Metric) -> str:
    labels = f"{{{', '.join(metric.labels)}}}" if metric.labels else ""
    return f"| `{metric.shown_name}{labels}` | {metric.kind} | {metric.text} |"
