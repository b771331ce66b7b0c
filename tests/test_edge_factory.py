"""Who may come in."""

from __future__ import annotations

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from tests.kit.edge import OK, Connection, ProtocolTestCase

STRANGER = IPv4Address("TCP", "10.0.0.9", 50_000)


class ProtectedModeTests(ProtocolTestCase):
    """While nobody is asked for a password."""

    def test_a_stranger(self) -> None:
        """Is told why, sent away, and counted."""
        stranger = self.connect(STRANGER)
        self.assertTrue(stranger.received().startswith(b"-DENIED Running in protected mode because "))
        self.assertTrue(stranger.transport.disconnecting)
        self.assertEqual((self.server.connections_refused, len(self.server.clients)), (1, 0))

    def test_who_is_on_this_machine(self) -> None:
        """By a Unix socket, too."""
        for address in (IPv4Address("TCP", "127.0.0.1", 1), IPv6Address("TCP", "::1", 1), UNIXAddress(b"/s")):
            self.assertEqual(self.connect(address).ask(b"PING\r\n"), b"+PONG\r\n")

    def test_over_tls(self) -> None:
        """Whoever may speak TLS there may come."""
        self.assertEqual(Connection(self.factory.over_tls, STRANGER).ask(b"PING\r\n"), b"+PONG\r\n")

    def test_asked_for_a_password(self) -> None:
        """Whoever knows one may come."""
        self.server.users.set_default_password(b"secret")
        self.assertEqual(self.connect(STRANGER).ask(b"AUTH secret\r\n"), OK)

    def test_off(self) -> None:
        """Live."""
        self.assertEqual(self.connect().ask(b"CONFIG SET protected-mode no\r\n"), OK)
        self.assertEqual(self.connect(STRANGER).ask(b"PING\r\n"), b"+PONG\r\n")


class InsecureTests(ProtocolTestCase):
    """--insecure."""

    options = {"insecure": True}  # noqa: RUF012

    def test_a_stranger(self) -> None:
        """May come, and CONFIG says so."""
        stranger = self.connect(STRANGER)
        self.assertIn(b"\r\nno\r\n", stranger.ask(b"CONFIG GET protected-mode\r\n"))
