"""Debian's Chromium, headless, driven by Playwright; and a server that has something to show on its status page."""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import redis

from kvstore.testing.server_process import PATIENCE_S, ServerProcess

if TYPE_CHECKING:
    from playwright.sync_api import Browser

#: Why no page can be looked at here, or None.
MISSING = None if shutil.which("chromium") else "Chromium is not installed: apt-get install chromium"

_MEMBERS = ("walks", "sleeps", "eats")


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser. It reaches nothing but this machine, which a page of ours does not need either."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # As root, in a container, there is no sandbox of Chromium's; it sees no page but ours.
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=options)
        try:
            yield browser
        finally:
            browser.close()


def http_port(server: ServerProcess) -> int:
    """The port of --http of a server that was started with it."""
    line = server.wait_for_line(re.compile("HTTP on port ([0-9]+)").match, PATIENCE_S)
    return int(line.rsplit(" ", 1)[1])


class Load:
    """A few clients that work as people's programs do, until the end of the `with`: a server to look at.

    `rest_s`: between the requests of each.
    """

    def __init__(self, port: int, rest_s: float = 0.004) -> None:
        self._port = port
        self._rest_s = rest_s
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=work, daemon=True) for work in (self._shop, self._shop, self._sensor, self._worker)
        ]
        self._idle = [self._connect(name) for name in ("backup", "dashboard")]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)
        for client in self._idle:
            client.close()

    def _connect(self, name: str) -> redis.Redis:
        client = redis.Redis(port=self._port, client_name=name, protocol=3)
        client.ping()
        return client

    def _shop(self) -> None:
        client, number = self._connect("shop"), 0
        while not self._ended.wait(self._rest_s):
            number += 1
            block = client.pipeline(transaction=True)
            block.hset(f"basket:{number % 50}", "zebra", number).incr("visits").rpush("orders", f"order {number}")
            block.execute()
            client.hgetall(f"basket:{number % 50}")

    def _sensor(self) -> None:
        client, number = self._connect("sensor"), 0
        while not self._ended.wait(self._rest_s):
            number += 1
            client.set(f"sensor:{number % 200}", "x" * 100, ex=3600)
            client.get(f"sensor:{(number + 7) % 200}")

    def _worker(self) -> None:
        client = self._connect("worker")
        while not self._ended.wait(self._rest_s):
            client.blpop(["orders", "returns"], timeout=0.05)
            client.zadd("ranking", {member: len(member) for member in _MEMBERS})
