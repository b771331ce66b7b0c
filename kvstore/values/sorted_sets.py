"""Sorted sets: members with a score each, in the order of their scores; among equal ones by their bytes.

| operation | effect |
|---|---|
| `ZADD key score member ...` | the members have these scores; of a member named twice the last counts |
| `ZREM key member ...` | the members are gone |
| `ZREMRANGEBYRANK key start stop` | the members from rank `start` to `stop`, that one too, counted from 0, are gone |

A small one is one bytes object (`packed`): each member in its order, with its score as text. At Valkey's thresholds it
becomes a large one (`ranked`), and stays one; built again it is a small one if it could be, as in Valkey, too.

The order is that of scores and bytes, whatever happened before. So what is undone is put back by name.

The sign of 0 is not kept. (Valkey loses it in small ones alone.)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from math import isnan
from operator import itemgetter

from kvstore.base.chance import Chance
from kvstore.base.doubles import double_text
from kvstore.base.value_type import Edit, Undo, ValueType, Words
from kvstore.values import packed, two_forms
from kvstore.values.ranked import Pair, Ranked
from kvstore.values.scan_order import ScanOrder
from kvstore.values.two_forms import TwoForms

#: A set of more members is large, and one with a longer member. Valkey: zset-max-listpack-entries and -value.
MAX_SMALL_MEMBERS = 128
MAX_SMALL_BYTES = 64

#: Members of one of the operations that `whole` gives.
_WHOLE_MEMBERS = 1024

#: Whole numbers below it are written at once.
_WHOLE_SCORES = 1e15

_WHOLE_DIGITS = 15
_DIGITS = b"%d".__mod__

_in_order = itemgetter(1, 0)


class SortedSet(TwoForms[Ranked]):
    """A sorted set; see the module. Ranks count from 0 and are not negative; scores are never NaN."""

    __slots__ = ()

    #: Its head, and a score of a few digits.
    OVERHEAD_BYTES = 20

    def encoding(self) -> str:
        """See `TypedValue`: it is `skiplist` once it was past the thresholds."""
        return "listpack" if isinstance(self._held, bytes) else "skiplist"

    # Reading

    def score(self, member: bytes) -> float | None:
        """The score of a member, None if it is not there."""
        held = self._held
        if not isinstance(held, bytes):
            return held.scores.get(member)
        text = packed.get(held, packed.escape(member))
        return None if text is None else float(text)

    def scores_each(self, members: Sequence[bytes]) -> list[float | None]:
        """The same of each of many."""
        held = self._held
        return list(map(held.scores.get if isinstance(held, Ranked) else self.score, members))

    def rank(self, member: bytes) -> int | None:
        """The rank of a member, None if it is not there."""
        held = self._held
        if not isinstance(held, bytes):
            return held.rank(member)
        at = packed.find(held, packed.escape(member))
        return None if at < 0 else packed.count(held[:at]) - 1

    def members(self, start: int, stop: int) -> list[bytes]:
        """The members of the ranks from `start` to before `stop`, which are there."""
        held = self._held
        return held.members(start, stop) if not isinstance(held, bytes) else _members(held)[start:stop]

    def columns(self, start: int, stop: int) -> tuple[list[bytes], list[float]]:
        """The same, and beside them their scores."""
        held = self._held
        if isinstance(held, bytes):
            return _members(held)[start:stop], _scores(held)[start:stop]
        return held.members(start, stop), held.scores_of(start, stop)

    def pairs(self, start: int, stop: int) -> list[Pair]:
        """The same, each with its score."""
        return list(zip(*self.columns(start, stop), strict=True))

    def picks(self, chance: Chance) -> Iterator[Pair]:
        """Members with their scores without end, each time any of them with the same chance; none if there is none."""
        held = self._held
        if isinstance(held, bytes):
            pairs = _pairs(held)
            while pairs:
                yield chance.choice(pairs)
            return
        while len(held):
            member = held.at(chance.randrange(len(held)))
            yield member, held.scores[member]

    def below(self, score: float, *, inclusive: bool) -> int:
        """How many members have a lower score, or that one if `inclusive`."""
        held = self._held
        if not isinstance(held, bytes):
            return held.below(score, inclusive=inclusive)
        return sum(each < score or (inclusive and each == score) for each in _scores(held))

    def before(self, member: bytes, *, inclusive: bool) -> int:
        """How many members come before `member`, or are it if `inclusive`; where all have one score."""
        held = self._held
        if not isinstance(held, bytes):
            return held.before(member, inclusive=inclusive)
        return sum(each < member or (inclusive and each == member) for each in _members(held))

    def scan_order(self) -> ScanOrder | None:
        """The order in which it is to be scanned; None if it is small, and given at once."""
        held = self._held
        if isinstance(held, bytes):
            return None
        if held.order is None:
            held.order = ScanOrder(self._places, list(held.scores))
        return held.order

    def scan_is_done(self, order: ScanOrder) -> None:
        """A scan of it has come to its end: the order is not needed any more."""
        held = self._held
        if not isinstance(held, bytes) and held.order is order:
            held.order = None

    # Changing

    def put(self, scores: dict[bytes, float]) -> Undo:
        """Give each member its score. Returns the undo, as do those below."""
        before = self._held
        if isinstance(before, bytes) and self._put_small(before, scores):
            return partial(setattr, self, "_held", before)
        large = self._enlarge()
        old = [(member, large.put(member, score)) for member, score in scores.items()]
        return partial(setattr, self, "_held", before) if large is not before else partial(_restore, large, old)

    def put_for_good(self, scores: dict[bytes, float]) -> None:
        """The same for many, in less time, without an undo."""
        held = self._held
        if isinstance(held, bytes) and self._put_small(held, scores):
            return
        large = self._enlarge()
        there = large.scores
        new = [pair for pair in scores.items() if pair[0] not in there] if there else list(scores.items())
        if len(new) < len(scores):
            for member in scores.keys() & there.keys():
                large.put(member, scores[member])
        if new:
            new.sort(key=_in_order)
            large.put_sorted(new)

    def build(self, words: Words) -> bool:
        """Make an empty one what `score member ...` tells, if it is small, and they stand there as it holds them: in
        order, with whole scores, none twice. Returns whether they do.
        """
        texts, members = words[::2], words[1::2]
        if not 0 < len(texts) == len(members) <= MAX_SMALL_MEMBERS or max(map(len, members)) > MAX_SMALL_BYTES:
            return False
        if not b"".join(texts).isdigit() or max(map(len, texts)) > _WHOLE_DIGITS or len(set(members)) < len(members):
            return False
        scores = list(map(int, texts))
        if scores != sorted(set(scores)) or list(map(_DIGITS, scores)) != texts:
            return False
        entries = [b""] * len(words)
        entries[::2], entries[1::2] = members, texts
        self._held = packed.built(entries)
        return True

    def _put_small(self, held: bytes, scores: dict[bytes, float]) -> bool:
        """The same, if it is small and stays so; returns whether it does."""
        if len(scores) > MAX_SMALL_MEMBERS or max(map(len, scores)) > MAX_SMALL_BYTES:
            return False
        if len(held) > len(packed.EMPTY):
            scores = dict(_pairs(held)) | scores
        if len(scores) > MAX_SMALL_MEMBERS:
            return False
        self._held = _packed(sorted(scores.items(), key=_in_order))
        return True

    def remove(self, members: Words) -> Undo:
        """Remove members, those that are there."""
        before = self._held
        if isinstance(before, bytes):
            self._held = packed.without_all(before, members)
            return partial(setattr, self, "_held", before)
        taken = [(member, before.take(member)) for member in members]
        return partial(_restore, before, [pair for pair in taken if pair[1] is not None])

    def remove_range(self, start: int, stop: int) -> Undo:
        """Remove the members of the ranks from `start` to before `stop`, which are there."""
        before = self._held
        if isinstance(before, bytes):
            entries = packed.split(before)
            del entries[start:stop]
            self._held = packed.joined(entries)
            return partial(setattr, self, "_held", before)
        return partial(_restore, before, before.take_range(start, stop))

    def _enlarge(self) -> Ranked:
        """Make it a large one if it is not; returns what it holds."""
        held = self._held
        if isinstance(held, bytes):
            large = Ranked()
            if pairs := _pairs(held):
                large.put_sorted(pairs)
            self._held = held = large
        return held

    # Whole

    def whole(self) -> Iterator[tuple[bytes, Words]]:
        """See `ValueType`."""
        words: list[bytes] = []
        size_bytes = 0
        for member, score in self.pairs(0, len(self)):
            words += (double_text(score), member)
            size_bytes += len(member) + self.OVERHEAD_BYTES
            if size_bytes > two_forms.WHOLE_BYTES or len(words) >= 2 * _WHOLE_MEMBERS:
                yield b"ZADD", words
                words, size_bytes = [], 0
        if words:
            yield b"ZADD", words


def _restore(large: Ranked, before: Iterable[tuple[bytes, float | None]]) -> None:
    """The members have again the scores that they had; those that had none are gone."""
    for member, score in before:
        if score is None:
            large.take(member)
        else:
            large.put(member, score)


# A small one


def _members(held: bytes) -> list[bytes]:
    return packed.unescape_all(held, packed.flat(held)[::2])


def _scores(held: bytes) -> list[float]:
    return list(map(float, packed.flat(held)[1::2]))


def _pairs(held: bytes) -> list[Pair]:
    """The members with their scores, in order."""
    flat = packed.flat(held)
    return list(zip(packed.unescape_all(held, flat[::2]), map(float, flat[1::2]), strict=True))


def _packed(pairs: Iterable[Pair]) -> bytes:
    return packed.joined(
        [
            b"%b\xfe%b"
            % (
                member if member.isascii() else packed.escape(member),
                b"%d" % score if score.is_integer() and -_WHOLE_SCORES < score < _WHOLE_SCORES else double_text(score),
            )
            for member, score in pairs
        ]
    )


# The operations


def _add(value: SortedSet, words: Words) -> Undo:
    return value.put(_given(words))


def _add_each(value: SortedSet, many: Sequence[Words]) -> list[int]:
    if len(many) == 1 and not value and value.build(many[0]):  # as a checkpoint has them
        return [len(many[0]) // 2]
    if any(not words or len(words) % 2 for words in many):
        raise ValueError("ZADD without members, or of a score without a member")
    given = _given(many[0] if len(many) == 1 else list(chain.from_iterable(many)))
    new = {member for member, score in zip(given, value.scores_each(list(given)), strict=True) if score is None}
    value.put_for_good(given)
    return [_first_of(new, words[1::2]) for words in many]


def _first_of(new: set[bytes], members: Words) -> int:
    """How many of these are in `new`; they are taken out there."""
    before = len(new)
    new.difference_update(members)
    return before - len(new)


def _given(words: Words) -> dict[bytes, float]:
    """The scores of `score member ...`."""
    if not words or len(words) % 2:
        raise ValueError("ZADD without members, or of a score without a member")
    scores = list(map(float, words[::2]))
    if isnan(sum(scores)) and any(map(isnan, scores)):  # the sum of infinities is none, too
        raise ValueError("a score that is no number")
    if 0.0 in scores:
        scores = [score + 0.0 for score in scores]  # no sign
    return dict(zip(words[1::2], scores, strict=True))


def _remove(value: SortedSet, members: Words) -> Undo:
    return value.remove(members)


def _remove_range_each(value: SortedSet, many: Sequence[Words]) -> list[int]:
    if all(words[0] == b"0" for words in many):  # ZPOPMIN, again and again
        counts = [int(words[1]) + 1 for words in many]
        if min(counts) > 0 and sum(counts) <= len(value):
            value.remove_range(0, sum(counts))
            return [-count for count in counts]
    longer = []
    for words in many:
        before = len(value)
        _remove_range(value, words)
        longer.append(len(value) - before)
    return longer


def _remove_range(value: SortedSet, words: Words) -> Undo:
    start, stop = map(int, words)
    if not 0 <= start <= stop < len(value):
        raise ValueError(f"no ranks from {start} to {stop}")
    return value.remove_range(start, stop + 1)


SORTED_SETS = ValueType(
    name="zset",
    holds=SortedSet,
    edits=(
        Edit(b"ZADD", _add, _add_each),
        Edit(b"ZREM", _remove),
        Edit(b"ZREMRANGEBYRANK", _remove_range, _remove_range_each),
    ),
    copy=SortedSet.copy,
    whole=SortedSet.whole,
    keyed=True,
)
