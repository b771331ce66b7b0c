"""The notation of a TARGET."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.address import Address
from kvstore.client.endpoint import Endpoint, Project, Several, parse_target


class ParseTests(SynchronousTestCase):
    """`parse_target`."""

    def test_each_form(self) -> None:
        """A port, a Unix socket, a project, and TLS before what can have it."""
        forms = {
            "box:80": Endpoint(Address("box", 80)),
            "[::1]:80": Endpoint(Address("::1", 80)),
            "tls:box:80": Endpoint(Address("box", 80), tls=True),
            "tls:[::1]:80": Endpoint(Address("::1", 80), tls=True),
            "unix:/run/kvstore": Endpoint("/run/kvstore"),
            "unix:relative": Endpoint("relative"),
            "me-a5": Project("me-a5"),
            "tls:me-a5": Project("me-a5", tls=True),
            "tls": Project("tls"),
            "a,b": Project("a,b"),
            "a:1,b:2": Several((Endpoint(Address("a", 1)), Endpoint(Address("b", 2)))),
            "tls:a:1,b:2": Several((Endpoint(Address("a", 1), tls=True), Endpoint(Address("b", 2), tls=True))),
        }
        self.assertEqual({text: parse_target(text) for text in forms}, forms)

    def test_mistyped(self) -> None:
        """What can be none of them is refused with the form that it should have."""
        hosts = ("box:http", "a..b:80", "\ud800:80", "a b:80", "tls:box:0", "tls:")
        for text in (*hosts, "unix:", "unix:a\0b", "tls:unix:/a"):
            self.assertRaises(ValueError, parse_target, text)

    def test_longest_path(self) -> None:
        """A Unix socket's path has 107 bytes at most, not characters."""
        for name in ("x" * 106, "\u00fc" * 53):
            self.assertEqual(parse_target(f"unix:/{name}"), Endpoint(f"/{name}"))
            self.assertRaises(ValueError, parse_target, f"unix:/{name}x")

    def test_certificates_without_tls(self) -> None:
        """To say whom to trust, or what to show, where nobody is asked for a certificate is a mistake that is told."""
        self.assertRaises(ValueError, parse_target, "box:80", "ca.pem")
        self.assertRaises(ValueError, parse_target, "box:80", None, "own.pem")
        self.assertRaises(ValueError, parse_target, "unix:/run/kvstore", "ca.pem")
        self.assertEqual(parse_target("tls:box:80", "ca.pem", "own.pem"), Endpoint(Address("box", 80), tls=True))
