"""Tests for `kvstore.wire.foreign`: the first line that is HTTP's or TLS's ends the stream, at every cut."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading

from twisted.trial.unittest import SynchronousTestCase

from kvstore.wire.parser import RequestParser
from tests.kit.browser import FETCH, FORM, PREFLIGHT, TLS_HELLO, WEB_SOCKET
from tests.kit.wire_streams import bad, cuts, read, refused, words

HTTP = refused("this port does not speak HTTP")
TLS = refused("this port does not speak TLS")


class HTTPTests(SynchronousTestCase):
    """The first bad line is answered with an error, and nothing after it is read."""

    def assert_refused(self, line: bytes) -> None:
        """The line ends the stream, in the middle of a pipeline too, however it is cut."""
        stream = b"PING\r\n" + line + b"\r\nSET hacked 1\r\n" + b"*1\r\n$4\r\nPING\r\n{}\r\n"
        for chunks in cuts(stream):
            self.assertEqual(read(chunks), [words(b"PING"), HTTP], line)

    def test_first_words(self) -> None:
        """POST and Host: are what Redis looks for; case and blanks around them do not matter."""
        for line in (
            b"POST / HTTP/1.1",
            b"post",
            b"Host: x",
            b"HOST:\tx",
            b"host:",
            b"  Host: x",
            b'Host: "x',
            b"POST '",
        ):
            self.assert_refused(line)

    def test_request_lines(self) -> None:
        """A method of HTTP's, or any word with a path, and a version of HTTP behind it."""
        for line in (
            *(b"GET / HTTP/1.1", b"GET http://x/ HTTP/1.0", b"HEAD / HTTP/1.1", b"PUT /a?b HTTP/1.1"),
            *(b"PRI * HTTP/2.0", b"OPTIONS * HTTP/1.1", b"CONNECT x:443 HTTP/1.1", b"PROPFIND / HTTP/1.1"),
            b"SET /hacked HTTP/1.1",
        ):  # fmt: skip
            self.assert_refused(line)

    def test_a_browser(self) -> None:
        """Of what a page can have Chromium send nothing is read."""
        for sent in (FETCH, FORM, PREFLIGHT, WEB_SOCKET):
            for chunks in cuts(sent):
                self.assertEqual(read(chunks), [HTTP])
        for chunks in cuts(TLS_HELLO):
            self.assertEqual(read(chunks), [TLS])

    def test_behind_telnets_bytes(self) -> None:
        """Neither telnet's bytes nor a byte order mark hide it."""
        for line in (
            b"\xff\xfc\x01POST /",
            b"\xef\xbb\xbfHost: x",
            b"x\xff\xf4POST /",
            b"POST / \xff\xf4",
            b"PO\xff\xf1ST /",
        ):
            self.assertEqual(read([line + b"\r\nSET a b\r\n"]), [HTTP], line)

    def test_what_people_type(self) -> None:
        """No honest request is taken for one."""
        for line in (
            *(b"GET /", b"GET HTTP/1.1", b"SET k HTTP/1.1", b"SET post HTTP/1.1", b"ECHO Host:", b"SET Host: x"),
            *(b"postpone", b"hosts", b"GET k  HTTP/1.1", b"lookup /x", b"GET /x HTTP"),
            *(b"SET '/x' HTTP/1.1", b"SET /x 'HTTP/1.1'"),
        ):  # fmt: skip
            (item,) = read([line + b"\r\n"])
            self.assertEqual(item[0], "Words", line)

    def test_in_other_grammars(self) -> None:
        """It may stand in a JSON line and in RESP."""
        stream = b'{"method":"POST"}\r\n*3\r\n$4\r\nPOST\r\n$1\r\n/\r\n$8\r\nHTTP/1.1\r\n'
        self.assertEqual([kind for kind, _ in read([stream])], ["JSONLine", "list"])

    def test_what_the_log_is_told(self) -> None:
        """The protocol's name, and the line."""
        (error,) = RequestParser().feed(b" CONNECT x:443 HTTP/1.1\r\nx")
        self.assertEqual((error.name, error.line), ("HTTP", b"CONNECT x:443 HTTP/1.1"))  # type: ignore[union-attr]


class TLSTests(SynchronousTestCase):
    """A TLS hello holds bytes that somebody else may have chosen."""

    def test_at_once(self) -> None:
        """It ends the stream before a line ends."""
        self.assertEqual(read([b"\x16\x03"]), [TLS])
        self.assertEqual(read([b"PING\n\x16", b"\x03\x01"]), [words(b"PING"), TLS])

    def test_at_every_cut(self) -> None:
        """Nothing in it is read."""
        for chunks in cuts(b"\x16\x03\x01\x02\x00\nSET hacked 1\nPING\n"):
            self.assertEqual(read(chunks), [TLS])

    def test_a_real_hello(self) -> None:
        """What Python's ssl sends first."""
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        context = ssl.create_default_context()

        def shake() -> None:
            with theirs, contextlib.suppress(OSError):  # nobody answers
                context.wrap_socket(theirs, server_hostname="SET.hacked.1")

        thread = threading.Thread(target=shake)
        thread.start()
        hello = ours.recv(4096)
        ours.close()
        thread.join()
        self.assertEqual(read([hello]), [TLS])

    def test_another_line_with_that_byte(self) -> None:
        """Only both bytes, where a line begins, are a hello."""
        self.assertEqual(read([b"\x16PING\n"]), [words(b"\x16PING")])
        self.assertEqual(read([b"PING \x16\x03\n"]), [words(b"PING", b"\x16\x03")])
        self.assertEqual(read([b'x"\n']), [bad("unbalanced quotes in request; the line was dropped", b'x"')])
