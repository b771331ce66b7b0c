"""The small process under which a server of a group runs: it starts the server again.

A leader that another has followed holds, in memory, what the log does not: it ends at once, with a status of its own,
and what comes next is a start like any other, recovery and then following. Somebody has to start it.

| the server ended | then |
|---|---|
| as one that leads no more (LEADS_NO_MORE) | it is started again at once |
| by a signal that stops no server: a crash, `kill -9`, too little memory, SIGHUP at its start | again, after a second |
| in either way, and again within _SOON_S of its start | again, after a pause twice as long as the last, up to 16 s |
| in any other way: stopped, a start that is refused, fail-stop | so does the parent, with its status |
| in whatever way, after somebody told the parent to stop | so does the parent: see below |

Each start says in its log how the server before ended.

**Signals** are passed on, while there is a server; while there is none, SIGHUP and its kin are forgotten, as who starts
opens the log anyway. Who has been told to stop (SIGTERM, SIGQUIT, SIGINT) starts no server any more, and its exit
status is the server's, or as of that signal if there was no server, or one that led no more. The second time within a
second is the same one (`timeout` sends two); later, somebody is tired of waiting: the server is killed, which
loses nothing that was acknowledged.

The server dies with its parent, however that dies: `kill -9` of the one process that a user sees is `kill -9` of the
server. So there is none that serves and that nobody would start again.

The server is forked, not executed anew: options are read and modules are loaded by then, nothing is opened, and no
reactor is there. The parent does nothing but wait, and shares its memory with the server.

Under systemd, which does all that, there is no parent: see contrib/systemd.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Mapping
from typing import NoReturn

from kvstore.edge.exits import LEADS_NO_MORE

_AFTER_CRASH_S = 1.0
_MOST_PAUSE_S = 16.0
#: Who ends so long after its start may have done so for the same reason as the one before.
_SOON_S = 10.0
#: From when on a second signal that stops is a wish of its own.
_IMPATIENT_S = 1.0
#: What stops the server. SIGINT is passed on only if it was sent to the parent alone: a terminal's goes to both.
_STOPS = (signal.SIGTERM, signal.SIGQUIT, signal.SIGINT)
_PASSED_ON = (*_STOPS, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_SENT_BY_A_PROCESS = 0  # si_code, SI_USER
_PR_SET_PDEATHSIG = 1  # prctl(2)


def is_supervised(environment: Mapping[str, str]) -> bool:
    """Whether systemd runs this process: it wants to be told of the server's life, by the server."""
    return "NOTIFY_SOCKET" in environment


def run_under_parent() -> str:
    """Return in a process that is to be the server; the one that calls this waits for it, and never returns.

    Returns how the server before ended, in words; "" in the first.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, (*_PASSED_ON, signal.SIGCHLD))
    parent = _Parent(os.getpid())
    before = ""
    while True:
        child = os.fork()
        if not child:
            _die_with(parent.pid)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            return before
        before = parent.outlive(child)


class _Parent:
    """The process that waits. All signals are blocked, and taken one after the other."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._told: int | None = None  # the signal that told it to stop
        self._told_s = 0.0  # and when
        self._in_a_row = 0  # servers that ended soon after their start

    def outlive(self, child: int) -> str:
        """Wait for a server, and until the next is to be started. Returns how it ended; or ends, as the module says."""
        began_s = time.monotonic()
        status = self._wait(child)
        self._in_a_row = self._in_a_row + 1 if time.monotonic() - began_s < _SOON_S else 0
        again = self._told is None and is_started_again(status)
        if again and self._rested(pause_s(status, self._in_a_row)):
            return told(status)
        there_was_none = again or status == LEADS_NO_MORE
        _end(-self._told if self._told is not None and there_was_none else status)

    def _wait(self, child: int) -> int:
        """Pass signals on until the server has ended. Returns its status, or the signal that ended it, negative."""
        while True:
            received = signal.sigwaitinfo((*_PASSED_ON, signal.SIGCHLD))
            if received.si_signo == signal.SIGCHLD:
                ended, status = os.waitpid(child, os.WNOHANG)
                if ended:
                    return os.waitstatus_to_exitcode(status)
            elif received.si_signo not in _STOPS:
                os.kill(child, received.si_signo)
            elif self._told is None:
                self._heed(received.si_signo)
                if received.si_signo != signal.SIGINT or received.si_code == _SENT_BY_A_PROCESS:
                    os.kill(child, received.si_signo)
            elif time.monotonic() - self._told_s >= _IMPATIENT_S:
                os.kill(child, signal.SIGKILL)

    def _rested(self, seconds: float) -> bool:
        """Let the time pass; returns whether it has, and nobody has wanted an end to it. No server is there."""
        until_s = time.monotonic() + seconds
        while (received := signal.sigtimedwait(_PASSED_ON, max(0.0, until_s - time.monotonic()))) is not None:
            if received.si_signo in _STOPS:
                self._heed(received.si_signo)
                return False
        return True

    def _heed(self, number: int) -> None:
        self._told, self._told_s = number, time.monotonic()


def is_started_again(status: int) -> bool:
    """Whether a server that nobody stopped, and that ended so, is."""
    return status == LEADS_NO_MORE or (status < 0 and -status not in _STOPS)


def pause_s(status: int, in_a_row: int) -> float:
    """Seconds until it is. `in_a_row`: how many have ended soon after their start, this one the last of them."""
    doublings = in_a_row - 1 if in_a_row else 0
    if status == LEADS_NO_MORE:
        doublings -= 1
    return min(_AFTER_CRASH_S * 2.0**doublings, _MOST_PAUSE_S) if doublings >= 0 else 0.0


def told(status: int) -> str:
    """How a server ended that is started again."""
    return "it led no more, or was to begin anew" if status >= 0 else f"{signal.Signals(-status).name} ended it"


def _end(status: int) -> NoReturn:
    """End as the server did; as a shell tells it, if a signal ended that."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    os._exit(status if status >= 0 else 128 - status)


def _die_with(parent: int) -> None:
    """The kernel kills this process when that one has ended."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it has ended already
        os._exit(1)
