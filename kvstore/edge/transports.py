"""What connections come by: TCP, TLS, Unix sockets, whatever a plugin of Twisted's has, and tests' own."""

from __future__ import annotations

from typing import Any

from kvstore.base.address import Address


def tune(transport: Any) -> None:
    """Small replies at once, and a peer that vanished found out in the end. Not every transport is TCP."""
    for name in ("setTcpNoDelay", "setTcpKeepAlive"):
        method = getattr(transport, name, None)
        if method is not None:
            method(True)


def shown(address: Any) -> str:
    """An address as CLIENT LIST shows it: host:port, [host]:port for IPv6, or the path of a UNIX socket."""
    host = getattr(address, "host", None)
    if host is not None:
        return str(Address(host, address.port))
    name = getattr(address, "name", None)
    return f"{name.decode('utf-8', 'replace') if isinstance(name, bytes) else name or 'unix'}:0"
