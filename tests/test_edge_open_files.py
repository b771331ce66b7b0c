"""How many clients fit, and what is said when no file is left."""

from __future__ import annotations

import os
import resource as system
import subprocess
from types import SimpleNamespace
from typing import Any

from twisted.internet.selectreactor import SelectReactor
from twisted.logger import Logger, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from kvstore.edge import open_files
from kvstore.edge.log_limit import LogLimit
from kvstore.edge.open_files import PortLog, clients_allowed
from kvstore.testing.server_process import ServerProcess, command, environment
from tests.kit.server_process import Wire, eventually

_UNLIMITED = system.RLIM_INFINITY


class ClientsAllowedTests(SynchronousTestCase):
    """As many clients as files, and as the reactor, allow."""

    def allowed(self, soft: int, hard: int, max_clients: int, reactor: Any = None) -> int:
        """How many when the limits are these. `changed`: what they are set to."""
        self.changed: list[tuple[int, int]] = []
        self.patch(open_files.resource, "getrlimit", lambda which: (soft, hard))
        self.patch(open_files.resource, "setrlimit", lambda which, limits: self.changed.append(limits))
        return clients_allowed(max_clients, reactor)

    def test_the_limit_on_files_is_raised(self) -> None:
        """To what is needed, if that is allowed; never lowered."""
        for soft, hard, changed in (
            (1024, 100_000, [(10_064, 100_000)]), (1024, _UNLIMITED, [(10_064, _UNLIMITED)]),
            (20_000, 100_000, []), (_UNLIMITED, _UNLIMITED, []),
        ):  # fmt: skip
            self.assertEqual((self.allowed(soft, hard, 10_000), self.changed), (10_000, changed))

    def test_fewer_files_are_fewer_clients(self) -> None:
        """What fits beside the server's own files, one at least; the operator is told."""
        with capturedLogs() as logs:
            found = [self.allowed(min(hard, 64), hard, 10_000) for hard in (4096, 65, 64, 20)]
        self.assertEqual(found, [4032, 1, 1, 1])
        self.assertEqual(len(logs), 4)
        self.assertIn("at most 4032 clients instead of 10000: only 4096 files may be open", formatEvent(logs[0]))

    def test_select(self) -> None:
        """select(2) ends at 1024 files; the operator is told if that is fewer clients than asked for."""
        select = SelectReactor.__new__(SelectReactor)
        with capturedLogs() as logs:
            found = [self.allowed(20_000, 20_000, clients, select) for clients in (959, 960, 961, 10_000)]
        self.assertEqual((found, len(logs)), ([959, 960, 960, 960], 2))


class PortLogTests(SynchronousTestCase):
    """What a port says of clients it cannot take."""

    def test_said_once(self) -> None:
        """One line for three clients of three lines each; each client counts."""
        turned_away: list[None] = []
        port = SimpleNamespace(_logger=Logger())
        PortLog(lambda: turned_away.append(None), LogLimit(lambda: 0.0)).watch(port)
        with capturedLogs() as logs:
            for number in range(3):
                port._logger.info("EMFILE encountered; releasing reserved file descriptor.")
                port._logger.info("EMFILE recovery: Closed socket from {address}", address=number)
                port._logger.info("Re-reserving EMFILE recovery file descriptor.")
        self.assertEqual(len(turned_away), 3)
        self.assertEqual([formatEvent(event).split(":")[0] for event in logs], ["no more files may be open"])

    def test_a_port_without_a_log(self) -> None:
        """Of somebody's plugin, say: it is left as it is."""
        PortLog(lambda: None, LogLimit(lambda: 0.0)).watch(object())


class RealServerTests(SynchronousTestCase):
    """The server itself."""

    def start(self, *options: str) -> ServerProcess:
        """A server, ended with the test."""
        server = ServerProcess(*options, data=os.path.abspath(self.mktemp()))
        self.addCleanup(server.kill)
        return server

    def connect(self, server: ServerProcess) -> Wire:
        """A client of it, gone with the test."""
        wire = Wire(server.port)
        self.addCleanup(wire.close)
        return wire

    def test_maxclients_tells_the_truth(self) -> None:
        """With 100 files 36 clients fit; those past them are told so, in a crowd too, and the log has one line."""
        words = command("--port", "0", "--data", os.path.abspath(self.mktemp()))
        process = subprocess.Popen(
            ["sh", "-c", 'ulimit -n 100; exec "$@"', "sh", *words], env=environment(), stdout=subprocess.PIPE, text=True
        )
        self.addCleanup(process.kill)
        assert process.stdout is not None
        with process.stdout as output:
            said = next(line for line in output if "at most 36 clients instead of 10000" in line)
            port = int(next(line for line in output if line.startswith("Listening on port ")).split()[-1])
            self.assertIn("only 100 files may be open", said)
            with Wire(port) as witness:
                self.assertEqual(witness.info("clients")["maxclients"], "36")
                self.assertEqual(witness.ask("CONFIG", "GET", "maxclients"), [b"maxclients", b"36"])
            process.kill()

    def test_files_run_out_all_the_same(self) -> None:
        """The limit of the running process is lowered: one line, however many clients come; they count as rejected."""
        server = self.start()
        witness = self.connect(server)
        self.assertEqual(witness.ask("PING"), b"PONG")  # it is accepted by now
        most = len(os.listdir(f"/proc/{server.pid}/fd")) + 2
        system.prlimit(server.pid, system.RLIMIT_NOFILE, (most, most))
        crowd = [self.connect(server) for _ in range(20)]
        eventually(lambda: int(witness.info("stats")["rejected_connections"]), lambda count: count >= len(crowd) - 2)
        self.assertEqual(witness.ask("PING"), b"PONG")
        self.assertEqual(len([line for line in server.log if "no more files" in line]), 1)
        self.assertEqual([line for line in server.log if "EMFILE" in line], [])
