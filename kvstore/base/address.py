"""HOST:PORT as people type it, and where the catalog is when nobody says: one place for server and clients.

Knows nothing of sockets: whether a host exists is found out by whoever connects.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

#: The catalog that is asked and announced to when neither an option nor the environment names one.
DEFAULT_CATALOG = "catalog.cse.nd.edu:9097"

#: The environment variable that names the catalog, as HOST:PORT.
CATALOG_VARIABLE = "KVSTORE_CATALOG"

#: The type under which the catalog lists servers like ours; shared with other implementations of the same exercise.
CATALOG_TYPE = "hashtable"


class Address(NamedTuple):
    """Where a server is. `host`: a name, or an IPv4 or IPv6 address without brackets. `port`: 1 to 65535."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@lru_cache(1000)
def parse_address(text: str) -> Address:
    """The address in `HOST:PORT`; an IPv6 host goes in brackets. Raises ValueError, for the person who typed it."""
    host, _, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        host = ""
    if not can_be_a_host(host) or not (
        port.isascii() and port.isdecimal() and len(port) <= 5 and 1 <= int(port) <= 65535
    ):
        raise ValueError(f"{text!r} is not HOST:PORT with a port from 1 to 65535 (an IPv6 host goes in brackets)")
    return Address(host, int(port))


def can_be_a_host(name: str) -> bool:
    """Whether a resolver can be asked for it: resolvers raise from within where the idna codec does.

    No blank or control character is in any host's name either, nor more than 253 characters (RFC 1035), and none gets
    from a catalog into a message.
    """
    try:
        return len(name) <= 253 and name.isprintable() and " " not in name and bool(name.encode("idna"))
    except UnicodeError:
        return False


def catalog_address(text: str | None = None, environment: Mapping[str, str] | None = None) -> Address:
    """Where the catalog is: `text` (HOST:PORT) if given, else what KVSTORE_CATALOG says, else the default.

    `environment`: None means that of the process. Raises ValueError for what is not HOST:PORT.
    """
    variables = os.environ if environment is None else environment
    return parse_address(text or variables.get(CATALOG_VARIABLE) or DEFAULT_CATALOG)
