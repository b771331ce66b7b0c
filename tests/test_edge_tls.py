"""When TLS is loaded."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from kvstore.edge.tls import tls_if_needed
from kvstore.testing.server_process import ServerProcess


class TLSIfNeededTests(SynchronousTestCase):
    """The library can be imported or not; the tests' own process is left as it is."""

    def setUp(self) -> None:
        """As if nothing had loaded it yet: a stand-in is found then."""
        modules = mock.patch.dict(sys.modules)
        modules.start()
        self.addCleanup(modules.stop)
        for name in [name for name in sys.modules if name.partition(".")[0] == "OpenSSL"]:
            del sys.modules[name]
        directory = Path(self.mktemp())
        directory.mkdir()
        (directory / "OpenSSL.py").write_text("")
        path = mock.patch.object(sys, "path", [str(directory), *sys.path])
        path.start()
        self.addCleanup(path.stop)
        importlib.invalidate_caches()

    def can_import(self, *endpoints: str) -> bool:
        """Whether it can, while those are to be listened on."""
        with tls_if_needed(endpoints):
            try:
                importlib.import_module("OpenSSL")
            except ImportError:
                return False
        return True

    def test_plain_endpoints(self) -> None:
        """It is left out, for so long as that lasts."""
        self.assertFalse(self.can_import())
        self.assertFalse(self.can_import("tcp:6380", "unix:/tmp/s"))
        importlib.import_module("OpenSSL")

    def test_an_endpoint_that_may_need_it(self) -> None:
        """It is there."""
        self.assertTrue(self.can_import("tcp:6380", "ssl:6381:privateKey=key.pem"))

    def test_an_endpoint_of_a_plugin(self) -> None:
        """Nobody knows what one needs."""
        self.assertTrue(self.can_import("le:/certificates:tcp:443"))

    def test_loaded_before(self) -> None:
        """What is loaded stays."""
        module = importlib.import_module("OpenSSL")
        self.assertTrue(self.can_import())
        self.assertIs(sys.modules["OpenSSL"], module)


class ServerTests(SynchronousTestCase):
    """The server's process."""

    def test_a_plain_port(self) -> None:
        """No library for TLS is mapped into it beside Python's own."""
        with ServerProcess(data=self.mktemp()) as server:
            maps = Path(f"/proc/{server.pid}/maps").read_text()
        self.assertNotIn("cryptography", maps)
