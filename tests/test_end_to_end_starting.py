"""How the real server starts, refuses to start, and stops: in the foreground, as a daemon, on any endpoint."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import stat
import subprocess
from typing import Any

import pytest
from twisted.trial.unittest import SynchronousTestCase

from kvstore.edge import tap
from kvstore.store.examine import ADVICE
from kvstore.testing.server_process import PATIENCE_S, StartFailed, command, environment
from tests.kit.certificate import make_certificate
from tests.kit.server_process import Serving, Wire, eventually, new_directory, shared_server


def run_twistd(directory: str, *options: str, twistd: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    """Run twistd in a directory until it ends or, as a daemon, is left alone."""
    return subprocess.run(
        command(*options, twistd=twistd), cwd=directory, env=environment(), capture_output=True, text=True,
        timeout=PATIENCE_S,
    )  # fmt: skip


def is_alive(pid: int) -> bool:
    """Whether there is such a process, though it may be dying."""
    return os.path.exists(f"/proc/{pid}")


class StopChecks(Serving):
    """Ending a server."""

    def test_sigterm(self) -> None:
        """SIGTERM, and SIGINT as Ctrl-C sends it, end the server, its log says so, and what was written is there."""
        server = self.start()
        for number in (signal.SIGTERM, signal.SIGINT):
            wire = self.connect(server)
            self.assertEqual(wire.ask("INCR", "n"), 1 if number == signal.SIGTERM else 2)
            server.signal(number)
            self.assertIn(server.wait(), (-number, 0))
            self.assertIn("Server Shut Down.", server.log[-1])
            self.assertEqual(server.errors, "")
            self.assertEqual(wire.read_to_end(), b"")
            server.start()
        self.assertEqual(self.connect(server).ask("GET", "n"), b"2")

    def test_shutdown(self) -> None:
        """SHUTDOWN ends it with the connection as the only answer."""
        server = self.start()
        wire = self.connect(server)
        wire.send(b"SET a 1\r\nSHUTDOWN\r\n")
        self.assertEqual(wire.read_to_end(), b"+OK\r\n")
        self.assertEqual(server.wait(), 0)

    def test_nothing_is_left_behind(self) -> None:
        """A server that ran and was stopped has no files but its own, and says at the next start that all is well."""
        server = self.start()
        self.connect(server).ask("SET", "a", "1")
        server.stop()
        self.assertLessEqual(set(os.listdir(server.data)), {"lock", "table.txn", "table.ckpt"})
        server.start()
        self.assertTrue(server.wait_for_line(re.compile(r".*recovered 1 keys as of commit 1 from ").match))
        self.assertEqual([line for line in server.log if "#warn" in line or "#error" in line], [])


class StopOnEpollTests(StopChecks, SynchronousTestCase):
    """On epoll."""

    reactor = "epoll"


@pytest.mark.long
class StopOnSelectTests(StopChecks, SynchronousTestCase):
    """On select."""

    reactor = "select"


class ReactorTests(Serving, SynchronousTestCase):
    """Which loop the server runs on: INFO tells."""

    def test_reactor(self) -> None:
        """Ours by default; Twisted's own where twistd was told so, before our option."""
        for reactor, name in ((None, "TurnReactor"), ("epoll", "EPollReactor"), ("select", "SelectReactor")):
            wire = self.connect(shared_server(reactor=reactor))
            self.assertEqual(wire.info("server")["reactor"], name)


class DaemonTests(Serving, SynchronousTestCase):
    """`twistd kvstore` without -n: a process that goes on by itself."""

    def setUp(self) -> None:
        """Make a directory to start it in."""
        self.directory = new_directory(self.addCleanup)

    def start_daemon(self, *options: str, twistd: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        """Start one; it is killed after the test."""
        done = run_twistd(self.directory, *options, twistd=twistd)
        if done.returncode == 0:
            self.addCleanup(self.kill_daemon)
        return done

    def kill_daemon(self) -> None:
        """Kill the one whose number the pidfile holds, if there is a pidfile."""
        if os.path.exists(self.path("twistd.pid")):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid(), signal.SIGKILL)

    def path(self, name: str) -> str:
        """A file in the directory."""
        return os.path.join(self.directory, name)

    def read(self, name: str) -> str:
        """A file's text."""
        with open(self.path(name), encoding="utf-8") as file:
            return file.read()

    def pid(self) -> int:
        """The daemon's number."""
        return int(self.read("twistd.pid"))

    def port(self) -> int:
        """The port that the daemon's log tells."""
        return int(eventually(lambda: re.findall(r"Listening on port (\d+)\n", self.read("twistd.log")))[-1])

    def test_start_and_stop(self) -> None:
        """The command returns when the server runs; data, log and pidfile are where it was called; kill stops it."""
        done = self.start_daemon("--port", "0", "--data", "here")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
        with Wire(self.port()) as wire:
            self.assertEqual(wire.ask("SET", "a", "1"), b"OK")
            self.assertEqual(wire.info("server")["process_id"], str(self.pid()))
            self.assertIn("table.txn", os.listdir(self.path("here")))
            os.kill(self.pid(), signal.SIGTERM)
            self.assertEqual(wire.read_to_end(), b"")
        eventually(lambda: not os.path.exists(self.path("twistd.pid")))
        self.assertIn("Server Shut Down.", self.read("twistd.log"))

    def test_start_again_after_a_kill(self) -> None:
        """kill -9 leaves the pidfile; the next start takes no offence, and finds the data."""
        self.start_daemon("--port", "0", "--data", "here")
        with Wire(self.port()) as wire:
            wire.ask("SET", "a", "1")
            self.kill_daemon()
        pid = self.pid()
        eventually(lambda: not is_alive(pid))  # twistd starts none beside a process that is dying
        os.remove(self.path("twistd.log"))
        self.assertEqual(self.start_daemon("--port", "0", "--data", "here").returncode, 0)
        with Wire(self.port()) as wire:
            self.assertEqual(wire.ask("GET", "a"), b"1")

    def test_a_refused_start_is_told(self) -> None:
        """The command fails, and says why, when the daemon could not begin: a directory or a port is taken."""
        self.start_daemon("--port", "0", "--data", "here")
        for options, reason in (
            (("--port", "0", "--data", "here"), "is in use by a server"),
            (("--port", str(self.port()), "--data", "there"), "cannot listen on tcp:"),
        ):
            done = self.start_daemon(*options, twistd=("--pidfile=other.pid", "--logfile=other.log"))
            self.assertEqual(done.returncode, 1)
            self.assertIn("kvstore: ", done.stderr)
            self.assertIn(reason, self.read("other.log"))
            eventually(lambda: "other.pid" not in os.listdir(self.directory))


class RefusedStartTests(Serving, SynchronousTestCase):
    """A start that is refused: one line on stderr that says what to do, and exit status 1."""

    OPTIONS = tuple(name for name, *_ in tap.Options.optParameters)

    def refused(self, *options: str, **keywords: Any) -> str:
        """Start a server that must not come up; returns the one line on stderr."""
        with self.assertRaises(StartFailed) as raised:
            self.start(*options, **keywords)
        self.assertEqual(raised.exception.status, 1)
        self.assertNotIn("Traceback", raised.exception.output)
        self.assertNotIn("Listening", raised.exception.output)
        lines = raised.exception.errors.splitlines()
        self.assertEqual(len(lines), 1, lines)
        return lines[0]

    def test_directory_in_use(self) -> None:
        """One server to a directory; the other one is not disturbed."""
        with self.start() as server, self.connect(server) as wire:
            line = self.refused(data=server.data)
            self.assertEqual(
                line,
                f"kvstore: {server.data} is in use by a server (process {server.pid}); "
                "stop it, or choose another directory",
            )
            self.assertEqual(wire.ask("SET", "a", "1"), b"OK")

    def test_port_in_use(self) -> None:
        """The line names the endpoint and the options that change it."""
        with self.start() as server:
            line = self.refused(port=server.port)
        self.assertTrue(line.startswith(f"kvstore: cannot listen on tcp:{server.port}:interface=127.0.0.1:"), line)
        self.assertTrue(line.endswith("; choose another --port or --listen"), line)

    def test_damaged_log(self) -> None:
        """The line names file, offset, reason, and what to do; the files are left as they are."""
        server = self.start()
        wire = self.connect(server)
        for number in range(5):
            wire.ask("SET", f"key{number}", f"value {number}")
        server.kill()
        path = os.path.join(server.data, "table.txn")
        with open(path, "r+b") as log:
            content = log.read()
            log.seek(content.index(b"value 1"))
            log.write(b"Value")
        line = self.refused(data=server.data)
        found = re.fullmatch(rf"kvstore: {re.escape(path)} is damaged at byte ([0-9]+): (.*)", line)
        assert found is not None, line
        self.assertTrue(content.index(b"value 0") < int(found[1]) < content.index(b"value 1"))
        self.assertIn("checksum", found[2])
        self.assertTrue(found[2].endswith(ADVICE))
        with open(path, "rb") as log:
            self.assertEqual(log.read(), content.replace(b"value 1", b"Value 1"))

    def test_paths_are_tried_at_the_start(self) -> None:
        """What can only be seen by trying, too: the line names the option."""
        for option in ("--keep-log", "--data", "--trace"):
            line = self.refused(option, "/proc/1/nowhere" if option == "--trace" else "/proc/nowhere", port=0)
            self.assertTrue(line.startswith(f"kvstore: {option} '/proc/"), line)
            self.assertIn("choose another", line)

    def test_trace_into_the_live_log(self) -> None:
        """Refused before anything is written to it."""
        data = self.new_data()
        self.start(data=data).kill()
        path = os.path.join(data, "table.txn")
        with open(path, "rb") as log:
            before = log.read()
        line = self.refused("--trace", path, data=data)
        self.assertEqual(line, f"kvstore: --trace {path!r}: this is a file of --data {data!r}; choose another place")
        with open(path, "rb") as log:
            self.assertEqual(log.read(), before)

    def test_trace_into_what_is_no_trace(self) -> None:
        """Such as the live log of another server: refused before anything is written to it."""
        data = self.new_data()
        self.start(data=data).kill()
        path = os.path.join(data, "table.txn")
        with open(path, "rb") as log:
            before = log.read()
        line = self.refused("--trace", path, port=0)
        self.assertEqual(line, f"kvstore: --trace {path!r}: what it holds is no trace; choose another place")
        with open(path, "rb") as log:
            self.assertEqual(log.read(), before)

    def test_bad_option(self) -> None:
        """A bad value is found before anything is opened or made."""
        data = self.new_data()
        self.assertEqual(
            self.refused("--sync", "sometimes", data=data),
            "kvstore: --sync 'sometimes': give always, everysec or no",
        )
        self.assertEqual(
            self.refused("--bogus", data=data), "kvstore: option --bogus not recognized; see kvstore serve --help"
        )
        self.assertFalse(os.path.exists(data))

    def test_help(self) -> None:
        """--help lists every option and ends well, though nothing is started."""
        done = run_twistd(new_directory(self.addCleanup), "--help", twistd=("-n",))
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        for option in (*self.OPTIONS, "listen"):
            self.assertIn(f"--{option}=", done.stdout)


class EndpointTests(Serving, SynchronousTestCase):
    """Everything that Twisted's endpoint strings name can be listened on."""

    def test_unix_socket(self) -> None:
        """A socket file, next to a port; both lead to one table."""
        path = os.path.join(new_directory(self.addCleanup), "socket")
        server = self.start("--listen", f"unix:{path}")
        server.wait_for_line(lambda line: line.startswith("Listening on") and path in line)
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o660)
        with Wire(path) as wire, self.connect(server) as other:
            self.assertEqual(wire.ask("SET", "a", b"x" * 1_000_000), b"OK")
            self.assertEqual(other.ask("STRLEN", "a"), 1_000_000)
            self.assertEqual(len(wire.ask("GET", "a")), 1_000_000)
            self.assertEqual(other.ask("CLIENT", "LIST").count(b"\n"), 2)

    def test_only_a_unix_socket(self) -> None:
        """With --listen alone no port is opened."""
        path = os.path.join(new_directory(self.addCleanup), "socket")
        server = self.start("--listen", f"unix:{path}", port=None)
        with Wire(path) as wire:
            self.assertEqual(wire.ask("PING"), b"PONG")
            self.assertEqual((server.port, wire.info("server")["tcp_port"]), (0, "0"))

    def test_ssl(self) -> None:
        """Over TLS: all three grammars, replies larger than any buffer, and a pipeline, its replies in order."""
        path = os.path.join(new_directory(self.addCleanup), "both.pem")
        context = make_certificate(path)
        server = self.start("--listen", f"ssl:0:privateKey={path}:certKey={path}:interface=127.0.0.1", port=None)
        wire = self.connect(server)
        wire.socket = context.wrap_socket(wire.socket, server_hostname="127.0.0.1")
        self.assertEqual(wire.say('insert k {"a":1}'), b'{"result":"success"}\r\n')
        self.assertEqual(wire.say('{"method":"lookup","key":"k"}'), b'{"result":"success","value":{"a":1}}\r\n')
        self.assertEqual(wire.ask("SET", "large", b"x" * 3_000_000), b"OK")
        wire.send(b"GET large\r\nINCR n\r\n" * 4)
        replies = wire.read_replies(8)
        self.assertEqual(replies[1::2], [1, 2, 3, 4])
        self.assertEqual([len(reply) for reply in replies[::2]], [3_000_000] * 4)
        wire.send(b"QUIT\r\n")
        self.assertEqual(wire.read_to_end(), b"+OK\r\n")

    def test_plain_text_at_an_ssl_port(self) -> None:
        """A client that speaks no TLS gets nothing; one that does is not disturbed."""
        path = os.path.join(new_directory(self.addCleanup), "both.pem")
        context = make_certificate(path)
        server = self.start("--listen", f"ssl:0:privateKey={path}:certKey={path}:interface=127.0.0.1", port=None)
        witness = self.connect(server)
        witness.socket = context.wrap_socket(witness.socket, server_hostname="127.0.0.1")
        plain = self.connect(server)
        plain.send(b"SET a 1\r\n")
        self.assertNotIn(b"OK", plain.read_to_end())
        self.assertEqual(witness.ask("EXISTS", "a"), 0)

    def test_all_interfaces_only_when_asked(self) -> None:
        """The default port is on 127.0.0.1 alone."""
        server = self.start()
        with socket.socket(socket.AF_INET6) as other:
            self.assertNotEqual(other.connect_ex(("::1", server.port)), 0)
        with socket.socket() as other:
            self.assertNotEqual(other.connect_ex(("127.0.0.2", server.port)), 0)
