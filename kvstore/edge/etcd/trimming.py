"""A trim of the log; see `log`."""

from __future__ import annotations

from collections.abc import Callable

from kvstore.edge.etcd import gateway
from kvstore.edge.etcd.client import Answer, Client, Request
from kvstore.edge.etcd.layout import Keys, number

#: Positions whose entries and parts one transaction removes.
_AT_ONCE = 1000


class Trim:
    """Removes all entries before `first` once `begin` is called, and calls `done`.

    What a trim has left that was cut short, is removed by the next.
    """

    def __init__(self, client: Client, keys: Keys, first: int, done: Callable[[], None]) -> None:
        self._client = client
        self._keys = keys
        self._first = first
        self._done = done

    def begin(self) -> None:
        """Say that nothing is there before `first` any more; then remove it, if it was for us to say."""
        keys, new = self._keys, number(self._first)
        behind = gateway.value_is(keys.first, b"LESS", new)
        stays = gateway.value_is(keys.head, b"GREATER", number(self._first - 1))
        self._ask(gateway.transaction([behind, stays], [gateway.put(keys.first, new)], []), self._moved)

    def _moved(self, answer: Answer) -> None:
        if gateway.succeeded(answer.document):
            self._look()
        else:
            self._done()

    def _look(self) -> None:
        """Which is the first entry that is still there?"""
        keys = self._keys
        oldest = gateway.get_range(keys.entries[0], keys.entry(self._first), 1, keys_only=True)
        self._ask(gateway.reading([oldest]), self._seen)

    def _seen(self, answer: Answer) -> None:
        """Remove a slice from there on; the last one goes up to `first`, and has what is left of parts too."""
        keys = self._keys
        (oldest,) = gateway.found(answer.document)
        end = min(self._first, keys.position(oldest[0].key) + _AT_ONCE) if oldest else self._first
        entries = gateway.delete_range(keys.entries[0], keys.entry(end))
        parts = gateway.delete_range(keys.parts(0), keys.parts(end))
        then = self._removed if end == self._first else lambda answer: self._look()
        self._ask(gateway.transaction([], [entries, parts], []), then)

    def _removed(self, answer: Answer) -> None:
        """Free what all that took."""
        body = gateway.compaction(gateway.revision_of(answer.document))
        done_before = frozenset({gateway.OUT_OF_RANGE})
        self._client.ask(Request(gateway.COMPACT, body, lambda answer: self._done(), done_before))

    def _ask(self, body: bytes, answered: Callable[[Answer], None]) -> None:
        self._client.ask(Request(gateway.TXN, body, answered))
