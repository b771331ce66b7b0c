"""scripts/experiment at work: two hosts and the link between them, short runs of real servers and clients."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import socket
import tempfile
import time
from pathlib import Path

import pytest
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from kvstore.base.address import Address
from kvstore.client.raw import RawConnection
from kvstore.testing.server_process import ServerProcess
from scripts.experimenting import compaction, running
from scripts.experimenting.network import SERVER_ADDRESS, NoNetwork, place
from scripts.experimenting.plan import PARTS, QUICK, Run
from scripts.experimenting.running import read
from scripts.measuring.processes import children

NO_COMPILER = None if shutil.which(os.environ.get("CC", "cc")) else "there is no C compiler"


class ReadingTests(SynchronousTestCase):
    """What is read of a server and its clients."""

    def test_a_server_and_its_reader(self) -> None:
        """Time goes on, and who computes has used some of it; nothing was committed."""
        server = ServerProcess(data=self.mktemp())
        self.addCleanup(server.kill)
        self.assertIn(server.pid, children(os.getpid()))
        with RawConnection(Address("127.0.0.1", server.port)) as connection:
            first = read(connection, server.pid, [os.getpid()], [])
            while time.process_time() < 0.1:
                pass
            last = read(connection, server.pid, [os.getpid()], [])
        self.assertGreater(last.at, first.at)
        self.assertGreater(last.server, first.server)
        self.assertGreater(last.clients, first.clients)
        self.assertEqual((last.commits, last.committed, last.link), (0, 0, 0))


class TwoHostsTests(SynchronousTestCase):
    """Network namespaces, where they can be made."""

    skip = NO_COMPILER

    def test_they_reach_each_other_and_nobody_else(self) -> None:
        """A server on one host is reached from the other, at the stated distance, and not from here; what is sent
        arrives whole and in order; the machine's own devices stay as they were.
        """
        devices, sent, directory = socket.if_nameindex(), bytes(range(256)) * 1000, Path(self.mktemp())
        directory.mkdir()
        with contextlib.ExitStack() as cleanup:
            try:
                hosts = cleanup.enter_context(place(10.0, directory))
            except NoNetwork as error:
                raise SkipTest(str(error)) from None
            self.assertEqual(socket.if_nameindex(), devices)
            with hosts.at_server():
                listener = socket.create_server((SERVER_ADDRESS, 0))
            address = listener.getsockname()
            began = time.perf_counter()
            with hosts.at_clients():
                client = socket.create_connection(address, 10)
            self.assertGreaterEqual(time.perf_counter() - began, 0.02)
            there, _ = listener.accept()
            client.sendall(sent)
            with there.makefile("rb") as file:
                self.assertEqual(file.read(len(sent)), sent)
            self.assertRaises(OSError, socket.create_connection, address, 0.2)
            for end in (client, there, listener):
                end.close()
        self.assertEqual(socket.if_nameindex(), devices)


@pytest.mark.long
class RunTests(SynchronousTestCase):
    """Short runs with the real server and the real clients."""

    skip = NO_COMPILER

    def setUp(self) -> None:
        """More patience than usual, on a busy machine."""
        self.patch(running, "_TRIES", 20)

    def rows(self, part: str, number: int) -> None:
        """Measure a variant of a part with two clients: each row agrees with itself, and nothing is left."""
        variant = PARTS[part][number]
        with tempfile.TemporaryDirectory() as directory:
            with contextlib.redirect_stderr(io.StringIO()):  # "once more"
                rows = running.measure(Run(7, variant, 2), QUICK, Path(directory))
            self.assertEqual(os.listdir(directory), [])
        self.assertEqual([row["operation"] for row in rows], list(variant.operations))
        for row in rows:
            self.assertEqual((row["round"], row["variant"], row["clients"]), (7, variant.name, 2))
            self.assertGreater(min(row["per_second"], row["server_cpu"], row["clients_cpu"]), 0)
            self.assertTrue(0 < row["p50_ms"] <= row["p99_ms"] <= row["slowest_ms"])
            self.assertEqual(row["commits"] > 0, row["operation"] in ("insert", "remove"))

    def test_testperf(self) -> None:
        """Two TestPerfs."""
        self.rows("clients", 0)

    def test_generator(self) -> None:
        """Two connections of the generator, for all four operations."""
        self.rows("clients", 2)

    def test_compaction(self) -> None:
        """A compaction in the middle: three phases, and its course."""
        with tempfile.TemporaryDirectory() as directory:
            rows = compaction.measure(Run(1, PARTS["compaction"][0], 4), QUICK, Path(directory))
        phases = {row["variant"] for row in rows}
        self.assertEqual(phases, {"before", "during", "after", "course"})
        self.assertTrue(all(sum(row["requests"] for row in rows if row["variant"] == phase) for phase in phases))
        self.assertGreater(max(row.get("child_cpu", 0) for row in rows), 0)
