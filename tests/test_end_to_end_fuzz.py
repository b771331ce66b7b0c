"""Hostile input for the real server for some seconds, and the tests' own parser of replies, which judges it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from twisted.trial.unittest import SynchronousTestCase

from tests.kit.server_process import new_directory
from tests.suites.fuzz.run import FuzzRun, Malformed, Violation, read_replies

_GOOD = (
    b"+OK\r\n", b"-ERR no\r\n", b":-12\r\n", b"$3\r\na\r\n\r\n", b"$-1\r\n", b"*-1\r\n", b"*2\r\n:1\r\n$0\r\n\r\n",
    b"_\r\n", b"  help\r\n", b"\xff\xfc\x06",
    b"#t\r\n",
    b",1.5e-7\r\n", b",-inf\r\n", b"%1\r\n+a\r\n:1\r\n", b"~0\r\n", b"=5\r\ntxt:x\r\n", b'{"result":"success"}\r\n',
    b'{"result":"success","value":[1,"a\\ud800"],"id":null}\r\n', b'{"result":"failure","error":"no such key"}\r\n',
)  # fmt: skip
_BAD = (
    b"OK\r\n", b"+a\rb\r\n", b"-no\r\n", b":1.5\r\n", b":01\r\n", b"$-2\r\n", b"$2\r\nabc\r\n", b"#x\r\n", b"*x\r\n",
    b"\r\n",
    b"*1\r\n  a\r\n", b"*1\r\n\xff\xfc\x06\r\n", b"\xff\xfd\x06\r\n",
    b"_x\r\n", b'{"result":"success"\r\n', b'{"result":"success","error":"x"}\r\n', b'{"result":"failure"}\r\n',
    b'{"result":"maybe"}\r\n', b'{"result":"success","value":\xff}\r\n', b"*1\r\n" * 20 + b":1\r\n", b"*1\r\nOK\r\n",
)  # fmt: skip


class ReplyParserTests(SynchronousTestCase):
    """The judge itself."""

    def test_good(self) -> None:
        """Every kind of reply is one, alone and in a stream; a stream that is cut is read as far as it goes."""
        for reply in _GOOD:
            self.assertEqual(read_replies(reply, cut=False), 1, reply)
        stream = b"".join(_GOOD)
        self.assertEqual(read_replies(stream, cut=False), len(_GOOD))
        for end in range(len(stream)):
            self.assertLess(read_replies(stream[:end], cut=True), len(_GOOD))

    def test_bad(self) -> None:
        """What is no reply, or ends too early, is refused."""
        for reply in _BAD:
            self.assertRaises(Malformed, read_replies, reply, cut=False)
            self.assertRaises(Malformed, read_replies, reply, cut=True)
        for reply in _GOOD:
            self.assertRaises(Malformed, read_replies, reply[:-1], cut=False)


class FuzzTests(SynchronousTestCase):
    """scripts/fuzz_wire, for a short while."""

    @pytest.mark.long
    def test_hostile_input(self) -> None:
        """No crash, no hang, no harm to the witness, no memory without bounds, and every reply is one."""
        run = FuzzRun(Path(new_directory(self.addCleanup), "data"), random.randrange(2**32))
        self.addCleanup(run.stop)
        try:
            run.run(4)
        except Violation as error:
            raise AssertionError(f"seed {run.seed}: {error}") from None
        self.assertGreater(run.counts["witness rounds"], 10)
        self.assertGreater(run.counts["replies"], 100)

    def test_harm_is_seen(self) -> None:
        """A server that is gone is a violation."""
        run = FuzzRun(Path(new_directory(self.addCleanup), "data"), 1)
        self.addCleanup(run.stop)
        run.server.kill()
        self.assertRaises(Violation, run.run, 1)
