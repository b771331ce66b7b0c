r"""The trace (--trace): one line per request, in the order they executed, of fields between tabs:

    NUMBER  TIME  START  END  CLIENT  COMMIT  KIND  OUTCOME  REQUEST

NUMBER counts from 1; TIME is in seconds since the epoch; START and END are nanoseconds of a steady clock; CLIENT is
the client's number and address, `7@127.0.0.1:50712`; COMMIT is the commit that the reply waits for (for a write, the
one it went into), 0 for none; KIND is `write`, `read`, `block` (EXEC, which may be either) or `other`; OUTCOME is
`ok` or the error; REQUEST is the words, as MONITOR shows them, shortened. A request inside MULTI has a line when it
is queued, with commit 0; the block executes in the line of its EXEC. A request that is executed in slices has its line
when the first one executed, its place in the order: END is the end of that one, and OUTCOME is `ok` so far.

A client that connects, and one that is gone, has a line, too, before its first request and after its last: KIND is
`connect` or `disconnect`, NUMBER that of the last request so far (of anybody), START and END are when, COMMIT is 0,
REQUEST is `""`, and OUTCOME is `ok`, or how the connection broke. Who is connected when the server ends has no second
one.

Each start of a server appends a line that begins with `#`, and numbers from 1 again; to a file that does not begin with
such a line it appends nothing, and the start is refused. Every line is handed to the
system at once (it costs 1 µs): a trace that ends with kill -9 ends with the last request that executed. A trace that
cannot be written, on a full disk say, ends there, with a line in the log; the server goes on. `scripts/interleaving`
reads it.

Of a request with passwords, which are `(redacted)`, an error is told by its code alone.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from time import perf_counter_ns

from twisted.logger import Logger

from kvstore.base.limits import MAX_LOGGED_BYTES
from kvstore.commands.client import Client
from kvstore.commands.passwords import has_passwords
from kvstore.edge.request_line import escaped, kind_of, shown
from kvstore.session.hooks import Executed

_log = Logger()

#: Begins each server's part of a trace. The number is the version of the format.
TRACE_HEADING = "# kvstore trace 2: number time_s start_ns end_ns client commit kind outcome request"

#: Most characters of one word that the trace shows.
_TRACED_WORD = 32


class Trace:
    """The trace file at `path`, appended to. Raises OSError if it cannot be opened or written to, or holds something
    else: a line at the end of another server's log would be damage to it.

    `now_us`, `steady_ns`: the clocks for clients that come and go, those by which requests are timed.
    """

    def __init__(
        self,
        path: str,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
        steady_ns: Callable[[], int] = perf_counter_ns,
    ) -> None:
        if _holds_something_else(path):
            raise FileExistsError(errno.EEXIST, "what it holds is no trace", path)
        # Not blocking: behind the name there could be a pipe whose reader is slow, and everybody would wait for it.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        self._path = path
        self._now_us = now_us
        self._steady_ns = steady_ns
        self._number = 0
        self._descriptor = os.open(path, flags, 0o640)
        # The part before may have ended in the middle of a line.
        self._write(("\n" if os.fstat(self._descriptor).st_size else "") + TRACE_HEADING + "\n")

    def __call__(self, executed: Executed) -> None:
        """Write one line. Raises nothing: the client's request is not to blame if it cannot be written."""
        self._append(trace_line(executed))
        self._number = executed.number

    def came(self, client: Client) -> None:
        """See `Door`. Raises nothing, either."""
        self._note("connect", client, "ok")

    def left(self, client: Client, how: str) -> None:
        """See `Door`. Raises nothing, either."""
        self._note("disconnect", client, how)

    def _note(self, kind: str, client: Client, outcome: str) -> None:
        at_ns = self._steady_ns()
        self._append(_line(
            self._number, self._now_us(), at_ns, at_ns, client.identity, client.address, 0, kind, outcome, '""'
        ))  # fmt: skip

    def _append(self, line: str) -> None:
        if self._descriptor < 0:
            return
        try:
            self._write(line)
        except OSError as error:
            _log.error(
                "the trace {path} ends with request {number}: {error}; the server goes on without it",
                path=self._path, number=self._number, error=error.strerror,
            )  # fmt: skip
            self.close()

    def _write(self, line: str) -> None:
        data = line.encode("ascii")
        written = os.write(self._descriptor, data)
        while written < len(data):  # the disk is nearly full: the rest raises
            written += os.write(self._descriptor, data[written:])

    def close(self) -> None:
        """Close the file. Further requests are not written; closing twice is allowed."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _holds_something_else(path: str) -> bool:
    """Whether `path` is a file with something in it that does not begin as a trace does."""
    beginning = b"# kvstore trace "  # of any version: each part of a file has its own
    if not os.path.isfile(path):
        return False
    with open(path, "rb") as file:
        found = file.read(len(beginning))
    return found not in (b"", beginning)


def trace_line(executed: Executed) -> str:
    """One line of the trace for a request, with its line end; ASCII."""
    return _line(
        executed.number, executed.time_us, executed.started_ns, executed.ended_ns, executed.client, executed.address,
        executed.commit, kind_of(executed.words), _told_outcome(executed),
        shown(executed.words, MAX_LOGGED_BYTES, _TRACED_WORD),
    )  # fmt: skip


def _told_outcome(executed: Executed) -> str:
    """What came of a request; of one with passwords, which the text of an error may repeat, only the error's code."""
    return executed.outcome.split(" ", 1)[0] if has_passwords(executed.words) else executed.outcome


def _line(
    number: int, time_us: int, started_ns: int, ended_ns: int, client: int, address: str, commit: int, kind: str,
    outcome: str, request: str,
) -> str:  # fmt: skip
    how = escaped(outcome.encode("utf-8", "surrogatepass")[:MAX_LOGGED_BYTES])
    who = f"{client}@{escaped(address.encode('utf-8', 'surrogatepass'))}"
    fields = (number, f"{time_us / 1e6:.6f}", started_ns, ended_ns, who, commit, kind, how, request)
    return "\t".join(map(str, fields)) + "\n"
