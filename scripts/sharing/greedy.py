"""Clients that take all they can get, each kind in a process of its own: python -m scripts.sharing.greedy PORT KIND.

Says `ready` when it has begun, and goes on until it is killed. Requests are sent without end, and replies are read and
thrown away meanwhile, by another thread: a client that waited for its replies would leave the server time.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Callable

from kvstore.client.raw import resp_request
from scripts.measuring.load import key, values

_KEYS = 10_000
_CHANNELS = 10_000
_ELEMENTS = 10_000
#: Bytes of requests that are sent over and over.
_BATCH_BYTES = 1 << 20
#: Less important than the clients that are measured, which share a processor with it.
_NICER = 10

#: Keeps a processor busy until the server stops it, and is undone.
SCRIPT = b"local n = 0 while true do n = n + 1 end"


def pipeline(port: int) -> None:
    """SETs and GETs of short values, a pipeline that never ends."""
    pool = values(100)
    requests = [
        request
        for number in range(_KEYS)
        for request in (resp_request("SET", key(number), pool[number % len(pool)]), resp_request("GET", key(number)))
    ]
    _send_for_ever(port, b"".join(requests))


def reads(port: int) -> None:
    """GETs alone, which the server executes many at a time."""
    _send_for_ever(port, b"".join(resp_request("GET", key(number)) for number in range(_KEYS)))


def large(port: int) -> None:
    """MSETs of 1,000 keys with values of 1 KB, and LRANGEs of 10,000 elements."""
    pool = values(1000)
    pairs = [word for number in range(1000) for word in (b"large:%d" % number, pool[number % len(pool)])]
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(resp_request("DEL", "long"))
        for _ in range(_ELEMENTS // 100):
            connection.sendall(resp_request("RPUSH", "long", *pool[:1] * 100))
    _send_for_ever(port, resp_request("MSET", *pairs) + resp_request("LRANGE", "long", "0", str(_ELEMENTS)))


def scripts(port: int) -> None:
    """Scripts that take as long as one may, one behind the other."""
    _send_for_ever(port, resp_request("EVAL", SCRIPT, "0") * 100)


def subscriptions(port: int) -> None:
    """10,000 channels of one client, and another that publishes to all of them without end."""
    channels = [b"channel:%d" % number for number in range(_CHANNELS)]
    subscriber = socket.create_connection(("127.0.0.1", port))
    threading.Thread(target=_read_for_ever, args=(subscriber,), daemon=True).start()
    for first in range(0, _CHANNELS, 100):
        subscriber.sendall(resp_request("SUBSCRIBE", *channels[first : first + 100]))
    _send_for_ever(port, b"".join(resp_request("PUBLISH", channel, b"x" * 100) for channel in channels))


KINDS: dict[str, Callable[[int], None]] = {
    "pipeline": pipeline, "reads": reads, "large": large, "scripts": scripts, "subscriptions": subscriptions,
}  # fmt: skip


def _send_for_ever(port: int, requests: bytes) -> None:
    connection = socket.create_connection(("127.0.0.1", port))
    threading.Thread(target=_read_for_ever, args=(connection,), daemon=True).start()
    batch = requests * max(1, _BATCH_BYTES // len(requests))
    print("ready", flush=True)
    while True:
        connection.sendall(batch)


def _read_for_ever(connection: socket.socket) -> None:
    while connection.recv(1 << 18):
        pass
    os._exit(1)  # the server has dropped it, or ended


if __name__ == "__main__":
    os.nice(_NICER)
    KINDS[sys.argv[2]](int(sys.argv[1]))
