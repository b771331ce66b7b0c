"""What was acknowledged is there after kill -9, on the real server: under every sync policy, and across compactions."""

from __future__ import annotations

import os
import re
import signal
import threading

import pytest
from twisted.trial.unittest import SynchronousTestCase

from kvstore.testing.server_process import ServerProcess
from tests.kit.server_process import Serving, Wire, eventually


class Writer:
    """A client in a thread that writes until its server is gone: pairs of keys, each pair in one transaction.

    `acknowledged`: how many it was told are done; pair number n is `NAME:n:left` and `NAME:n:right`, both n.
    """

    def __init__(self, port: int, name: str) -> None:
        self._wire = Wire(port)
        self.name = name
        self.acknowledged = 0
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()

    def _write(self) -> None:
        try:
            while True:
                pair = f"{self.name}:{self.acknowledged}"
                value = str(self.acknowledged)
                self._wire.send(f"MULTI\r\nSET {pair}:left {value}\r\nSET {pair}:right {value}\r\nEXEC\r\n".encode())
                assert self._wire.read_replies(4)[3] == [b"OK", b"OK"]
                self.acknowledged += 1
        except (OSError, EOFError):
            self._wire.close()

    def join(self) -> None:
        """Return when it noticed that the server is gone."""
        self._thread.join()


class Killing(Serving):
    """For tests that kill a server while clients write, and then look."""

    def write_until_killed(self, server: ServerProcess, writers: int = 4, least: int = 300) -> list[Writer]:
        """Kill the server once `least` pairs are acknowledged; returns the writers, all of them done."""
        clients = [Writer(server.port, f"writer{number}") for number in range(writers)]
        eventually(lambda: sum(client.acknowledged for client in clients) >= least)
        server.kill()
        for client in clients:
            client.join()
        return clients

    def check(self, server: ServerProcess, clients: list[Writer]) -> None:
        """Every acknowledged pair is there; of the one that was under way, both keys or neither."""
        with Wire(server.port) as wire:
            for client in clients:
                for number in range(client.acknowledged + 1):
                    wire.send(f"MGET {client.name}:{number}:left {client.name}:{number}:right\r\n".encode())
                pairs = wire.read_replies(client.acknowledged + 1)
                last = pairs.pop()
                self.assertEqual(pairs, [[b"%d" % number] * 2 for number in range(client.acknowledged)])
                self.assertIn(last, ([None, None], [b"%d" % client.acknowledged] * 2))


class KillChecks(Killing):
    """kill -9 while clients write."""

    def test_every_acknowledged_write_is_found(self) -> None:
        """Under --sync always, killed twice on one directory: while syncs overlap with the loop, and while it waits."""
        server = self.start("--overlap", "always")
        for overlap in ("never", "always"):
            clients = self.write_until_killed(server)
            server.options = ("--overlap", overlap)
            server.start()
            self.check(server, clients)
            with Wire(server.port) as wire:
                wire.ask("FLUSHALL")


class KillOnEpollTests(KillChecks, SynchronousTestCase):
    """On epoll."""

    reactor = "epoll"


@pytest.mark.long
class KillOnSelectTests(KillChecks, SynchronousTestCase):
    """On select."""

    reactor = "select"


class OverlapTests(Killing, SynchronousTestCase):
    """--overlap always: each sync goes on while the loop serves clients."""

    def start_overlapping(self) -> ServerProcess:
        """A server that overlaps, on the reactor that is the default."""
        server = self.start("--overlap", "always")
        wire = self.connect(server)
        self.assertEqual(wire.ask("CONFIG", "GET", "overlap"), [b"overlap", b"always"])
        wire.send(b"SET a 1\r\nGET a\r\n" * 50)
        self.assertEqual(wire.read_replies(100), [b"OK", b"1"] * 50)
        persistence = wire.info("persistence")
        self.assertEqual(persistence["durable_commit"], persistence["last_commit"])
        wire.ask("FLUSHALL")
        return server

    def test_killed(self) -> None:
        """Every acknowledged write is found."""
        server = self.start_overlapping()
        clients = self.write_until_killed(server)
        server.start()
        self.check(server, clients)

    @pytest.mark.long
    def test_stopped_with_a_commit_in_flight(self) -> None:
        """SIGTERM while clients write ends it without a word of error; what was acknowledged is found."""
        server = self.start_overlapping()
        for _ in range(3):
            clients = [Writer(server.port, f"writer{number}") for number in range(4)]
            eventually(lambda clients=clients: sum(client.acknowledged for client in clients) >= 100)
            self.assertIn(server.stop(), (-signal.SIGTERM, 0))
            for client in clients:
                client.join()
            self.assertEqual(server.errors, "")
            self.assertEqual(
                [line for line in server.log if "#err" in line or "#crit" in line or "Traceback" in line], []
            )
            self.assertIn("Server Shut Down.", server.log[-1])
            server.start()
            self.assertTrue(server.wait_for_line(re.compile(r".*recovered ").match))
            self.assertEqual([line for line in server.log if "torn" in line], [])
            self.check(server, clients)
            with Wire(server.port) as wire:
                wire.ask("FLUSHALL")


class SyncPolicyTests(Killing, SynchronousTestCase):
    """--sync everysec and no."""

    def test_other_sync_policies(self) -> None:
        """They promise nothing of a power cut, and say so; the death of the process alone loses nothing."""
        for policy in ("everysec", "no"):
            server = self.start("--sync", policy)
            server.wait_for_line(re.compile(rf".*--sync {policy}: a power cut can lose").match)
            clients = self.write_until_killed(server, writers=2)
            server.start()
            self.check(server, clients)
            self.assertEqual(self.connect(server).info("persistence")["sync_policy"], policy)

    def test_everysec_is_durable_in_the_end(self) -> None:
        """Under --sync everysec a sync that comes by itself catches up."""
        server = self.start("--sync", "everysec")
        wire = self.connect(server)
        wire.ask("SET", "a", "1")
        eventually(lambda: wire.info("persistence"), lambda seen: seen["durable_commit"] == seen["last_commit"] == "1")

    def test_always_is_durable_when_it_answers(self) -> None:
        """Under --sync always the last commit is on disk as soon as its reply is here."""
        wire = self.connect()
        for _ in range(20):
            wire.ask("INCR", "n")
            persistence = wire.info("persistence")
            self.assertEqual(persistence["durable_commit"], persistence["last_commit"])


class CompactionChecks(Killing):
    """--compact-after: small enough that one can watch it."""

    def test_compactions_while_clients_write(self) -> None:
        """They happen, one after the other, while clients write, with no error; then kill -9: nothing is missing."""
        server = self.start("--compact-after", "100")
        watcher = self.connect(server)
        clients = [Writer(server.port, f"writer{number}") for number in range(2)]
        persistence = eventually(lambda: watcher.info("persistence"), lambda seen: int(seen["compactions"]) >= 2)
        self.assertEqual(persistence["last_compaction_error"], "none")
        acknowledged = [client.acknowledged for client in clients]
        eventually(lambda: all(c.acknowledged > before for c, before in zip(clients, acknowledged, strict=True)))
        server.kill()
        for client in clients:
            client.join()
        left = os.listdir(server.data)
        self.assertIn("table.ckpt", left)
        server.start()
        self.check(server, clients)
        # The new server may have begun a compaction of its own; what the old one left is gone.
        garbage = {name for name in left if name.endswith(".tmp")}
        self.assertEqual(garbage.intersection(os.listdir(server.data)), set())


class CompactionOnEpollTests(CompactionChecks, SynchronousTestCase):
    """On epoll."""

    reactor = "epoll"


@pytest.mark.long
class CompactionOnSelectTests(CompactionChecks, SynchronousTestCase):
    """On select."""

    reactor = "select"


class CompactionTests(Serving, SynchronousTestCase):
    """What compactions are for, and how they are asked for."""

    def test_the_log_stays_short(self) -> None:
        """One key written over and over: after a compaction the checkpoint holds one entry, the log those since."""
        server = self.start("--compact-after", "100")
        wire = self.connect(server)

        def write_more() -> dict[str, str]:
            wire.send(b"INCR n\r\n" * 50)
            wire.read_replies(50)
            return wire.info("persistence")

        eventually(write_more, lambda seen: int(seen["compactions"]) >= 1)
        written = int(wire.ask("GET", "n"))
        persistence = eventually(lambda: wire.info("persistence"), lambda seen: seen["compaction_in_progress"] == "0")
        self.assertLess(int(persistence["checkpoint_bytes"]), 8192)
        self.assertLess(int(persistence["log_entries"]), written)
        server.kill()
        server.start()
        self.assertEqual(self.connect(server).ask("GET", "n"), b"%d" % written)

    def test_asked_for(self) -> None:
        """BGREWRITEAOF compacts whatever the policy says, and INFO tells when it is done."""
        server = self.start()
        wire = self.connect(server)
        wire.ask("SET", "a", "1")
        self.assertEqual(wire.ask("BGREWRITEAOF"), b"Background append only file rewriting started")
        eventually(lambda: wire.info("persistence"), lambda seen: seen["compactions"] == "1")
        server.kill()
        server.start()
        self.assertEqual(self.connect(server).ask("GET", "a"), b"1")


class GroupTests(Serving, SynchronousTestCase):
    """How many requests share a commit: INFO tells."""

    def test_a_pipeline_is_one_group(self) -> None:
        """Requests that come together are committed together, without an option that says otherwise."""
        server = self.start()
        wire = self.connect(server)
        wire.send(b"INCR n\r\n" * 500)
        self.assertEqual(wire.read_replies(500), list(range(1, 501)))
        figures = wire.info("group_commit")
        self.assertEqual(figures["committed_requests"], "500")
        self.assertGreater(int(figures["largest_group"]), 1)
        self.assertLess(int(figures["commits"]), 500)

    def test_group_limit(self) -> None:
        """--group-limit 1 gives each write request, a transaction too, a commit and hence a sync of its own."""
        server = self.start("--group-limit", "1")
        wire = self.connect(server)
        wire.send(b"INCR n\r\nGET n\r\n" * 100 + b"MULTI\r\nINCR n\r\nINCR n\r\nEXEC\r\n")
        replies = wire.read_replies(204)
        self.assertEqual(replies[:200:2], list(range(1, 101)))
        self.assertEqual(replies[1:200:2], [b"%d" % number for number in range(1, 101)])
        self.assertEqual(replies[-1], [101, 102])
        figures = wire.info("group_commit")
        self.assertEqual((figures["commits"], figures["committed_requests"], figures["committed_operations"]),
                         ("101", "101", "102"))  # fmt: skip
        self.assertEqual(figures["largest_group"], "1")

    def test_a_larger_limit(self) -> None:
        """No commit holds more than it says."""
        server = self.start("--group-limit", "7")
        wire = self.connect(server)
        wire.send(b"INCR n\r\n" * 100)
        self.assertEqual(wire.read_replies(100), list(range(1, 101)))
        self.assertEqual(wire.info("group_commit")["largest_group"], "7")
