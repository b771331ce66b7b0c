"""How to get to the nodes of an etcd: see `location`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IStreamClientEndpoint

from kvstore.edge.etcd.location import Location
from kvstore.edge.etcd.login import Login
from kvstore.edge.password_file import password_in
from kvstore.edge.tls import Shown, authorities_in, over_tls

#: Seconds for a connection to be made: a host that is there takes a few round trips.
CONNECT_S = 2.0


class Place(NamedTuple):
    """A node of etcd. `name`: HOST:PORT, for people and for the header `Host`. `login`: who we are there, if etcd has
    users; one for all of its nodes.
    """

    name: str
    endpoint: IStreamClientEndpoint
    login: Login | None = None


def places_of(location: Location, reactor: Any) -> list[Place]:
    """How to get to each node. Reads the files of TLS and of the password; raises ValueError, with advice, if they are
    not what they are to be.
    """
    login = None if location.user is None else _login(*location.user)
    wrap = _over_tls(location.files) if location.files is not None else lambda host, endpoint: endpoint
    return [
        Place(str(address), wrap(address.host, HostnameEndpoint(reactor, address.host, address.port, CONNECT_S)), login)
        for address in location.addresses
    ]


def _login(user: str, password_file: str) -> Login:
    try:
        return Login(user, password_in(password_file))
    except ValueError as error:  # UnicodeDecodeError, too
        raise ValueError(f"password-file={password_file}: {error}") from None


def _over_tls(files: dict[str, str]) -> Any:
    """Wraps the endpoint of a host."""
    authorities = authorities_in(files["ca"]) if "ca" in files else None
    own = _own_certificate(files["cert"], files.get("key", files["cert"])) if "cert" in files else {}
    return over_tls(authorities, own)


def _own_certificate(certificate: str, key: str) -> Shown:
    from twisted.internet.ssl import PrivateCertificate

    try:
        texts: Sequence[bytes] = [_contents(path) for path in dict.fromkeys((key, certificate))]
        loaded = PrivateCertificate.loadPEM(b"\n".join(texts))
    except OSError as error:
        raise ValueError(f"{error.filename}: {error.strerror}") from None
    except Exception:  # OpenSSL's
        raise ValueError(f"{certificate} and {key} are not a certificate and its key in PEM format") from None
    between = [each.original for each in authorities_in(certificate)[1:]]
    return {"privateKey": loaded.privateKey.original, "certificate": loaded.original, "extraCertChain": between}


def _contents(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
