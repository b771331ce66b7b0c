"""scripts/experiment at work: readings of processors, the swarm, the link, two hosts, short runs of real clients."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import tempfile
import threading
import time
from pathlib import Path

import pytest
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from kvstore.base.address import Address
from kvstore.client.exchange import encode_request
from scripts.experimenting import runs, wire
from scripts.experimenting.network import SERVER_ADDRESS, NoNetwork, TwoHosts
from scripts.experimenting.places import Loopback
from scripts.experimenting.processors import Snapshot, usage
from scripts.experimenting.readings import Counters, NotRead, Reading, between
from scripts.experimenting.rows import (
    PerfRow,
)
from scripts.experimenting.runs import Load, Pace, Run
from scripts.experimenting.stages import (
    Window,
)
from scripts.experimenting.swarm import Documents, Swarm, WrongReply, parse_arguments
from tests.fake_server import FakeServer


class ProcessorTests(SynchronousTestCase):
    """Who used the processors."""

    def test_usage(self) -> None:
        """Shares are of the time between two snapshots; what nobody known used is `other`."""
        hertz = os.sysconf("SC_CLK_TCK")
        before = Snapshot(100.0, {"server": 0, "clients": 0}, [0] * 10)
        ticks = [hertz, 0, hertz // 2, 2 * hertz, hertz // 2, 0, 0, 0, 0, 0]
        found = usage(before, Snapshot(102.0, {"server": 10**9, "clients": 4 * 10**8}, ticks))
        self.assertAlmostEqual(found.of["server"], 0.5)
        self.assertAlmostEqual(found.of["clients"], 0.2)
        self.assertAlmostEqual(found.other, 0.05)
        self.assertAlmostEqual(found.idle, 1.0)
        self.assertAlmostEqual(found.disk_wait, 0.25)

    def test_this_process(self) -> None:
        """A process that computes is seen to."""
        before = Snapshot.take({"us": [os.getpid()]})
        end = time.process_time() + 0.1
        while time.process_time() < end:
            pass
        after = Snapshot.take({"us": [os.getpid()]})
        self.assertGreater(usage(before, after).of["us"] * (after.clock - before.clock), 0.09)

    def test_readings_in_a_window(self) -> None:
        """The first and the last inside are taken; one is not enough."""
        snapshot = Snapshot(0.0, {}, [])
        readings = [Reading(float(at), snapshot, Counters(at, at, 0.0)) for at in range(10)]
        first, last = between(readings, Window(2.5, 7.5))
        self.assertEqual((first.at, last.at), (3.0, 7.0))
        self.assertRaises(NotRead, between, readings, Window(2.5, 3.5))


class SwarmTests(SynchronousTestCase):
    """Many clients in one process."""

    def setUp(self) -> None:
        """A server to talk to."""
        self.server = FakeServer()
        self.addCleanup(self.server.stop)
        self.address = Address("127.0.0.1", self.server.port)

    def test_the_same_bytes_as_testperf(self) -> None:
        """Requests are what the Python client would send for TestPerf's documents, byte for byte."""
        documents = Documents("host-1-0000")
        lines = [documents.insert(12), documents.lookup(14), documents.query(1), documents.remove(3)]
        value = {
            "group": "host-1-0000-1",
            "number": 12,
            "text": "x" * 47,
        }
        wanted = [
            encode_request(1, "insert", {"key": "host-1-0000-12", "value": value}),
            encode_request(2, "lookup", {"key": "host-1-0000-1"}),
            encode_request(3, "query", {"subkey": "group", "subvalue": "host-1-0000-1"}),
            encode_request(4, "remove", {"key": "host-1-0000-3"}),
        ]
        self.assertEqual([line.encode() for line in lines], wanted)

    def test_all_stages(self) -> None:
        """Every document that was inserted is there to be looked up, asked for and removed, at any depth."""
        for depth in (1, 5):
            swarm = Swarm(self.address, 3, depth)
            counts = [swarm.stage(name, 0.02, 0.1).count for name in ("insert", "lookup", "query")]
            kept = len(self.server.table)
            self.assertGreaterEqual(kept, counts[0])
            self.assertTrue(all(counts))
            swarm.insert_spare(0.05)
            self.assertGreater(len(self.server.table), kept)
            kept = len(self.server.table)
            swarm.stage("remove", 0.0, 0.05)
            self.assertLess(len(self.server.table), kept)
            self.server.table.clear()

    def test_a_wrong_reply_ends_it(self) -> None:
        """A reply that is no success is not counted but ends the stage."""
        swarm = Swarm(self.address, 1, 1)
        self.server.faults.extend([None] * 3 + [b'{"result":"failure","error":"no such key"}\r\n'])
        error = self.assertRaises(WrongReply, swarm.stage, "insert", 0.0, 5.0)
        self.assertIn("no such key", str(error))

    def test_command_line(self) -> None:
        """Operations must be known, and begin with insert."""
        self.assertEqual(
            parse_arguments(["127.0.0.1:1", "--operations", "insert,remove"]).operations, ["insert", "remove"]
        )
        for wrong in ("insert,undo", "remove"):
            with contextlib.redirect_stderr(io.StringIO()) as said:
                self.assertRaises(SystemExit, parse_arguments, ["127.0.0.1:1", "--operations", wrong])
            self.assertIn("--operations:", said.getvalue())


class WireTests(SynchronousTestCase):
    """The link with a delay."""

    def test_packets_arrive_whole_in_order_and_late(self) -> None:
        """What goes in at one side comes out at the other after the delay, both ways."""
        (left, left_end), (right, right_end) = (socket.socketpair(type=socket.SOCK_SEQPACKET) for _ in range(2))
        for end in (left_end, right_end):
            end.setblocking(False)
        thread = threading.Thread(target=self._carry, args=(left_end.fileno(), right_end.fileno()), daemon=True)
        thread.start()
        for near, far in ((left, right), (right, left)):
            far.settimeout(10)
            began = time.perf_counter()
            packets = [bytes([number]) * (number + 1) for number in range(100)]
            for packet in packets:
                near.send(packet)
            self.assertEqual([far.recv(1000) for _ in packets], packets)
            self.assertGreaterEqual(time.perf_counter() - began, 0.02)
        left.close()
        thread.join(10)
        self.assertFalse(thread.is_alive())
        for end in (right, left_end, right_end):
            end.close()

    def _carry(self, left: int, right: int) -> None:
        with contextlib.suppress(OSError):  # our end was closed
            wire.carry(left, right, 20_000_000)


class TwoHostsTests(SynchronousTestCase):
    """Network namespaces, where they can be made."""

    def test_hosts_reach_each_other_and_nobody_else(self) -> None:
        """A server on one host is reached from the other, at the stated distance, and not from here."""
        for delay_ms, by_wire in ((0.0, False), (0.0, True), (10.0, False)):
            try:
                hosts = TwoHosts(delay_ms, by_wire=by_wire)
            except NoNetwork as error:
                raise SkipTest(str(error)) from None
            with hosts:
                with hosts.at_server():
                    listener = socket.create_server((SERVER_ADDRESS, 0))
                address = listener.getsockname()
                with hosts.at_clients():
                    began = time.perf_counter()
                    socket.create_connection(address, 10).close()
                    self.assertGreaterEqual(time.perf_counter() - began, 2 * delay_ms / 1000)
                self.assertRaises(OSError, socket.create_connection, address, 0.2)
                listener.close()

    def test_nothing_is_left(self) -> None:
        """The machine's own devices are the same before, meanwhile and after."""
        before = socket.if_nameindex()
        try:
            with TwoHosts(1.0):
                self.assertEqual(socket.if_nameindex(), before)
        except NoNetwork as error:
            raise SkipTest(str(error)) from None
        self.assertEqual(socket.if_nameindex(), before)


class RunTests(SynchronousTestCase):
    """Short runs with the real server and the real clients."""

    @pytest.mark.long
    def test_a_run_of_each_generator(self) -> None:
        """Every operation has a row that agrees with itself: requests, processors, commits."""
        self.patch(runs, "_LEAD_SECONDS", 4.0)  # on a busy machine programs start late
        self.patch(runs, "_TRIES", 20)
        with tempfile.TemporaryDirectory() as directory:
            for load in (Load("TestPerf", 2, "no"), Load("swarm", 2, "no", operations=("insert", "remove"))):
                run = Run(7, load, Loopback(), Pace(0.05, 1.5))
                with contextlib.redirect_stderr(io.StringIO()):  # "once more", on a busy machine
                    rows = run.measure(PerfRow, Path(directory))
                self.assertEqual([found.operation for found in rows], list(load.operations))
                self.assertEqual(len(run.client_rows), 8 if load.generator == "TestPerf" else 2)
                for found in rows:
                    self._check(found)
            self.assertEqual(os.listdir(directory), [])

    def _check(self, found: PerfRow) -> None:
        self.assertEqual((found.run, found.clients, found.link), (7, 2, "loopback"))
        self.assertGreater(min(found.per_second, found.server_cpu, found.clients_cpu, found.round_trip_ms), 0)
        self.assertLessEqual(found.p50_ms, found.p99_ms)
        total = found.server_cpu + found.clients_cpu + found.other_cpu + found.disk_wait_cpu + found.idle_cpu
        self.assertLess(abs(total - (os.cpu_count() or 1)), 0.8)
        self.assertEqual(bool(found.commits), found.operation in ("insert", "remove"))
        if found.commits:
            self.assertTrue(1 <= found.requests_per_commit <= 2)
