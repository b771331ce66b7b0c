"""What etcd's nodes say of themselves: which version they are, and who of them leads.

They are asked at start, and again when an answer is of a later term than those before: etcd has elected a leader.

An append that is sent to etcd's leader spares a hop there and back: of nodes on one machine a tenth of its time. So
appends go there as soon as it is known; to whom it is not, or who is gone by then, costs nothing but that. Of versions
older than advised the log has one line, at start.

All of them must be of one etcd. A node that was lost, and made anew as an etcd by itself, has the old address and none
of the entries: its answers are not taken. Which etcd it is, is what the first answer says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
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

#: Seconds for a look at all nodes; who has not answered by then is not waited for.
_LOOK_S = 3.0


def is_older(version: str) -> bool:
    """Whether a version, as `3.4.23`, is older than advised; one that makes no sense is."""
    numbers = re.match(r"(\d{1,9})\.(\d{1,9})\.(\d{1,9})", version)
    return numbers is None or tuple(map(int, numbers.groups())) < ADVISED


class Nodes:
    """See the module. `clock`: the reactor. `leads`: called with the index of the place whose node leads, when that has
    been found out.
    """

    def __init__(self, clock: Any, places: Sequence[Place], leads: Callable[[int], None]) -> None:
        self._clock = clock
        self._places = places
        self._leads = leads
        self._cluster = 0
        self._term = 0
        self._links: dict[int, Link] = {}  # to those who have not answered yet
        self._said: dict[int, dict[str, Any]] = {}
        self._end: IDelayedCall | None = None
        self._told_version = False

    def look(self) -> None:
        """Ask each node, unless that is under way."""
        if self._end is not None:
            return
        self._said.clear()
        self._end = self._clock.callLater(_LOOK_S, self._looked)
        for index in range(len(self._places)):
            self._ask(index)

    def accept(self, document: dict[str, Any]) -> bool:
        """Look at an answer to something else; returns whether it is one of this etcd."""
        cluster, term = gateway.header_of(document)
        self._cluster = self._cluster or cluster
        if cluster not in (0, self._cluster):
            return False
        if term > self._term:
            known, self._term = self._term, term
            if known:
                self.look()
        return True

    def stop(self) -> None:
        """Ask no more, and say nothing."""
        if self._end is not None:
            self._end.cancel()
            self._end = None
        self._drop()

    def _drop(self) -> None:
        for link in self._links.values():
            link.drop()
        self._links.clear()

    def _ask(self, index: int) -> None:
        link = Link(self._places[index], lambda reply: self._answered(index, reply), lambda _: self._answered(index))
        self._links[index] = link
        link.send(gateway.STATUS, b"{}")
        link.open()

    def _answered(self, index: int, reply: Reply | None = None) -> None:
        """A node has said something, or nothing can be heard of it."""
        self._links.pop(index).drop()
        status = _object(reply.body) if reply is not None else {}
        if "version" in status and self.accept(status):
            self._said[index] = status
            if gateway.leads(status):
                self._leads(index)
        if len(self._said) == len(self._places) and self._end is not None:
            self._end.reset(0)

    def _looked(self) -> None:
        self._end = None
        self._drop()
        versions = {self._places[index].name: str(status["version"]) for index, status in self._said.items()}
        if self._told_version or not any(map(is_older, versions.values())):
            return
        self._told_version = True
        found = ", ".join(f"{shorten(version.encode(), 32)} at {name}" for name, version in versions.items())
        text = "etcd is {found}; {advised} or later is advised: it mends faults of those before it"
        _log.warn(text, found=found, advised=".".join(map(str, ADVISED)))


def _object(text: bytes) -> dict[str, Any]:
    """The JSON object in an answer; an empty one if there is none."""
    try:
        found = orjson.loads(text)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {}
