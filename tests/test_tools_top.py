"""`kvstore top` with a real server: for scripts, and on a terminal."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from kvstore.testing.server_process import PATIENCE_S, environment
from tests.kit.certificate import make_certificate
from tests.kit.server_process import Serving, Wire, new_directory
from tests.kit.tools import run_tool

_ENTERS, _LEAVES = b"\x1b[?1049h", b"\x1b[?1049l"


class TopTests(Serving, SynchronousTestCase):
    """What it shows, and how it ends."""

    def setUp(self) -> None:
        """Where the server is."""
        self.target = f"127.0.0.1:{self.server.port}"

    def test_for_scripts(self) -> None:
        """The same figures as text and as JSON."""
        with Wire(self.server.port) as wire:
            wire.ask("SET", "a", "1")
        status, text = run_tool("top", self.target, "--once", "--interval", "0.1")
        self.assertEqual(status, 0, text)
        for found in (f"at {self.target}", r"keys +1 ", r"\nset +", "Slow requests", r"client\|list"):
            self.assertRegex(text, found)
        status, text = run_tool("top", self.target, "--once", "--json", "--interval", "0.1")
        figures = json.loads(text)
        self.assertEqual((status, figures["target"], figures["keys"]["all"]), (0, self.target, 1))
        self.assertGreater(figures["commits"]["newest"], 0)

    def test_what_is_wrong(self) -> None:
        """One line, and status 1: no terminal, nobody there, no password, a wrong one, no right."""
        path = self.mktemp()
        with open(path, "w", encoding="ascii") as file:
            file.write("right\n")
        with Wire(self.server.port) as wire:
            wire.ask("ACL", "SETUSER", "bob", "on", ">right")
            self.addCleanup(self.forget_bob)
        for words, found in (
            ((self.target,), "no terminal"),
            (("127.0.0.1:1", "--once"), "refused"),
            ((self.target, "--once", "--user", "ann"), "needs a password"),
            ((self.target, "--once", "--user", "ann", "--password-file", path), "WRONGPASS"),
            ((self.target, "--once", "--user", "bob", "--password-file", path), "NOPERM"),
        ):
            status, text = run_tool("top", *words)
            self.assertEqual((status, text.count("\n")), (1, 1), text)
            self.assertIn(found, text)

    def test_over_tls_with_a_password(self) -> None:
        """The server's own password file will do; certificates to trust are of use over TLS only."""
        directory = new_directory(self.addCleanup)
        pem, password = os.path.join(directory, "both.pem"), os.path.join(directory, "password")
        make_certificate(pem)
        with open(os.open(password, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
            file.write(b"not \xff UTF-8\n")
        endpoint = f"ssl:0:privateKey={pem}:certKey={pem}:interface=127.0.0.1"
        place = f"127.0.0.1:{self.start('--listen', endpoint, '--password-file', password, port=None).port}"
        words = ("--ca-file", pem, "--once", "--json", "--interval", "0.1")
        status, text = run_tool("top", f"tls:{place}", "--password-file", password, *words)
        self.assertEqual((status, json.loads(text)["target"]), (0, f"tls:{place}"))
        for target, found in ((f"tls:{place}", "NOAUTH"), (place, "begins with tls: only")):
            status, text = run_tool("top", target, *words)
            self.assertEqual((status, text.count("\n")), (1, 1), text)
            self.assertIn(found, text)

    def test_server_that_wants_a_certificate(self) -> None:
        """It is shown what is in --cert-file. Who gives none is told to; a file of no use is told of first."""
        directory = new_directory(self.addCleanup)
        pem, empty = os.path.join(directory, "both.pem"), os.path.join(directory, "empty")
        make_certificate(pem)
        with open(empty, "wb"):
            pass
        endpoint = f"ssl:0:privateKey={pem}:interface=127.0.0.1"
        target = f"tls:127.0.0.1:{self.start('--listen', endpoint, '--tls-client-ca', pem, port=None).port}"
        words = ("--ca-file", pem, "--once", "--json", "--interval", "0.1")
        status, text = run_tool("top", target, "--cert-file", pem, *words)
        self.assertEqual((status, json.loads(text)["target"]), (0, target))
        for where, more, found in (
            (target, (), "wants a certificate (--cert-file"),
            ("tls:no-such-project", ("--cert-file", empty), "no certificate in"),
            ("127.0.0.1:1", ("--cert-file", pem), "begins with tls: only"),
        ):
            status, text = run_tool("top", where, *more, *(words if where == target else words[2:]))
            self.assertEqual((status, text.count("\n")), (1, 1), text)
            self.assertIn(found, text)

    def forget_bob(self) -> None:
        """The server is others', too."""
        with Wire(self.server.port) as wire:
            wire.ask("ACL", "DELUSER", "bob")

    def test_on_a_terminal(self) -> None:
        """It draws, obeys keys, and leaves the terminal as it was."""
        ours, theirs = pty.openpty()
        self.addCleanup(os.close, ours)
        words = [sys.executable, "-m", "kvstore", "top", self.target, "--interval", "0.2"]
        process = subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
                                   env=environment(TERM="xterm", LINES="24", COLUMNS="100"))  # fmt: skip
        self.addCleanup(process.kill)
        os.close(theirs)
        seen = _read_until(ours, b"calls/s")
        self.assertIn(_ENTERS, seen)
        for key, found in ((b"2", b"address"), (b" ", b"standing still"), (b"3", b"took"), (b"r", rb"\^")):
            os.write(ours, key)
            _read_until(ours, found)
        os.write(ours, b"q")
        _read_until(ours, re.escape(_LEAVES))
        self.assertEqual(process.wait(PATIENCE_S), 0)


def _read_until(terminal: int, wanted: bytes) -> bytes:
    """What comes until that was there. Raises OSError if the terminal is gone before."""
    seen = b""
    while not re.search(wanted, seen):
        seen += os.read(terminal, 65536)
    return seen
