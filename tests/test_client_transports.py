"""Both clients against the real server over every transport of the notation: TCP, a Unix socket, TLS, a project."""

from __future__ import annotations

import os
import pickle
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from kvstore.client import Client
from kvstore.client.deferred import ClientClosed, DeferredClient
from kvstore.client.raw import RawConnection
from kvstore.client.target import resolve
from tests.kit.certificate import make_certificate
from tests.kit.fake_catalog import ENTRY, FakeCatalog
from tests.kit.server_process import Serving, new_directory

#: Larger than the buffers of any socket.
LARGE = {"text": "x" * 5_000_000}


class GaveUp(Exception):
    """Raised to end what would be repeated for ever."""


class TransportTests(Serving, TestCase):
    """The same requests over each of them."""

    timeout = 120

    def setUp(self) -> None:
        """Make what is needed for TLS, and a place for a socket."""
        self.directory = new_directory(self.addCleanup)
        self.certificate = os.path.join(self.directory, "both.pem")
        self.messages: list[str] = []

    def tls_server(self, *options: str) -> int:
        """The port of a server that speaks TLS."""
        make_certificate(self.certificate)
        path = self.certificate
        listen = f"ssl:0:privateKey={path}:certKey={path}:interface=127.0.0.1"
        return self.start("--listen", listen, *options, port=None).port

    def made(self, name: str, issuer: str | None = None) -> str:
        """The file of another certificate and its key."""
        path = os.path.join(self.directory, name)
        make_certificate(path, issuer)
        return path

    def blocking(self, target: str, **options: Any) -> Client:
        """The blocking client, closed after the test."""
        client = Client(target, report=self.messages.append, **options)
        self.addCleanup(client.close)
        return client

    def deferred(self, target: str, **options: Any) -> DeferredClient:
        """The Twisted client, closed after the test."""
        client = DeferredClient(reactor, target, report=self.messages.append, **options)
        self.addCleanup(client.close)
        return client

    async def check(self, target: str, **options: Any) -> None:
        """What one client puts there the other finds, large and small, and no attempt has failed."""
        blocking, deferred = self.blocking(target, **options), self.deferred(target, **options)
        blocking.insert("small", {"n": 1})
        await deferred.insert("large", LARGE)
        self.assertEqual(await deferred.lookup("small"), {"n": 1})
        self.assertEqual(blocking.lookup("large"), LARGE)
        blocking.insert("large", LARGE)
        self.assertEqual(await deferred.lookup("large"), LARGE)
        self.assertEqual((blocking.size(), await deferred.size(), self.messages), (2, 2, []))

    async def test_tcp(self) -> None:
        """HOST:PORT."""
        await self.check(f"localhost:{self.server.port}")

    async def test_unix(self) -> None:
        """unix:PATH."""
        path = os.path.join(self.directory, "socket")
        self.start("--listen", f"unix:{path}", port=None)
        await self.check(f"unix:{path}")
        with RawConnection(resolve(f"unix:{path}")) as connection:
            connection.send(b"PING\r\n")
            self.assertEqual(connection.resp(), "+PONG")

    async def test_tls(self) -> None:
        """tls:HOST:PORT, with a certificate that is told to be trusted."""
        await self.check(f"tls:127.0.0.1:{self.tls_server()}", ca_file=self.certificate)

    async def test_tls_by_project(self) -> None:
        """tls:NAME, a project that the catalog knows."""
        catalog = FakeCatalog()
        self.addCleanup(catalog.stop)
        catalog.list(ENTRY | {"address": "127.0.0.1", "port": self.tls_server()})
        await self.check("tls:me-a5", catalog=catalog.address, ca_file=self.certificate)

    def refused(self, target: str, value: Any = 1, **options: Any) -> str:
        """What the blocking client says when its first attempt of an insert fails."""

        def stop(message: str) -> None:
            raise GaveUp(message)

        client = Client(target, report=stop, **options)
        self.addCleanup(client.close)
        return str(self.assertRaises(GaveUp, client.insert, "secret", value))

    async def refused_deferred(self, target: str, **options: Any) -> str:
        """What the Twisted client says then."""
        said: Deferred[str] = Deferred()
        client = DeferredClient(reactor, target, report=said.callback, **options)
        inserted = client.insert("secret", 1)
        message = await said
        inserted.addErrback(lambda failure: failure.trap(ClientClosed))
        await client.close()
        return message

    async def test_certificates_that_are_not_trusted(self) -> None:
        """A server whose certificate nobody vouches for, or that is another host's, gets no request."""
        port = self.tls_server()
        trusting = {"ca_file": self.certificate}
        for target, options in ((f"tls:127.0.0.1:{port}", {}), (f"tls:localhost:{port}", trusting)):
            self.assertIn("certificate", self.refused(target, **options))
            self.assertIn("trying", await self.refused_deferred(target, **options))
        self.assertEqual(self.blocking(f"tls:127.0.0.1:{port}", **trusting).size(), 0)

    async def test_server_that_wants_a_certificate(self) -> None:
        """It is shown one, with those that lead to its authority. Who shows none is told to, and who shows a stranger's
        that it does not help.
        """
        authority = self.made("authority.pem")
        target = f"tls:127.0.0.1:{self.tls_server('--tls-client-ca', authority)}"
        options = {"ca_file": self.certificate}
        own, strange = self.made("own.pem", self.made("between.pem", authority)), self.made("strange.pem")
        await self.check(target, **options, cert_file=own)
        for shown, found in (
            ({}, "wants a certificate (--cert-file, cert_file=)"),
            ({"cert_file": strange}, "unknown ca"),
        ):
            self.assertIn(found, self.refused(target, **options, **shown))
            self.assertIn(found, await self.refused_deferred(target, **options, **shown))
        self.assertIn("wants a certificate", self.refused(target, LARGE, **options))  # which is not all sent
        client = pickle.loads(pickle.dumps(Client(target, cert_file=own, deadline_seconds=30, **options)))
        self.addCleanup(client.close)
        self.assertEqual(client.size(), 2)

    async def test_plain_server(self) -> None:
        """A server that speaks no TLS is one more failure; the request does not reach it in the clear."""
        port = self.server.port
        self.assertIn("trying", self.refused(f"tls:127.0.0.1:{port}"))
        self.assertIn("trying", await self.refused_deferred(f"tls:127.0.0.1:{port}"))
        self.assertEqual(self.blocking(f"127.0.0.1:{port}").size(), 0)

    def test_files_of_certificates(self) -> None:
        """A file that is not there, or has none, is refused when the client is made; so is one for a plain target."""
        empty = os.path.join(self.directory, "empty.pem")
        with open(empty, "wb"):
            pass
        for path in (empty, empty + "x"):
            for option in ("ca_file", "cert_file"):
                self.assertRaises(OSError, Client, "tls:box:1", **{option: path})
                self.assertRaises(OSError, DeferredClient, reactor, "tls:box:1", **{option: path})
        for option in ("ca_file", "cert_file"):
            self.assertRaises(ValueError, Client, "box:1", **{option: empty})
            self.assertRaises(ValueError, DeferredClient, reactor, "box:1", **{option: empty})

    async def test_socket_that_is_not_there(self) -> None:
        """A Unix socket that nobody serves is waited for like a port."""
        target = f"unix:{self.directory}/none"
        self.assertIn("No such file", self.refused(target))
        self.assertIn("trying", await self.refused_deferred(target))
