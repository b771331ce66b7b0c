"""The notation of a TARGET: which server is meant, and how to speak to it. One notation for both clients.

| TARGET | leads to |
|---|---|
| `HOST:PORT` (an IPv6 host in brackets: `[::1]:6380`) | a TCP port |
| `unix:PATH` | a Unix socket on this machine |
| `NAME`, without a colon | the server of that project, which the catalog knows (`target`) |
| `HOST:PORT,HOST:PORT,...` | the one of a group's servers that leads: they are tried in turns |
| `tls:HOST:PORT`, `tls:NAME` | the same over TLS, with a server whose certificate is for that host |

The words `tls:` and `unix:` are those of Twisted's client endpoints. A certificate is trusted as the system trusts it
(OpenSSL's SSL_CERT_FILE included), or if it is in `ca_file`, or signed by one that is (`certificates`). The host
of a project is an IP address as a rule, since the catalog says from where it was announced: then the certificate must
name that.

No I/O here: whether a server is there is found out by whoever connects.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from kvstore.base.address import Address, parse_address

#: Longest path of a Unix socket on Linux, in bytes (unix(7): sun_path, 108 with the zero at its end).
_MOST_PATH_BYTES = 107


class Endpoint(NamedTuple):
    """Where to connect. `place`: a TCP address, or the path of a Unix socket. `tls`: whether to speak TLS there."""

    place: Address | str
    tls: bool = False


class Several(NamedTuple):
    """The servers of a group, of which one leads."""

    endpoints: tuple[Endpoint, ...]


class Project(NamedTuple):
    """The server of a project, wherever the catalog says. `tls`: whether to speak TLS there."""

    name: str
    tls: bool = False


def parse_target(text: str, *certificates: str | None) -> Endpoint | Project | Several:
    """What a TARGET means. `certificates`: files of them, None for each that was not given; refused unless TLS is
    spoken. Raises ValueError, for the person who typed it.
    """
    plain = text.removeprefix("tls:")
    tls = plain != text
    if any(each is not None for each in certificates) and not tls:
        raise ValueError(f"certificates are of use for a target that begins with tls: only, not {text!r}")
    if plain.startswith("unix:"):
        return Endpoint(_socket_path(text))
    if "," in plain and ":" in plain:
        return Several(tuple(Endpoint(parse_address(each), tls) for each in plain.split(",")))
    if ":" in plain:
        return Endpoint(parse_address(plain), tls)
    if tls and not plain:
        raise ValueError("tls: is followed by HOST:PORT or the name of a project")
    return Project(plain, tls)


def _socket_path(text: str) -> str:
    path = text.removeprefix("unix:")
    if path == text or not path or "\0" in path:
        raise ValueError(f"{text!r} is not unix:PATH (a Unix socket needs no TLS)")
    if len(os.fsencode(path)) > _MOST_PATH_BYTES:
        raise ValueError(f"the path of a Unix socket has at most {_MOST_PATH_BYTES} bytes: {path!r}")
    return path


def servers_of(meant: Endpoint | Project | Several) -> int:
    """How many servers a target names."""
    return len(meant.endpoints) if isinstance(meant, Several) else 1


def speaks_tls(meant: Endpoint | Project | Several) -> bool:
    """Whether TLS is spoken with what a target means."""
    return all(each.tls for each in meant.endpoints) if isinstance(meant, Several) else meant.tls
