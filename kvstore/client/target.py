"""Which server is meant: a TARGET is HOST:PORT, or the name of a project that the catalog knows.

A server started with `--project NAME` tells the catalog by UDP, once a minute, its port; the catalog adds from where
it heard that, and when. Clients read the whole list by HTTP, `GET /query.json`, and take the entry with type
`hashtable` and their project, the freshest if there are several: a server that was restarted on another port leaves
its old entry there for half an hour.

The host is taken from `address`, from where the catalog in fact received the announcement, not from `name`, what a
reverse look-up made of it (which need not lead back); `name` is for catalogs that give no address. Anybody may
announce anything, so entries that make no sense are passed over.

Rejected: `urllib.request`, which would send the question through whatever proxy the environment names.
"""

from __future__ import annotations

import http.client
import json
from typing import Any

from kvstore.base.address import Address, catalog_address, parse_address

#: The type under which kvstore servers are announced; shared with other implementations of the same exercise.
CATALOG_TYPE = "hashtable"

QUERY_PATH = "/query.json"

LOOKUP_TIMEOUT_SECONDS = 5.0


class LookupFailed(OSError):
    """The catalog does not answer, answers nonsense, or does not know the project. It may later."""


def is_address(target: str) -> bool:
    """Whether a TARGET is HOST:PORT (it has a colon) rather than the name of a project."""
    return ":" in target


def resolve(target: str, catalog: str | None = None, timeout_seconds: float = LOOKUP_TIMEOUT_SECONDS) -> Address:
    """The address of a TARGET. Blocks while it asks the catalog, if it has to.

    `target`: HOST:PORT or a project's name. `catalog`, `timeout_seconds`: as in `find_server`. Raises ValueError if
    either is mistyped (the caller's fault), LookupFailed if the catalog cannot tell now.
    """
    return parse_address(target) if is_address(target) else find_server(target, catalog, timeout_seconds)


def find_server(project: str, catalog: str | None = None, timeout_seconds: float = LOOKUP_TIMEOUT_SECONDS) -> Address:
    """Ask the catalog where a project's server is. Blocks.

    `project`: the name after the server's `--project`. `catalog`: HOST:PORT; None means the environment's
    KVSTORE_CATALOG, or the default. `timeout_seconds`: of silence, before giving up. Raises LookupFailed, or
    ValueError for a mistyped catalog.
    """
    where = catalog_address(catalog)
    connection = http.client.HTTPConnection(where.host, where.port, timeout=timeout_seconds)
    try:
        connection.request("GET", QUERY_PATH, headers={"Connection": "close"})
        response = connection.getresponse()
        return freshest(response.read(), response.status, project, where)
    except LookupFailed:
        raise
    except (OSError, http.client.HTTPException) as error:
        raise LookupFailed(f"the catalog at {where} does not answer ({error or type(error).__name__})") from error
    finally:
        connection.close()


def freshest(body: bytes, status: int, project: str, catalog: Address) -> Address:
    """The server of `project` that the catalog heard from last.

    `body`, `status`: what the catalog at `catalog` answered. Raises LookupFailed if there is none, or no list at all.
    """
    if status != http.client.OK:
        raise LookupFailed(f"the catalog at {catalog} answers with HTTP status {status}")
    try:
        entries = json.loads(body.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        entries = None
    if not isinstance(entries, list):
        raise LookupFailed(f"the catalog at {catalog} answers with something that is not a JSON list")
    found = [server for entry in entries if (server := _server(entry, project)) is not None]
    if not found:
        raise LookupFailed(f"the catalog at {catalog} knows no server of project {project!r}")
    return max(found)[1]


def _server(entry: Any, project: str) -> tuple[float, Address] | None:
    """When the catalog heard from an entry, and its address; None if it is not a server of this project."""
    if not isinstance(entry, dict) or entry.get("type") != CATALOG_TYPE or entry.get("project") != project:
        return None
    host, port, heard = entry.get("address") or entry.get("name"), entry.get("port"), entry.get("lastheardfrom", 0)
    if not isinstance(host, str) or type(port) is not int or not 1 <= port <= 65535:
        return None
    return (heard, Address(host, port)) if isinstance(heard, int | float) else None
