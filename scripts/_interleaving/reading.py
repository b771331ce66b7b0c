"""A trace as requests, one after the other. The format is told in kvstore/edge/trace.py; this is its reader.

A file may hold several runs, one for each start of a server. The last line of a run may have been cut short, by a full
disk; any other line that is no request is an error, since a check that skipped it would prove nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

#: Requests that run at once inside MULTI instead of being queued.
_NOT_QUEUED = ("EXEC", "DISCARD", "WATCH", "RESET", "QUIT", "MULTI")
_ENDS_BLOCK = ("EXEC", "DISCARD", "RESET")
_FIELDS = 9
COMINGS = ("connect", "disconnect")
KINDS = ("write", "read", "block", "other", *COMINGS)


class NotATrace(Exception):
    """A line that is no line of a trace. The text names the line and says what is wrong with it."""


class Request(NamedTuple):
    """One line of a trace: a request, or a client that comes or goes.

    `line`: its number in the file, from 1. `run`: which start of a server it is from, from 1; `numbered_from_one`:
    whether that start is in the file. `time_s`: since the epoch. `start_ns`, `end_ns`: of a steady clock. `client`:
    NUMBER@ADDRESS. `commit`: 0 for none. `kind`: one of KINDS, or `queued` for a request inside MULTI. Of a client that
    comes or goes (one of COMINGS), `number` is that of the request before.
    """

    line: int
    run: int
    numbered_from_one: bool
    number: int
    time_s: float
    start_ns: int
    end_ns: int
    client: str
    commit: int
    kind: str
    outcome: str
    words: str

    @property
    def is_coming(self) -> bool:
        """Whether this is no request, but a client that comes or goes."""
        return self.kind in COMINGS

    @property
    def failed(self) -> bool:
        """Whether the client got an error, or its connection broke."""
        return self.outcome != "ok"

    @property
    def is_write(self) -> bool:
        """Whether it is one that changed something, or may have."""
        return self.kind in ("write", "block") and not self.failed

    @property
    def name(self) -> str:
        """The command, in upper case."""
        return self.words.partition(" ")[0].strip('"').upper()


class Trace:
    """The requests of a trace, in the order of its lines.

    `lines`: such as an open file. Iterating raises NotATrace. `cut_short`: numbers of the lines that were, so far.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = lines
        self.cut_short: list[int] = []

    def __iter__(self) -> Iterator[Request]:
        run, numbered_from_one = 1, False
        seen_any = False
        in_block: set[str] = set()
        doubtful: NotATrace | None = None  # a line that is right only if it is the last of its run
        for place, line in enumerate(self._lines, 1):
            if line.startswith("#"):
                run += seen_any
                numbered_from_one = seen_any = True
                in_block.clear()
                doubtful = None
                continue
            if doubtful is not None:
                raise doubtful
            if line == "\n":
                continue
            if not line.endswith("\n"):
                self.cut_short.append(place)
                return
            try:
                request = _parse(line, place, run, numbered_from_one)
            except ValueError as error:
                doubtful = NotATrace(f"line {place} is no line of a trace: {error}")
                self.cut_short.append(place)
                continue
            seen_any = True
            yield _in_its_block(request, in_block)
        if doubtful is not None:
            raise doubtful


def _parse(line: str, place: int, run: int, numbered_from_one: bool) -> Request:
    """One line as a request. Raises ValueError, which says what is wrong, if it is none."""
    fields = line.rstrip("\n").split("\t")
    if len(fields) != _FIELDS:
        raise ValueError(f"{len(fields)} fields between tabs, not {_FIELDS}")
    number, time_s, start_ns, end_ns, client, commit, kind, outcome, words = fields
    if kind not in KINDS:
        raise ValueError(f"kind {kind!r}, not one of {', '.join(KINDS)}")
    if not words.startswith('"') or not words.endswith(('"', ")")):
        raise ValueError("the request is not whole")
    return Request(
        place, run, numbered_from_one, int(number), float(time_s), int(start_ns), int(end_ns), client, int(commit),
        kind, outcome, words,
    )  # fmt: skip


def _in_its_block(request: Request, in_block: set[str]) -> Request:
    """The request, of kind `queued` if its client is inside MULTI.

    `in_block`: the clients that are; kept up to date.
    """
    name = request.name
    if request.is_coming:
        in_block.discard(request.client)
        return request
    if request.client in in_block and name not in _NOT_QUEUED:
        return request._replace(kind="queued")
    if name == "MULTI" and not request.failed:
        in_block.add(request.client)
    elif name in _ENDS_BLOCK:
        in_block.discard(request.client)
    return request
