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

The model here is a table of strings, fields of hashes, and lists as queues, under some commands, MULTI blocks of them,
and the document verbs: see `execute`.
It is written from the commands' documentation, not from this server's code, and shares none of it.

It knows nothing of sockets or servers. Rejected: a general checker (Knossos, Porcupine), in another language, for what
takes a hundred lines.

Source: Wing and Gong, "Testing and verifying concurrent objects", 1993; Lowe, "Testing for linearizability", 2017.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

#: The result of an operation of which nothing came back.
UNKNOWN: Any = type("Unknown", (), {"__repr__": lambda _: "UNKNOWN"})()

#: The result of an operation, or of one inside a block, that was refused with an error: it must have changed nothing.
REFUSED: Any = type("Refused", (), {"__repr__": lambda _: "REFUSED"})()

#: A string, or the elements of a list.
Value = bytes | tuple[bytes, ...]
#: (key, value) pairs of the keys that are there, sorted by key.
State = tuple[tuple[bytes, Value], ...]


class Operation(NamedTuple):
    """One operation of a history.

    `client`: who. `called`, `returned`: times of one steady clock; `returned` means nothing if `result` is UNKNOWN.
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
        return set(_keys(self.words))

    def __str__(self) -> str:
        when = f"{self.called}..{'?' if self.result is UNKNOWN else self.returned}"
        return f"{self.client} [{when}] {self.words} -> {self.result!r}"


class NotLinearizable(AssertionError):
    """The history has no order that explains it. The text shows the part that cannot be explained."""


_MOVES = (b"LMOVE", b"BLMOVE")
_OF_LISTS = (b"RPUSH", b"LPUSH", b"LPOP", b"RPOP", b"BLPOP", b"BRPOP", b"LRANGE", *_MOVES)


def _keys(words: Sequence[Any]) -> Iterator[bytes]:
    if words[0] == b"EXEC":
        for inner in words[1:]:
            yield from _keys(inner)
    elif words[0] in _OF_FIELDS:
        yield _register(words)
    elif words[0] == b"MGET":
        yield from words[1:]
    elif words[0] in _MOVES:
        yield from words[1:3]
    else:
        yield words[1]


#: Commands on one field of a hash. Each field is a register of its own: nothing here touches two of them.
_OF_FIELDS = (b"HSET", b"HSETNX", b"HGET", b"HDEL", b"HINCRBY")


def _register(words: Sequence[Any]) -> bytes:
    """The key under which the field has its value in the model's table."""
    return b"%b.%b" % (words[1], words[2])


def execute(table: dict[bytes, Any], words: Sequence[Any]) -> Any:
    """The model: do what `words` say to `table`, and return the result.

    A status is a str, a document or its absence a tuple `("success", text)`, `("failure",)`; the rest is as RESP has
    it. A CAS that was refused changes nothing and fits everywhere: its result is None, see `step`.
    """
    name = words[0]
    if name in _OF_FIELDS:
        return _execute_on_field(table, name, _register(words), *words[3:])
    if name == b"EXEC":
        return [execute(table, inner) for inner in words[1:]]
    if name == b"MGET":
        return [table.get(key) for key in words[1:]]
    if name in _OF_LISTS:
        return _execute_on_lists(table, name, *words[1:])
    key = words[1]
    old = table.get(key)
    if name == b"GET":
        return old
    if name == b"LOOKUP":
        return ("failure",) if old is None else ("success", old)
    if name in (b"DEL", b"REMOVE"):
        table.pop(key, None)
        return int(old is not None) if name == b"DEL" else ("failure",) if old is None else ("success",)
    if name == b"INCR":
        number = int(old or b"0") + 1
        table[key] = b"%d" % number
        return number
    if name == b"CAS":
        if old != words[2]:
            return None
        table[key] = words[3]
        return ["+OK"]
    if name == b"SET" and words[3:] == (b"NX",) and old is not None:
        return None
    if name not in (b"SET", b"GETSET", b"INSERT"):
        raise ValueError(f"the model has no {name!r}")
    table[key] = words[2]
    return old if name == b"GETSET" else ("success",) if name == b"INSERT" else "+OK"


def _execute_on_lists(table: dict[bytes, Any], name: bytes, key: bytes, *words: bytes) -> Any:
    """As `execute`. A blocking command that found nothing to take has seen an empty list at some moment."""
    if name == b"LRANGE":
        return list(table.get(key, ()))
    if name in (b"RPUSH", b"LPUSH"):
        return _put(table, key, name[:1], words[0])
    if name in _MOVES:
        destination, wherefrom, whereto = words
        element = _take(table, key, wherefrom[:1])
        if element is not None:
            _put(table, destination, whereto[:1], element)
        return element
    element = _take(table, key, name.lstrip(b"B")[:1])
    return [key, element] if element is not None and name[:1] == b"B" else element


def _put(table: dict[bytes, Any], key: bytes, end: bytes, element: bytes) -> int:
    """Put an element at an end, `L` or `R`; returns how many there are."""
    elements = table.get(key, ())
    table[key] = (*elements, element) if end == b"R" else (element, *elements)
    return len(table[key])


def _take(table: dict[bytes, Any], key: bytes, end: bytes) -> bytes | None:
    """Take an element from an end, `L` or `R`; None if there is none."""
    elements = table.pop(key, ())
    if len(elements) > 1:
        table[key] = elements[:-1] if end == b"R" else elements[1:]
    return None if not elements else elements[-1] if end == b"R" else elements[0]


def _execute_on_field(table: dict[bytes, Any], name: bytes, register: bytes, value: bytes = b"") -> Any:
    """As `execute`. HINCRBY is by 1."""
    old = table.get(register)
    if name == b"HGET":
        return old
    if name == b"HDEL":
        table.pop(register, None)
        return int(old is not None)
    if name == b"HINCRBY":
        number = int(old or b"0") + 1
        table[register] = b"%d" % number
        return number
    if name == b"HSET" or old is None:
        table[register] = value
    return int(old is None)


def step(state: State, operation: Operation) -> State | None:
    """The state after `operation`, or None if it cannot have given its result in `state`."""
    words, seen = operation.words, operation.result
    if seen is REFUSED or (words[0] == b"CAS" and seen is None):
        return state  # CAS: somebody touched the key, which may have left its value as it was
    if words[0] == b"EXEC" and isinstance(seen, list):
        if len(seen) != len(words) - 1:
            return None
        words = (b"EXEC", *(inner for inner, one in zip(words[1:], seen, strict=True) if one is not REFUSED))
        seen = [one for one in seen if one is not REFUSED]
    table = dict(state)
    result = execute(table, words)
    if seen is not UNKNOWN and result != seen:
        return None
    return tuple(sorted(table.items()))


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
                after = step(state, operation)
                if after is not None and after != state:
                    following.append((base, mask, extra | 1 << number, after))
        for index in reversed(nexts):
            after = step(state, known[index])
            if after is not None:
                following.append((*_done(base, mask, index), extra, after))
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
