"""The command `kvstore`, and `python -m kvstore`: `kvstore serve` is the server, every other word one of the tools.

It stands above both, so that a tool starts without Twisted. `serve` is `twistd -n --pidfile= kvstore` under a name that
is easier to find, with the same options: one launcher, one way to start. (No pid file: in the foreground it serves
nothing, and one left by `kill -9` could keep the server from starting again.)
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import kvstore.base.safe_path  # noqa: F401  before all others

try:
    from kvstore.tools import main as tools
except ModuleNotFoundError as error:  # a checkout's, run by a Python that has not what it needs
    sys.exit(f"kvstore: {error.name} is missing; pip install . first, or run scripts/serve and take .venv/bin/python")

_TWISTD = ("twistd", "-n", "--pidfile=", "kvstore")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server or a tool; returns the exit status. `arguments`: without the program's name; None for the
    process's own.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    return serve(words[1:]) if words[:1] == ["serve"] else tools.main(words)


def serve(options: Sequence[str]) -> int:
    """Run the server in the foreground. Returns when it was stopped. Raises SystemExit if it does not start."""
    from twisted.scripts.twistd import run

    sys.argv[:] = [*_TWISTD, *options]
    run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
