"""Lines that belong to another protocol: HTTP, and the beginning of TLS.

A web page may have the browser of whoever looks at it send HTTP to a port of this machine, and puts what it likes into
the body; a proxy, or a server that fetches what it is told to, can be led here too. Their lines would be requests as
people type them. So the first line that is HTTP's ends the connection, before anything that follows is executed:

- its first word is `POST` or `Host:`, in any case: what Redis looks for;
- it is the first line of an HTTP request, `METHOD TARGET HTTP/VERSION`, where the method is one of HTTP's, or any word
  if the target is a path. (After DNS rebinding a page may choose its method: `SET /x HTTP/1.1`.) Whoever wants to store
  that text under such a key types quotes around it.

A TLS client's hello holds bytes that a page can choose (a session ticket), line ends among them: 0x16 0x03 ends the
connection too, and at once, for no line end need ever come.

Rejected: to close at every header's name, since it comes after a line that has closed already, and people mistype; to
look in RESP too, as Redis does: no RESP request can be in front of an HTTP one.
"""

from __future__ import annotations

import re

from kvstore.base.errors import ForeignProtocol

_FIRST_WORD = re.compile(rb"(?:post|host:)(?=[ \t\r\v\f]|\Z)", re.IGNORECASE).match
_VERSION = b" HTTP/"
_REQUEST_LINE = re.compile(
    rb"""(?:GET|HEAD|POST|PUT|DELETE|CONNECT|OPTIONS|TRACE|PATCH|PRI) [ ] [^ ]+ [ ] HTTP/[0-9]
    | [^ "']+ [ ] /[^ "']* [ ] HTTP/[0-9]""",
    re.VERBOSE,
).match
_TLS = b"\x16\x03"


def refuse_http(line: bytes) -> None:
    """Raise ForeignProtocol for a line that is HTTP's. `line`: begins at its first word."""
    if _FIRST_WORD(line) or (_VERSION in line and _REQUEST_LINE(line)):
        raise ForeignProtocol("HTTP", line.rstrip(b"\r"))


def refuse_tls(line: bytes | bytearray) -> None:
    """Raise ForeignProtocol for the beginning of a TLS connection. `line`: as much of it as is there."""
    if line.startswith(_TLS):
        raise ForeignProtocol("TLS", bytes(line[:64]))
