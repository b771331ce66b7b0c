"""What the programs share: where the server is, killing it, notes of what was done, and the verdict.

Imported in the client's own environment, so it has only the standard library.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

PORT = int(os.environ["PORT"])
URL = f"redis://127.0.0.1:{PORT}/0"
#: A directory of this run's own, where the program and what it starts are run.
SCRATCH = Path(os.environ["SCRATCH"])

PATIENCE_S = 60.0
_LOOK_AGAIN_S = 0.05
#: Of one job: some are under way when the server is killed.
_JOB_S = 0.03
#: So long no job runs before what workers held is recovered.
_IDLE_S = 3.0
_NOTES = SCRATCH / "notes"


def crash() -> None:
    """kill -9 of the server; returns when it accepts connections again, on the same port and directory."""
    print("CRASH", flush=True)
    sys.stdin.readline()


def works(found: str) -> None:
    """The verdict: what this was to show holds. Ends the program, and all that it started."""
    print("WORKS", found, flush=True)
    os._exit(0)


def eventually(condition: Callable[[], Any], what: str = "it") -> Any:
    """Return what `condition` gives as soon as it is true; it may raise before. Raises AssertionError."""
    deadline, error = time.monotonic() + PATIENCE_S, ""
    while time.monotonic() < deadline:
        try:
            if found := condition():
                return found
        except Exception:
            error = traceback.format_exc()
        time.sleep(_LOOK_AGAIN_S)
    raise AssertionError(f"{error}\n{what} did not happen in {PATIENCE_S:g} s")


class Supervised:
    """A process, such as a worker, which is started again whenever it ends, until this program ends."""

    def __init__(self, *words: str) -> None:
        self._words = words
        self._process = self._started()
        in_background(self._supervise)

    def restart(self) -> None:
        """End it, so that it is started again."""
        self._process.terminate()

    def _started(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self._words, stdin=subprocess.DEVNULL, stdout=sys.stderr)

    def _supervise(self) -> None:
        while True:
            self._process.wait()
            time.sleep(_IDLE_S)
            self._process = self._started()


def in_background(work: Callable[..., Any], *arguments: Any) -> threading.Thread:
    """Do it in a thread that does not keep the program alive."""
    thread = threading.Thread(target=work, args=arguments, daemon=True)
    thread.start()
    return thread


def note(number: int) -> None:
    """Write down that this was done, where no server is needed for it; done by jobs, in any process."""
    with open(_NOTES, "a") as file:
        file.write(f"{number}\n")


def notes() -> list[int]:
    """All that was noted so far."""
    return [int(line) for line in _NOTES.read_text().splitlines()] if _NOTES.exists() else []


def job(number: int) -> None:
    """What a job does."""
    time.sleep(_JOB_S)
    note(number)


class Producer:
    """Enqueues jobs by `enqueue(number)`, `count` of them accepted, from a thread. What raises was not accepted, and is
    done again as a job of another number: the server may have it, or not.
    """

    def __init__(self, enqueue: Callable[[int], Any], count: int) -> None:
        self.accepted: list[int] = []
        self.refused: list[int] = []
        self._enqueue, self._count = enqueue, count
        self.thread = in_background(self._run)

    def _run(self) -> None:
        number = 0
        while len(self.accepted) < self._count:
            number += 1
            try:
                self._enqueue(number)
            except Exception:
                traceback.print_exc()
                self.refused.append(number)
                time.sleep(_LOOK_AGAIN_S)
            else:
                self.accepted.append(number)


def queue(
    enqueue: Callable[[int], Any], *, count: int = 100, once: bool = False, in_flight: int = 0,
    recover: Callable[[], Any] = lambda: None,
) -> None:  # fmt: skip
    """The scenario of all queues: jobs are enqueued and run, the server is killed in the middle, every job that was
    accepted runs; then `works`. The workers, which call `job(number)`, have been started.

    `once`: the library promises that none runs twice. `in_flight`: how many jobs may be gone since their worker had
    asked for one, by a library that takes a job out of the queue before it has it. `recover`: what an operator does to
    jobs that a worker had when it lost the server; done when no job has run for a while.
    """
    producer = Producer(enqueue, count)
    eventually(lambda: len(notes()) >= count // 5, "a fifth of the jobs")
    done_before = len(notes())
    crash()
    eventually(lambda: not producer.thread.is_alive(), "enqueueing")
    deadline = time.monotonic() + PATIENCE_S
    while (lost := missing(producer)) and time.monotonic() < deadline:
        time.sleep(_IDLE_S)
        if missing(producer) == lost:
            if len(lost) <= in_flight:
                break
            print(f"no job has run for {_IDLE_S:g} s; to be recovered: {lost}", file=sys.stderr)
            recover()
    assert len(lost) <= in_flight, f"jobs that are lost: {lost}"
    twice = [number for number, times in Counter(notes()).items() if times > 1]
    assert not (once and twice), f"jobs that ran twice: {twice}"
    works(
        f"{len(producer.accepted)} jobs accepted, {done_before} done before the kill; "
        f"{len(lost)} lost, {len(twice)} run twice"
        + (" (the library promises no more than that)" if lost or twice else "")
    )


def missing(producer: Producer) -> set[int]:
    """The jobs that were accepted and have not run."""
    return set(producer.accepted) - set(notes())
