"""Servers within an application of Twisted's: options by their names, start, stop, and what is left alone."""

from __future__ import annotations

import contextlib
import errno
import gc
import io
import random
import resource
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

from twisted.application.service import MultiService
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from kvstore.base.disk import RealDisk
from kvstore.base.errors import StartRefused, StorageFault
from kvstore.client.deferred import DeferredClient
from kvstore.edge.group.opening import store_of
from kvstore.embedded.server import EmbeddedServer, OptionError, settings
from kvstore.values import TYPES
from tests.kit.group_stores import lead_alone
from tests.kit.store_files import commit


class SettingsTests(SynchronousTestCase):
    """Options by their names."""

    def test_values(self) -> None:
        """Text, numbers, paths, lists; None and False are not given."""
        made = settings(
            data=Path("here"), port=0, listen=["unix:/tmp/a", "unix:/tmp/b:mode=600"], sync="everysec",
            max_request_bytes="4mb", log_clients=True, insecure=False, project=None, compact_after=10,
        )  # fmt: skip
        self.assertEqual(made.data_path, str(Path("here").absolute()))
        self.assertEqual(made.listen, ("unix:/tmp/a:mode=660", "unix:/tmp/b:mode=600"))
        self.assertEqual((made.port, made.sync, made.max_request_bytes), (0, "everysec", 4 << 20))
        self.assertEqual((made.log_clients, made.insecure, made.compact_after_entries), (True, False, 10))

    def test_errors_are_the_command_lines(self) -> None:
        """A bad value, a name that is none, what does not go together."""
        for options, text in (
            ({"port": "x"}, "--port 'x': give a whole number from 0 to 65535"),
            ({"colour": "red"}, "option --colour not recognized"),
            ({"group_limit": 1, "overlap": "always"}, "leave --overlap out"),
        ):
            self.assertIn(text, str(self.assertRaises(OptionError, settings, **options)))

    def test_no_reactor_is_installed(self) -> None:
        """Not for endpoints either, which are looked at: which one it is to be is the application's to say."""
        with patch.dict(sys.modules):
            sys.modules.pop("twisted.internet.reactor", None)
            settings(listen="tcp:0:interface=127.0.0.1", http="tcp:0:interface=127.0.0.1")
            self.assertNotIn("twisted.internet.reactor", sys.modules)


class RefusedTests(SynchronousTestCase):
    """A start in a group that is refused when the group's log is open: nobody asks that for anything any more."""

    def setUp(self) -> None:
        """A directory of the group, with a key."""
        self.path, self.reactor = self.mktemp(), MemoryReactorClock()
        self.disk = RealDisk(self.path)
        store = store_of("shop")(self.disk, TYPES, lambda: 1_700_000_000_000_000, random.Random(1).randbytes)
        lead_alone(store)
        store.table.write(b"key", b"value", None)
        commit(store)
        store.close()
        self.disk.unlock()

    def refusal(self, **options: Any) -> str:
        """Why it does not start; the directory is given back."""
        own = settings(data=self.path, group="shop", log="etcd://e:1", advertise="127.0.0.1:1", port=0, **options)
        refused = str(self.assertRaises(StartRefused, EmbeddedServer(own, reactor=self.reactor).startService))
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.disk.lock()
        self.disk.unlock()
        return refused

    def test_the_options_of_another_group(self) -> None:
        """By its own log."""
        self.assertIn("--slots 0-16383: this group was made without", self.refusal(slots="0-16383"))

    def test_what_is_seen_later(self) -> None:
        """Such as users that do not ask for a password, of a server that strangers can reach."""
        users = Path(self.mktemp())
        users.write_text("user default on nopass ~* +@all\n")
        self.assertIn("anybody", self.refusal(listen="tcp:0", acl_file=users))


class EmbeddedServerTests(TestCase):
    """On the test's reactor."""

    def setUp(self) -> None:
        """An application, whose services stop after the test."""
        self.application = MultiService()
        self.application.startService()
        self.addCleanup(self.application.stopService)
        self.stopped: Deferred[Exception | None] = Deferred()

    def make(self, data: str | None = None, **options: Any) -> EmbeddedServer:
        """A server, not started."""
        options = {"port": 0, "data": data or self.mktemp()} | options
        return EmbeddedServer(settings(**options), stopped=self.stopped.callback)

    def start(self, data: str | None = None, **options: Any) -> EmbeddedServer:
        """One that runs."""
        server = self.make(data, **options)
        server.setServiceParent(self.application)
        return server

    def client(self, server: EmbeddedServer) -> DeferredClient:
        """A client of it, closed after the test."""
        client = DeferredClient(reactor, f"127.0.0.1:{server.port}", deadline_seconds=30)
        self.addCleanup(client.close)
        return client

    async def test_several_share_nothing(self) -> None:
        """Each has its port, its data, its settings."""
        servers = [self.start(databases=1), self.start(databases=2)]
        self.assertEqual(len({server.port for server in servers}), 2)
        clients = list(map(self.client, servers))
        await clients[0].insert("a", 1)
        self.assertEqual([await client.size() for client in clients], [1, 0])
        self.assertEqual([server.server.requests_executed for server in servers], [2, 1])
        self.assertEqual([len(server.store.databases) for server in servers], [1, 2])
        self.assertEqual([len(server.ports) for server in servers], [1, 1])

    async def test_it_leaves_the_process_alone(self) -> None:
        """It prints nothing; the reactor's clock, the limit on files, the garbage collector are as before."""

        def seen() -> tuple[Any, ...]:
            return (
                reactor.seconds,
                resource.getrlimit(resource.RLIMIT_NOFILE),
                gc.get_threshold(),
                gc.get_freeze_count(),
            )

        output, before = io.StringIO(), seen()
        self.patch(sys, "__stdout__", output)
        self.patch(sys, "__stderr__", output)
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            server = self.start()
            await self.client(server).insert("a", 1)
            await server.disownServiceParent()
        self.assertEqual((seen(), output.getvalue()), (before, ""))

    async def test_a_refused_start_gives_everything_back(self) -> None:
        """It is an exception that says why, and leaves no lock."""
        first = self.start()
        self.assertRaisesRegex(StartRefused, "is in use", self.make(first.settings.data_path).startService)
        data = self.mktemp()
        second = self.make(data, port=first.port)
        self.assertRaisesRegex(StartRefused, "cannot listen on .*choose another", second.startService)
        await second.stopService()
        await self.client(self.start(data)).insert("a", 1)
        other = self.mktemp()
        third = self.make(other, listen="tcp:0", port=None, insecure=True)
        third._refuse_strangers = self.refuse  # type: ignore[method-assign]
        self.assertRaises(StartRefused, third.startService)
        self.start(other)

    def refuse(self) -> None:
        """As a start that is refused when the store is open."""
        raise StartRefused("no")

    async def test_a_failed_sync(self) -> None:
        """The server stops, nothing more is acknowledged, and the application is told."""
        server = self.start(overlap="never")
        client = self.client(server)
        await client.insert("a", 1)

        def failed(*_: object) -> None:
            raise OSError(errno.EIO, "no disk")

        self.patch(server.store.log._file, "sync", failed)
        waiting = client.insert("a", 2)
        self.assertIsInstance(await self.stopped, StorageFault)
        self.assertFalse(server.running)
        client.close()
        await waiting.addErrback(lambda failure: None)
        self.flushLoggedErrors()
        await self.application.stopService()

    async def test_shutdown_ends_this_server_alone(self) -> None:
        """The reactor goes on, and the application is told."""
        server, other = self.start(), self.make()
        other.setServiceParent(self.application)
        server.server.shutdown()
        self.assertIsNone(await self.stopped)
        self.assertEqual((server.running, bool(other.running)), (0, True))
        await self.client(other).insert("a", 1)
