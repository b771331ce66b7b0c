"""How a server of a group gets to another one: at the port that clients use, over TLS if this one is reached so.

A node's name is HOST:PORT, and says nothing of TLS: the others are reached as this one says that it is
(`--advertise tls:HOST:PORT`), so all of a group say the same. Another's certificate must be for the host by which it is
advertised, and one of `--node-ca` must vouch for it, or one that the system trusts. If the other asks for a certificate
(`--tls-client-ca`), it is shown that of this server's first port that speaks TLS.

Rejected: `tls:` in the name (a server that changes to TLS would be another node, and older versions could not read it);
to try without TLS where that fails (whoever is in between could have the password so).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.endpoints import HostnameEndpoint, connectProtocol, serverFromString
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.logger import Logger

from kvstore.base.address import Address
from kvstore.edge.exposure import is_loopback, is_tls, open_endpoints
from kvstore.edge.group.joining import Fetch
from kvstore.edge.settings import GroupSettings
from kvstore.edge.tls import Shown, authorities_in, over_tls, shown_by

_log = Logger()


def connector(reactor: Any, group: GroupSettings, listen: Iterable[str]) -> Callable[[Address, Fetch], None]:
    """What connects a protocol to another server, or has it `fail`. `listen`: this server's own endpoints.

    Reads the files of TLS; raises ValueError, with advice, if they are not what they are to be. The log warns if nobody
    on other machines can reach this server, though it is advertised there.
    """
    listen = tuple(listen)
    if not (is_loopback(group.advertise.host) or open_endpoints(listen) or any(map(is_tls, listen))):
        _log.warn(
            "advertised as {advertise}, but only programs on this machine can connect; unless a proxy here lets others"
            " in, add --listen", advertise=str(group.advertise),
        )  # fmt: skip
    wrap = _over_tls(reactor, group, listen) if group.over_tls else _as_it_is

    def connect(place: Address, fetch: Fetch) -> None:
        try:
            endpoint = wrap(place.host, HostnameEndpoint(reactor, place.host, place.port))
        except ValueError as error:  # UnicodeError, of IDNA: no certificate can be for a host of that name
            fetch.fail(f"no host for TLS: {error}")
            return
        connectProtocol(endpoint, fetch).addErrback(lambda reason: fetch.fail(reason.getErrorMessage()))

    return connect


def _as_it_is(host: str, endpoint: IStreamClientEndpoint) -> IStreamClientEndpoint:
    return endpoint


def _over_tls(
    reactor: Any, group: GroupSettings, listen: Iterable[str]
) -> Callable[[str, IStreamClientEndpoint], IStreamClientEndpoint]:
    authorities = None if group.node_ca_path is None else authorities_in(group.node_ca_path)
    own: Iterable[Shown] = (shown_by(serverFromString(reactor, text)) for text in listen if is_tls(text))
    return over_tls(authorities, next(iter(own), {}))
