"""A certificate for tests over TLS."""

from __future__ import annotations

import datetime
import ipaddress
import os
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


def make_certificate(path: str, issuer: str | None = None) -> ssl.SSLContext:
    """Write a private key and a certificate for 127.0.0.1 to one file; returns a client's context that trusts it.

    `issuer`: such a file, whose key signs it, and whose certificates are written after it; None: its own.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"kvstore test {os.path.basename(path)}")])
    now = datetime.datetime.now(datetime.UTC)
    host = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    signing, signer, others = key, name, b""
    if issuer is not None:
        contents = Path(issuer).read_bytes()
        signing = serialization.load_pem_private_key(contents, None)  # type: ignore[assignment]
        first, *_ = chain = x509.load_pem_x509_certificates(contents)
        signer, others = first.subject, b"".join(each.public_bytes(serialization.Encoding.PEM) for each in chain)
    builder = x509.CertificateBuilder(signer, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(days=1))
    builder = builder.not_valid_after(now + datetime.timedelta(days=1))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    certificate = builder.add_extension(host, critical=False).sign(signing, hashes.SHA256())
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    with open(path, "wb") as file:
        file.write(secret + certificate.public_bytes(pem) + others)
    return ssl.create_default_context(cafile=path)
