"""The log of a process: to a file that is opened anew, at a level that changes, without what users store."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import ssl
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.internet.task import Clock
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.limits import LOG_LINES_A_PERIOD
from kvstore.edge import server_log
from kvstore.edge.log_limit import LogLimit
from kvstore.edge.script_log import note_script
from kvstore.edge.server_log import ServerLog
from kvstore.wire.resp import pack
from tests.kit.server_process import Serving, Wire, eventually, new_directory

SECRET = "hunter2"


class ServerLogTests(SynchronousTestCase):
    """The observer by itself, with a file."""

    def setUp(self) -> None:
        """A place for the file; the process's signals come back."""
        self.path = os.path.join(new_directory(self.addCleanup), "log")
        for number in (signal.SIGHUP, signal.SIGUSR1):
            self.addCleanup(signal.signal, number, signal.getsignal(number))

    def begun(self, *options: Any) -> ServerLog:
        """A log that writes to the file; closed with the test."""
        log = ServerLog(*options, path=self.path).begin()
        self.addCleanup(os.close, log._stream.fileno())
        self.logger = Logger("here", observer=log)
        self.patch(server_log, "_log", self.logger)
        return log

    def lines(self, path: str = "") -> list[str]:
        """The messages in the file, without time and place."""
        return [line.partition("] ")[2] for line in Path(path or self.path).read_text().splitlines()]

    def test_levels(self) -> None:
        """What is less important than the level is left out; by our names, or by Redis's."""
        log = self.begun("text", "warn")
        for level in ("debug", "info", "warn", "error", "notice", "warning", "verbose", "nothing"):
            log.set_level(level)
            for each in LogLevel.iterconstants():
                self.logger.emit(each, f"{level}-{each.name}")
        told = {
            "debug": 5, "info": 4, "notice": 4, "verbose": 4, "warn": 3, "warning": 3, "error": 2, "nothing": 2,
        }  # fmt: skip
        self.assertEqual({level: sum(line.startswith(f"{level}-") for line in self.lines()) for level in told}, told)

    def test_opened_anew(self) -> None:
        """After a rename the next line is in a new file, and the old one has all before it."""
        log = self.begun()
        self.logger.info("before")
        os.rename(self.path, self.path + ".1")
        log.reopen()
        self.logger.info("after")
        self.assertEqual(self.lines(self.path + ".1"), ["before"])
        self.assertEqual(self.lines()[1:], ["after"])

    def test_copied_and_truncated(self) -> None:
        """logrotate's copytruncate: the file begins again, without a hole."""
        self.begun()
        self.logger.info("before")
        os.truncate(self.path, 0)
        self.logger.info("after")
        self.assertEqual(self.lines(), ["after"])

    def test_cannot_be_opened_anew(self) -> None:
        """The old file has all lines, one about it too."""
        log = self.begun()
        os.rename(self.path, self.path + ".1")
        os.mkdir(self.path)
        log.reopen()
        self.logger.info("after")
        lines = self.lines(self.path + ".1")
        self.assertIn("cannot be opened anew: Is a directory; the log goes on in the old one", lines[0])
        self.assertEqual(lines[1:], ["after"])

    def test_cannot_be_opened(self) -> None:
        """The start is refused, with one line."""
        os.mkdir(self.path)
        error = self.assertRaises(SystemExit, ServerLog(path=self.path).begin)
        self.assertIn(f"the log file '{self.path}': Is a directory; choose another", str(error))

    def test_full_disk(self) -> None:
        """Lines that could not be written are counted, in the log's own format."""
        self.begun("json")
        with mock.patch("os.write", side_effect=OSError(28, "No space left on device")):
            self.logger.info("one")
            self.logger.info("two")
        self.logger.info("three")
        counted, line = map(json.loads, Path(self.path).read_text().splitlines())
        self.assertTrue(counted["text"].startswith("(2 lines are left out here"), counted)
        self.assertEqual((counted["level"], counted["fields"]["count"], line["text"]), ("warn", 2, "three"))

    def test_tracebacks(self) -> None:
        """Of one kind there are so many, whoever logs them."""
        self.begun()
        for _ in range(LOG_LINES_A_PERIOD + 5):
            self.logger.failure("oh", Failure(ValueError()))
            self.logger.error("no traceback")
        lines = self.lines()
        self.assertEqual((lines.count("oh"), lines.count("no traceback")), (LOG_LINES_A_PERIOD, LOG_LINES_A_PERIOD + 5))

    def test_the_journal(self) -> None:
        """Each line has its priority in front, where standard output is the journal's."""
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        with open(writing, "w", buffering=1) as stream, mock.patch("sys.stdout", stream):
            with mock.patch.object(server_log, "_is_the_journal", lambda descriptor: True):
                log = ServerLog().begin()
            logger = Logger("here", observer=log)
            logger.warn("one")
            try:
                raise ValueError
            except ValueError:
                logger.failure("two")
        first, *others = os.read(reading, 10_000).decode().splitlines()
        self.assertTrue(first.startswith("<4>2"), first)
        self.assertTrue(len(others) > 2 and all(line.startswith("<2>") for line in others), others)

    def test_whether_it_is_the_journal(self) -> None:
        """As systemd says it: device and inode."""
        descriptor = os.open(os.devnull, os.O_RDONLY)
        self.addCleanup(os.close, descriptor)
        status = os.fstat(descriptor)
        for text, expected in ((f"{status.st_dev}:{status.st_ino}", True), ("1:2", False)):
            with mock.patch.dict(os.environ, JOURNAL_STREAM=text):
                self.assertEqual(server_log._is_the_journal(descriptor), expected)
        self.assertFalse(server_log._is_the_journal(-1))

    def test_scripts(self) -> None:
        """What they say has their level, and no control characters."""
        self.begun("text", "debug")
        limit = LogLimit(Clock().seconds)
        self.patch(note_script.__globals__["_log"], "observer", self.logger.observer)
        for level in range(4):
            note_script(limit, level, b"at \x1b %d" % level)
        found = [line.split("#")[1] for line in Path(self.path).read_text().splitlines()]
        levels = ("debug", "info", "info", "warn")
        expected = [f"{level}] a script says: at \\x1b {number}" for number, level in enumerate(levels)]
        self.assertEqual(found, expected)


def _told_in_every_way(port: int) -> None:
    """Say the secret in every way there is to say something to a server, most of them wrong."""
    secret = SECRET.encode()
    with Wire(port) as wire:
        for words in (
            ("AUTH", SECRET), ("AUTH", "user", SECRET), ("HELLO", "3", "AUTH", "user", SECRET), ("SET", SECRET, SECRET),
            ("CONFIG", "SET", SECRET, SECRET), ("GET", SECRET, SECRET),
            ("ACL", "SETUSER", "user", f">{SECRET}"), ("EVAL", f"error('{SECRET}')", "0"), (SECRET, SECRET),
            ("EVAL", f"return redis.call('{SECRET}')", "0"), ("FUNCTION", "LOAD", f"#!lua name={SECRET}\n{SECRET}"),
            ("CLIENT", "SETNAME", SECRET), ("CLIENT", "KILL", SECRET), ("DEBUG", SECRET), ("RESTORE", "a", "0", SECRET),
            ("INCRBY", "a", SECRET), ("XADD", "s", SECRET, SECRET, SECRET), ("SELECT", SECRET), ("ACL", "LOG"),
            ("ACL", "SETUSER", SECRET, "on", "nopass", "+@all"), ("AUTH", SECRET, SECRET),
            ("CONFIG", "SET", "requirepass", SECRET), ("AUTH", SECRET), ("CONFIG", "SET", "requirepass", ""),
            ("MONITOR",),
        ):  # fmt: skip
            wire.ask(*words)
    for data in (
        b'{"method":"insert","key":"%s","value":"%s"}\r\n' % (secret, secret), b'{"%s":\r\n' % secret,
        b'{"method":"auth","password":"%s"}\r\n' % secret,
        b"insert %s {\r\n" % secret, b"*2\r\n$3\r\nGET\r\n!%s\r\n" % secret, b"*%s\r\n" % secret,
        b"POST /?password=%s HTTP/1.1\r\nAuthorization: Basic %s\r\n\r\n" % (secret, secret), b"Host: %s\r\n" % secret,
        pack(b"SUBSCRIBE", secret) + pack(b"SET", b"a", b"b"), pack(b"MULTI") + pack(b"SET", secret), secret,
    ):  # fmt: skip
        with Wire(port) as wire:
            wire.send(data)
            wire.half_close()
            wire.read_to_end()
    context = ssl.create_default_context()
    with socket.create_connection(("127.0.0.1", port)) as plain, contextlib.suppress(ssl.SSLError, OSError):
        context.wrap_socket(plain, server_hostname=SECRET)


class RealServerTests(Serving, SynchronousTestCase):
    """A server that logs to a file, all there is to tell."""

    def test_secrets_and_signals(self) -> None:
        """Nothing that clients say is in any line; SIGHUP and SIGUSR1 begin a new file, the server serves on."""
        path = os.path.join(new_directory(self.addCleanup), "log")
        server = self.start("--log-file", path, "--log-format=json", "--log-level=debug", "--log-clients")
        _told_in_every_way(server.port)
        for number in (signal.SIGHUP, signal.SIGUSR1):
            kept = f"{path}.{number.name}"
            os.rename(path, kept)
            server.signal(number)
            eventually(lambda: os.path.exists(path) and "is opened anew" in Path(path).read_text())
            lines = [json.loads(line) for line in Path(kept).read_text().splitlines()]
            self.assertTrue(all({"time", "level", "namespace", "text", "fields"} <= line.keys() for line in lines))
            self.assertNotIn(SECRET, Path(kept).read_text())
            if number is signal.SIGHUP:
                texts = "\n".join(line["text"] for line in lines)
                for told in ("recovered 0 keys", "Listening on port", "possible attack", " connected", "disconnected"):
                    self.assertIn(told, texts)
        wire = self.connect(server)
        self.assertEqual(wire.ask("EVAL", "redis.log(redis.LOG_WARNING, 'from a script')", "0"), None)
        self.assertEqual(wire.ask("CONFIG", "GET", "loglevel"), [b"loglevel", b"debug"])
        self.assertEqual(wire.ask("CONFIG", "SET", "loglevel", "nothing"), b"OK")
        self.assertEqual(wire.ask("EVAL", "redis.log(redis.LOG_WARNING, 'not heard')", "0"), None)
        text = Path(path).read_text()
        self.assertIn('"text": "a script says: from a script"', text)
        self.assertNotIn("not heard", text)
        self.assertEqual([line for line in server.log if "Listening" not in line], [])
