"""A real etcd: three nodes of Debian's `etcd-server` on ports of loopback, that tests kill, stop and start again."""

from __future__ import annotations

import atexit
import base64
import contextlib
import functools
import http.client
import json
import random
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.kit.server_process import eventually

PROGRAM = "etcd"

#: Why a test is skipped where the program is missing; None where it is there.
MISSING = None if shutil.which(PROGRAM) else f"{PROGRAM} is not installed (Debian: etcd-server)"

#: Seconds for an answer to a question of ours, to a node that may stand still.
_ANSWER_S = 1.0


class Node:
    """One node, by its `number`; `port`: for clients."""

    def __init__(self, directory: Path, number: int, ports: list[tuple[int, int]], options: Sequence[str]) -> None:
        self.port, peer_port = ports[number]
        self._output = directory / f"output{number}"
        scheme = "https" if "--cert-file" in options else "http"
        client, peer = f"{scheme}://127.0.0.1:{self.port}", f"http://127.0.0.1:{peer_port}"
        # It ends with the process that runs the tests, however that ends.
        self._command = [
            "setpriv",
            "--pdeathsig",
            "KILL",
            PROGRAM,
            "--name",
            f"n{number}",
            "--data-dir",
            str(directory / f"n{number}"),
        ]
        self._command += ["--listen-client-urls", client, "--advertise-client-urls", client]
        self._command += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
        self._command += ["--initial-cluster", ",".join(f"n{n}=http://127.0.0.1:{p}" for n, (_, p) in enumerate(ports))]
        self._command += ["--logger", "zap", "--log-level", "warn", *options]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, on what it has on disk; `Etcd.wait` waits until it serves. Does nothing if it runs."""
        if self._process is None:
            with open(self._output, "ab") as output:
                self._process = subprocess.Popen(self._command, stdout=output, stderr=output)

    @property
    def pid(self) -> int:
        """The number of its process, while it runs."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """kill -9. Does nothing if it does not run."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """SIGSTOP: it stands still."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def ask(self, path: str, document: dict[str, Any] | None = None, token: str = "") -> dict[str, Any] | None:
        """What its gateway answers; None if it does not in a second. `token`: of a user, or nobody's."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_ANSWER_S)
        try:
            headers = {"Authorization": token} if token else {}
            connection.request("POST", path, json.dumps(document or {}), headers)
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()
        return answer

    @property
    def output(self) -> str:
        """What it has said."""
        return self._output.read_text(errors="replace")[-4000:]


class Etcd:
    """`count` nodes, with `options` besides those that make them a cluster; serving when this is made, but for one with
    certificates, of which this asks nothing. `location`: where they are.
    """

    def __init__(self, *options: str, count: int = 3) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="kvstore-etcd-"))
        ports = free_ports(2 * count)
        pairs = list(zip(ports[::2], ports[1::2], strict=True))
        self.nodes = [Node(self._directory, number, pairs, options) for number in range(count)]
        self.location = "etcd://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)
        if "--cert-file" in options:
            self.location = self.location.replace("etcd:", "etcds:")
            self.start()
        else:
            self.heal()

    def heal(self) -> None:
        """All nodes run and serve, whatever a test has done to them."""
        self.start()
        for node in self.nodes:
            node.go_on()
        eventually(lambda: [node.output for node in self.nodes if not self._serves(node)], lambda waiting: not waiting)

    def start(self) -> None:
        """All nodes run."""
        for node in self.nodes:
            node.start()

    def _serves(self, node: Node) -> bool:
        answer = node.ask("/v3/kv/range", {"key": "AA=="})
        return answer is not None and "header" in answer

    @property
    def leader(self) -> Node:
        """The node that leads, by what most say."""
        return eventually(self._leader)  # type: ignore[return-value]  # it is not None then

    def _leader(self) -> Node | None:
        said = [(node.ask("/v3/maintenance/status") or {}) for node in self.nodes]
        leading = [node for node, each in zip(self.nodes, said, strict=True) if _leads(each)]
        return leading[0] if len(leading) == 1 else None

    def keys(self, prefix: str) -> list[bytes]:
        """The names of all keys that begin so, and not with a character beyond ASCII behind it."""
        first, end = (base64.b64encode(key).decode() for key in (prefix.encode(), prefix.encode() + b"\x7f"))
        found = eventually(
            lambda: self.nodes[0].ask("/v3/kv/range", {"key": first, "range_end": end, "keys_only": True})
        )
        assert found is not None
        return [base64.b64decode(kv["key"]) for kv in found.get("kvs", ())]

    def close(self) -> None:
        """Kill all, and remove their files."""
        for node in self.nodes:
            node.kill()
        shutil.rmtree(self._directory, ignore_errors=True)


def _leads(status: dict[str, Any]) -> bool:
    return "leader" in status and status["leader"] == status["header"]["member_id"]


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now, and that the kernel gives to nobody by itself: so that whoever is killed finds
    its own again.
    """
    ports: set[int] = set()
    while len(ports) < count:
        port = random.randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            ports.add(port)
    return list(ports)


@functools.cache
def shared_etcd() -> Etcd:
    """The one for all tests of a process: each takes a group of its own name, and heals what it has broken."""
    etcd = Etcd()
    atexit.register(etcd.close)
    return etcd
