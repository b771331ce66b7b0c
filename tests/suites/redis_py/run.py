"""Run files of redis-py's tests against a server, each by a pytest of its own, and read how each test ended."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from tests.suites.outcomes import Outcomes, outcomes_of
from tests.suites.redis_py.environment import Environment

#: The files that ask a server, or what a client does about one; in `tests/` and, most of them, in
#: `tests/test_asyncio/`. Left out: clusters, sentinels, modules, TLS and what needs several servers.
NAMES = (
    "background", "cache", "client", "command_parser", "commands", "connection", "connection_pool", "credentials",
    "encoding", "function", "hash", "keyspace_notifications", "lock", "max_connections_error", "monitor",
    "multiprocessing", "pipeline", "pubsub", "retry", "scripting",
)  # fmt: skip

#: Marks of what is left out of these files.
_MARKS = "not onlycluster and not redismod and not ssl and not replica"
#: In seconds, for one test: they run under tracemalloc.
_TIMEOUT = 60


def files(environment: Environment, names: Iterable[str] = NAMES) -> list[str]:
    """The paths of those files, below the source."""
    paths = [f"tests/{room}test_{name}.py" for name in names for room in ("", "test_asyncio/")]
    return [path for path in paths if (environment.source / path).exists()]


def run(environment: Environment, path: str, port: int) -> Outcomes:
    """Run one file against the server on a port of this machine; what failed is run once more, and that counts.

    Raises RuntimeError if pytest itself fails.
    """
    outcomes = _run(environment, [path], port)
    again = list(outcomes.failed)
    if again:
        second = _run(environment, [f"{path}::{test}" for test in again], port)
        outcomes.failed = second.failed
        outcomes.passed += second.passed
    return outcomes


def _run(environment: Environment, tests: list[str], port: int) -> Outcomes:
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory, "report.xml")
        words = [environment.python, "-m", "pytest", *tests, "-m", _MARKS, f"--redis-url=redis://127.0.0.1:{port}/0"]
        # Python's own tracebacks: pytest's take longer than a test may, of files of 8,000 lines under tracemalloc.
        words += ["-q", "--tb=native", f"--timeout={_TIMEOUT}", "-p", "no:cacheprovider", f"--junitxml={report}"]
        done = subprocess.run(words, cwd=environment.source, capture_output=True, text=True, check=False)
        if done.returncode not in (0, 1, 5):  # all passed, some failed, none to run
            raise RuntimeError(f"{' '.join(tests)[:200]}: pytest ended with {done.returncode}: {done.stdout[-2000:]}")
        return outcomes_of(report.read_text(encoding="utf-8"))
