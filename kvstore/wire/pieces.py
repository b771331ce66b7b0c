"""Encoded replies in pieces: short strings are joined as they come, long ones stand between them by reference.

An array of one long string, two thousand times, takes no more memory than the string; and nothing is copied that is
long, so a reply of many megabytes costs no more time than one of many elements. Its bytes are counted while it is
encoded, so that one too large is given up before it was built.

Nearly every reply is short: that is one `bytes` object still. So `Encoded` is either, and both have a `len` in bytes.

Rejected: to encode while the socket takes it (the values may have changed by then: they would have to be noted all the
same); an iterator of pieces (nobody could count what waits).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, islice
from typing import Any, TypeAlias, final

from kvstore.base.errors import ReplyTooLarge
from kvstore.base.limits import LARGE_BYTES, LONG_STRING_BYTES

#: For replies that nobody limits: those of tests, and those that are short by nature.
UNLIMITED_BYTES = 2**62

#: Elements of an array that are encoded before their bytes are joined and counted: a quarter of a millisecond's work.
AT_ONCE = 1024


@final
class Pieces:
    """A long reply. `pieces`: its bytes, in order, none empty. `len`: of all of them; `bytes()` joins them."""

    __slots__ = ("_size_bytes", "pieces")

    def __init__(self, pieces: list[bytes], size_bytes: int) -> None:
        self.pieces = pieces
        self._size_bytes = size_bytes

    def __len__(self) -> int:
        return self._size_bytes

    def __bytes__(self) -> bytes:
        return b"".join(self.pieces)


Encoded: TypeAlias = bytes | Pieces


class Writer:
    """Collects one encoded reply. `limit_bytes`: past it, ReplyTooLarge. `append`: adds a short string."""

    __slots__ = ("_limit_bytes", "_pieces", "_short", "_size_bytes", "append")

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._pieces: list[bytes] = []
        self._short: list[bytes] = []
        self._size_bytes = 0
        self.append = self._short.append

    def text(self, text: bytes) -> None:
        """Add a string of any length."""
        if len(text) < LONG_STRING_BYTES:
            self.append(text)
        else:
            self.gather()
            self._add(text)

    def gather(self) -> None:
        """Join and count the short strings so far; to be called now and then where there are many."""
        if self._short:
            together = b"".join(self._short)
            self._short.clear()
            self._add(together)

    def finish(self) -> Encoded:
        """The reply: `Pieces` if it holds a long string, or is large."""
        self.gather()
        if len(self._pieces) == 1 and self._size_bytes < LARGE_BYTES:
            return self._pieces[0]
        return Pieces(self._pieces, self._size_bytes)

    def _add(self, piece: bytes) -> None:
        self._size_bytes += len(piece)
        if self._size_bytes > self._limit_bytes:
            raise ReplyTooLarge(self._limit_bytes)
        self._pieces.append(piece)


def in_parts(elements: Iterable[Any]) -> Iterator[list[Any]]:
    """The elements of a reply, AT_ONCE at a time."""
    remaining = iter(elements)
    while some := list(islice(remaining, AT_ONCE)):
        yield some


def parts(counts: Sequence[int]) -> list[slice]:
    """Where those many stand, one after the other."""
    return [slice(end - count, end) for end, count in zip(accumulate(counts), counts, strict=True)]


def join_parts(replies: list[bytes], counts: Sequence[int]) -> list[bytes]:
    """Replies, so many of them joined at a time."""
    return replies if len(replies) == len(counts) else [b"".join(replies[part]) for part in parts(counts)]


def joined(replies: list[Encoded]) -> Encoded:
    """Replies, one behind the other."""
    try:
        return b"".join(replies)  # type: ignore[arg-type]
    except TypeError:  # one of them is long
        return _joined_pieces(replies)


def _joined_pieces(replies: Iterable[Encoded]) -> Encoded:
    writer = Writer(UNLIMITED_BYTES)
    for reply in replies:
        for piece in reply.pieces if isinstance(reply, Pieces) else (reply,):
            writer.text(piece)
    return writer.finish()
