"""The site of one server: all that there is to be seen by HTTP, and where it listens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kvstore.commands.membership import Membership
from kvstore.edge.exits import Process
from kvstore.edge.history import History
from kvstore.edge.http.health import Check, health_routes
from kvstore.edge.http.metrics import metrics_routes
from kvstore.edge.http.origins import Origins
from kvstore.edge.http.pacing import Pacing
from kvstore.edge.http.site import Site
from kvstore.edge.http.visitors import Visitors
from kvstore.edge.listening import Listening
from kvstore.edge.page.site import page_routes
from kvstore.edge.settings import Settings
from kvstore.edge.status import Sources
from kvstore.store.store import Store

#: What /readyz says is wrong.
_FULL = "it is full, writes are refused"
_FAILED = "the log cannot be written"
_NO_LEASE = "its lease is over, requests wait"
_NO_LEADER = "it hears of no leader, what it has grows old"


def readiness(store: Store, group: Membership | None = None) -> dict[str, Check]:
    """What a server that is ready has to have. Who can ask has found it recovered. `group`: that it is of."""
    checks: dict[str, Check] = {
        "recovery": lambda: "",
        "disk": lambda: _FULL if store.refusals.now else "",
        "log": lambda: _FAILED if store.failed is not None else "",
    }
    return checks if group is None else checks | {"group": lambda: _unheard(group)}


def _unheard(group: Membership) -> str:
    if group.hears_leader:
        return ""
    return _NO_LEASE if group.leads else _NO_LEADER


class WebSite:
    """See the module. `settings`: with `http`. `turned_away`, `process`: see `Listening`.

    `site`: its routes, and connections. `history`: to be sampled once a second.
    """

    def __init__(
        self,
        settings: Settings,
        sources: Sources,
        turned_away: Callable[[], None],
        process: Process,
    ) -> None:
        assert settings.http is not None
        self._endpoint = settings.http
        self._listening = Listening(sources.reactor, turned_away, process, "HTTP", "--http")
        self.history = History(sources)
        pace = Pacing(sources.reactor.callLater).do
        group = sources.server.group
        self.site = Site(
            sources.reactor,
            Origins(settings.http_hosts),
            Visitors(sources.server),
            {
                **health_routes(readiness(sources.store, group), group),
                **metrics_routes(sources, sources.reactor.seconds),
                **page_routes(sources, self.history, pace),
            },
            pace,
        )
        self.site.accept = self._listening.accept

    @property
    def port(self) -> int:
        """The TCP port, 0 if there is none."""
        return self._listening.first_port()

    def listen(self, authorities: list[Any] | None) -> None:
        """Begin. Raises what the process says, if that is refused. `authorities`: see `Listening.start`."""
        self._listening.start((self._endpoint,), self.site, authorities)

    async def stop(self) -> None:
        """Listen no more, and close all connections."""
        self.site.accept = lambda accepts: None  # a port that is closed must not be read again
        await self._listening.stop()
        self.site.close()
