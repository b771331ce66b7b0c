"""What the log has: of which state each of its positions is, and what nodes and clients of followers show of that.

What must hold is a `Violation` otherwise:

- a node's databases are those that the log's entries make up to its position;
- a read at a follower is of one position, of all keys, and never of an older one than the read before it on the
  connection; a key is left out if its deadline has passed at the time of that position.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kvstore.base.shared_log import decode
from kvstore.store.operations import decode as decode_operations
from kvstore.store.state import Databases, State
from kvstore.testing.simulated_shared_log import SimulatedSharedLog
from kvstore.values import TYPES
from tests.suites.replicas.history import History, Violation

#: A key's encoded operations, in order, by which values of any type are compared.
Rendered = dict[bytes, bytes]


class Truth(History):
    """See the module. By position: `strings`, as a read shows them; `rendered`: all keys.

    Of database 0 alone, which is all that clients here write to.
    """

    def __init__(self, log: SimulatedSharedLog) -> None:
        super().__init__(log)
        self._databases = Databases(TYPES)
        self.strings: list[dict[bytes, bytes]] = [{}]
        self.rendered: list[Rendered] = [{}]

    def _append(self, position: int, data: bytes) -> None:
        super()._append(position, data)
        entry = decode(data)
        operations = decode_operations(entry.body)
        self._databases.apply(operations)
        state = self._databases.at(0)
        all_of_it = dict(self.rendered[-1])
        for key in {operation[1] for operation in operations}:
            all_of_it.pop(key, None)
            if key in state.values:
                all_of_it[key] = b"".join(state.whole(key))
        self.rendered.append(all_of_it)
        self.strings.append(
            {
                key: value
                for key, value in state.values.items()
                if isinstance(value, bytes) and state.deadlines.get(key, entry.time_us) > entry.time_us // 1000
            }
        )

    def check_state(self, node: str, position: int, state: State) -> None:
        """A node has the state of that position."""
        self.check_position(node, position)
        there, here = self.rendered[position], {key: b"".join(state.whole(key)) for key in state.values}
        if there != here:
            keys = sorted(key for key in {*there, *here} if there.get(key) != here.get(key))
            differences = ", ".join(f"{key!r} is {here.get(key)!r}, not {there.get(key)!r}" for key in keys)
            raise Violation(f"{node} at {position} differs: {differences}")


class View:
    """What one connection to a follower has been shown. `position`: the oldest that explains all of it."""

    def __init__(self, truth: Truth, name: str) -> None:
        self._truth = truth
        self._name = name
        self.position = 0

    def shown(self, keys: Sequence[bytes], values: Sequence[Any]) -> None:
        """It was shown these at one time."""
        states, seen = self._truth.strings, dict(zip(keys, values, strict=True))
        for position in range(self.position, len(states)):
            if all(states[position].get(key) == value for key, value in seen.items()):
                self.position = position
                return
        raise Violation(
            f"no position from {self.position} on explains what {self._name} was shown: {seen}; from there on it is"
            f" {states[self.position :]}"
        )
