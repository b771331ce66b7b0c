"""The requests that COMMANDLOG shows: the newest that took long, were large or had a large reply, in memory, cut as
Redis cuts them.

While only what is large is noted, as at first, that costs nothing: a request of LARGE_BYTES comes in several parts, and
a reply as `Pieces`, so that nobody has to look at the others. For what took long, or is smaller than that, each request
has to be looked at (`watches`), and those that name keys lose their quick ways meanwhile.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import Any

from kvstore.base.limits import LARGE_BYTES, MAX_LOGGED_BYTES
from kvstore.commands.client import Client
from kvstore.commands.configuration import Configuration
from kvstore.commands.passwords import without_passwords

#: Words of a request that are kept. Redis: COMMANDLOG_ENTRY_MAX_ARGC.
_MOST_WORDS = 32
_NEVER = 2**63


class RequestLog:
    """One of the logs. `configuration`: says from what on a request is noted, and how many are kept, by these names.

    `threshold`: the first as a number; below 0: nothing is noted. `noted`: how many there were.
    """

    def __init__(self, configuration: Configuration, threshold: str, most: str) -> None:
        self._configuration = configuration
        self._most = most
        self.threshold_name = threshold
        self.threshold = configuration.number(threshold)
        self.noted = 0
        self._entries: deque[list[Any]] = deque()

    def __len__(self) -> int:
        self._trim()
        return len(self._entries)

    def note(self, client: Client, words: list[bytes], value: int, at_s: int) -> None:
        """A request was executed: keep it if `value`, microseconds or bytes, is enough. `at_s`: since the epoch."""
        if not 0 <= self.threshold <= value or not self._configuration.number(self._most):
            return
        self._entries.appendleft([self.noted, at_s, value, _cut(words), client.address, client.name])
        self.noted += 1
        self._trim()

    def newest(self, count: int) -> list[list[Any]]:
        """So many, the newest first, all for -1: number, time, value, words, address, name of the client."""
        self._trim()
        return list(self._entries if count < 0 else islice(self._entries, count))

    def clear(self) -> None:
        """Forget all; numbers go on."""
        self._entries.clear()

    def _trim(self) -> None:
        most = self._configuration.number(self._most)
        while len(self._entries) > most:
            self._entries.pop()


class CommandLog:
    """All three of them, see the module. `now_ms`: the wall clock.

    `watches`: whether each request is to be looked at; `watched`: called with it when it may have changed.
    `request_bytes`, `reply_bytes`: from what on one is noted, by who comes across what is large, while it is not.
    """

    def __init__(self, configuration: Configuration, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self.slow = RequestLog(configuration, "commandlog-execution-slower-than", "commandlog-slow-execution-max-len")
        self.large_request = RequestLog(
            configuration, "commandlog-request-larger-than", "commandlog-large-request-max-len"
        )
        self.large_reply = RequestLog(configuration, "commandlog-reply-larger-than", "commandlog-large-reply-max-len")
        self.by_type = {b"slow": self.slow, b"large-request": self.large_request, b"large-reply": self.large_reply}
        self.watched: Callable[[bool], None] = lambda watches: None
        for log in self.by_type.values():
            configuration.obey(log.threshold_name, partial(self._set, log))

    def _set(self, log: RequestLog, threshold: str) -> None:
        log.threshold = int(threshold)
        of_sizes = (self.large_request.threshold, self.large_reply.threshold)
        self.watches = self.slow.threshold >= 0 or any(0 <= each < LARGE_BYTES for each in of_sizes)
        self.request_bytes, self.reply_bytes = (each if each >= LARGE_BYTES else _NEVER for each in of_sizes)
        self.watched(self.watches)

    def executed(self, client: Client, words: list[bytes], took_us: int, reply_bytes: int) -> None:
        """A request was executed, of one of those who are looked at, or in slices."""
        at_s = self._now_ms() // 1000
        self.slow.note(client, words, took_us, at_s)
        if self.watches:
            self.large_request.note(client, words, request_bytes(words), at_s)
        self.large_reply.note(client, words, reply_bytes, at_s)

    def replied(self, client: Client, words: list[bytes], reply_bytes: int) -> None:
        """A request that nobody looked at has a large reply."""
        if not self.watches:
            self.large_reply.note(client, words, reply_bytes, self._now_ms() // 1000)

    def received(self, client: Client, words: list[bytes], size_bytes: int) -> None:
        """A large request has come, which nobody may look at."""
        if not self.watches:
            self.large_request.note(client, words, size_bytes, self._now_ms() // 1000)


def request_bytes(words: list[bytes]) -> int:
    """How long a request is in RESP."""
    lengths = list(map(len, words))
    digits = sum(len(str(length)) for length in (len(words), *lengths))
    return sum(lengths) + digits + len(b"*\r\n") + len(b"$\r\n\r\n") * len(words)


def _cut(words: list[bytes]) -> list[bytes]:
    more = len(words) - _MOST_WORDS
    kept = [_cut_word(word) for word in without_passwords(words if more <= 0 else words[: _MOST_WORDS - 1])]
    return kept if more <= 0 else [*kept, b"... (%d more arguments)" % (more + 1)]


def _cut_word(word: bytes) -> bytes:
    more = len(word) - MAX_LOGGED_BYTES
    return word if more <= 0 else word[:MAX_LOGGED_BYTES] + b"... (%d more bytes)" % more
