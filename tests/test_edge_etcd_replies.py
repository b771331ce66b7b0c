"""HTTP replies as etcd's gateway sends them: whole, in pieces, in chunks, and such as it never sends."""

from __future__ import annotations

from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.limits import MAX_ETCD_HEADER_BYTES
from kvstore.edge.etcd import replies
from kvstore.edge.etcd.replies import BadReply, Reply, ReplyParser

PLAIN = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"a":"b"}'
CHUNKED = b"HTTP/1.1 400 Bad Request\r\ntransfer-encoding: chunked\r\n\r\n"
CHUNKED += b'4\r\n{"a"\r\n5;x=y\r\n:"b"}\r\n0\r\nTrailer: t\r\n\r\n'
STREAM = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{"a"\r\n9\r\n:1}\n{"b":\r\n6\r\n2}\n\n\n\n\r\n'


def parsed(*pieces: bytes, lines: bool = False) -> list[Reply]:
    """What comes of these pieces, fed one after the other."""
    parser = ReplyParser(lines=lines)
    return [reply for piece in pieces for reply in parser.feed(piece)]


class ReplyTests(SynchronousTestCase):
    """Whole replies."""

    def test_whole(self) -> None:
        """With a length, in chunks with trailers, empty; one after the other."""
        empty = b"HTTP/1.1 204 \r\nContent-Length: 0\r\n\r\n"
        both = [Reply(200, b'{"a":"b"}'), Reply(400, b'{"a":"b"}')]
        self.assertEqual(parsed(PLAIN + CHUNKED + empty + PLAIN), [*both, Reply(204, b""), both[0]])

    def test_every_cut(self) -> None:
        """Byte by byte, and in every two pieces, with what follows: the same."""
        data = CHUNKED + PLAIN + CHUNKED
        whole = parsed(data)
        self.assertEqual(parsed(*(data[at : at + 1] for at in range(len(data)))), whole)
        for at in range(len(data)):
            self.assertEqual(parsed(data[:at], data[at:]), whole)

    def test_nonsense(self) -> None:
        """What is no reply, or of no known length, or has chunks that are none."""
        for data in (
            b"+PONG\r\n\r\n", b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", CHUNKED.replace(b"4\r\n", b"x\r\n"),
            CHUNKED.replace(b"4\r\n", b"3\r\n"), CHUNKED.replace(b"4\r\n", b"-4\r\n"),
        ):  # fmt: skip
            self.assertRaises(BadReply, parsed, data)

    def test_limits(self) -> None:
        """A header without an end, and more of a body than anybody asked for, announced or not."""
        self.assertEqual(parsed(b"x" * MAX_ETCD_HEADER_BYTES), [])
        self.assertRaises(BadReply, parsed, b"x" * (MAX_ETCD_HEADER_BYTES + 1))
        with mock.patch.object(replies, "MAX_ETCD_REPLY_BYTES", 9):
            self.assertEqual(len(parsed(PLAIN + CHUNKED)), 2)
            self.assertEqual(len(parsed(STREAM, lines=True)), 2)
            self.assertRaises(BadReply, parsed, STREAM.replace(b"}\n", b"} "), lines=True)
        with mock.patch.object(replies, "MAX_ETCD_REPLY_BYTES", 8):
            self.assertRaises(BadReply, parsed, PLAIN)
            self.assertRaises(BadReply, parsed, CHUNKED)


class LineTests(SynchronousTestCase):
    """The lines of an endless reply."""

    def test_as_they_come(self) -> None:
        """However they are cut into chunks and pieces; blank ones are none, and the end is told."""
        lines = [Reply(200, b'{"a":1}'), Reply(200, b'{"b":2}')]
        end = b"3\r\n{3}\r\n0\r\n\r\n"
        self.assertEqual(parsed(STREAM, lines=True), lines)
        data = STREAM + end
        for at in range(len(data)):
            found = parsed(data[:at], data[at:], lines=True)
            self.assertEqual(found, [*lines, Reply(200, b"{3}"), Reply(200, b"")])

    def test_an_error(self) -> None:
        """A reply that is not endless is a line, and an end."""
        self.assertEqual(parsed(CHUNKED, lines=True), [Reply(400, b'{"a":"b"}'), Reply(400, b"")])
