"""How the process ends otherwise than by a stop: a start that is refused, and the fail-stop."""

from __future__ import annotations

import os
import sys

from twisted.logger import Logger

_log = Logger()


def exit_at_once(status: int) -> None:
    """End the process, now: nothing is closed, nobody hears anything more."""
    try:
        sys.stdout.flush()
    finally:
        os._exit(status)


class StartEnded(SystemExit, Exception):
    """Ends a start that is refused, with exit status 1. `line`: what to say on stderr.

    SystemExit, so that no traceback is shown. Exception too, for twistd's sake: when it daemonises, a parent waits to
    be told of the child's start, and would wait for ever for one that ended with a bare SystemExit.
    """

    def __init__(self, line: str) -> None:
        super().__init__(line)
        if sys.__stderr__ is not None and sys.stderr is not sys.__stderr__:
            print(line, file=sys.__stderr__, flush=True)
            self.code = 1


def refuse_start(reason: str) -> StartEnded:
    """The exception that ends a start: one line on stderr and in the log, exit status 1."""
    _log.critical("kvstore: {reason}", reason=reason)
    return StartEnded(f"kvstore: {reason}")
