"""Which server is meant: a TARGET is HOST:PORT, or the name of a project that the catalog knows.

A server started with `--project NAME` tells the catalog by UDP, once a minute, its port; the catalog adds from where
it heard that, and when. Clients read the whole list by HTTP, `GET /query.json`, and take the entry with type
`hashtable` and their project, the freshest if there are several: a server that was restarted on another port leaves
its old entry there for half an hour.

The host is taken from `address`, from where the catalog in fact received the announcement, not from `name`, what a
reverse look-up made of it (which need not lead back); `name` is for catalogs that give no address. Anybody may
announce anything, so entries that make no sense are passed over.

The real catalog (`catalog_server` 8.0.0, Debian coop-computing-tools 9.9) does not always write JSON: an apostrophe
comes out as `\\'`, and a byte of UTF-8 past ASCII sign-extended, as `\\uffffffc3`. One such name anywhere in the list
must not hide the others, nor itself, so both are mended, and if the list still is not JSON it is read line by line: it
has one entry a line.

Rejected: `urllib.request`, which would send the question through whatever proxy the environment names.
"""

from __future__ import annotations

import http.client
import json
import re
from typing import Any

from kvstore.base.address import CATALOG_TYPE, Address, catalog_address, parse_address

QUERY_PATH = "/query.json"

LOOKUP_TIMEOUT_SECONDS = 5.0

#: An escape, in the catalog's list; the group is the byte of one that was sign-extended.
_ODD_ESCAPE = re.compile(rb"\\(?:uffffff([89a-f][0-9a-f])|.)", re.DOTALL)


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
    entries = _entries(_ODD_ESCAPE.sub(_mended, body).decode("utf-8", "replace"))
    if entries is None:
        raise LookupFailed(f"the catalog at {catalog} answers with something that is not a JSON list")
    found = [server for entry in entries if (server := _server(entry, project)) is not None]
    if not found:
        raise LookupFailed(f"the catalog at {catalog} knows no server of project {project!r}")
    return max(found)[1]


def _mended(odd: re.Match[bytes]) -> bytes:
    if odd[1]:
        return bytes.fromhex(odd[1].decode("ascii"))
    return b"'" if odd[0] == b"\\'" else odd[0]


def _entries(text: str) -> list[Any] | None:
    """The list in `text`; if it is not JSON as a whole, what is JSON in it. None if there is no list at all."""
    try:
        whole = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return [entry for line in text.split("\n") if (entry := _line(line)) is not None] or None
    return whole if isinstance(whole, list) else None


def _line(line: str) -> Any:
    try:
        return json.loads(line.strip().removesuffix(","), strict=False)
    except (ValueError, RecursionError):
        return None


def _server(entry: Any, project: str) -> tuple[float, Address] | None:
    """When the catalog heard from an entry, and its address; None if it is not a server of this project."""
    if not isinstance(entry, dict) or entry.get("type") != CATALOG_TYPE or entry.get("project") != project:
        return None
    host, port, heard = entry.get("address") or entry.get("name"), entry.get("port"), entry.get("lastheardfrom", 0)
    if not isinstance(host, str) or type(port) is not int or not 1 <= port <= 65535:
        return None
    return (heard, Address(host, port)) if isinstance(heard, int | float) else None
