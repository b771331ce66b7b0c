"""Certificates: those that clients are asked for, and how to be a client oneself.

An `ssl:` endpoint of Twisted's has a certificate of its own and asks for none. With
`--tls-client-ca` a client must have one, too, that one of some authorities has signed; the handshake of any other
fails, before a byte of it is looked at.

Twisted's strings have no word for that, so the endpoint that one of them makes is told before it listens.

Rejected: an endpoint of our own (`tls:...:clientCA=FILE`), by a plugin: a second spelling of what everybody knows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from twisted.internet.interfaces import IStreamClientEndpoint

#: A certificate and its key, as arguments for Twisted's CertificateOptions; nothing if there are none.
Shown: TypeAlias = Mapping[str, Any]


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
        raise ValueError("give a file of certificates in PEM format")
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


def shown_by(endpoint: Any) -> Shown:
    """What an endpoint of `ssl:` shows to its clients."""
    options = endpoint._sslContextFactory
    return {name: getattr(options, name) for name in ("privateKey", "certificate", "extraCertChain")}


def over_tls(
    authorities: list[Any] | None, own: Shown
) -> Callable[[str, IStreamClientEndpoint], IStreamClientEndpoint]:
    """Makes an endpoint to a host one over TLS: called with the host, for which the server's certificate must be, and
    the endpoint. `authorities`: who may vouch for that; None: whom the system trusts. `own`: shown to a server that
    asks for a certificate.
    """
    from twisted.internet.endpoints import wrapClientTLS
    from twisted.internet.ssl import optionsForClientTLS, trustRootFromCertificates

    trust = None if authorities is None else trustRootFromCertificates(authorities)

    def wrap(host: str, endpoint: IStreamClientEndpoint) -> IStreamClientEndpoint:
        options = optionsForClientTLS(host, trustRoot=trust, extraCertificateOptions=dict(own))
        return wrapClientTLS(options, endpoint)

    return wrap
