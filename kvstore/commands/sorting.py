"""SORT and SORT_RO: the elements of a list, set or sorted set in an order, or what they lead to.

What they are sorted by is a number or, with ALPHA, text: of each element itself or, with BY, of what a pattern leads
to. In a pattern the first `*` stands for the element, `->` behind it for a field of the hash at the key so named. BY a
pattern without `*` sorts nothing. Texts and rules are Valkey's, which compares text with strcoll(3): up to the first
zero byte, unless the result is kept. The order of a set is nobody's, so one that is not to be sorted is sorted as text.

Many elements are sorted in slices: split at some of their own number, drawn by chance, into parts of which each is
sorted at once; and only those parts of which anything is asked for. With patterns, and with STORE, all is done at once:
what they lead to is that of one moment.

Rejected: parts of the same length that are sorted, then merged (three times as long in Python).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from itertools import islice
from operator import itemgetter
from typing import Any

from kvstore.base.chance import Chance
from kvstore.base.errors import Failure, syntax_error, wrong_type
from kvstore.base.reply import Reply
from kvstore.base.slices import Slices
from kvstore.base.slots import slot_of, slot_of_pattern
from kvstore.commands.arguments import Key, to_integer
from kvstore.commands.asked import READ_KEYS
from kvstore.commands.context import Call
from kvstore.commands.registry import READ, WHOLE, WRITE, command, table
from kvstore.commands.row import FoundKeys
from kvstore.commands.scores import is_plain_score, to_score
from kvstore.store.table import Table
from kvstore.values.hashes import Hash
from kvstore.values.lists import List
from kvstore.values.sets import Set
from kvstore.values.sorted_sets import SortedSet

_OPTIONS = "[BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC|DESC] [ALPHA]"
_NO_NUMBER = "One or more scores can't be converted into double"
_ITSELF = b"#"
#: Elements that are sorted at once: more of them in slices, some so many in each.
_AT_ONCE = 2000

#: What an element is sorted by, and the element.
_Entry = tuple[Any, bytes]
_KEY = itemgetter(0)


class _Asked:
    """What the options of a request ask for. `may_look`: whether patterns may lead to any key. `slot`: of a cluster,
    the one that they must stay in; None without. Raises RequestError.

    `by`: None to sort by the elements themselves. `gets`: patterns, none for the elements themselves. `sorts`: whether
    there is anything to sort by. `count`: below 0 for all.
    """

    def __init__(self, options: Sequence[bytes], slot: int | None, *, may_store: bool, may_look: bool) -> None:
        self.by: bytes | None = None
        self.gets: list[bytes] = []
        self.start, self.count = 0, -1
        self.descending = self.is_text = False
        self.destination: bytes | None = None
        left = deque(options)
        while left:
            self._take(left.popleft().upper(), left, may_store)
            if slot is not None:
                self._refuse_to_leave(slot)
            if not may_look:
                self._refuse_to_look()

    def _refuse_to_leave(self, slot: int) -> None:
        is_elsewhere = [each != _ITSELF and slot_of_pattern(each) != slot for each in self.gets]
        if any(is_elsewhere) or (self.by is not None and self.sorts and slot_of_pattern(self.by) != slot):
            raise Failure(
                f"{'GET' if any(is_elsewhere) else 'BY'} option of SORT denied in Cluster mode when keys formed by the"
                " pattern may be in different slots."
            )

    def _refuse_to_look(self) -> None:
        if self.gets or (self.by is not None and self.sorts):
            option = "GET" if self.gets else "BY"
            raise Failure(f"{option} option of SORT denied due to insufficient ACL permissions.")

    def _take(self, option: bytes, left: deque[bytes], may_store: bool) -> None:
        if option in (b"ASC", b"DESC"):
            self.descending = option == b"DESC"
        elif option == b"ALPHA":
            self.is_text = True
        elif option == b"LIMIT" and len(left) >= 2:
            self.start, self.count = to_integer(left.popleft()), to_integer(left.popleft())
        elif option == b"BY" and left:
            self.by = left.popleft()
        elif option == b"GET" and left:
            self.gets.append(left.popleft())
        elif option == b"STORE" and may_store and left:
            self.destination = left.popleft()
        else:
            raise syntax_error()

    def span(self, number: int) -> tuple[int, int]:
        """From which place on, and to before which, elements are asked for, of so many."""
        start = min(max(self.start, 0), number)
        return start, number if self.count < 0 else min(start + self.count, number)

    @property
    def sorts(self) -> bool:
        """See the class."""
        return self.by is None or b"*" in self.by

    @property
    def is_of_one_moment(self) -> bool:
        """Whether more than the elements themselves is looked at, or something is kept."""
        return self.by is not None or self.destination is not None or any(each != _ITSELF for each in self.gets)


def _keys_of_sort(request: list[bytes]) -> list[bytes]:
    """The key, and where the result is kept: as COMMAND GETKEYS has it, which skips what other options take."""
    skips = {b"LIMIT": 2, b"GET": 1, b"BY": 1}
    destination: list[bytes] = []
    words = iter(range(2, len(request)))
    for place in words:
        option = request[place].upper()
        if option == b"STORE" and place + 1 < len(request):
            destination = [request[place + 1]]
        deque(islice(words, skips.get(option, 0)), maxlen=0)
    return [*request[1:2], *destination]


@command(
    "SORT", WRITE, group="generic", keys=FoundKeys(_keys_of_sort, (1, 1, 1)),
    options=f"{_OPTIONS} [STORE destination]",
)  # fmt: skip
def sort(call: Call, key: Key, *options: bytes) -> Reply:
    """Give the elements of a list, set or sorted set in order, or what they lead to; or keep that as a list.

    Unlike Valkey, a set that is not to be sorted is sorted as text, and elements whose patterns lead to the same text
    keep their order with LIMIT, too.
    """
    may_look = _may_look(call, b"SORT", key, options)
    return _sort(call.table, key, _Asked(options, _slot(call, key), may_store=True, may_look=may_look))


@command(
    "SORT_RO", READ | WHOLE, group="generic", keys=FoundKeys(lambda request: request[1:2], (1, 1, 1)), options=_OPTIONS
)
def sort_ro(call: Call, key: Key, *options: bytes) -> Reply:
    """Give the elements of a list, set or sorted set in order, or what they lead to."""
    may_look = _may_look(call, b"SORT_RO", key, options)
    return _sort(call.table, key, _Asked(options, _slot(call, key), may_store=False, may_look=may_look))


def _slot(call: Call, key: bytes) -> int | None:
    return slot_of(key) if call.server.is_in_cluster else None


def _may_look(call: Call, name: bytes, key: bytes, options: Sequence[bytes]) -> bool:
    """Whether the client may have patterns lead to any key: what they lead to, nobody has looked at before."""
    client = call.client
    row, words = table.by_name[name], [name, key, *options]
    return client.rights is None or call.server.gate.may_with_all_keys(client, row, words, client.database, READ_KEYS)


def _sort(table: Table, key: bytes, asked: _Asked) -> Reply:
    value = table.look_up(key)
    if value is not None and value.__class__ not in (List, Set, SortedSet):
        raise wrong_type()
    work = _Work(table, asked, value)
    if work.number > _AT_ONCE and not asked.is_of_one_moment:
        return _in_slices(table, work)
    deque(work.steps(), maxlen=0)
    if asked.destination is None:
        return work.result()
    return _keep(table, asked.destination, [element or b"" for element in work.result()])


def _in_slices(table: Table, work: _Work) -> Slices:
    """Sort what is there now."""
    yield from table.slicing.room()
    yield from table.slicing.go_through(work.steps())
    return work.result()


def _keep(table: Table, destination: bytes, elements: list[bytes]) -> int:
    if elements:
        kept = List()
        kept.push_right(elements)
        table.put(destination, kept, None, b"sortstore")
    else:
        table.delete(destination)
    return len(elements)


class _Work:
    """Sorting `value`. `number`: how many elements it has."""

    def __init__(self, table: Table, asked: _Asked, value: Any) -> None:
        self._table = table
        self._asked = asked
        self._value = value
        self.number = 0 if value is None else len(value)
        self._found: list[bytes] = []

    def steps(self) -> Iterator[None]:
        """Find the elements that are asked for. Raises InvalidRequest for what is no number."""
        asked, value = self._asked, self._value
        start, stop = asked.span(self.number)
        if value is None:
            return
        if not asked.sorts and value.__class__ is not Set:
            self._found = _in_own_order(value, start, stop, asked.descending)
            return
        key_of = self._key_of()
        entries: list[_Entry] = []
        for some in _pieces(value):
            entries += [(key_of(element), element) for element in some]
            yield
        for ordered in _ordered(entries, start, stop, descending=asked.descending, chance=self._table.chance):
            self._found += [element for _, element in ordered]
            yield

    def result(self) -> list[bytes | None]:
        """The elements that were found, or what each leads to."""
        if not self._asked.gets:
            return list(self._found)
        paths = list(map(_Path, self._asked.gets))
        return [path.look_up(self._table, element) for element in self._found for path in paths]

    def _key_of(self) -> Callable[[bytes], Any]:
        """What tells by what an element is sorted; elements of which this is equal keep their order."""
        asked = self._asked
        if not asked.sorts or (asked.is_text and asked.by is None):
            return _whole if asked.destination is not None else _collated
        if asked.by is None:
            return lambda element: (_number(element), element)
        path, table = _Path(asked.by), self._table
        if not asked.is_text:
            return lambda element: (_number_or_0(path.look_up(table, element)), element)
        text_of = _whole if asked.destination is not None else _collated

        def key_of(element: bytes) -> tuple[bytes, ...]:
            found = path.look_up(table, element)
            return () if found is None else (text_of(found),)

        return key_of


class _Path:
    """Where a pattern leads to."""

    def __init__(self, pattern: bytes) -> None:
        self._is_itself = pattern == _ITSELF
        before, self._leads_on, behind = pattern.partition(b"*")
        name, arrow, field = behind.partition(b"->")
        self._field = field if arrow and field and not field.startswith(b"\0") else None
        self._before, self._behind = before, behind if self._field is None else name

    def look_up(self, table: Table, element: bytes) -> bytes | None:
        """What it leads to from an element; None if that is nothing, or neither a string nor a field."""
        if self._is_itself:
            return element
        if not self._leads_on:
            return None
        value = table.look_up(self._before + element + self._behind)
        if self._field is None:
            return value if value.__class__ is bytes else None
        return value.get(self._field, table.now_ms()) if value.__class__ is Hash else None


def _whole(text: bytes) -> bytes:
    return text


def _collated(text: bytes) -> bytes:
    return text.partition(b"\0")[0]


def _number(text: bytes) -> float:
    if is_plain_score(text):
        return float(text)
    return to_score(text.partition(b"\0")[0], _NO_NUMBER)


def _number_or_0(text: bytes | None) -> float:
    return 0.0 if text is None else _number(text)


def _pieces(value: List | Set | SortedSet) -> Iterable[Sequence[bytes]]:
    """The elements of a list, set or sorted set as they are now, some at a time."""
    if isinstance(value, List):
        return value.pieces(0, len(value))
    if isinstance(value, Set):
        return value.copy().members()
    members = value.members(0, len(value))
    return (members[place : place + _AT_ONCE] for place in range(0, len(members), _AT_ONCE))


def _in_own_order(value: List | SortedSet, start: int, stop: int, descending: bool) -> list[bytes]:
    """The elements of a list or a sorted set from one place to another; counted from the end if `descending`."""
    if start >= stop:
        return []
    if descending:
        start, stop = len(value) - stop, len(value) - start
    elements = list(value.range(start, stop) if isinstance(value, List) else value.members(start, stop))
    return elements[::-1] if descending else elements


def _ordered(
    entries: list[_Entry], start: int, stop: int, *, descending: bool, chance: Chance
) -> Iterator[list[_Entry]]:
    """The entries from one place to another of their order, some at a time; nothing of some steps."""
    if start >= stop:
        return
    parts = [entries]
    if len(entries) > _AT_ONCE:
        parts = yield from _split(entries, chance)
    place = 0
    for part in reversed(parts) if descending else parts:
        if start < place + len(part) and place < stop:
            part.sort(key=_KEY, reverse=descending)
            yield part[max(start - place, 0) : stop - place]
        place += len(part)


def _split(entries: list[_Entry], chance: Chance) -> Generator[list[_Entry], None, list[list[_Entry]]]:
    """Parts in order: all of one are before all of the next. Nothing comes of the steps."""
    bounds = sorted(key for key, _ in chance.sample(entries, 2 * len(entries) // _AT_ONCE))
    parts: list[list[_Entry]] = [[] for _ in range(len(bounds) + 1)]
    for place in range(0, len(entries), _AT_ONCE):
        for entry in entries[place : place + _AT_ONCE]:
            parts[bisect_left(bounds, entry[0])].append(entry)
        yield []
    return parts
