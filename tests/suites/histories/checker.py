"""Is a history of concurrent operations linearizable? A small checker, after Wing and Gong, with Lowe's memoisation.

A history says of each operation when it was called, when it returned, and what. It is linearizable if every operation
can be given one moment between its call and its return such that, executed one after the other in the order of these
moments on a sequential **model**, all give the results that were seen. An operation whose outcome is unknown (the
connection broke) may have its moment at any time after its call, or never.

The search goes depth first: of the operations that may come next (called before any other that is left has returned),
each whose result fits the state is tried. What was tried once, a set of operations done and the state they led to, is
never tried again. Operations on keys that have nothing to do with each other are checked apart: a history is
linearizable if and only if the history of each group of keys is (P-compositionality: Horn and Kroening, 2015). Keys
that one operation touches together are one group.

The model is a table under some commands: see `model`. Time is no part of it, but for locks, which vanish at their
deadline: an operation that may have been done before that moment may find one, one that may have been after it may not.

It knows nothing of sockets or servers. Rejected: a general checker (Knossos, Porcupine), in another language, for what
takes a hundred lines.

Source: Wing and Gong, "Testing and verifying concurrent objects", 1993; Lowe, "Testing for linearizability", 2017.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from tests.suites.histories.model import execute, keys_of
from tests.suites.histories.typed_model import Lock

#: The result of an operation of which nothing came back.
UNKNOWN: Any = type("Unknown", (), {"__repr__": lambda _: "UNKNOWN"})()

#: The result of an operation, or of one inside a block, that was refused with an error: it must have changed nothing.
REFUSED: Any = type("Refused", (), {"__repr__": lambda _: "REFUSED"})()

#: A string, the elements of a list, or what `typed_model` has.
Value = Any
#: (key, value) pairs of the keys that are there, sorted by key.
State = tuple[tuple[bytes, Value], ...]


class Operation(NamedTuple):
    """One operation of a history.

    `client`: who. `called`, `returned`: times of one steady clock, in seconds; if `result` is UNKNOWN, `returned` is
    when the server was gone, and means something of locks alone.
    `words`: command, keys and arguments; `(b"EXEC", words, words, ...)` is a MULTI block; `(b"CAS", key, old, new)` is
    WATCH, a GET that gave `old`, MULTI, SET, EXEC. `result`: what came back, as `execute` gives it.
    """

    client: str
    called: float
    returned: float
    words: tuple[Any, ...]
    result: Any

    def keys(self) -> set[bytes]:
        """The keys it touches."""
        return set(keys_of(self.words))

    def __str__(self) -> str:
        when = f"{self.called}..{'?' if self.result is UNKNOWN else self.returned}"
        return f"{self.client} [{when}] {self.words} -> {self.result!r}"


class NotLinearizable(AssertionError):
    """The history has no order that explains it. The text shows the part that cannot be explained."""


def steps(state: State, operation: Operation) -> Iterator[State]:
    """The states after `operation`; none if it cannot have given its result in `state`."""
    words, seen = operation.words, operation.result
    if seen is REFUSED or (words[0] == b"CAS" and seen is None):
        yield state  # CAS: somebody touched the key, which may have left its value as it was
        return
    if words[0] == b"EXEC" and isinstance(seen, list):
        if len(seen) != len(words) - 1:
            return
        words = (b"EXEC", *(inner for inner, one in zip(words[1:], seen, strict=True) if one is not REFUSED))
        seen = [one for one in seen if one is not REFUSED]
    for table in _tables(state, operation):
        result = execute(table, words)
        if seen is UNKNOWN or result == seen:
            yield tuple(sorted(_timed(table, operation).items()))


def _tables(state: State, operation: Operation) -> Iterator[dict[bytes, Value]]:
    """What the operation may find: with a lock, and without it, as its time allows."""
    table = dict(state)
    lock = table.get(operation.words[1])
    if not isinstance(lock, Lock):
        yield table
        return
    if operation.called <= lock.latest:
        yield dict(table)
    if operation.returned >= lock.earliest:
        del table[operation.words[1]]
        yield table


def _timed(table: dict[bytes, Value], operation: Operation) -> dict[bytes, Value]:
    """The table with the times between which a lock ends that the operation has set."""
    lock = table.get(operation.words[1])
    if isinstance(lock, Lock) and lock.ms:
        earliest, latest = operation.called + lock.ms / 1000, operation.returned + lock.ms / 1000
        table[operation.words[1]] = Lock(lock.token, 0, earliest - _CLOCKS_S, latest + _CLOCKS_S)
    return table


#: By how much the clients' clock and the server's, which counts milliseconds, may differ within a lock's life.
_CLOCKS_S = 0.003


def check(history: Iterable[Operation], state: State = ()) -> int:
    """Check a whole history that began in `state`. Returns the number of groups of keys. Raises NotLinearizable."""
    groups = list(_groups(history))
    for operations, keys in groups:
        _check_group(operations, tuple(pair for pair in state if pair[0] in keys))
    return len(groups)


def _groups(history: Iterable[Operation]) -> Iterator[tuple[list[Operation], set[bytes]]]:
    """The operations by groups of keys that no operation connects."""
    groups: list[tuple[list[Operation], set[bytes]]] = []
    for operation in history:
        operations, keys = [operation], operation.keys()
        apart = []
        for group in groups:
            if group[1] & keys:
                operations, keys = group[0] + operations, group[1] | keys
            else:
                apart.append(group)
        groups = [*apart, (operations, keys)]
    yield from groups


def _check_group(operations: list[Operation], state: State) -> None:
    """Find an order. What must be done is `known`, sorted by call; `maybe` is what may be done.

    A node of the search: known operations up to `base` are done, and those that `mask` has a bit for, counted from
    `base`; those of `maybe` that `extra` has a bit for; `state` is what this led to.
    """
    by_call = sorted(operations, key=lambda operation: operation.called)
    known = [operation for operation in by_call if operation.result is not UNKNOWN]
    maybe = [operation for operation in by_call if operation.result is UNKNOWN]
    stack = [(0, 0, 0, state)]
    seen = set(stack)
    best = stack[0]
    while stack:
        node = base, mask, extra, state = stack.pop()
        if base == len(known):
            return
        if base + mask.bit_count() >= best[0] + best[1].bit_count():
            best = node
        nexts, deadline = _candidates(known, base, mask)
        following = []
        for number, operation in enumerate(maybe):
            if operation.called <= deadline and not extra >> number & 1:
                following += [
                    (base, mask, extra | 1 << number, after) for after in steps(state, operation) if after != state
                ]
        for index in reversed(nexts):
            following += [(*_done(base, mask, index), extra, after) for after in steps(state, known[index])]
        for node in following:
            if node not in seen:
                seen.add(node)
                stack.append(node)
    raise NotLinearizable(_explanation(known, maybe, best))


def _candidates(known: list[Operation], base: int, mask: int) -> tuple[list[int], float]:
    """Which may come next: the rest that were called before any of the rest returned. And when the first returned."""
    nexts: list[int] = []
    deadline = math.inf
    for index in range(base, len(known)):
        if mask >> (index - base) & 1:
            continue
        if known[index].called > deadline:
            break
        nexts.append(index)
        deadline = min(deadline, known[index].returned)
    return nexts, deadline


def _done(base: int, mask: int, index: int) -> tuple[int, int]:
    """`base` and `mask` once operation `index` is done too."""
    mask |= 1 << (index - base)
    while mask & 1:
        base += 1
        mask >>= 1
    return base, mask


def _explanation(known: list[Operation], maybe: list[Operation], best: tuple[int, int, int, State]) -> str:
    base, mask, extra, state = best
    nexts, deadline = _candidates(known, base, mask)
    unknown = [each for number, each in enumerate(maybe) if each.called <= deadline and not extra >> number & 1]
    lines = [
        f"no order explains these results; {base + mask.bit_count()} of {len(known)} operations can be put in order"
    ]
    lines.append(f"which may end in {dict(state)}; then none of these fits:")
    lines += [f"  {known[index]}" for index in nexts[:20]]
    lines += [f"  {operation} (may have been done)" for operation in unknown[:10]]
    lines += ["just before:", *(f"  {operation}" for operation in known[max(0, base - 8) : base])]
    return "\n".join(lines)
