"""What scripts ask for, gathered while a client in MONITOR is to see it."""

from __future__ import annotations


class ScriptCalls:
    """Of the request that executes, or has just. `wanted`: whether anybody looks."""

    def __init__(self) -> None:
        self.wanted = False
        self._calls: list[tuple[int, list[bytes]]] = []

    def note(self, database: int, words: list[bytes]) -> None:
        """A script's call has executed; it leaves that database chosen."""
        self._calls.append((database, words))

    def take(self) -> list[tuple[int, list[bytes]]]:
        """All so far, each of which is told once."""
        calls, self._calls = self._calls, []
        return calls
