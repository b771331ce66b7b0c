"""Many clients in one process, at little cost: python -m scripts.experimenting.swarm HOST:PORT [options].

What each connection sends is, byte for byte, what one scripts/TestPerf.py sends (a test compares them): the same four
stages of JSON lines, documents of 100 bytes, ten of which share the member that is asked for; and what is printed at
the end is the same JSON object, so that whoever reads the one can read the other. It differs in what it costs. One
process serves all connections with epoll; a request is put together from a template, a reply is looked at only to see
that it is whole and a success. So most of what a request costs here are the kernel's two system calls; and with
--depth D each connection has D requests on the way, so that one system call carries several.

In the pause after the inserts more documents are inserted, so that the removes do not run out of them. Should they all
the same, the stage ends with the first connection whose documents are gone, since then not all are running. Latency is
from just before a request is handed to the kernel to just after its reply was read; replies that wait for this process
to read them are counted as slow. The garbage collector is off. Exit status: 0, or 1 if an answer was wrong or did not
come.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import count as count_from
from itertools import islice

from kvstore.base.address import Address, parse_address
from kvstore.base.limits import KIB
from kvstore.client.timing import Timings
from scripts.measuring.bench import allow_files

OPERATIONS = ("insert", "lookup", "query", "remove")

#: As in scripts/TestPerf.py: documents that share a member, and the size of one as JSON.
GROUP_SIZE = 10
VALUE_BYTES = 100

#: Once in each reply that we want, and in nothing else that we ask for.
_SUCCESS = b'"success"'

#: Read at once. malloc would map a buffer of 128 KiB or more anew for every reply, at 10 us (mallopt(3)).
_RECEIVE_BYTES = 16 * KIB
_POLL_SECONDS = 0.1
_SILENCE_SECONDS = 30.0
_SPARE_FILES = 50

#: After the inserts more are made in this part of the pause, so many at a time on each connection: removes are faster,
#: and would run out of documents.
_SPARE_PART = 0.6
_SPARE_DEPTH = 32


class WrongReply(Exception):
    """The server answered what it should not, or not at all."""


class Documents:
    """The documents of one connection, and the lines that ask for things with them, each for the i-th.

    `prefix`: of its keys. `inserted`: how many there are.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.inserted = 0
        self._serial = 0
        self._padding = "x" * (VALUE_BYTES - len(self._value(99999, "")))

    def _value(self, i: int, padding: str) -> str:
        return f'{{"group":"{self.prefix}-{i // GROUP_SIZE}","number":{i},"text":"{padding}"}}'

    def _head(self, method: str) -> str:
        self._serial += 1
        return f'{{"id":{self._serial},"method":"{method}",'

    def insert(self, i: int) -> str:
        """Insert a new one."""
        self.inserted = i + 1
        return f'{self._head("insert")}"key":"{self.prefix}-{i}","value":{self._value(i, self._padding)}}}\n'

    def lookup(self, i: int) -> str:
        """Look up one of them; after the last comes the first again."""
        return f'{self._head("lookup")}"key":"{self.prefix}-{i % self.inserted}"}}\n'

    def query(self, i: int) -> str:
        """Ask for one of the groups; after the last comes the first again."""
        group = i * GROUP_SIZE % self.inserted // GROUP_SIZE
        return f'{self._head("query")}"subkey":"group","subvalue":"{self.prefix}-{group}"}}\n'

    def remove(self, i: int) -> str:
        """Remove one."""
        return f'{self._head("remove")}"key":"{self.prefix}-{i}"}}\n'


class Connection:
    """One client. `began_ns`: when each of the requests on the way was sent, the oldest first."""

    def __init__(self, address: Address, prefix: str) -> None:
        self.socket = socket.create_connection(address, _SILENCE_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.documents = Documents(prefix)
        self.began_ns: deque[int] = deque()
        self.requests: Iterator[str] = iter(())
        self._rest = b""

    def start(self, operation: str) -> None:
        """Begin a stage."""
        inserted = self.documents.inserted
        numbers = {"insert": count_from(inserted), "remove": range(inserted)}.get(operation, count_from())
        self.requests = map(getattr(self.documents, operation), numbers)

    def send(self, count: int) -> bool:
        """Send the next requests; returns whether there were so many."""
        lines = list(islice(self.requests, count))
        now = time.perf_counter_ns()
        self.began_ns.extend([now] * len(lines))
        if lines:
            self.socket.sendall("".join(lines).encode("ascii"))
        return len(lines) == count

    def receive(self) -> int:
        """Read what is there; returns how many replies it brought. Raises WrongReply."""
        data = self.socket.recv(_RECEIVE_BYTES)
        if not data:
            raise WrongReply("the server closed the connection")
        if self._rest:
            data = self._rest + data
        if data.endswith(b"\n"):
            self._rest = b""
        else:
            whole, _, self._rest = data.rpartition(b"\n")
            data = whole + b"\n" if whole else b""
        count = data.count(b"\n")
        if data.count(_SUCCESS) != count:
            raise WrongReply(data[:200].decode("ascii", "replace"))
        return count


class Swarm:
    """All connections. `depth`: requests on the way on each."""

    def __init__(self, address: Address, connections: int, depth: int) -> None:
        self._depth = depth
        self._poll = select.epoll()
        self._by_descriptor: dict[int, Connection] = {}
        for number in range(connections):
            connection = Connection(address, f"{socket.gethostname()}-{os.getpid()}-{number:08x}")
            self._by_descriptor[connection.socket.fileno()] = connection
            self._poll.register(connection.socket, select.EPOLLIN)

    def stage(self, operation: str, warm_up_seconds: float, seconds: float) -> Timings:
        """Do one stage, with requests before it that are not timed. Raises WrongReply, OSError."""
        for connection in self._by_descriptor.values():
            connection.start(operation)
            connection.send(self._depth)
        warm_up_end = time.perf_counter() + warm_up_seconds
        self._serve(lambda now: now < warm_up_end, None)
        timings = Timings(operation)
        end = time.perf_counter() + seconds
        self._serve(lambda now: now < end, timings)
        self._finish()
        return timings

    def insert_spare(self, seconds: float) -> None:
        """Insert more documents for so long, many at a time and not timed. Raises WrongReply, OSError."""
        for connection in self._by_descriptor.values():
            connection.start("insert")
            connection.send(_SPARE_DEPTH)
        end = time.perf_counter() + seconds
        self._serve(lambda now: now < end, None)
        self._finish()

    def _serve(self, go_on: Callable[[float], bool], timings: Timings | None) -> None:
        """Answer each reply with the next request, until it is time or a connection has nothing left to ask."""
        clock_ns, by_descriptor = time.perf_counter_ns, self._by_descriptor
        add = timings.add if timings is not None else None
        heard = time.perf_counter()
        while go_on(now := time.perf_counter()):
            events = self._poll.poll(_POLL_SECONDS)
            heard = now if events else heard
            if now - heard > _SILENCE_SECONDS:
                raise WrongReply(f"no reply for {_SILENCE_SECONDS:g} s")
            for descriptor, _ in events:
                connection = by_descriptor[descriptor]
                replies = connection.receive()
                ended_ns, began_ns = clock_ns(), connection.began_ns
                for _ in range(replies):
                    began = began_ns.popleft()
                    if add is not None:
                        add(began, ended_ns)
                if not connection.send(replies):
                    return

    def _finish(self) -> None:
        """Take the replies that are still to come, on connections that then are as new."""
        for connection in self._by_descriptor.values():
            while connection.began_ns:
                for _ in range(connection.receive()):
                    connection.began_ns.popleft()


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", type=parse_address, metavar="HOST:PORT")
    parser.add_argument("--connections", type=int, default=1, metavar="N")
    parser.add_argument("--depth", type=int, default=1, metavar="D", help="requests on the way on each connection")
    parser.add_argument("--start-at", type=float, default=0.0, metavar="EPOCH", help="when the first stage begins")
    parser.add_argument("--warm-up", type=float, default=0.2, metavar="SECONDS", help="before each stage")
    parser.add_argument("--duration", type=float, default=1.0, metavar="SECONDS", help="of each stage")
    parser.add_argument("--gap", type=float, default=0.3, metavar="SECONDS", help="between stages")
    parser.add_argument("--operations", default=",".join(OPERATIONS), metavar="LIST", help="(default %(default)s)")
    arguments = parser.parse_args(words)
    arguments.operations = arguments.operations.split(",")
    if wrong := [name for name in arguments.operations if name not in OPERATIONS]:
        parser.error(f"--operations: {wrong[0]!r} is none of {', '.join(OPERATIONS)}")
    if arguments.operations[0] != "insert":
        parser.error("--operations: the first must be insert, the others work on what it inserted")
    return arguments


def run(arguments: argparse.Namespace) -> Iterator[Timings]:
    """The stages, each at its time."""
    allow_files(arguments.connections + _SPARE_FILES)
    swarm = Swarm(arguments.target, arguments.connections, arguments.depth)
    start = arguments.start_at or time.time()
    for number, operation in enumerate(arguments.operations):
        gc.collect()
        gc.disable()
        time.sleep(max(0.0, start + number * stage_period(arguments) - time.time()))
        yield swarm.stage(operation, arguments.warm_up, arguments.duration)
        gc.enable()
        if operation == "insert" and "remove" in arguments.operations:
            swarm.insert_spare(_SPARE_PART * arguments.gap)


def stage_period(arguments: argparse.Namespace) -> float:
    """Seconds from the begin of a stage to the begin of the next."""
    period: float = arguments.warm_up + arguments.duration + arguments.gap
    return period


def main() -> int:
    """Run the stages and print what they took. Returns the exit status."""
    arguments = parse_arguments()
    try:
        stages = [timings.as_json() for timings in run(arguments)]
    except (WrongReply, OSError, ValueError) as error:
        print(f"swarm: {error}", file=sys.stderr)
        return 1
    print(json.dumps({"target": str(arguments.target), "connections": arguments.connections, "stages": stages}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
