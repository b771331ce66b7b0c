"""Run redis-py's own tests, as they are in its source distribution, against kvstore.

    scripts/redis_py_suite                       # all of these files: about ten minutes
    scripts/redis_py_suite commands lock         # test_commands.py and test_lock.py, blocking and asyncio
    scripts/redis_py_suite --report              # the same, and makes report/redis-py.md anew
    scripts/redis_py_suite --report --valkey     # what to compare with, for a newer redis-py

The tests, and what they need, are fetched by pip once, into .venv/redis-py. Each file has a pytest of its own; a test
that fails is run once more. What passes against Valkey, as the report has it, and fails here is listed. Exit status: 0
if nothing is, 1 if something is.
"""

from __future__ import annotations

import contextlib
import socket
import tempfile
from pathlib import Path

from kvstore.testing.server_process import ROOT
from scripts.measuring.servers import KVSTORE, VALKEY, start_server
from tests.suites import program
from tests.suites.outcomes import Results, keep, load, only_here
from tests.suites.redis_py.environment import Environment
from tests.suites.redis_py.report import markdown
from tests.suites.redis_py.run import NAMES, files, run

#: What is kept of the last run, and what people read of it.
KEPT, REPORT = Path(ROOT, "report", "redis-py.json"), Path(ROOT, "report", "redis-py.md")

#: Where some of the tests look for a server, whatever they are told.
_USUAL_PORT = 6379


def run_against(side: str, names: list[str]) -> Results:
    """Run those files against a new KVSTORE or VALKEY, on the usual port if that is free, and print a line for each."""
    installed = Environment(Path(ROOT, ".venv", "redis-py"))
    results: Results = {}
    with tempfile.TemporaryDirectory(prefix="kvstore-redis-py-") as directory:
        server = start_server(side, Path(directory, "data"), port=_USUAL_PORT if _is_free(_USUAL_PORT) else 0)
        try:
            for path in files(installed, names):
                outcomes = results[path] = run(installed, path, server.port)
                counts = f"{outcomes.passed} passed, {len(outcomes.failed)} failed, {outcomes.skipped} skipped"
                print(f"{side} {path}: {counts}", flush=True)
        finally:
            server.kill()
    return results


def _is_free(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
        return True
    return False


def _keep(side: str, results: Results) -> None:
    """Put the results among those that are kept, and make the report anew."""
    kept = load(KEPT)
    keep(KEPT, kept | {side: kept.get(side, {}) | results})
    kept = load(KEPT)
    REPORT.write_text(markdown(kept.get(KVSTORE, {}), kept.get(VALKEY, {})), encoding="utf-8")


def main() -> int:
    """The program. Returns the exit status."""
    parser = program.parser_of("redis_py_suite", __doc__, seeded=False)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)} (default: all)")
    parser.add_argument("--valkey", action="store_true", help="run them against Valkey, not against kvstore")
    parser.add_argument("--report", action="store_true", help="keep the results, and make the report anew")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(NAMES):
        parser.error(f"there are no tests of {', '.join(sorted(unknown))}")
    side = VALKEY if arguments.valkey else KVSTORE
    results = run_against(side, arguments.names or list(NAMES))
    if arguments.report:
        _keep(side, results)
    worse = [] if arguments.valkey else list(only_here(results, load(KEPT).get(VALKEY, {})))
    for name, test, reason in worse:
        print(f"fails here, not against Valkey: {name}::{test}: {reason}")
    return 1 if worse else 0


if __name__ == "__main__":
    program.run(main)
