"""The parent process of a server in a group: when it starts that again, and how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from twisted.trial.unittest import SynchronousTestCase

from kvstore.edge.exits import LEADS_NO_MORE
from kvstore.edge.group import parent
from kvstore.testing.server_process import PATIENCE_S, environment
from tests.kit.server_process import eventually

#: The server: it ends in the ways that its arguments say, one after the other. Tests may run under nohup,
#: or behind a shell that goes on.
_PROGRAM = """
import os, signal, sys
from kvstore.edge.group import parent
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
    signal.signal(number, signal.SIG_DFL)
parent._AFTER_CRASH_S, parent._IMPATIENT_S = float(sys.argv[2]), 0
starts = os.open(sys.argv[1], os.O_CREAT | os.O_APPEND | os.O_RDWR)
parent.run_under_parent()
os.write(starts, b"x")
how = sys.argv[2 + os.fstat(starts).st_size]
if how == "stays":
    signal.signal(signal.SIGTERM, lambda *_: print("told", flush=True))
if how in ("waits", "stays"):
    print(os.getpid(), flush=True)
    while not os.read(0, 1):
        signal.pause()
if how == "led":
    signal.signal(signal.SIGTERM, lambda *_: os._exit(75))
    print(os.getpid(), flush=True)
    signal.pause()
os.kill(os.getpid(), 9) if how == "crash" else os._exit(int(how))
"""


@pytest.mark.long
class ParentTests(SynchronousTestCase):
    """See the module."""

    def start(self, *ends: str, pause_s: float = 0.001) -> subprocess.Popen[bytes]:
        """A parent whose server ends so."""
        self.starts = Path(self.mktemp())
        words = [sys.executable, "-c", _PROGRAM, str(self.starts), str(pause_s), *ends]
        process = subprocess.Popen(words, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(process.stdout.close)  # type: ignore[union-attr]
        self.addCleanup(process.stdin.close)  # type: ignore[union-attr]
        self.addCleanup(process.kill)
        return process

    def line(self, process: subprocess.Popen[bytes]) -> int | str:
        """What its server says next: who it is, or another word."""
        assert process.stdout is not None
        word = process.stdout.readline().decode().strip()
        return int(word) if word.isdigit() else word

    def server(self, process: subprocess.Popen[bytes]) -> int:
        """The process that serves, once it does."""
        return int(self.line(process))

    def end(self, process: subprocess.Popen[bytes]) -> int:
        """How it ends."""
        process.communicate(timeout=PATIENCE_S)
        return process.returncode

    def test_it_is_started_again(self) -> None:
        """After it led no more, and after a crash; not after it was stopped, or failed: then its status is told."""
        for ends, status in ((("75", "crash", "75", "0"), 0), (("crash", "1"), 1)):
            process = self.start(*ends)
            process.communicate(timeout=PATIENCE_S)
            self.assertEqual(process.returncode, status)

    def test_signals_are_passed_on(self) -> None:
        """And so told by the status."""
        for number in (signal.SIGTERM, signal.SIGQUIT, signal.SIGINT):
            process = self.start("waits")
            self.server(process)
            process.send_signal(number)
            self.assertEqual(self.end(process), 128 + number)

    def test_who_was_told_to_stop_starts_nobody(self) -> None:
        """Whatever the server that was told so ends of then."""
        for how, status in (("stays", 128 + signal.SIGKILL), ("led", 128 + signal.SIGTERM)):
            process = self.start(how, "waits")
            server = self.server(process)
            process.send_signal(signal.SIGTERM)
            if how == "stays":
                self.assertEqual(self.line(process), "told")
                os.kill(server, signal.SIGKILL)
            self.assertEqual(self.end(process), status)
            self.assertEqual(self.starts.read_bytes(), b"x")

    def test_who_is_told_again_kills(self) -> None:
        """A server that does not end for all that."""
        process = self.start("stays")
        self.server(process)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(self.line(process), "told")
        process.send_signal(signal.SIGTERM)
        self.assertEqual(self.end(process), 128 + signal.SIGKILL)

    def test_a_log_that_is_opened_anew(self) -> None:
        """Stops nothing: who dies of such a signal, since it has no handler yet, is started again."""
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            process = self.start("waits", "0")
            self.server(process)
            process.send_signal(number)
            self.assertEqual(self.end(process), 0)

    def test_what_stops_it_after_a_crash(self) -> None:
        """While there is no server: TERM, INT and QUIT, also behind others, which are forgotten."""
        for stop in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            process = self.start("waits", "waits", pause_s=1000 * PATIENCE_S)
            os.kill(server := self.server(process), signal.SIGKILL)
            eventually(lambda server=server: Path(f"/proc/{server}").exists(), lambda there: not there)
            for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, stop):
                process.send_signal(number)
            self.assertEqual(self.end(process), 128 + stop)
            self.assertEqual(self.starts.read_bytes(), b"x")

    def test_pauses(self) -> None:
        """None after one that led no more; then longer ones, for those that end soon after their start."""
        crash = [parent.pause_s(-signal.SIGSEGV, soon) for soon in range(8)]
        self.assertEqual(crash, [1, 1, 2, 4, 8, 16, 16, 16])
        fenced = [parent.pause_s(LEADS_NO_MORE, soon) for soon in range(8)]
        self.assertEqual(fenced, [0, 0, 1, 2, 4, 8, 16, 16])

    def test_how_the_server_before_ended(self) -> None:
        """Is said by the next one."""
        self.assertIn("SIGKILL", parent.told(-signal.SIGKILL))
        self.assertIn("no more", parent.told(LEADS_NO_MORE))

    def test_the_server_dies_with_its_parent(self) -> None:
        """However that dies: its output ends."""
        process = self.start("waits")
        self.server(process)
        process.kill()
        assert process.stdout is not None
        self.assertEqual(process.stdout.read(), b"")
        self.end(process)
