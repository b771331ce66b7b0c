"""The small process under which a server of a group runs: it starts the server again.

A leader that another has followed holds, in memory, what the log does not: it ends at once, with a status of its own,
and what comes next is a start like any other, recovery and then following. Somebody has to start it.

| the server ended | then |
|---|---|
| as one that leads no more (LEADS_NO_MORE) | it is started again at once |
| by a signal that stops no server: a crash, `kill -9`, too little memory, SIGHUP at its start | again, after a second |
| in any other way: stopped, a start that is refused, fail-stop | so does the parent, with its status |

Signals are passed on. The server dies with its parent, however that dies: `kill -9` of the one process that a user
sees is `kill -9` of the server.

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

from kvstore.edge.exits import LEADS_NO_MORE

_AFTER_CRASH_S = 1.0
#: What is passed on. SIGINT only if it was sent to the parent alone: a terminal's goes to both.
_PASSED_ON = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGQUIT, signal.SIGINT)
#: What of it stops the server.
_STOPS = (signal.SIGTERM, signal.SIGQUIT, signal.SIGINT)
_SENT_BY_A_PROCESS = 0  # si_code, SI_USER
_PR_SET_PDEATHSIG = 1  # prctl(2)


def is_supervised(environment: Mapping[str, str]) -> bool:
    """Whether systemd runs this process: it wants to be told of the server's life, by the server."""
    return "NOTIFY_SOCKET" in environment


def run_under_parent() -> None:
    """Return in a process that is to be the server; the one that calls this waits for it, and never returns."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, (*_PASSED_ON, signal.SIGCHLD))
    parent = os.getpid()
    while True:
        child = os.fork()
        if not child:
            _die_with(parent)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            return
        status = _wait(child)
        if status == LEADS_NO_MORE:
            continue
        if status >= 0 or -status in _STOPS or _is_told_to_stop(_AFTER_CRASH_S):
            _end(status)


def _wait(child: int) -> int:
    """Pass signals on until the server has ended. Returns its status, or the signal that ended it, negative."""
    while True:
        received = signal.sigwaitinfo((*_PASSED_ON, signal.SIGCHLD))
        if received.si_signo == signal.SIGCHLD:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
        elif received.si_signo != signal.SIGINT or received.si_code == _SENT_BY_A_PROCESS:
            os.kill(child, received.si_signo)


def _is_told_to_stop(seconds: float) -> bool:
    """Whether somebody wants an end to it within that time, in which there is no server. Other signals are forgotten:
    who starts opens the log anyway.
    """
    until_s = time.monotonic() + seconds
    while (left_s := until_s - time.monotonic()) > 0:
        received = signal.sigtimedwait(_PASSED_ON, left_s)
        if received is not None and received.si_signo in _STOPS:
            return True
    return False


def _end(status: int) -> None:
    """End as the server did; as a shell tells it, if a signal ended that."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    os._exit(status if status >= 0 else 128 - status)


def _die_with(parent: int) -> None:
    """The kernel kills this process when that one has ended."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it has ended already
        os._exit(1)
