"""Entries as they come: each once, in order, none left out, whatever etcd's watch does.

The watch is a hint. Positions have no gaps, so what it leaves out is seen by what it tells of next, or by silence:

| what is heard | then |
|---|---|
| the watch has begun | read from the next position on: it tells only of what is put from now on |
| the next entry, and no read is under way | it is told of |
| a later entry, or one in parts | read |
| nothing for `SILENCE_S` | read: this node of etcd may stand still, or be cut off from the others |
| it is refused, and etcd has users | another token, see `login`; the next node |
| that read finds what the watch does not tell of in as long; it does not begin in as long; it ends | the next node |

A read goes on until there is nothing more. A leader appends several times in each lease, so in a group that has a
leader there is silence only when something is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import orjson
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from kvstore.base.errors import shorten
from kvstore.base.shared_log import Read, Trimmed
from kvstore.edge.etcd import gateway
from kvstore.edge.etcd.layout import Keys, Parts, entry_of
from kvstore.edge.etcd.link import Link
from kvstore.edge.etcd.places import Place
from kvstore.edge.etcd.replies import Reply
from kvstore.edge.etcd.timeout import Timeout

_log = Logger()

#: Seconds of silence after which a look is taken.
SILENCE_S = 1.0

#: Seconds until the next node is tried, when one has ended the watch.
_REOPEN_S = 0.1


class EntryWatch:
    """See the module; a `Watch`. `accept`: see `Client`. `read`: the log's. `seen`, `trimmed`: see `SharedLog`."""

    def __init__(
        self,
        clock: Any,
        places: Sequence[Place],
        accept: Callable[[dict[str, Any]], bool],
        keys: Keys,
        read: Callable[[int, Callable[[Read], None]], None],
        position: int,
        seen: Callable[[int, bytes], None],
        trimmed: Callable[[int], None],
    ) -> None:
        self._clock = clock
        self._places = places
        self._at = 0  # which of them is watched at
        self._login = places[0].login
        self._token: bytes | None = None  # with which the watch was asked for
        self._accept = accept
        self._keys = keys
        self._read = read
        self._next = position
        self._seen = seen
        self._trimmed = trimmed
        self._link: Link | None = None
        self._reopening: IDelayedCall | None = None
        self._silence = Timeout(clock, self._silent)
        self._begun = False  # the watch at this node
        self._reading = False
        self._more = False  # there is more to read than the read under way may find
        self._looking = False  # the read under way is for silence
        self._missed = False  # one has found what the watch did not tell of
        #: Whether it tells of nothing any more.
        self.has_ended = False

    def start(self) -> None:
        """Begin."""
        self._open()
        self._catch_up()

    def stop(self) -> None:
        """See `Watch`."""
        self.has_ended = True
        self._silence.stop()
        if self._reopening is not None:
            self._reopening.cancel()
            self._reopening = None
        self._drop()

    def _open(self) -> None:
        """Watch at the node whose turn it is."""
        self._reopening = None
        self._begun = self._looking = self._missed = False
        if self._login is not None:
            self._token = self._login.token
            if self._token is None:
                self._reopening = self._clock.callLater(_REOPEN_S, self._open)
                self._catch_up()  # who reads gets one
                return
        self._silence.begin(SILENCE_S)
        link = self._link = Link(self._places[self._at], self._came, self._lost, lines=True)
        link.send(gateway.WATCH, gateway.watch_body(*self._keys.entries))
        link.open()

    def _drop(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.drop()

    def _move(self) -> None:
        """Watch at the next node, soon."""
        self._drop()
        self._at = (self._at + 1) % len(self._places)
        if self._reopening is None:
            self._reopening = self._clock.callLater(_REOPEN_S, self._open)

    def _lost(self, reason: str) -> None:
        _log.debug("etcd: the watch at {name} has ended: {reason}", name=self._places[self._at].name, reason=reason)
        self._move()

    def _came(self, line: Reply) -> None:
        """A line of the watch."""
        try:
            result = orjson.loads(line.body)["result"]
            puts = gateway.puts_in(result)
        except (ValueError, KeyError, TypeError):
            self._lost(f"{line.status} {shorten(line.body)}")
            return
        if result.get("canceled") and self._login is not None:
            self._login.forget(self._token)  # etcd 3.5 does not tell why
        if result.get("canceled") or not self._accept(result):
            self._lost(shorten(line.body))
            return
        self._silence.begin(SILENCE_S)
        if result.get("created"):
            self._begun = True
            self._catch_up()
        for put in puts:
            self._looking = self._missed = False
            self._heard(put)

    def _heard(self, put: gateway.KeyValue) -> None:
        """The watch tells of an entry."""
        position = self._keys.position(put.key)
        if position < self._next:
            return
        entry = entry_of(put.value)
        if self._reading or position > self._next or isinstance(entry, Parts):
            self._catch_up()
        else:
            self._tell(entry)

    def _tell(self, entry: bytes) -> None:
        position, self._next = self._next, self._next + 1
        if not self.has_ended:
            self._seen(position, entry)

    def _catch_up(self) -> None:
        """Read what there is from the next position on."""
        if self._reading:
            self._more = True
        elif not self.has_ended:
            self._reading = True
            self._more = False
            self._read(self._next, self._found)

    def _found(self, found: Read) -> None:
        """Tell of what was read."""
        self._reading = False
        if self.has_ended:
            return
        if isinstance(found, Trimmed):
            self.stop()
            self._trimmed(found.first)
            return
        self._missed |= self._looking and bool(found.entries)
        for _, entry in found.entries:
            self._tell(entry)
        if self._more or (found.entries and self._next <= found.head):
            self._catch_up()
        else:
            self._looking = False

    def _silent(self) -> None:
        """Neither the watch nor we ourselves have begun anything for a while."""
        if self._link is not None and (self._missed or not self._begun):
            self._move()
        else:
            self._silence.begin(SILENCE_S)
        self._looking = True
        self._catch_up()
