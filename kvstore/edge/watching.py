"""Who watches requests execute: the trace file, and clients in MONITOR. Nothing is gathered while nobody does.

The trace is one line per request, in the order they executed, tab-separated:

    NUMBER  TIME  START  END  CLIENT  COMMIT  OUTCOME  REQUEST

NUMBER counts from 1; TIME is in seconds since the epoch; START and END are nanoseconds of a steady clock; CLIENT is
the client's number and address; COMMIT is the commit the reply waits for (for a write, the one it went into), 0 for
none; OUTCOME is `ok` or the error; REQUEST the words, shortened to what is printable. `scripts/interleaving` reads
it.
"""

from __future__ import annotations

from typing import TextIO

from kvstore.base.limits import MAX_LOGGED_BYTES
from kvstore.commands.registry import shorten
from kvstore.edge.protocol import KVStoreFactory
from kvstore.session.session import Executed

#: Words of a request that are shown.
_MOST_WORDS = 8


class Trace:
    """The trace file at `path`, appended to; what was written reaches it with `flush`. Raises OSError."""

    def __init__(self, path: str) -> None:
        self._file: TextIO = open(path, "a", encoding="ascii", errors="replace")  # noqa: SIM115: closed in `close`

    def __call__(self, executed: Executed) -> None:
        """Write one line."""
        self._file.write(trace_line(executed))

    def flush(self) -> None:
        """Hand what was written to the system."""
        self._file.flush()

    def close(self) -> None:
        """Flush and close."""
        self._file.close()


def trace_line(executed: Executed) -> str:
    """One line of the trace, with its line end."""
    words = " ".join(shorten(word, 32) for word in executed.words[:_MOST_WORDS])[:MAX_LOGGED_BYTES]
    fields = (
        executed.number, f"{executed.time_us / 1e6:.6f}", executed.started_ns, executed.ended_ns,
        f"{executed.client}@{executed.address}", executed.commit, executed.outcome[:MAX_LOGGED_BYTES], words,
    )  # fmt: skip
    return "\t".join(map(str, fields)) + "\n"


class Monitor:
    """Shows each request to the clients in MONITOR, live, as Redis words it."""

    def __init__(self, factory: KVStoreFactory) -> None:
        self._factory = factory
        self._monitors: dict[int, None] = {}

    def add(self, identity: int) -> None:
        """Show requests to this client from now on."""
        self._monitors[identity] = None
        if self not in self._factory.hooks.watchers:
            self._factory.hooks.watchers.append(self)

    def __call__(self, executed: Executed) -> None:
        """Show one request. Not to the client that sent it: its own request's reply is not out yet."""
        shown = " ".join(f'"{shorten(word)}"' for word in executed.words)
        line = f"+{executed.time_us / 1e6:.6f} [0 {executed.address}] {shown}\r\n".encode("ascii", "replace")
        for identity in list(self._monitors):
            protocol = self._factory.protocols.get(identity)
            if protocol is None or not protocol.client.monitoring:
                self._remove(identity)
            elif identity != executed.client:
                protocol.push(line)

    def _remove(self, identity: int) -> None:
        del self._monitors[identity]
        if not self._monitors:
            self._factory.hooks.watchers.remove(self)
