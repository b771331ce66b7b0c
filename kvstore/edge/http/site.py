"""What holds for every request by HTTP, whatever it asks for.

In this order: only GET and HEAD; only by a name of this server (`origins`); only what there is; only for who may see
it (`visitors`). Every answer says that it is not to be kept, not to be guessed at and not to be framed, and that a
page may load nothing but what this server gives.

A resource is a `Route`: what one must be allowed to, and the function that answers. One that goes on for long returns
NOT_DONE_YET and writes to the request, as twisted.web has it; it has to look after clients that do not read.

Rejected: a tree of twisted.web's Resources, each guarded by a wrapper. There are a handful of paths, and one forgotten
wrapper is an open door.
"""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from twisted.internet.interfaces import IAddress
from twisted.logger import Logger
from twisted.web import server
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from kvstore.base.limits import HTTP_WRONG_PASSWORD_S, MAX_HTTP_CONNECTIONS
from kvstore.edge.http.channel import Channel
from kvstore.edge.http.origins import Origins
from kvstore.edge.http.visitors import Visitor, Visitors

_log = Logger()

#: What a route answers with: the whole body, or NOT_DONE_YET.
Answer: TypeAlias = bytes | int

TEXT = b"text/plain; charset=utf-8"

_HEADERS = {
    b"Server": b"kvstore",
    b"Cache-Control": b"no-store",
    b"Content-Security-Policy": (
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
        b" base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    b"Cross-Origin-Opener-Policy": b"same-origin",
    b"Cross-Origin-Resource-Policy": b"same-origin",
    b"Referrer-Policy": b"no-referrer",
    b"X-Content-Type-Options": b"nosniff",
    b"X-Frame-Options": b"DENY",
}
_CHALLENGE = b'Basic realm="kvstore", charset="UTF-8"'


class Route(NamedTuple):
    """A resource. `render`: answers a GET. `needs`: the commands that the user must be allowed to call, as
    `CLIENT|LIST`; None: it is for everybody.
    """

    render: Callable[[Request, Visitor], Answer]
    needs: tuple[str, ...] | None
    content_type: bytes = TEXT


class Site(server.Site):
    """See the module. `reactor`: its clock. `routes`: by path; more may be added. `channels`: the connections.

    `pace`: calls what answers a request when its turn has come, see `Pacing`; None: at once. `accept`: called with
    whether more connections are to be accepted; set by who listens.
    """

    protocol = Channel  # type: ignore[assignment]  # Twisted's own is a wrapper for HTTP/2
    noisy = False

    def __init__(
        self,
        reactor: Any,
        origins: Origins,
        visitors: Visitors,
        routes: dict[bytes, Route],
        pace: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        super().__init__(_Door(self), reactor=reactor, timeout=None)
        self.origins = origins
        self.visitors = visitors
        self.routes = routes
        self.pace = pace or (lambda answer: answer())
        self.channels: set[Channel] = set()
        self.accept: Callable[[bool], None] = lambda accepts: None

    @property
    def over_tls(self) -> Site:
        """See `Accepting`."""
        return self

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """A connection, or None, for Twisted to close it, if there are too many: it accepts some at once."""
        return super().buildProtocol(addr) if len(self.channels) < MAX_HTTP_CONNECTIONS else None

    def came(self, channel: Channel) -> None:
        """A connection was made. Who comes to a full house waits in the kernel: to be let in and sent away again and
        again would cost more.
        """
        self.channels.add(channel)
        if len(self.channels) == MAX_HTTP_CONNECTIONS:
            self.accept(False)

    def left(self, channel: Channel) -> None:
        """One is gone."""
        if len(self.channels) == MAX_HTTP_CONNECTIONS:
            self.accept(True)
        self.channels.discard(channel)

    def startFactory(self) -> None:
        """There is no log of requests."""

    def acceptableProtocols(self) -> list[bytes]:
        """Of those that TLS can agree on."""
        return [b"http/1.1"]

    def close(self) -> None:
        """Close all connections at once."""
        for channel in list(self.channels):
            channel.abort()


class _Door(Resource):
    """Where every request comes in."""

    isLeaf = True

    def __init__(self, site: Site) -> None:
        super().__init__()
        self._site = site

    def render(self, request: Request) -> Answer:
        """Answer it, or say why not; to HEAD with how long the answer would be."""
        answer = self._answer(request)
        if request.method != b"HEAD" or isinstance(answer, int):
            return answer
        request.setHeader(b"Content-Length", b"%d" % len(answer))
        return b""

    def _answer(self, request: Request) -> Answer:
        for name, value in _HEADERS.items():
            request.setHeader(name, value)
        request.setHeader(b"Content-Type", TEXT)
        if request.method not in (b"GET", b"HEAD"):
            request.setHeader(b"Allow", b"GET, HEAD")
            return refuse(request, 405, "only GET and HEAD are answered")
        refusal = self._site.origins.refusal(
            *(_header(request, name) for name in (b"Host", b"Origin", b"Sec-Fetch-Site"))
        )
        if refusal:
            return refuse(request, 403, refusal)
        route = self._site.routes.get(request.path)
        if route is None:
            return refuse(request, 404, "there is no such page")
        return self._admit(request, route)

    def _admit(self, request: Request, route: Route) -> Answer:
        visitors = self._site.visitors
        if route.needs is None:
            return _answer(request, route, visitors.nobody)
        host: str | None = getattr(request.getClientAddress(), "host", None)
        said = _header(request, b"Authorization")
        if said:
            visitor = visitors.named(*_credentials(said[0]), host)
        else:
            visitor = visitors.unnamed(host, secure=request.isSecure())
        if visitor is None:
            request.setHeader(b"WWW-Authenticate", _CHALLENGE)
            text = refuse(request, 401, "say who you are: a user and password of this server")
            return self._later(request, text) if said else text
        if not visitor.may_all(route.needs):
            return refuse(request, 403, _not_allowed(visitor, route.needs))
        return _answer(request, route, visitor)

    def _later(self, request: Request, text: bytes) -> Answer:
        """Who said a wrong password waits, and with it one of its few connections."""

        def tell() -> None:
            request.write(text)
            request.finish()

        telling = self._site.reactor.callLater(HTTP_WRONG_PASSWORD_S, tell)
        request.notifyFinish().addErrback(lambda gone: telling.cancel())
        return NOT_DONE_YET


def _not_allowed(visitor: Visitor, needs: tuple[str, ...]) -> str:
    who = f"user {visitor.name}" if visitor.name else "who comes from another machine without TLS or a password"
    return f"{who} may not see this: it needs {' and '.join(needs)}"


def refuse(request: Request, code: int, reason: str) -> bytes:
    """Answer with this status, and a line of text."""
    request.setResponseCode(code)
    return f"{reason}\n".encode()


def _answer(request: Request, route: Route, visitor: Visitor) -> Answer:
    request.setHeader(b"Content-Type", route.content_type)
    try:
        return route.render(request, visitor)
    except Exception:
        _log.failure("bug in the answer to an HTTP request for {path}", path=request.path)
        request.setHeader(b"Content-Type", TEXT)
        return refuse(request, 500, "this is a bug of the server, see its log")


def _header(request: Request, name: bytes) -> list[str]:
    """Its values; what is no ASCII in them is none of anybody's who is answered."""
    return [value.decode("latin-1") for value in request.requestHeaders.getRawHeaders(name) or ()]


def _credentials(authorization: str) -> tuple[bytes, bytes]:
    """Name and password of HTTP Basic (RFC 7617); both empty if it is anything else."""
    scheme, _, code = authorization.partition(" ")
    try:
        name, _, password = b64decode(code, validate=True).partition(b":") if scheme.lower() == "basic" else (b"",) * 3
    except (NotBase64, ValueError):
        return b"", b""
    return name, password
