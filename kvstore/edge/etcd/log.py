"""The shared log of a group in etcd: a `SharedLog`. What is where in etcd: `layout`.

**An append** is one transaction: if `head` is the position before, put the entry and put `head`; else read both. It is
sent until it is answered, to one node after the other, so it may be done and not known to be: then the next sending
finds `head` moved on and the entry there, and knows it by its bytes. Nothing that was sent before can be done later:
`head` only grows. An entry that was there and was trimmed since is not known any more: FENCED, which is safe, as it
says only that nobody may be told. Where `head` is below the position before, etcd was set back, or is
another: LOST.

That the entry's key is absent would not do as the condition: after a trim it is, for one who was asleep all the while.

**An entry of more than `PART_BYTES`** is preceded by its parts, each put on the same condition; its value then is what
they are known by. Parts of which nothing came go with the next trim.

**What etcd is trusted with**: its transactions, and that what they put is on a quorum's disks. A read is a transaction
that could change something, so it goes through etcd's own log: plain ones, "linearizable" by name, were stale after
pauses (etcd's issue 20418, mended in 3.6.9). Leases and locks are not used: an old leader revoked those of a new one
(15247). A watch is a hint, see `watching`: it has left out events (17529, 18089, 19179).

**A trim** removes entries and parts, and moves `first` on, so that whoever reads is told; in slices, since a
transaction holds etcd up. Then it has etcd forget its history, without which no byte becomes free. That is the history
of all of etcd: who shares it with others has them lose theirs, as any compaction does. Past its quota etcd takes no
puts, so no trim either: one must come long before.

**Each append leaves a `head` of before** among the entries. To take those out etcd writes each page anew that has one:
for all of a large log at once, that takes as much again of its file, which the quota is of (15 MiB of entries came to
31, and to 18 with `free` after every 2 MiB). So the history is forgotten each time that it has grown by some.

Three connections: appends have one of their own, to etcd's leader (see `nodes`), so that no long read or trim is in
front of them; a watch has another.

Rejected: pipelined appends (etcd keeps no order of what is under way); the revision of `head` in the condition instead
of its value (an answer that is lost leaves it unknown).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.logger import Logger

from kvstore.base.errors import shorten
from kvstore.base.shared_log import Appended, Note, Read, Size
from kvstore.edge.etcd import gateway
from kvstore.edge.etcd.appending import Append
from kvstore.edge.etcd.client import Client, Request
from kvstore.edge.etcd.gateway import Answer
from kvstore.edge.etcd.layout import Keys, note_of, value_of_note
from kvstore.edge.etcd.location import QUOTA_BYTES, parse_location
from kvstore.edge.etcd.nodes import Nodes
from kvstore.edge.etcd.places import Place, places_of
from kvstore.edge.etcd.reading import Reader
from kvstore.edge.etcd.trimming import Trim, forget_history
from kvstore.edge.etcd.watching import EntryWatch

_log = Logger()


def open_log(location: str, group: str, reactor: Any) -> EtcdLog:
    """The log of a group in the etcd at `location` (see there). Raises ValueError, for whoever typed them.

    Looks who of etcd's nodes leads at once; connects for anything else when it is first asked.
    """
    where = parse_location(location)
    log = EtcdLog(reactor, places_of(where, reactor), group, where.quota_bytes)
    log.look_at_nodes()
    return log


class EtcdLog:
    """See the module, and `SharedLog`. `clock`: the reactor. `quota_bytes`: of an etcd that does not say."""

    def __init__(self, clock: Any, places: Sequence[Place], group: str, quota_bytes: int = QUOTA_BYTES) -> None:
        self._quota_bytes = quota_bytes
        self._clock = clock
        self._places = places
        self._keys = Keys(group)
        self._nodes = Nodes(clock, places, self._leads)
        self._appends = Client(clock, places, self._nodes.accept)
        self._others = Client(clock, places, self._nodes.accept)
        self._reader = Reader(self._others, self._keys)
        self._watches: set[EntryWatch] = set()
        self._unreadable: set[str] = set()  # whose notes

    def look_at_nodes(self) -> None:
        """See `nodes`."""
        self._nodes.look()

    def append(self, position: int, entry: bytes, done: Callable[[Appended], None]) -> None:
        """See `SharedLog`."""
        Append(self._appends, self._keys, position, entry, done).go_on()

    def read(self, position: int, done: Callable[[Read], None]) -> None:
        """See `SharedLog`."""
        self._reader.read(position, done)

    def watch(self, position: int, seen: Callable[[int, bytes], None], trimmed: Callable[[int], None]) -> EntryWatch:
        """See `SharedLog`."""
        watch = EntryWatch(
            self._clock, self._places, self._nodes.accept, self._keys, self.read, position, seen, trimmed
        )
        self._watches = {each for each in self._watches if not each.has_ended} | {watch}
        watch.start()
        return watch

    def trim(self, first: int, done: Callable[[], None]) -> None:
        """See `SharedLog`."""
        Trim(self._others, self._keys, first, done).go_on()

    def free(self, done: Callable[[], None]) -> None:
        """See `SharedLog`."""

        def answered(answer: Answer) -> None:
            forget_history(self._others, gateway.revision_of(answer.document), done)

        self._others.ask(Request(gateway.STATUS, b"{}", answered))

    def note(self, node: str, note: Note, done: Callable[[Note | None], None]) -> None:
        """See `SharedLog`."""
        key = self._keys.note(node)

        def answered(answer: Answer) -> None:
            (found,) = gateway.found(answer.document)
            done(note_of(found[0].value) if found else None)

        body = gateway.transaction([], [gateway.get(key), gateway.put(key, value_of_note(note))], [])
        self._others.ask(Request(gateway.TXN, body, answered))

    def forget(self, node: str, done: Callable[[], None]) -> None:
        """See `SharedLog`."""
        key = self._keys.note(node)
        body = gateway.transaction([], [gateway.delete_range(key, key + b"\0")], [])
        self._others.ask(Request(gateway.TXN, body, lambda answer: done()))

    def notes(self, done: Callable[[dict[str, Note]], None]) -> None:
        """See `SharedLog`."""

        def answered(answer: Answer) -> None:
            (found,) = gateway.found(answer.document)
            notes = ((self._keys.node(each.key), self._note_in(each)) for each in found)
            done({node: note for node, note in notes if note is not None})

        body = gateway.reading(self._keys.nothing, [gateway.get_range(*self._keys.notes)])
        self._others.ask(Request(gateway.TXN, body, answered))

    def _note_in(self, found: gateway.KeyValue) -> Note | None:
        """The log has one line for each node whose note cannot be read."""
        note, node = note_of(found.value), self._keys.node(found.key)
        if note is None and node not in self._unreadable:
            self._unreadable.add(node)
            _log.warn(
                "the note of {node} is left out: {value}", node=shorten(node.encode()), value=shorten(found.value)
            )
        return note

    def size(self, done: Callable[[Size], None]) -> None:
        """See `SharedLog`: as the node says that others are asked at."""

        def answered(answer: Answer) -> None:
            quota_bytes = gateway.quota_bytes(answer.document) or self._quota_bytes
            done(Size(gateway.used_bytes(answer.document), quota_bytes, gateway.file_bytes(answer.document)))

        self._others.ask(Request(gateway.STATUS, b"{}", answered))

    def _leads(self, index: int) -> None:
        self._appends.prefer(index)

    def stop(self) -> None:
        """See `SharedLog`."""
        self._nodes.stop()
        for watch in self._watches:
            watch.stop()
        self._appends.stop()
        self._others.stop()
