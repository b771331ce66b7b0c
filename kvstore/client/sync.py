"""The blocking client: one connection, one request at a time, and no failure of the network that the caller would see.

When the look-up, the connection or the sending fails, or there is silence for five seconds, it says so in a line on
stderr, pauses 1, 2, 4, ... seconds (16 at most), connects anew, by way of the catalog if the target is a project, and
repeats the request, until it succeeds. What may be repeated, and what a reply means, is in `exchange`.

The five seconds are of silence, not of the whole request: while bytes of a large value go out or come in, it waits.

A connection that is given up is reset, not closed, so that the part of a request that is still in our kernel does not
arrive after its repetition. After an exception in mid-request (Ctrl-C, say) the connection is given up too, since its
reply is still to come. One thread at a time may use a client; several threads use several.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from kvstore.base.address import Address, catalog_address, parse_address
from kvstore.client.exchange import (
    REPLY_TIMEOUT_SECONDS,
    Pauses,
    decode_reply,
    encode_request,
    outcome,
    report_on_stderr,
)
from kvstore.client.target import is_address, resolve

#: Read at once. malloc maps buffers of 128 KiB or more anew for every reply, and gives them back (mallopt(3),
#: M_MMAP_THRESHOLD): 10 us each.
_RECEIVE_BYTES = 64 * 1024

#: SO_LINGER with a time of 0: closing resets the connection and throws away what was not sent (socket(7)).
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Client:
    """A table on a server, for programs that block. Connects at the first request.

    `target`: HOST:PORT, or the name of a project to look up in the catalog. `catalog`: HOST:PORT of the catalog; None
    means the environment's KVSTORE_CATALOG, or the default. `timeout_seconds`: silence after which a request is
    repeated. `sleep`: makes the pauses. `report`: is given the lines about failures, one at a time. Raises ValueError
    for a mistyped address.

    All requests raise ValueError if the server finds them invalid (and TypeError if an argument cannot be JSON), and
    RequestRefused if it cannot do them now; they never raise for want of a server, but wait for it. When one has
    returned, what it did is on the server's disk, if that syncs as it does by default.
    """

    def __init__(
        self,
        target: str,
        *,
        catalog: str | None = None,
        timeout_seconds: float = REPLY_TIMEOUT_SECONDS,
        sleep: Callable[[float], object] = time.sleep,
        report: Callable[[str], object] = report_on_stderr,
    ) -> None:
        if is_address(target):
            parse_address(target)
        self.target = target
        self._catalog = str(catalog_address(catalog))
        self._timeout_seconds = timeout_seconds
        self._sleep = sleep
        self._report = report
        self._pauses = Pauses()
        self._connection: _Connection | None = None
        self._serial = 0
        self._sent = False
        #: How many times a request had to be repeated so far; each made one line on stderr.
        self.retries = 0

    def insert(self, key: str, value: Any) -> None:
        """Store a document under a key, in place of the one there may be. `value`: anything that `json.dumps` takes."""
        self._request("insert", key, {"key": key, "value": value})

    def lookup(self, key: str) -> Any:
        """The document under a key. Raises KeyError if there is none, RequestRefused if what is there is not JSON."""
        return self._request("lookup", key, {"key": key})

    def remove(self, key: str) -> None:
        """Remove a key and its document. Raises KeyError if there is none (see `exchange` about repeated attempts)."""
        self._request("remove", key, {"key": key})

    def size(self) -> int:
        """The number of keys."""
        return int(self._request("size", None, {}))

    def query(self, subkey: str, subvalue: Any) -> list[list[Any]]:
        """The [key, document] pairs whose document is an object with `subkey` equal to `subvalue`, in no stated order.

        `subvalue`: a string, number, bool or None; True is not 1, and 1 equals 1.0.
        """
        pairs: list[list[Any]] = self._request("query", None, {"subkey": subkey, "subvalue": subvalue})
        return pairs

    def close(self) -> None:
        """Close the connection, if there is one. The next request would open another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Client of {self.target}{' (connected)' if self._connection else ''}>"

    def _request(self, method: str, key: str | None, arguments: dict[str, Any]) -> Any:
        self._serial += 1
        line = encode_request(self._serial, method, arguments)
        repeated = False
        while True:
            try:
                reply = self._attempt(line)
            except OSError as error:
                repeated = repeated or self._sent
                self._pause(error)
            else:
                self._pauses.reset()
                return outcome(reply, method, key, repeated)

    def _attempt(self, line: bytes) -> dict[str, Any]:
        """One attempt of the request `_serial`. Sets `_sent` once the whole of it has left: from then on it may be
        done.
        """
        self._sent = False
        try:
            if self._connection is None:
                address = resolve(self.target, self._catalog, self._timeout_seconds)
                self._connection = _Connection(address, self._timeout_seconds)
            self._connection.send(line)
            self._sent = True
            return decode_reply(self._connection.receive_line(), self._serial)
        except BaseException:
            self._give_up_connection()
            raise

    def _give_up_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.reset()

    def _pause(self, error: OSError) -> None:
        seconds = self._pauses.next()
        self.retries += 1
        self._report(f"{_reason(error, self._timeout_seconds)}; trying {self.target} again in {seconds} s")
        self._sleep(seconds)


class _Connection:
    """A connected socket that sends lines and receives lines. Every method raises OSError when it fails."""

    def __init__(self, address: Address, timeout_seconds: float) -> None:
        self._socket = socket.create_connection(address, timeout_seconds)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, line: bytes) -> None:
        """Send all of `line`. Not `sendall`: its timeout is for the whole, and a large value may take longer."""
        sent = self._socket.send(line)
        while sent < len(line):
            sent += self._socket.send(memoryview(line)[sent:])

    def receive_line(self) -> bytes:
        """The reply to the one request that is outstanding, so that a line end can only come at the end of what
        came.
        """
        chunks: list[bytes] = []
        while not chunks or not chunks[-1].endswith(b"\n"):
            chunk = self._socket.recv(_RECEIVE_BYTES)
            if not chunk:
                raise ConnectionResetError("the server closed the connection")
            chunks.append(chunk)
        return b"".join(chunks)

    def close(self) -> None:
        """Close in order."""
        self._socket.close()

    def reset(self) -> None:
        """Close at once, and throw away what our kernel has not sent."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._socket.close()


def _reason(error: OSError, timeout_seconds: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer in {timeout_seconds:g} s"
    return str(error.strerror or error)
