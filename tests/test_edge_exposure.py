"""Which endpoints strangers can reach."""

from __future__ import annotations

import socket
from unittest import mock

from twisted.internet import endpoints
from twisted.trial.unittest import SynchronousTestCase

from kvstore.edge.exposure import is_loopback, open_endpoints


class OpenEndpointsTests(SynchronousTestCase):
    """By their strings."""

    def test_open(self) -> None:
        """All addresses, or one that is not this machine's alone; behind a proxy too; and what nobody knows."""
        for endpoint in (
            "tcp:6380", "tcp6:6380", "tcp:6380:backlog=5", "tcp:6380:interface=0.0.0.0", "tcp:6380:10.0.0.1",
            r"tcp6:6380:interface=\:\:", "haproxy:tcp:6380", "pigeon:1", "sslx:1",
        ):  # fmt: skip
            self.assertEqual(open_endpoints([endpoint]), [endpoint])

    def test_own(self) -> None:
        """The loopback addresses, Unix sockets, and all that is encrypted."""
        self.assertEqual(open_endpoints((
            "tcp:6380:interface=127.0.0.1", "tcp:6380:localhost", r"tcp6:6380:interface=\:\:1", "unix:/tmp/s",
            "haproxy:tcp:6380:interface=127.0.0.1:backlog=5", "tcp:6380:127.9.9.9:5", "ssl:6380:privateKey=k",
        )), [])  # fmt: skip

    def test_inherited(self) -> None:
        """A socket of systemd's is looked at."""
        for host, is_open in (("127.0.0.1", False), ("0.0.0.0", True)):
            with socket.create_server((host, 0)) as inherited:
                endpoint = mock.Mock(fileno=inherited.fileno(), addressFamily=socket.AF_INET)
                with mock.patch.object(endpoints, "serverFromString", return_value=endpoint):
                    self.assertEqual(bool(open_endpoints(["systemd:domain=INET:index=0"])), is_open)

    def test_loopback(self) -> None:
        """Of both versions, mapped ones too; a name is trusted only if it is the one."""
        self.assertTrue(all(map(is_loopback, ("127.0.0.1", "127.255.0.9", "::1", "::ffff:127.0.0.1", "localhost"))))
        self.assertFalse(any(map(is_loopback, ("", "128.0.0.1", "::", "::ffff:10.0.0.1", "localhost.evil", "name"))))
