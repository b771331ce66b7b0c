"""Requests for the generators, drawn once so that each run asks for the same; and filling a server's table."""

from __future__ import annotations

import itertools
import random
import socket
from collections.abc import Callable, Iterable, Iterator

import hiredis

from kvstore.client.raw import resp_request

#: A request with the kind it is counted as.
Asked = tuple[str, bytes]

#: Requests in a generator's file; each client begins at a place of its own.
COUNT = 20_000

#: Requests sent at once when loading in bulk.
_BATCH = 1_000

#: Values differ, and do not compress: a server that compresses would have an advantage that real data do not give it.
_VALUES_COUNT = 64


class WrongReply(Exception):
    """A server answered what it should not, or not at all: the measurement is worth nothing."""


def key(number: int) -> bytes:
    """The key of a number, 16 bytes, as redis-benchmark writes it."""
    return b"key:%012d" % number


def values(length: int) -> list[bytes]:
    """Some values of `length` bytes each."""
    random_bytes = random.Random(length).randbytes
    return [random_bytes(length) for _ in range(_VALUES_COUNT)]


def sets(numbers: Iterable[int], value_bytes: int) -> Iterator[bytes]:
    """A SET of the key of each number."""
    pool = values(value_bytes)
    return (resp_request("SET", key(n), pool[n % _VALUES_COUNT]) for n in numbers)


def strings(kind: str, keys: int, value_bytes: int, count: int = COUNT, seed: int = 0) -> list[Asked]:
    """GET or SET of keys drawn from the first `keys`, which are there."""
    draw = random.Random(f"{kind}{seed}").randrange
    numbers = [draw(keys) for _ in range(count)]
    return [
        (kind, r)
        for r in (sets(numbers, value_bytes) if kind == "SET" else (resp_request("GET", key(n)) for n in numbers))
    ]


def mixed(get_share: float, keys: int, value_bytes: int) -> list[Asked]:
    """GET, that share of all, and SET, in random order."""
    gets = strings("GET", keys, value_bytes, round(COUNT * get_share))
    return _shuffled([*gets, *strings("SET", keys, value_bytes, COUNT - len(gets))])


#: How many hashes, lists and counters `varied` uses, and what `filled_for_varied` puts into each.
_OF_EACH_TYPE = 100
_ELEMENTS = 512


def varied(keys: int, value_bytes: int) -> list[Asked]:
    """GET, SET, INCR, HSET, HGET, LPUSH and RPOP as often as each other, in random order. A list is popped as often as
    it is pushed to, so that those of `filled_for_varied` never run empty.
    """
    draw, pool = random.Random(7).randrange, values(value_bytes)
    share = COUNT // 7
    requests = strings("GET", keys, value_bytes, share) + strings("SET", keys, value_bytes, share)
    for _ in range(share):
        n, field, value = draw(_OF_EACH_TYPE), f"field:{draw(_ELEMENTS)}", pool[draw(_VALUES_COUNT)]
        asked = [("INCR", f"counter:{n}"), ("HSET", f"hash:{n}", field, value), ("HGET", f"hash:{n}", field),
                 ("LPUSH", f"list:{n}", value), ("RPOP", f"list:{n}")]  # fmt: skip
        requests += [(str(words[0]), resp_request(*words)) for words in asked]
    return _shuffled(requests)


def filled_for_varied(keys: int, value_bytes: int) -> Iterator[bytes]:
    """What `varied` finds there."""
    pool = values(value_bytes)
    yield from sets(range(keys), value_bytes)
    for which, first in itertools.product(range(_OF_EACH_TYPE), range(0, _ELEMENTS, _VALUES_COUNT)):
        fields = [word for i, value in enumerate(pool) for word in (f"field:{first + i}", value)]
        yield resp_request("HSET", f"hash:{which}", *fields)
        yield resp_request("RPUSH", f"list:{which}", *pool)


def _shuffled(requests: list[Asked]) -> list[Asked]:
    random.Random(1).shuffle(requests)
    return requests


# Documents

#: Documents that share what `query` asks for, as scripts/TestPerf.py makes them.
GROUP_SIZE = 10
_PADDING = "x" * 40


def document(number: int) -> str:
    """A document of some 100 bytes, as JSON."""
    return f'{{"group":"loop-{number // GROUP_SIZE}","number":{number},"text":"{_PADDING}"}}'


def documents(keys: int) -> Iterator[bytes]:
    """A SET of each."""
    return (resp_request("SET", key(n), document(n)) for n in range(keys))


def insert_line(number: int) -> bytes:
    """An insert of the document of that number."""
    return f'{{"method":"insert","key":"{key(number).decode()}","value":{document(number)}}}\n'.encode()


def lookup_line(number: int) -> bytes:
    """A lookup of that document."""
    return f'{{"method":"lookup","key":"{key(number).decode()}"}}\n'.encode()


def query_line(number: int) -> bytes:
    """A query for the documents of its group."""
    return f'{{"method":"query","subkey":"group","subvalue":"loop-{number // GROUP_SIZE}"}}\n'.encode()


def lines(kind: str, make: Callable[[int], bytes], keys: int) -> list[Asked]:
    """JSON lines about documents drawn from the first `keys`."""
    draw = random.Random(4).randrange
    return [(kind, make(draw(keys))) for _ in range(COUNT)]


# Bulk loading


def load(port: int, requests: Iterable[bytes]) -> None:
    """Send requests over one connection, a batch on the way while the next is made. Raises WrongReply at an error."""
    awaited, reader, batches = 0, hiredis.Reader(), iter(requests)
    with socket.create_connection(("127.0.0.1", port), 60) as connection:
        while batch := list(itertools.islice(batches, _BATCH)):
            connection.sendall(b"".join(batch))
            _take(connection, reader, awaited)
            awaited = len(batch)
        _take(connection, reader, awaited)


def _take(connection: socket.socket, reader: hiredis.Reader, count: int) -> None:
    for _ in range(count):
        while (reply := reader.gets()) is False:
            data = connection.recv(1 << 20)
            if not data:
                raise WrongReply("the server closed the connection while it was loaded")
            reader.feed(data)
        if isinstance(reply, hiredis.ReplyError):
            raise WrongReply(f"loading was answered {reply}")


def load_keys(port: int, keys: int, value_bytes: int) -> None:
    """Set the first `keys` keys."""
    load(port, sets(range(keys), value_bytes))
