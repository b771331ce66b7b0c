"""The connection by hand: what it reads, against bytes that a socket pair gives it."""

from __future__ import annotations

import socket
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.address import Address
from kvstore.client.raw import RawConnection, resp_request


class RawConnectionTests(SynchronousTestCase):
    """`RawConnection`, with the test as its server."""

    def setUp(self) -> None:
        """Listen, connect, accept."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.raw = RawConnection(Address(*listener.getsockname()))
            self.server, _ = listener.accept()
        self.addCleanup(self.server.close)
        self.addCleanup(self.raw.__exit__, None, None, None)

    def reads(self, data: bytes) -> Any:
        """The RESP reply that these bytes are."""
        self.server.sendall(data)
        return self.raw.resp()

    def test_sends_bytes(self) -> None:
        """What is sent arrives as it is."""
        self.raw.send(b"\x00\xff\r\n")
        self.assertEqual(self.server.recv(100), b"\x00\xff\r\n")

    def test_lines(self) -> None:
        """A line ends at LF and loses its CR; a JSON reply is a line."""
        self.server.sendall(b'one\r\ntwo\n{"a":1}\r\nthree\r\n')
        self.assertEqual([self.raw.line(), self.raw.line()], [b"one", b"two"])
        self.assertEqual(self.raw.reply(), {"a": 1})
        self.assertRaises(ValueError, self.raw.reply)

    def test_resp(self) -> None:
        """Each kind of RESP2 reply becomes its Python value, nested too."""
        self.assertEqual(self.reads(b"+OK\r\n"), "+OK")
        self.assertEqual(self.reads(b"-ERR no\r\n"), "-ERR no")
        self.assertEqual(self.reads(b":-7\r\n"), -7)
        self.assertEqual(self.reads(b"$4\r\n\r\n\x00\xff\r\n"), b"\r\n\x00\xff")
        self.assertEqual(self.reads(b"$0\r\n\r\n"), b"")
        self.assertIsNone(self.reads(b"$-1\r\n"))
        self.assertIsNone(self.reads(b"*-1\r\n"))
        self.assertEqual(self.reads(b"*2\r\n*1\r\n:1\r\n$1\r\na\r\n"), [[1], b"a"])
        with self.assertRaises(ValueError):
            self.reads(b'{"result":"success"}\r\n')

    def test_closed_by_the_server(self) -> None:
        """An end in the middle of a reply is an OSError; an end in between is seen."""
        self.server.sendall(b"$10\r\nabc")
        self.server.close()
        self.assertRaises(ConnectionResetError, self.raw.resp)
        self.assertRaises(ConnectionResetError, self.raw.line)
        self.assertTrue(self.raw.ended())

    def test_not_closed(self) -> None:
        """A server that goes on talking has not ended the connection."""
        self.server.sendall(b"+")
        self.assertFalse(self.raw.ended())

    def test_requests(self) -> None:
        """A request in RESP counts words and bytes."""
        self.assertEqual(resp_request("GET", "ü"), b"*2\r\n$3\r\nGET\r\n$2\r\n\xc3\xbc\r\n")
        self.assertEqual(resp_request("SET", b"\xff", b""), b"*3\r\n$3\r\nSET\r\n$1\r\n\xff\r\n$0\r\n\r\n")
