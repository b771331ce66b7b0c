"""/healthz and /readyz, for whoever decides whether to start the server again, and whether to send clients to it; in a
group /leader and /replica, for whoever sends writes to the one that leads, and reads to the others.

As Kubernetes takes them: 200 for yes, 503 for no, and a text for people with a line for each check. They ask for no
user and tell no detail: that is in the log, and in INFO.

Alive is a server whose loop goes round. Ready is one that has recovered and whose disk takes writes: before that, and
once it stops, nothing listens here. A failed compaction is no reason: every request is served; the metrics tell of it.

A server of a group is ready while it hears of its leader, or leads itself and its lease runs. Else requests wait for
another entry, or what it answers grows old, and nobody knows how old: it is cut off from the log, has no room for the
next entry, fetches a checkpoint, or a newer version leads. Patroni's words for the parts are taken, as its users have
them in their load balancers: https://patroni.readthedocs.io/en/latest/rest_api.html
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.web.server import Request

from kvstore.commands.membership import Membership
from kvstore.edge.http.site import Route, refuse
from kvstore.edge.http.visitors import Visitor

#: Of one condition: what is wrong with it, or nothing.
Check = Callable[[], str]


def health_routes(checks: dict[str, Check], group: Membership | None = None) -> dict[bytes, Route]:
    """All. `checks`: by their names, what a server that is ready has to have. `group`: that it is of."""

    def readyz(request: Request, visitor: Visitor) -> bytes:
        found = {name: check() for name, check in checks.items()}
        lines = [f"[-]{name} failed: {wrong}" if wrong else f"[+]{name} ok" for name, wrong in found.items()]
        if any(found.values()):
            request.setResponseCode(503)
        return "\n".join([*lines, f"readyz check {'failed' if any(found.values()) else 'passed'}", ""]).encode()

    return {
        b"/healthz": Route(lambda request, visitor: b"ok\n", None),
        b"/readyz": Route(readyz, None),
        **({} if group is None else _part_routes(group)),
    }


def _part_routes(group: Membership) -> dict[bytes, Route]:
    def part(name: str, is_so: Callable[[], bool]) -> Route:
        def answer(request: Request, visitor: Visitor) -> bytes:
            return b"ok\n" if is_so() else refuse(request, 503, f"it is no {name} now")

        return Route(answer, None)

    return {
        b"/leader": part("leader", lambda: group.leads and group.hears_leader),
        b"/replica": part("replica", lambda: not group.leads and group.hears_leader),
    }
