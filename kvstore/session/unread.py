"""Chunks of many requests, which are executed in parts: whoever asks for less is served in between.

A part begins where a request does, most likely, so that an endless pipeline of one command is one in each part.
"""

from __future__ import annotations

from typing import NamedTuple

from kvstore.base.limits import KIB

#: Of a chunk with many requests so many bytes are parsed and executed at once: about half a millisecond's work.
PART_BYTES = 8 * KIB
#: So many lines are many requests: a GET has five, a SET seven.
_MANY_LINES = 1024
#: Where a request in RESP ends and the next one begins, most likely.
_NEXT = b"\r\n*"


def has_many_requests(data: bytes) -> bool:
    """Whether there are, most likely, so many in a chunk that it is better taken in parts."""
    return data.count(b"\n") >= _MANY_LINES


class Unread(NamedTuple):
    """Bytes from a client that were not looked at yet: they stand at the end of the backlog."""

    data: bytes

    def parted(self, *, is_whole: bool) -> tuple[bytes, Unread | None]:
        """The next part, and what is left. It ends where a request seems to, so that the one after it can be taken for
        a pipeline of one command; if the first request is not whole, its end is a part.
        """
        data = self.data
        if not is_whole and (end := data.find(_NEXT, 0, PART_BYTES)) >= 0:
            length = end + 2
        elif len(data) <= PART_BYTES:
            length = len(data)
        elif (end := data.rfind(_NEXT, 0, PART_BYTES)) >= 0:
            length = end + 2
        else:
            length = PART_BYTES
        rest = data[length:]
        return data[:length], Unread(rest) if rest else None
