"""What a program says and hears without a wire: words from plain values, plain values from replies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from kvstore.base.doubles import double_text
from kvstore.base.errors import RequestError
from kvstore.base.jsontext import loads
from kvstore.base.reply import (
    NULL_ARRAY,
    Attributed,
    BigNumber,
    JSONText,
    Map,
    Members,
    Pairs,
    Reply,
    Status,
    Verbatim,
)

#: What may stand for a word of a request.
Word: TypeAlias = "str | bytes | int | float"


def to_word(value: Any) -> bytes:
    """A word of a request (a `Word`): text as UTF-8, numbers by their digits. Raises TypeError for anything else, bool
    too.
    """
    kind = value.__class__
    if kind is str:
        return value.encode("utf-8", "surrogatepass")  # type: ignore[no-any-return]
    if kind is int:
        return b"%d" % value
    if kind is float:
        return double_text(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    raise TypeError(f"a word is str, bytes, int or float, not {kind.__name__}: {value!r:.100}")


def to_plain(reply: Reply) -> Any:
    """A reply as plain Python: see the table in docs/EMBEDDING.md."""
    kind = reply.__class__
    if kind in _AS_IT_IS:
        return reply
    for each, convert in _CONVERSIONS.items():
        if isinstance(reply, each):
            return convert(reply)
    raise TypeError(f"{kind.__name__} is no reply value")


def _to_list(reply: Any) -> list[Any]:
    return [to_plain(each) for each in reply]


def _to_dict(reply: dict[Any, Any]) -> dict[Any, Any]:
    return {to_plain(name): to_plain(value) for name, value in reply.items()}


def _to_pairs(reply: Any) -> list[tuple[Any, Any]]:
    return [(to_plain(name), to_plain(value)) for name, value in reply]


def _to_set(reply: Any) -> set[Any]:
    return set(map(to_plain, reply))


_AS_IT_IS = frozenset({bytes, str, int, bool, float, type(None)})

#: The first class that fits counts, see `wire.resp`. What may come twice, or be no key of a dict, stays in order.
_CONVERSIONS: dict[type, Callable[[Any], Any]] = {
    type(NULL_ARRAY): lambda reply: None,
    Status: lambda reply: reply.text,
    Verbatim: str,
    BigNumber: int,
    Attributed: lambda reply: to_plain(reply.reply),
    JSONText: lambda reply: loads(reply.text),
    RequestError: lambda reply: reply,
    Map: _to_pairs,
    Pairs: _to_pairs,
    Members: _to_set,
    list: _to_list,
    tuple: _to_list,
    dict: _to_dict,
    set: _to_set,
    frozenset: _to_set,
}
