"""Lists: elements in order, taken and put at both ends; and clients that wait for some.

What a list is, and its operations, is told in `kvstore.values.lists`. Every command finds out first what there is to
change, then changes it by operations that say just that: `LPOP key count` of as many elements as there are.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence

from kvstore.base.errors import NO_SUCH_KEY, Failure, InvalidRequest, syntax_error
from kvstore.base.reply import NULL_ARRAY, OK, Arrays, Numbers, Reply, Strings
from kvstore.base.slices import Slices
from kvstore.commands.arguments import at_least, negatable, pairs
from kvstore.commands.context import Call
from kvstore.commands.registry import (
    FAST,
    INT64_MAX,
    READ,
    WRITE,
    Integer,
    IntegerText,
    Key,
    command,
    many,
    to_integer,
)
from kvstore.commands.row import can_be_taken, numbered_keys
from kvstore.store.table import Table
from kvstore.values.lists import List

#: Elements that are read, or looked at, in one slice: some 0.2 ms.
_AT_ONCE = 4096
ENDS = (b"LEFT", b"RIGHT")
_NO_RANK = (
    "RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the"
    " end of the list"
)


# Putting in


@command("LPUSH", WRITE | FAST, group="list")
def lpush(call: Call, key: Key, element: bytes, *elements: bytes) -> Reply:
    """Put elements before the first of a list, one after the other; returns how many it then has."""
    return _push(call.table, key, b"LPUSH", (element, *elements))


@command("RPUSH", WRITE | FAST, group="list")
def rpush(call: Call, key: Key, element: bytes, *elements: bytes) -> Reply:
    """Put elements behind the last of a list; returns how many it then has."""
    return _push(call.table, key, b"RPUSH", (element, *elements))


@many("LPUSH")
def lpush_many(table: Table, columns: list[list[bytes]], raw: bytes | None) -> Numbers | None:
    """As many LPUSHes. Their bytes, as they came, are the operations that the log keeps."""
    return _push_each(table, b"LPUSH", columns, raw)


@many("RPUSH")
def rpush_many(table: Table, columns: list[list[bytes]], raw: bytes | None) -> Numbers | None:
    """As many RPUSHes."""
    return _push_each(table, b"RPUSH", columns, raw)


def _push_each(table: Table, name: bytes, columns: list[list[bytes]], raw: bytes | None) -> Numbers | None:
    """As many pushes of one element."""
    if len(columns) != 2 or raw is None:
        return None
    keys = columns[0]
    before = {key: len(table.values.get(key, ())) for key in set(keys)}
    if table.edit_each(keys, name, list(zip(columns[1], strict=True)), raw) is None:
        return None
    return Numbers(map(b"%d".__mod__, _counted_up(before, keys)))


def _counted_up(numbers: dict[bytes, int], keys: list[bytes]) -> Iterator[int]:
    """For each key its number, which is one more each time."""
    for key in keys:
        numbers[key] = number = numbers[key] + 1
        yield number


@command("LPUSHX", WRITE | FAST, group="list")
def lpushx(call: Call, key: Key, element: bytes, *elements: bytes) -> Reply:
    """Put elements before the first of a list that exists; returns how many it then has."""
    return 0 if call.table.typed(key, List) is None else lpush(call, key, element, *elements)


@command("RPUSHX", WRITE | FAST, group="list")
def rpushx(call: Call, key: Key, element: bytes, *elements: bytes) -> Reply:
    """Put elements behind the last of a list that exists; returns how many it then has."""
    return 0 if call.table.typed(key, List) is None else rpush(call, key, element, *elements)


def _push(table: Table, key: bytes, name: bytes, elements: Sequence[bytes]) -> int:
    value = table.typed(key, List)
    table.edit(key, name, elements)
    return len(elements) if value is None else len(value)


@command("LINSERT", WRITE, group="list")
def linsert(call: Call, key: Key, where: bytes, pivot: bytes, element: bytes) -> Reply:
    """Put an element BEFORE or AFTER the first that equals another; returns how many there are, -1 if none does."""
    where = one_of((b"BEFORE", b"AFTER"), where)
    value = call.table.typed(key, List)
    if value is None:
        return 0
    if not value.holds(pivot):
        return -1
    call.table.edit(key, b"LINSERT", (where, pivot, element))
    return len(value)


@command("LSET", WRITE, group="list")
def lset(call: Call, key: Key, index: IntegerText, element: bytes) -> Reply:
    """Put an element in place of the one at an index; -1 is the last."""
    value = call.table.typed(key, List)
    if value is None:
        raise Failure(NO_SUCH_KEY)
    place = _place(value, index)
    if place is None:
        raise Failure("index out of range")
    call.table.edit(key, b"LSET", (b"%d" % place, element))
    return OK


# Reading


@command("LLEN", READ | FAST, group="list")
def llen(call: Call, key: Key) -> Reply:
    """Count the elements of a list."""
    return len(call.table.look_up_typed(key, List) or ())


@command("LINDEX", READ, group="list")
def lindex(call: Call, key: Key, index: IntegerText) -> Reply:
    """Get the element at an index; -1 is the last."""
    value = call.table.look_up_typed(key, List)
    place = None if value is None else _place(value, index)
    return None if value is None or place is None else value.at(place)


def _place(value: List, index: bytes) -> int | None:
    """The index from the first on; None if there is no such element."""
    place = to_integer(index)
    if place < 0:
        place += len(value)
    return place if 0 <= place < len(value) else None


@command("LRANGE", READ, group="list")
def lrange(call: Call, key: Key, start: Integer, stop: Integer) -> Reply:
    """Get the elements from one index to another, both included; -1 is the last."""
    value = call.table.look_up_typed(key, List)
    if value is None:
        return []
    first, end = _span(value, start, stop)
    return Strings(value.range(first, end)) if end - first <= _AT_ONCE else _long_range(call.table, value, first, end)


@many("LRANGE")
def lrange_many(table: Table, columns: list[list[bytes]], raw: bytes | None) -> Arrays | None:
    """As many LRANGEs; none if a key holds what is no list, or ranges are long. Those alike are one."""
    values = table.look_up_each(columns[0], List) if len(columns) == 3 else None
    if values is None:
        return None
    asked, room = list(zip(*columns, strict=True)), 2 * _AT_ONCE
    ranges: dict[tuple[bytes, ...], Sequence[bytes]] = {}
    for value, words in zip(values, asked, strict=True):
        if words not in ranges:
            start, stop = to_integer(words[1]), to_integer(words[2])
            first, end = (0, 0) if value is None else _span(value, start, stop)
            room -= max(end - first, 0)
            if room < 0:
                return None
            ranges[words] = [] if value is None else value.range(first, end)
    return Arrays(map(ranges.__getitem__, asked))


def _span(value: List, start: int, stop: int) -> tuple[int, int]:
    """Where the elements from `start` to `stop` begin, and where they end, before which it is if there are none."""
    count = len(value)
    return max(start + count if start < 0 else start, 0), min(stop + count if stop < 0 else stop, count - 1) + 1


def _long_range(table: Table, value: List, first: int, end: int) -> Slices:
    """The elements that are there now."""
    yield from table.slicing.room()
    elements: list[bytes] = []
    yield from table.slicing.go_through(map(elements.extend, value.pieces(first, end)))
    return elements


@command("LPOS", READ, group="list", options="[RANK rank] [COUNT num-matches] [MAXLEN len]")
def lpos(call: Call, key: Key, element: bytes, *options: bytes) -> Reply:
    """Tell at which index, or at which COUNT indices, elements are that equal another."""
    rank, count, most = _lpos_options(options)
    value = call.table.look_up_typed(key, List)
    if value is None:
        return None if count is None else []
    search = _Search(element, rank, count, most)
    if len(value) > _AT_ONCE:
        return _long_search(call.table, value, search)
    deque(search.steps(value), maxlen=0)
    return search.reply()


class _Search:
    """A search for elements that equal `element`; see LPOS for the others. `count`: None without COUNT, 0 for all."""

    def __init__(self, element: bytes, rank: int, count: int | None, most: int) -> None:
        self._element, self._rank, self._count, self._most = element, rank, count, most
        #: Elements found that are passed over, and how many are to be found at most.
        self._skipped = abs(rank) - 1
        self._enough = INT64_MAX if count == 0 else self._skipped + (count or 1)
        self._found: list[int] = []

    def steps(self, value: List) -> Iterator[None]:
        """Look through a list; each step at some hundreds of elements."""
        look = value.indices if self._rank > 0 else value.indices_backwards
        for found in look(self._element, self._most or len(value)):
            self._found += found
            if len(self._found) >= self._enough:
                break
            yield

    def reply(self) -> Reply:
        """What was found."""
        found = self._found[self._skipped : self._enough]
        return found if self._count is not None else found[0] if found else None


def _long_search(table: Table, value: List, search: _Search) -> Slices:
    """Search what is there now."""
    yield from table.slicing.room()
    yield from table.slicing.go_through(search.steps(value.copy()))
    return search.reply()


def _lpos_options(options: tuple[bytes, ...]) -> tuple[int, int | None, int]:
    """RANK, COUNT, and MAXLEN, 0 without it."""
    rank, count, most = 1, None, 0
    for name, text in pairs(options):
        if name == b"RANK":
            rank = negatable(to_integer(text))
            if not rank:
                raise InvalidRequest(_NO_RANK)
        elif name == b"COUNT":
            count = at_least(0, text, "COUNT can't be negative")
        elif name == b"MAXLEN":
            most = at_least(0, text, "MAXLEN can't be negative")
        else:
            raise syntax_error()
    return rank, count, most


# Taking out


@command("LPOP", WRITE | FAST, group="list")
def lpop(call: Call, key: Key, count: IntegerText | None = None) -> Reply:
    """Take the first element, or some, out of a list."""
    return _pop(call.table, key, b"LEFT", count)


@command("RPOP", WRITE | FAST, group="list")
def rpop(call: Call, key: Key, count: IntegerText | None = None) -> Reply:
    """Take the last element, or some from there on, out of a list."""
    return _pop(call.table, key, b"RIGHT", count)


@many("LPOP")
def lpop_many(table: Table, columns: list[list[bytes]], raw: bytes | None) -> list[bytes] | None:
    """As many LPOPs of one element; none if there are not as many elements, or they are long."""
    return pop_each(table, columns[0], b"LEFT") if len(columns) == 1 else None


@many("RPOP")
def rpop_many(table: Table, columns: list[list[bytes]], raw: bytes | None) -> list[bytes] | None:
    """As many RPOPs of one element; none if there are not as many elements, or they are long."""
    return pop_each(table, columns[0], b"RIGHT") if len(columns) == 1 else None


def pop_each(table: Table, keys: list[bytes], end: bytes) -> list[bytes] | None:
    """Take an element for each key from that end of its list; none if there are not as many, or they are long."""
    taken: dict[bytes, Iterator[bytes]] = {}
    counts = Counter(keys)
    for key, count in counts.items():
        value = table.values.get(key)
        if value.__class__ is not List or len(value) < count:
            return None
        elements = value.range(0, count) if end == b"LEFT" else value.range(len(value) - count, len(value))[::-1]
        if not can_be_taken(elements):
            return None
        taken[key] = iter(elements)
    if table.edit_each(list(counts), _POP[end], [(b"%d" % count,) for count in counts.values()]) is None:
        return None
    return [next(taken[key]) for key in keys]


def _pop(table: Table, key: bytes, end: bytes, count: bytes | None) -> Reply:
    number = 1 if count is None else at_least(0, count, "value is out of range, must be positive")
    value = table.typed(key, List)
    if value is None:
        return None if count is None else NULL_ARRAY
    elements = _take(table, key, value, end, number)
    return elements[0] if count is None else elements


def _take(table: Table, key: bytes, value: List, end: bytes, count: int) -> list[bytes]:
    """Take up to `count` elements from an end of the list at `key`, from that end on."""
    count = min(count, len(value))
    if not count:
        return []
    if count == 1:
        elements = [value.at(0 if end == b"LEFT" else len(value) - 1)]
    elif end == b"LEFT":
        elements = list(value.range(0, count))
    else:
        elements = list(reversed(value.range(len(value) - count, len(value))))
    table.edit(key, _POP[end], (b"%d" % count,))
    return elements


@command("LREM", WRITE, group="list")
def lrem(call: Call, key: Key, count: Integer, element: bytes) -> Reply:
    """Remove elements that equal another: the first count, the last below 0, all if it is 0; returns how many."""
    negatable(count)
    value = call.table.typed(key, List)
    if value is None or not value.holds(element):
        return 0
    before = len(value)
    call.table.edit(key, b"LREM", (b"%d" % count, element))
    return before - len(value)


@command("LTRIM", WRITE, group="list")
def ltrim(call: Call, key: Key, start: Integer, stop: Integer) -> Reply:
    """Remove all elements but those from one index to another, both included."""
    value = call.table.typed(key, List)
    if value is None:
        return OK
    first, end = _span(value, start, stop)
    if first < end:
        call.table.edit(key, b"LTRIM", (b"%d" % first, b"%d" % (end - 1)))
    else:
        call.table.delete(key, b"ltrim")
    return OK


@command("LMPOP", WRITE, group="list", keys=numbered_keys(1), options="... LEFT|RIGHT [COUNT count]")
def lmpop(call: Call, numkeys: IntegerText, key: Key, where: bytes, *more: bytes) -> Reply:
    """Take elements out of the first list that exists; returns its key, and them."""
    keys, end, count = mpop_arguments(numkeys, (key, where, *more))
    return pop_first(call.table, keys, end, count) or NULL_ARRAY


def mpop_arguments(
    numkeys: bytes, arguments: tuple[bytes, ...], ends: Sequence[bytes] = ENDS
) -> tuple[tuple[bytes, ...], bytes, int]:
    """The keys, the end and the count of an LMPOP, or of a ZMPOP with its own `ends`."""
    number = at_least(1, numkeys, "numkeys should be greater than 0")
    if number >= len(arguments):
        raise syntax_error()
    end, count = one_of(ends, arguments[number]), None
    for name, text in pairs(arguments[number + 1 :]):
        if name != b"COUNT" or count is not None:
            raise syntax_error()
        count = at_least(1, text, "count should be greater than 0")
    return arguments[:number], end, 1 if count is None else count


def pop_first(table: Table, keys: Sequence[bytes], end: bytes, count: int) -> list[Reply] | None:
    """The first key with a list, and elements taken from it; None if there is no list."""
    for key in keys:
        value = table.typed(key, List)
        if value is not None:
            return [key, _take(table, key, value, end, count)]
    return None


# From one list to another


@command("LMOVE", WRITE, group="list")
def lmove(call: Call, source: Key, destination: Key, wherefrom: bytes, whereto: bytes) -> Reply:
    """Take an element from an end of a list, and put it at an end of another; returns it."""
    return move(call.table, source, destination, one_of(ENDS, wherefrom), one_of(ENDS, whereto))


@command("RPOPLPUSH", WRITE, group="list")
def rpoplpush(call: Call, source: Key, destination: Key) -> Reply:
    """Take the last element of a list, and put it before the first of another; returns it."""
    return move(call.table, source, destination, b"RIGHT", b"LEFT")


def move(table: Table, source: bytes, destination: bytes, wherefrom: bytes, whereto: bytes) -> bytes | None:
    """Take an element from an end of a list, and put it at an end of another; returns it, None without a list."""
    value = table.typed(source, List)
    if value is None:
        return None
    table.typed(destination, List)
    element = value.at(0 if wherefrom == b"LEFT" else len(value) - 1)
    # Put first, so that a list of one element that moves within it keeps its deadline. At one end of one list it is
    # the same: what is put there is taken.
    table.edit(destination, _PUSH[whereto], (element,))
    table.edit(source, _POP[wherefrom], (b"1",))
    return element


# Arguments


_POP = {b"LEFT": b"LPOP", b"RIGHT": b"RPOP"}
_PUSH = {b"LEFT": b"LPUSH", b"RIGHT": b"RPUSH"}


def one_of(names: Sequence[bytes], word: bytes) -> bytes:
    """The word in upper case. Raises InvalidRequest if it is none of the names."""
    name = word.upper()
    if name not in names:
        raise syntax_error()
    return name
