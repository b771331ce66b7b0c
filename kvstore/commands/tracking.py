"""Client-side caching: which clients are told that what they keep of a key is not true any more.

A client that tracks is in one of two modes. Without BCAST the server remembers which keys it has read, and tells it
once when one of them changes. With BCAST nothing is remembered: it is told of every change of a key with one of its
prefixes, the keys of one request together.

Such an invalidation is a message (`peer`): it leaves with the commit that it tells of, behind the reply if it goes to
who made the change. What is undone invalidates nothing, and is remembered as it was.

What is remembered has two limits, a number of keys, the setting `tracking-table-max-keys`, and bytes. Past either the
keys that were read first are forgotten, and their readers told as if they had changed. While no client tracks,
nothing is remembered, nobody observes, and all of this costs nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from kvstore.base.errors import Failure
from kvstore.base.limits import (
    MAX_TRACKED_BYTES,
    SUBSCRIPTION_BYTES,
    TRACKED_KEY_BYTES,
    TRACKED_READER_BYTES,
)
from kvstore.base.reply import Push
from kvstore.base.value_type import Value
from kvstore.commands.client import Client
from kvstore.commands.peer import Message
from kvstore.store.observing import Observer
from kvstore.store.table import Table

_CHANNEL = b"__redis__:invalidate"


class Mode(NamedTuple):
    """How a client tracks: the options of CLIENT TRACKING.

    `redirect`: the number of the client that is told instead, 0 for none; `is_broken`: it was gone when it was to be
    told. `prefixes`: with `broadcasts`. `caching`: CLIENT CACHING was said of the next request.
    """

    redirect: int = 0
    broadcasts: bool = False
    prefixes: tuple[bytes, ...] = ()
    opts_in: bool = False
    opts_out: bool = False
    no_loop: bool = False
    caching: bool = False
    is_broken: bool = False

    @property
    def remembers(self) -> bool:
        """Whether what the next request reads is remembered."""
        return not (self.broadcasts or (self.opts_in and not self.caching) or (self.opts_out and self.caching))

    def size_bytes(self) -> int:
        """What the prefixes take."""
        return sum(SUBSCRIPTION_BYTES + len(prefix) for prefix in self.prefixes)


class Tracking(Observer):
    """See the module. `clients`: all there are, by number. `messages`: of the request that executes."""

    def __init__(self, tables: Sequence[Table], clients: Mapping[int, Client], messages: list[Message]) -> None:
        self._tables = tables
        self._clients = clients
        self._messages = messages
        #: Who tracks.
        self.modes: dict[Client, Mode] = {}
        #: Each key that was read, with the numbers of its readers, oldest first. Where one has read it alone, that is a
        #: set which all keys have that this client has read alone.
        self.readers: dict[bytes, set[int] | frozenset[int]] = {}
        self.reader_count = 0
        self._size_bytes = 0
        self._alone: dict[int, frozenset[int]] = {}
        #: Who is told of keys with a prefix.
        self.prefixes: dict[bytes, dict[Client, None]] = {}
        self._starts: tuple[bytes, ...] = ()
        #: Of each prefix the keys that were changed, and by whom.
        self._changed: dict[bytes, dict[bytes, Client | None]] = {}
        #: See the setting; 0 for no limit.
        self.most_keys = 0
        #: Of one client's prefixes.
        self.most_prefix_bytes = 0

    def set_most_keys(self, text: str) -> None:
        """The setting `tracking-table-max-keys` is this now."""
        self.most_keys = int(text)
        self._keep_to_limits()

    def set_most_prefix_bytes(self, text: str) -> None:
        """The setting `max-subscription-bytes` is this now."""
        self.most_prefix_bytes = int(text)

    # Who tracks

    def set_mode(self, client: Client, mode: Mode | None) -> None:
        """A client tracks like this from now on, or, with None, does not. Raises Failure for too many prefixes."""
        if mode is not None and mode.size_bytes() > self.most_prefix_bytes:
            raise Failure(f"the prefixes of this client would take more than {self.most_prefix_bytes} bytes")
        for prefix in () if client.tracking is None else client.tracking.prefixes:
            del self.prefixes[prefix][client]
            if not self.prefixes[prefix]:
                del self.prefixes[prefix]
        client.tracking = mode
        if mode is None:
            self.modes.pop(client, None)
            self._alone.pop(client.identity, None)
        else:
            self.modes[client] = mode
            for prefix in mode.prefixes:
                self.prefixes.setdefault(prefix, {})[client] = None
        self._starts = tuple(self.prefixes)
        self.takes_many = not any(each.no_loop for each in self.modes.values())
        self._observe_or_not()

    def _observe_or_not(self) -> None:
        if not self.modes:
            self._forget_all()
        for table in self._tables:
            if self.modes:
                table.observe(self)
            else:
                table.forget(self)

    def _forget_all(self) -> None:
        self.readers.clear()
        self.reader_count = self._size_bytes = 0

    def request_ended(self, client: Client) -> None:
        """What CLIENT CACHING said was of this request, unless that was it, or the client is in a block now."""
        mode = client.tracking
        if mode.caching and client.queued is None and not client.last_command.startswith("CLIENT"):
            self.set_mode(client, mode._replace(caching=False))

    # What was read

    def remember(self, client: Client, keys: Sequence[bytes]) -> None:
        """A client reads these keys."""
        alone = self._alone.setdefault(client.identity, frozenset((client.identity,)))
        for key in keys:
            readers = self.readers.get(key)
            if readers is None:
                self.readers[key] = alone
                self._size_bytes += TRACKED_KEY_BYTES + len(key)
            elif client.identity in readers:
                continue
            elif isinstance(readers, set):
                readers.add(client.identity)
            else:
                self.readers[key] = {*readers, client.identity}
            self.reader_count += 1
            self._size_bytes += TRACKED_READER_BYTES
        self._keep_to_limits()

    def _keep_to_limits(self) -> None:
        while self._is_full():
            key, readers = next(iter(self.readers.items()))
            self._tell_readers(key, readers, 0, None)  # at once: it is true whatever becomes of the request

    def _is_full(self) -> bool:
        return 0 < self.most_keys < len(self.readers) or self._size_bytes > MAX_TRACKED_BYTES

    def _take(self, key: bytes, those: Collection[int]) -> list[int]:
        """Those of the readers of a key that are still remembered; they are forgotten."""
        readers = self.readers.pop(key)
        left = readers.difference(those)
        if left:
            self.readers[key] = set(left)
        else:
            self._size_bytes -= TRACKED_KEY_BYTES + len(key)
        self.reader_count -= len(readers) - len(left)
        self._size_bytes -= TRACKED_READER_BYTES * (len(readers) - len(left))
        return sorted(readers - left)

    # What changes

    def changed(self, key: bytes, before: Value | None, after: Value | None, event: bytes | None) -> None:
        """See `Observer`."""
        if event is not None and (key in self.readers or key.startswith(self._starts)):
            # Who reads it later in the same request has what it is now.
            self._messages.append(partial(self._invalidate, {key: tuple(self.readers.get(key, ()))}))

    def writes_strings(self, keys: Sequence[bytes], values: Mapping[bytes, Value], event: bytes) -> None:
        """See `Observer`."""
        if not self.readers.keys().isdisjoint(keys) or (
            self._starts and any(key.startswith(self._starts) for key in keys)
        ):
            self._messages.append(partial(self._invalidate, {key: self.readers.get(key, ()) for key in keys}))

    def flush(self) -> None:
        """A request removes all keys."""
        if self.modes:
            self._messages.append(self._invalidate_all)

    # Telling

    def _invalidate(self, read: Mapping[bytes, Collection[int]], needed: int, origin: Client | None) -> None:
        """Keys, each with its readers, have changed."""
        for key, readers in read.items():
            if readers and key in self.readers:
                self._tell_readers(key, readers, needed, origin)
        for prefix in self.prefixes:
            changed = [key for key in read if key.startswith(prefix)]
            if changed:
                self._changed.setdefault(prefix, {}).update(dict.fromkeys(changed, origin))

    def _tell_readers(self, key: bytes, readers: Collection[int], needed: int, origin: Client | None) -> None:
        notice = _Notice([key])
        for identity in self._take(key, readers):
            client = self._clients.get(identity)
            if client is None or client.tracking is None or client.tracking.broadcasts:
                continue
            if client is not origin or not client.tracking.no_loop:
                self._send(client, client.tracking, notice, needed)

    def _invalidate_all(self, needed: int, origin: Client | None) -> None:
        self._forget_all()
        notice = _Notice(None)
        for client, mode in tuple(self.modes.items()):
            self._send(client, mode, notice, needed)

    def broadcast(self, needed: int) -> None:
        """A request is whole: tell those who have prefixes what it has changed."""
        if not self._changed:
            return
        changed, self._changed = self._changed, {}
        for prefix, keys in sorted(changed.items()):
            notice = _Notice(sorted(keys))
            for client in tuple(self.prefixes.get(prefix, ())):
                mode = client.tracking
                if not mode.no_loop:
                    self._send(client, mode, notice, needed)
                elif others := sorted(key for key, origin in keys.items() if origin is not client):
                    self._send(client, mode, _Notice(others), needed)

    def _send(self, client: Client, mode: Mode, notice: _Notice, needed: int) -> None:
        told = self._clients.get(mode.redirect) if mode.redirect else client
        if told is None or (told.closing and told is not client):  # after QUIT it may be here for a moment yet
            if client.protocol > 2:
                client.peer.send(Push((b"tracking-redir-broken", mode.redirect)), needed)
            self.set_mode(client, mode._replace(is_broken=True))
        elif told.protocol > 2:
            told.peer.send(notice.push, needed)
        elif mode.redirect and told.subscription_bytes:
            told.peer.send(notice.published, needed)


class _Notice:
    """That keys have changed, all with None: to a client that speaks RESP3, and to one that subscribes."""

    def __init__(self, keys: list[bytes] | None) -> None:
        self.push = Push((b"invalidate", keys))
        self.published = Push((b"message", _CHANNEL, keys))
