"""The real server, and what browsers, proxies and other programs send to its port that were led to it."""

from __future__ import annotations

import re
import shutil
import socket
import ssl
import subprocess

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from kvstore.testing.server_process import PATIENCE_S
from tests.kit import browser
from tests.kit.server_process import Serving, Wire

#: What must not execute, in every grammar.
BODY = 'SET hacked 1\r\nFLUSHALL\r\n*1\r\n$8\r\nFLUSHALL\r\n{"method":"insert","key":"hacked","value":1}\r\n'
REFUSED = b"-ERR Protocol error: this port does not speak HTTP\r\n"


class IntruderTests(Serving, SynchronousTestCase):
    """Nothing that they send executes; they are disconnected."""

    def setUp(self) -> None:
        """A key that must stay, alone."""
        self.wire = self.connect()
        self.wire.ask("SET", "stays", "1")
        self.addCleanup(self.check)

    def check(self) -> None:
        """It stayed, alone."""
        self.assertEqual(self.wire.ask("KEYS", "*"), [b"stays"])

    def test_a_browser(self) -> None:
        """What Chromium sends for a page, in one packet, in two, and in a block; the reply says why."""
        for sent in (browser.FETCH, browser.FORM, browser.PREFLIGHT, browser.WEB_SOCKET):
            place = sent.index(b"\r\n\r\n")
            for parts in ([sent], [sent[:7], sent[7:]], [sent[:place], sent[place:]]):
                self.assertEqual(self.exchange(*parts), REFUSED)
            self.assertEqual(
                self.exchange(b"MULTI\r\nSET hacked 1\r\n" + sent, b"EXEC\r\n"), b"+OK\r\n+QUEUED\r\n" + REFUSED
            )

    def exchange(self, *parts: bytes) -> bytes:
        """All that comes back for what is sent, until the server closes."""
        with Wire(self.server.port) as wire:
            for part in parts:
                wire.send(part)
            return wire.read_to_end()

    def test_a_preface_of_http_2(self) -> None:
        """A client that knows beforehand that it is HTTP/2."""
        self.assertEqual(self.exchange(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + BODY.encode()), REFUSED)

    def test_curl(self) -> None:
        """PUT, POST, any method that somebody thinks of, and a proxy's CONNECT."""
        if shutil.which("curl") is None:
            raise SkipTest("curl is not installed")
        url = f"http://127.0.0.1:{self.server.port}"
        for words in (
            ["-X", "PUT", "--data-binary", BODY, url],
            ["--data-binary", BODY, url],
            ["-X", "SET", "--data-binary", BODY, f"{url}/hacked"],
            ["-H", f"X: {BODY}", url],
            ["--http2-prior-knowledge", "--data-binary", BODY, url],
            ["-x", url, "--data-binary", BODY, "http://x.invalid/"],
            ["-x", url, "--data-binary", BODY, "https://x.invalid/"],
            ["-k", f"https://127.0.0.1:{self.server.port}/SET%20hacked%201"],
        ):
            done = subprocess.run(["curl", "-sS", "--noproxy", "", *words], capture_output=True, timeout=PATIENCE_S)
            self.assertNotEqual(done.returncode, 0, words)

    def test_tls(self) -> None:
        """A TLS client learns at once that this is none of its ports."""
        context = ssl.create_default_context()
        with socket.create_connection(("127.0.0.1", self.server.port), PATIENCE_S) as raw:
            self.assertRaises(OSError, context.wrap_socket, raw, server_hostname="localhost")
        self.assertEqual(self.exchange(browser.TLS_HELLO), b"-ERR Protocol error: this port does not speak TLS\r\n")

    def test_the_log(self) -> None:
        """One line tells of all of them, for a minute."""
        server = self.start()
        for _ in range(5):
            with Wire(server.port) as wire:
                wire.send(browser.FORM)
                wire.read_to_end()
        with Wire(server.port) as wire:
            wire.ask("SET", "a", "1")
        lines = [line for line in server.log if "possible attack" in line]
        self.assertEqual(len(lines), 1, lines)
        self.assertTrue(re.search(r"client 127\.0\.0\.1:\d+ sent HTTP and is disconnected", lines[0]), lines)
        self.assertNotIn("POST", lines[0])
