"""Tests for `kvstore.wire.parser`: which grammar a request is in, lines, limits; and that cuts change nothing."""

from __future__ import annotations

import json

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.limits import MAX_INLINE_BYTES, MAX_JSON_DEPTH, MAX_REQUEST_BYTES, MAX_REQUEST_ELEMENTS
from kvstore.wire.parser import BOUNDARY, BadLine, JSONLine, Request, RequestParser, Words
from kvstore.wire.resp import pack
from tests.kit.wire_counting import CountingBytearray, counted
from tests.kit.wire_streams import (
    RAW_TAILS,
    array,
    bad,
    careful_only,
    cut_at,
    cuts,
    described,
    json_line,
    places,
    read,
    refused,
    streams,
    words,
)

MIXED = (
    pack(b"SET", b"a", b"b\r\nc")
    + b'ping\r\n{"method":"size"}\n\r\n*0\r\n'
    + pack(b"GET", b"a") * 3
    + b'{not json}\r\n \t\r\n*-1\r\ninsert \'a key\' {"x": "y z"} \n'
    + pack(b"SET", b"", b"\r\n*1\r\n$1\r\nx")
)
MIXED_ITEMS = [
    array(b"SET", b"a", b"b\r\nc"),
    words(b"ping"),
    json_line({"method": "size"}),
    *[array(b"GET", b"a")] * 3,
    bad("the line is not one JSON object: unexpected character, expected a string key: line 1 column 2 (char 1)"),
    words(b"insert", b"a key", b'{"x": "y z"}'),
    array(b"SET", b"", b"\r\n*1\r\n$1\r\nx"),
]


class GrammarTests(SynchronousTestCase):
    """The first byte of each request says its grammar."""

    def test_mixed_at_every_cut(self) -> None:
        """All three grammars alternate in one stream, and no cut changes what is read."""
        for chunks in cuts(MIXED):
            self.assertEqual(read(chunks), MIXED_ITEMS)

    def test_array_is_a_plain_list(self) -> None:
        """A RESP request has class `list` itself, a line of words has not: the session tells them apart by class."""
        items = RequestParser().feed(pack(b"PING") + b"PING\r\n")
        self.assertEqual([type(item) for item in items], [list, Words])

    def test_what_is_no_request(self) -> None:
        """Blank lines and arrays of no or negative length are skipped, as Redis does."""
        self.assertEqual(read([b"\r\n\n \t \r\n*0\r\n*-1\r\n*-5\r\n\r\n"]), [])

    def test_line_ends(self) -> None:
        """A line ends at LF, with or without CR before it."""
        self.assertEqual(read([b"PING\nPING\r\n{}\n{}\r\n"]), [words(b"PING")] * 2 + [json_line({})] * 2)

    def test_raw_tails(self) -> None:
        """The parser passes on which verbs take the rest of the line as it stands."""
        line = b"x a  'b c'  d\n"
        self.assertEqual(RequestParser().feed(line), [[b"x", b"a", b"b c", b"d"]])
        self.assertEqual(RequestParser({b"X": 2}).feed(line), [[b"x", b"a", b"'b c'  d"]])

    def test_items_compare_and_show(self) -> None:
        """JSON lines compare by content and show it."""
        self.assertEqual(JSONLine({"a": 1}), JSONLine({"a": 1}))
        self.assertNotEqual(JSONLine({"a": 1}), JSONLine({}))
        self.assertEqual(repr(JSONLine({})), "JSONLine({})")


class JSONLineTests(SynchronousTestCase):
    """A line that begins with a brace is one JSON object, or is answered as invalid; it never ends the stream."""

    def assert_bad(self, line: bytes, reason: str) -> None:
        """The line alone is bad, for this reason, and the next one is read."""
        item, following = RequestParser().feed(line + b"\r\n{}\r\n")
        self.assertIsInstance(item, BadLine)
        self.assertIn(reason, item.reason)  # type: ignore[union-attr]
        self.assertNotIn("\n", item.reason)  # type: ignore[union-attr]
        self.assertEqual(following, JSONLine({}))

    def test_members(self) -> None:
        """An object's members come as JSON has them, whatever they are called."""
        text = {"method": "insert", "key": "zebra", "value": {"weight": 100, "names": ["fred", None, 1.5, True]}}
        self.assertEqual(RequestParser().feed(json.dumps(text).encode() + b"\n"), [JSONLine(text)])

    def test_not_json(self) -> None:
        """A line that is not JSON, or has something after the object, is bad."""
        self.assert_bad(b"{", "not one JSON object")
        self.assert_bad(b"{} {}", "not one JSON object")
        self.assert_bad(b'{"a":NaN}', "NaN is not JSON")

    def test_invalid_utf8(self) -> None:
        """A line that is not UTF-8 is bad."""
        self.assert_bad(b'{"a":"\xff"}', "not UTF-8 at byte 6")

    def test_deep(self) -> None:
        """A member nested deeper than a value may be is bad; the parser's own stack is not at risk."""
        for depth, is_bad in ((MAX_JSON_DEPTH, False), (MAX_JSON_DEPTH + 1, True), (100_000, True)):
            line = b'{"a":' + b"[" * depth + b"]" * depth + b"}"
            if is_bad:
                self.assert_bad(line, "nested more than")
            else:
                self.assertIsInstance(RequestParser().feed(line + b"\n")[0], JSONLine)


class LimitTests(SynchronousTestCase):
    """No request is larger than the limit, and one that is costs no memory."""

    def test_words_line(self) -> None:
        """A line of words may be as long as the limit, and ends the stream when it is longer."""
        for length, fits in ((19, True), (20, True), (21, False)):
            line = b"echo " + b"x" * (length - 5)
            expected = [words(b"echo", line[5:])] if fits else [refused("too big inline request")]
            for end in (b"\n", b"\r\n"):
                for chunks in cuts(line + end):
                    self.assertEqual(read(chunks, 20), expected)

    def test_inline_request(self) -> None:
        """One that begins with no verb of our own has at most 64 KiB, whether it ends or not; others may be longer."""
        for length, fits in ((MAX_INLINE_BYTES, True), (MAX_INLINE_BYTES + 1, False)):
            line = b"echo " + b"x" * (length - 5)
            expected = [words(b"echo", line[5:])] if fits else [refused("too big inline request")]
            for chunks in ([line + b"\n"], [line, b"\r\n"], [line[:3], line[3:] + b"\n"]):
                self.assertEqual(read(chunks), expected)
            self.assertEqual(read([line]), [] if fits else expected)
            for line in (b" " * length, b"x" * length, b"insertx" + b" " * length):
                self.assertEqual(
                    read([line]), [] if len(line) <= MAX_INLINE_BYTES else [refused("too big inline request")]
                )
        value = b"1" * MAX_INLINE_BYTES
        for line in (b"insert k " + value, b" Insert k\t" + value):
            for chunks in ([line + b"\n"], [line, b"\n"], [line[:70], line[70:], b"\r\n"]):
                self.assertEqual(read(chunks), [words(line.split()[0], b"k", value)])

    def test_json_line(self) -> None:
        """A JSON line may be as long as the limit; a longer one is bad, and the next request is read."""
        too_long = bad("the line is longer than 20 bytes, the most this server takes")
        for length, fits in ((19, True), (20, True), (21, False), (60, False)):
            line = b'{"a":"' + b"x" * (length - 8) + b'"}'
            expected = [json_line({"a": "x" * (length - 8)}) if fits else too_long, words(b"ping")]
            for end in (b"\n", b"\r\n"):
                for chunks in cuts(line + end + b"ping\n"):
                    self.assertEqual(read(chunks, 20), expected)

    def test_too_long_json_line_is_not_held(self) -> None:
        """Once a JSON line is too long it is answered, and what follows of it is held no more."""
        parser = RequestParser({}, 1000)
        self.assertEqual(parser.feed(b"{" + b"x" * 999), [])
        self.assertEqual(parser.unread_bytes, 1000)
        self.assertEqual(len(parser.feed(b"x")), 1)
        for _ in range(10):
            self.assertEqual(parser.feed(b"x" * 1000), [])
            self.assertEqual(parser.unread_bytes, 0)
        self.assertEqual(parser.feed(b"\nPING\n"), [[b"PING"]])

    def test_bulk_string(self) -> None:
        """A bulk string may be as long as the limit; the header of a longer one ends the stream at once."""
        for length, fits in ((19, True), (20, True), (21, False)):
            stream = pack(b"x" * length)
            expected = [array(b"x" * length)] if fits else [refused("invalid bulk length")]
            for chunks in cuts(stream):
                self.assertEqual(read(chunks, 20), expected)
        self.assertEqual(read([b"*1\r\n$21\r\n"], 20), [refused("invalid bulk length")])

    def test_sum_of_bulk_strings(self) -> None:
        """All arguments of one request together may be as long as the limit; each request begins anew."""
        for length, fits in ((9, True), (10, True), (11, False)):
            stream = pack(b"x" * 10, b"x" * length)
            expected = [array(b"x" * 10, b"x" * length)] * 2 if fits else [refused("invalid bulk length")]
            for chunks in cuts(stream * 2):
                self.assertEqual(read(chunks, 20), expected)

    def test_number_of_words(self) -> None:
        """A line may have as many words as an array may have elements."""
        for count, fits in ((MAX_REQUEST_ELEMENTS, True), (MAX_REQUEST_ELEMENTS + 1, False)):
            (item,) = RequestParser({b"A": 0}).feed(b"a " * count + b"\n")
            if fits:
                self.assertEqual(len(item), count)  # type: ignore[arg-type]
            else:
                self.assertEqual(str(item), "ERR Protocol error: too big inline request")

    def test_default(self) -> None:
        """Without a word the limit is the one in `limits`."""
        header = b"*1\r\n$%d\r\n"
        self.assertEqual(RequestParser().feed(header % MAX_REQUEST_BYTES), [])
        self.assertEqual(len(RequestParser().feed(header % (MAX_REQUEST_BYTES + 1))), 1)


class UniformTests(SynchronousTestCase):
    """`feed_uniform`: a pipeline of one command as columns, where the parser is between requests."""

    GETS = pack(b"GET", b"a") * 8

    def test_between_requests(self) -> None:
        """It is taken, again and again; the parser is where it was."""
        parser = RequestParser()
        for _ in range(2):
            pipeline = parser.feed_uniform(self.GETS + b"PI")
            assert pipeline is not None
            self.assertEqual((pipeline.requests(), pipeline.rest), ([[b"GET", b"a"]] * 8, b"PI"))
            self.assertEqual((parser.unread_bytes, parser.state is BOUNDARY), (0, True))

    def test_inside_a_request(self) -> None:
        """What goes on with an earlier chunk is none, whatever it looks like; `feed` takes it then."""
        for begun in (b"*2\r\n$4\r\nECHO\r\n$200\r\n", b"ECHO ", b'{"method":', b"*", b'{"' + b"x" * 2000):
            parser = RequestParser({}, 1000)
            parser.feed(begun)
            self.assertIsNone(parser.feed_uniform(self.GETS))
            self.assertEqual(
                described_all(parser.feed(self.GETS)), read([begun, self.GETS], 1000)[len(read([begun], 1000)) :]
            )

    def test_dead(self) -> None:
        """After a protocol error nothing is taken."""
        parser = RequestParser()
        parser.feed(b"*x\r\n")
        self.assertIsNone(parser.feed_uniform(self.GETS))

    def test_limit(self) -> None:
        """A chunk as long as the largest request is taken; in a longer one each request has to be measured."""
        size = len(self.GETS)
        for limit, taken in ((size - 1, False), (size, True), (size + 1, True)):
            self.assertEqual(RequestParser({}, limit).feed_uniform(self.GETS) is not None, taken)

    @given(st.lists(st.one_of(st.just(GETS), st.just(pack(b"SET", b"key", b"1") * 7), streams), max_size=6), places)
    def test_agrees_with_feed(self, parts: list[bytes], cut_places: list[int]) -> None:
        """Tried before `feed` on every chunk, it changes nothing in what is read."""
        stream = b"".join(parts)
        chunks = cut_at(stream, cut_places)
        self.assertEqual(read_uniform_first(chunks), read(chunks))


def described_all(items: list[Request]) -> list[tuple[str, object]]:
    """Items as `read` shows them."""
    return [described(item) for item in items]


def read_uniform_first(chunks: list[bytes]) -> list[tuple[str, object]]:
    """As `read`, by a session's way: `feed_uniform` first, and again on what that left over."""
    parser = RequestParser(RAW_TAILS, 1 << 20)
    items: list[tuple[str, object]] = []
    for chunk in chunks:
        rest = chunk
        while rest and (pipeline := parser.feed_uniform(rest)) is not None:
            items += [array(*request) for request in pipeline.requests()]
            rest = pipeline.rest
        items += described_all(parser.feed(rest))
    return items


class DeathTests(SynchronousTestCase):
    """After a protocol error nothing more is read."""

    def test_error_is_last(self) -> None:
        """What came before the error is returned, the error is the last item, and the parser stays dead."""
        expected = [array(b"PING"), refused("expected '$', got ':'")]
        for chunks in cuts(pack(b"PING") + b"*1\r\n:5\r\n" + pack(b"PING") + b"PING\r\n{}\r\n"):
            self.assertEqual(read([*chunks, pack(b"PING"), b"PING\n"]), expected)

    def test_holds_nothing(self) -> None:
        """A dead parser holds no bytes, however it died."""
        for stream in (b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n!", b'"' * 100, b"POST /\n", b"\x16\x03", b"\x04", b"*x\r\n"):
            parser = RequestParser({}, 50)
            for place in range(len(stream)):
                parser.feed(stream[place : place + 1])
            self.assertEqual(parser.unread_bytes, 0)
            self.assertEqual(parser.feed(b"PING\r\n" * 100), [])
            self.assertEqual(parser.unread_bytes, 0)


class UnreadTests(SynchronousTestCase):
    """The parser knows how much of an incomplete request it holds."""

    def test_unread_bytes(self) -> None:
        """It is the bytes since the last complete request, in every grammar, at every cut."""
        for request in (pack(b"SET", b"key", b"x" * 30), b"set key 'a b'\r\n", b'{"a": "b"}\r\n', b"*-1\r\n", b"\r\n"):
            for place in range(len(request)):
                parser = RequestParser()
                parser.feed(b"PING\r\n" + request[:place])
                self.assertEqual(parser.unread_bytes, place)
                parser.feed(request[place:])
                self.assertEqual(parser.unread_bytes, 0)
            for place in range(len(request)):
                self.assertEqual(parser.unread_bytes, place)
                parser.feed(request[place : place + 1])


class WorkTests(SynchronousTestCase):
    """The work is linear in the bytes, however they come: counted, not timed."""

    def test_drip(self) -> None:
        """A request of a million bytes in small chunks has each byte copied a few times, not once a chunk."""
        size = 1_000_000
        for request, step in (
            (pack(b"SET", b"key", b"x" * size), 100),
            (pack(*[b"x"] * (size // 8)), 10),
            (b'{"a":"' + b"x" * size + b'"}\n', 100),
            (b"set a " + b"x" * size + b"\n", 100),
            (b"*" + b"1" * 60_000, 1),
        ):
            with counted() as work:
                parser = RequestParser()
                items = [item for at in range(0, len(request), step) for item in parser.feed(request[at : at + step])]
            self.assertEqual(len(items), request[-1:] == b"\n")
            self.assertLess(work.touched_bytes, 3 * len(request))

    def test_counter_sees_repeated_work(self) -> None:
        """The counter does count: a buffer that is searched again for every chunk is far over the limit."""
        with counted() as work:
            held = CountingBytearray()
            for _ in range(1000):
                held += b"x"
                held.find(b"\n")
        self.assertGreater(work.touched_bytes, 100 * 1000)


class AgreementTests(SynchronousTestCase):
    """Whatever the bytes, how they are cut and which reader sees them changes nothing."""

    @given(streams, places, st.sampled_from([1 << 20, 5000, 40, 7]))
    @example(b"*2\r\n$1\r\na\r\n+x\r\n", [], 1 << 20)
    @example(b"*1\r\n$4\r\nPING*X~1\r\n$1\r\na\r\n", [], 1 << 20)
    @example(pack(b"SET", b"a", b"\r\n*1\r\n$1\r\nx") + pack(b"GET", b"a"), [], 1 << 20)
    def test_cuts_and_readers_agree(self, stream: bytes, cut_places: list[int], limit: int) -> None:
        """One chunk or many, with the fast path or without: the same items."""
        whole = read([stream], limit)
        self.assertEqual(read(cut_at(stream, cut_places), limit), whole)
        with careful_only():
            self.assertEqual(read([stream], limit), whole)
            self.assertEqual(read([stream[place : place + 1] for place in range(len(stream))], limit), whole)

    @given(st.lists(st.lists(st.binary(max_size=30), min_size=1, max_size=5), max_size=20), places)
    def test_arrays_come_back(self, requests: list[list[bytes]], cut_places: list[int]) -> None:
        """What `pack` wrote is read back, whatever bytes the arguments have."""
        stream = b"".join(pack(*request) for request in requests)
        self.assertEqual(read(cut_at(stream, cut_places)), [array(*request) for request in requests])

    @given(st.lists(st.binary(max_size=40), max_size=6))
    def test_nothing_escapes(self, chunks: list[bytes]) -> None:
        """No bytes at all make `feed` raise, and what it holds is part of what it was fed."""
        parser = RequestParser({b"INSERT": 2}, 30)
        for chunk in chunks:
            parser.feed(chunk)
        self.assertLessEqual(parser.unread_bytes, len(b"".join(chunks)))
