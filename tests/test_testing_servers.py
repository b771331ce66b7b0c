"""Servers for tests of programs that use kvstore: in a thread, by a mix-in of Trial's.

The fixtures of pytest are tried by tests/test_embedding_document.py, in a process of their own: a test that is a
function makes pytest-twisted run the reactor, and no TestCase can then.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase, TestCase

from kvstore.base.errors import StartRefused
from kvstore.client.deferred import DeferredClient
from kvstore.client.sync import Client
from kvstore.embedded.server import EmbeddedServer, OptionError
from kvstore.testing.server_thread import ServerThread
from kvstore.testing.trial import KVStoreMixin


class ServerThreadTests(SynchronousTestCase):
    """A server in a thread."""

    def test_serves_and_is_gone(self) -> None:
        """A port of its own, and a directory, which is removed."""
        with ServerThread() as server, Client(server.address, deadline_seconds=30) as client:
            client.insert("a", 1)
            self.assertEqual(server.url, f"redis://127.0.0.1:{server.port}")
            self.assertTrue(os.path.isdir(server.data))
        self.assertFalse(os.path.exists(os.path.dirname(server.data)))
        server.close()

    def test_several_in_one_thread(self) -> None:
        """Each has its own data; all of them one thread."""
        with ServerThread() as one, ServerThread(sync="everysec") as other:
            threads = [thread.name for thread in threading.enumerate()].count("kvstore servers")
            with (
                Client(one.address, deadline_seconds=30) as first,
                Client(other.address, deadline_seconds=30) as second,
            ):
                first.insert("a", 1)
                self.assertEqual((first.size(), second.size(), threads), (1, 0, 1))

    def test_started_again(self) -> None:
        """On the same port and data; a directory that was given stays."""
        data = Path(self.mktemp()).absolute()
        with ServerThread(data) as server, Client(server.address, deadline_seconds=30) as client:
            port = server.port
            client.insert("a", 1)
            self.assertRaises(RuntimeError, server.start)
            server.stop()
            server.start()
            self.assertEqual((client.lookup("a"), server.port), (1, port))
        self.assertTrue(data.is_dir())

    def test_what_is_refused(self) -> None:
        """It says why, and leaves nothing."""
        self.assertRaises(OptionError, ServerThread, colour="red")
        with ServerThread() as server:
            self.assertRaisesRegex(StartRefused, "in use", ServerThread, server.data)
            self.assertRaisesRegex(StartRefused, "cannot listen", ServerThread, port=server.port)


class MixinTests(KVStoreMixin, TestCase):
    """A server on Trial's reactor."""

    async def test_serves(self) -> None:
        """It is there at once."""
        server = self.kvstore(databases=2)
        client = DeferredClient(reactor, f"127.0.0.1:{server.port}", deadline_seconds=30)
        await client.insert("a", 1)
        client.close()
        self.assertIsInstance(server, EmbeddedServer)
        self.assertEqual(len(server.store.databases), 2)
