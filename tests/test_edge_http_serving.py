"""The real server with --http: who gets in, over TLS too, and what becomes of the site at the start and the stop."""

from __future__ import annotations

import base64
import http.client
import os
import re
import socket
import ssl
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from kvstore.testing.server_process import PATIENCE_S, ServerProcess, StartFailed, environment
from tests.kit.certificate import make_certificate
from tests.kit.server_process import Serving, Wire, new_directory

_SAYS = re.compile("HTTP on port ([0-9]+)")


def http_port(server: ServerProcess) -> int:
    """Where its site is."""
    line = server.wait_for_line(_SAYS.search)
    match = _SAYS.search(line)
    assert match is not None
    return int(match[1])


def basic(login: str) -> dict[str, str]:
    """The header of HTTP Basic, for NAME:PASSWORD."""
    return {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}


def fetch(connection: http.client.HTTPConnection, path: str, login: str = "") -> tuple[int, str]:
    """Status and body."""
    connection.request("GET", path, headers=basic(login) if login else {})
    response = connection.getresponse()
    return response.status, response.read().decode()


class ServerTests(Serving, SynchronousTestCase):
    """With sockets."""

    def test_users_over_tls(self) -> None:
        """The port's, with their rights; programs that ask for health need none. Who listens to a stream of events does
        not hold up the stop.
        """
        directory = new_directory(self.addCleanup)
        password, pem = os.path.join(directory, "password"), os.path.join(directory, "server.pem")
        with open(os.open(password, os.O_CREAT | os.O_WRONLY, 0o600), "w", encoding="ascii") as file:
            file.write("secret\n")
        context = make_certificate(pem)
        endpoint = f"ssl:0:privateKey={pem}:interface=127.0.0.1"
        server = self.start("--http", endpoint, "--password-file", password)
        port = http_port(server)
        self.look_at_tls(port, context)
        site = http.client.HTTPSConnection("127.0.0.1", port, timeout=PATIENCE_S, context=context)
        with Wire(server.port) as wire:
            self.assertEqual(wire.ask("AUTH", "secret"), b"OK")
            self.assertEqual(wire.ask("ACL", "SETUSER", "eve", "on", ">x", "-@all"), b"OK")
            self.assertEqual(wire.ask("SET", "a", "1"), b"OK")
            self.assertEqual(fetch(site, "/healthz"), (200, "ok\n"))
            self.assertIn("readyz check passed", fetch(site, "/readyz")[1])
            statuses = [fetch(site, "/metrics", login)[0] for login in ("", "default:wrong", "eve:x")]
            self.assertEqual(statuses, [401, 401, 403])
            status, text = fetch(site, "/metrics", "default:secret")
            self.assertEqual(status, 200)
            self.assertIn('\nkvstore_commands_total{command="set"} 1.0\n', text)
            (refused,) = wire.ask("ACL", "LOG")
            self.assertIn(b"HTTP", refused)
        site.request("GET", "/events", headers=basic("default:secret"))
        self.assertEqual(site.getresponse().status, 200)
        server.stop()

    def look_at_tls(self, port: int, context: ssl.SSLContext) -> None:
        """Nobody gets in but who speaks it, and by HTTP/1.1."""
        context.set_alpn_protocols(["h2", "http/1.1"])
        plain = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        with context.wrap_socket(plain, server_hostname="127.0.0.1") as secure:
            self.assertEqual(secure.selected_alpn_protocol(), "http/1.1")
        with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as plain:
            plain.sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
            self.assertNotIn(b"200", plain.recv(100))
        self.assertRaises(ssl.SSLError, fetch, http.client.HTTPSConnection("127.0.0.1", port), "/healthz")

    def test_a_port_that_is_taken(self) -> None:
        """The start is refused, with the option's name."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            refused = self.assertRaises(StartFailed, self.start, "--http", str(taken.getsockname()[1]))
        self.assertEqual(refused.status, 1)
        self.assertIn("choose another --http", refused.errors)

    def test_nothing_is_loaded_without_it(self) -> None:
        """Who does not ask for it pays nothing for it."""
        program = (
            "import sys, kvstore.edge.tap, kvstore.edge.service\n"
            "sys.exit(', '.join({'twisted.web', 'prometheus_client', 'jinja2', 'http.server'} & set(sys.modules)) or 0)"
        )
        done = subprocess.run([sys.executable, "-c", program], env=environment(), capture_output=True, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, b""))
