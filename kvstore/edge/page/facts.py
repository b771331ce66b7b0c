"""What the page has to show, in sections: plain values for the templates, gathered when somebody looks.

A section names the commands that show the same at the port: who may call all of them sees it. Nothing here looks at
more than a bounded number of clients, keys or entries, however many there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from heapq import nlargest
from itertools import islice
from statistics import fmean
from typing import Any, NamedTuple

from kvstore import __version__
from kvstore.base.limits import MAX_EXAMINED_CLIENTS, MAX_SHOWN_CLIENTS
from kvstore.commands.client import UNKNOWN, Client
from kvstore.commands.context import Call, Server
from kvstore.commands.info import fields_of
from kvstore.commands.membership import Membership
from kvstore.commands.noted_requests import RequestLog
from kvstore.commands.setting_table import ALIASES, SECRET, SETTINGS
from kvstore.edge.history import History, Series
from kvstore.edge.page.charts import chart
from kvstore.edge.page.recorder import named
from kvstore.edge.page.types import Types
from kvstore.edge.settings import Settings
from kvstore.edge.status import Sources

#: A chart is as long as so many samples at least.
_LEAST_SAMPLES = 60
#: Commands that are shown, and percentiles of how long their calls took.
_MOST_COMMANDS = 12
_PERCENTS = (50, 99, 100)
#: Requests of each log that are shown.
_MOST_NOTED = 20

#: Titles, the filters that write a value, the lines by their names, and what neighbours are put together to.
_CHARTS: tuple[tuple[str, str, dict[str, str], Callable[[Sequence[float]], float]], ...] = (
    ("Requests a second", "count", {"requests": "requests", "errors": "errors"}, max),
    ("Time of a request", "seconds", {"half within": "call_p50_s", "99 of 100 within": "call_p99_s"}, max),
    (
        "Time until a commit is on disk",
        "seconds",
        {"half within": "commit_p50_s", "99 of 100 within": "commit_p99_s"},
        max,
    ),
    ("Commits a second", "count", {"commits": "commits"}, max),
    ("Writes in a commit", "count", {"writes": "group_size"}, max),
    ("Bytes a second", "size", {"received": "received_bytes", "sent": "sent_bytes"}, max),
    ("Clients", "count", {"connected": "clients", "waiting": "blocked_clients"}, max),
    ("Memory of the process", "size", {"memory": "memory_bytes"}, fmean),
)


class NotedRequest(NamedTuple):
    """One of COMMANDLOG. `at_ms`: since the epoch. `value`: microseconds or bytes. Others: see `Recorded`."""

    at_ms: int
    value: int
    client: str
    command: str
    keys: tuple[str, ...]


class Section(NamedTuple):
    """A part of the page: of the template `name`. `needs`: see the module. `period_s`: how often it is looked at anew.

    `facts`: for the template; None: there is nothing to tell, and no such section.
    """

    name: str
    title: str
    needs: tuple[str, ...]
    period_s: int
    facts: Callable[[], dict[str, Any] | None]


def sections(sources: Sources, history: History) -> list[Section]:
    """All of them, in the order of the page. `history`: of the server."""
    server = sources.server
    call = Call(server, Client(0, "", "", server.started_ms))
    types = Types(server.store, server.random)
    return [
        Section("now", "Now", ("INFO",), 1, lambda: _now(call, sources)),
        Section("minutes", "The last minutes", ("INFO",), 5, lambda: _charts(history.seconds, 1)),
        Section("hours", "The last hours", ("INFO",), 60, lambda: _charts(history.minutes, 60)),
        Section("group", "Replication", ("INFO",), 2, lambda: _group(server)),
        Section("commits", "Commits", ("INFO",), 2, lambda: fields_of(call, "group_commit")),
        Section("disk", "Disk", ("INFO",), 2, lambda: _disk(call, sources)),
        Section("commands", "Commands", ("LATENCY|HISTOGRAM",), 5, lambda: _commands(server)),
        Section("memory", "Memory", ("INFO", "MEMORY|STATS"), 5, lambda: fields_of(call, "memory") | _types(types)),
        Section("noted", "Slow and large requests", ("COMMANDLOG|GET",), 5, lambda: _noted(server)),
        Section("clients", "Clients", ("CLIENT|LIST",), 2, lambda: _clients(server)),
        Section("settings", "Settings", ("CONFIG|GET",), 10, lambda: {"settings": _settings(server)}),
    ]


def _now(call: Call, sources: Sources) -> dict[str, Any]:
    server, store = call.server, call.store
    return {
        "requests_a_second": sources.pace.per_second,
        "received_a_second": sources.received.per_second,
        "sent_a_second": sources.sent.per_second,
        "keys": sum(len(table.values) for table in store.databases),
        "clients": len(server.clients),
        "blocked": server.blocked(),
        "up_s": (server.recent_ms - server.started_ms) // 1000,
        "version": __version__,
        "refuses_writes": store.refusals.now,
        "paused": bool(server.pause.until_ms),
        "compacts": bool(sources.compactor.due),
        "compaction_error": sources.compactor.last_error,
    }


def _charts(series: Series, step_s: int) -> dict[str, Any]:
    """Rates and times are shown by their highest, as what stands out is looked for; what is there, by its mean.

    `step_s`: what one sample of the series stands for. The chart of a young server is not as long as it will be.
    """
    columns = series.columns()
    shown = max(_LEAST_SAMPLES, len(series))
    writes = zip(columns["committed_requests"], columns["commits"], strict=True)
    columns["group_size"] = [requests / commits if commits else 0 for requests, commits in writes]
    charts = [
        chart(title, form, {name: columns[column] for name, column in lines.items()}, shown, together)
        for title, form, lines, together in _CHARTS
    ]
    return {"charts": charts, "known": len(series), "shown_s": shown * step_s}


def _group(server: Server) -> dict[str, Any] | None:
    """The replicated state: in a group this server's part; else what the section `group` of INFO says, if any."""
    if server.group is not None:
        return {"fields": _part(server.group)}
    return {"fields": dict(server.info["group"]())} if "group" in server.info else None


def _part(group: Membership) -> dict[str, Any]:
    others = (f"{each.address} {each.life.value}, entry {each.position}" for each in group.others())
    return {
        "this_server": f"{group.own} {'leads' if group.leads else 'follows'}, entry {group.position}",
        "leader": f"{group.leader or 'not known'}{'' if group.hears_leader else ', not heard of lately'}",
        "others": "; ".join(others) or "none",
        "group": group.group_name,
        "epoch": group.epoch,
    }


def _types(types: Types) -> dict[str, Any]:
    shares = types.shares()
    return {"types": shares, "is_exact": types.is_exact, "types_bytes": sum(share.size_bytes for share in shares)}


def _commands(server: Server) -> dict[str, Any]:
    """Those that took most time, with percentiles of theirs."""
    histograms = server.statistics.histograms()
    longest = nlargest(_MOST_COMMANDS, histograms, key=lambda row: histograms[row].total_ns)
    return {
        "commands": [
            (row.name.replace("|", " "), histograms[row], histograms[row].percentiles_ns(_PERCENTS)) for row in longest
        ],
        "all_ns": sum(histogram.total_ns for histogram in histograms.values()),
    }


def _noted(server: Server) -> dict[str, Any]:
    log = server.command_log
    kinds = (("slow", "us", log.slow), ("large", "size", log.large_request), ("large replies", "size", log.large_reply))
    return {"logs": [(name, form, each.threshold, _entries(each)) for name, form, each in kinds]}


def _entries(log: RequestLog) -> list[NotedRequest]:
    return [
        NotedRequest(at_s * 1000, value, name.decode("latin-1") or address, *named(words))
        for _, at_s, value, words, address, name in log.newest(_MOST_NOTED)
    ]


def _clients(server: Server) -> dict[str, Any]:
    """Those that hold most, of those that have been here longest."""
    looked_at = (_client(server, client) for client in islice(server.clients.values(), MAX_EXAMINED_CLIENTS))
    shown = nlargest(MAX_SHOWN_CLIENTS, looked_at, key=lambda row: (row["holds_bytes"], -row["identity"]))
    return {"clients": sorted(shown, key=lambda row: row["identity"]), "connected": len(server.clients)}


def _client(server: Server, client: Client) -> dict[str, Any]:
    traffic = client.traffic()
    return {
        "identity": client.identity,
        "address": client.address,
        "name": client.name.decode("latin-1"),
        "user": client.user.name.decode("utf-8", "replace"),
        "library": f"{client.library_name.decode('latin-1')} {client.library_version.decode('latin-1')}".strip(),
        "age_s": (server.recent_ms - client.connected_ms) // 1000,
        "idle_s": max(0, server.recent_ms - client.last_request_ms) // 1000,
        "command": "" if client.last_command == UNKNOWN else client.last_command.replace("|", " "),
        "doing": ", ".join(_doing(client)),
        "database": client.database,
        "resp": client.protocol,
        "unread_bytes": traffic.unread_bytes,
        "unsent_bytes": traffic.unsent_bytes,
        "holds_bytes": traffic.unread_bytes + traffic.unsent_bytes + client.queued_bytes + client.kept_bytes,
    }


def _doing(client: Client) -> Iterable[str]:
    """What a client is in the middle of, in words."""
    states = {
        "waits": client.is_blocked,
        "waits for the end of a pause": client.is_postponed,
        "subscribes": client.subscription_bytes > 0,
        "monitors": client.monitoring,
        "tracks keys": client.tracking is not None,
        "watches keys": bool(client.watching),
        "closes": client.closing,
    }
    if client.queued is not None:
        yield f"in MULTI, {len(client.queued)} queued"
    yield from (name for name, holds in states.items() if holds)


def _disk(call: Call, sources: Sources) -> dict[str, Any]:
    compactor = sources.compactor
    return fields_of(call, "persistence") | {
        "compacts": bool(compactor.due),
        "compacted_ms": compactor.last_finished_ms,
        "compacted_s": compactor.last_seconds,
        "compaction_error": compactor.last_error,
        "refusal": call.store.refusals.reason if call.store.refusals.now else "",
    }


def _settings(server: Server) -> list[tuple[str, str, str]]:
    """Name, value and default of the settings that are not as they are without any option or CONFIG SET; of a secret
    only that it is set.
    """
    default = {name: row.default for name, row in SETTINGS.items()} | Settings(data_path="").as_config()
    found = []
    for name, value in server.configuration.matching([b"*"]).items():
        if name not in ALIASES and value != default.get(name, ""):
            found.append((name, "(set)" if name in SECRET else value, default.get(name, "")))
    return found
