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
from scripts.measuring.servers import start_server
from tests.suites import program
from tests.suites.comparison import Comparison, add_options, say, side_of
from tests.suites.outcomes import Results
from tests.suites.redis_py.environment import Environment
from tests.suites.redis_py.report import markdown
from tests.suites.redis_py.run import NAMES, files, run

SUITE = Comparison("redis-py", markdown)

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
                say(side, path, outcomes)
        finally:
            server.kill()
    return results


def _is_free(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
        return True
    return False


def main() -> int:
    """The program. Returns the exit status."""
    parser = program.parser_of("redis_py_suite", __doc__, seeded=False)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)} (default: all)")
    add_options(parser)
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(NAMES):
        parser.error(f"there are no tests of {', '.join(sorted(unknown))}")
    side = side_of(arguments)
    results = run_against(side, arguments.names or list(NAMES))
    if arguments.report:
        SUITE.keep(side, results)
    return SUITE.conclude(side, results)


if __name__ == "__main__":
    program.run(main)
