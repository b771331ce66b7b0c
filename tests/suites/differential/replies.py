"""Replies byte for byte: cut out of a stream, and compared, with their order only where Redis promises one."""

from __future__ import annotations

import itertools
from typing import Any

from tests.kit.valkey import UNORDERED
from tests.suites.differential.listed import Reply, is_listed
from tests.suites.differential.masks import alike_masked, masked

#: Replies in no promised order, whose elements stand for themselves.
_UNORDERED = UNORDERED | {b"CONFIG", b"PUBSUB", b"FUNCTION"}
#: Replies that hold times: they may differ by so much, in the reply's own unit.
_TIMES = {b"TTL": 2, b"PTTL": 4000, b"EXPIRETIME": 2, b"PEXPIRETIME": 4000}
_TIMES |= {b"H" + name: most for name, most in _TIMES.items()}
SCRIPTS = (b"FCALL", b"FCALL_RO", b"EVAL", b"EVAL_RO", b"EVALSHA", b"EVALSHA_RO")
_SCANS = (b"SCAN", b"SSCAN", b"HSCAN", b"ZSCAN")
#: Of a set BY what is no pattern: in any order.
_SORTS = (b"SORT", b"SORT_RO")
_LEAVING = (b"UNSUBSCRIBE", b"PUNSUBSCRIBE", b"SUNSUBSCRIBE")
_AGGREGATES = b"*~>%"


def cut(data: bytes) -> tuple[list[bytes], bytes]:
    """The whole replies that a stream begins with, each as its bytes; and what is left."""
    replies, at = [], 0
    while at < len(data):
        try:
            end = _parse(data, at)[1]
        except IndexError:
            break
        replies.append(data[at:end])
        at = end
    return replies, data[at:]


def _parse(data: bytes, at: int) -> tuple[Reply, int]:
    """The reply that begins there, and where it ends. Raises IndexError if it goes on behind the data."""
    line_end = data.find(b"\r\n", at)
    if line_end < 0:
        raise IndexError
    kind, text, end = data[at : at + 1], data[at + 1 : line_end], line_end + 2
    if kind in b"$=!" and text != b"-1":
        end += int(text) + 2
        if end > len(data):
            raise IndexError
        return Reply(kind, data[line_end + 2 : end - 2]), end
    if kind not in _AGGREGATES or text == b"-1":
        return Reply(kind, text), end
    elements = []
    for _ in range(int(text) * (1 + (kind == b"%"))):
        element, end = _parse(data, end)
        elements.append(element)
    return Reply(kind, tuple(elements)), end


def alike(words: list[bytes], block: list[list[bytes]], theirs: bytes, ours: bytes) -> bool:
    """Whether two replies to a request say the same. `block`: the requests of its block, if it is EXEC."""
    return theirs == ours or _alike(words, block, _parse(theirs, 0)[0], _parse(ours, 0)[0])


def shown_of(words: list[bytes], reply: bytes) -> Any:
    """What of a reply can be compared, for people; all of it, as its bytes, if all can."""
    return masked(words, _parse(reply, 0)[0]) or reply if reply else reply


def _alike(words: list[bytes], block: list[list[bytes]], theirs: Reply, ours: Reply) -> bool:
    if theirs == ours or is_listed(words, theirs, ours) or alike_masked(words, theirs, ours):
        return True
    name = words[0].upper()
    if name in SCRIPTS and words[2:] and words[2].isdigit() and len(inner := words[3 + int(words[2]) :]):
        return _alike(inner, [], theirs, ours)
    if theirs.kind != ours.kind:
        return False
    if name == b"EXEC" and _both_have(len(block), theirs, ours):
        return all(_alike(*each) for each in zip(block, [[]] * len(block), theirs.value, ours.value, strict=True))
    if name in _LEAVING and len(words) == 1 and _both_have(3, theirs, ours):
        return (theirs.value[0], theirs.value[2]) == (ours.value[0], ours.value[2])  # in what order, nobody says
    if name in _SCANS and _both_have(2, theirs, ours) and {theirs.value[0].value, ours.value[0].value} != {b"0"}:
        return True  # part of what there is: which one, nobody says
    if name in _SORTS and _is_unsorted(words) and _both_have(len(theirs.value), theirs, ours):
        return b"LIMIT" in map(bytes.upper, words) or _in_order(b"SMEMBERS", theirs) == _in_order(b"SMEMBERS", ours)
    if name in _TIMES:
        return _near(_TIMES[name], theirs, ours)
    if _in_order(name, theirs) == _in_order(name, ours):
        return True
    if theirs.kind not in _AGGREGATES or not _both_have(len(theirs.value), theirs, ours):
        return False
    return all(_alike(words, [], *both) for both in zip(theirs.value, ours.value, strict=True))


def _is_unsorted(words: list[bytes]) -> bool:
    """Whether a SORT is BY what is no pattern."""
    return any(word.upper() == b"BY" and b"*" not in by for word, by in itertools.pairwise(words))


def _both_have(count: int, *replies: Reply) -> bool:
    return all(isinstance(reply.value, tuple) and len(reply.value) == count for reply in replies)


def _near(most: int, theirs: Reply, ours: Reply) -> bool:
    """Whether the numbers, or those in the two lists, are as near."""
    if theirs.kind == ours.kind == b":":
        one, other = int(theirs.value), int(ours.value)
        return one == other or (min(one, other) > 0 and abs(one - other) <= most)
    if theirs.kind not in _AGGREGATES or not _both_have(len(theirs.value), theirs, ours):
        return theirs == ours
    return all(_near(most, *both) for both in zip(theirs.value, ours.value, strict=True))


def _in_order(name: bytes, reply: Reply) -> Any:
    """What is the same for replies that differ in an order which nobody promises."""
    if not isinstance(reply.value, tuple):
        return reply
    elements = [_in_order(name, each) for each in reply.value]
    if reply.kind == b"%":
        elements = sorted(zip(elements[::2], elements[1::2], strict=True), key=repr)
    elif reply.kind == b"~" or name in _UNORDERED:
        elements = sorted(elements, key=repr)
    return reply.kind, elements
