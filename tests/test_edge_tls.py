"""Client certificates, over real sockets."""

from __future__ import annotations

import os
import socket
import ssl
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from kvstore.edge.tls import authorities_in
from kvstore.testing.server_process import ServerProcess
from tests.kit.certificate import make_certificate


class AuthoritiesTests(SynchronousTestCase):
    """The file."""

    def test_all_certificates_of_it(self) -> None:
        """Private keys between them do not matter."""
        one, other, both = self.mktemp(), self.mktemp(), self.mktemp()
        for path in (one, other):
            make_certificate(path)
        with open(both, "w") as file:
            file.writelines(Path(path).read_text() for path in (one, other))
        self.assertEqual([len(authorities_in(path)) for path in (one, both)], [1, 2])

    def test_none(self) -> None:
        """A file that is missing, or holds something else, or half of one."""
        half = self.mktemp()
        with open(half, "w") as file:
            file.write("-----BEGIN CERTIFICATE-----\nMIIB")
        for path in (self.mktemp(), __file__, half):
            self.assertIn("give a file of certificates", str(self.assertRaises(ValueError, authorities_in, path)))


class ClientCertificateTests(SynchronousTestCase):
    """One server that asks for them."""

    def test_who_gets_in(self) -> None:
        """A client whose certificate is vouched for; none with another's, or without."""
        own, other = os.path.abspath(self.mktemp()), os.path.abspath(self.mktemp())
        make_certificate(own)
        make_certificate(other)
        endpoint = f"ssl:0:privateKey={own}:interface=127.0.0.1"
        with ServerProcess("--listen", endpoint, "--tls-client-ca", own, data=self.mktemp(), port=None) as server:
            self.assertEqual(self.ask(server.port, own, own), b"+PONG\r\n")
            for certificate in (other, None):
                self.assertRaises(ssl.SSLError, self.ask, server.port, own, certificate)

    def ask(self, port: int, authority: str, certificate: str | None) -> bytes:
        """What a PING gets. Raises SSLError if the server refuses the client."""
        context = ssl.create_default_context(cafile=authority)
        if certificate is not None:
            context.load_cert_chain(certificate)
        plain = socket.create_connection(("127.0.0.1", port), 10)
        with plain, context.wrap_socket(plain, server_hostname="127.0.0.1") as wire:
            wire.sendall(b"PING\r\n")
            return wire.recv(100)
