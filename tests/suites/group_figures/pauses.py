"""For how long nobody can write: a client writes every 5 ms at whoever leads, and something happens to leaders."""

from __future__ import annotations

import contextlib
import itertools
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from statistics import median

import redis

from kvstore.base.address import Address
from kvstore.client.raw import RawConnection, resp_request
from scripts.measuring.results import Table
from tests.kit.group_processes import GroupServer
from tests.kit.server_process import eventually
from tests.suites.group_figures.figures import MOST, Figure, Part
from tests.suites.group_figures.sides import Standing

PERIOD_S = 0.005
#: Seconds of silence after which a client asks another.
_PATIENCE_S = 2.0
_BEFORE_S = 0.5
#: It is over when so many seconds have passed since it began, and since the last pause that was noticed.
_AFTER_S = 1.5
_CALM_S = 1.0
_PAUSE_S = 0.25

KILL, KILL_NODE, TERMINATE, HAND_OVER = (
    "kill -9 of the leader", "kill -9 of etcd's leader", "SIGTERM of the leader", "a handover",
)  # fmt: skip
#: What is asked of the median, in seconds, and of the longest.
ASKED_S: Mapping[str, tuple[float | None, float | None]] = {
    KILL: (4.0, 4.0),
    KILL_NODE: (2.5, None),
    TERMINATE: (None, None),
    HAND_OVER: (None, None),
}


class Writer(threading.Thread):
    """See the module; it writes until it is stopped. `acknowledged`: when each reply came (time.monotonic)."""

    def __init__(self, ports: Sequence[int]) -> None:
        super().__init__(daemon=True)
        self.acknowledged: list[float] = []
        self._ports = itertools.cycle(ports)
        self._ends = threading.Event()
        self.start()

    def run(self) -> None:
        """See Thread."""
        while not self._ends.is_set():
            try:
                with RawConnection(Address("127.0.0.1", next(self._ports)), patience_seconds=_PATIENCE_S) as connection:
                    self._write(connection)
            except OSError:
                pass
            self._ends.wait(PERIOD_S)

    def _write(self, connection: RawConnection) -> None:
        """Until the server says that it does not lead. Raises OSError when it is gone, or silent."""
        while not self._ends.is_set():
            began = time.monotonic()
            connection.send(resp_request("SET", f"key:{len(self.acknowledged)}", "x" * 100))
            if connection.resp() != "+OK":
                return
            self.acknowledged.append(time.monotonic())
            self._ends.wait(max(0.0, began + PERIOD_S - time.monotonic()))

    def is_calm(self, since: float) -> bool:
        """Whether what happened then is over."""
        now = time.monotonic()
        pauses = [after for before, after in pauses_in(self.acknowledged, since) if after - before > _PAUSE_S]
        is_writing = bool(self.acknowledged) and now - self.acknowledged[-1] < _PAUSE_S
        return is_writing and now - since > _AFTER_S and now - max(pauses, default=since) > _CALM_S

    def stop(self) -> None:
        """Return when it has ended."""
        self._ends.set()
        self.join()


def pauses_in(acknowledged: Sequence[float], since: float) -> list[tuple[float, float]]:
    """Neighbouring acknowledgements of which the second came after that time."""
    return [(before, after) for before, after in itertools.pairwise(acknowledged) if after > since]


def longest(acknowledged: Sequence[float], since: float) -> float:
    """The longest time between two acknowledgements of which the second came after that time."""
    return max(after - before for before, after in pauses_in(acknowledged, since))


def measure(times: int, say: Callable[[str], None]) -> Part:
    """All of it, so many times each."""
    with ExitStack() as held:
        faults = Faults(Standing(held))
        found = {}
        for what, fault in faults.all().items():
            found[what] = []
            for number in range(times):
                say(f"{what}, {number + 1} of {times}")
                found[what].append(faults.pause(fault))
    return part_of(found)


class Faults:
    """What happens to a group; each returns what mends it."""

    def __init__(self, standing: Standing) -> None:
        self._standing = standing
        self._group = standing.group

    def all(self) -> dict[str, Callable[[], Callable[[], object]]]:
        """By the name in the report."""
        return {
            KILL: self._kill,
            KILL_NODE: self._kill_node,
            TERMINATE: self._terminate,
            HAND_OVER: self._hand_over,
        }

    def pause(self, fault: Callable[[], Callable[[], object]]) -> float:
        """Seconds for which nobody could write."""
        writer = Writer([server.port for server in self._group.servers])
        try:
            eventually(lambda: len(writer.acknowledged) > _BEFORE_S / PERIOD_S / 2)
            began = time.monotonic()
            mend = fault()
            eventually(lambda: writer.is_calm(began))
        finally:
            writer.stop()
        mend()
        self._standing.wait_for_all()
        return longest(writer.acknowledged, began)

    def _kill(self) -> Callable[[], object]:
        leader = self._group.leader()
        leader.kill()
        return leader.start

    def _kill_node(self) -> Callable[[], object]:
        self._standing.etcd.leader.kill()
        return self._standing.etcd.heal

    def _terminate(self) -> Callable[[], object]:
        leader = self._group.leader()
        leader.process.signal(signal.SIGTERM)

        def mend() -> None:
            leader.process.wait()
            leader.start()

        return mend

    def _hand_over(self) -> Callable[[], object]:
        leader = self._group.leader()
        _ask_to_hand_over(leader)
        return lambda: None


def _ask_to_hand_over(leader: GroupServer) -> None:
    with leader.client() as client, contextlib.suppress(redis.ConnectionError):
        client.execute_command("FAILOVER")


def part_of(found: Mapping[str, Sequence[float]]) -> Part:
    """Of seconds, by what happened."""
    part = Part("For how long nobody can write", raw={"pauses_s": found})
    rows = []
    for what, pauses in found.items():
        asked, asked_of_most = ASKED_S[what]
        part.figures.append(Figure(f"writes again after {what}", pauses, "s", asked))
        if asked_of_most is not None:
            part.figures.append(Figure(f"writes again after {what}", pauses, "s", asked_of_most, by=MOST))
        rows.append([what, *(f"{each:.2f} s" for each in (median(pauses), min(pauses), max(pauses))), str(len(pauses))])
    columns = ["after", "median", "least", "most", "times"]
    part.tables = [Table("The longest time between two acknowledgements", columns, rows)]
    part.said = [
        f"One client, that writes every {PERIOD_S * 1e3:g} ms at whoever leads, and asks the next server when its own "
        "is gone or says that it follows. Servers have the default lease of 2000 ms; all are there before the next."
    ]
    return part
