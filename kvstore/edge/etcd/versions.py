"""Which version of etcd it is: a look at each node at start, and a line in the log if one is older than is advised."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import orjson
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from kvstore.base.errors import shorten
from kvstore.edge.etcd import gateway
from kvstore.edge.etcd.link import Link
from kvstore.edge.etcd.places import Place
from kvstore.edge.etcd.replies import Reply

_log = Logger()

#: The oldest version that is advised: those before have served stale reads after a pause. Nothing here is read so that
#: this matters, but what has been found by those who look, is worth having.
ADVISED = (3, 6, 9)

#: Seconds for all of it; who has not answered by then is not asked again.
_LOOK_S = 5.0


def is_older(version: str) -> bool:
    """Whether a version, as `3.4.23`, is older than advised; one that makes no sense is."""
    numbers = re.match(r"(\d{1,9})\.(\d{1,9})\.(\d{1,9})", version)
    return numbers is None or tuple(map(int, numbers.groups())) < ADVISED


class VersionCheck:
    """See the module. `clock`: the reactor."""

    def __init__(self, clock: Any, places: Sequence[Place]) -> None:
        self._clock = clock
        self._places = places
        self._links: dict[str, Link] = {}
        self._found: dict[str, str] = {}
        self._end: IDelayedCall | None = None

    def start(self) -> None:
        """Ask each node, and say what was found when all have answered, or their time is up."""
        self._end = self._clock.callLater(_LOOK_S, self._say)
        for place in self._places:
            self._ask(place)

    def stop(self) -> None:
        """Ask no more, and say nothing."""
        if self._end is not None:
            self._end.cancel()
            self._end = None
        for link in self._links.values():
            link.drop()
        self._links.clear()

    def _ask(self, place: Place) -> None:
        link = Link(place, lambda reply: self._heard(place, reply), lambda reason: self._heard(place, None))
        self._links[place.name] = link
        link.send(gateway.STATUS, b"{}")
        link.open()

    def _heard(self, place: Place, reply: Reply | None) -> None:
        self._links.pop(place.name).drop()
        version = _version(reply) if reply is not None else None
        if version is not None:
            self._found[place.name] = version
        if not self._links and self._end is not None and len(self._found) == len(self._places):
            self._end.reset(0)

    def _say(self) -> None:
        self._end = None
        self.stop()
        if not any(map(is_older, self._found.values())):
            return
        found = ", ".join(f"{version} at {name}" for name, version in self._found.items())
        advised = ".".join(map(str, ADVISED))
        text = "etcd is {found}; {advised} or later is advised: it mends faults of those before it"
        _log.warn(text, found=found, advised=advised)


def _version(reply: Reply) -> str | None:
    """The version that a node tells; None if it tells none."""
    try:
        version = orjson.loads(reply.body)["version"]
        return shorten(version.encode(), 32)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
