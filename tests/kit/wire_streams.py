"""For the tests of `kvstore.wire`: feeding a stream cut in every way, and making hostile streams."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from unittest import mock

from hypothesis import strategies as st

from kvstore.wire import parser
from kvstore.wire.parser import BadLine, JSONLine, Negotiation, ProtocolError, Request, RequestParser
from kvstore.wire.resp import pack

RAW_TAILS = {b"INSERT": 2, b"QUERY": 2}


def read(chunks: Iterable[bytes], max_request_bytes: int = 1 << 20) -> list[tuple[str, object]]:
    """What a parser makes of the chunks, item by item, as (name of the item's class, content)."""
    requests = RequestParser(RAW_TAILS, max_request_bytes)
    return [described(item) for chunk in chunks for item in requests.feed(chunk)]


def described(item: Request) -> tuple[str, object]:
    """An item in a form that compares by class and content."""
    if isinstance(item, ProtocolError):
        return "ProtocolError", str(item).removeprefix("ERR Protocol error: ")
    if isinstance(item, JSONLine):
        return "JSONLine", repr(item.members)
    if isinstance(item, BadLine):
        return "BadLine", tuple(item)
    if isinstance(item, Negotiation):
        return "Negotiation", bytes(item)
    return type(item).__name__, list(item)


def array(*words: bytes) -> tuple[str, object]:
    """What `read` shows for a RESP request."""
    return "list", list(words)


def words(*parts: bytes) -> tuple[str, object]:
    """What `read` shows for a line of words."""
    return "Words", list(parts)


def json_line(members: dict[str, object]) -> tuple[str, object]:
    """What `read` shows for a JSON line."""
    return "JSONLine", repr(members)


def bad(reason: str, verb: bytes = b"") -> tuple[str, object]:
    """What `read` shows for a line that is no request."""
    return "BadLine", (reason, verb)


def answer(data: bytes) -> tuple[str, object]:
    """What `read` shows for a request of telnet's own."""
    return "Negotiation", data


def refused(text: str) -> tuple[str, object]:
    """What `read` shows for a protocol error."""
    return "ProtocolError", text


def cuts(stream: bytes) -> Iterator[list[bytes]]:
    """The stream whole, byte by byte, and cut in two at every place."""
    yield [stream]
    yield [stream[place : place + 1] for place in range(len(stream))]
    for place in range(1, len(stream)):
        yield [stream[:place], stream[place:]]


def cut_at(stream: bytes, places: Iterable[int]) -> list[bytes]:
    """The stream cut at these offsets; offsets past its end count from the start again."""
    marks = sorted({0, len(stream), *(place % (len(stream) + 1) for place in places)})
    return [stream[start:end] for start, end in pairwise(marks)]


@contextmanager
def careful_only() -> Iterator[None]:
    """Without the fast path: every array is read by `Multibulk`."""
    with mock.patch.object(parser, "split_pipeline", lambda data: ([], data)):
        yield


# Bytes that mean something to one of the readers are likelier than the rest.
_telling = st.sampled_from([bytes([byte]) for byte in b"*$\r\n{}\"'\\ x019-+:~>%|=(_#,a\0\x80\xff"])
binary = st.one_of(
    st.binary(max_size=8), st.lists(_telling, max_size=12).map(b"".join), st.sampled_from([b"GET", b"x" * 3000])
)
_arrays = st.lists(binary, min_size=1, max_size=4).map(lambda parts: pack(*parts))
_fragments = st.sampled_from(
    [
        *(
            b"*0\r\n",
            b"*-1\r\n",
            b"*-5\r\n",
            b"*1\r\n",
            b"*2\r\n",
            b"*3\r\n",
            b"*01\r\n",
            b"*1\n",
            b"*",
            b"*2147483647\r\n",
        ),
        *(b"$0\r\n", b"$1\r\n", b"$3\r\n", b"$-1\r\n", b"$536870912\r\n", b"$\r\n", b"\r\n", b"\n", b"\r", b"a\r\n"),
        *(
            b"+x\r\n",
            b":5\r\n",
            b"~1\r\n",
            b">1\r\n",
            b"%1\r\n",
            b"|1\r\n",
            b"(1\r\n",
            b"_\r\n",
            b"#f\r\n",
            b"=5\r\ntxt:a\r\n",
        ),
        *(b"PING\r\n", b"get a\n", b"set 'a b' \"c\\x41\"\r\n", b'insert "a key" {"x": "y z"} \r\n', b'echo "a\n'),
        *(b'{"method":"size"}\r\n', b'{"a":[1,{"b":null}]}\n', b"{bad}\n", b"{\xff}\r\n", b"{", b"{}\n"),
        *(b" \t{}\r\n", b"\xef\xbb\xbf{}\n", b"\xef\xbb\xbf", b"POST / HTTP/1.1\r\n", b"Host: x\r\n", b"\x16\x03\x01"),
        *(b"\xff\xf4\xff\xfd\x06", b"\xff\xfb\x1f", b"\xff\xfa\x18\0vt\xff\xf0", b"\xff\xff", b"\xff\xf8", b"\x04"),
        *(pack(b"SET", b"key:000000000001", b"xxx") * 20, pack(b"GET", b"a") * 3, pack(b"SET", b"a", b"x\r\n*1\r\n")),
    ]
)
_damage = st.lists(st.tuples(st.integers(0, 10_000), st.one_of(_telling, st.just(b""))), max_size=2)


def _damaged(pieces: list[bytes], damage: list[tuple[int, bytes]]) -> bytes:
    stream = b"".join(pieces)
    for place, byte in damage:
        place %= len(stream) + 1
        stream = stream[:place] + byte + stream[place + 1 :]
    return stream


#: Streams of valid requests, of fragments of requests, and of both with some bytes changed or lost.
streams = st.builds(_damaged, st.lists(st.one_of(_arrays, _fragments), max_size=8), _damage)
places = st.lists(st.integers(0, 100_000), max_size=6)
