"""LATENCY: how long commands take, and what took long.

The histograms are kept by `statistics`, while `latency-tracking` is yes, the events by `latency_events`, while
`latency-monitor-threshold` is above 0. INFO latencystats tells the percentiles of the former.
"""

from __future__ import annotations

from collections.abc import Iterator

from kvstore.base.errors import Failure, shorten
from kvstore.base.reply import Reply, Verbatim
from kvstore.commands.context import Call
from kvstore.commands.deadlines import MS_PER_S
from kvstore.commands.histogram import Histogram
from kvstore.commands.latency_events import Event
from kvstore.commands.latency_report import doctor, graph
from kvstore.commands.registry import ADMIN, Command, command, container, table
from kvstore.commands.row import NO_SCRIPT

container("LATENCY", "Look at how long commands take, and what took long.", group="server")

_NS_PER_US = 1000


@command("LATENCY|LATEST", ADMIN | NO_SCRIPT, group="server")
def latency_latest(call: Call) -> Reply:
    """List events: name, time and milliseconds of the newest, then the longest, the sum and the number of all.

    Unlike Valkey, there are `eventloop`, a turn of the loop, and `log-seal`; and what is said of rewriting its log is
    said here of a compaction (`fork`, `aof-rename`).
    """
    return [
        [event.name.encode(), *event.samples[-1], event.longest_ms, event.total_ms, event.count]
        for event in call.server.latency.by_name.values()
    ]


def _event(call: Call, name: bytes) -> Event | None:
    return call.server.latency.by_name.get(name.decode("latin-1"))


@command("LATENCY|HISTORY", ADMIN | NO_SCRIPT, group="server")
def latency_history(call: Call, event: bytes) -> Reply:
    """List the samples of an event, the newest last: seconds since the epoch, milliseconds."""
    found = _event(call, event)
    return [list(sample) for sample in found.samples] if found else []


@command("LATENCY|RESET", ADMIN | NO_SCRIPT, group="server")
def latency_reset(call: Call, *events: bytes) -> Reply:
    """Forget samples; tells of how many events."""
    return call.server.latency.forget([name.decode("latin-1") for name in events])


@command("LATENCY|GRAPH", ADMIN | NO_SCRIPT, group="server")
def latency_graph(call: Call, event: bytes) -> Reply:
    """Draw the samples of an event."""
    found = _event(call, event)
    if found is None:
        raise Failure(f"No samples available for event '{shorten(event)}'")
    return Verbatim(graph(found, call.server.now_ms() // MS_PER_S))


@command("LATENCY|DOCTOR", ADMIN | NO_SCRIPT, group="server")
def latency_doctor(call: Call) -> Reply:
    """Say what took long, and what to do about it."""
    server = call.server
    slower_than_us = server.configuration.number("commandlog-execution-slower-than")
    return Verbatim(doctor(server.latency, slower_than_us, server.now_ms() // MS_PER_S))


@command("LATENCY|HISTOGRAM", ADMIN | NO_SCRIPT, group="server")
def latency_histogram(call: Call, *commands: bytes) -> Reply:
    """Tell how the times of commands are distributed: of each, how many calls took at most so many microseconds.

    Unlike Valkey, only one in 16 quick calls is timed, and those before it count as it does; those of a pipeline share
    its time. What takes more than a second is counted, too; what is done in slices, with the sum of them.
    """
    histograms = call.server.statistics.histograms()
    if commands:
        wanted = {row for name in commands for row in _rows(name)}
        histograms = {row: histogram for row, histogram in histograms.items() if row in wanted}
    return {
        row.name.lower(): {"calls": histogram.count, "histogram_usec": _steps_us(histogram)}
        for row, histogram in histograms.items()
    }


def _rows(name: bytes) -> Iterator[Command]:
    """Those of a command, `client` or `client|list`, and of its subcommands."""
    top, bar, sub = name.upper().partition(b"|")
    row = table.by_name.get(top)
    if row is not None and bar:
        row = row.subcommands.get(sub)
    if row is not None:
        yield row
        yield from row.subcommands.values()


def _steps_us(histogram: Histogram) -> dict[int, int]:
    """The bounds below which there are more calls than below the one before."""
    steps: dict[int, int] = {}
    before = 0
    for bound_ns, count in histogram.below():
        if count > before:
            steps[bound_ns // _NS_PER_US] = count
        before = count
    return steps


def percentile_fields(call: Call) -> list[tuple[str, str]]:
    """The fields of INFO latencystats; none while `latency-tracking` is no."""
    statistics = call.server.statistics
    percents = call.server.configuration.text("latency-tracking-info-percentiles").split()
    if not statistics.tracks:
        return []
    return [
        (f"latency_percentiles_usec_{row.name.lower()}", _percentiles(histogram, percents))
        for row, histogram in statistics.histograms().items()
    ]


def _percentiles(histogram: Histogram, percents: list[str]) -> str:
    found = histogram.percentiles_ns(map(float, percents))
    return ",".join(f"p{name}={ns / _NS_PER_US:.3f}" for name, ns in zip(percents, found, strict=True))
