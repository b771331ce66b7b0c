"""A connected socket that blocks, but never for longer than its caller's patience: what all blocking clients use.

Every method raises OSError when it fails, whatever went wrong underneath: a name that cannot be one, a certificate
that is not to be trusted, a time that is over.

A connection that is given up is reset, so that what our kernel has not sent yet does not arrive after its repetition.
One that was inherited in a fork is closed: that gives our descriptor back and touches nothing that the parent shares
(a reset would set an option of the socket that both have; Python sends no close_notify when it closes TLS).

Rejected: `socket.create_connection`, whose time is for each address of a name anew, however many there are, and
`sendall`, whose time is for the whole.
"""

from __future__ import annotations

import contextlib
import fcntl
import socket
import ssl
import struct

from kvstore.base.address import Address
from kvstore.client.certificates import refusal, tls_context
from kvstore.client.endpoint import Endpoint
from kvstore.client.patience import Patience

#: Read at once. malloc maps buffers of 128 KiB or more anew for every reply, and gives them back (mallopt(3),
#: M_MMAP_THRESHOLD): 10 us each.
_RECEIVE_BYTES = 64 * 1024

#: SO_LINGER with a time of 0: closing resets the connection and throws away what was not sent (socket(7)).
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Stream:
    """A connection. `endpoint`: where to. `patience`: for connecting. `tls`: what to trust and show over TLS."""

    def __init__(self, endpoint: Endpoint, patience: Patience, tls: ssl.SSLContext | None = None) -> None:
        self._socket = _connect(endpoint.place, patience)
        self._timeout_seconds = 0.0
        if endpoint.tls:
            self._socket = _secured(self._socket, endpoint.place, patience, tls or tls_context())

    def send(self, data: bytes, patience: Patience) -> None:
        """Send all of `data`."""
        sent = self._send(data, patience)
        while sent < len(data):
            patience.moved(sent)
            sent += self._send(memoryview(data)[sent:], patience)

    def _send(self, data: bytes | memoryview, patience: Patience) -> int:
        try:
            self._set_timeout(patience.left())
            return self._socket.send(data)
        except TimeoutError:
            raise patience.exhausted() from None
        except OSError as error:
            raise self._last_word() or error from None

    def _last_word(self) -> OSError | None:
        """Why the server refuses what it was shown, if it said so before it ended a connection that is broken now."""
        try:
            self._set_timeout(0.0)
            self._socket.recv(1)
        except OSError as error:
            told = _explained(error)
            return told if told is not error else None
        return None

    def receive(self, patience: Patience, most_bytes: int = _RECEIVE_BYTES) -> bytes:
        """Some bytes, as soon as there are any; none if the server has closed the connection."""
        try:
            self._set_timeout(patience.left())
            return self._socket.recv(most_bytes)
        except TimeoutError:
            raise patience.exhausted() from None
        except ssl.SSLError as error:
            raise _explained(error) from None

    def _set_timeout(self, seconds: float) -> None:
        """Let the next call wait for so long, or a hundredth less or more: to set it is a system call."""
        if not 0.99 * seconds < self._timeout_seconds < 1.01 * seconds:
            self._timeout_seconds = seconds
            self._socket.settimeout(seconds)

    def receive_until(self, end: bytes, most_bytes: int, patience: Patience) -> bytearray:
        """All that comes until it ends with `end`, for which nothing may follow it; if that is empty, until the server
        closes the connection.

        Raises ConnectionError if that is more than `most_bytes`, or the connection is closed before the end.
        """
        received = bytearray()
        while chunk := self.receive(patience):
            received += chunk
            if len(received) > most_bytes:
                raise too_long(most_bytes)
            if end and received.endswith(end):
                return received
            patience.moved(len(chunk))
        if end:
            raise ConnectionResetError("the server closed the connection")
        return received

    def close(self) -> None:
        """Close in order, or give back a descriptor that was inherited."""
        with contextlib.suppress(OSError):
            self._socket.close()

    def reset(self) -> None:
        """Close at once, and throw away what our kernel has not sent."""
        with contextlib.suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.close()


def too_long(most_bytes: int) -> ConnectionError:
    """What to raise, or to say, when more comes than may."""
    return ConnectionError(f"the answer is longer than {most_bytes} bytes")


def _connect(place: Address | str, patience: Patience) -> socket.socket:
    if isinstance(place, str):
        return _opened(socket.AF_UNIX, place, patience)
    failure = OSError(f"there is no host {place.host}")
    for family, _, _, _, address in _addresses(place):
        try:
            made = _opened(family, address, patience)
        except OSError as error:
            failure = error
        else:
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return made
    raise failure


def _addresses(place: Address) -> list[tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[object, ...]]]:
    """What the system's resolver says. Its time is its own (resolv.conf(5): timeout, attempts)."""
    try:
        return socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)  # type: ignore[return-value]
    except ValueError as error:  # UnicodeError is one
        raise ConnectionError(f"{place.host!r} cannot be a host: {error}") from None


def _opened(family: int, address: object, patience: Patience) -> socket.socket:
    patience.renew()
    made = _above_standard_streams(socket.socket(family, socket.SOCK_STREAM))
    try:
        made.settimeout(patience.left())
        made.connect(address)  # type: ignore[arg-type]
    except TimeoutError as error:
        made.close()
        raise error if error.errno else patience.exhausted() from None
    except BaseException:
        made.close()
        raise
    return made


def _above_standard_streams(made: socket.socket) -> socket.socket:
    """A socket whose descriptor is none of 0, 1 and 2, which are free where standard streams were closed: what somebody
    writes to stderr all the same would go to the server.
    """
    if made.fileno() > 2:
        return made
    with made:
        return socket.socket(fileno=fcntl.fcntl(made.fileno(), fcntl.F_DUPFD_CLOEXEC, 3))


def _secured(plain: socket.socket, place: Address | str, patience: Patience, context: ssl.SSLContext) -> socket.socket:
    patience.renew()
    try:
        plain.settimeout(patience.left())
        return context.wrap_socket(plain, server_hostname=place.host if isinstance(place, Address) else None)
    except BaseException as error:
        plain.close()
        if isinstance(error, ValueError) and not isinstance(error, OSError):  # a name that no certificate can have
            raise ConnectionError(str(error)) from None
        if isinstance(error, ssl.SSLError):
            raise _explained(error) from None
        raise


def _explained(error: OSError) -> OSError:
    told = refusal(str(error)) if isinstance(error, ssl.SSLError) else None
    return ConnectionError(told) if told else error
