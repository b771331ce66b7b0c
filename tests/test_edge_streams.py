"""Standard streams: closed, never read, halted, failing; the server goes on, and writes into nothing else."""

from __future__ import annotations

import contextlib
import os
import pty
import socket
import subprocess
import termios
from typing import Any
from unittest import mock

import pytest
from twisted.trial.unittest import SynchronousTestCase

from kvstore.edge.streams import Unblocked
from kvstore.testing.server_process import PATIENCE_S, command, environment
from tests.kit.server_process import Wire, eventually, new_directory

_ERROR_OF_ANOTHER_ENCODING = "ä \udcff"


def full_pipe() -> tuple[int, int]:
    """Both ends of a pipe that takes nothing more."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * 4096)
    os.set_blocking(writing, True)
    return reading, writing


class UnblockedTests(SynchronousTestCase):
    """The stream by itself."""

    def stream(self, descriptor: int, before: Any = None) -> Unblocked:
        """One on a descriptor, which is closed with the test."""
        self.addCleanup(os.close, descriptor)
        return Unblocked(descriptor, before)

    def pipe(self) -> tuple[int, Unblocked]:
        """The reading end of a pipe, and a stream on the other."""
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        return reading, self.stream(writing)

    def test_lines(self) -> None:
        """Whole lines leave at once; what has no end yet leaves with its end, or when it is flushed."""
        reading, stream = self.pipe()
        print("one", "two", file=stream)
        self.assertEqual(os.read(reading, 100), b"one two\n")
        stream.write("three ")
        stream.write("four\nfive")
        self.assertEqual(os.read(reading, 100), b"three four\n")
        stream.flush()
        self.assertEqual(os.read(reading, 100), b"five")

    def test_nobody_reads(self) -> None:
        """Lines past what the pipe takes are left out and counted; the descriptor of our parent blocks as before."""
        reading, writing = full_pipe()
        self.addCleanup(os.close, reading)
        stream = self.stream(writing)
        for number in range(1000):
            print("line", number, file=stream)
        self.assertTrue(os.get_blocking(writing))
        os.read(reading, 1 << 20)
        print("again", file=stream)
        expected = (
            b"line 0\n(999 lines are left out here: nobody read this stream, or it could not be written)\nagain\n"
        )
        self.assertEqual(os.read(reading, 100), expected)

    def test_a_long_line_goes_on_where_it_stopped(self) -> None:
        """Its rest is written when there is room, before anything else."""
        reading, stream = self.pipe()
        print("x" * 200_000, file=stream)
        received = b""
        while len(received) < 200_001:
            received += os.read(reading, 1 << 20)
            stream.flush()
        self.assertEqual(received, b"x" * 200_000 + b"\n")

    def test_a_socket(self) -> None:
        """As a supervisor's journal is one: the same."""
        journal, ours = socket.socketpair()
        self.addCleanup(journal.close)
        stream = self.stream(ours.detach())
        for number in range(20_000):
            print("line", number, file=stream)
        self.assertTrue(journal.recv(1 << 16).startswith(b"line 0\nline 1\n"))

    def test_the_reader_is_gone(self) -> None:
        """The line is lost, and nothing is raised."""
        reading, writing = os.pipe()
        os.close(reading)
        print("lost", file=self.stream(writing))

    def test_the_disk_is_full(self) -> None:
        """The line is lost, and nothing is raised."""
        print("lost", file=self.stream(os.open("/dev/full", os.O_WRONLY)), flush=True)

    def test_what_cannot_be_encoded(self) -> None:
        """It is shown escaped, in the encoding of the stream that was there before."""
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        print(_ERROR_OF_ANOTHER_ENCODING, file=self.stream(writing, mock.Mock(encoding="ascii")))
        self.assertEqual(os.read(reading, 100), b"\\xe4 \\udcff\n")

    def test_a_halted_terminal(self) -> None:
        """As after Ctrl-S, or when nobody reads its other side: lines are left out."""
        other, terminal = pty.openpty()
        self.addCleanup(os.close, other)
        stream = self.stream(terminal)
        self.assertTrue(stream.isatty())
        termios.tcflow(terminal, termios.TCOOFF)
        print("halted", file=stream)
        termios.tcflow(terminal, termios.TCOON)
        for number in range(10_000):
            print("line", number, file=stream)
        self.assertTrue(os.get_blocking(terminal))
        self.assertIn(b"line 0\r\n", os.read(other, 1 << 16))


class ServerTests(SynchronousTestCase):
    """The server with such streams."""

    def start(self, redirection: str = "", **streams: Any) -> tuple[subprocess.Popen[bytes], str]:
        """Start one, listening on a socket in its directory; `redirection`: a shell's."""
        directory = new_directory(self.addCleanup)
        path = os.path.join(directory, "socket")
        words = command("--data", os.path.join(directory, "data"), "--listen", f"unix:{path}")
        shell = ["sh", "-c", f'exec "$@" {redirection}', "sh", *words]
        process = subprocess.Popen(shell, env=environment(), **streams)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        eventually(lambda: process.poll() is not None or self.answers(path))
        self.assertIsNone(process.poll())
        return process, path

    def answers(self, path: str) -> bool:
        """Whether the server serves."""
        try:
            with Wire(path) as wire:
                return bool(wire.ask("SET", "a", "1") == b"OK")
        except OSError:
            return False

    def test_a_pipe_that_nobody_reads(self) -> None:
        """Full from the start: the server comes up and serves."""
        for name in ("stdout", "stderr"):
            reading, writing = full_pipe()
            self.addCleanup(os.close, reading)
            self.addCleanup(os.close, writing)
            self.start(**{name: writing})

    @pytest.mark.long
    def test_closed(self) -> None:
        """Any of the three: /dev/null is there then, not the log of the data nor somebody's socket."""
        for redirection in ("<&-", ">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"):
            process, path = self.start(redirection)
            targets = [os.readlink(f"/proc/{process.pid}/fd/{number}") for number in range(3)]
            closed = [number for number, text in enumerate(("<&-", ">&-", "2>&-")) if f" {text}" in f" {redirection}"]
            self.assertEqual([targets[number] for number in closed], ["/dev/null"] * len(closed), redirection)
            self.assertTrue(self.answers(path))

    def test_a_full_disk(self) -> None:
        """Standard output on a full disk loses the log, and nothing else."""
        self.start(">/dev/full 2>&1")

    @pytest.mark.long
    def test_a_refused_start_with_closed_streams(self) -> None:
        """The exit status still tells."""
        for redirection in (">&-", "2>&-", ">&- 2>&-"):
            words = ["sh", "-c", f'exec "$@" {redirection}', "sh", *command("--data", "/proc/nowhere", "--port", "0")]
            ended = subprocess.run(words, env=environment(), capture_output=True, timeout=PATIENCE_S, check=False)
            self.assertEqual(ended.returncode, 1, redirection)
