"""Runs the merge in a child process, and tells the store how it ended.

    idle --due--> sealed, child running --report--> checkpoint in place --> idle
                        |                                                     ^
                        +-- child failed or was killed: inputs kept, pause ---+

The child (see `store.merge`) is spawned, not forked: the table is not copied. It holds nothing that the server waits
for; it may be killed at any time. It ends when its standard input does, hence also when the server is gone.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

from twisted.internet.error import ProcessDone
from twisted.internet.interfaces import IProcessTransport
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

import kvstore
from kvstore.base.errors import StorageFull
from kvstore.store.merge import MergeJob
from kvstore.store.store import Store

_log = Logger()
_MOST_REPORT_BYTES = 64 * 1024


class _Merge(ProcessProtocol):
    """One child. Collects its report, tells the compactor once."""

    def __init__(self, compactor: Compactor) -> None:
        self._compactor = compactor
        self._report = b""
        self._complaint = b""

    def outReceived(self, data: bytes) -> None:
        """The report, one line of JSON; after it the child waits for us."""
        self._report = (self._report + data)[:_MOST_REPORT_BYTES]
        if self._report.endswith(b"\n"):
            self._compactor.reported(json.loads(self._report))
            transport: Any = self.transport
            transport.closeStdin()

    def errReceived(self, data: bytes) -> None:
        """A traceback, most likely."""
        self._complaint = (self._complaint + data)[-_MOST_REPORT_BYTES:]

    def processEnded(self, reason: Failure) -> None:
        """The child is gone; without a report it failed."""
        how = "ended without a report" if reason.check(ProcessDone) else str(reason.value)
        self._compactor.ended(f"{how} {self._complaint[-2000:].decode('utf-8', 'replace')}".strip())


class Compactor:
    """Begins compactions when the store's policy asks for one, and sees them through.

    `reactor`: for spawnProcess. `directory`: the data directory, absolute. `last_error`, `last_seconds`: of the last
    compaction.
    """

    def __init__(self, reactor: Any, store: Store, directory: str) -> None:
        self._reactor = reactor
        self._store = store
        self._directory = directory
        self._child: IProcessTransport | None = None
        self._begun = 0.0
        self._stopping = False
        self._asked = False
        self.last_error = ""
        self.last_seconds = 0.0
        self.last_seal_seconds = 0.0

    @property
    def running(self) -> bool:
        """Whether a child is at work."""
        return self._child is not None

    def ask(self) -> bool:
        """Compact at the next opportunity, whatever the policy says. Returns False if a compaction is under way."""
        if self.running:
            return False
        self._asked = True
        return True

    def begin_if_due(self) -> None:
        """To be called when no commit is in flight. Raises StorageFault if sealing the log fails half-way."""
        if self._child is not None or self._stopping or not (self._asked or self._store.compaction_is_due()):
            return
        self._asked = False
        if not self._store.can_compact():
            return
        self._begun = time.monotonic()
        try:
            job = self._store.seal()
        except (StorageFull, OSError) as error:
            self._failed(f"the log could not be sealed: {error}", self._store.policy.failed)
            return
        self.last_seal_seconds = time.monotonic() - self._begun
        self._child = self._spawn(job)

    def _spawn(self, job: MergeJob) -> IProcessTransport:
        arguments = [sys.executable, "-m", "kvstore.store.merge", self._directory, job.output, str(job.salt),
                     str(job.covers), *job.segments]  # fmt: skip
        child: IProcessTransport = self._reactor.spawnProcess(
            _Merge(self), sys.executable, arguments, env=_environment()
        )
        return child

    def reported(self, report: dict[str, Any]) -> None:
        """The child has done its work, or says why not."""
        if self._store.compacting is None or self._store.failed is not None:
            return
        if "error" in report:
            self._abandon(report["error"])
            return
        self._store.finish_compaction(report["bytes"])
        self.last_error = ""
        self.last_seconds = time.monotonic() - self._begun

    def ended(self, how: str) -> None:
        """The child is gone."""
        self._child = None
        if self._store.compacting is not None and self._store.failed is None and not self._stopping:
            self._abandon(f"the compaction process {how}")

    def _abandon(self, why: str) -> None:
        pause_ms = self._store.abandon_compaction()
        self._note(why, pause_ms)

    def _failed(self, why: str, pause: Any) -> None:
        self._note(why, pause(int(time.time() * 1000)))

    def _note(self, why: str, pause_ms: int) -> None:
        self.last_error = why
        _log.error(
            "compaction failed, trying again in {pause} s; nothing is lost: {why}", pause=pause_ms / 1000, why=why
        )

    def stop(self) -> None:
        """Kill the child, if any: what it wrote is garbage that the next start removes."""
        self._stopping = True
        if self._child is not None:
            self._child.signalProcess("KILL")


def _environment() -> dict[str, str]:
    """The child must find the same kvstore as we did, installed or in a checkout."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(kvstore.__file__)))
    paths = [root, os.environ.get("PYTHONPATH", "")]
    return dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, paths)))
