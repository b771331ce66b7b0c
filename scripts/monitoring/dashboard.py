"""The dashboard of Grafana's, contrib/grafana/kvstore.json: a table of panels, and the JSON that it takes.

It is made, since a panel takes 40 lines of JSON that nobody reads. `$instance` is chosen at its top.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

#: Of Grafana 9: the first that has all that is used here.
_SCHEMA = 37
_COLUMNS = 24
_SOURCE = {"type": "prometheus", "uid": "${source}"}
_OF = '{instance=~"$instance"}'
_RATE_OF_BUCKETS = 'rate({name}_bucket{{instance=~"$instance"}}[$__rate_interval])'
_QUANTILE = f"histogram_quantile({{share}}, sum by (instance, le) ({_RATE_OF_BUCKETS}))"


class Panel(NamedTuple):
    """One. `queries`: each with its legend. `unit`: Grafana's name of it. `width`: of 24; `kind`: of panel."""

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    width: int = 8
    kind: str = "timeseries"


def _rate(name: str, by: str = "instance") -> str:
    return f'sum by ({by}) (rate(kvstore_{name}_total{{instance=~"$instance"}}[$__rate_interval]))'


def _gauge(name: str) -> str:
    return f"kvstore_{name}{_OF}"


def _quantiles(name: str, *shares: float) -> tuple[tuple[str, str], ...]:
    return tuple((_QUANTILE.format(share=share, name=f"kvstore_{name}"), f"p{100 * share:g}") for share in shares)


def _stat(title: str, unit: str, query: str) -> Panel:
    return Panel(title, unit, ((query, "{{instance}}"),), 4, "stat")


PANELS = (
    _stat("Up for", "s", f"time() - process_start_time_seconds{_OF}"),
    _stat("Requests", "reqps", _rate("requests")),
    _stat("Keys", "short", f"sum by (instance) (kvstore_keys{_OF})"),
    _stat("Memory", "bytes", _gauge("memory_used_bytes")),
    _stat("Clients", "short", _gauge("clients")),
    _stat("Room on the disk", "bytes", _gauge("room_for_writes_bytes")),
    Panel("Requests", "reqps", ((_rate("commands", "command"), "{{command}}"),)),
    Panel("Time of calls, without the disk", "s", _quantiles("command_duration_seconds", 0.5, 0.99, 0.999)),
    Panel("Errors", "reqps", ((_rate("errors", "code"), "{{code}}"),)),
    Panel("Time of commits", "s", _quantiles("commit_duration_seconds", 0.5, 0.99, 0.999)),
    Panel("Commits", "ops", ((_rate("commits"), "{{instance}}"),)),
    Panel("Requests of a commit", "short", _quantiles("commit_requests", 0.5, 0.99)),
    Panel("Network", "Bps", ((_rate("network_received_bytes"), "in"), (_rate("network_sent_bytes"), "out"))),
    Panel("Clients", "short", (
        (_gauge("clients"), "connected"), (_gauge("clients_blocked"), "blocked"),
        (_gauge("clients_subscribed"), "subscribed"), (_gauge("clients_max"), "most"),
    )),
    Panel("Turned away", "ops", (
        (_rate("connections_refused"), "connections"), (_rate("clients_dropped"), "dropped"),
        (_rate("denied", "reason"), "denied: {{reason}}"),
    )),
    Panel("Memory", "bytes", (
        (_gauge("memory_used_bytes"), "allocated"), (_gauge("memory_resident_bytes"), "resident"),
        (_gauge("memory_max_bytes"), "maxmemory"),
    )),
    Panel("Files", "bytes", ((_gauge("log_bytes"), "log"), (_gauge("checkpoint_bytes"), "checkpoint"))),
    Panel("Compactions", "s", ((_gauge("compaction_duration_seconds"), "time of the last"),
                               (_gauge("compaction_running"), "running"), (_gauge("compaction_failed"), "failed"))),
    Panel("Keys that went", "ops", ((_rate("expired_keys"), "expired"), (_rate("evicted_keys"), "evicted"))),
    Panel("Reads that found their key", "percentunit", (
        (f"{_rate('keyspace_hits')} / ({_rate('keyspace_hits')} + {_rate('keyspace_misses')})", "{{instance}}"),
    )),
    Panel("Processor", "percentunit", (
        ('rate(process_cpu_seconds_total{instance=~"$instance"}[$__rate_interval])', "{{instance}}"),
    )),
    Panel("Group: who leads", "short", ((_gauge("group_leads"), "{{group}}: {{instance}}"),)),
    Panel("Group: entries behind", "short", (
        (f"max by (group) (kvstore_group_position) - on (group) group_right () {_gauge('group_position')}",
         "{{instance}}"),
    )),
    Panel("Group: the log's engine", "bytes", (
        (f"max by (group) ({_gauge('group_log_used_bytes')})", "{{group}}: used"),
        (f"max by (group) ({_gauge('group_log_quota_bytes')})", "{{group}}: quota"),
    )),
)  # fmt: skip


def expressions() -> list[str]:
    """Every query of the dashboard."""
    return [query for panel in PANELS for query, _ in panel.queries]


def text() -> str:
    """The file."""
    return json.dumps(_dashboard(), indent=1) + "\n"


def _dashboard() -> dict[str, Any]:
    return {
        "title": "kvstore", "uid": "kvstore", "tags": ["kvstore"], "schemaVersion": _SCHEMA, "version": 1,
        "editable": True, "graphTooltip": 1, "refresh": "10s", "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [_source_choice(), _instance_choice()]}, "panels": _placed(),
    }  # fmt: skip


def _source_choice() -> dict[str, Any]:
    return {"name": "source", "label": "Source", "type": "datasource", "query": "prometheus", "hide": 0}


def _instance_choice() -> dict[str, Any]:
    query = "label_values(kvstore_build_info, instance)"
    return {
        "name": "instance", "label": "Server", "type": "query", "datasource": _SOURCE, "definition": query,
        "query": {"query": query, "refId": "instance"}, "refresh": 2, "multi": True, "includeAll": True, "hide": 0,
        "current": {"text": "All", "value": "$__all"},
    }  # fmt: skip


def _placed() -> list[dict[str, Any]]:
    """The panels from left to right, and row by row."""
    placed, left, top = [], 0, 0
    for number, panel in enumerate(PANELS, 1):
        height = 4 if panel.kind == "stat" else 8
        placed.append(_panel(panel, number, {"x": left, "y": top, "w": panel.width, "h": height}))
        left += panel.width
        if left >= _COLUMNS:
            left, top = 0, top + height
    return placed


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    targets = [
        {"refId": chr(ord("A") + index), "datasource": _SOURCE, "expr": query, "legendFormat": legend}
        for index, (query, legend) in enumerate(panel.queries)
    ]
    return {
        "id": number, "type": panel.kind, "title": panel.title, "gridPos": place, "datasource": _SOURCE,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []}, "targets": targets,
    }  # fmt: skip
