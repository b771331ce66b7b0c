"""A real server for a TestCase of Trial's, on its reactor:

    class GreetingTests(KVStoreMixin, TestCase):
        async def test_it_is_stored(self):
            server = self.kvstore(sync="no")           # options by their names
            client = DeferredClient(reactor, f"127.0.0.1:{server.port}")
            ...

It stops after the test. Without sockets, files and time there is `kvstore.testing.memory_server`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from kvstore.embedded.server import EmbeddedServer, settings

if TYPE_CHECKING:
    from twisted.trial.unittest import TestCase as _TestCase
else:
    _TestCase = object


class KVStoreMixin(_TestCase):
    """Beside `twisted.trial.unittest.TestCase`; see the module."""

    def kvstore(self, data: str | os.PathLike[str] | None = None, **options: Any) -> EmbeddedServer:
        """A server that runs, on a free port; stopped after the test, in order.

        `data`: the data directory; None for a new one in trial's own directory. `options`: see
        `kvstore.embedded.server.settings`. Raises OptionError, StartRefused.
        """
        chosen = {"port": 0, "overlap": "never", "data": self.mktemp() if data is None else data} | options
        server = EmbeddedServer(settings(**chosen))
        server.startService()
        self.addCleanup(server.stopService)
        return server
