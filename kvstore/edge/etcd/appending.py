"""One append: a transaction, or several if the entry goes in parts; see `log`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from twisted.logger import Logger

from kvstore.base.shared_log import Appended
from kvstore.edge.etcd import gateway
from kvstore.edge.etcd.client import Client, Request
from kvstore.edge.etcd.gateway import Answer
from kvstore.edge.etcd.layout import Keys, Parts, cut, entry_of, number, number_in, value_of

_log = Logger()


class Append:
    """Appends `entry` at `position` once `go_on` is called. `done` hears what became of it."""

    def __init__(
        self,
        client: Client,
        keys: Keys,
        position: int,
        entry: bytes,
        done: Callable[[Appended], None],
    ) -> None:
        self._client = client
        self._keys = keys
        self._position = position
        self._value = value_of(entry)
        self._done = done
        before = gateway.value_is(keys.head, b"EQUAL", number(position - 1))
        self._condition = before if position > 1 else gateway.absent(keys.head)
        self._otherwise = [gateway.get(keys.head), gateway.get(keys.entry(position))]
        self._steps = self._puts(entry)

    def go_on(self) -> None:
        """Take the next step; with the last one the entry is there."""
        puts = next(self._steps, None)
        if puts is None:
            self._done(Appended.THERE)
            return
        body = gateway.transaction([self._condition], puts, self._otherwise)
        self._client.ask(Request(gateway.TXN, body, self._answered))

    def _puts(self, entry: bytes) -> Iterator[list[bytes]]:
        """What each transaction puts."""
        keys, position = self._keys, self._position
        large = entry_of(self._value)
        if isinstance(large, Parts):
            for index, part in enumerate(cut(entry)):
                yield [gateway.put(keys.part(position, large.digest, index), part)]
        first = [gateway.put(keys.first, number(1))] if position == 1 else []
        yield [gateway.put(keys.entry(position), self._value), gateway.put(keys.head, number(position)), *first]

    def _answered(self, answer: Answer) -> None:
        if gateway.succeeded(answer.document):
            self.go_on()
            return
        head, there = gateway.found(answer.document)
        if number_in(head) < self._position - 1:
            self._lost(number_in(head))
        else:
            self._done(Appended.THERE if there and there[0].value == self._value else Appended.FENCED)

    def _lost(self, head: int) -> None:
        """An etcd that was set back to an older state has lost what was in the log: no server's memory mends that."""
        text = "etcd has lost entries: the newest of {group} is {head}, and there was one at {position}"
        _log.critical(text, group=self._keys.group, head=head, position=self._position - 1)
        self._done(Appended.LOST)
