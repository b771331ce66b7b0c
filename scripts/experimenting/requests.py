"""What the generator in C asks for: what scripts/TestPerf.py sends, byte for byte, and SET and GET.

One pool of requests for each operation, which all connections share, each beginning at a place of its own. Inserts may
come round and write a document again; what is removed is gone, so the documents must last for the stage.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from kvstore.client.exchange import encode_request
from kvstore.client.raw import resp_request
from scripts.measuring.load import load, load_keys, strings
from scripts.TestPerf import DEFAULT_VALUE_BYTES, Documents

DOCUMENTS = 80_000
_ALL = Documents("documents", DEFAULT_VALUE_BYTES)

_MEMBERS: dict[str, Callable[[int], dict[str, Any]]] = {
    "insert": lambda i: {"key": _ALL.key(i), "value": _ALL.value(i)},
    "lookup": lambda i: {"key": _ALL.key(i)},
    "query": lambda i: {"subkey": "group", "subvalue": _ALL.value(i)["group"]},
    "remove": lambda i: {"key": _ALL.key(i)},
}


def request(operation: str, i: int) -> bytes:
    """The i-th request of an operation on documents."""
    return encode_request(i, operation, _MEMBERS[operation](i))


@cache
def pool(operation: str) -> Sequence[tuple[str, bytes]]:
    """The requests of one operation, each with its name, as the generator takes them."""
    if operation not in _MEMBERS:
        return strings(operation, DOCUMENTS, DEFAULT_VALUE_BYTES)
    return [(operation, request(operation, i)) for i in range(DOCUMENTS)]


def load_all(port: int, operation: str) -> None:
    """Write all that requests are about, by "insert" or "SET". Raises WrongReply, OSError."""
    if operation == "SET":
        load_keys(port, DOCUMENTS, DEFAULT_VALUE_BYTES)
    else:
        load(port, (resp_request("insert", _ALL.key(i), json.dumps(_ALL.value(i))) for i in range(DOCUMENTS)))
