"""The real server process, on epoll and on select, and what is typed at it: telnet, redis-cli, redis-benchmark."""

from __future__ import annotations

import contextlib
import doctest
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import pytest
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from kvstore.testing.server_process import PATIENCE_S
from tests.kit.server_process import Serving

README = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")

#: What is typed, and what comes back, byte by byte.
SESSION = [
    (b"size", b'{"result":"success","value":0}'),
    (b"nonsense", b"-ERR unknown command 'nonsense', with args beginning with: ; try help"),
    (
        b"insert zebra fred",
        b'{"result":"invalid","error":"value is not JSON (invalid literal, expected \'false\': line 1 column 1 '
        b'(char 0)); strings need double quotes"}',
    ),
    (b"insert", b'{"result":"invalid","error":"wrong number of arguments for \'insert\' command; '
                b'usage: insert key value"}'),
    (b"size", b'{"result":"success","value":0}'),
]  # fmt: skip


def readme_session(heading: str) -> list[str]:
    """The lines of the session under this heading of README.md."""
    section = README.partition(f"### {heading}\n")[2].partition("\n#")[0]
    return [line[4:] for line in section.splitlines() if line.startswith("    ")]


def typed_session() -> Iterator[tuple[bytes, list[bytes]]]:
    """What is typed by hand in README.md, after the first line, and the lines that answer it."""
    lines = [line.encode() for line in readme_session("By hand")[1:]]
    typed = [at for at, line in enumerate(lines) if re.match(rb'[a-z]|{"method"', line)]
    for at, following in pairwise([*typed, len(lines)]):
        yield lines[at], lines[at + 1 : following]


def run(program: str, *words: str, typed: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run a client program to its end. `typed`: its standard input."""
    if shutil.which(program) is None:
        raise SkipTest(f"{program} is not installed (see .ci/run)")
    return subprocess.run([program, *words], input=typed, capture_output=True, timeout=PATIENCE_S)


class Terminal:
    """A program at a pseudo-terminal, and what it has shown there that nobody has looked for yet."""

    def __init__(self, program: str, *words: str) -> None:
        self._process, self._screen = pty.fork()
        if not self._process:
            os.execvp(program, [program, *words])
        self._shown = b""

    def type(self, keys: bytes) -> None:
        """Press these keys."""
        os.write(self._screen, keys)

    def see(self, text: bytes) -> None:
        """Wait until this is shown, and forget all up to its end."""
        deadline = time.monotonic() + PATIENCE_S
        while text not in self._shown:
            ready, _, _ = select.select([self._screen], [], [], max(deadline - time.monotonic(), 0))
            if not ready:
                raise AssertionError(f"{text!r} is not shown; {self._shown!r} is")
            try:
                self._shown += os.read(self._screen, 4096)
            except OSError:  # the program has ended
                raise AssertionError(f"{text!r} was not shown; {self._shown!r} was") from None
        self._shown = self._shown.partition(text)[2]

    def close(self) -> None:
        """End the program."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)
        os.close(self._screen)


class TypedChecks(Serving):
    """What a person or a shell script sends."""

    def test_the_session_of_the_readme(self) -> None:
        """Each line that is typed is answered with the lines that stand there, byte for byte."""
        wire = self.connect()
        session = list(typed_session())
        self.assertGreater(len(session), 4)
        for typed, answers in session:
            wire.send(b"\r\n" + typed + b"\r\n")
            self.assertEqual([wire.read_line() for _ in answers], [line + b"\r\n" for line in answers], typed)
        self.assertEqual(wire.read_to_end(), b"")

    def test_the_python_session_of_the_readme(self) -> None:
        """Each expression gives what stands there."""
        if find_spec("redis") is None:
            raise SkipTest("redis-py is not installed: pip install -r requirements-dev.txt")
        source = "\n".join(readme_session("Python")).replace("6380", str(self.server.port))
        session = doctest.DocTestParser().get_doctest(source + "\n", {}, "README.md", "README.md", 0)
        self.assertGreater(len(session.examples), 6)
        told: list[str] = []
        result = doctest.DocTestRunner().run(session, out=told.append)
        self.addCleanup(session.globs.clear)
        self.assertEqual(result.failed, 0, "".join(told))

    def test_errors(self) -> None:
        """Each line that is typed is answered with one line, byte for byte; an empty one with nothing."""
        wire = self.connect()
        for typed, answer in SESSION:
            wire.send(b"\r\n" + typed + b"\r\n")
            self.assertEqual(wire.read_line(), answer + b"\r\n", typed)
        wire.send(b"help\r\nnonsense\r\n")
        told = list(iter(wire.read_line, dict(SESSION)[b"nonsense"] + b"\r\n"))
        self.assertTrue(all(line.startswith(b" ") for line in told), told)
        self.assertIn(b"  insert key value\r\n", told)

    def test_lines_that_end_in_lf_alone(self) -> None:
        """nc and scripts send no CR; the answers are the same, in one go too."""
        wire = self.connect()
        wire.send(b"".join(typed + b"\n\n" for typed, _ in SESSION))
        self.assertEqual([wire.read_line() for _ in SESSION], [answer + b"\r\n" for _, answer in SESSION])

    def test_telnet(self) -> None:
        """The real telnet, with a person who waits for each answer."""
        if shutil.which("telnet") is None:
            raise SkipTest("telnet is not installed (see .ci/run)")
        telnet = subprocess.Popen(
            ["telnet", "127.0.0.1", str(self.server.port)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.addCleanup(telnet.communicate)
        self.addCleanup(telnet.kill)
        assert telnet.stdin is not None and telnet.stdout is not None
        while not telnet.stdout.readline().startswith(b"Escape character"):
            self.assertIsNone(telnet.poll())
        for typed, answer in SESSION:
            telnet.stdin.write(typed + b"\n")
            telnet.stdin.flush()
            self.assertEqual(telnet.stdout.readline().rstrip(b"\r\n"), answer, typed)

    def test_telnet_at_a_terminal(self) -> None:
        """Ctrl-C drops what was typed, and what comes after it is seen; a forgotten quote, help and Ctrl-D work."""
        terminal = self.terminal("telnet", "127.0.0.1", str(self.server.port))
        terminal.see(b"Escape character is '^]'.\r\n")
        terminal.type(b"PING\n")
        terminal.see(b"+PONG\r\n")  # from now on telnet takes Ctrl-C for a key of ours
        terminal.type(b"FLUSHALL\x03")
        terminal.type(b"SET a 1\n")
        terminal.see(b"+OK\r\n")
        for typed, seen in ((b"ECHO 'a\n", b"-ERR unbalanced quotes"), (b"help set\n", b"SET key value [NX|XX|IFEQ")):
            terminal.type(typed)
            terminal.see(seen)
        terminal.type(b"\x04")
        terminal.see(b"Connection closed by foreign host.")
        self.assertEqual(self.connect().ask("GET", "a"), b"1")

    def terminal(self, program: str, *words: str) -> Terminal:
        """A program at a terminal of its own."""
        if shutil.which(program) is None:
            raise SkipTest(f"{program} is not installed (see .ci/run)")
        terminal = Terminal(program, *words)
        self.addCleanup(terminal.close)
        return terminal

    def test_json_lines(self) -> None:
        """Programs send an object a line, with an id if they like, and get one in return."""
        wire = self.connect()
        for request, answer in (
            ('{"method":"insert","key":"zebra","value":{"weight":100}}', b'{"result":"success"}'),
            ('{"method":"lookup","key":"zebra","id":7}', b'{"result":"success","value":{"weight":100},"id":7}'),
            ('{"method":"lookup","key":"ant"}', b'{"result":"failure","error":"no such key"}'),
            ('{"method":"lookup"}', b'{"result":"invalid","error":"missing member \'key\'"}'),
            ('{"method":"size","id":null}', b'{"result":"success","value":1,"id":null}'),
        ):
            self.assertEqual(wire.say(request), answer + b"\r\n")

    def test_three_grammars_on_one_connection(self) -> None:
        """JSON lines, words and RESP take turns, over one table."""
        wire = self.connect()
        self.assertEqual(wire.say('{"method":"insert","key":"k","value":[1,2]}'), b'{"result":"success"}\r\n')
        self.assertEqual(wire.ask("GET", "k"), b"[1,2]")
        self.assertEqual(wire.say("GET k"), b"$5\r\n")
        self.assertEqual(wire.read_line(), b"[1,2]\r\n")
        self.assertEqual(wire.say("lookup k"), b'{"result":"success","value":[1,2]}\r\n')
        self.assertEqual(wire.ask("SET", "k", "not JSON"), b"OK")
        self.assertIn(b'"result":"failure"', wire.say("lookup k"))


class RedisProgramChecks(Serving):
    """The programs of redis-tools."""

    def cli(self, *words: str, typed: bytes = b"") -> tuple[int, str]:
        """Run redis-cli against the server; returns its exit status and output."""
        done = run("redis-cli", "-p", str(self.server.port), *words, typed=typed)
        return done.returncode, (done.stdout + done.stderr).decode()

    def test_redis_cli(self) -> None:
        """One command a call, in RESP2 and in RESP3."""
        self.assertEqual(self.cli("set", "a", "1"), (0, "OK\n"))
        self.assertEqual(self.cli("get", "a"), (0, "1\n"))
        self.assertEqual(self.cli("-3", "incr", "a"), (0, "2\n"))
        self.assertIn("proto 3\n", self.cli("-3", "hello")[1])
        self.assertEqual(self.cli("-3", "get", "none"), (0, "\n"))
        self.assertEqual(self.cli("--json", "mget", "a", "none")[1], '["2",null]\n')
        self.assertIn("ERR unknown command 'nonsense'", self.cli("nonsense")[1])

    def test_redis_cli_transaction(self) -> None:
        """A block typed into redis-cli."""
        status, output = self.cli(typed=b"MULTI\nSET a 5\nINCR a\nINCR b\nEXEC\nMULTI\nSET a 9\nDISCARD\nGET a\n")
        self.assertEqual(status, 0)
        self.assertEqual(
            output.split(), ["OK", "QUEUED", "QUEUED", "QUEUED", "OK", "6", "1", "OK", "QUEUED", "OK", "6"]
        )

    def test_redis_cli_mass_insertion(self) -> None:
        """redis-cli --pipe sends all it has before it reads, and counts the replies."""
        requests = b"".join(b"SET key:%d value:%d\r\n" % (number, number) for number in range(20_000))
        status, output = self.cli("--pipe", typed=requests)
        self.assertEqual((status, output.splitlines()[-1]), (0, "errors: 0, replies: 20000"))
        self.assertEqual(self.cli("dbsize"), (0, "20000\n"))
        self.assertEqual(self.cli("get", "key:19999"), (0, "value:19999\n"))

    def test_the_session_of_the_readme(self) -> None:
        """redis-cli shows what stands there."""
        lines = [re.split(r"^127\.0\.0\.1:6380(?:\(TX\))?> ", line) for line in readme_session("redis-cli")[1:]]
        typed = "".join(f"{line[1]}\n" for line in lines if len(line) == 2)
        self.assertGreater(typed.count("\n"), 4)
        done = run("redis-cli", "--no-raw", "-p", str(self.server.port), typed=typed.encode())
        self.assertEqual(done.stdout.decode().splitlines(), [line[0] for line in lines if len(line) == 1])

    def test_redis_cli_looks_around(self) -> None:
        """What redis-cli's own modes ask: all keys by SCAN, big keys, and statistics."""
        self.cli("mset", *(word for number in range(100) for word in (f"k{number}", "v" * number)))
        status, output = self.cli("--scan", "--pattern", "k9?")
        self.assertEqual((status, sorted(output.split())), (0, [f"k{number}" for number in range(90, 100)]))
        status, output = self.cli("--bigkeys")
        self.assertEqual(status, 0)
        self.assertIn('Biggest string found "k99" has 99 bytes', output.replace("'", '"').replace('""', '"'))

    def test_redis_benchmark(self) -> None:
        """A short run, pipelined, of the tests that need only strings, ends well and without a word of error."""
        done = run("redis-benchmark", "-p", str(self.server.port), *["-t", "ping,set,get,incr,mset"],
                   *["-c", "50", "-P", "16", "-n", "4000", "-r", "1000", "-d", "100", "--csv"])  # fmt: skip
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        tests = [line.split(",")[0].strip('"') for line in done.stdout.decode().splitlines()[1:]]
        self.assertEqual(tests, ["PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "MSET (10 keys)"])
        wire = self.connect()
        self.assertGreaterEqual(wire.ask("DBSIZE"), 900)


class TypedOnEpollTests(TypedChecks, SynchronousTestCase):
    """Typed at a server on epoll."""

    reactor = "epoll"


@pytest.mark.long
class TypedOnSelectTests(TypedChecks, SynchronousTestCase):
    """Typed at a server on select."""

    reactor = "select"


class RedisProgramsOnEpollTests(RedisProgramChecks, SynchronousTestCase):
    """redis-tools and a server on epoll."""

    reactor = "epoll"


@pytest.mark.long
class RedisProgramsOnSelectTests(RedisProgramChecks, SynchronousTestCase):
    """redis-tools and a server on select."""

    reactor = "select"
