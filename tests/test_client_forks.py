"""One client in several processes and threads: real forks, against the fake server and the real one."""

from __future__ import annotations

import copy
import json
import math
import multiprocessing
import os
import pickle
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any, Never

from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase, TestCase

from kvstore.client import Client, DeadlineExceeded
from kvstore.client.deferred import DeferredClient
from kvstore.client.exchange import report_on_stderr
from kvstore.testing.server_process import PATIENCE_S
from tests.kit.certificate import make_certificate
from tests.kit.fake_server import FakeServer
from tests.kit.server_process import Serving, new_directory


class Child:
    """A forked process that does something and tells what it returned (JSON)."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._read, write = os.pipe()
        self._pid = os.fork()
        if not self._pid:
            self._run(function, write)
        os.close(write)

    def _run(self, function: Callable[[], Any], write: int) -> Never:
        status = 1
        try:
            os.write(write, json.dumps(function()).encode())
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)

    def result(self) -> Any:
        """What the function returned in the child, once it is gone."""
        with os.fdopen(self._read, "rb") as pipe:
            text = pipe.read()
        _, status = os.waitpid(self._pid, 0)
        assert status == 0, "the child failed; its traceback is on stderr"
        return json.loads(text)


def own_values(client: Client, name: str, rounds: int = 200) -> int:
    """Look up a key of one's own, over and over; returns how many answers were another's."""
    client.insert(name, name)
    return sum(client.lookup(name) != name for _ in range(rounds))


class ForkTestCase(SynchronousTestCase):
    """A fake server and a client of it that has a connection."""

    def setUp(self) -> None:
        """Start the server and make a request."""
        self.server = FakeServer()
        self.addCleanup(self.server.stop)
        self.messages: list[str] = []
        self.client = self.make_client()
        self.client.insert("zebra", 1)

    def make_client(self, **options: Any) -> Client:
        """A client of the server."""
        client = Client(self.server.target, report=self.messages.append, **options)
        self.addCleanup(client.close)
        return client


class ForkTests(ForkTestCase):
    """A client made, and used, before the fork."""

    def test_each_process_has_its_own_connection_and_ids(self) -> None:
        """The child connects anew; the parent goes on where it was; no two requests have the same id."""
        for _ in range(3):
            self.assertEqual(Child(lambda: self.client.lookup("zebra")).result(), 1)
            self.assertEqual(self.client.lookup("zebra"), 1)
        self.assertEqual((self.server.connections, self.messages), (4, []))
        ids = [request["id"] for request in self.server.requests]
        self.assertEqual(len(set(ids)), len(ids))

    def test_grandchild(self) -> None:
        """A child's child is one more process."""
        grandchild = lambda: Child(lambda: self.client.lookup("zebra")).result() + self.client.lookup("zebra")  # noqa: E731
        self.assertEqual(Child(grandchild).result(), 2)
        self.assertEqual((self.server.connections, self.messages), (3, []))

    def test_at_the_same_time(self) -> None:
        """Parent and children ask at the same time, and each gets its own answers."""
        children = [Child(lambda i=i: own_values(self.client, f"child {i}")) for i in range(4)]  # type: ignore[misc]
        self.assertEqual(own_values(self.client, "parent"), 0)
        self.assertEqual([child.result() for child in children], [0] * 4)
        self.assertEqual((self.server.connections, self.messages), (5, []))

    def test_child_that_closes_or_ends(self) -> None:
        """What a child does with its client, or that it ends, does not touch the parent's connection."""
        Child(self.client.close).result()
        Child(lambda: self.client.__exit__(None, None, None)).result()
        Child(lambda: None).result()
        self.assertEqual(self.client.lookup("zebra"), 1)
        self.assertEqual((self.server.connections, self.messages), (1, []))

    def test_parents_connection_ends_though_a_child_lives(self) -> None:
        """A child does not hold the parent's connection open, whether it uses its client or not."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            client = Client(f"127.0.0.1:{listener.getsockname()[1]}")
            asking = threading.Thread(target=client.size)
            asking.start()
            connection, _ = listener.accept()
        connection.settimeout(PATIENCE_S)
        connection.sendall(b'{"result":"success","value":0,"id":%d}\r\n' % json.loads(connection.recv(1000))["id"])
        asking.join()
        read, write = os.pipe()
        child = Child(lambda: [os.close(write), os.read(read, 1).decode()])
        client.close()
        self.assertEqual(connection.recv(1000), b"")
        connection.close()
        os.close(write)
        os.close(read)
        child.result()

    def test_while_another_thread_holds_the_lock(self) -> None:
        """A child forked while a thread of the parent is in a request has a lock of its own, and is served."""
        paused, go_on = threading.Event(), threading.Event()
        client = self.make_client(sleep=lambda seconds: (paused.set(), go_on.wait()))
        self.server.faults.append(b"nonsense\n")
        thread = threading.Thread(target=client.lookup, args=("zebra",))
        thread.start()
        paused.wait()
        self.assertEqual(Child(lambda: client.lookup("zebra", deadline_seconds=PATIENCE_S)).result(), 1)
        go_on.set()
        thread.join()

    def test_in_the_middle_of_a_request(self) -> None:
        """A fork out of a request that is being repeated: both processes repeat it, each on a connection of its own."""
        children: list[Child] = []
        read, write = os.pipe()

        def fork(seconds: float) -> None:
            children.append(Child(lambda: os.write(write, b"%d" % client.lookup("zebra"))))

        client = self.make_client(sleep=fork)
        self.server.faults.append(b"nonsense\n")
        self.assertEqual(client.lookup("zebra"), 1)
        self.assertEqual(children[0].result(), 1)
        self.assertEqual(os.read(read, 10), b"1")
        os.close(read)
        os.close(write)

    def test_multiprocessing(self) -> None:
        """The processes of a pool that was forked."""
        global _shared_client
        _shared_client = self.client
        with multiprocessing.get_context("fork").Pool(4) as pool:
            self.assertEqual(sum(pool.map(_of_a_pool, range(20))), 0)
            pool.close()  # `terminate` sends SIGTERM, which a reactor that this process ran may have taught to wait
            pool.join()
        self.assertEqual((self.client.lookup("zebra"), self.messages), (1, []))

    def test_pickled_and_copied(self) -> None:
        """A pickle (a process that is spawned) or a copy of a client is a client of its own, with the same options."""
        client = Client(self.server.target, deadline_seconds=60, report=report_on_stderr)
        self.addCleanup(client.close)
        for other in (pickle.loads(pickle.dumps(client)), copy.copy(client), copy.deepcopy(client)):
            self.assertEqual((other.lookup("zebra"), client.lookup("zebra")), (1, 1))
            self.assertIsNot(other._stream, client._stream)
            self.assertEqual(other._deadline_seconds, 60)
            other.close()
        self.assertEqual(self.server.connections, 5)


_shared_client: Client


def _of_a_pool(i: int) -> int:
    return own_values(_shared_client, f"task {i}", rounds=20)


class DeferredForkTests(TestCase):
    """The Twisted client, in a process that is forked while the reactor runs."""

    timeout = 60

    async def test_child_of_a_running_reactor(self) -> None:
        """In the child a request fails at once and closing harms nothing; the parent's connection goes on."""
        server = FakeServer()
        self.addCleanup(server.stop)
        messages: list[str] = []
        client = DeferredClient(reactor, server.target, report=messages.append)
        self.addCleanup(client.close)
        await client.insert("zebra", 1)

        def in_child() -> list[str]:
            errors: list[str] = []
            client.size().addErrback(lambda failure: errors.append(failure.getErrorMessage()))
            client.close()
            return errors

        (error,) = Child(in_child).result()
        self.assertIn("make a client here", error)
        self.assertEqual(await client.lookup("zebra"), 1)
        self.assertEqual((server.connections, messages), (1, []))


class RealServerForkTests(Serving, SynchronousTestCase):
    """The same against the real server."""

    def test_preloaded_web_server(self) -> None:
        """A master that has used the client, four workers with four threads each: no answer is another's."""
        client = Client(f"127.0.0.1:{self.server.port}")
        self.addCleanup(client.close)
        self.assertEqual(own_values(client, "master"), 0)
        workers = [Child(lambda i=i: in_threads(client, f"worker {i}")) for i in range(4)]  # type: ignore[misc]
        self.assertEqual([worker.result() for worker in workers], [0] * 4)
        self.assertEqual((own_values(client, "master"), client.retries), (0, 0))
        self.assertEqual(client.size(), 17)

    def test_tls(self) -> None:
        """Over TLS too a child connects anew, and its end, with or without `close`, does not end the parent's."""
        path = os.path.join(new_directory(self.addCleanup), "both.pem")
        make_certificate(path)
        server = self.start("--listen", f"ssl:0:privateKey={path}:certKey={path}:interface=127.0.0.1", port=None)
        client = Client(f"tls:127.0.0.1:{server.port}", ca_file=path)
        self.addCleanup(client.close)
        client.insert("zebra", 1)
        for function in (lambda: client.lookup("zebra"), client.close, lambda: None):
            Child(function).result()
            self.assertEqual(client.lookup("zebra"), 1)
        self.assertEqual(Child(lambda: own_values(client, "child")).result(), 0)
        self.assertEqual((own_values(client, "parent"), client.retries), (0, 0))


def in_threads(client: Client, name: str) -> int:
    """`own_values` in four threads; returns how many answers were another's."""
    wrong: list[int] = []
    names = [f"{name}, thread {i}" for i in range(4)]
    threads = [threading.Thread(target=lambda n=n: wrong.append(own_values(client, n, 50))) for n in names]  # type: ignore[misc]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(wrong) if len(wrong) == 4 else -1


class ThreadTests(ForkTestCase):
    """Several threads on one client."""

    def test_threads_take_turns(self) -> None:
        """Each thread gets its own answers, over one connection."""
        interval = sys.getswitchinterval()
        self.addCleanup(sys.setswitchinterval, interval)
        sys.setswitchinterval(1e-5)
        self.assertEqual(in_threads(self.client, "parent"), 0)
        self.assertEqual((self.server.connections, self.messages), (1, []))

    def test_waiting_for_a_turn_ends_with_the_deadline(self) -> None:
        """A deadline counts while another thread's request is under way; what was not begun was not done."""
        paused, go_on = threading.Event(), threading.Event()
        client = self.make_client(sleep=lambda seconds: (paused.set(), go_on.wait()))
        self.server.faults.append(b"nonsense\n")
        thread = threading.Thread(target=client.size)
        thread.start()
        paused.wait()
        error = self.assertRaises(DeadlineExceeded, client.insert, "zebra", 2, deadline_seconds=0.01)
        self.assertFalse(error.may_be_done)
        self.assertRaises(DeadlineExceeded, client.insert, "zebra", 2, deadline_seconds=-1)
        go_on.set()
        client.insert("zebra", 3, deadline_seconds=1e300)
        client.insert("zebra", 4, deadline_seconds=math.inf)
        thread.join()
        self.assertEqual(client.lookup("zebra"), 4)

    def test_request_within_a_request(self) -> None:
        """A request out of another one of the same thread is an error that says what to do, not a wait for ever."""
        errors: list[str] = []

        def ask(message: str) -> None:
            errors.append(str(self.assertRaises(RuntimeError, client.size)))

        client = Client(self.server.target, sleep=lambda seconds: None, report=ask)
        self.addCleanup(client.close)
        self.server.faults.append(b"nonsense\n")
        self.assertEqual(client.lookup("zebra"), 1)
        self.assertIn("use another client", errors[0])
        self.assertEqual(client.size(), 1)

    def test_close_within_a_request(self) -> None:
        """Closing in the middle of a request (from a signal handler, say) does not wait for it; it is repeated."""
        client = Client(self.server.target, sleep=lambda seconds: client.close(), report=self.messages.append)
        self.server.faults.append(b"nonsense\n")
        self.assertEqual(client.lookup("zebra"), 1)
        client.close()

    def test_close_waits_for_another_threads_request(self) -> None:
        """A request that is under way in another thread gets its answer before the connection is closed."""
        received, answer = threading.Event(), threading.Event()

        def slow(connection: socket.socket) -> None:
            request = json.loads(connection.recv(65536))
            received.set()
            answer.wait()
            connection.sendall(b'{"result":"success","value":7,"id":%d}\r\n' % request["id"])

        client = self.make_client()
        self.server.hostility = slow
        sizes: list[int] = []
        thread = threading.Thread(target=lambda: sizes.append(client.size()))
        thread.start()
        received.wait()
        closing = threading.Thread(target=client.close)
        closing.start()
        answer.set()
        closing.join()
        thread.join()
        self.assertEqual((sizes, self.messages), ([7], []))
