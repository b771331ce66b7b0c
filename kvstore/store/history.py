"""Histories: which of several pasts a commit is of, when a directory was copied and each copy went on.

A copy by `cp -a`, `tar` or a snapshot leaves no trace in the bytes: put back, it gives its next commit a number that
the original may have given to another one. So each start of a server begins a history of its own (PostgreSQL's
timelines are the model): a random identity, the history that it goes on from, and where it forks: the last commit that
it has of that one. A commit is named by its number and its history, for good: one process alone ever writes in a
history.

    history a   1 -- 2 -- 3 -- 4 -- 5          a start wrote 1 to 5; a copy was made after 3
                          |
    history b             +--- 4 -- 5 -- 6     the copy, put back and started: it forks from a at 3

It is written lazily, as the first operation of the first frame that the start writes (see `operations`): a start that
changes nothing leaves nothing, and everything stays a frame. The header of a log says of which history the commit
before its first is, that of a checkpoint the same of the last in it; so files of two copies that were mixed are found
out. The archive (see there) keeps segments of several histories apart, and `restore` follows one chain of them.

Rejected: a number counted up at each start (two copies count alike); a frame of its own at each start (a commit that no
request made, and a write for a start that only reads); the name of the host or the time (a snapshot copies the one, and
clocks are set back).
"""

from __future__ import annotations

from typing import NamedTuple

#: Of a commit that no history is known of: there is none before the first, and older versions did not note any.
NO_HISTORY = "0" * 16


class History(NamedTuple):
    """One history. `identity`: 16 hex digits; `parent`: the same of the one it goes on from, which may be NO_HISTORY.

    `fork`: the number of the last commit that both have; 0 at the very beginning.
    """

    identity: str
    parent: str
    fork: int
