"""For each type of values a strategy of its operations, for the tests that every type passes by its table row.

`STRATEGIES` has one entry for each: a function of a value (an empty one too) that returns a strategy for an edit which
a command could make of it, its name and words. They should find every way that the type has to keep its elements, and
put all kinds of edits behind each other; elements few and short, so that they meet.

`BAG` is a type of the tests' own, as small as one can be that has all that a row can have: elements with counts, in
order, and deadlines of elements.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeAlias

from hypothesis import strategies as st

from kvstore.base.value_type import Edit, Inner, Types, Undo, ValueType, Words
from kvstore.values import TYPES
from kvstore.values.groups import claim_edit
from kvstore.values.stream_blocks import id_of, text_of
from kvstore.values.streams import setting

#: An edit: its name and its words.
Made: TypeAlias = tuple[bytes, list[bytes]]
Strategy: TypeAlias = Callable[[Any], st.SearchStrategy[Made]]

#: Deadlines far from now, few enough to be equal at times.
deadlines_ms = st.integers(4_000_000_000_000, 4_000_000_000_009)


class Bag:
    """Elements with counts, in order of their coming, and the deadlines of some of them."""

    def __init__(self) -> None:
        self.counts: dict[bytes, int] = {}
        self.deadlines: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self.counts)

    def size_bytes(self) -> int:
        """See `TypedValue`."""
        return 30 * len(self.counts)

    def parts(self) -> tuple[dict[Any, Any] | list[Any] | bytes, ...]:
        """See `TypedValue`."""
        return self.counts, self.deadlines


def remembered(bag: Bag) -> Undo:
    """What makes a bag again what it is now: of all of it, since bags are small."""
    counts, deadlines = dict(bag.counts), dict(bag.deadlines)

    def undo() -> None:
        for now, before in ((bag.counts, counts), (bag.deadlines, deadlines)):
            now.clear()
            now.update(before)

    return undo


def put(bag: Bag, words: Words) -> Undo:
    """BAGPUT key element count [element count ...]: there are so many of each."""
    pairs = dict(zip(words[::2], map(int, words[1::2]), strict=True))
    undo = remembered(bag)
    bag.counts.update(pairs)
    return undo


def take(bag: Bag, words: Words) -> Undo:
    """BAGTAKE key element [element ...]: there are none of them."""
    undo = remembered(bag)
    for element in words:
        bag.counts.pop(element, None)
        bag.deadlines.pop(element, None)
    return undo


def expire(bag: Bag, words: Words) -> Undo:
    """BAGEXPIREAT key ms element [element ...]: these, which are there, have this deadline."""
    undo, deadline_ms = remembered(bag), int(words[0])
    for element in words[1:]:
        bag.deadlines[element] = deadline_ms
    return undo


def copy(bag: Bag) -> Bag:
    """Another one with the same elements."""
    other = Bag()
    other.counts, other.deadlines = dict(bag.counts), dict(bag.deadlines)
    return other


def whole(bag: Bag) -> Iterator[tuple[bytes, Words]]:
    """Three elements at a time, then the deadlines."""
    pairs = iter(bag.counts.items())
    while some := list(islice(pairs, 3)):
        yield b"BAGPUT", [word for element, count in some for word in (element, b"%d" % count)]
    for element in bag.counts:
        if element in bag.deadlines:
            yield b"BAGEXPIREAT", [b"%d" % bag.deadlines[element], element]


def expired(bag: Bag, now_ms: int, limit: int) -> tuple[bytes, Words] | None:
    """See `Inner`."""
    gone = [element for element, deadline_ms in bag.deadlines.items() if deadline_ms <= now_ms][:limit]
    return (b"BAGTAKE", gone) if gone else None


BAG = ValueType(
    "bag", Bag, (Edit(b"BAGPUT", put), Edit(b"BAGTAKE", take), Edit(b"BAGEXPIREAT", expire)), copy, whole,
    inner=Inner(lambda bag: min(bag.deadlines.values(), default=None), expired),
)  # fmt: skip

#: Every type that there is, and the bag.
TYPES_AND_BAG = Types(TYPES.plain, (*TYPES.others, BAG))

_elements = st.sampled_from([b"", b"a", b"b", b"\r\n", b"\xff", b"long" * 40])


def bag_edits(bag: Bag) -> st.SearchStrategy[Made]:
    """Edits of a bag."""
    pairs = st.lists(st.tuples(_elements, st.integers(1, 12)), min_size=1, max_size=5)
    there = st.lists(st.sampled_from(sorted(bag.counts)), min_size=1, max_size=3) if bag.counts else st.nothing()
    return st.one_of(
        pairs.map(lambda made: (b"BAGPUT", [word for element, count in made for word in (element, b"%d" % count)])),
        there.map(lambda elements: (b"BAGTAKE", elements)),
        st.builds(lambda ms, elements: (b"BAGEXPIREAT", [b"%d" % ms, *elements]), deadlines_ms, there),
    )


def list_edits(value: Any) -> st.SearchStrategy[Made]:
    """Edits of a list: few elements or hundreds, some longer than a block."""
    element = st.sampled_from([b"", b"abc", b"7", b"\xff\r\n", b"x" * 300, b"y" * 9000])
    pushed = st.one_of(
        st.lists(element, min_size=1, max_size=4),
        st.integers(100, 900).map(lambda count: [b"%d" % number for number in range(count)]),
    )
    push = st.tuples(st.sampled_from([b"RPUSH", b"LPUSH"]), pushed)
    if not value:
        return push
    last = len(value) - 1
    there = st.sampled_from([*value.range(0, min(last, 5) + 1), value.at(last)])
    index, count = st.integers(0, last).map(b"%d".__mod__), st.sampled_from([b"-2", b"-1", b"0", b"1", b"2"])
    return st.one_of(
        push,
        st.tuples(st.sampled_from([b"LPOP", b"RPOP"]), st.integers(1, last + 1).map(lambda number: [b"%d" % number])),
        st.builds(lambda *words: (b"LSET", list(words)), index, element),
        st.builds(lambda *words: (b"LINSERT", list(words)), st.sampled_from([b"BEFORE", b"AFTER"]), there, element),
        st.builds(lambda *words: (b"LREM", list(words)), count, there),
        st.tuples(st.integers(0, last), st.integers(0, last)).map(
            lambda ends: (b"LTRIM", [b"%d" % min(ends), b"%d" % max(ends)])
        ),
    )


def hash_edits(value: Any) -> st.SearchStrategy[Made]:
    """Edits of a hash: few fields or hundreds, some names and values longer than what a bucket takes."""
    field = st.sampled_from([b"", b"abc", b"7", b"\xff\xfd\r\n", b"x" * 65, b"y" * 2000])
    pairs = st.one_of(
        st.lists(st.tuples(field, field), min_size=1, max_size=4),
        st.integers(100, 600).map(lambda count: [(b"%d" % number, b"v") for number in range(count)]),
    )
    set_ = pairs.map(lambda made: (b"HSET", [word for pair in made for word in pair]))
    if not value:
        return set_
    fields = [entry[0] for some in value.entries(0) for entry in some]
    there = st.lists(st.sampled_from(fields), min_size=1, max_size=3, unique=True)
    many = st.integers(1, len(fields)).map(lambda count: fields[:count])
    some = st.one_of(there, there, many)
    return st.one_of(
        set_,
        some.map(lambda gone: (b"HDEL", gone)),
        some.map(lambda kept: (b"HPERSIST", [b"FIELDS", b"%d" % len(kept), *kept])),
        st.builds(lambda ms, of: (b"HPEXPIREAT", [b"%d" % ms, b"FIELDS", b"%d" % len(of), *of]), deadlines_ms, some),
    )


def set_edits(value: Any) -> st.SearchStrategy[Made]:
    """Edits of a set: few members or hundreds, numbers alone or not, some longer than what a bucket takes."""
    number = st.sampled_from([b"0", b"7", b"-7", b"9223372036854775807"])
    other = st.sampled_from([b"", b"abc", b"9223372036854775808", b"\xff\xfd\r\n", b"x" * 65, b"y" * 2000])
    many = st.tuples(st.sampled_from([b"%d", b"m%d"]), st.integers(100, 600))
    members = st.one_of(
        st.lists(number, min_size=1, max_size=4),
        st.lists(st.one_of(number, other), min_size=1, max_size=4),
        many.map(lambda drawn: [drawn[0] % each for each in range(drawn[1])]),
    )
    add = members.map(lambda made: (b"SADD", made))
    if not value:
        return add
    there = list(value)
    some = st.one_of(
        st.lists(st.sampled_from(there), min_size=1, max_size=3, unique=True),
        st.integers(1, len(there)).map(lambda count: there[:count]),
        st.just([member for member in there if not member.isdigit()] or there),
    )
    return st.one_of(add, some.map(lambda gone: (b"SREM", gone)))


def sorted_set_edits(value: Any) -> st.SearchStrategy[Made]:
    """Edits of a sorted set: few members or hundreds, so many scores alike that names count."""
    member = st.sampled_from([b"", b"abc", b"7", b"\xff\xfd\r\n", b"x" * 65, b"y" * 2000])
    score = st.sampled_from([b"0", b"-0", b"1", b"-2.5", b"1e+100", b"inf", b"-inf", b"0.1"])
    pairs = st.one_of(
        st.lists(st.tuples(score, member), min_size=1, max_size=4),
        st.tuples(st.integers(100, 900), st.integers(1, 900)).map(
            lambda of: [(b"%d" % (number % of[1]), b"%d" % number) for number in range(of[0])]
        ),
    )
    add = pairs.map(lambda made: (b"ZADD", [word for pair in made for word in pair]))
    if not value:
        return add
    last = len(value) - 1
    here = st.one_of(st.sampled_from(value.members(0, 6)), st.sampled_from(value.members(max(0, last - 6), last + 1)))
    return st.one_of(
        add,
        st.lists(here, min_size=1, max_size=3, unique=True).map(lambda gone: (b"ZREM", gone)),
        st.integers(0, last).map(lambda start: (b"ZREM", value.members(start, last + 1))),
        st.tuples(st.integers(0, last), st.integers(0, last)).map(
            lambda ends: (b"ZREMRANGEBYRANK", [b"%d" % min(ends), b"%d" % max(ends)])
        ),
        st.integers(0, min(last, 3)).map(lambda end: (b"ZREMRANGEBYRANK", [b"0", b"%d" % end])),
    )


def stream_edits(value: Any) -> st.SearchStrategy[Made]:
    """Edits of a stream: few entries, some as long as a block; ids with long and short steps."""
    shape = st.sampled_from([[b"f"], [b"f"], [b"g"], [b"f", b"g"], [b"", b"\xff\r\n", b"f"]])
    inside = st.sampled_from([b"", b"1", b"x" * 300, b"y" * 1500, b"z" * 5000])
    words = shape.flatmap(lambda fields: st.tuples(*(st.tuples(st.just(field), inside) for field in fields)))
    later = st.sampled_from([1, 1, 1, 1 << 64, 300 << 64, (1 << 33) + (1 << 97)]).map(value.last_id.__add__)
    add = st.builds(
        lambda at, pairs: (b"XADD", [text_of(at), *(word for pair in pairs for word in pair)]), later, words
    )
    name, consumer = st.sampled_from([b"g", b"h\xff"]), st.sampled_from([b"c", b"", b"d"])
    there = [entry_id for block in value.blocks for entry_id in block.ids()]
    some_ids = st.lists(st.sampled_from([*there, 5, value.last_id]), min_size=1, max_size=3).map(
        lambda ids: list(map(text_of, ids))
    )
    setting_ = st.builds(
        lambda at, count, gone: (b"XSETID", setting(at, count, gone)),
        later, st.integers(0, 9), st.sampled_from([0, 3, value.last_id]),
    )  # fmt: skip
    trim = st.integers(0, len(value)).map(lambda count: (b"XTRIM", [b"MAXLEN", b"%d" % count]))
    made = [add, add, add, setting_, trim, some_ids.map(lambda ids: (b"XDEL", ids))]
    if len(value.groups) < 2:
        new = name.filter(lambda each: each not in value.groups)
        read = st.sampled_from([[b"0-0", b"ENTRIESREAD", b"-1"], [b"7-7", b"ENTRIESREAD", b"3"]])
        made.append(st.builds(lambda each, so_far: (b"XGROUP|CREATE", [each, *so_far]), new, read))
    for group_name, group in value.groups.items():
        claimed = st.tuples(consumer, some_ids, st.sampled_from([5, 6]), st.sampled_from([0, 1]))
        made += [
            st.just((b"XGROUP|DESTROY", [group_name])),
            st.just((b"XGROUP|SETID", [group_name, b"5-5", b"ENTRIESREAD", b"2"])),
            consumer.map(lambda each, of=group_name: (b"XGROUP|CREATECONSUMER", [of, each])),
            some_ids.map(lambda ids, of=group_name: (b"XACK", [of, *ids])),
            *[claimed.map(lambda how, of=group_name: claim_edit(of, how[0], list(map(id_of, how[1])), *how[2:]))] * 3,
        ]
        if group.consumers:
            known = st.sampled_from(sorted(group.consumers))
            made.append(known.map(lambda each, of=group_name: (b"XGROUP|DELCONSUMER", [of, each])))
    return st.one_of(made)


STRATEGIES: dict[str, Strategy] = {
    "bag": bag_edits, "hash": hash_edits, "list": list_edits, "set": set_edits, "stream": stream_edits,
    "zset": sorted_set_edits,
}  # fmt: skip


def edits(row: ValueType, value: Any) -> st.SearchStrategy[Made]:
    """Edits of that value of a type."""
    return STRATEGIES[row.name](value)


def words_of(made: Sequence[tuple[bytes, Words]]) -> list[tuple[bytes, list[bytes]]]:
    """Edits, comparable."""
    return [(name, list(words)) for name, words in made]
