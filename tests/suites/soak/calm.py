"""Calm clients: a process of their own that asks a little, and tells how long each request took.

    python -m tests.suites.soak.calm PORT RATE WINDOW_S [PASSWORD]

In turns over four connections, SET and GET of keys of their own. A line of JSON at the end of each window: how many
requests, how many were refused (a full disk), how many connections were lost, and percentiles in milliseconds. It ends
when its standard input does. A process of its own, so that no other client's work delays its clock.
"""

from __future__ import annotations

import itertools
import json
import math
import select
import sys
import time

import hiredis

from tests.suites.soak.sockets import Conversation, Server

_CONNECTIONS = 4
_KEYS = 100
_VALUE = "x" * 100


class Window:
    """What was seen in one."""

    def __init__(self) -> None:
        self.took_ms: list[float] = []
        self.refused = self.lost = 0

    def told(self) -> dict[str, float | None]:
        """As numbers; percentiles (nearest rank) of a window without requests are None."""
        took = sorted(self.took_ms)
        found: dict[str, float | None] = {"requests": len(took), "refused": self.refused, "lost": self.lost}
        for name, part in {"p50_ms": 0.5, "p99_ms": 0.99, "slowest_ms": 1.0}.items():
            found[name] = took[math.ceil(part * len(took)) - 1] if took else None
        return found


def main(port: str, rate: str, window_s: str, password: str | None = None) -> None:
    """See the module."""
    server, period_s = Server(int(port), password), 1 / float(rate)
    clients: list[Conversation | None] = [None] * _CONNECTIONS
    window, due = Window(), time.monotonic()
    ends = due + float(window_s)
    for number in itertools.count():
        due = max(due + period_s, time.monotonic() - 1)
        if select.select([sys.stdin], [], [], max(0.0, due - time.monotonic()))[0]:
            return
        place = number % _CONNECTIONS
        try:
            client = clients[place] = clients[place] or server.known()
            ask(client, number, window)
        except OSError:
            clients[place] = None
            window.lost += 1
        if time.monotonic() >= ends:
            print(json.dumps(window.told()), flush=True)
            window, ends = Window(), ends + float(window_s)


def ask(client: Conversation, number: int, window: Window) -> None:
    """One request: it is timed, and counted as refused if its reply is an error. Raises OSError."""
    key = f"soak:calm:{number % _KEYS}"
    words = ("SET", key, f"{number}{_VALUE}") if number // _CONNECTIONS % 2 else ("GET", key)
    began = time.perf_counter()
    reply = client.ask(*words)
    window.took_ms.append(1000 * (time.perf_counter() - began))
    window.refused += isinstance(reply, hiredis.ReplyError)


if __name__ == "__main__":
    main(*sys.argv[1:])
