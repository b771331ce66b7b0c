"""Tests for what telnet and people put into lines: telnet's commands, Ctrl-D, blanks and marks before JSON, quotes."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.limits import MAX_HEADER_BYTES
from kvstore.wire.parser import RequestParser
from kvstore.wire.telnet import Negotiation, take, take_front
from tests.kit.wire_streams import answer, bad, cuts, json_line, read, refused, words

UNBALANCED = "unbalanced quotes in request; the line was dropped"
#: What telnet sends for Ctrl-C: interrupt, and the wish to be told when that has come through.
CTRL_C = b"\xff\xf4\xff\xfd\x06"


class CommandTests(SynchronousTestCase):
    """Telnet's commands are taken for what they are."""

    def assert_read(self, stream: bytes, *items: tuple[str, object]) -> None:
        """The stream is these items, at every cut."""
        for chunks in cuts(stream):
            self.assertEqual(read(chunks), list(items), stream)

    def test_ctrl_c(self) -> None:
        """The timing mark is refused, which is an answer: telnet shows nothing before. The next line is read."""
        self.assert_read(CTRL_C + b"PING\r\n", answer(b"\xff\xfc\x06"), words(b"PING"))
        self.assert_read(CTRL_C + CTRL_C + b'{"a":1}\r\n', *[answer(b"\xff\xfc\x06")] * 2, json_line({"a": 1}))

    def test_answered_at_once(self) -> None:
        """Before the line ends."""
        parser = RequestParser()
        self.assertEqual(parser.feed(CTRL_C), [b"\xff\xfc\x06"])
        self.assertEqual(parser.unread_bytes, 0)

    def test_what_was_typed_before(self) -> None:
        """An interrupt, or an erased line, drops it."""
        self.assert_read(b"FLUSHALL" + CTRL_C + b"PING\r\n", answer(b"\xff\xfc\x06"), words(b"PING"))
        self.assert_read(b"FLUSHALL\xff\xf8PING\n", words(b"PING"))

    def test_options(self) -> None:
        """Each option that is asked for is refused; refusals and what follows from them are not answered."""
        self.assert_read(
            b"\xff\xfb\x1f\xff\xfb\x18\xff\xfc\x01\xff\xfe\x03\xff\xfd\x01ECHO a\n",
            answer(b"\xff\xfe\x1f"), answer(b"\xff\xfe\x18"), answer(b"\xff\xfc\x01"), words(b"ECHO", b"a"),
        )  # fmt: skip

    def test_inside_a_line(self) -> None:
        """They are no part of a word."""
        self.assert_read(b"PI\xff\xf1NG\xff\xf6\r\n", words(b"PING"))
        self.assert_read(b"ECHO \xff\xfa\x18\x00xterm\xff\xf0a\n", words(b"ECHO", b"a"))

    def test_the_byte_itself(self) -> None:
        """IAC IAC is one byte 0xFF; one before a byte that is no code is itself."""
        self.assert_read(b"ECHO \xff\xff\n", words(b"ECHO", b"\xff"))
        self.assert_read(b"ECHO \xff \xffa\n", words(b"ECHO", b"\xff", b"\xffa"))
        self.assert_read(b"\xff\xffx\n", words(b"\xffx"))
        self.assert_read(b'ECHO "\\xff\\xf4"\n', words(b"ECHO", b"\xff\xf4"))

    def test_nothing_but_commands(self) -> None:
        """Such a line is blank."""
        self.assert_read(b"\xff\xf1\r\n\xff\xf1 \n", *[])

    def test_limit(self) -> None:
        """A line with more of them than a line of Redis's has bytes ends the stream."""
        for count, fits in ((MAX_HEADER_BYTES, True), (MAX_HEADER_BYTES + 1, False)):
            expected = words(b"query", b"a") if fits else refused("too big inline request")
            self.assertEqual(read([b"query a" + b"\xff\xf1" * count + b"\n"]), [expected])

    def test_length_of_a_subnegotiation(self) -> None:
        """One longer than telnet's options are stays where it is."""
        for length, taken in ((63, True), (64, True), (65, False)):
            line = b"ECHO a\xff\xfa" + b"x" * length + b"\xff\xf0\n"
            word = b"a" if taken else b"a\xff\xfa" + b"x" * length
            self.assertEqual(read([line]), [words(b"ECHO", word)])

    def test_not_in_resp_nor_in_json(self) -> None:
        """There 0xFF is a byte as any other, or an error."""
        self.assertEqual(read([b"*1\r\n$5\r\n\xff\xf4\xff\xfd\x06\r\n"]), [("list", [CTRL_C])])
        self.assertEqual(read([b'{"a":"\xff\xf1"}\n'])[0][0], "BadLine")

    def test_take(self) -> None:
        """An answer is a class of its own; the front of a line is what cannot become another command."""
        self.assertIs(type(take(b"\xff\xfd\x06")[1][0]), Negotiation)
        self.assertEqual(take_front(b"\xff\xf1\xff\xfd"), (b"\xff\xfd", []))
        self.assertEqual(take_front(b"a\xff\xf1"), (b"a\xff\xf1", []))


class LeavingTests(SynchronousTestCase):
    """Ctrl-D."""

    def test_at_once(self) -> None:
        """It is QUIT without a line end, behind telnet's commands too; nothing after it is read."""
        for stream in (b"\x04", b"\x04\r\nPING\r\n", b"\x04PING\r\n", b"\xff\xf1\x04"):
            for chunks in cuts(stream):
                self.assertEqual(read(chunks), [words(b"QUIT")], stream)

    def test_behind_an_answer(self) -> None:
        """After Ctrl-C."""
        for chunks in cuts(CTRL_C + b"\x04"):
            self.assertEqual(read(chunks), [answer(b"\xff\xfc\x06"), words(b"QUIT")])

    def test_inside_a_line(self) -> None:
        """There it is a byte as any other."""
        self.assertEqual(read([b"ECHO \x04\n"]), [words(b"ECHO", b"\x04")])


class JSONTests(SynchronousTestCase):
    """A JSON line may have blanks or a byte order mark before it."""

    def test_before_the_brace(self) -> None:
        """At every cut."""
        for before in (b" ", b"\t ", b"\xef\xbb\xbf", b"\xef\xbb\xbf "):
            for chunks in cuts(before + b'{"a":1}\r\n' + before + b"{x\nPING\n"):
                items = read(chunks)
                self.assertEqual([kind for kind, _ in items], ["JSONLine", "BadLine", "Words"])
                self.assertEqual(items[0], json_line({"a": 1}))

    def test_before_words(self) -> None:
        """A file saved with a byte order mark begins with a request too."""
        for chunks in cuts(b"\xef\xbb\xbfPING\r\n"):
            self.assertEqual(read(chunks), [words(b"PING")])

    def test_limit(self) -> None:
        """What stands before it counts; a line that is too long is dropped, not the connection."""
        for length, fits in ((20, True), (21, False), (60, False)):
            line = b"  " + b'{"a":"' + b"x" * (length - 10) + b'"}'
            for chunks in cuts(line + b"\r\nping\n"):
                items = read(chunks, 20)
                self.assertEqual([kind for kind, _ in items], ["JSONLine" if fits else "BadLine", "Words"])
        for chunks in cuts(b" " * 25 + b"{}\n"):
            self.assertEqual(read(chunks, 20), [refused("too big inline request")])


class QuoteTests(SynchronousTestCase):
    """A forgotten quote costs the line, not the connection."""

    def test_the_line_is_dropped(self) -> None:
        """The next one is read."""
        for chunks in cuts(b'SET a "b\r\nPING\r\n'):
            self.assertEqual(read(chunks), [bad(UNBALANCED, b"SET"), words(b"PING")])

    def test_what_it_began_with(self) -> None:
        """So that the error is in the grammar of the verb's replies."""
        self.assertEqual(read([b" lookup\t'x\n"]), [bad(UNBALANCED, b"lookup")])
        self.assertEqual(read([b"'\n"]), [bad(UNBALANCED, b"'")])
