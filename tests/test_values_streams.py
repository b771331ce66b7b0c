"""Streams as values: blocks at their limits, ids of every size, what is pending in its order."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kvstore.values.groups import ById
from kvstore.values.stream_blocks import MAX_ENTRIES, MAX_ID, block_of, blocks_of, id_at, id_of, text_of
from kvstore.values.streams import STREAMS, Stream

_ids = st.lists(
    st.one_of(
        st.integers(0, 300).map(lambda ms: id_at(ms, 1)), st.integers(0, 300), st.integers(0, MAX_ID), st.just(MAX_ID)
    ),
    min_size=1, max_size=120, unique=True,
).map(sorted)  # fmt: skip


def filled(count: int, words: tuple[bytes, ...] = (b"f", b"v")) -> Stream:
    """A stream of so many entries, their ids 1-0, 2-0 and so on."""
    value = Stream()
    for number in range(1, count + 1):
        value.add(id_at(number, 0), words)
    return value


class BlockTests(SynchronousTestCase):
    """Entries, packed."""

    @settings(max_examples=80, database=None)
    @given(_ids, st.data())
    def test_any_ids(self, ids: list[int], data: st.DataObject) -> None:
        """Of any size and distance, are what they were: all, some, one behind the other, and without some."""
        fields = [data.draw(st.sampled_from([(b"f",), (b"f", b"g")])) for _ in range(3)]
        entries = [(each, [w for f in fields[each % 3] for w in (f, b"%d" % (each % 7))]) for each in ids]
        block = block_of(entries[:1])
        for entry in entries[1:]:
            block = block.plus(*entry)
        start = data.draw(st.integers(0, len(ids) - 1))
        stop = data.draw(st.integers(start + 1, len(ids)))
        for made in (block, block_of(entries)):
            self.assertEqual(made.entries(0, made.size), entries)
            self.assertEqual((made.first, made.last), (ids[0], ids[-1]))
            part = made.part(start, stop)
            self.assertEqual(part.entries(0, part.size), entries[start:stop])
            self.assertEqual(made.shown(start, stop), [[text_of(each), words] for each, words in entries[start:stop]])
            self.assertEqual([made.place(each) for each in ids], list(range(len(ids))))
            self.assertEqual(made.place(ids[-1] + 1), len(ids))
            rest = [entry for left in made.without([start]) for entry in left.entries(0, left.size)]
            self.assertEqual(rest, entries[:start] + entries[start + 1 :])

    def test_limits(self) -> None:
        """A hundred entries, or 4 KiB, whichever comes first; one that is longer has a block to itself."""
        self.assertEqual([block.size for block in filled(MAX_ENTRIES - 1).blocks], [99])
        self.assertEqual([block.size for block in filled(MAX_ENTRIES).blocks], [100])
        self.assertEqual([block.size for block in filled(MAX_ENTRIES + 1).blocks], [100, 1])
        self.assertEqual([block.size for block in filled(3, (b"f", b"x" * 5000)).blocks], [1, 1, 1])
        entries = [(number, (b"f", b"x" * length)) for number, length in enumerate([9000, 10, 10, 4095, 2000, 2000])]
        self.assertEqual([block.size for block in blocks_of(entries)], [1, 2, 1, 2])

    def test_text(self) -> None:
        """Ids are read back; what is none is refused."""
        for entry_id in (0, 1, 1 << 64, MAX_ID):
            self.assertEqual(id_of(text_of(entry_id)), entry_id)
        for text in (b"", b"1", b"1-", b"-1-1", b"1-2-3", b"18446744073709551616-0", b"0-18446744073709551616", b"*"):
            self.assertRaises(ValueError, id_of, text)


class StreamTests(SynchronousTestCase):
    """What the edits of a stream have to hold."""

    def test_bytes_are_those_of_the_entries(self) -> None:
        """However they lie in blocks, and whatever went."""
        value = filled(250)
        before = value.size_bytes()
        undo = value.remove([id_at(number, 0) for number in range(50, 220)])
        self.assertEqual((value.size_bytes(), len(value), value.max_deleted), (before * 80 // 250, 80, id_at(219, 0)))
        value.keep_last(0)
        self.assertEqual((value.size_bytes(), value.first, value.last), (0, 0, 0))
        value = filled(250)
        undo = value.remove([id_at(number, 0) for number in (1, 100, 101, 250, 999)])
        undo()
        self.assertEqual((value.size_bytes(), len(value), value.max_deleted), (before, 250, 0))

    def test_ids_must_rise(self) -> None:
        """An entry that may not come here is refused, of many together too."""
        value = filled(3)
        for entry_id, words in ((id_at(3, 0), (b"f", b"v")), (id_at(4, 0), ()), (id_at(4, 0), (b"f",))):
            self.assertRaises(ValueError, value.add, entry_id, words)
        many = [(id_at(9, number), (b"f", b"v")) for number in (1, 2, 3, 4, 5, 6, 7, 7)]
        self.assertRaises(ValueError, value.add_all, many)

    def test_an_empty_stream_is_built_again(self) -> None:
        """With all that it counts."""
        value = filled(3)
        value.remove([id_at(3, 0), id_at(2, 0)])
        value.keep_last(0)
        again = Stream()
        for name, words in STREAMS.whole(value):
            next(edit for edit in STREAMS.edits if edit.name == name).apply(again, words)
        self.assertEqual(
            (again.last_id, again.max_deleted, again.entries_added, len(again)), (id_at(3, 0), id_at(3, 0), 3, 0)
        )  # fmt: skip


class ByIdTests(SynchronousTestCase):
    """What is held by ids."""

    def test_like_a_sorted_dictionary(self) -> None:
        """Whatever is put and dropped, in whatever order."""
        chance = random.Random("by id")
        held: ById[int] = ById()
        model: dict[int, int] = {}
        for step in range(4000):
            entry_id = chance.randrange(60) if chance.random() < 0.3 else step
            if entry_id in model and chance.random() < 0.6:
                self.assertEqual(held.drop(entry_id), model.pop(entry_id))
            else:
                held.put(entry_id, step)
                model[entry_id] = step
            if model and chance.random() < 0.7:  # as acknowledgements come
                first = min(model)
                self.assertEqual(held.drop(first), model.pop(first))
            start = chance.randrange(step + 1)
            self.assertEqual(list(held.ids(start)), sorted(each for each in model if each >= start))
            if model:
                self.assertEqual((held.last(), len(held)), (max(model), len(model)))
        self.assertEqual(list(held.copied().ids()), sorted(model))
        self.assertLess(len(held._order), 2 * len(held) + 70)
