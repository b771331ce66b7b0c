"""The oracle of the crash tests: what a crash at any moment of a recorded run may leave.

It notes, by the disk's count of changes, which commits had been promised and which had been asked for. So the check is
exact: the state that recovery finds is the model's state after some commit that was asked for by then, and not before
the last that was promised; it is whole commits in their order, and nothing else.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from kvstore.store.store import Store
from tests.suites.crashes.model import Content, content, difference, numbered


class Violation(AssertionError):
    """A promise was broken; the text says how to see it again."""


class History:
    """Which commits were asked for and promised when, and the state after each.

    Times are numbers of changes of the disk. A crash at moment `k` follows the change number `k`.
    """

    def __init__(self, sequence: int = 0, state: Content | None = None) -> None:
        self._promised = [(-1, sequence)]
        self._asked = [(-1, sequence)]
        self._states: dict[int, list[tuple[int, Content]]] = {sequence: [(-1, state or {})]}

    def ask(self, changes: int, sequence: int, state: Content) -> None:
        """Commit `sequence`, which leads to `state`, is about to be written."""
        self._asked.append((changes, sequence))
        self._states.setdefault(sequence, []).append((changes, state))

    def promise(self, changes: int, sequence: int) -> None:
        """The store said that commits up to `sequence` are on disk."""
        if sequence != self._promised[-1][1]:
            self._promised.append((changes, sequence))

    def restart(self, changes: int, sequence: int) -> None:
        """A recovery ended: commits after `sequence` are gone, those up to it are on disk."""
        self._asked.append((changes - 1, sequence))
        self.promise(changes, sequence)

    def fork(self, changes: int) -> History:
        """What a disk left at a moment may hold, as the past of a history of its own, which begins at 0 changes."""
        promised, asked = self.bounds(changes)
        past = History(promised, self.state(changes, promised))
        for sequence in range(promised + 1, asked + 1):
            past.ask(-1, sequence, self.state(changes, sequence))
        return past

    def narrow(self, sequence: int) -> None:
        """What the disk held at the beginning was this commit, and neither more nor less."""
        self._promised[0] = (-1, sequence)
        self._asked = [(-1, sequence)] + [entry for entry in self._asked if entry[0] >= 0]

    def bounds(self, changes: int) -> tuple[int, int]:
        """The last commit promised, and the last asked for, at a moment."""
        promised = self._promised[bisect_right(self._promised, (changes, 1 << 62)) - 1][1]
        return promised, self._asked[bisect_left(self._asked, (changes, -1)) - 1][1]

    def state(self, changes: int, sequence: int) -> Content:
        """The state after a commit, as it was asked for last before a moment."""
        versions = [state for at, state in self._states[sequence] if at < changes]
        return versions[-1]


def checked(store: Store, history: History, changes: int, where: str) -> Content:
    """The state that a store recovered, or Violation if it is none that a crash at that moment may leave."""
    promised, asked = history.bounds(changes)
    found = store.durable_sequence
    if not promised <= found <= asked:
        raise Violation(f"{where}: commits up to {promised} were promised, up to {asked} asked for, {found} came back")
    expected = history.state(changes, found)
    try:
        state = content(numbered(store))
    except AssertionError as error:
        raise Violation(f"{where}: after commit {found}: {error}") from error
    if state != expected:
        raise Violation(f"{where}: the state is not the one after commit {found}: {difference(state, expected)}")
    return state
