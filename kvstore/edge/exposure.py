"""Who can reach an endpoint, and when that is refused.

| the server listens | who connects is asked for a password | nobody is asked |
|---|---|---|
| on this machine only (loopback, a Unix socket) | allowed | allowed |
| elsewhere, with TLS | allowed | allowed: traffic is private, `--tls-client-ca` says whose |
| elsewhere, without | allowed | refused at the start; `--insecure` overrides, and the log says so |

That is looked at when the server starts. While it runs passwords can go (ACL SETUSER, a file loaded anew): then, under
`protected-mode`, who comes from elsewhere without TLS is turned away (see `KVStoreFactory`), as in Redis, whose default
it is too. Redis asks for no more than that; but a server that was meant to be reached and answers nobody is found out
by others than the one who starts it.

Unknown kinds of endpoints, a plugin's, are taken for open ones.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from typing import Any

#: Endpoints of Twisted's that only this machine, or who has its key, can use.
_OWN = ("unix", "stdio")
_TLS = "ssl:"
_TCP = ("tcp", "tcp4", "tcp6")
_WRAPPER = "haproxy:"  # what comes from a proxy is as open as its own endpoint
_PART = re.compile(r"(?<!\\):")


def refusal(endpoint: str) -> str:
    """What to say of an endpoint that anybody may reach, without a password: after its text, as advice."""
    return (
        f"{endpoint!r}: anybody who can reach this machine could read and change everything; give --password-file, or"
        " --acl-file with a user default that is off or has a password, or listen with TLS"
        " (ssl:PORT:privateKey=FILE:certKey=FILE) or on this machine only (tcp:PORT:interface=127.0.0.1);"
        " --insecure listens all the same"
    )


def open_endpoints(endpoints: Iterable[str]) -> list[str]:
    """Those of some endpoints (Twisted's server endpoint strings, which are valid) that others than programs on this
    machine may reach, without TLS.
    """
    return [endpoint for endpoint in endpoints if _is_open(endpoint)]


def is_tls(endpoint: str) -> bool:
    """Whether all that passes there is encrypted."""
    return endpoint.startswith(_TLS)


def _is_open(endpoint: str) -> bool:
    kind, *arguments = _PART.split(endpoint.removeprefix(_WRAPPER))
    if kind in _TCP:
        return not is_loopback(_interface(arguments))
    if kind == "systemd":
        return not is_loopback(_inherited_host(endpoint))
    return kind not in _OWN and not is_tls(endpoint)


def _interface(arguments: list[str]) -> str:
    """Of a TCP endpoint: named, or the one behind the port."""
    named = [word.removeprefix("interface=") for word in arguments if word.startswith("interface=")]
    unnamed = [word for word in arguments if "=" not in word]
    return (named or unnamed[1:2] or [""])[0].replace("\\", "")


def _inherited_host(endpoint: str) -> str:
    """Where a socket of systemd's listens; a Unix socket is on this machine."""
    from twisted.internet.endpoints import serverFromString

    from kvstore.edge.reactor import the_reactor

    descriptor: Any = serverFromString(the_reactor(), endpoint)
    with socket.fromfd(descriptor.fileno, descriptor.addressFamily, socket.SOCK_STREAM) as inherited:
        return "localhost" if inherited.family == socket.AF_UNIX else str(inherited.getsockname()[0])


def is_loopback(host: str) -> bool:
    """Whether an address, without its port, is this machine's own, which none other reaches."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
