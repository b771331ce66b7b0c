"""Client certificates: an `ssl:` endpoint of Twisted's has a certificate of its own and asks for none. With
`--tls-client-ca` a client must have one, too, that one of some authorities has signed; the handshake of any other
fails, before a byte of it is looked at.

Twisted's strings have no word for that, so the endpoint that one of them makes is told before it listens.

Rejected: an endpoint of our own (`tls:...:clientCA=FILE`), by a plugin: a second spelling of what everybody knows.
"""

from __future__ import annotations

from typing import Any


def authorities_in(path: str) -> list[Any]:
    """The certificates, as Twisted has them, in a PEM file. Raises ValueError with advice if there are none."""
    from twisted.internet.ssl import Certificate

    begin, end = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
    try:
        with open(path, "rb") as file:
            texts = file.read().split(begin)[1:]
        found = [Certificate.loadPEM(begin + text.partition(end)[0] + end) for text in texts]
    except OSError as error:
        raise ValueError(f"{error.strerror}; give a file of certificates in PEM format") from None
    except Exception:  # OpenSSL's
        found = []
    if not found:
        raise ValueError("give a file of certificates in PEM format, of those who sign your clients'")
    return found


def ask_for_certificates(endpoint: Any, authorities: list[Any]) -> None:
    """Have an endpoint of `ssl:`, which does not listen yet, take only clients that one of `authorities` vouches for.
    Any other endpoint is left as it is.
    """
    from twisted.internet.ssl import trustRootFromCertificates

    options = getattr(endpoint, "_sslContextFactory", None)
    if options is not None:
        options.trustRoot = trustRootFromCertificates(authorities)
        options.verify = options.requireCertificate = True
