"""Requests for the project's own generator: RESP and JSON lines, drawn once, so that each run asks for the same."""

from __future__ import annotations

import random
from collections.abc import Callable

from scripts.measuring.load import gets, key, sets

#: A request with the kind it is counted as.
Asked = tuple[str, bytes]

#: Requests in a file; each client begins at a place of its own.
COUNT = 20_000


def resp(kind: str, keys: int, value_bytes: int, count: int = COUNT, seed: int = 0) -> list[Asked]:
    """GET or SET of keys that are there."""
    source = (sets if kind == "SET" else gets)(keys, value_bytes, seed)
    return [(kind, next(source.requests).data) for _ in range(count)]


def mixed(get_share: float, keys: int, value_bytes: int) -> list[Asked]:
    """GET, that share of all, and SET, in random order."""
    draw = random.Random(1).random
    read, written = gets(keys, value_bytes, 2).requests, sets(keys, value_bytes, 3).requests
    return [("GET", next(read).data) if draw() < get_share else ("SET", next(written).data) for _ in range(COUNT)]


#: Documents that share what `query` asks for, as scripts/TestPerf.py makes them.
GROUP_SIZE = 10
_PADDING = "x" * 40


def document(number: int) -> str:
    """A document of some 100 bytes, as JSON."""
    group = f"loop-{number // GROUP_SIZE}"
    return f'{{"group":"{group}","number":{number},"text":"{_PADDING}"}}'


def insert_line(number: int) -> bytes:
    """An insert of the document of that number."""
    name = key(number).decode()
    return f'{{"method":"insert","key":"{name}","value":{document(number)}}}\n'.encode()


def lookup_line(number: int) -> bytes:
    """A lookup of that document."""
    return f'{{"method":"lookup","key":"{key(number).decode()}"}}\n'.encode()


def query_line(number: int) -> bytes:
    """A query for the documents of its group."""
    return f'{{"method":"query","subkey":"group","subvalue":"loop-{number // GROUP_SIZE}"}}\n'.encode()


def lines(kind: str, make: Callable[[int], bytes], keys: int, count: int = COUNT) -> list[Asked]:
    """JSON lines about documents drawn from the first `keys`."""
    draw = random.Random(4).randrange
    return [(kind, make(draw(keys))) for _ in range(count)]
