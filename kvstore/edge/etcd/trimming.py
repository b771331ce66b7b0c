"""A trim of the log, and how etcd forgets its history; see `log`."""

from __future__ import annotations

from collections.abc import Callable

from kvstore.edge.etcd import gateway
from kvstore.edge.etcd.client import Client, Request
from kvstore.edge.etcd.gateway import Answer
from kvstore.edge.etcd.layout import Keys, number, number_in

#: Positions whose entries and parts one transaction removes.
_AT_ONCE = 1000


class Trim:
    """Removes all entries before `first` once `go_on` is called, but never the newest, and calls `done`.

    Each slice is one transaction, which moves the log's first position on with it: a trim that is cut short has done
    less, and left nothing behind.
    """

    def __init__(self, client: Client, keys: Keys, first: int, done: Callable[[], None]) -> None:
        self._client = client
        self._keys = keys
        self._first = first
        self._done = done
        self._revision = 0  # of etcd's store, when a slice was removed last

    def go_on(self) -> None:
        """Look where the log begins now."""
        reads = [gateway.get(self._keys.first), gateway.get(self._keys.head)]
        self._client.ask(Request(gateway.TXN, gateway.reading(self._keys.nothing, reads), self._seen))

    def _seen(self, answer: Answer) -> None:
        """Remove the next slice, if there is one."""
        begin, head = map(number_in, gateway.found(answer.document))
        end = min(self._first, head, begin + _AT_ONCE)
        if begin < end:
            self._remove(begin, end)
        elif self._revision:
            forget_history(self._client, self._revision, self._done)
        else:
            self._done()

    def _remove(self, begin: int, end: int) -> None:
        """Remove the entries from `begin` to before `end`, unless somebody else has just done so."""
        keys = self._keys
        operations = [
            gateway.put(keys.first, number(end)),
            gateway.delete_range(keys.entry(begin), keys.entry(end)),
            gateway.delete_range(keys.parts(begin), keys.parts(end)),
        ]
        body = gateway.transaction([gateway.value_is(keys.first, b"EQUAL", number(begin))], operations, [])
        self._client.ask(Request(gateway.TXN, body, self._removed))

    def _removed(self, answer: Answer) -> None:
        self._revision = gateway.revision_of(answer.document)
        self.go_on()


def forget_history(client: Client, revision: int, done: Callable[[], None]) -> None:
    """Have etcd forget what its keys held before `revision`, and free what that takes. It is done if it was before."""
    done_before = frozenset({gateway.OUT_OF_RANGE})
    body = gateway.compaction(revision)
    client.ask(Request(gateway.COMPACT, body, lambda answer: done(), done_before))
