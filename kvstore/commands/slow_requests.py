"""The requests that SLOWLOG shows: the newest that took long, in memory, cut as Redis cuts them."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import Any

from kvstore.base.limits import MAX_LOGGED_BYTES
from kvstore.commands.client import Client
from kvstore.commands.configuration import Configuration
from kvstore.commands.passwords import without_passwords

#: Words of a request that are kept. Redis: SLOWLOG_ENTRY_MAX_ARGC.
_MOST_WORDS = 32


class SlowLog:
    """See the module. `configuration`: says what is slow, and how many are kept."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        #: Whether requests are timed for it.
        self.is_on = False
        self._entries: deque[list[Any]] = deque()
        self._next = 0

    def __len__(self) -> int:
        self._trim()
        return len(self._entries)

    @property
    def noted(self) -> int:
        """How many slow requests there were."""
        return self._next

    def note(self, client: Client, words: list[bytes], took_us: int, at_s: int) -> None:
        """A request was executed: keep it if it was slow. `at_s`: seconds since the epoch."""
        setting = self._configuration.number
        if took_us < setting("slowlog-log-slower-than") or not setting("slowlog-max-len"):
            return
        self._entries.appendleft([self._next, at_s, took_us, _cut(words), client.address, client.name])
        self._next += 1
        self._trim()

    def newest(self, count: int) -> list[list[Any]]:
        """So many, the newest first, all for -1: number, time, microseconds, words, address, name of the client."""
        self._trim()
        return list(self._entries if count < 0 else islice(self._entries, count))

    def clear(self) -> None:
        """Forget all; numbers go on."""
        self._entries.clear()

    def _trim(self) -> None:
        most = self._configuration.number("slowlog-max-len")
        while len(self._entries) > most:
            self._entries.pop()


def _cut(words: list[bytes]) -> list[bytes]:
    more = len(words) - _MOST_WORDS
    kept = [_cut_word(word) for word in without_passwords(words if more <= 0 else words[: _MOST_WORDS - 1])]
    return kept if more <= 0 else [*kept, b"... (%d more arguments)" % (more + 1)]


def _cut_word(word: bytes) -> bytes:
    more = len(word) - MAX_LOGGED_BYTES
    return word if more <= 0 else word[:MAX_LOGGED_BYTES] + b"... (%d more bytes)" % more
