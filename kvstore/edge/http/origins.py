"""Whose requests are answered: those that name this server as their host, from no other site's page.

A web page can have its own name lead to 127.0.0.1 once it is loaded (DNS rebinding): the browser then takes this
server for a part of that site, and lets the page read it. What gives it away is the name, which the browser sends as
Host. So a request has to name a host that can be no stranger's: an IP address, `localhost`, or one of --http-host.
A page of another site that asks openly says so in Origin, or in Sec-Fetch-Site.

Rejected: to compare the port, or the address with the one that is listened on. Behind a proxy or a container's port
mapping they differ, and no page of a stranger has an IP address for its name without being read from there.
"""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import ip_address
from urllib.parse import urlsplit

_THIS_MACHINE = "localhost"


class Origins:
    """See the module. `names`: further names of this server, in any case."""

    def __init__(self, names: Collection[str] = ()) -> None:
        self._names = {_THIS_MACHINE, *(name.lower() for name in names)}

    def refusal(self, hosts: list[str], origins: list[str], fetch_sites: list[str]) -> str:
        """Why a request with these headers (Host, Origin, Sec-Fetch-Site) is not answered; empty if it is.

        One without a host is no browser's.
        """
        if len(hosts) > 1 or not all(map(self._is_own, hosts)):
            return "this is no name of this server; who reaches it by a name has to give that by --http-host"
        if not all(_host_of(origin) in [host.lower() for host in hosts] for origin in origins):
            return "pages of other sites get nothing here"
        if any(site not in ("same-origin", "none") for site in fetch_sites):
            return "pages of other sites get nothing here"
        return ""

    def _is_own(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
            return name in self._names or bool(ip_address(name))
        except ValueError:
            return False


def _host_of(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None
