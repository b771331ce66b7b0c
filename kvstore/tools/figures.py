"""What a running server says of itself, as figures: what `kvstore top` shows, and gives to programs as JSON.

A sample is what INFO, CLIENT LIST, SLOWLOG and LATENCY answer at one moment. Rates are the difference of two samples,
by the time between them; without an earlier one they are null. What the user may not ask for is left out, and why is
in `refused`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from kvstore.client.raw import RawConnection, resp_request
from kvstore.tools.words import readable

#: Slow requests asked for, and characters of one that are kept.
_SLOW = 30
_MOST_SLOW_BYTES = 60
_MOST_NAME_BYTES = 60

#: Not everything: that takes a server longer.
_SECTIONS = (
    "server", "clients", "memory", "persistence", "stats", "group_commit", "commandstats", "latencystats", "keyspace",
)  # fmt: skip

#: What is asked for, by its name in `refused`: INFO always.
_QUESTIONS: dict[str, tuple[str, ...]] = {
    "info": ("INFO", *_SECTIONS),
    "clients": ("CLIENT", "LIST"),
    "slow": ("SLOWLOG", "GET", str(_SLOW)),
    "latency": ("LATENCY", "LATEST"),
}


class Sample(NamedTuple):
    """Answers, by the names of the questions, and when they came, in seconds of a steady clock."""

    at_s: float
    answers: dict[str, Any]
    refused: dict[str, str]

    @property
    def info(self) -> dict[str, str]:
        """All fields of INFO."""
        lines = self.answers.get("info", b"").decode("utf-8", "replace").splitlines()
        return dict(line.partition(":")[::2] for line in lines if ":" in line)


def ask(connection: RawConnection, wanted: tuple[str, ...] = tuple(_QUESTIONS)) -> Sample:
    """Ask a server for what is `wanted`. Raises OSError if it does not answer, ValueError if that is no RESP."""
    connection.send(b"".join(resp_request(*_QUESTIONS[name]) for name in wanted))
    replies = {name: connection.resp() for name in wanted}
    refused = {name: reply[1:] for name, reply in replies.items() if isinstance(reply, str)}
    return Sample(time.monotonic(), {name: each for name, each in replies.items() if name not in refused}, refused)


def compare(before: Sample | None, now: Sample) -> dict[str, Any]:
    """All figures: of now, and by how much they grow a second."""
    info, rate = now.info, _Rates(before, now)
    commits, keys = rate.grown("commits"), list(_databases(info))
    return {
        "server": {
            "version": info.get("kvstore_version", ""), "uptime_s": _number(info, "uptime_in_seconds"),
            "process": _number(info, "process_id"), "sync": info.get("sync_policy", ""),
        },
        "rates": {
            "requests": rate("total_commands_processed"), "errors": rate("total_error_replies"),
            "received_bytes": rate("total_net_input_bytes"), "sent_bytes": rate("total_net_output_bytes"),
            "connections": rate("total_connections_received"), "expired_keys": rate("expired_keys"),
            "evicted_keys": rate("evicted_keys"), "hit_share": rate.share("keyspace_hits", "keyspace_misses"),
        },
        "commits": {
            "per_second": rate("commits"),
            "requests_each": _divided(rate.grown("committed_requests"), commits),
            "seconds_each": _divided(rate.grown("commit_usec_total"), commits, 1e-6),
            "largest_group": _number(info, "largest_group"), "newest": _number(info, "last_commit"),
            "durable": _number(info, "durable_commit"),
        },
        "keys": {
            "all": sum(count for _, count, _ in keys), "with_deadline": sum(expires for *_, expires in keys),
            "databases": {number: count for number, count, _ in keys},
        },
        "memory": {
            "used_bytes": _number(info, "used_memory"), "resident_bytes": _number(info, "used_memory_rss"),
            "peak_bytes": _number(info, "used_memory_peak"), "max_bytes": _number(info, "maxmemory"),
            "policy": info.get("maxmemory_policy", ""),
        },
        "files": {
            "log_bytes": _number(info, "log_bytes"), "checkpoint_bytes": _number(info, "checkpoint_bytes"),
            "room_bytes": _number(info, "room_for_writes_bytes"), "compactions": _number(info, "compactions"),
            "compacting": info.get("compaction_in_progress") == "1",
            "last_compaction_s": float(info.get("last_compaction_seconds", 0)),
            "last_compaction_error": info.get("last_compaction_error", "none").replace("none", ""),
            "full": info.get("writes_refused_now") == "1",
        },
        "connections": {
            "now": _number(info, "connected_clients"), "most": _number(info, "maxclients"),
            "blocked": _number(info, "blocked_clients"), "subscribed": _number(info, "pubsub_clients"),
            "refused": _number(info, "rejected_connections"),
        },
        "commands": list(_commands(rate, info)),
        "clients": list(_clients(rate, now)),
        "slow": list(_slow(now)),
        "latency": list(_latency(now)),
        "refused": now.refused,
    }  # fmt: skip


class _Rates:
    """What grew between two samples, and how fast."""

    def __init__(self, before: Sample | None, now: Sample) -> None:
        self.before = before
        self._then, self._now = before.info if before else {}, now.info
        self._passed_s = max(now.at_s - before.at_s, 1e-3) if before else 0.0

    def grown(self, field: str) -> float | None:
        """By how much; nothing, if the counter was set back. None if there is no earlier sample."""
        return self.difference(_number(self._then, field), _number(self._now, field)) if self.before else None

    def difference(self, before: float, now: float) -> float:
        """Of one counter."""
        return max(0, now - before)

    def __call__(self, field: str) -> float | None:
        return self.per_second(self.grown(field))

    def per_second(self, grown: float | None) -> float | None:
        """A rate."""
        return None if grown is None or not self.before else grown / self._passed_s

    def share(self, part: str, rest: str) -> float | None:
        """Of what grew, that part; None if nothing did."""
        parts, others = self.grown(part), self.grown(rest)
        return None if parts is None or others is None or not parts + others else parts / (parts + others)

    def fields_then(self, name: str) -> dict[str, str]:
        """What a field of INFO that has fields of its own was."""
        return _inner(self._then.get(name, ""))


def _commands(rate: _Rates, info: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Of each command that was called: calls, failures, the time it takes, and its part of a second."""
    for name in (field for field in info if field.startswith("cmdstat_")):
        now, then = _inner(info[name]), rate.fields_then(name)
        calls, spent_us, failed = (
            rate.difference(float(then.get(key, 0)), float(now.get(key, 0))) if rate.before else None
            for key in ("calls", "usec", "failed_calls")
        )
        percentiles = _inner(info.get(f"latency_percentiles_usec_{name.removeprefix('cmdstat_')}", ""))
        yield {
            "name": name.removeprefix("cmdstat_"),
            "calls": int(now.get("calls", 0)),
            "per_second": rate.per_second(calls),
            "failures_per_second": rate.per_second(failed),
            "busy_share": _divided(rate.per_second(spent_us), 1.0, 1e-6),
            "seconds_each": _divided(spent_us, calls, 1e-6) if calls else float(now.get("usec_per_call", 0)) / 1e6,
            "p99_s": float(percentiles["p99"]) / 1e6 if "p99" in percentiles else None,
        }


def _clients(rate: _Rates, now: Sample) -> Iterator[dict[str, Any]]:
    earlier = {client["id"]: client for client in _client_lines(rate.before)} if rate.before else {}
    for client in _client_lines(now):
        then = earlier.get(client["id"], {})
        received, sent = (
            rate.per_second(rate.difference(_number(then, key), _number(client, key))) if rate.before else None
            for key in ("tot-net-in", "tot-net-out")
        )
        yield {
            "id": _number(client, "id"), "address": client.get("addr", ""), "name": client.get("name", ""),
            "user": client.get("user", ""), "database": _number(client, "db"), "age_s": _number(client, "age"),
            "idle_s": _number(client, "idle"), "flags": client.get("flags", ""), "command": client.get("cmd", ""),
            "unread_bytes": _number(client, "qbuf"), "unsent_bytes": _number(client, "omem"),
            "received_bytes": received, "sent_bytes": sent,
        }  # fmt: skip


def _client_lines(sample: Sample) -> list[dict[str, str]]:
    lines = sample.answers.get("clients", b"").splitlines()
    return [dict(readable(word, _MOST_NAME_BYTES).partition("=")[::2] for word in line.split()) for line in lines]


def _slow(now: Sample) -> Iterator[dict[str, Any]]:
    for number, at_s, took_us, words, address, *_ in now.answers.get("slow") or ():
        text = " ".join(readable(word, _MOST_SLOW_BYTES) for word in words)
        yield {"number": number, "at": at_s, "seconds": took_us / 1e6, "request": text, "address": address.decode()}


def _latency(now: Sample) -> Iterator[dict[str, Any]]:
    for event, at_s, newest_ms, longest_ms, *_ in now.answers.get("latency") or ():
        yield {"event": event.decode(), "at": at_s, "newest_s": newest_ms / 1e3, "longest_s": longest_ms / 1e3}


def _databases(info: dict[str, str]) -> Iterator[tuple[str, int, int]]:
    """Number, keys and keys with a deadline of each that has any."""
    for field, value in info.items():
        if field.startswith("db") and field[2:].isdecimal():
            inner = _inner(value)
            yield field[2:], int(inner.get("keys", 0)), int(inner.get("expires", 0))


def _inner(text: str) -> dict[str, str]:
    """`a=1,b=2`."""
    return dict(part.partition("=")[::2] for part in text.split(",") if part)


def _number(fields: dict[str, str], name: str) -> int:
    text = fields.get(name, "")
    return int(text) if text.lstrip("-").isdecimal() else 0


def _divided(number: float | None, by: float | None, factor: float = 1.0) -> float | None:
    return None if number is None or not by else number / by * factor
