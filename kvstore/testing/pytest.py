"""Fixtures for pytest. In the test module, or the conftest.py of the root directory:

    pytest_plugins = ["kvstore.testing.pytest"]

    def test_it_is_stored(kvstore_server):
        client = redis.Redis(port=kvstore_server.port)
        ...

Each test gets a server of its own, empty, on a free port, which is gone after the test. It is a plugin that is asked
for, none that every run of pytest in the environment loads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from kvstore.testing.server_thread import ServerThread


@pytest.fixture
def kvstore_server() -> Iterator[ServerThread]:
    """A real server, empty, on a free port: see `kvstore.testing.server_thread`."""
    with ServerThread() as server:
        yield server


@pytest.fixture
def kvstore_servers() -> Iterator[Callable[..., ServerThread]]:
    """Makes servers, with options by their names: `kvstore_servers(max_clients=10)`."""
    with ExitStack() as servers:

        def make(**options: Any) -> ServerThread:
            return servers.enter_context(ServerThread(**options))

        yield make
