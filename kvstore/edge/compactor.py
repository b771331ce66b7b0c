"""Runs the merge in a child process, and tells the store how it ended.

    idle --due--> sealed, child running --report--> checkpoint in place, child ending --> idle
                        |                                                                 ^
                        +-- child failed or was killed: inputs kept, pause ---------------+

The child (see `merge_process`) holds nothing that the server waits for; it may be killed at any time. It ends when its
standard input does, hence also when the server is gone.

Rejected: `reactor.spawnProcess`, which asks the system about each open file before it spawns: 40 ms, in the loop,
with 5,000 clients connected. `subprocess` takes 0.2 ms, with 10,000 open files 3 ms (vfork: the table is not copied);
the child inherits its pipes and the directories that it works in, which may have other paths by now. It runs in the
root directory: nothing there is ours, and nothing that lies in a data directory is taken for a part of the program.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

import kvstore
from kvstore.base.disk import RealDisk
from kvstore.base.errors import StorageFault, StorageFull
from kvstore.base.limits import KIB
from kvstore.commands.latency_events import LatencyEvents
from kvstore.edge.merge_process import command
from kvstore.store.merge import MergeJob
from kvstore.store.store import Store

_log = Logger()
_MOST_OUTPUT_BYTES = 64 * KIB
_REAP_AGAIN_S = 0.05


class Child(Protocol):
    """A merge under way."""

    def release(self) -> None:
        """The report was heard: the child may end."""

    def kill(self) -> None:
        """End it now."""


@implementer(IReadDescriptor)
class MergeProcess:
    """A child process that merges. `said`: called with each line it prints; `ended`: once, with how it ended.

    `archive`: where it copies the segments to, or None.
    """

    def __init__(
        self, reactor: Any, disk: RealDisk, job: MergeJob, said: Callable[[str], None], ended: Callable[[str], None],
        archive: RealDisk | None = None,
    ) -> None:  # fmt: skip
        self._reactor = reactor
        self._said = said
        self._ended = ended
        self._output = b""
        words, descriptors = command(disk, job, archive)
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, pass_fds=descriptors,
            env=_environment(), cwd="/",
        )  # fmt: skip
        reactor.addReader(self)

    def fileno(self) -> int:
        """The pipe from the child's standard output."""
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def doRead(self) -> Any:
        """There is output, or its end: the reactor is told so, and calls `connectionLost`."""
        data = os.read(self.fileno(), _MOST_OUTPUT_BYTES)
        if not data:
            return ConnectionDone()
        self._output = (self._output + data)[-_MOST_OUTPUT_BYTES:]
        while b"\n" in self._output:
            line, self._output = self._output.split(b"\n", 1)
            self._said(line.decode("utf-8", "replace"))
        return None

    def connectionLost(self, reason: Failure) -> None:
        """The child's output has ended (some reactors see that without a `doRead`), or the reactor stops."""
        self._reap()

    def _reap(self) -> None:
        """The child has closed its output: it ends about now."""
        status = self._process.poll()
        if status is None:
            self._reactor.callLater(_REAP_AGAIN_S, self._reap)
            return
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        self._ended(f"ended with status {status}" if status >= 0 else f"was killed by signal {-status}")

    def logPrefix(self) -> str:
        """For the log."""
        return "merge"

    def release(self) -> None:
        """See `Child`."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    def kill(self) -> None:
        """See `Child`."""
        self._process.kill()


class Compactor:
    """Begins compactions when the store's policy asks for one, and sees them through.

    `start`: begins a merge: called with the job, and the two callbacks of `MergeProcess`. `fault`: called with a
    StorageFault. `done`: called when one has ended, well or badly, or could not begin. `last_error`, `last_seconds`,
    `last_seal_seconds`, `last_fork_seconds`, `last_finish_seconds`, `last_finished_ms` (since the epoch): of the last
    compaction; sealing, starting the child and finishing are what the loop waits for, of which `events` are told. One
    that was asked for and had nothing to do is finished at once.
    """

    def __init__(
        self,
        store: Store,
        start: Callable[[MergeJob, Callable[[str], None], Callable[[str], None]], Child],
        fault: Callable[[StorageFault], None],
    ) -> None:
        self._store = store
        self._start = start
        self._fault = fault
        self._child: Child | None = None
        self._begun = 0.0
        self._stopping = False
        self._asked = False
        self._complaint = ""
        self.done: Callable[[], None] = lambda: None
        self.last_error = ""
        self.last_seconds = 0.0
        self.last_seal_seconds = 0.0
        self.last_fork_seconds = 0.0
        self.last_finish_seconds = 0.0
        self.last_finished_ms = 0
        self.events = LatencyEvents(_now_ms)

    @property
    def running(self) -> bool:
        """Whether a child is at work."""
        return self._child is not None

    @property
    def due(self) -> bool:
        """Whether a child is at work, or was asked for."""
        return self.running or self._asked

    def ask(self) -> bool:
        """Compact at the next opportunity, whatever the policy says. Returns False if a compaction is under way."""
        if self.running:
            return False
        self._asked = True
        return True

    def error(self) -> str | None:
        """How the last one ended: empty if well; None while one is under way, or asked for."""
        return None if self.due else self.last_error

    def begin_if_due(self) -> None:
        """To be called when no commit is in flight. Raises StorageFault if sealing the log fails half-way."""
        if self._child is not None or self._stopping or not (self._asked or self._store.compaction_is_due()):
            return
        self._asked = False
        if not self._store.can_compact():
            self.last_finished_ms = _now_ms()  # the checkpoint has all there is: LASTSAVE tells those who wait for that
            self.done()
            return
        self._begun = time.monotonic()
        try:
            job = self._store.seal()
        except (StorageFull, OSError) as error:
            self._note(f"the log could not be sealed: {error}", self._store.postpone_compaction())
            return
        except Exception as error:  # half-way, for whatever reason: no more commits to this log
            raise self._store.fail(error) from error
        self.last_seal_seconds = self._since("log-seal", self._begun)
        self._complaint = ""
        forking = time.monotonic()
        try:
            self._child = self._start(job, self._said, self._ended)
        except Exception as error:
            self._abandon(f"the compaction process could not be started: {error}")
        self.last_fork_seconds = self._since("fork", forking)

    def _since(self, event: str, began: float) -> float:
        """Something that the loop waited for is over. Returns for how many seconds it did."""
        seconds = time.monotonic() - began
        self.events.note(event, int(seconds * 1e9))
        return seconds

    def _said(self, line: str) -> None:
        """A line from the child: its report, or part of a traceback."""
        if self._store.compacting is None or self._store.failed is not None or self._stopping:
            return
        try:
            report = json.loads(line)
            error, size_bytes = report.get("error"), report.get("bytes", 0)
        except (ValueError, AttributeError):
            self._complaint = line
            return
        try:
            if error is None:
                finishing = time.monotonic()
                self._store.finish_compaction(size_bytes)
                self.last_finish_seconds = self._since("aof-rename", finishing)
                self.last_error = ""
                self.last_seconds = time.monotonic() - self._begun
                self.last_finished_ms = _now_ms()
            else:
                self._abandon(error)
        except Exception as error:  # a checkpoint half in place is as bad, whatever the reason
            self._fault(self._store.fail(error))
        if self._child is not None:
            self._child.release()

    def _ended(self, how: str) -> None:
        """The child is gone; without a report it failed."""
        self._child = None
        if self._store.compacting is not None and self._store.failed is None and not self._stopping:
            self._abandon(f"the compaction process {how} without a report; {self._complaint}")
        elif not self._stopping:
            self.done()

    def _abandon(self, why: str) -> None:
        self._note(why, self._store.abandon_compaction())

    def _note(self, why: str, pause_ms: int) -> None:
        self.last_error = why
        _log.error("compaction failed, again in {pause} s; no file was changed: {why}", pause=pause_ms / 1000, why=why)
        if not self.running:
            self.done()

    def stop(self) -> None:
        """Kill the child, if any: what it wrote is garbage that the next start removes."""
        self._stopping = True
        if self._child is not None:
            self._child.kill()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _environment() -> dict[str, str]:
    """The child must find the same kvstore as we did, installed or in a checkout, and nothing in a place by chance.

    An empty entry of PYTHONPATH, or a relative one, would be a place below the child's working directory.
    """
    root = os.path.dirname(os.path.dirname(os.path.abspath(kvstore.__file__)))
    paths = filter(os.path.isabs, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    return dict(os.environ, PYTHONPATH=os.pathsep.join([root, *paths]))
