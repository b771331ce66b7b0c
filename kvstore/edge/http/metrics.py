"""/metrics: the counters of a server, as Prometheus scrapes them.

The registry is the server's own: there may be several in a process. Beside the table of metrics it has what
prometheus-client tells of any process (processor time, memory, files). Nothing is counted twice: a collector reads, at
the scrape, what the server counts anyway.

A scrape takes some milliseconds of the loop. So its text is kept for a second: nobody can hold the others up by asking
again and again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector, CollectorRegistry
from twisted.web.server import Request

from kvstore.edge.http.group_metrics import GROUP_METRICS
from kvstore.edge.http.metrics_table import METRICS, Buckets, Metric, Reading
from kvstore.edge.http.site import Route
from kvstore.edge.http.visitors import Visitor
from kvstore.edge.status import Sources

_KEPT_S = 1.0


def metrics_routes(sources: Sources, seconds: Callable[[], float]) -> dict[bytes, Route]:
    """The route of /metrics. `seconds`: a steady clock."""
    return {b"/metrics": Route(Scrape(sources, seconds), ("INFO",))}


class ServerCollector(Collector):
    """Reads all metrics of one server."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def describe(self) -> Iterable[Family]:
        """All, without values."""
        return (_family(metric, {}) for metric in self._metrics())

    def collect(self) -> Iterator[Family]:
        """All, as they are now."""
        for metric in self._metrics():
            yield _family(metric, metric.read(self._sources))

    def _metrics(self) -> tuple[Metric, ...]:
        return METRICS if self._sources.server.group is None else METRICS + GROUP_METRICS


class Scrape:
    """Answers a scrape, in the format that is asked for."""

    def __init__(self, sources: Sources, seconds: Callable[[], float]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(ServerCollector(sources))
        ProcessCollector(registry=self._registry)
        self._seconds = seconds
        self._kept: dict[str, tuple[float, bytes]] = {}

    def __call__(self, request: Request, visitor: Visitor) -> bytes:
        """See `Route`."""
        encode, content_type = choose_encoder(request.getHeader("Accept") or "")
        request.setHeader(b"Content-Type", content_type.encode())
        now = self._seconds()
        self._kept = {each: kept for each, kept in self._kept.items() if kept[0] > now - _KEPT_S}
        if content_type not in self._kept:
            self._kept[content_type] = now, encode(self._registry)
        return self._kept[content_type][1]


_KINDS: dict[str, Any] = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
}


def _family(metric: Metric, reading: Reading) -> Family:
    family = _KINDS[metric.kind](f"kvstore_{metric.name}", metric.text, labels=metric.labels)
    for labels, value in reading.items() if isinstance(reading, Mapping) else [((), reading)]:
        if isinstance(value, Buckets):
            bounds = [(_number(bound), count) for bound, count in value.at_most]
            family.add_metric(labels, [*bounds, ("+Inf", value.number)], value.total)
        else:
            family.add_metric(labels, value)
    return family  # type: ignore[no-any-return]


def _number(bound: float) -> str:
    """As Prometheus writes bounds."""
    return repr(float(bound))
