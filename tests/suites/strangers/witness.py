"""A calm client: a process of its own that asks a little, and at the end tells how long each request took.

    python -m tests.suites.strangers.witness PORT PASSWORD

It says `ready`, begins at a line on its standard input and ends when that does, with a line of JSON: see `Window` of
the soak's calm clients, whose requests it makes.
"""

from __future__ import annotations

import json
import select
import sys
import time
from contextlib import suppress

from tests.suites.soak.calm import Window, ask
from tests.suites.soak.sockets import Server

_RATE = 200.0


def main(port: str, password: str) -> None:
    """See the module."""
    clients = [Server(int(port), password).known() for _ in range(4)]
    print("ready", flush=True)
    sys.stdin.readline()
    window, due, number = Window(), time.monotonic(), 0
    while not select.select([sys.stdin], [], [], max(0.0, due - time.monotonic()))[0]:
        ask(clients[number % len(clients)], number, window)
        number += 1
        due = max(due + 1 / _RATE, time.monotonic() - 1)
    with suppress(BrokenPipeError):  # nobody wants to know any more
        print(json.dumps(window.told()), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
