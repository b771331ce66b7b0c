"""Tests for `kvstore.wire.multibulk`: what is a RESP request and what is refused, by all three readers."""

from __future__ import annotations

import itertools
import re
import tracemalloc

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.errors import ProtocolError
from kvstore.base.limits import MAX_HEADER_BYTES, MAX_REQUEST_ELEMENTS
from kvstore.wire.multibulk import SHORTEST_PIPELINE_BYTES, Multibulk, split_pipeline, uniform_chunks, uniform_pipeline
from kvstore.wire.parser import RequestParser
from kvstore.wire.resp import pack
from tests.kit.wire_streams import array, careful_only, cuts, read, refused, streams

LIMIT = 1 << 20


class AcceptedTests(SynchronousTestCase):
    """Arrays of bulk strings, whatever is in the strings."""

    def assert_read(self, stream: bytes, *requests: list[bytes]) -> None:
        """At every cut, with trailing bytes and without, and by either reader, the stream is these requests."""
        expected = [array(*request) for request in requests]
        for chunks in cuts(stream):
            self.assertEqual(read(chunks), expected)
        for trailing in (b"*", b"*2\r\n$3\r\nG", b"PI"):
            self.assertEqual(read([stream + trailing]), expected)
        with careful_only():
            self.assertEqual(read([stream]), expected)

    def test_one(self) -> None:
        """One request."""
        self.assert_read(b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n", [b"GET", b"a"])

    def test_pipeline_of_one_shape(self) -> None:
        """Requests with the same number of words, of different lengths."""
        requests = [[b"GET", b"a"], [b"INCR", b""], [b"X", b"y" * 50]]
        self.assert_read(b"".join(pack(*request) for request in requests), *requests)

    def test_pipeline_of_many_shapes(self) -> None:
        """Requests with different numbers of words."""
        requests = [[b"PING"], [b"SET", b"a", b"b"], [b"GET", b"a"], [b"MSET", b"a", b"b", b"c", b"d"], [b"PING"]]
        self.assert_read(b"".join(pack(*request) for request in requests), *requests)

    def test_any_bytes(self) -> None:
        """Strings may hold line ends, and what looks like headers."""
        odd = [b"\r\n", b"", b"\n", b"\r", b"$1\r\na\r\n", b"*1\r\n$4\r\nPING\r\n", bytes(range(256))]
        self.assert_read(pack(*odd) + pack(b"GET", b"a"), odd, [b"GET", b"a"])

    def test_ignored_arrays(self) -> None:
        """Arrays of no or negative length are no requests, alone and between others."""
        self.assert_read(b"*0\r\n" + pack(b"PING") + b"*-1\r\n*-5\r\n" + pack(b"PING"), [b"PING"], [b"PING"])

    def test_long_strings(self) -> None:
        """Strings around the length up to which headers are looked up, and around that up to which chunks are split."""
        for length in (4095, 4096, 2049, 4090, 4096, 5000, 70_000):
            stream = pack(b"SET", b"k", b"x" * length) * 2 + pack(b"GET", b"a")
            expected = [array(b"SET", b"k", b"x" * length)] * 2 + [array(b"GET", b"a")]
            self.assertEqual(read([stream]), expected)
            self.assertEqual(read([stream[at : at + 1000] for at in range(0, len(stream), 1000)]), expected)

    def test_long_pipeline_in_chunks(self) -> None:
        """A pipeline in chunks of what one read gives, cut in the middle of requests."""
        requests = [[b"SET", b"key:%d" % number, b"x" * (number % 7)] for number in range(5000)]
        stream = b"".join(pack(*request) for request in requests)
        for size in (1000, 4096, 4097, 16_384, 65_536):
            chunks = [stream[at : at + size] for at in range(0, len(stream), size)]
            self.assertEqual(read(chunks), [array(*request) for request in requests])

    def test_elements(self) -> None:
        """A request may have as many elements as the limit says, and one more ends the stream."""
        for count in (1023, 1024, MAX_REQUEST_ELEMENTS - 1, MAX_REQUEST_ELEMENTS):
            (request,) = RequestParser().feed(b"*%d\r\n" % count + b"$1\r\na\r\n" * count)
            self.assertEqual(request, [b"a"] * count)
        self.assertEqual(read([b"*%d\r\n" % (MAX_REQUEST_ELEMENTS + 1)]), [refused("invalid multibulk length")])


class RefusedTests(SynchronousTestCase):
    """What is no array of bulk strings ends the stream, with Redis's words, as soon as it can be known."""

    def assert_refused(self, stream: bytes, text: str) -> None:
        """The last byte of the stream is the first at which it is refused, at every cut and by either reader."""
        before = pack(b"PING")
        for chunks in cuts(before + stream):
            self.assertEqual(read(chunks), [array(b"PING"), refused(text)])
        self.assertEqual(read([stream + b"\r\n*1\r\n$4\r\nPING\r\n"]), [refused(text)])
        self.assertEqual(read([before + stream[:-1]]), [array(b"PING")])

    def test_array_length(self) -> None:
        """The length of an array is a number as Redis writes numbers, within the limit, and CR LF follows."""
        for length in (b"", b"x", b"01", b"-0", b"+1", b" 1", b"1 ", b"1.0", b"2147483647", b"9" * 30, b"9" * 5000):
            self.assert_refused(b"*" + length + b"\r\n", "invalid multibulk length")
        self.assert_refused(b"*1\n", "invalid multibulk length")

    def test_string_length(self) -> None:
        """So is the length of a string; there is no null."""
        for length in (b"", b"x", b"01", b"-0", b"-1", b"+1", b" 1", b"1 ", b"536870912", b"9" * 30, b"9" * 5000):
            self.assert_refused(b"*2\r\n$1\r\na\r\n$" + length + b"\r\n", "invalid bulk length")
        self.assert_refused(b"*1\r\n$1\n", "invalid bulk length")

    def test_element_type(self) -> None:
        """Every element is a bulk string: not a number, a line, an array or any other type."""
        for byte in b"*:+-_,#!=(%~>|a1":
            self.assert_refused(b"*1\r\n" + bytes([byte]), f"expected '$', got '{chr(byte)}'")
            self.assert_refused(b"*2\r\n$3\r\nGET\r\n" + bytes([byte]), f"expected '$', got '{chr(byte)}'")

    def test_element_type_is_shown_in_ascii(self) -> None:
        """A byte that cannot be printed is shown by its number."""
        for byte in b"\r\n\0\x7f\xff":
            self.assert_refused(b"*1\r\n" + bytes([byte]), f"expected '$', got '\\x{byte:02x}'")

    def test_no_crlf_after_a_string(self) -> None:
        """A string that is longer than its header said is found at its end, before it is taken for the next header."""
        for end in (b"XX", b"\n\r", b"\rX", b"\r\r"):
            self.assert_refused(b"*2\r\n$4\r\nECHO\r\n$1\r\na" + end, "invalid CRLF in request")

    def test_no_lf_after_a_header(self) -> None:
        """So is a header whose CR is not its end."""
        for start in (b"*3", b"*2\r\n$3", b"*x", b"*2\r\n$x"):
            for end in (b"\rx", b"\r\r"):
                self.assert_refused(start + end, "invalid CRLF in request")

    def test_header_length(self) -> None:
        """A header may be as long as the limit, if only to be refused as no number, and is not read past it."""
        for start, no_number, too_big in (
            (b"*", "invalid multibulk length", "too big mbulk count string"),
            (b"*1\r\n$", "invalid bulk length", "too big bulk count string"),
        ):
            for length, text in (
                (MAX_HEADER_BYTES - 1, no_number),
                (MAX_HEADER_BYTES, no_number),
                (MAX_HEADER_BYTES + 1, too_big),
            ):
                stream = start + b"1" * (length - 1)
                for end in (b"\n", b"\r\n"):
                    for chunks in ([stream + end], [stream, end], [stream[:5], stream[5:], end[:1], end[1:]]):
                        self.assertEqual(read(chunks), [refused(text)])
            self.assertEqual(read([stream]), [refused(too_big)])

    def test_announced_lengths_take_no_memory(self) -> None:
        """Memory is taken for bytes that came, not for lengths that were announced."""
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        parsers = [RequestParser() for _ in range(100)]
        for parser in parsers:
            parser.feed(b"*%d\r\n$%d\r\n" % (MAX_REQUEST_ELEMENTS, 1 << 25))
        self.assertLess(tracemalloc.get_traced_memory()[1], 1 << 20)


class ForgeryTests(SynchronousTestCase):
    """Streams that count and look like arrays of bulk strings, and are not: a faster reader must not believe them.

    Each was believed, or took the server's memory, when hiredis read pipelines and only line ends were counted.
    """

    def assert_read_with_care(self, stream: bytes) -> None:
        """Alone, and in short and long pipelines, the stream is what the careful reader makes of it."""
        for count in (0, 1, 20):
            pipeline = pack(b"GET", b"a") * count + stream + pack(b"PING") * count
            with careful_only():
                expected = read([pipeline])
            self.assertEqual(read([pipeline]), expected)

    def test_other_types_of_string(self) -> None:
        """Simple, verbatim and big-number elements are not bulk strings, even if the line ends add up."""
        for element in (
            b"+x\r\n",
            b"=5\r\ntxt:a\r\n",
            b"=6\r\n\r\nx:aa\r\n",
            b"(1\r\n",
            b"-x\r\n",
            b"_\r\n",
            b"#t\r\n",
        ):
            self.assert_read_with_care(b"*1\r\n" + element)
            for end in (b"\r\n", b"\r\r", b"XX", b"\n\r"):
                self.assert_read_with_care(b"*2\r\n$1\r\na" + end + element)

    def test_other_types_of_array(self) -> None:
        """Sets, attributes, maps and pushes are not arrays: these are words, or nonsense after a wrong line end."""
        for start in (b"~1\r\n", b"|1\r\n", b"%1\r\n+a\r\n", b">1\r\n", b">90000000\r\n", b"|90000000\r\n"):
            self.assert_read_with_care(start + b"$1\r\nb\r\n")
            for end in (b"\r\n", b"\r\r", b"XX", b"\r*"):
                self.assert_read_with_care(b"*1\r\n$4\r\nPING" + end + start + b"$1\r\nb\r\n")

    def test_values_at_the_top(self) -> None:
        """A truth value, a null, a string or a number between requests is a line of words."""
        for value in (b"#f\r\n", b"_\r\n", b"+\r\n", b"$0\r\n\r\n", b":0\r\n", b",1.5\r\n"):
            self.assert_read_with_care(value)

    def test_parsers_do_not_meet(self) -> None:
        """Whatever one connection sends, and wherever it stops, the next one's requests are its own."""
        request = pack(b"GET", b"a")
        for stream in (
            request * 9 + b"*3\r\n$3\r\nSET",
            b"*1\r\n$9\r\nx\r\n*1\r\n",
            request + b"|9000000000\r\n" + request,
        ):
            RequestParser().feed(stream)
            self.assertEqual(read([request * 9]), [array(b"GET", b"a")] * 9)


class SplitTests(SynchronousTestCase):
    """The fast reader takes what it is sure of, and says what is left."""

    def test_takes_whole_requests(self) -> None:
        """All whole requests, of one shape or many, and the rest as it is."""
        get, put = pack(b"GET", b"a"), pack(b"SET", b"a", b"b")
        for stream, count in ((get, 1), (get * 9, 9), (get + put + get, 3), (put * 2 + get * 2, 4)):
            for rest in (b"", b"*", b"*2\r\n", b"*2\r\n$3\r\nGET\r\n$5\r\nab", get[:-2], get[:-1], put[:-2], put[:-1]):
                requests, left = split_pipeline(stream + rest)
                self.assertEqual((len(requests), left), (count, rest))

    def test_gives_up(self) -> None:
        """At anything it is not sure of it takes nothing, and hands everything to the careful reader."""
        get = pack(b"GET", b"a")
        for doubtful in (
            pack(b"SET", b"a", b"\r\n") + get,
            pack(b"SET", b"a", b"x" * 5000) + get,
            b"*2\r\n$3\r\nGET\r\n+a\r\n" + get,
            b"*100000\r\n" + get,
            pack(b"SET", b"a", b"x" * 5000),
            b"*0\r\n" + get,
            b"*01\r\n",
            b"*2\r\n$3\r\nGET\r\n$2\r\na\r\n",
            b"*2\r\n$3\r\nGET\r\n:1\r\n",
        ):
            self.assertEqual(split_pipeline(doubtful), ([], doubtful))

    def test_stops_where_it_is_not_sure(self) -> None:
        """What follows whole requests and is none, though it has the shape of one, is left to the careful reader."""
        get = pack(b"GET", b"a")
        for rest in (
            b"~" + get[1:],
            b"|" + get[1:],
            b">90000000\r\n",
            b"*100000\r\n",
            b"%1\r\n+a\r\n+b\r\n",
            b"#f\r\n",
        ):
            for count in (2, 20):
                taken, left = split_pipeline(get * count + rest + get)
                self.assertEqual(taken, [[b"GET", b"a"]] * len(taken))
                self.assertTrue(left.endswith(rest + get))

    @given(st.lists(st.lists(st.sampled_from([b"", b"a", b"*1", b"$1", b"\r\n", b"xyz" * 9]), min_size=1)), st.binary())
    def test_is_right_when_sure(self, requests: list[list[bytes]], tail: bytes) -> None:
        """What it takes is what the careful reader takes, and the rest begins where that stopped."""
        stream = b"*" + b"".join(pack(*request) for request in requests)[1:] + tail
        taken, rest = split_pipeline(stream)
        careful = Multibulk(LIMIT)
        position = 0
        for request in taken:
            words, position = careful.take(stream, position)
            self.assertEqual(words, request)
        self.assertEqual(rest, stream[position:])


#: Words with what a reader could take for something else; some are as long as others.
_words = st.sampled_from(
    [b"", b"a", b"b", b"key:0001", b"key:0002", b"\r\n", b"\r\n*", b"\r", b"\n", b"*2", b"$1", b"*2\r\n$3\r\nGET\r\n"]
    + [b"x" * length for length in (99, 4095, 4096)]
)
_plain_words = st.sampled_from([b"a", b"b", b"", b"key:0001", b"x" * 99, b"$1", b"*2"])


@st.composite
def pipelines(draw: st.DrawFn) -> bytes:
    """A pipeline of one command, or nearly one: of other bytes in some of its words, of a length that is wrong."""
    count = draw(st.integers(5, 9))
    arguments = draw(st.integers(0, 3))
    name = draw(st.sampled_from([b"GET", b"set", b"X", b""]))
    words = draw(st.sampled_from([_plain_words, _plain_words, _words]))
    requests = [[name, *(draw(words) for _ in range(arguments))] for _ in range(count)]
    odd = draw(st.integers(0, 4 * count))
    if odd < count:
        requests[odd] = draw(st.sampled_from([[b"PING"], [name, b"a", b"a", b"a", b"a"], [b"DEL", *requests[odd][1:]]]))
    stream = b"".join(pack(*request) for request in requests)
    if draw(st.integers(0, 3)) == 0:
        place = draw(st.integers(0, len(stream) - 1))
        stream = stream[:place] + draw(st.sampled_from([b"", b"0", b"9", b"\r\n", b"*", b"$"])) + stream[place + 1 :]
    return stream


class UniformTests(SynchronousTestCase):
    """A pipeline of one command is seen as columns, or not at all."""

    def assert_taken(self, requests: list[list[bytes]], tail: bytes = b"") -> None:
        """These requests are taken, all of them, and the tail is left."""
        stream = b"".join(pack(*request) for request in requests)
        pipeline = uniform_pipeline(stream + tail)
        assert pipeline is not None, stream + tail
        self.assertEqual(pipeline.requests(), requests)
        self.assertEqual((pipeline.raw, pipeline.rest), (stream, tail))
        self.assertEqual((pipeline.name, pipeline.length), (requests[0][0], len(requests)))
        self.assertEqual(pipeline.columns, list(map(list, zip(*(request[1:] for request in requests), strict=True))))

    def test_words_as_long_as_each_other_and_not(self) -> None:
        """Of any command and any number of arguments but none."""
        for words in (1, 2, 3, 20):
            self.assert_taken([[b"GET", *[b"%d" % number] * words] for number in range(9)])
            self.assert_taken([[b"nonsense", *[b"%d" % 7**number] * words] for number in range(20)])

    def test_line_ends_in_words(self) -> None:
        """Line ends and look-alikes of requests in words, if all requests are of one size."""
        for word in (b"\r\n", b"a\r\n$1\r\n", pack(b"SET", b"k", b"v"), b"\r\n*3\r\n$3\r\nSET\r\n"):
            self.assert_taken([[b"SET", b"k%d" % number, word] for number in range(9)])
            self.assert_taken([[b"SET", word[:2], word[::-1]], *[[b"SET", word[-2:], word]] * 6])

    def test_least_number(self) -> None:
        """Six of them; the shortest chunk that is worth a look holds them, and one that is shorter does not."""
        get = [b"GET", b"k"]
        self.assert_taken([get] * 6)
        self.assertIsNone(uniform_pipeline(pack(*get) * 5))
        self.assertLessEqual(len(pack(*get) * 6), SHORTEST_PIPELINE_BYTES)

    def test_partial_tail_at_every_cut(self) -> None:
        """What a chunk cuts off is left: it begins at a request, wherever the cut is."""
        for request in ([b"SET", b"key", b"$1"], [b"GET", b""], [b"SET", b"k", b"x" * 300]):
            last = pack(*request)
            for place in range(len(last)):
                self.assert_taken([request] * 6, last[:place])

    def test_trailing_grammars(self) -> None:
        """Words, JSON and nonsense behind it are left too."""
        for tail in (b"PING\r\n", b'{"method":"size"}\n', b"get a\n*", b"~1\r\n$1\r\na\r\n", b"*0\r\n", b"\r\n", b"+"):
            self.assert_taken([[b"SET", b"key", b"1"]] * 6, tail)

    def test_longest_word(self) -> None:
        """A word as long as the table of headers goes is taken; one that is longer is not, and nothing is raised."""
        self.assert_taken([[b"SET", b"k", b"x" * 4095]] * 6)
        self.assert_taken([[b"SET", b"k", b"x" * 4095], *[[b"SET", b"k", b"y"]] * 6])
        self.assertIsNone(uniform_pipeline(pack(b"SET", b"k", b"x" * 4096) * 6))
        self.assertIsNone(uniform_pipeline(pack(b"SET", b"k", b"x" * 4096) + pack(b"SET", b"k", b"y") * 6))

    def test_not_taken(self) -> None:
        """Another command, another number of words, no argument, line ends in a word, lengths that are wrong."""
        get = pack(b"GET", b"a")
        for stream in (
            get * 8 + pack(b"DEL", b"a"),
            pack(b"DEL", b"a") + get * 8,
            get * 4 + pack(b"get", b"a") + get * 4,
            get * 4 + pack(b"GET", b"a", b"b") + get * 4,
            pack(b"PING") * 9,
            get * 8 + pack(b"GET", b"\r\n"),
            get * 8 + pack(b"GET", b"\r\n*"),
            get * 3 + pack(b"GET", b"*2\r\n$3\r\nGET\r\n") + get * 3,
            get * 8 + b"*2\r\n$3\r\nGET\r\n$2\r\na\r\n",
            get * 8 + b"*2\r\n$3\r\nGET\r\n$01\r\na\r\n",
            b"*2\r\n$4\r\nGET\r\n$1\r\na\r\n" * 9,
            b"*02\r\n$3\r\nGET\r\n$1\r\na\r\n" * 9,
            b"GET a\r\n" * 9,
            b"\r\n" * 99,
            b"",
        ):
            self.assertIsNone(uniform_pipeline(stream), stream)

    @given(pipelines(), st.one_of(st.just(b""), st.integers(1, 40), st.binary(max_size=20)))
    def test_is_right_when_sure(self, stream: bytes, tail: bytes | int) -> None:
        """What it takes is what the careful reader takes, and the rest begins where that stopped."""
        stream = stream + tail if isinstance(tail, bytes) else stream[:-tail]
        pipeline = uniform_pipeline(stream)
        if pipeline is None:
            return
        careful = Multibulk(LIMIT)
        position = 0
        for request in pipeline.requests():
            words, position = careful.take(stream, position)
            self.assertEqual(words, request)
        self.assertEqual((pipeline.raw, pipeline.rest), (stream[:position], stream[position:]))
        self.assertEqual(pipeline.raw, b"".join(pack(*request) for request in pipeline.requests()))

    @given(streams, st.integers(1, 8))
    def test_any_bytes(self, stream: bytes, times: int) -> None:
        """Whatever the bytes, nothing is raised, and what is taken is what the careful reader takes."""
        pipeline = uniform_pipeline(stream * times)
        if pipeline is not None:
            with careful_only():
                self.assertEqual(
                    read([stream * times])[: pipeline.length], [array(*request) for request in pipeline.requests()]
                )


class ChunksTests(SynchronousTestCase):
    """Chunks of several clients as one pipeline: what one began another never ends."""

    def test_taken(self) -> None:
        """Of one size and not, one request in each chunk and several."""
        sizes = [[b"k%d" % (number % 10)] for number in range(12)], [[b"k%d" % 9**number] for number in range(12)]
        for keys in sizes:
            requests = [pack(b"GET", *key) for key in keys]
            for chunks, counts in (
                (requests, [1] * 12),
                ([b"".join(requests[:5]), *requests[5:9], b"".join(requests[9:])], [5, 1, 1, 1, 1, 3]),
            ):
                taken = uniform_chunks(chunks)
                assert taken is not None
                self.assertEqual((taken[0].columns, taken[1]), ([[key for [key] in keys]], counts))

    def test_what_one_began(self) -> None:
        """Two halves of a request, a request and a half beside a half, are nothing; so is a rest."""
        get, set_ = pack(b"GET", b"key"), pack(b"SET", b"key", b"a longer value")
        for request in (get, set_):
            for cut in range(1, len(request)):
                halves = [request[:cut], request[cut:]]
                self.assertIsNone(uniform_chunks([*[request] * 7, *halves]))
                self.assertIsNone(uniform_chunks([*halves, *[request] * 7]))
                self.assertIsNone(uniform_chunks([request + halves[0], halves[1] + request, *[request] * 7]))
                self.assertIsNone(uniform_chunks([*[request] * 7, halves[0]]))
        self.assertIsNone(uniform_chunks([get] * 5))
        self.assertIsNone(uniform_chunks([*[get] * 7, set_]))

    @given(pipelines(), st.lists(st.integers(0, 2**16), max_size=12), st.booleans())
    def test_is_right_when_sure(self, stream: bytes, cuts: list[int], fair: bool) -> None:
        """A chunk that is taken is so many whole requests, as the careful reader reads them, and nothing else.

        `fair`: cut between requests.
        """
        places = [match.start() for match in re.finditer(rb"\*", stream)] if fair else range(len(stream) + 1)
        ends = sorted({places[cut % len(places)] for cut in cuts if places} | {0, len(stream)})
        chunks = [stream[start:end] for start, end in itertools.pairwise(ends)]
        taken = uniform_chunks(chunks)
        if taken is None:
            return
        pipeline, counts = taken
        requests = []
        for chunk, count in zip(chunks, counts, strict=True):
            careful = Multibulk(LIMIT)
            position = 0
            for _ in range(count):
                words, position = careful.take(chunk, position)
                requests.append(words)
            self.assertEqual(position, len(chunk))
        self.assertEqual(pipeline.requests(), requests)


class MultibulkTests(SynchronousTestCase):
    """The careful reader by itself."""

    def test_stops_after_one_request(self) -> None:
        """It reads one request at a time, and says where it ended."""
        stream = b"junk" + pack(b"GET", b"a") + pack(b"PING")
        reader = Multibulk(LIMIT)
        first, position = reader.take(stream, 4)
        second, end = reader.take(stream, position)
        self.assertEqual((first, second, end), ([b"GET", b"a"], [b"PING"], len(stream)))

    def test_resumes(self) -> None:
        """A request that is not complete is None; the bytes received so far are known, and the rest completes it."""
        stream = pack(b"SET", b"key", b"value")
        for place in range(len(stream)):
            reader = Multibulk(LIMIT)
            self.assertEqual(reader.take(stream[:place], 0), (None, place))
            self.assertEqual(reader.received_bytes, place)
            self.assertEqual(
                reader.take(stream[place:] + b"more", 0), ([b"SET", b"key", b"value"], len(stream) - place)
            )
            self.assertEqual(reader.received_bytes, 0)

    def test_ignored_request_is_empty(self) -> None:
        """An array of no length is read as an empty list."""
        self.assertEqual(Multibulk(LIMIT).take(b"*0\r\n", 0), ([], 4))

    def test_raises(self) -> None:
        """A stream that makes no sense raises ProtocolError."""
        self.assertRaises(ProtocolError, Multibulk(LIMIT).take, b"*1\r\n:1\r\n", 0)
