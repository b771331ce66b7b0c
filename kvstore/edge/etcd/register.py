"""The map of a cluster in etcd: one key, changed by one transaction that compares all of it. A `ClusterRegister`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kvstore.edge.etcd import gateway
from kvstore.edge.etcd.client import Client, Request
from kvstore.edge.etcd.gateway import Answer
from kvstore.edge.etcd.location import parse_location
from kvstore.edge.etcd.places import places_of

_KEY = b"kvstore-cluster"


class EtcdRegister:
    """That of the etcd at `location`, all of whose groups with slots are one cluster. Raises ValueError, as `open_log`.

    A change that is sent twice finds what it has made, and is done.
    """

    def __init__(self, location: str, reactor: Any) -> None:
        self._client = Client(reactor, places_of(parse_location(location), reactor))

    def read(self, done: Callable[[str], None]) -> None:
        """See `ClusterRegister`. Only a read to etcd, which may be stale: that costs no entry of etcd's own log."""
        self._ask(gateway.transaction([], [gateway.get(_KEY)], []), done)

    def change(self, before: str, after: str, done: Callable[[str], None]) -> None:
        """See `ClusterRegister`."""
        condition = gateway.value_is(_KEY, b"EQUAL", before.encode()) if before else gateway.absent(_KEY)
        operations = [gateway.put(_KEY, after.encode()), gateway.get(_KEY)]
        self._ask(gateway.transaction([condition], operations, [gateway.get(_KEY)]), done)

    def _ask(self, body: bytes, done: Callable[[str], None]) -> None:
        def answered(answer: Answer) -> None:
            (found,) = gateway.found(answer.document)
            done(found[0].value.decode() if found else "")

        self._client.ask(Request(gateway.TXN, body, answered))

    def stop(self) -> None:
        """Close what is open; nothing is called any more."""
        self._client.stop()
