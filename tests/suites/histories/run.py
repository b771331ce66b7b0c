"""Histories of the real server for the checker in `tests.suites.histories.checker`: clients, kills, and what they saw.

Several clients, a thread each, work on the same few keys, one request at a time, and note when they called, when the
answer came and what it was. In the middle the server is killed with kill -9 and started again; what was not answered
then is noted as unknown, and the clients go on. At the end every key is read. The keys are new in each history.

The kinds of keys, each under the commands that fit it: strings (SET, GET, SET NX, GETSET, DEL, and compare-and-set by
WATCH, GET, MULTI, SET, EXEC), counters (INCR, GET, GETSET, DEL), documents (insert, lookup and remove as JSON lines),
fields of a hash in another database (HSET, HSETNX, HGET, HDEL, HINCRBY), two keys that are changed in MULTI blocks and
read by MGET and GET, and keys that are written and read in pipelines of one command, which the server executes as
columns. Each start of the server has another `--overlap` than the one before.

Or, if asked for, lists that are used as queues: pushed to at both ends, popped, waited for (BLPOP, BLMOVE), moved from
one to another, by clients of which some vanish while they wait. No element may come out twice, and none be lost but one
that was on its way to a client that died.

Every value written is a new one, so that no wrong read can be right by chance.

Used by tests/test_linearizability.py for a few histories, and by scripts/linearizability for many.
"""

from __future__ import annotations

import itertools
import json
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kvstore.base.address import Address
from kvstore.client.raw import RawConnection, resp_request
from kvstore.edge.settings import OverlapPolicy
from kvstore.testing.server_process import ServerProcess
from tests.kit.server_process import Wire
from tests.suites.histories.checker import REFUSED, UNKNOWN, Operation, check
from tests.suites.kills.run import OVERLAPS

#: Operations of one client after the start; before it, it works until the server is gone.
_OPERATIONS = 40
#: Keys in a pipeline. The server takes so few for one from 6 on.
_PIPELINE = 8


@dataclass
class Counts:
    """What happened so far. `by_command`: answered operations; a CAS that was refused is `CAS refused`, a SET of a
    pipeline `SET pipelined`. `by_overlap`: answered operations under each policy. `together`: requests that the servers
    executed together, as far as these could still be asked.
    """

    histories: int = 0
    kills: int = 0
    operations: int = 0
    unknown: int = 0
    refused: int = 0
    groups: int = 0
    together: int = 0
    check_seconds: float = 0.0
    by_command: Counter[str] = field(default_factory=Counter)
    by_overlap: Counter[str] = field(default_factory=Counter)


class _Client:
    """One client in one phase of a history: a thread that works until it is done or its server is gone."""

    def __init__(
        self,
        name: str,
        port: int,
        prefix: bytes,
        chance: random.Random,
        values: Iterator[int],
        padding_bytes: int = 0,
        endless: bool = False,
        queues: bool = False,
    ) -> None:
        self.history: list[Operation] = []
        self.error: Exception | None = None
        self._name = name
        self._prefix = prefix
        self._chance = chance
        self._values = values
        self._padding = b"x" * padding_bytes
        self._endless = endless
        self._kinds = _QUEUE_KINDS if queues else _KINDS
        self._address = Address("127.0.0.1", port)
        self._connection = RawConnection(self._address)
        self._thread = threading.Thread(target=self._work, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        """Return when it is done. Raises what it ran into, unless that is the server's end."""
        self._thread.join()
        if self.error is not None:
            raise self.error

    def _work(self) -> None:
        try:
            with self._connection:
                for _ in itertools.count() if self._endless else range(_OPERATIONS):
                    self._chance.choice(self._kinds)(self)
        except OSError:
            pass  # the server was killed; the operation under way was noted as unknown
        except Exception as error:
            self.error = error

    # What it does, by kind of key

    def strings(self) -> None:
        """One of a few strings."""
        key, value = self._key(b"string", 3), self._value()
        words = self._chance.choice(
            [(b"SET", key, value), (b"SET", key, value, b"NX"), (b"GETSET", key, value), (b"DEL", key), (b"GET", key)]
        )
        self._resp(words)

    def compare_and_set(self) -> None:
        """Read a string, and change it if nobody else has."""
        key = self._key(b"string", 3)
        began = time.monotonic()
        self._connection.send(resp_request(b"WATCH", key) + resp_request(b"GET", key))
        try:
            assert self._connection.resp() == "+OK"
            old = self._connection.resp()
        finally:
            ended = time.monotonic()
        self._note((b"GET", key), began, old, ended)
        value = self._value()
        block = resp_request(b"MULTI") + resp_request(b"SET", key, value) + resp_request(b"EXEC")
        self._call((b"CAS", key, old, value), block, lambda: self._last_of(3))

    def counters(self) -> None:
        """A counter."""
        key = self._key(b"counter", 2)
        number = b"%d" % (next(self._values) * 1000)
        self._resp(
            self._chance.choice(
                [(b"INCR", key), (b"INCR", key), (b"GETSET", key, number), (b"DEL", key), (b"GET", key)]
            )
        )

    def documents(self) -> None:
        """A document, by the verbs."""
        key, value = self._key(b"document", 2), self._value()
        verb = self._chance.choice(("insert", "insert", "lookup", "remove"))
        members = {"method": verb, "key": key.decode()} | ({"value": value.decode()} if verb == "insert" else {})
        words = (verb.upper().encode(), key, *((json.dumps(value.decode()).encode(),) if verb == "insert" else ()))
        self._call(words, json.dumps(members).encode() + b"\n", self._json)

    def hashes(self) -> None:
        """A field of a hash, in another database: two that are written, and two that count."""
        key, field, value = self._prefix + b":hash", b"%d" % self._chance.randrange(2), self._value()
        counter = b"counter-" + field
        words = self._chance.choice(
            [
                (b"HSET", key, field, value), (b"HSETNX", key, field, value), (b"HDEL", key, field),
                (b"HGET", key, field), (b"HINCRBY", key, counter), (b"HGET", key, counter), (b"HDEL", key, counter),
            ]
        )  # fmt: skip
        self._elsewhere(words)

    def _elsewhere(self, words: tuple[bytes, ...]) -> None:
        """A request about database 1."""
        sent = (*words, b"1") if words[0] == b"HINCRBY" else words
        data = b"".join(resp_request(*each) for each in ((b"SELECT", b"1"), sent, (b"SELECT", b"0")))
        self._call(words, data, lambda: [self._connection.resp() for _ in range(3)][1])

    def blocks(self) -> None:
        """Two keys at once."""
        left, right, value = self._prefix + b":left", self._prefix + b":right", self._value()
        blocks: list[list[tuple[bytes, ...]]] = [
            [(b"SET", left, value), (b"SET", right, value)],
            [(b"GETSET", left, value), (b"DEL", right)],
            [(b"DEL", left), (b"SET", right, value, b"NX"), (b"GET", right)],
        ]
        inner = self._chance.choice(blocks)
        if self._chance.random() < 0.5:
            self._resp(self._chance.choice([(b"MGET", left, right), (b"GET", left), (b"GET", right)]))
            return
        data = b"".join(resp_request(*words) for words in [(b"MULTI",), *inner, (b"EXEC",)])
        self._call((b"EXEC", *inner), data, lambda: self._last_of(len(inner) + 2))

    def pipelines(self) -> None:
        """Write, or read, some keys in one pipeline."""
        keys = [self._pipelined(number) for number in range(_PIPELINE)]
        self._chance.shuffle(keys)
        if self._chance.random() < 0.5:
            self._pipeline([(b"SET", key, self._value(100)) for key in keys])
        else:
            self._pipeline([(b"GET", key) for key in keys])

    def _pipelined(self, number: int) -> bytes:
        return b"%b:pipelined:%d" % (self._prefix, number)

    def _pipeline(self, requests: list[tuple[bytes, ...]]) -> None:
        """Send requests together. Each is called when all are sent, and returns when its answer is read."""
        began = time.monotonic()
        answered = 0
        try:
            self._connection.send(b"".join(resp_request(*words) for words in requests))
            for words in requests:
                result = self._connection.resp()
                self._note(words, began, _refused(result, words[0]))
                answered += 1
        except OSError:
            for words in requests[answered:]:
                self._note(words, began, UNKNOWN)
            raise

    def queues(self) -> None:
        """Push to one of a few queues, or take from it."""
        key, value = self._queue(), self._value()
        self._resp(
            self._chance.choice(
                [(b"RPUSH", key, value), (b"RPUSH", key, value), (b"LPUSH", key, value), (b"LPOP", key), (b"RPOP", key)]
            )
        )

    def waits(self) -> None:
        """Take from a queue, or wait for an element: a few ms, so that all clients never wait for long."""
        key, timeout = self._queue(), b"0.00%d" % self._chance.randint(1, 9)
        name = self._chance.choice((b"BLPOP", b"BRPOP"))
        self._call((name, key), resp_request(name, key, timeout), self._connection.resp)

    def moves(self) -> None:
        """Move an element from one queue to another, or to the other end of the same; wait for one, or do not."""
        ends = self._chance.choice((b"LEFT", b"RIGHT")), self._chance.choice((b"LEFT", b"RIGHT"))
        name = self._chance.choice((b"LMOVE", b"BLMOVE"))
        words = (name, self._queue(), self._queue(), *ends)
        timeout = (b"0.005",) if name == b"BLMOVE" else ()
        self._call(words, resp_request(*words, *timeout), self._connection.resp)

    def queue_blocks(self) -> None:
        """Take from one queue and put into another in a block, where nobody waits."""
        key, other = self._queue(), self._queue()
        inner = [(b"LPOP", key), (b"RPUSH", other, self._value()), (b"BRPOP", key)]
        sent = [(b"MULTI",), *inner[:2], (*inner[2], b"0"), (b"EXEC",)]
        self._call((b"EXEC", *inner), b"".join(resp_request(*words) for words in sent), lambda: self._last_of(5))

    def vanishes(self) -> None:
        """Another client waits, and is gone: what it took, if it took something, is lost."""
        key, began = self._queue(), time.monotonic()
        with RawConnection(self._address) as connection:
            connection.send(resp_request(b"BLPOP", key, b"0"))
            time.sleep(self._chance.uniform(0, 0.002))
        self._note((b"BLPOP", key), began, UNKNOWN)

    def _queue(self) -> bytes:
        return self._key(b"queue", 3)

    def read_all(self) -> None:
        """Read every key, one after the other, in this thread."""
        if self._kinds is _QUEUE_KINDS:
            for number in range(3):
                key = b"%b:queue:%d" % (self._prefix, number)
                self._call((b"LRANGE", key), resp_request(b"LRANGE", key, b"0", b"-1"), self._connection.resp)
            self._connection.__exit__(None, None, None)
            return
        for kind, count in ((b"string", 3), (b"counter", 2)):
            for number in range(count):
                self._resp((b"GET", b"%b:%b:%d" % (self._prefix, kind, number)))
        self._resp((b"MGET", self._prefix + b":left", self._prefix + b":right"))
        self._pipeline([(b"GET", self._pipelined(number)) for number in range(_PIPELINE)])
        for name in (b"0", b"1", b"counter-0", b"counter-1"):
            self._elsewhere((b"HGET", self._prefix + b":hash", name))
        for number in range(2):
            key = b"%b:document:%d" % (self._prefix, number)
            self._call((b"LOOKUP", key), b'{"method":"lookup","key":"%b"}\n' % key, self._json)
        self._connection.__exit__(None, None, None)

    def _key(self, kind: bytes, count: int) -> bytes:
        return b"%b:%b:%d" % (self._prefix, kind, self._chance.randrange(count))

    def _value(self, most_padding_bytes: int = 1 << 20) -> bytes:
        return b"v%d%b" % (next(self._values), self._padding[:most_padding_bytes])

    # Calling

    def _resp(self, words: tuple[bytes, ...]) -> None:
        self._call(words, resp_request(*words), self._connection.resp)

    def _last_of(self, count: int) -> Any:
        """The last of so many replies: EXEC's."""
        return [self._connection.resp() for _ in range(count)][-1]

    def _json(self) -> tuple[Any, ...]:
        reply = self._connection.reply()
        if reply["result"] == "success":
            return ("success", json.dumps(reply["value"]).encode()) if "value" in reply else ("success",)
        if reply["error"].startswith("Errors writing to the log"):
            return (REFUSED,)
        assert reply == {"result": "failure", "error": "no such key"}, reply
        return ("failure",)

    def _call(self, words: tuple[Any, ...], data: bytes, read: Callable[[], Any]) -> None:
        """Send a request and note it with its outcome. Raises OSError when the server is gone: unknown, then."""
        began = time.monotonic()
        try:
            self._connection.send(data)
            result = read()
        except OSError:
            self._note(words, began, UNKNOWN)
            raise
        self._note(words, began, _refused(result, words[0]))

    def _note(self, words: tuple[Any, ...], began: float, result: Any, ended: float | None = None) -> None:
        self.history.append(Operation(self._name, began, ended or time.monotonic(), words, result))


_KINDS: Sequence[Callable[[_Client], None]] = (
    _Client.strings, _Client.strings, _Client.compare_and_set, _Client.counters, _Client.documents, _Client.blocks,
    _Client.pipelines, _Client.hashes,
)  # fmt: skip


_QUEUE_KINDS: Sequence[Callable[[_Client], None]] = (
    *[_Client.queues] * 120, *[_Client.waits] * 60, *[_Client.moves] * 60, *[_Client.queue_blocks] * 30,
    _Client.vanishes,  # few: the search takes twice as long for each outcome that is unknown
)  # fmt: skip


def _refused(result: Any, name: bytes) -> Any:
    """The result with REFUSED for what a full disk refuses."""
    if result == (REFUSED,) or (isinstance(result, str) and result.startswith("-MISCONF ")):
        return REFUSED
    if isinstance(result, list) and name in (b"EXEC", b"CAS"):
        inner = [_refused(one, b"") for one in result]
        return REFUSED if inner == [REFUSED] else inner
    return result


class ConcurrentRun:
    """Histories on one data directory, one after the other. Ends with `stop`.

    `data`: the directory. `seed`: of what the clients ask and when the server is killed. `options`: of the server;
    `overlaps`: for its `--overlap`, one start after the other.
    `ending`: the signal that ends it in the middle of each history, after `longest_s` seconds of load at most.
    `padding_bytes`: how much longer each value is than it need be. `clients`: how many there are. `queues`: whether
    they use lists, and nothing else.
    """

    def __init__(
        self, data: Path, seed: int, options: Sequence[str] = (), ending: signal.Signals = signal.SIGKILL,
        longest_s: float = 0.25, padding_bytes: int = 0, overlaps: Sequence[OverlapPolicy] = OVERLAPS,
        clients: int = 6, queues: bool = False,
    ) -> None:  # fmt: skip
        self.seed = seed
        self.ending = ending
        self._longest_s = longest_s
        self._clients = clients
        self._queues = queues
        self._padding_bytes = padding_bytes
        self.counts = Counts()
        self._random = random.Random(seed)
        self._values = itertools.count(1)
        self._options = tuple(options)
        self._overlaps = itertools.cycle(overlaps)
        self._overlap = next(self._overlaps)
        self.server = ServerProcess(*options, "--overlap", self._overlap, data=data)

    def stop(self) -> None:
        """Kill the server, if it runs."""
        self.server.kill()

    def check_one(self) -> None:
        """Record one history, with a kill and a start in the middle, and check it. Raises NotLinearizable."""
        history = self.record()
        began = time.monotonic()
        self.counts.groups += check(history)
        self.counts.check_seconds += time.monotonic() - began
        self.counts.histories += 1

    def record(self) -> list[Operation]:
        """One history."""
        prefix = b"h%d" % self.counts.histories
        killer = threading.Timer(self._random.uniform(0, self._longest_s), self.server.signal, [self.ending])
        history = self._phase("before", prefix, killer)
        killer.join()
        status = self.server.wait()
        assert status in (-self.ending, 0), f"the server ended with status {status}: {self.server.log[-5:]}"
        self.counts.kills += 1
        self._overlap = next(self._overlaps)
        self.server.options = (*self._options, "--overlap", self._overlap)
        self.server.start()
        history += self._phase("after", prefix, None)
        last = _Client("reader", self.server.port, prefix, self._random, self._values, queues=self._queues)
        last.read_all()
        history += last.history
        with Wire(self.server.port) as wire:
            self.counts.together += int(wire.info("group_commit")["requests_together"])
        for operation in history:
            self._count(operation)
        return history

    def _phase(self, name: str, prefix: bytes, killer: threading.Timer | None) -> list[Operation]:
        clients = [
            _Client(
                f"{name}{number}",
                self.server.port,
                prefix,
                random.Random(self._random.random()),
                self._values,
                self._padding_bytes,
                killer is not None,
                self._queues,
            )
            for number in range(self._clients)
        ]
        for client in clients:
            client.start()
        if killer is not None:
            killer.start()
        for client in clients:
            client.join()
        history = [operation for client in clients for operation in client.history]
        self.counts.by_overlap[self._overlap] += sum(operation.result is not UNKNOWN for operation in history)
        return history

    def _count(self, operation: Operation) -> None:
        counts = self.counts
        counts.operations += 1
        if operation.result is UNKNOWN:
            counts.unknown += 1
            return
        if operation.result is REFUSED or (isinstance(operation.result, list) and REFUSED in operation.result):
            counts.refused += 1
            return
        name = operation.words[0].decode()
        if b":pipelined:" in operation.words[1]:
            name += " pipelined"
        if operation.words[3:] == (b"NX",):
            name += " NX"
        counts.by_command[name + (" refused" if name in ("CAS", "SET NX") and operation.result is None else "")] += 1
