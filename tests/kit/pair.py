"""A Valkey and a server of ours that are asked the same: for tests that compare replies, keyspace events and what was
looked up.

No error's text may differ; times may by what the two servers' clocks do.
"""

from __future__ import annotations

import re
import time
from typing import Any

import hiredis

from kvstore.base.errors import RequestError
from kvstore.commands.context import Call
from kvstore.commands.peer import Nobody
from kvstore.wire import resp
from kvstore.wire.resp import encode_error
from tests.kit.harness import Rig
from tests.kit.valkey import UNORDERED, Connection, Valkey

#: Replies that hold times: they may differ by so much, in the reply's own unit.
_TIME_TOLERANCE = {b"TTL": 2, b"PTTL": 2000, b"EXPIRETIME": 2, b"PEXPIRETIME": 2000}
_TIME_TOLERANCE |= {b"H" + name: tolerance for name, tolerance in _TIME_TOLERANCE.items()}


class Listener(Nobody):
    """A client of ours that only notes what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def send(self, message: Any, needed: int) -> None:
        """See `Peer`."""
        self.told.append(list(message))


class Pair:
    """One Valkey and one of ours, with two clients each, and one that hears of keyspace events."""

    def __init__(self, valkey: Valkey, protocol: int) -> None:
        self.rig = Rig()
        self.calls: list[Call] = [self.rig.call, self.rig.connect()]
        self.theirs: list[Connection] = [valkey.connect(), valkey.connect()]
        self.theirs[0].ask([b"FLUSHALL"])
        self.theirs[0].ask([b"CONFIG", b"RESETSTAT"])
        self.theirs[0].ask([b"DEBUG", b"SET-ACTIVE-EXPIRE", b"0"])  # as ours, which only requests make look
        self.listener, self.subscriber = Listener(), valkey.connect()
        self.subscriber.ask([b"PSUBSCRIBE", b"__keyevent*"])
        listening = self.rig.connect().client
        listening.peer = self.listener
        self.rig.server.channels.patterns.add(listening, b"__keyevent*")
        self.rig.server.configuration.set([(b"notify-keyspace-events", b"EAn")])
        self.theirs[0].ask([b"CONFIG", b"SET", b"notify-keyspace-events", b"EAn"])
        #: The requests that each client has in its block.
        self.blocks: list[list[list[bytes]]] = [[], []]
        for number in (0, 1):
            self.theirs[number].ask([b"HELLO", b"%d" % protocol])
            self.calls[number].client.protocol = protocol

    def ask(self, number: int, words: list[bytes]) -> tuple[bytes, bytes]:
        """Send a request of one client to both; returns their bytes and ours."""
        self.rig.now_ms = time.time_ns() // 1_000_000
        theirs, _ = self.theirs[number].ask(words)
        call = self.calls[number]
        reply = self.rig.do(*words, by=call)
        self.rig.server.send_messages(0, call.client)
        return theirs, encode_error(reply) if isinstance(reply, RequestError) else bytes(
            resp.encode(reply, call.client.protocol)
        )

    def differs(self, number: int, words: list[bytes]) -> str:
        """Send a request of one client to both; returns what they answer if it is not the same."""
        theirs, ours = self.ask(number, words)
        block = self.blocks[number]
        if ours == b"+QUEUED\r\n":
            block.append(words)
        alike = theirs == ours or _alike(words, block, _decoded(theirs), _decoded(ours))
        if words[0].upper() in (b"MULTI", b"EXEC", b"DISCARD", b"RESET"):
            block.clear()
        return "" if alike else f"Valkey: {theirs!r}\nours:   {ours!r}"

    def look_ups(self) -> tuple[dict[bytes, int], dict[bytes, int]]:
        """How many keys were looked up to be read, found and not found: theirs and ours."""
        info = self.theirs[0].ask([b"INFO", b"stats"])[1]
        fields = dict(re.findall(rb"(keyspace_hits|keyspace_misses):([0-9]+)", info))
        tables = self.rig.store.databases
        ours = {
            b"keyspace_hits": sum(table.hits for table in tables),
            b"keyspace_misses": sum(table.misses for table in tables),
        }
        return {name: int(number) for name, number in fields.items()}, ours

    def close(self) -> None:
        """Disconnect from Valkey."""
        for connection in (*self.theirs, self.subscriber):
            connection.close()

    def events(self) -> tuple[list[Any], list[Any]]:
        """The keyspace events that were told of the requests so far: theirs and ours."""
        return self.subscriber.told(), self.listener.told


def _decoded(data: bytes) -> Any:
    reader = hiredis.Reader()
    reader.feed(data)
    return reader.gets()


def _alike(words: list[bytes], block: list[list[bytes]], theirs: Any, ours: Any) -> bool:
    """Whether two replies whose bytes differ say the same: a time, or another order. Errors never do."""
    name = words[0].upper()
    if theirs.__class__ is not ours.__class__ or isinstance(ours, hiredis.ReplyError):
        return False
    if name in _TIME_TOLERANCE:
        both = zip(_flat([theirs]), _flat([ours]), strict=True)
        return all(a == b or (min(a, b) > 0 and abs(a - b) <= _TIME_TOLERANCE[name]) for a, b in both)
    if isinstance(ours, (dict, set)):
        return bool(theirs == ours)
    if name in UNORDERED and isinstance(ours, list):
        return sorted(_flat(theirs), key=repr) == sorted(_flat(ours), key=repr)
    if name == b"EXEC" and isinstance(ours, list):
        elements = zip(block, theirs, ours, strict=True)
        return all(_same(a, b) or _alike(request, [], a, b) for request, a, b in elements)
    return False


def _flat(reply: list[Any]) -> list[Any]:
    """What KEYS or a whole SCAN answers, its cursor too; or what is in a list of pairs."""
    return [key for each in reply for key in (each if isinstance(each, list) else [each])]


def _same(theirs: Any, ours: Any) -> bool:
    return bool(theirs == ours) or (isinstance(ours, hiredis.ReplyError) and str(theirs) == str(ours))
