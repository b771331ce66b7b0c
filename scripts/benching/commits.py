"""How kvstore's writes were grouped during a turn, from what INFO counts: Valkey does not tell."""

from __future__ import annotations

from scripts.benching.case import KVSTORE, Measures
from scripts.measuring.servers import MeasuredServer


class CommitCounters:
    """The counters of one server; read between turns, never in one. Of another server than kvstore nothing is found."""

    def __init__(self, server: MeasuredServer) -> None:
        self._server = server
        self._before: tuple[float, float, float] | None = None

    def begin(self) -> None:
        """Note what has been counted so far."""
        self._before = self._read()

    def measures(self) -> Measures:
        """What was counted since: commits, requests in one, and microseconds that one took to be written and synced.
        Nothing if nothing was committed.
        """
        after = self._read()
        if self._before is None or after is None:
            return {}
        commits, requests, microseconds = (now - then for now, then in zip(after, self._before, strict=True))
        if not commits:
            return {}
        return {"commits": commits, "requests_per_commit": requests / commits, "commit_us": microseconds / commits}

    def _read(self) -> tuple[float, float, float] | None:
        """Commits, requests in them, and microseconds that they took."""
        if self._server.name != KVSTORE:
            return None
        info = self._server.info()
        if not {"commits", "committed_requests", "microseconds_per_commit"} <= info.keys():
            return None
        commits = float(info["commits"])
        return commits, float(info["committed_requests"]), commits * float(info["microseconds_per_commit"])
