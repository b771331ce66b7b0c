"""What a trace proves: that requests of several clients are interleaved, and that each executed whole, one at a time.

Five checks of one run:

- **interleaved**: between the first and the last request of a client, requests of others executed; of clients whose
  requests together are more than half of all. The measure is the number of switches: neighbours in the order that are
  from different clients. C clients served one after the other make C - 1; n requests in an order shuffled at random
  make about n (1 - sum of the squares of the clients' shares); clients that send one request and wait for the reply
  come near or above that, pipelining clients lie below, by the length of their pipelines.
- **no gaps**: the numbers of the requests are 1, 2, 3, ...: no request executed that the trace does not have.
- **one at a time**: each request starts after the one before it has ended, by a steady clock.
- **commits in order**: the writes, in the order in which they executed, went into commits of the same order.
- **come and go**: a client connects once, before its first request, and none of its requests stands after its
  disconnect. (Traces of version 1 do not tell; there this check is left out.)

Memory: a few numbers for each client and commit, eight bytes for each request and each write.
"""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import NamedTuple

from .reading import Request


class Verdict(NamedTuple):
    """The outcome of one check. `text`: what was found, with the place if it failed."""

    check: str
    passed: bool
    text: str


@dataclass
class Client:
    """One client's requests so far: how many, and the places of the first and the last in the order."""

    count: int
    first: int
    last: int

    @property
    def was_interrupted(self) -> bool:
        """Whether another client's request executed between its first and its last."""
        return self.last - self.first + 1 > self.count


class Run:
    """One run of a server, judged request by request: `add` each, then ask."""

    def __init__(self) -> None:
        self.count = self.failures = self.switches = self.broken = self.most_at_once = 0
        self.kinds: Counter[str] = Counter()
        self.comings: Counter[str] = Counter()
        self.clients: dict[str, Client] = {}
        self.writes_per_commit: Counter[int] = Counter()
        self.longest_stretch = (0, "")
        self._stretch = self._last_commit = 0
        self._durations_ns = array("q")
        self._writes = array("q")
        self._first: Request | None = None
        self._last: Request | None = None
        self._wrong: defaultdict[str, list[str]] = defaultdict(list)
        self._connected: set[str] = set()
        self._gone: set[str] = set()

    def add(self, line: Request) -> None:
        """Take in the next line of the run."""
        if line.is_coming:
            self._come_or_go(line)
            return
        previous = self._last
        self._check_number(line, previous)
        self._check_times(line, previous)
        self._check_commit(line)
        self._check_connected(line)
        self._follow_client(line, previous)
        self.count += 1
        self.kinds[line.kind] += 1
        self.failures += line.failed
        self._durations_ns.append(line.end_ns - line.start_ns)
        self._first = self._first or line
        self._last = line

    def _found(self, check: str, line: Request, text: str) -> None:
        self._wrong[check].append(f"line {line.line}: {text}")

    def _come_or_go(self, line: Request) -> None:
        name, connected = line.client, self._connected
        self.comings[line.kind] += 1
        self.broken += line.failed
        if line.kind == "connect":
            if name in self.clients or name in connected or name in self._gone:
                self._found("come and go", line, f"client {name} connects, but has been there before")
            connected.add(name)
            self.most_at_once = max(self.most_at_once, len(connected))
            return
        if not self._may_be_there(line):
            self._found("come and go", line, f"client {name} disconnects, but is not connected")
        connected.discard(name)
        self._gone.add(name)

    def _may_be_there(self, line: Request) -> bool:
        """Whether its client is connected; in a part of a trace it may have come before."""
        return line.client in self._connected or not (line.numbered_from_one or line.client in self._gone)

    def _check_connected(self, request: Request) -> None:
        if not self._may_be_there(request):
            text = f"request {request.number} is from {request.client}, which is not connected"
            self._found("come and go", request, text)

    def _check_number(self, request: Request, previous: Request | None) -> None:
        expected = previous.number + 1 if previous else 1 if request.numbered_from_one else request.number
        if request.number != expected:
            self._found("no gaps", request, f"number {request.number} stands where {expected} belongs")

    def _check_times(self, request: Request, previous: Request | None) -> None:
        if request.end_ns < request.start_ns:
            self._found("one at a time", request, f"request {request.number} ends before it starts")
        if previous and (early := previous.end_ns - request.start_ns) > 0:
            text = f"request {request.number} starts {early:,} ns before request {previous.number} has ended"
            self._found("one at a time", request, text)

    def _check_commit(self, request: Request) -> None:
        if not request.is_write or not request.commit:
            return
        self.writes_per_commit[request.commit] += 1
        self._writes.append(request.number)
        if request.commit < self._last_commit:
            text = f"write {request.number} went into commit {request.commit}, the one before into {self._last_commit}"
            self._found("commits in order", request, text)
        self._last_commit = request.commit

    def _follow_client(self, request: Request, previous: Request | None) -> None:
        client = self.clients.setdefault(request.client, Client(0, self.count, self.count))
        client.count += 1
        client.last = self.count
        if previous and previous.client != request.client:
            self.switches += 1
            self._stretch = 0
        self._stretch += 1
        self.longest_stretch = max(self.longest_stretch, (self._stretch, request.client), key=lambda found: found[0])

    # What was found

    @property
    def number_range(self) -> tuple[int, int]:
        """The numbers of the first and the last request."""
        assert self._first is not None and self._last is not None
        return self._first.number, self._last.number

    @property
    def middle_write(self) -> int:
        """The number of a write that as many come before as after; of any request, if there are no writes."""
        return self._writes[len(self._writes) // 2] if self._writes else sum(self.number_range) // 2

    @property
    def seconds(self) -> float:
        """From the start of the first request to the end of the last, by the steady clock."""
        assert self._first is not None and self._last is not None
        return (self._last.end_ns - self._first.start_ns) / 1e9

    @property
    def shuffled_switches(self) -> float:
        """The switches to be expected if the same requests stood in an order shuffled at random."""
        together = sum(client.count * (client.count - 1) for client in self.clients.values())
        return (self.count - 1) - together / self.count

    def duration_us(self, share: float) -> float:
        """The time that this share of the requests took at most, in microseconds; 0.5 for the median."""
        ordered = sorted(self._durations_ns)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)] / 1e3

    def verdicts(self) -> list[Verdict]:
        """The five checks, of a run with at least one request; four, if it does not tell who comes and goes."""
        first, last = self.number_range
        found = {
            "no gaps": f"requests {first:,} to {last:,} are all there",
            "one at a time": "each request starts after the one before it has ended",
            "commits in order": f"{self.writes_per_commit.total():,} writes, none into an older commit",
        }
        if self.comings:
            found["come and go"] = (
                f"{self.comings['connect']:,} connects, at most {self.most_at_once:,} clients at once; "
                f"{self.comings['disconnect']:,} disconnects, {self.broken:,} broken off; each request stands between "
                "its client's connect and disconnect"
            )
        return [self._interleaved(), *(self._verdict(check, text) for check, text in found.items())]

    def _verdict(self, check: str, text: str) -> Verdict:
        wrong = self._wrong[check]
        if not wrong:
            return Verdict(check, True, text)
        more = f" (and {len(wrong) - 1:,} more)" if len(wrong) > 1 else ""
        return Verdict(check, False, wrong[0] + more)

    def _interleaved(self) -> Verdict:
        several = [client for client in self.clients.values() if client.count > 1]
        interrupted = [client for client in several if client.was_interrupted]
        passed = 2 * sum(client.count for client in interrupted) > self.count
        stretch, name = self.longest_stretch
        text = (
            f"{self.switches:,} switches between clients; one client after the other would make "
            f"{len(self.clients) - 1:,}, a shuffled order about {self.shuffled_switches:,.0f}. {len(interrupted)} of "
            f"{len(several)} clients with several requests had others served in between; the longest stretch of one "
            f"client is {stretch:,} of the {self.clients[name].count:,} requests of {name}"
        )
        return Verdict("interleaved", passed, text)
