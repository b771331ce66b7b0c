"""Where an etcd is, as people type it: `etcd://a:2379,b:2379,c:2379`, with TLS `etcds://...`, and how to get there.

    etcds://a:2379,b:2379,c:2379?ca=/etc/etcd/ca.pem&cert=/etc/etcd/kvstore.pem&key=/etc/etcd/kvstore.key

`ca`: the certificates of who signed etcd's (the system's authorities unless given); `cert` and `key`: what etcd is
shown if it asks (`--client-cert-auth`); the key may be in the file of the certificate. A server's certificate must name
the host as it is typed. etcd's own users and roles are not for this: its gateway knows nobody by their certificate.

The nodes are asked in the order in which they stand, the next one when one fails: so the nearest goes first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IStreamClientEndpoint

from kvstore.base.address import Address, parse_address
from kvstore.edge.tls import authorities_in

#: Seconds for a connection to be made: a host that is there takes a few round trips.
CONNECT_S = 2.0

_FILES = ("ca", "cert", "key")


class Place(NamedTuple):
    """A node of etcd. `name`: HOST:PORT, for people and for the header `Host`."""

    name: str
    endpoint: IStreamClientEndpoint


class Location(NamedTuple):
    """What was typed. `files`: of TLS, by `ca`, `cert` and `key`; None without TLS."""

    addresses: tuple[Address, ...]
    files: dict[str, str] | None


def parse_location(text: str) -> Location:
    """The nodes in `etcd://HOST:PORT,...` or `etcds://HOST:PORT,...?ca=FILE&cert=FILE&key=FILE`. Raises ValueError, for
    the person who typed it.
    """
    scheme, _, rest = text.partition("://")
    if scheme not in ("etcd", "etcds"):
        raise ValueError(f"{text!r} does not begin with etcd:// or etcds://")
    hosts, _, query = rest.partition("?")
    files = dict(parse_qsl(query, keep_blank_values=True))
    if unknown := [name for name in files if scheme == "etcd" or name not in _FILES]:
        raise ValueError(f"{unknown[0]!r} has no meaning in {text!r}: etcds:// takes ca, cert and key")
    addresses = tuple(parse_address(host) for host in hosts.rstrip("/").split(","))
    if len(set(addresses)) < len(addresses):
        raise ValueError(f"{text!r} names a node twice")
    return Location(addresses, files if scheme == "etcds" else None)


def places_of(location: Location, reactor: Any) -> list[Place]:
    """How to get to each node. Reads the files of TLS; raises ValueError, with advice, if they are not what they are to
    be.
    """
    wrap = _over_tls(location.files) if location.files is not None else lambda host, endpoint: endpoint
    return [
        Place(str(address), wrap(address.host, HostnameEndpoint(reactor, address.host, address.port, CONNECT_S)))
        for address in location.addresses
    ]


def _over_tls(files: dict[str, str]) -> Any:
    """Wraps the endpoint of a host."""
    from twisted.internet.endpoints import wrapClientTLS
    from twisted.internet.ssl import optionsForClientTLS, trustRootFromCertificates

    trust = trustRootFromCertificates(authorities_in(files["ca"])) if "ca" in files else None
    own = _own_certificate(files["cert"], files.get("key", files["cert"])) if "cert" in files else None

    def wrap(host: str, endpoint: IStreamClientEndpoint) -> IStreamClientEndpoint:
        options = optionsForClientTLS(host, trustRoot=trust, clientCertificate=own)
        return wrapClientTLS(options, endpoint)

    return wrap


def _own_certificate(certificate: str, key: str) -> Any:
    from twisted.internet.ssl import PrivateCertificate

    try:
        texts: Sequence[bytes] = [_contents(path) for path in dict.fromkeys((key, certificate))]
        return PrivateCertificate.loadPEM(b"\n".join(texts))
    except OSError as error:
        raise ValueError(f"{error.filename}: {error.strerror}") from None
    except Exception:  # OpenSSL's
        raise ValueError(f"{certificate} and {key} are not a certificate and its key in PEM format") from None


def _contents(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
