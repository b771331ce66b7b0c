"""Where the server of a project is: the catalog knows.

A server started with `--project NAME` tells the catalog by UDP, once a minute, its port; the catalog adds from where
it heard that, and when. Clients read the whole list by HTTP, `GET /query.json`, and take the entry with type
`hashtable` and their project, the freshest if there are several: a server that was restarted on another port leaves
its old entry there for half an hour.

The host is taken from `address`, from where the catalog in fact received the announcement, not from `name`, what a
reverse look-up made of it (which need not lead back); `name` is for catalogs that give no address. Anybody may
announce anything, so entries that make no sense (a host that cannot be one, say) are passed over, in favour of the
next. Rejected: trying the next entry when nobody answers at the freshest. It may be another server, with another table.

The question is HTTP/1.0, whose answer ends with the connection: so it can be read up to a limit, and for so long and
no longer, by whoever has a socket, before anybody looks into it (`MAX_CATALOG_BYTES`; the time is for the whole).

The real catalog (`catalog_server` 8.0.0, Debian coop-computing-tools 9.9) does not always write JSON: an apostrophe
comes out as `\\'`, and a byte of UTF-8 past ASCII sign-extended, as `\\uffffffc3`. One such name anywhere in the list
must not hide the others, nor itself, so both are mended, and if the list still is not JSON it is read line by line: it
has one entry a line.

Rejected: `urllib.request`, which would send the question through whatever proxy the environment names, and
`http.client.HTTPConnection` or Twisted's `Agent`, which read headers and bodies without end.
"""

from __future__ import annotations

import http.client
import io
import json
import math
import re
import time
from typing import Any

from kvstore.base.address import CATALOG_TYPE, Address, can_be_a_host, catalog_address
from kvstore.base.limits import MAX_CATALOG_BYTES
from kvstore.client.endpoint import Endpoint, Project, Several, parse_target
from kvstore.client.patience import Patience
from kvstore.client.stream import Stream

QUERY_PATH = "/query.json"

LOOKUP_TIMEOUT_SECONDS = 5.0

#: An escape, in the catalog's list; the group is the byte of one that was sign-extended.
_ODD_ESCAPE = re.compile(rb"\\(?:uffffff([89a-f][0-9a-f])|.)", re.DOTALL)


class LookupFailed(OSError):
    """The catalog does not answer, answers nonsense, or does not know the project. It may later."""


def resolve(target: str, catalog: str | None = None, timeout_seconds: float = LOOKUP_TIMEOUT_SECONDS) -> Endpoint:
    """Where a TARGET (`endpoint`) leads to, of several the first. Blocks while it asks the catalog, if it has to.

    `catalog`, `timeout_seconds`: as in `find_server`. Raises ValueError if target or catalog is mistyped (the caller's
    fault), LookupFailed if the catalog cannot tell now.
    """
    meant = parse_target(target)
    if isinstance(meant, Several):
        return meant.endpoints[0]
    if isinstance(meant, Project):
        return Endpoint(find_server(meant.name, catalog, timeout_seconds), meant.tls)
    return meant


def find_server(project: str, catalog: str | None = None, timeout_seconds: float = LOOKUP_TIMEOUT_SECONDS) -> Address:
    """Ask the catalog where a project's server is. Blocks.

    `project`: the name after the server's `--project`. `catalog`: HOST:PORT; None means the environment's
    KVSTORE_CATALOG, or the default. `timeout_seconds`: for the whole of it. Raises LookupFailed, or ValueError for a
    mistyped catalog.
    """
    where = catalog_address(catalog)
    patience = Patience(timeout_seconds, time.monotonic, time.monotonic() + timeout_seconds)
    try:
        stream = Stream(Endpoint(where), patience)
        try:
            stream.send(question(where), patience)
            answer = stream.receive_until(b"", MAX_CATALOG_BYTES, patience)
        finally:
            stream.close()
    except OSError as error:
        raise no_answer(where, error.strerror or str(error) or type(error).__name__) from error
    return answered(bytes(answer), project, where)


def question(catalog: Address) -> bytes:
    """What is sent to the catalog, which answers and closes the connection."""
    return f"GET {QUERY_PATH} HTTP/1.0\r\nHost: {catalog}\r\nConnection: close\r\n\r\n".encode()


def no_answer(catalog: Address, reason: str) -> LookupFailed:
    """What to raise when the catalog cannot be asked."""
    return LookupFailed(f"the catalog at {catalog} does not answer ({reason})")


def answered(answer: bytes, project: str, catalog: Address) -> Address:
    """The server of `project`, after all that the catalog at `catalog` sent. Raises LookupFailed."""
    response = http.client.HTTPResponse(_Received(answer))  # type: ignore[arg-type]
    try:
        response.begin()
        body = response.read()
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise no_answer(catalog, f"in HTTP: {type(error).__name__}") from error
    return freshest(body, response.status, project, catalog)


class _Received:
    """Stands for the socket that an HTTPResponse reads."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


def freshest(body: bytes, status: int, project: str, catalog: Address) -> Address:
    """The server of `project` that the catalog heard from last.

    `body`, `status`: what the catalog at `catalog` answered. Raises LookupFailed if there is none, or no list at all.
    """
    if status != http.client.OK:
        raise LookupFailed(f"the catalog at {catalog} answers with HTTP status {status}")
    entries = _entries(_ODD_ESCAPE.sub(_mended, body).decode("utf-8", "replace"))
    if entries is None:
        raise LookupFailed(f"the catalog at {catalog} answers with something that is not a JSON list")
    named = [entry for entry in entries if _is_of(entry, project)]
    found = [server for entry in named if (server := _server(entry)) is not None]
    if not found:
        but = f" ({len(named)} that it names make no sense)" if named else ""
        raise LookupFailed(f"the catalog at {catalog} knows no server of project {project!r}{but}")
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


def _is_of(entry: Any, project: str) -> bool:
    return isinstance(entry, dict) and entry.get("type") == CATALOG_TYPE and entry.get("project") == project


def _server(entry: dict[str, Any]) -> tuple[float, Address] | None:
    """When the catalog heard from an entry, and its address; None if it makes no sense."""
    host, port, heard = entry.get("address") or entry.get("name"), entry.get("port"), entry.get("lastheardfrom", 0)
    if not isinstance(host, str) or not can_be_a_host(host) or type(port) is not int or not 1 <= port <= 65535:
        return None
    return (heard, Address(host, port)) if type(heard) is int or _is_time(heard) else None


def _is_time(heard: Any) -> bool:
    return type(heard) is float and math.isfinite(heard)
