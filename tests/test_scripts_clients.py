"""TestBasics, TestPerf and TestOutliers as programs: against a fake server for their own sake, then against the real
one.

The real server is killed with SIGKILL and started again in the middle of each.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.trial.unittest import SynchronousTestCase

from kvstore.client import Client
from kvstore.testing.server_process import ServerProcess
from scripts.measuring.processes import children
from tests.kit.fake_catalog import ENTRY, FakeCatalog
from tests.kit.fake_server import FakeServer
from tests.kit.real_catalog import MISSING, RealCatalog

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"

_PATIENCE_SECONDS = 120


class Program(subprocess.Popen[str]):
    """A program of `scripts`, started. It is run from another directory, and finds kvstore by itself."""

    def __init__(self, name: str, *arguments: str, **variables: str) -> None:
        without_path = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        super().__init__(
            [sys.executable, "-u", SCRIPTS / f"{name}.py", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd="/",
            env=without_path | variables,
        )

    def finish(self) -> tuple[int, str, str]:
        """Exit status and output, when it is over; killed if that takes too long."""
        try:
            out, err = self.communicate(timeout=_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            out, err = self.communicate()
            raise AssertionError(f"the program hangs; it said {out} {err}") from None
        return self.returncode, out, err


class Wrong(Exception):
    """Stands for TestBasics' exception of this name."""


class WrongServer(FakeServer):
    """A server that forgets to put the tail of what it is given on record."""

    def _execute(self, request: dict[str, Any]) -> dict[str, Any]:
        reply = super()._execute(request)
        if isinstance(reply.get("value"), dict):
            return reply | {"value": {}}
        return reply


class AttemptsTests(SynchronousTestCase):
    """When TestBasics tries a check again."""

    def attempts(self, *outcomes: Any, shared: bool = False) -> tuple[str, int]:
        """What `run_check` says, and how often it tried, when the attempts come out like this.

        `outcomes`: None for right, an exception, or a pair of an exception and True if a request was repeated
        meanwhile.
        """
        self.patch(sys, "path", [*sys.path])  # which the program adds to
        spec = importlib.util.spec_from_file_location("TestBasics", SCRIPTS / "TestBasics.py")
        assert spec is not None and spec.loader is not None
        basics = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(basics)
        tried = []

        def function(bench: Any) -> None:
            error, disturbed = (
                outcomes[len(tried)] if type(outcomes[len(tried)]) is tuple else (outcomes[len(tried)], 0)
            )
            tried.append(error)
            bench.client.retries += disturbed
            if error is not None:
                raise basics.Wrong("wrong") if error is Wrong else error

        bench = SimpleNamespace(client=SimpleNamespace(retries=5), clean_up=lambda: None)
        return basics.run_check(basics.Check("title", function, shared), bench), len(tried)

    def test_right(self) -> None:
        """A check that is right is done."""
        self.assertEqual(self.attempts(None), ("", 1))

    def test_wrong(self) -> None:
        """A check that is wrong while nothing disturbed it is wrong, and so is one that raises what it should not."""
        self.assertEqual(self.attempts(Wrong), ("wrong", 1))
        self.assertEqual(self.attempts(KeyError("zebra")), ("unexpected KeyError('zebra')", 1))

    def test_wrong_while_disturbed(self) -> None:
        """A check that was wrong while a request was repeated says nothing: the next attempt counts."""
        self.assertEqual(self.attempts((Wrong, True), (KeyError("zebra"), True), None), ("", 3))
        self.assertEqual(self.attempts((Wrong, True), Wrong), ("wrong", 2))

    def test_connection_lost(self) -> None:
        """A check whose own connection was lost is tried again, but not for ever."""
        self.assertEqual(self.attempts(ConnectionResetError(), None), ("", 2))
        text, tried = self.attempts(*[ConnectionResetError("gone")] * 20)
        self.assertEqual((text, tried), ("the connection failed: gone", 10))

    def test_shared(self) -> None:
        """A check of what other clients may change is wrong only if it stays wrong."""
        self.assertEqual(self.attempts(Wrong, Wrong, None, shared=True), ("", 3))
        self.assertEqual(self.attempts(*[Wrong] * 20, shared=True), ("wrong", 10))


class CommandLineTests(SynchronousTestCase):
    """What is typed wrong is said, with exit status 2."""

    def test_mistyped_targets_and_options(self) -> None:
        """No target, a target that is no address, and numbers that are none end every program at once."""
        for name in ("TestBasics", "TestPerf", "TestOutliers"):
            for arguments in ([], ["localhost:http"], ["me-a5", "--catalog", "nowhere"]):
                status, _, err = Program(name, *arguments).finish()
                self.assertEqual((status, "usage:" in err, "Traceback" in err), (2, True, False), err)
        wrong = [
            ["--clients", "0"],
            ["--count", "0"],
            ["--count", "5", "--duration", "1"],
            ["--duration", "-1"],
            ["--warm-up", "1"],
        ]
        for arguments in wrong:
            status, _, err = Program("TestPerf", "127.0.0.1:1", *arguments).finish()
            self.assertEqual((status, "usage:" in err), (2, True), err)


class FakeServerTests(SynchronousTestCase):
    """Against the fake server, quickly."""

    def setUp(self) -> None:
        """Start it."""
        self.server = FakeServer()
        self.addCleanup(self.server.stop)

    def table(self, *arguments: str) -> list[list[str]]:
        """The lines of figures that TestPerf prints, in words."""
        status, out, err = Program("TestPerf", self.server.target, *arguments).finish()
        self.assertEqual((status, err), (0, ""))
        return [line.split() for line in out.splitlines()[1:]]

    def test_perf_table(self) -> None:
        """TestPerf prints a line of figures for each of the four stages, says whose it is, and leaves nothing."""
        rows = self.table("--count", "25", "--value-bytes", "300")
        self.assertEqual([row[1:3] for row in rows], [[n, "25"] for n in ("insert", "lookup", "query", "remove")])
        self.assertEqual({row[0].rpartition("-")[0] for row in rows}, {socket.gethostname()})
        self.assertTrue(all(len(row) == 10 and all(float(f) >= 0 for f in row[5:]) for row in rows))
        self.assertEqual(self.server.table, {})
        values = [request["value"] for request in self.server.requests if request["method"] == "insert"]
        self.assertLess(max(abs(len(json.dumps(value, separators=(",", ":"))) - 300) for value in values), 10)

    def test_perf_clients(self) -> None:
        """With --clients each has a line for each stage, and then all together; no stage begins before the last has
        ended for all.
        """
        raw = Path(self.mktemp()).resolve()
        rows = self.table("--clients", "3", "--count", "20", "--raw", str(raw))
        names = sorted({row[0] for row in rows} - {"3"})
        self.assertEqual([row[0] for row in rows], [*rows[0][:1], *rows[1][:1], *rows[2][:1], "3"] * 4)
        self.assertEqual([row[:2] for row in rows[3::4]], [["3", "together"]] * 4)
        head, *lines = raw.read_text().splitlines()
        self.assertEqual(head, "client,stage,began_ns,took_ns")
        requests = [line.split(",") for line in lines]
        self.assertEqual(sorted({client for client, *_ in requests}), names)
        spans = []
        for stage in ("insert", "lookup", "query", "remove"):
            times = [(int(began), int(took)) for _, name, began, took in requests if name == stage]
            self.assertEqual(len(times), 60)
            spans.append((min(began for began, _ in times), max(began + took for began, took in times)))
        self.assertTrue(all(end <= begin for (_, end), (begin, _) in pairwise(spans)))
        self.assertEqual(self.server.table, {})

    def test_perf_keys_of_its_own(self) -> None:
        """Two instances at once never touch the same key."""
        programs = [Program("TestPerf", self.server.target, "--count", "40") for _ in range(2)]
        self.assertEqual([program.finish()[0] for program in programs], [0, 0])
        keys = [request["key"] for request in self.server.requests if request["method"] == "insert"]
        self.assertEqual((len(keys), len(set(keys))), (80, 80))
        self.assertEqual(self.server.table, {})

    def test_perf_duration(self) -> None:
        """With --duration stages end by themselves, after a warm-up that is not timed; and all keys go in the end."""
        rows = self.table("--duration", "0.2", "--warm-up", "0.1")
        inserts = sum(request["method"] == "insert" for request in self.server.requests)
        self.assertTrue(0 < int(rows[0][2]) < inserts)
        self.assertEqual(self.server.table, {})

    def test_perf_client_dies(self) -> None:
        """A client that is killed ends them all, and that is said."""
        program = Program("TestPerf", self.server.target, "--clients", "2", "--duration", "600")
        while not self.server.requests:
            time.sleep(0.01)
        os.kill(children(program.pid)[0], signal.SIGKILL)
        status, _, err = program.finish()
        self.assertEqual((status, "a client has died" in err), (1, True), err)

    def test_outliers(self) -> None:
        """TestOutliers prints the fastest and slowest, and says so when the server does not tell of compactions."""
        status, out, err = Program("TestOutliers", self.server.target, "--count", "150").finish()
        self.assertEqual((status, err), (0, ""))
        self.assertEqual([line.split()[1] for line in out.splitlines()[1:3]], ["150", "150"])
        self.assertIn("slowest inserts:", out)
        self.assertIn("compactions: the server's INFO does not tell", out)
        self.assertEqual(self.server.table, {})

    def test_wrong_answers_are_found(self) -> None:
        """A server that answers wrongly makes TestPerf fail, and TestBasics say which checks failed."""
        server = WrongServer()
        self.addCleanup(server.stop)
        status, _, err = Program("TestPerf", server.target, "--count", "5").finish()
        self.assertEqual(status, 1)
        self.assertIn("lookup of", err)
        status, out, _ = Program("TestBasics", server.target).finish()
        self.assertEqual(status, 1)
        self.assertIn("WRONG insert: any JSON value comes back", out)
        self.assertIn("ok    remove: takes the key away", out)
        self.assertIn("WRONG RESP: each verb", out)
        self.assertNotIn(" 0 wrong", out)

    def test_project(self) -> None:
        """A target may be a project of the catalog that the environment names."""
        catalog = FakeCatalog()
        self.addCleanup(catalog.stop)
        catalog.list(ENTRY | {"address": "127.0.0.1", "port": self.server.port})
        program = Program("TestPerf", "me-a5", "--count", "5", KVSTORE_CATALOG=catalog.address)
        self.assertEqual(program.finish()[0], 0)
        self.assertEqual(len(self.server.requests), 20)


class RealServerTests(SynchronousTestCase):
    """Against the real server, with little room in its log, so that it compacts all the time."""

    def setUp(self) -> None:
        """Start it."""
        self.server = ServerProcess("--compact-after", "200", data=self.mktemp())
        self.addCleanup(self.server.kill)
        self.target = f"127.0.0.1:{self.server.port}"

    def kill_in_the_middle(self, keys: int) -> None:
        """Kill the server and start it again, once it has got so many keys."""
        with Client(self.target) as client:
            deadline = time.monotonic() + _PATIENCE_SECONDS
            while client.size() < keys:
                assert time.monotonic() < deadline
        self.server.kill()
        self.server.start()

    def test_basics(self) -> None:
        """All is as it should be, and nothing is left behind."""
        status, out, err = Program("TestBasics", self.target).finish()
        self.assertEqual((status, err), (0, ""), out)
        self.assertIn(" 0 wrong", out)
        with Client(self.target) as client:
            self.assertEqual(client.size(), 0)

    @pytest.mark.long
    def test_basics_while_the_server_is_killed(self) -> None:
        """All is as it should be though the server is killed after every few checks."""
        program = Program("TestBasics", self.target)
        assert program.stdout is not None
        lines = []
        for _ in range(5):
            lines += [program.stdout.readline() for _ in range(5)]
            self.server.kill()
            self.server.start()
        status, out, err = program.finish()
        self.assertEqual(status, 0, "".join(lines) + out)
        self.assertIn("again in 1 s", err)
        self.assertIn(" 0 wrong; requests were repeated", out)

    @pytest.mark.long
    def test_perf_while_the_server_is_killed(self) -> None:
        """Two instances go on after a kill in the insert stage, and all their answers are right."""
        programs = [Program("TestPerf", self.target, "--count", "1500") for _ in range(2)]
        self.kill_in_the_middle(200)
        for program in programs:
            status, out, err = program.finish()
            self.assertEqual(status, 0, err)
            self.assertIn("requests were repeated", out)
        with Client(self.target) as client:
            self.assertEqual(client.size(), 0)

    @pytest.mark.long
    def test_outliers_while_the_server_is_killed(self) -> None:
        """TestOutliers goes on after a kill, and counts the compactions before and after it."""
        program = Program("TestOutliers", self.target, "--count", "600", "--compactions", "4")
        self.kill_in_the_middle(1)
        status, out, err = program.finish()
        self.assertEqual(status, 0, err)
        self.assertIn("requests were repeated", out)
        compactions = next(line for line in out.splitlines() if line.startswith("compactions: "))
        self.assertGreaterEqual(int(compactions.split()[1]), 4)


class CatalogTests(SynchronousTestCase):
    """Server, catalog and client, each in a process of its own."""

    skip = MISSING

    def test_two_instances_by_project_name(self) -> None:
        """A server on any port, announced to the real catalog, is found by two instances that know its project's
        name.
        """
        catalog = RealCatalog()
        self.addCleanup(catalog.stop)
        options = ("--project", "me-a5", "--owner", "me", "--catalog", catalog.address)
        server = ServerProcess(*options, data=self.mktemp())
        self.addCleanup(server.kill)
        programs = [Program("TestPerf", "me-a5", "--count", "50", KVSTORE_CATALOG=catalog.address) for _ in range(2)]
        for program in programs:
            status, out, err = program.finish()
            self.assertEqual((status, len(out.splitlines())), (0, 5), err)
