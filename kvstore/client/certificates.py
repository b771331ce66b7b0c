"""Files of certificates (PEM): whom a client trusts over TLS, and what it shows to a server that asks who it is.

What it shows is one file: its own certificate first, after it those that lead to an authority that the server knows, if
there are any; and its private key, anywhere. A file that is not so is refused before anything is connected, with what
to do about it; so is a key with a passphrase, for which OpenSSL would ask the terminal in the middle of a program.

A server that was shown nothing, or nothing that it takes, says so by an alert (RFC 8446, 6.2). In TLS 1.3 that comes
after the client's side of the handshake, in place of the first reply. TLS 1.2 has no alert of its own for a client
that shows nothing.
"""

from __future__ import annotations

import re
import ssl
from typing import Final, NoReturn

_CERTIFICATE = re.compile(b"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n?", re.DOTALL)
_PRIVATE_KEY = re.compile(b"-----BEGIN [A-Z ]*PRIVATE KEY-----")

#: An alert about the client's certificate, in OpenSSL's words, which are the same in `ssl` and in pyOpenSSL.
_ALERT = re.compile(
    r" alert (certificate (?:required|revoked|expired|unknown)|(?:bad|unsupported) certificate|unknown ca"
    r"|handshake failure)\b"
)

_WANTED: Final = "wants a certificate (--cert-file, cert_file=)"


def certificates_in(path: str) -> list[bytes]:
    """The certificates in a file, each as PEM. Raises OSError if it cannot be read, or has none."""
    return _certificates(path, _contents(path))


def tls_context(ca_file: str | None = None, cert_file: str | None = None) -> ssl.SSLContext:
    """What a TLS connection trusts: the certificates in `ca_file`, None: those of the system; and what it shows: what
    is in `cert_file`, None: nothing. Raises OSError, with advice, if one of them is not as it is to be.
    """
    if ca_file is not None:
        certificates_in(ca_file)  # OpenSSL does not name the file
    context = ssl.create_default_context(cafile=ca_file)
    if cert_file is not None:
        _show(cert_file, context)
    return context


def own_certificate(cert_file: str) -> tuple[bytes, list[bytes]]:
    """What is in a client's own file: the whole of it, and its certificates, each as PEM. Raises as `tls_context`."""
    _show(cert_file, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    return _contents(cert_file), certificates_in(cert_file)


def refusal(error: str) -> str | None:
    """What an error of OpenSSL's means if the server refuses what it was shown, and what to do; None if it does not."""
    alert = _ALERT.search(error)
    if alert is None:
        return None
    if alert[1] == "certificate required":
        return f"the server {_WANTED}"
    if alert[1] == "handshake failure":
        return f"the server refuses the handshake; perhaps it {_WANTED}"
    return f"the server does not take the certificate that it was shown ({alert[1]})"


def _show(path: str, context: ssl.SSLContext) -> None:
    contents = _contents(path)
    _certificates(path, contents)
    if not _PRIVATE_KEY.search(contents):
        raise OSError(f"there is no private key in {path}: append that of the certificate")
    try:
        context.load_cert_chain(path, password=lambda: _with_passphrase(path))
    except ssl.SSLError as error:
        if error.reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"):
            raise OSError(f"the private key in {path} is not that of the first certificate there") from None
        raise OSError(f"{path} is not a certificate and its private key in PEM format: {error.strerror}") from None


def _with_passphrase(path: str) -> NoReturn:
    raise OSError(f"the private key in {path} has a passphrase: take it off (openssl pkey)")


def _certificates(path: str, contents: bytes) -> list[bytes]:
    found = _CERTIFICATE.findall(contents)
    if not found:
        raise OSError(f"there is no certificate in {path}")
    return found


def _contents(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
