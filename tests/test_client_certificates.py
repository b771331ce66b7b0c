"""The clients' files of certificates, and what a refusal by the server means."""

from __future__ import annotations

import ssl
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from twisted.trial.unittest import SynchronousTestCase

from kvstore.client.certificates import certificates_in, own_certificate, refusal, tls_context
from tests.kit.certificate import make_certificate

_BEGIN = b"-----BEGIN CERTIFICATE-----"


class OwnCertificateTests(SynchronousTestCase):
    """`cert_file`."""

    def setUp(self) -> None:
        """A good one, and its parts."""
        self.path = self.mktemp()
        make_certificate(self.path)
        self.key, _, rest = Path(self.path).read_bytes().partition(_BEGIN)
        self.certificate = _BEGIN + rest

    def written(self, *parts: bytes) -> str:
        """A file of these."""
        path = self.mktemp()
        Path(path).write_bytes(b"".join(parts))
        return path

    def advice(self, path: str) -> str:
        """What is said of a file, by whoever reads it; it names the file."""
        said = str(self.assertRaises(OSError, own_certificate, path))
        self.assertEqual(said, str(self.assertRaises(OSError, tls_context, None, path)))
        self.assertIn(path, said)
        return said

    def test_certificate_and_key(self) -> None:
        """In any order, and with others' certificates after it."""
        other = self.mktemp()
        make_certificate(other)
        others = certificates_in(other)
        for parts in ((self.key, self.certificate, *others), (self.certificate, *others, self.key)):
            path = self.written(*parts)
            self.assertEqual(own_certificate(path), (b"".join(parts), [self.certificate, *others]))
            self.assertIsInstance(tls_context(self.path, path), ssl.SSLContext)

    def test_files_of_no_use(self) -> None:
        """What is wrong, and what to do about it, is said."""
        other = self.mktemp()
        make_certificate(other)
        pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        key = serialization.load_pem_private_key(self.key, None)
        locked = key.private_bytes(pem, form, serialization.BestAvailableEncryption(b"secret"))
        for path, found in (
            (self.mktemp(), "No such file"),
            (self.written(), "no certificate in"),
            (self.written(self.key), "no certificate in"),
            (self.written(self.certificate), "no private key in .* append"),
            (self.written(*certificates_in(other), self.certificate, self.key), "not that of the first certificate"),
            (self.written(self.certificate, locked), "passphrase: take it off"),
            (self.written(self.certificate, self.key[:60] + b"\n" + self.key[-30:]), "in PEM format"),
        ):
            self.assertRegex(self.advice(path), found)

    def test_authorities_of_no_use(self) -> None:
        """The file is named, too."""
        for path in (self.mktemp(), self.written()):
            self.assertIn(path, str(self.assertRaises(OSError, tls_context, path)))


class RefusalTests(SynchronousTestCase):
    """`refusal`."""

    def test_alerts(self) -> None:
        """Those about the client's certificate, in the words of `ssl` and of pyOpenSSL; all else is no refusal."""
        for error, found in (
            ("[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert certificate required (_ssl.c:1)", "wants a cert"),
            ("[('SSL routines', '', 'tlsv13 alert certificate required')]", "wants a certificate"),
            ("[('SSL routines', '', 'ssl/tls alert handshake failure')]", "perhaps it wants a certificate"),
            ("[('SSL routines', '', 'tlsv1 alert unknown ca')]", r"does not take .* \(unknown ca\)"),
            ("[('SSL routines', '', 'sslv3 alert certificate expired')]", r"does not take .* \(certificate expired\)"),
        ):
            self.assertRegex(refusal(error) or "", found)
        for error in ("certificate verify failed: certificate has expired", "tlsv1 alert protocol version", ""):
            self.assertIsNone(refusal(error))
