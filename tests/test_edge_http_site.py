"""The site: what holds for every request by HTTP, and the limits of its connections."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable

from twisted.web.server import NOT_DONE_YET, Request

from kvstore.base.limits import (
    HTTP_ANSWER_S,
    HTTP_REQUEST_S,
    HTTP_WRONG_PASSWORD_S,
    MAX_HTTP_CONNECTIONS,
    MAX_HTTP_HEADER_BYTES,
    MAX_HTTP_HEADERS,
)
from kvstore.edge.http.origins import Origins
from kvstore.edge.http.site import Route, Site
from kvstore.edge.http.visitors import Visitor, Visitors
from tests.kit.edge import ProtocolTestCase
from tests.kit.http import OWN_HOST, Connection, get, request


def basic(name: str, password: str) -> tuple[str, str]:
    """The header of HTTP Basic."""
    return "Authorization", "Basic " + b64encode(f"{name}:{password}".encode()).decode()


ANN = basic("ann", "pass:word")


class SiteTestCase(ProtocolTestCase):
    """A site with a resource for everybody, two for some, one that goes on, and one with a bug.

    `ann` may call INFO, and nothing else; nobody is let in without a password.
    """

    def setUp(self) -> None:
        """Make it."""
        super().setUp()
        self.server.users.set_user(b"ann", [b"on", b">pass:word", b"+info"])
        self.server.users.set_user(b"default", [b"resetpass"])
        self.streams: list[Request] = []
        self.site = Site(
            self.clock,
            Origins(("KV.example",)),
            Visitors(self.server),
            {
                b"/open": Route(lambda request, visitor: b"for all", None),
                b"/some": Route(lambda request, visitor: visitor.name.encode(), ("INFO",), b"text/html"),
                b"/few": Route(lambda request, visitor: b"", ("INFO", "CLIENT|LIST")),
                b"/stream": Route(self._stream, None, b"text/event-stream"),
                b"/bug": Route(lambda request, visitor: [][0], None),
            },
        )

    def _stream(self, request: Request, visitor: Visitor) -> int:
        request.write(b"one ")
        self.streams.append(request)
        return NOT_DONE_YET


class AnswerTests(SiteTestCase):
    """Who gets what."""

    def test_get_and_head(self) -> None:
        """The whole body, or its length; nothing is to be kept, framed or guessed, nor loaded from elsewhere."""
        got = get(self.site, "/open")
        self.assertEqual((got.status, got.body), (200, "for all"))
        expected = {"cache-control": "no-store", "x-content-type-options": "nosniff", "connection": "close"}
        self.assertEqual({name: got.headers[name] for name in expected}, expected)
        policy = got.headers["content-security-policy"]
        self.assertTrue("default-src 'none'" in policy and "frame-ancestors 'none'" in policy)
        self.assertNotIn("unsafe", policy)
        head = get(self.site, "/open?x=1", method="HEAD")
        self.assertEqual((head.status, head.body, head.headers["content-length"]), (200, "", "7"))

    def test_other_methods(self) -> None:
        """Nothing can be changed here."""
        for method in ("POST", "PUT", "OPTIONS", "NONE"):
            got = get(self.site, "/open", method=method)
            self.assertEqual((got.status, got.headers["allow"]), (405, "GET, HEAD"))

    def test_paths_that_are_none(self) -> None:
        """Only what there is, letter by letter."""
        for path in ("/", "/nothing", "/open/", "//open", "/../open", "/OPEN", "/%6fpen"):
            self.assertEqual(get(self.site, path).status, 404)

    def test_hosts(self) -> None:
        """Addresses, localhost and the names that were given; no stranger's, and not none or two."""
        for host in (
            "127.0.0.1",
            "10.1.2.3:80",
            "[::1]:8081",
            "localhost",
            "LOCALHOST:1",
            "kv.example",
            "KV.EXAMPLE:8",
        ):
            self.assertEqual(get(self.site, "/open", ("Host", host)).status, 200, host)
        strange = (
            "evil.com",
            "localhost.evil.com",
            "127.0.0.1.evil.com",
            "[::1",
            "evil.com:127",
            "a@b",
            "127.0.0.1@e.f",
        )
        for host in strange:
            self.assertEqual(get(self.site, "/open", ("Host", host)).status, 403, host)
        for headers, status in (((), 200), ((OWN_HOST, OWN_HOST), 403)):
            connection = Connection(self.site)
            connection.send(request("/open", *headers))
            self.assertEqual(connection.answer().status, status)

    def test_other_sites(self) -> None:
        """What a page of another site asks for is not answered; what our own does is."""
        own = f"http://{OWN_HOST[1]}"
        for header in (("Origin", own), ("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "none")):
            self.assertEqual(get(self.site, "/open", header).status, 200)
        for origin in ("http://evil.com", "null", "http://127.0.0.1:9", "", "http://[", "\xff"):
            self.assertEqual(get(self.site, "/open", ("Origin", origin)).status, 403)
        for site in ("cross-site", "same-site"):
            self.assertEqual(get(self.site, "/open", ("Sec-Fetch-Site", site)).status, 403)

    def test_users(self) -> None:
        """Who is somebody gets what they may see."""
        got = get(self.site, "/some")
        self.assertEqual((got.status, got.headers["www-authenticate"]), (401, 'Basic realm="kvstore", charset="UTF-8"'))
        got = get(self.site, "/some", ANN)
        self.assertEqual((got.status, got.body, got.headers["content-type"]), (200, "ann", "text/html"))
        got = get(self.site, "/few", ANN)
        self.assertEqual(got.status, 403)
        self.assertIn("INFO and CLIENT|LIST", got.body)

    def test_strangers(self) -> None:
        """While nobody is asked for a password, those of this machine may see all; others only by TLS."""
        self.server.users.set_user(b"default", [b"nopass"])
        self.assertEqual(get(self.site, "/few").status, 200)
        visitors = self.site.visitors
        for host, secure, may in (
            (None, False, True), ("::1", False, True), ("10.0.0.1", False, False), ("10.0.0.1", True, True)
        ):  # fmt: skip
            visitor = visitors.unnamed(host, secure=secure)
            self.assertEqual(visitor is not None and visitor.may("INFO"), may, host)
        self.server.configuration.set([(b"protected-mode", b"no")])
        self.assertTrue(visitors.unnamed("10.0.0.1", secure=False).may("INFO"))  # type: ignore[union-attr]

    def test_rights_are_those_of_the_moment(self) -> None:
        """Given, taken, and gone with the user."""
        ann = self.site.visitors.named(b"ann", b"pass:word", None)
        assert ann is not None
        self.assertEqual([ann.may(name) for name in ("INFO", "CLIENT|LIST", "SLOWLOG|GET")], [True, False, False])
        self.server.users.set_user(b"ann", [b"+client|list", b"-info"])
        self.assertEqual([ann.may(name) for name in ("INFO", "CLIENT|LIST", "SLOWLOG|GET")], [False, True, False])
        self.server.users.delete(b"ann")
        self.assertFalse(ann.may("CLIENT|LIST"))

    def test_wrong_passwords_are_noted(self) -> None:
        """In ACL LOG, with who asked."""
        Connection(self.site).send(request("/some", OWN_HOST, basic("eve", "x")))
        (entry,) = self.server.gate.log.newest(1, self.now_ms)
        told = [entry[name] for name in ("reason", "object", "username", "client-info")]
        self.assertEqual(told, ["auth", b"HTTP", b"eve", "addr=127.0.0.1 cmd=http user=(none)"])

    def test_wrong_passwords_wait(self) -> None:
        """Their answer comes later; also of what is no HTTP Basic."""
        for header in (
            basic("ann", "pass"),
            ("Authorization", "Basic !"),
            ("Authorization", "Bearer x"),
            basic("", ""),
        ):
            connection = Connection(self.site)
            connection.send(request("/some", OWN_HOST, header))
            self.assertEqual(connection.transport.value(), b"")
            self.clock.advance(HTTP_WRONG_PASSWORD_S)
            self.assertEqual(connection.answer().status, 401)
            connection.lose()
        connection = Connection(self.site)
        connection.send(request("/some", OWN_HOST, basic("ann", "x")))
        connection.lose()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_bugs(self) -> None:
        """A bug is an answer, and a line of the log."""
        got = get(self.site, "/bug")
        self.assertEqual((got.status, got.headers["cache-control"]), (500, "no-store"))
        self.assertEqual(len(self.flushLoggedErrors(IndexError)), 1)


class HostileTests(SiteTestCase):
    """Whatever comes is refused; no bug, and no line in the log."""

    def test_what_is_no_http(self) -> None:
        """The grammars of the port, TLS, and pieces of requests."""
        for data in (
            b"*1\r\n$4\r\nPING\r\n\r\n", b'{"method":"size"}\r\n\r\n', b"\x16\x03\x01\r\n\r\n", b"GET\r\n\r\n",
            b"GET /open HTTP/9.9\r\n\r\n", b"GET /open HTTP/1.1\r\nno header\r\n\r\n", b"\r\n\r\n\r\n\r\n",
            b"GET /open HTTP/1.1\r\nHost: a\r\nHost: b\r\n b\r\n\r\n", b"GET \xff HTTP/1.1\r\n\r\n",
            b"GET /open HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"x" * 2 * MAX_HTTP_HEADER_BYTES,
            b"GET /open HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        ):  # fmt: skip
            connection = Connection(self.site)
            connection.send(data)
            self.clock.advance(HTTP_REQUEST_S)
            self.assertNotIn(b"HTTP/1.1 5", connection.transport.value(), data)
            self.assertTrue(connection.transport.disconnected or connection.transport.disconnecting, data)
            connection.lose()

    def test_any_headers(self) -> None:
        """Of bytes that nobody would send."""
        odd = (
            b"\xff\xfe",
            b"http://[",
            b"[",
            b"]:\x01",
            b"%00",
            b"a" * 5000,
            b"Basic \xff",
            b"Basic " + b"A" * 99,
            b"",
        )
        for name in (b"Host", b"Origin", b"Sec-Fetch-Site", b"Authorization", b"Accept", b"Cookie", b"Connection"):
            for value in odd:
                connection = Connection(self.site)
                connection.send(b"GET /some HTTP/1.1\r\n%b: %b\r\n\r\n" % (name, value))
                self.clock.advance(HTTP_WRONG_PASSWORD_S)
                self.assertIn(connection.answer().status, (200, 400, 401, 403), (name, value))
                connection.lose()


class LimitTests(SiteTestCase):
    """What one connection may do, and how many there are."""

    def test_connections(self) -> None:
        """So many; then none is accepted until one goes."""
        accepted: list[bool] = []
        self.site.accept = accepted.append
        connections = [Connection(self.site) for _ in range(MAX_HTTP_CONNECTIONS - 1)]
        self.assertEqual(accepted, [])
        Connection(self.site)
        self.assertEqual(accepted, [False])
        self.assertIsNone(Connection(self.site).protocol)
        for connection in connections:
            connection.lose()
        self.assertEqual(accepted, [False, True])
        self.assertIsNotNone(Connection(self.site).protocol)

    def test_headers(self) -> None:
        """So many, and so long altogether with the first line."""
        for count, status in ((MAX_HTTP_HEADERS - 1, 200), (MAX_HTTP_HEADERS, 400)):
            self.assertEqual(get(self.site, "/open", *([("X", "y")] * count)).status, status)
        first = len("GET /open HTTP/1.1" + "Host: " + OWN_HOST[1] + "X: ")
        for length, status in ((MAX_HTTP_HEADER_BYTES, 200), (MAX_HTTP_HEADER_BYTES + 1, 400)):
            connection = Connection(self.site)
            half = (length - first - len("Y: ")) // 2
            rest = length - first - len("Y: ") - half
            connection.send(request("/open", OWN_HOST, ("X", "x" * half), ("Y", "y" * rest)))
            self.assertEqual(connection.answer().status, status)
            connection.lose()

    def test_bodies(self) -> None:
        """None is taken, however it is announced; what follows is not looked at."""
        for header in (("Content-Length", "5"), ("Content-Length", "99999999"), ("Transfer-Encoding", "chunked")):
            connection = Connection(self.site)
            connection.send(request("/open", OWN_HOST, header, ("Expect", "100-continue")) + b"12345\r\n")
            self.assertEqual(connection.answer().status, 413)
            self.assertTrue(connection.transport.disconnecting)
        self.assertEqual(get(self.site, "/open", ("Content-Length", "0")).status, 200)

    def test_one_request_a_connection(self) -> None:
        """What is sent behind the first is not answered."""
        connection = Connection(self.site)
        connection.send(request("/open", OWN_HOST) * 3)
        self.assertEqual(connection.transport.value().count(b"HTTP/1.1"), 1)
        self.assertTrue(connection.transport.disconnecting)

    def test_a_request_has_a_time(self) -> None:
        """However busily its bytes come in."""
        connection = Connection(self.site)
        for byte in request("/open", OWN_HOST)[:HTTP_REQUEST_S]:
            self.assertFalse(connection.transport.disconnected)
            connection.send(bytes([byte]))
            self.clock.advance(1)
        self.assertTrue(connection.transport.disconnected)

    def test_an_answer_has_a_time(self) -> None:
        """To be taken by the client."""
        connection = Connection(self.site)
        connection.send(request("/open", OWN_HOST))
        self.clock.advance(HTTP_ANSWER_S - 1)
        self.assertFalse(connection.transport.disconnected)
        self.clock.advance(1)
        self.assertTrue(connection.transport.disconnected)

    def test_streams(self) -> None:
        """What is made by and by lasts, and ends as any other; HEAD gets none of it."""
        connection = Connection(self.site)
        connection.send(request("/stream", OWN_HOST))
        self.clock.advance(HTTP_REQUEST_S + HTTP_ANSWER_S)
        self.assertFalse(connection.transport.disconnected)
        connection.send(b"x" * MAX_HTTP_HEADER_BYTES)
        self.streams[0].write(b"two")
        self.assertIn("one", connection.answer().body)
        self.assertIn("two", connection.answer().body)
        self.streams[0].finish()
        self.assertTrue(connection.transport.disconnecting)

    def test_who_goes_on_sending(self) -> None:
        """While it is answered, it is cut off."""
        connection = Connection(self.site)
        connection.send(request("/stream", OWN_HOST) + b"x" * MAX_HTTP_HEADER_BYTES)
        self.assertFalse(connection.transport.disconnected)
        connection.send(b"x")
        self.assertTrue(connection.transport.disconnected)

    def test_answers_wait_for_their_turn(self) -> None:
        """Not those of who is gone by then, or has waited for as long as a request may take."""
        waiting: list[Callable[[], None]] = []
        self.site.pace = waiting.append
        first, second = Connection(self.site), Connection(self.site)
        for connection in (first, second):
            connection.send(request("/open", OWN_HOST) * 2)
        self.assertEqual((len(waiting), first.transport.value()), (2, b""))
        second.lose()
        for answer in waiting:
            answer()
        self.assertEqual((first.answer().body, second.transport.value()), ("for all", b""))
        late = Connection(self.site)
        late.send(request("/open", OWN_HOST))
        self.clock.advance(HTTP_REQUEST_S)
        self.assertTrue(late.transport.disconnected)

    def test_the_end(self) -> None:
        """All connections are closed at once."""
        connection = Connection(self.site)
        self.site.close()
        self.assertTrue(connection.transport.disconnected)
