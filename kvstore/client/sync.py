"""The blocking client: one connection, one request at a time, and no failure of the network that the caller would see.

When the look-up, the connection or the sending fails, or the other side keeps us waiting for too long (`patience`), it
says so in a line on stderr, pauses 1, 2, 4, ... seconds (16 at most), connects anew, by way of the catalog if the
target is a project, and repeats the request, until it succeeds or its deadline is over. What may be repeated, and what
a reply means, is in `exchange`.

A connection that is given up is reset, not closed, so that the part of a request that is still in our kernel does not
arrive after its repetition. After an exception in mid-request (Ctrl-C, say) the connection is given up too, since its
reply is still to come.

**Threads** take turns: a lock is held for the whole of a request, its repetitions included, so a request that waits
for the server to come back keeps the others waiting, as each of them would have to; a deadline counts while one waits
for one's turn. Rejected: an error for the second thread (programs would put a lock there themselves), a connection for
each thread (a server's `--max-clients` is not the caller's to spend; who wants more at once makes more clients).
A request made from within another one of the same thread (a signal handler, `report`) would wait for ever: an error.

**A fork** copies the client into the child, and with it the connection: both would read each other's replies. So the
child closes its copy of the descriptor, as its first act (os.register_at_fork), whatever the parent's threads were
doing, and has a lock of its own, and ids that no other process uses. The parent notices nothing. A child that was
forked in the middle of a request repeats it. Rejected: comparing os.getpid() at each call. It is too late in the
middle of a request, and until then the parent's reset of a connection would not be one, for the child holds it open.
"""

from __future__ import annotations

import math
import os
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, Final

from kvstore.base.address import catalog_address
from kvstore.base.closing import Closing
from kvstore.base.limits import MAX_READ_REPLY_BYTES
from kvstore.client.certificates import tls_context
from kvstore.client.endpoint import Endpoint, Several, parse_target, servers_of, speaks_tls
from kvstore.client.exchange import (
    REPLY_TIMEOUT_SECONDS,
    DeadlineExceeded,
    Pauses,
    decode_reply,
    encode_request,
    outcome,
    report_on_stderr,
)
from kvstore.client.patience import Patience
from kvstore.client.stream import Stream
from kvstore.client.target import find_server

#: Ids of a forked process begin at its number times this.
_IDS_OF_A_PROCESS: Final = 2**32


class Client(Closing):
    """A table on a server, for programs that block. Connects at the first request.

    `target`: HOST:PORT (several, with commas, of a group), unix:PATH, the name of a project to look up in the catalog,
    or tls: and one of these but a path (`kvstore.client.endpoint` has the notation). `catalog`: HOST:PORT of the
    catalog; None means the environment's KVSTORE_CATALOG, or the default. `ca_file`: for tls:, a file of certificates
    (PEM) to trust; None means those that the system trusts. `cert_file`: for tls:, a file of the client's own
    certificate and its private key (PEM), for a server with --tls-client-ca. `timeout_seconds`: silence after which a
    request is repeated. `deadline_seconds`: for each request; None means that it goes on until it succeeds.
    `max_reply_bytes`: a longer reply is not read. `sleep`, `clock`: make the pauses and tell the time. `report`: is
    given the lines about failures, one at a time. Raises ValueError for a mistyped address, OSError, with advice, for
    a `ca_file` or `cert_file` that is of no use.

    **Errors.** All requests raise ValueError if the server finds them invalid (and TypeError if an argument cannot be
    JSON), RequestRefused if it cannot do them now. They do not raise for want of a server, nor for one that answers
    nonsense: each failed attempt is one line for `report`, which writes it on stderr, and after a pause (1, 2, 4, ...
    at most 16 seconds) the request is repeated, which every verb allows. When one has returned, what it did is on the
    server's disk, if that syncs as it does by default.

    **Time.** Without a deadline a request waits for its server for ever. With one, the client's or that of a single
    call (`client.lookup(key, deadline_seconds=2)`; math.inf: none), it raises DeadlineExceeded, a TimeoutError, when
    the time is over: the request may or may not have been done then (`may_be_done`), and may be made again. Only the
    system's resolver of host names keeps to its own time.

    **Threads** may share a client. They take turns, one request at a time, so one that is being repeated keeps the
    others waiting, to the end of their deadlines if they have one. For requests at the same time make several clients.
    A request from within another of the same thread (from a signal handler, from `report`) raises RuntimeError.

    **Forks** (multiprocessing, preloading web servers): a client made before a fork may be used on both sides. The
    child connects anew and leaves the parent's connection alone. A client that is pickled or copied is a new one.
    """

    def __init__(
        self,
        target: str,
        *,
        catalog: str | None = None,
        ca_file: str | None = None,
        cert_file: str | None = None,
        timeout_seconds: float = REPLY_TIMEOUT_SECONDS,
        deadline_seconds: float | None = None,
        max_reply_bytes: int = MAX_READ_REPLY_BYTES,
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        report: Callable[[str], object] = report_on_stderr,
    ) -> None:
        self.target = target
        self._meant = parse_target(target, ca_file, cert_file)
        self._catalog = str(catalog_address(catalog))
        self._files = ca_file, cert_file
        self._timeout_seconds = timeout_seconds
        self._deadline_seconds = deadline_seconds
        self._max_reply_bytes = max_reply_bytes
        self._sleep = sleep
        self._clock = clock
        self._report = report
        self._serial = 0
        self._sent = False
        #: How many times a request had to be repeated so far; each made one line on stderr.
        self.retries = 0
        self._tls = tls_context(ca_file, cert_file) if speaks_tls(self._meant) else None
        self._start_afresh()

    def _start_afresh(self) -> None:
        """Make what no two clients may share, nor two processes."""
        self._stream: Stream | None = None
        self._turns = _Turns()
        self._pauses = Pauses(servers_of(self._meant))
        _clients.add(self)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_stream": None, "_turns": None, "_tls": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._tls = tls_context(*self._files) if speaks_tls(self._meant) else None
        self._start_afresh()

    def insert(self, key: str, value: Any, *, deadline_seconds: float | None = None) -> None:
        """Store a document under a key, in place of the one there may be. `value`: anything that `json.dumps` takes."""
        self._request("insert", key, {"key": key, "value": value}, deadline_seconds)

    def lookup(self, key: str, *, deadline_seconds: float | None = None) -> Any:
        """The document under a key. Raises KeyError if there is none, RequestRefused if what is there is not JSON."""
        return self._request("lookup", key, {"key": key}, deadline_seconds)

    def remove(self, key: str, *, deadline_seconds: float | None = None) -> None:
        """Remove a key and its document. Raises KeyError if there is none (see `exchange` about repeated attempts)."""
        self._request("remove", key, {"key": key}, deadline_seconds)

    def size(self, *, deadline_seconds: float | None = None) -> int:
        """The number of keys."""
        number: int = self._request("size", None, {}, deadline_seconds)
        return number

    def query(self, subkey: str, subvalue: Any, *, deadline_seconds: float | None = None) -> list[list[Any]]:
        """The [key, document] pairs whose document is an object with `subkey` equal to `subvalue`, in no stated order.

        `subvalue`: a string, number, bool or None; True is not 1, and 1 equals 1.0.
        """
        arguments = {"subkey": subkey, "subvalue": subvalue}
        pairs: list[list[Any]] = self._request("query", None, arguments, deadline_seconds)
        return pairs

    def close(self) -> None:
        """Close the connection, if there is one, after the request that another thread may be in the middle of. The
        next request would open another.
        """
        turns = self._turns
        if turns.mine():  # from within a request: what is under way fails, and connects anew
            self._give_up_connection()
            return
        turns.take(math.inf)
        try:
            stream, self._stream = self._stream, None
            if stream is not None:
                stream.close()
        finally:
            turns.give()

    def __repr__(self) -> str:
        return f"<Client of {self.target}{' (connected)' if self._stream else ''}>"

    def _request(self, method: str, key: str | None, arguments: dict[str, Any], seconds: float | None) -> Any:
        deadline = _Deadline(method, self.target, self._deadline_seconds if seconds is None else seconds, self._clock)
        turns = self._turns
        if turns.mine():
            raise RuntimeError(f"this thread is in the middle of another request to {self.target}; use another client")
        if not turns.take(deadline.left()):
            raise deadline.exceeded(may_be_done=False)
        try:
            self._serial += 1
            return self._repeat(self._serial, method, key, arguments, deadline)
        finally:
            turns.give()

    def _repeat(self, serial: int, method: str, key: str | None, arguments: dict[str, Any], deadline: _Deadline) -> Any:
        line = encode_request(serial, method, arguments)
        repeated = False
        while True:
            try:
                reply = self._attempt(line, serial, method, deadline.at)
            except OSError as error:
                repeated = repeated or self._sent
                self._pause(error, deadline, repeated)
            else:
                self._pauses.reset()
                return outcome(reply, method, key, repeated)

    def _attempt(self, line: bytes, serial: int, method: str, deadline: float) -> dict[str, Any]:
        """One attempt of a request. Sets `_sent` once the whole of it has left: from then on it may be done."""
        self._sent = False
        try:
            patience = Patience(self._timeout_seconds, self._clock, deadline)
            stream = self._stream
            if stream is None:
                stream = self._stream = Stream(self._locate(patience), patience, self._tls)
                patience.renew()
            stream.send(line, patience)
            self._sent = True
            patience.renew()
            return decode_reply(stream.receive_until(b"\n", self._max_reply_bytes, patience), serial, method)
        except BaseException:
            self._give_up_connection()
            raise

    def _locate(self, patience: Patience) -> Endpoint:
        if isinstance(self._meant, Endpoint):
            return self._meant
        if isinstance(self._meant, Several):
            return self._meant.endpoints[self._pauses.failed % len(self._meant.endpoints)]
        return Endpoint(find_server(self._meant.name, self._catalog, patience.left()), self._meant.tls)

    def _give_up_connection(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.reset()

    def _pause(self, error: OSError, deadline: _Deadline, may_be_done: bool) -> None:
        """Say what went wrong and wait before the next attempt; if there is no time left for one, to the deadline."""
        seconds = self._pauses.next()
        self.retries += 1
        if deadline.left() > seconds:
            self._report(f"{_reason(error)}; trying {self.target} again in {seconds} s")
            self._sleep(seconds)
        else:
            self._sleep(max(0.0, deadline.left()))
            raise deadline.exceeded(may_be_done) from error

    def _forked(self) -> None:
        """For the new process: give back the parent's connection, and be a client of one's own."""
        if self._stream is not None:
            self._stream.close()
        self._start_afresh()
        self._serial += os.getpid() * _IDS_OF_A_PROCESS


class _Deadline:
    """When a request is to end. `at`: on the clock; infinite if it has no deadline."""

    def __init__(self, method: str, target: str, seconds: float | None, clock: Callable[[], float]) -> None:
        self._method = method
        self._target = target
        self._seconds = math.inf if seconds is None else seconds
        self._clock = clock
        self.at = math.inf if seconds is None else clock() + seconds

    def left(self) -> float:
        """Seconds until then; 0 or less if it is over."""
        return self.at - self._clock() if self.at < math.inf else math.inf

    def exceeded(self, may_be_done: bool) -> DeadlineExceeded:
        """What to raise then."""
        return DeadlineExceeded(self._method, self._seconds, self._target, may_be_done)


class _Turns:
    """The lock by which threads take turns; who holds it is known, so that one is not made to wait for oneself."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holder: int | None = None

    def mine(self) -> bool:
        """Whether the thread that asks has its turn now."""
        return self._holder == threading.get_ident()

    def take(self, seconds: float) -> bool:
        """Wait for a turn, for so long at most. Returns whether one has it."""
        took = self._lock.acquire(timeout=-1 if seconds > threading.TIMEOUT_MAX else max(0.0, seconds))
        if took:
            self._holder = threading.get_ident()
        return took

    def give(self) -> None:
        """End one's turn."""
        self._holder = None
        self._lock.release()


_clients: weakref.WeakSet[Client] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for client in list(_clients):
        client._forked()


os.register_at_fork(after_in_child=_after_fork_in_child)


def _reason(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__
