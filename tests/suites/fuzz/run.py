"""Hostile input for the real server, while others look on: what it must never do is crash, hang, hurt or babble.

One connection after the other sends something: valid requests of all three grammars with odd arguments, such streams
mutated, headers that lie about what follows, JSON that is deep, huge or no UTF-8, all of it cut at random places. Then
it closes its end and reads all that comes, or vanishes, or stays and holds a request that it never ends. Every byte
that comes back is read by a parser of the tests' own. Beside this a witness writes and reads on one connection that
must never break nor wait long.

Violations: the server ends; it reports a bug; it does not close a connection that ended; a reply that is none; a
witness that is disconnected, answered wrongly, or not within seconds; memory past a limit.

Used by tests/test_end_to_end_fuzz.py for some seconds, and by scripts/fuzz_wire for as long as one likes.
"""

from __future__ import annotations

import contextlib
import json
import random
import re
import select
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from kvstore.commands.registry import table
from kvstore.testing.server_process import ServerProcess
from kvstore.wire.resp import pack
from tests.kit.server_process import Wire
from tests.suites.fuzz.input import HOSTILE, NUMBERS, OPTION_WORDS, RIGHT, SCRIPTS, STRANGE

#: The server's options: small limits, so that they are reached.
OPTIONS = (
    "--max-request-bytes", "4mb", "--max-input-bytes", "32mb", "--drop-client-bytes", "16mb", "--max-clients", "500",
    "--script-ms", "50",
)  # fmt: skip

#: What the server may take more than at its start, in bytes: its limits, the keys that there are, and slack.
_MOST_GROWTH_BYTES = 250_000_000

_PATIENCE_S = 60.0
_MOST_HOARDERS = 150

#: Containers of a reply inside each other: COMMAND DOCS tells of CLIENT's options in twelve, and EXEC puts one around.
_DEEPEST = 13

#: Commands that end the server, the witness or what it wrote; that is their purpose.
_LEFT_OUT = {"FLUSHALL", "FLUSHDB", "SWAPDB", "SHUTDOWN", "CLIENT"}
_NAMES = [row.name.encode() for row in table.all_rows() if row.name.split("|")[0] not in _LEFT_OUT]


class Violation(AssertionError):
    """The server did what it must never do."""


# What comes back


class Malformed(ValueError):
    """These bytes are no reply."""


def read_replies(data: bytes, *, cut: bool) -> int:
    """Read a stream of replies: RESP2, RESP3, JSON lines, the text of help, telnet's answers. Returns how many.

    `cut`: whether the stream may end in the middle of one. Raises Malformed.
    """
    position = count = 0
    while position < len(data):
        try:
            position = _one(data, position, 0)
        except IndexError:
            if cut:
                return count
            raise Malformed(f"the stream ends in the middle of a reply: {data[position : position + 100]!r}") from None
        count += 1
    return count


_NUMBER = re.compile(rb"-?(0|[1-9][0-9]{0,18})").fullmatch
_DOUBLE = re.compile(rb"-?(inf|[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?)|nan").fullmatch
_SIMPLE: dict[int, Callable[[bytes], object]] = {
    ord("+"): lambda text: b"\r" not in text,
    ord("-"): lambda text: b"\r" not in text and re.match(rb"[A-Z]+ .", text),
    ord(":"): _NUMBER,
    ord("_"): lambda text: text == b"",
    ord("#"): lambda text: text in (b"t", b"f"),
    ord(","): _DOUBLE,
    ord("("): re.compile(rb"-?[0-9]+").fullmatch,
}
_CONTAINERS = {ord("*"): 1, ord("~"): 1, ord(">"): 1, ord("%"): 2}


def _one(data: bytes, position: int, depth: int) -> int:
    """Read one reply. Returns the offset after it. Raises IndexError if it goes on after the data, Malformed."""
    if re.match(rb"\xff[\xfc\xfe].", data[position : position + 3], re.DOTALL) and not depth:
        return position + 3
    end = data.find(b"\r\n", position)
    if end < 0:
        raise IndexError
    if data[position] == ord(" ") and not depth:
        return end + 2
    kind, text = data[position], data[position + 1 : end]
    if kind == ord("{"):
        _check_json(data[position:end])
        return end + 2
    if kind in _SIMPLE:
        if not _SIMPLE[kind](text):
            raise Malformed(f"{data[position : end + 2]!r}")
        return end + 2
    if depth >= _DEEPEST or kind not in b"$=!*~>%" or not _NUMBER(text) or int(text) < -1:
        raise Malformed(f"{data[position : position + 100]!r}")
    length, position = int(text), end + 2
    if kind in _CONTAINERS:
        for _ in range(length * _CONTAINERS[kind]):
            position = _one(data, position, depth + 1)
        return position
    if length < 0:
        return position
    if position + length + 2 > len(data):
        raise IndexError
    if data[position + length : position + length + 2] != b"\r\n":
        raise Malformed(f"a string of {length} bytes that does not end there: {data[position - 20 : position + 50]!r}")
    return position + length + 2


def _check_json(line: bytes) -> None:
    try:
        reply = json.loads(line.decode("utf-8", "surrogatepass"))
    except RecursionError:
        return  # the tests' parser, not the server's
    except ValueError as error:
        raise Malformed(f"no JSON line ({error}): {line[:200]!r}") from None
    members = set(reply) - {"id"}
    expected = [{"result"}, {"result", "value"}] if reply["result"] == "success" else [{"result", "error"}]
    if reply["result"] not in ("success", "failure", "invalid") or members not in expected:
        raise Malformed(f"{line[:200]!r}")


class FuzzRun:
    """A server, a witness and connections full of hostile input. Ends with `stop`.

    `data`: its data directory. `seed`: of what is sent.
    """

    def __init__(self, data: Path, seed: int) -> None:
        self.counts: Counter[str] = Counter()
        self.seed = seed
        self.slowest_witness_s = 0.0
        self.most_growth_bytes = 0
        self._random = random.Random(seed)
        self.server = ServerProcess(*OPTIONS, data=data)
        self._began_bytes = self.server.resident_bytes()
        self._hoarders: list[socket.socket] = []
        self._failure: BaseException | None = None
        self._ending = threading.Event()
        self._witness = threading.Thread(target=self._watch, daemon=True)
        self._witness.start()

    def stop(self) -> None:
        """End everything."""
        self._ending.set()
        self._witness.join(2 * _PATIENCE_S)
        for hoarder in self._hoarders:
            hoarder.close()
        self.server.kill()

    def run(self, seconds: float) -> None:
        """Send for so long, each hostile stream at least once. Raises Violation."""
        deadline = time.monotonic() + seconds
        waiting = list(HOSTILE)
        self._random.shuffle(waiting)
        while waiting or time.monotonic() < deadline:
            data = waiting.pop() if waiting and self._random.random() < 0.7 else self._stream()
            self._connection(data)
            self._look()

    # The witness

    def _watch(self) -> None:
        """Write and read on one connection until the end."""
        try:
            with Wire(self.server.port) as wire:
                wire.socket.settimeout(_PATIENCE_S)
                number = 0
                while not self._ending.is_set():
                    began = time.monotonic()
                    key, number = b"witness:%d" % (number % 100), number + 1
                    wire.send(pack(b"SET", key, b"%d" % number) + pack(b"GET", key))
                    if (replies := wire.read_replies(2)) != [b"OK", b"%d" % number]:
                        raise Violation(f"the witness was answered {replies}")
                    line = wire.say('{"method":"lookup","key":"witness:0"}')
                    if not line.startswith(b'{"result":"success","value":'):
                        raise Violation(f"the witness was answered {line!r}")
                    self.slowest_witness_s = max(self.slowest_witness_s, time.monotonic() - began)
                    self.counts["witness rounds"] += 1
                    self._ending.wait(0.005)
        except BaseException as error:
            self._failure = error

    def _look(self) -> None:
        """Look at the server from outside. Raises Violation."""
        if not self.server.running:
            raise Violation(f"the server ended with status {self.server.wait()}: {self.server.log[-10:]}")
        if self._failure is not None:
            raise Violation(f"the witness: {self._failure!r}")
        growth = self.server.resident_bytes() - self._began_bytes
        self.most_growth_bytes = max(self.most_growth_bytes, growth)
        if growth > _MOST_GROWTH_BYTES:
            raise Violation(f"the server takes {growth} bytes more than at its start")
        self.counts["clients dropped for their input"] = sum("--max-input-bytes" in line for line in self.server.log)
        bugs = [line for line in self.server.log if "bug" in line or "Traceback" in line or "Unhandled" in line]
        if bugs:
            raise Violation(f"the server reports a bug: {bugs[:3]}")

    # One connection

    def _connection(self, data: bytes) -> None:
        self.counts["connections"] += 1
        self.counts["bytes sent"] += len(data)
        ending = self._random.random()
        try:
            connection = socket.create_connection(("127.0.0.1", self.server.port), _PATIENCE_S)
        except OSError as error:
            raise Violation(f"the server takes no connection: {error}; it says {self.server.log[-3:]}") from None
        if ending < 0.15:
            self._hoard(connection)
        elif ending < 0.25:
            self._vanish(connection, data)
        else:
            with connection:
                received, whole = self._exchange(connection, data)
            self._judge(data, received, whole)

    def _judge(self, data: bytes, received: bytes, whole: bool) -> None:
        try:
            self.counts["replies"] += read_replies(received, cut=not whole)
        except Malformed as error:
            raise Violation(f"{data[:300]!r} ({len(data)} bytes) was answered with what is no reply: {error}") from None
        if b"internal error" in received:
            raise Violation(f"{data[:300]!r} ({len(data)} bytes) ran into a bug")

    def _hoard(self, connection: socket.socket) -> None:
        """Hold a request that is never ended."""
        size = self._random.choice((1, 100, 10_000, 1_000_000))
        start = self._random.choice((b"*2\r\n$3\r\nGET\r\n$3000000\r\n", b'{"method":"', b"insert k ",
                                     b"*100000\r\n$1\r\n",
                                     b"*1000000\r\n" + b"$2\r\nab\r\n" * (size // 8)))  # fmt: skip
        try:
            connection.sendall(start + b"x" * size)
        except OSError:
            self.counts["hoarders dropped"] += 1
        self._hoarders.append(connection)
        self.counts["hoarders"] += 1
        if len(self._hoarders) > _MOST_HOARDERS:
            for _ in range(_MOST_HOARDERS // 2):
                self._hoarders.pop(self._random.randrange(len(self._hoarders))).close()

    def _vanish(self, connection: socket.socket, data: bytes) -> None:
        """Send some and break off."""
        connection.setblocking(False)
        with contextlib.suppress(OSError):
            connection.send(data)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
        self.counts["connections broken off"] += 1

    def _exchange(self, connection: socket.socket, data: bytes) -> tuple[bytes, bool]:
        """Send all of it, cut at random, and read until the server closes; returns that, and whether it closed well.
        A server on a machine under load may take its time, as long as something moves.
        """
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        largest = self._random.choice((1, 7, 1000, 100_000, 1 << 20)) if len(data) < 3000 else 1 << 20
        received: list[bytes] = []
        position = 0
        sending = True
        while True:
            readable, writable, _ = select.select([connection], [connection] if sending else [], [], _PATIENCE_S)
            if not (readable or writable):
                raise Violation(
                    f"{data[:300]!r} ({len(data)} bytes): nothing moved, nor was it closed, in {_PATIENCE_S} s"
                )
            try:
                if readable:
                    piece = connection.recv(1 << 20)
                    if not piece:
                        return b"".join(received), True
                    received.append(piece)
                if writable and sending:
                    position += connection.send(data[position : position + self._random.randint(1, largest)])
                    if position == len(data):
                        sending = False
                        connection.shutdown(socket.SHUT_WR)
            except OSError:  # it refused the rest; what it said last may be lost with the connection
                self.counts["connections refused"] += 1
                return b"".join(received), False

    # Making input

    def _stream(self) -> bytes:
        """Some requests, mutated more often than not."""
        data = b"".join([self._request() for _ in range(self._random.choice((1, 3, 10, 50)))])
        if self._random.random() < 0.2:
            data = pack(b"HELLO", b"3") + data
        for _ in range(self._random.choice((0, 0, 1, 2, 5, 20))):
            data = self._mutated(data)
        return data

    def _request(self) -> bytes:
        chance = self._random.random()
        if chance < 0.2:
            return pack(*self._random.choice(RIGHT))
        if chance < 0.24:
            keys = [self._word() for _ in range(self._random.randrange(3))]
            return pack(b"EVAL", self._random.choice(SCRIPTS), b"%d" % len(keys), *keys, self._word())
        if chance < 0.6:
            words = self._random.choice(_NAMES).split(b"|")
            return pack(*words, *[self._word() for _ in range(self._random.choice((0, 1, 1, 2, 2, 3, 4, 6)))])
        if chance < 0.75:
            words = [
                self._random.choice(_NAMES).replace(b"|", b" "),
                *[self._word() for _ in range(self._random.randrange(4))],
            ]
            return b" ".join(words) + self._random.choice((b"\r\n", b"\n"))
        members = {
            "method": self._random.choice(("insert", "lookup", "remove", "query", "size", "help", "", "GET")),
            "key": self._word().decode("latin-1"), "value": self._json_value(3), "subkey": "a",
            "id": self._json_value(1),
            "subvalue": self._random.choice((1, 1.0, True, None, "a", "1", [])),
        }  # fmt: skip
        for name in self._random.sample(sorted(members), self._random.randrange(3)):
            del members[name]
        return json.dumps(members, ensure_ascii=self._random.random() < 0.5).encode("utf-8", "surrogatepass") + b"\n"

    def _word(self) -> bytes:
        kind = self._random.random()
        if kind < 0.5:
            return self._random.choice((b"a", b"b", b"c", b"d", b"", b"key with spaces"))
        if kind < 0.7:
            return self._random.choice(NUMBERS)
        if kind < 0.85:
            return self._random.choice(OPTION_WORDS)
        if kind < 0.95:
            return self._random.choice(STRANGE)
        return self._random.randbytes(self._random.choice((1, 50, 3000)))

    def _json_value(self, depth: int) -> object:
        kind = self._random.randrange(8 if depth else 6)
        if kind == 6:
            return [self._json_value(depth - 1) for _ in range(self._random.randrange(4))]
        if kind == 7:
            return {self._random.choice(("a", "b", "", "\ud800")): self._json_value(depth - 1) for _ in range(2)}
        return (None, True, 10**25, -0.0, "\ud800x", "a")[kind]

    def _mutated(self, data: bytes) -> bytes:
        place = self._random.randrange(len(data) + 1)
        other = self._random.randrange(len(data) + 1)
        kind = self._random.randrange(7)
        if kind == 0:
            return data[:place] + self._random.randbytes(1) + data[place + 1 :]
        if kind == 1:
            return data[:place] + data[place + self._random.randrange(1, 5) :]
        if kind == 2:
            return data[:place] + self._random.choice((*STRANGE, *NUMBERS, b"\n", b"*", b"$", b"{")) + data[place:]
        if kind == 3:
            return data[:place] + data[min(place, other) : max(place, other)] + data[place:]
        if kind == 4:
            return data[:place]
        if kind == 5:
            return re.sub(rb"\d+", lambda match: self._random.choice((match[0], self._random.choice(NUMBERS))), data)
        return data[place:] + data[:place]
