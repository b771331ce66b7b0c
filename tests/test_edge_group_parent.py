"""The parent process of a server in a group: when it starts that again, and how it ends."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest
from twisted.trial.unittest import SynchronousTestCase

from kvstore.edge.group import parent
from kvstore.testing.server_process import PATIENCE_S, environment

#: The server: it ends in the ways that its arguments say, one after the other. Tests may run under nohup.
_PROGRAM = """
import os, signal, sys
from kvstore.edge.group import parent
signal.signal(signal.SIGHUP, signal.SIG_DFL)
parent._AFTER_CRASH_S = 0.01
starts = os.open(sys.argv[1], os.O_CREAT | os.O_APPEND | os.O_RDWR)
parent.run_under_parent()
os.write(starts, b"x")
how = sys.argv[1 + os.fstat(starts).st_size]
if how == "waits":
    print("waits", flush=True)
    os.read(0, 1)
os.kill(os.getpid(), 9) if how == "crash" else os._exit(int(how))
"""


@pytest.mark.long
class ParentTests(SynchronousTestCase):
    """See the module."""

    def start(self, *ends: str) -> subprocess.Popen[bytes]:
        """A parent whose server ends so."""
        words = [sys.executable, "-c", _PROGRAM, self.mktemp(), *ends]
        return subprocess.Popen(words, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def forget_signals(self) -> None:
        """Those that wait to be taken by this thread."""
        while signal.sigtimedwait(parent._PASSED_ON, 0) is not None:
            pass

    def test_it_is_started_again(self) -> None:
        """After it led no more, and after a crash; not after it was stopped, or failed: then its status is told."""
        for ends, status in ((("75", "crash", "75", "0"), 0), (("crash", "1"), 1)):
            process = self.start(*ends)
            process.communicate(timeout=PATIENCE_S)
            self.assertEqual(process.returncode, status)

    def test_signals_are_passed_on(self) -> None:
        """And so told by the status."""
        process = self.start("waits")
        assert process.stdout is not None
        self.assertEqual(process.stdout.readline(), b"waits\n")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE_S)
        self.assertEqual(process.returncode, 128 + signal.SIGTERM)

    def test_a_log_that_is_opened_anew(self) -> None:
        """Stops nothing: who dies of such a signal, since it has no handler yet, is started again."""
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            process = self.start("waits", "0")
            assert process.stdout is not None
            self.assertEqual(process.stdout.readline(), b"waits\n")
            process.send_signal(number)
            process.communicate(timeout=PATIENCE_S)
            self.assertEqual(process.returncode, 0)

    def test_what_stops_it_after_a_crash(self) -> None:
        """While there is no server: TERM, INT and QUIT, also behind others, which are forgotten."""
        others = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, parent._PASSED_ON)
        self.addCleanup(signal.pthread_sigmask, signal.SIG_SETMASK, mask)
        self.addCleanup(self.forget_signals)
        for stop in (None, signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            for number in others if stop is None else (*others, stop):
                signal.pthread_kill(threading.get_ident(), number)
            self.assertEqual(parent._is_told_to_stop(0.01 if stop is None else PATIENCE_S), stop is not None)
            self.forget_signals()

    def test_the_server_dies_with_its_parent(self) -> None:
        """However that dies: its output ends."""
        process = self.start("waits")
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()
        self.assertEqual(process.stdout.read(), b"")
        process.communicate(timeout=PATIENCE_S)
