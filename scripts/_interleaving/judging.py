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
from collections import Counter
from typing import NamedTuple

from .reading import Request


class Verdict(NamedTuple):
    """The outcome of one check. `text`: what was found, with the place if it failed."""

    check: str
    passed: bool
    text: str


class _Client:
    """One client's requests so far: how many, and the places of the first and the last in the order."""

    __slots__ = ("count", "first", "last")

    def __init__(self, place: int) -> None:
        self.count = 0
        self.first = self.last = place

    @property
    def was_interrupted(self) -> bool:
        """Whether another client's request executed between its first and its last."""
        return self.last - self.first + 1 > self.count


class Run:
    """One run of a server, judged request by request: `add` each, then ask."""

    def __init__(self) -> None:
        self.count = 0
        self.kinds: Counter[str] = Counter()
        self.failures = 0
        self.clients: dict[str, _Client] = {}
        self.writes_per_commit: Counter[int] = Counter()
        self.switches = 0
        self.longest_stretch = (0, "")
        self._stretch = 0
        self._durations_ns = array("q")
        self._writes = array("q")
        self._first: Request | None = None
        self._last: Request | None = None
        self._last_commit = 0
        self._wrong: dict[str, list[str]] = {
            "no gaps": [], "one at a time": [], "commits in order": [], "come and go": [],
        }  # fmt: skip
        self.comings: Counter[str] = Counter()
        self.broken = 0
        self.most_at_once = 0
        self._connected: set[str] = set()
        self._gone: set[str] = set()

    def add(self, request: Request) -> None:
        """Take in the next line of the run."""
        if request.is_coming:
            self._come_or_go(request)
        else:
            self._add_request(request)

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
        if name not in connected and (line.numbered_from_one or name in self._gone):
            self._found("come and go", line, f"client {name} disconnects, but is not connected")
        connected.discard(name)
        self._gone.add(name)

    def _check_connected(self, request: Request) -> None:
        name = request.client
        if name not in self._connected and (request.numbered_from_one or name in self._gone):
            self._found("come and go", request, f"request {request.number} is from {name}, which is not connected")

    def _add_request(self, request: Request) -> None:
        previous = self._last
        self._check_number(request, previous)
        self._check_times(request, previous)
        self._check_commit(request)
        self._check_connected(request)
        self._follow_client(request, previous)
        self.count += 1
        self.kinds[request.kind] += 1
        self.failures += request.failed
        self._durations_ns.append(request.end_ns - request.start_ns)
        self._first = self._first or request
        self._last = request

    def _check_number(self, request: Request, previous: Request | None) -> None:
        expected = request.number if previous is None else previous.number + 1
        if previous is None and request.numbered_from_one:
            expected = 1
        if request.number != expected:
            self._found("no gaps", request, f"number {request.number} stands where {expected} belongs")

    def _check_times(self, request: Request, previous: Request | None) -> None:
        if request.end_ns < request.start_ns:
            self._found("one at a time", request, f"request {request.number} ends before it starts")
        if previous is not None and request.start_ns < previous.end_ns:
            early = previous.end_ns - request.start_ns
            text = f"request {request.number} starts {early:,} ns before request {previous.number} has ended"
            self._found("one at a time", request, text)

    def _check_commit(self, request: Request) -> None:
        if request.kind not in ("write", "block") or request.failed or not request.commit:
            return
        self.writes_per_commit[request.commit] += 1
        self._writes.append(request.number)
        if request.commit < self._last_commit:
            text = f"write {request.number} went into commit {request.commit}, the one before into {self._last_commit}"
            self._found("commits in order", request, text)
        self._last_commit = request.commit

    def _found(self, check: str, request: Request, text: str) -> None:
        self._wrong[check].append(f"line {request.line}: {text}")

    def _follow_client(self, request: Request, previous: Request | None) -> None:
        name = request.client
        client = self.clients.get(name)
        if client is None:
            client = self.clients[name] = _Client(self.count)
        client.count += 1
        client.last = self.count
        if previous is not None and previous.client != name:
            self.switches += 1
            self._stretch = 0
        self._stretch += 1
        if self._stretch > self.longest_stretch[0]:
            self.longest_stretch = (self._stretch, name)

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
        found = [
            self._interleaved(),
            self._verdict("no gaps", f"requests {first:,} to {last:,} are all there"),
            self._verdict("one at a time", "each request starts after the one before it has ended"),
            self._verdict("commits in order", f"{self.writes_per_commit.total():,} writes, none into an older commit"),
        ]
        return [*found, self._came_and_went()] if self.comings else found

    def _came_and_went(self) -> Verdict:
        came, went = self.comings["connect"], self.comings["disconnect"]
        text = (
            f"{came:,} connects, at most {self.most_at_once:,} clients at once; {went:,} disconnects, {self.broken:,} "
            "broken off; each request stands between its client's connect and disconnect"
        )
        return self._verdict("come and go", text)

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
