"""Reads of the log, and of entries in parts; see `log`."""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

from kvstore.base.limits import MIB
from kvstore.base.shared_log import Entries, Read, Trimmed
from kvstore.edge.etcd import gateway
from kvstore.edge.etcd.client import Client, Request
from kvstore.edge.etcd.gateway import Answer, KeyValue
from kvstore.edge.etcd.layout import Keys, Parts, entry_of, number_in

_log = Logger()

#: Bytes of entries that a read aims at; how many it asks for at first, and at most: should all of them be as long as
#: can be, after many that were short, the answer is still one that is taken (MAX_ETCD_REPLY_BYTES, in base64).
_AIM_BYTES = 1 * MIB
_FIRST_COUNT = 4
_MOST_COUNT = 40


class Reader:
    """Reads through a client. How many entries it asks for goes by the length of those that came last."""

    def __init__(self, client: Client, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self._count = _FIRST_COUNT

    def read(self, position: int, done: Callable[[Read], None]) -> None:
        """See `SharedLog`."""
        keys = self._keys
        wanted = gateway.get_range(keys.entry(position), keys.entry(position + self._count))
        reads = [gateway.get(keys.first), gateway.get(keys.head), wanted]

        def answered(answer: Answer) -> None:
            first, head, kvs = gateway.found(answer.document)
            if position < number_in(first):
                done(Trimmed(number_in(first)))
            else:
                self._give(position, kvs, number_in(head), done)

        self._client.ask(Request(gateway.TXN, gateway.reading(keys.nothing, reads), answered))

    def _give(self, position: int, kvs: list[KeyValue], head: int, done: Callable[[Read], None]) -> None:
        """Give `done` the entries that are here, or the first one once its parts are."""
        entries: list[tuple[int, bytes]] = []
        for kv in kvs:
            entry = entry_of(kv.value)
            if kv.key != self._keys.entry(position + len(entries)):
                break
            if isinstance(entry, Parts):
                if not entries:
                    _Assembly(self._client, self._keys, position, entry, head, done).go_on()
                    return
                break
            entries.append((position + len(entries), entry))
        if entries:
            self._adapt(entries)
        elif position <= head:
            say_damaged(self._keys, position)
        done(Entries(entries, head))

    def _adapt(self, entries: list[tuple[int, bytes]]) -> None:
        """Ask for about as many as are to come, next time; four times as many as this time, at most."""
        mean = max(1, sum(len(entry) for _, entry in entries) // len(entries))
        self._count = max(1, min(_AIM_BYTES // mean, 4 * self._count, _MOST_COUNT))


class _Assembly:
    """Puts an entry together of its parts, and gives it to `done`, or what has become of it meanwhile."""

    def __init__(
        self, client: Client, keys: Keys, position: int, parts: Parts, head: int, done: Callable[[Read], None]
    ) -> None:
        self._client = client
        self._keys = keys
        self._position = position
        self._parts = parts
        self._head = head
        self._done = done
        self._here: list[bytes] = []

    def go_on(self) -> None:
        """Ask for the next part."""
        key = self._keys.part(self._position, self._parts.digest, len(self._here))
        body = gateway.reading(self._keys.nothing, [gateway.get(self._keys.first), gateway.get(key)])
        self._client.ask(Request(gateway.TXN, body, self._answered))

    def _answered(self, answer: Answer) -> None:
        first, part = gateway.found(answer.document)
        self._here += [kv.value for kv in part]
        if self._position < number_in(first):
            self._done(Trimmed(number_in(first)))
        elif part and len(self._here) < self._parts.total:
            self.go_on()
        elif self._parts.are(entry := b"".join(self._here)):
            self._done(Entries([(self._position, entry)], self._head))
        else:
            say_damaged(self._keys, self._position)
            self._done(Entries([], self._head))


def say_damaged(keys: Keys, position: int) -> None:
    """The log says that an entry is not there, though it must be."""
    _log.critical(
        "etcd is damaged: {group} has no entry {position}, or not all of it", group=keys.group, position=position
    )
