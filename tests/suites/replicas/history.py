"""What a shared log had at each position first, and what anybody was told of it: by an acknowledgement, or a read.

What must hold is a `Violation` otherwise:

- at a position one entry is acknowledged, and it is the one that the log had there first;
- what a node has is what the log had, whatever was lost with a crash or fetched from another node;
- a read tells of every write that was acknowledged, or read, before it was asked for.

A frame's operations are a few bytes that only it has. So a state is a position of the log, and its checksum says
whether it is the right one.
"""

from __future__ import annotations

from kvstore.base.shared_log import NOTHING, Appended, Entry, Standing, decode
from kvstore.testing.simulated_shared_log import SimulatedSharedLog


class Violation(AssertionError):
    """Something does not hold that must."""


class History:
    """See the module. `reads`: how many were answered."""

    def __init__(self, log: SimulatedSharedLog) -> None:
        self.reads = 0
        self.entries: list[Entry] = []
        self._data: list[bytes] = []
        self._last_write = [0]
        #: The position of the newest write that anybody was told of, by an acknowledgement or a read.
        self.acknowledged = 0
        #: How many entries were acknowledged.
        self.told_of = 0
        self._told: dict[int, tuple[str, bytes]] = {}
        append = log.append

        def observed(position: int, data: bytes) -> Appended:
            outcome = append(position, data)
            if outcome is Appended.THERE and position == len(self._data) + 1:
                self._append(position, data)
            return outcome

        log.append = observed  # type: ignore[method-assign]

    def _append(self, position: int, data: bytes) -> None:
        entry = decode(data)
        self._data.append(data)
        self.entries.append(entry)
        self._last_write.append(position if entry.body else self._last_write[-1])

    def checksum(self, position: int) -> str:
        """Of the log up to there."""
        return self.entries[position - 1].checksum if position else NOTHING.checksum

    def last_write(self, position: int) -> int:
        """The newest write up to there."""
        return self._last_write[position]

    def told(self, node: str, position: int, data: bytes) -> None:
        """A node has acknowledged an entry."""
        if self._data[position - 1 : position] != [data]:
            raise Violation(f"{node} acknowledged at {position} what the log does not have")
        other, there = self._told.setdefault(position, (node, data))
        if other != node or there != data:
            raise Violation(f"{node} and {other} acknowledged at {position}")
        self.acknowledged = max(self.acknowledged, self.last_write(position))
        self.told_of += 1

    def answered(self, node: str, floor: int, position: int) -> None:
        """A read has told of all up to `position`; `floor`: the newest write told of when it was asked for."""
        self.reads += 1
        if position >= len(self._last_write):
            raise Violation(f"{node} read {position}, which the log does not have")
        seen = self.last_write(position)
        if seen < floor:
            raise Violation(f"{node} read up to {seen}, and {floor} had been told of before")
        self.acknowledged = max(self.acknowledged, seen)

    def check_position(self, node: str, position: int) -> None:
        """A node is at a position that the log has had."""
        if position > len(self.entries):
            raise Violation(f"{node} is at {position}, and the log ended at {len(self.entries)}")

    def check(self, node: str, standing: Standing) -> None:
        """What a node has is what the log had."""
        self.check_position(node, standing.position)
        if standing.checksum != self.checksum(standing.position):
            raise Violation(f"{node} has another entry {standing.position} than the log had")
