"""The logs in a directory and its archives, the histories in them, and the way through them to one commit.

A directory that was copied, put back and gone on with has several histories (see `kvstore.store.history`), whose
commits have the same numbers. A **way** goes back from the commit that is meant, from log to log: each says in its
header which commit, of which history, it goes on from, and that one is looked for in the others. So what is on one way
was written by one run after another, and nothing else is; what an archive holds beside it is told, and never mixed in.

Which commit is meant: the last one of the directory given; of the history named with --history; or, of an archive
alone, the only one that nothing goes on from.

Commits of older versions are of no history that is known. Of those with one number the ones in the directory itself are
taken, then the log that ends just there; if that leaves a choice, it is refused.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from kvstore.base.disk import Disk
from kvstore.base.errors import DamagedStore, KVStoreError
from kvstore.base.frame import later_headers
from kvstore.store import checkpoint
from kvstore.store.archive import Position, Scan, Span, kept_checkpoints, kept_segments, scan
from kvstore.store.examine import LIVE, segments_of
from kvstore.store.history import NO_HISTORY
from kvstore.tools.words import moment


class Log(NamedTuple):
    """One log or segment, whose header is sound. `named`: the last commit in it as an archive's name for it tells.

    `last_seen`: the number of the last commit that it tells of, past any damage.
    """

    disk: Disk
    name: str
    scan: Scan
    named: Position | None
    last_seen: int

    @property
    def first(self) -> int:
        """The number of its first commit."""
        return self.scan.header.first

    def history_of(self, sequence: int) -> str | None:
        """Of which history the commit of that number in it is; None if it cannot be read, or is not there."""
        return next((span.history for span in self.scan.spans if span.first <= sequence <= span.last), None)

    def lost(self, position: Position) -> bool:
        """Whether the commit should be in it, as its name says, but cannot be read."""
        if self.scan.reason is None or self.named is None or self.named.history != position.history:
            return False
        return self.first <= position.sequence <= self.named.sequence


class Step(NamedTuple):
    """One log on the way, of which commits up to `last` are on it."""

    log: Log
    last: int


class Known(NamedTuple):
    """A history that files tell of: commits `first` to `last`, written from `from_us` to `to_us`."""

    identity: str
    first: int
    last: int
    from_us: int
    to_us: int

    def __str__(self) -> str:
        when = f"{moment(self.from_us)} to {moment(self.to_us)}"
        return f"history {self.identity} (commits {self.first} to {self.last}, {when})"


class Files:
    """All logs of some directories of one store, the data directory first; and what is wrong with files that are none.

    Raises OSError.
    """

    def __init__(self, disks: Sequence[Disk]) -> None:
        self.disks = disks
        self.complaints: list[str] = []
        #: Those about logs of the data directory: what was in them is missing at its end.
        self.lost: list[str] = []
        logs = [log for disk in disks for log in self._logs(disk)]
        #: Whose files are meant: the first directory's that has a sound log. An archive may hold others' by mistake.
        self.store = logs[0].scan.header.store if logs else None
        self.logs = [log for log in logs if log.scan.header.store == self.store]

    def _logs(self, disk: Disk) -> Iterator[Log]:
        names = disk.names()
        kept = kept_segments(names)
        for name in [*([LIVE] if LIVE in names else []), *segments_of(names), *kept]:
            file = disk.open_read(name)
            try:
                found = scan(file, name)
                later = later_headers(file, found.end, found.header.salt) if found.reason is not None else ()
                last_seen = max([found.last.sequence, *(header.sequence for _, header in later)])
                yield Log(disk, name, found, kept[name][1] if name in kept else None, last_seen)
            except DamagedStore as damage:
                self.complaints.append(f"{disk.describe(name)}: {damage.reason}")
                if disk is self.disks[0]:
                    self.lost.append(self.complaints[-1])
            finally:
                file.close()

    def histories(self) -> dict[str, Known]:
        """The histories that logs tell of, in order of time."""
        known: dict[str, Known] = {}
        for span in sorted((span for log in self.logs for span in log.scan.spans), key=lambda span: span.from_us):
            known[span.history] = _with(known.get(span.history), span)
        return known

    def end(self, history: str | None) -> Position | None:
        """The commit that is meant, see the module; None if no log says. Raises KVStoreError if there is a choice."""
        if history is not None:
            return self._end_of(history)
        own = [log for log in self.logs if log.disk is self.disks[0] and log.named is None]
        if own:  # the live log, whatever its name is in the middle of sealing
            return max(own, key=lambda log: log.first).scan.last
        if checkpoint.NAME in self.disks[0].names():
            return self._end_of_checkpoint(self.disks[0])
        ends = {log.scan.last for log in self.logs if not self._go_on_from(log.scan.last)}
        apart = {end.history for end in ends}
        if len(apart) > 1:
            raise KVStoreError(f"these files hold several histories that end apart: {self._listed(apart)}; "
                               "say which with --history ID")  # fmt: skip
        return max(ends, default=None)

    def _end_of_checkpoint(self, disk: Disk) -> Position | None:
        """The last commit in the checkpoint of a directory whose logs are all lost."""
        file = disk.open_read(checkpoint.NAME)
        try:
            header = checkpoint.CheckpointReader(file).header
            self.store = header.store
            self.logs = [log for log in self.logs if log.scan.header.store == header.store]
            return Position(header.covers, header.history)
        except DamagedStore:  # told when it is to be read
            return None
        finally:
            file.close()

    def _end_of(self, history: str) -> Position:
        known = self.histories()
        if history not in known:
            raise KVStoreError(f"no file holds commits of history {history}; there are: {self._listed(known)}")
        return Position(known[history].last, history)

    def _listed(self, identities: Collection[str]) -> str:
        return "; ".join(str(known) for name, known in self.histories().items() if name in identities) or "none"

    def _go_on_from(self, end: Position) -> bool:
        """Whether any log holds more commits after this one."""
        return any(
            (Position(log.first - 1, log.scan.header.history) == end and log.scan.spans)
            or (log.history_of(end.sequence) == end.history and log.scan.last.sequence > end.sequence)
            for log in self.logs
        )

    def way(self, end: Position) -> list[Step]:
        """The logs that lead to a commit, the earliest first, as far back as there are any. Raises KVStoreError."""
        steps: list[Step] = []
        disk, own = self.disks[0], True
        while end.sequence and (log := self._holding(end, disk if own else None)) is not None:
            steps.append(Step(log, end.sequence))
            disk, own = log.disk, log.disk is self.disks[0]
            end = Position(log.first - 1, log.scan.header.history)
        return steps[::-1]

    def _holding(self, end: Position, near: Disk | None) -> Log | None:
        """The log to take a commit from, rather of `near`; a damaged one that should hold it, if no other does."""
        at = [(log, log.history_of(end.sequence)) for log in self.logs if log.first <= end.sequence]
        held = [log for log, history in at if history is not None and end.history in (history, NO_HISTORY)]
        held = held or [log for log, history in at if history == NO_HISTORY and log.scan.last.sequence == end.sequence]
        for preferred in ([log for log in held if log.disk is near], held):
            if preferred:
                return self._only(end, preferred)
        lost = [log for log in self.logs if log.lost(end)]
        lost = lost or [log for log, _ in at if log.scan.reason is not None and log.disk is near]
        return max(lost, key=lambda log: log.first, default=None)

    def _only(self, end: Position, logs: list[Log]) -> Log:
        """One of several that hold a commit: which is no matter, if its history is known."""
        if end.history == NO_HISTORY:
            logs = [log for log in logs if log.scan.last.sequence == end.sequence] or logs
            if len({(log.scan.header.salt, log.history_of(end.sequence)) for log in logs}) > 1:
                places = ", ".join(log.disk.describe(log.name) for log in logs)
                raise KVStoreError(
                    f"commit {end.sequence} is in several files, and nothing says which of them is meant: {places}; "
                    "take away those of the copy that is not"
                )
        return max(logs, key=lambda log: (log.scan.reason is None, log.scan.last.sequence))

    def checkpoints(self) -> Iterator[tuple[Disk, str]]:
        """The checkpoints there are, whether sound or not."""
        for disk in self.disks:
            names = disk.names()
            for name in [*([checkpoint.NAME] if checkpoint.NAME in names else []), *kept_checkpoints(names)]:
                yield disk, name

    def beside(self, way: list[Step]) -> list[Known]:
        """The histories that have commits which are not on the way: only what is theirs alone."""
        on: dict[str, int] = {}
        for step in way:
            for span in step.log.scan.spans:
                on[span.history] = max(on.get(span.history, 0), min(span.last, step.last))
        return [
            one._replace(first=max(one.first, on.get(one.identity, 0) + 1))
            for one in self.histories().values() if one.last > on.get(one.identity, 0)
        ]  # fmt: skip


def leads_through(way: list[Step], position: Position) -> bool:
    """Whether a commit is on a way, or the one it begins after."""
    return any(
        position == (step.log.first - 1, step.log.scan.header.history)
        or (position.sequence <= step.last and step.log.history_of(position.sequence) == position.history)
        for step in way
    )


def _with(known: Known | None, span: Span) -> Known:
    if known is None:
        return Known(span.history, span.first, span.last, span.from_us, span.to_us)
    return known._replace(
        first=min(known.first, span.first), last=max(known.last, span.last), to_us=max(known.to_us, span.to_us)
    )
