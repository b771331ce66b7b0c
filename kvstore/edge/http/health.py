"""/healthz and /readyz, for whoever decides whether to start the server again, and whether to send clients to it.

As Kubernetes takes them: 200 for yes, 503 for no, and a text for people with a line for each check. They ask for no
user and tell no detail: that is in the log, and in INFO.

Alive is a server whose loop goes round. Ready is one that has recovered and whose disk takes writes: before that, and
once it stops, nothing listens here. A failed compaction is no reason: every request is served; the metrics tell of it.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.web.server import Request

from kvstore.edge.http.site import Route
from kvstore.edge.http.visitors import Visitor

#: Of one condition: what is wrong with it, or nothing.
Check = Callable[[], str]


def health_routes(checks: dict[str, Check]) -> dict[bytes, Route]:
    """Both. `checks`: by their names, what a server that is ready has to have."""

    def readyz(request: Request, visitor: Visitor) -> bytes:
        found = {name: check() for name, check in checks.items()}
        lines = [f"[-]{name} failed: {wrong}" if wrong else f"[+]{name} ok" for name, wrong in found.items()]
        if any(found.values()):
            request.setResponseCode(503)
        return "\n".join([*lines, f"readyz check {'failed' if any(found.values()) else 'passed'}", ""]).encode()

    return {
        b"/healthz": Route(lambda request, visitor: b"ok\n", None),
        b"/readyz": Route(readyz, None),
    }
