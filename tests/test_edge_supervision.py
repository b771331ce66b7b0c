"""What systemd is told, and sockets that it opened: on sockets of the tests' own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kvstore.edge.supervision import Supervision
from kvstore.testing.server_process import PATIENCE_S, command, environment
from tests.kit.server_process import Wire, new_directory

#: Gives descriptor argv[1] to the program that follows, as systemd does.
_ACTIVATED = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="kvstore.socket")
os.execv(sys.argv[2], sys.argv[2:])
"""


class Supervisor:
    """The other end. `address`: as NOTIFY_SOCKET has it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address.replace("@", "\0"))
        self.socket.settimeout(PATIENCE_S)

    def hears(self) -> list[str]:
        """The next message."""
        return self.socket.recv(1000).decode().split("\n")


class SupervisionTests(SynchronousTestCase):
    """The service by itself, on a clock."""

    def supervisor(self, address: str | None = None) -> Supervisor:
        """One that listens; closed with the test."""
        supervisor = Supervisor(address or os.path.join(new_directory(self.addCleanup), "notify"))
        self.addCleanup(supervisor.socket.close)
        return supervisor

    def test_a_life(self) -> None:
        """Ready, alive twice in each interval, stopping; by a path and by an abstract name."""
        for address in (None, f"@kvstore-test-{os.getpid()}"):
            supervisor = self.supervisor(address)
            told = {"NOTIFY_SOCKET": supervisor.address, "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}
            clock = Clock()
            service = Supervision(clock, told)
            self.assertEqual(told, {})
            service.startService()
            self.assertEqual(supervisor.hears(), ["WATCHDOG=1"])
            service.ready("all is well")
            self.assertEqual(supervisor.hears(), ["READY=1", "STATUS=all is well"])
            clock.advance(1.5)
            self.assertEqual(supervisor.hears(), ["WATCHDOG=1"])
            service.stopService()
            self.assertEqual(supervisor.hears(), ["STOPPING=1", "STATUS=stopping"])
            clock.advance(10)
            supervisor.socket.setblocking(False)
            self.assertRaises(BlockingIOError, supervisor.hears)

    def test_no_watchdog(self) -> None:
        """None was asked for, or of another process: nothing is told of the loop."""
        for wanted in ({}, {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}):
            supervisor = self.supervisor()
            service = Supervision(Clock(), {"NOTIFY_SOCKET": supervisor.address, **wanted})
            service.startService()
            service.ready("")
            self.assertEqual(supervisor.hears()[0], "READY=1")

    def test_nobody_listens(self) -> None:
        """Nothing fails."""
        for told in ({}, {"NOTIFY_SOCKET": "/nowhere/at/all", "WATCHDOG_USEC": "2"}):
            service = Supervision(Clock(), dict(told))
            service.startService()
            service.ready("")
            service.stopService()


class RealServerTests(SynchronousTestCase):
    """A server that systemd starts, more or less."""

    def test_started_by_its_socket(self) -> None:
        """It listens on a socket that it got, and says when it is alive, ready and stopping."""
        directory = new_directory(self.addCleanup)
        supervisor = Supervisor(os.path.join(directory, "notify"))
        self.addCleanup(supervisor.socket.close)
        port = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(port.close)
        options = command("--listen=systemd:domain=INET:name=kvstore.socket", f"--data={directory}/data")
        number = port.fileno()
        server = subprocess.Popen(
            [sys.executable, "-c", _ACTIVATED, str(number), *options], pass_fds=[number],
            env=environment(NOTIFY_SOCKET=supervisor.address, WATCHDOG_USEC="60000000"), stdout=subprocess.DEVNULL,
        )  # fmt: skip
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        self.assertEqual(supervisor.hears(), ["WATCHDOG=1"])
        self.assertEqual(supervisor.hears(), ["READY=1", "STATUS=serving 0 recovered keys, and what came since"])
        with Wire(port.getsockname()[1]) as wire:
            self.assertEqual(wire.ask("PING"), b"PONG")
        server.terminate()
        self.assertEqual(supervisor.hears()[0], "STOPPING=1")
        self.assertEqual(server.wait(PATIENCE_S), -signal.SIGTERM)  # twistd ends as if it had no handler
