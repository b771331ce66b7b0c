"""A group of real servers over a real etcd: three processes on ports of loopback."""

from __future__ import annotations

import itertools
import os
import shutil
import time
from collections.abc import Callable
from typing import Any

import redis

from kvstore.testing.server_process import PATIENCE_S, ServerProcess, environment
from tests.kit.etcd import Etcd, free_ports
from tests.kit.server_process import eventually, new_directory

NAME = "shop"
_numbers = itertools.count(1)


class GroupServer:
    """One server. `process`: the parent's; `port`: where clients come; `data`: its directory.

    `certificate`: a file of one, with its key, that vouches for itself: the only port then speaks TLS, and asks clients
    for that. `changes`: of its environment.
    """

    def __init__(
        self,
        data: str,
        location: str,
        name: str,
        port: int,
        options: tuple[str, ...],
        certificate: str | None = None,
        changes: dict[str, str] | None = None,
    ) -> None:
        self.port = port
        self.data = data
        self._certificate = certificate
        self._words = ("--group", name, "--log", location, *self._reached(), *options)
        self._changes = changes or {}
        self.start()

    def _reached(self) -> list[str]:
        place, own = f"127.0.0.1:{self.port}", self._certificate
        if own is None:
            return ["--advertise", place]
        listen = f"ssl:{self.port}:privateKey={own}:interface=127.0.0.1"
        return ["--advertise", f"tls:{place}", "--node-ca", own, "--tls-client-ca", own, "--listen", listen]

    def start(self) -> None:
        """Start it, on the data that it has."""
        port = self.port if self._certificate is None else None
        self.process = ServerProcess(*self._words, data=self.data, port=port, env=environment(**self._changes))

    def forget(self) -> None:
        """Lose all data, while it does not run."""
        shutil.rmtree(self.data)

    @property
    def pid(self) -> int:
        """The number of the server's own process, which its parent would start again."""
        with self.client() as client:
            return int(client.info("server")["process_id"])

    def kill(self) -> None:
        """kill -9 of the process that its user sees: the server ends with it."""
        self.process.kill()

    def client(self, timeout_s: float = PATIENCE_S) -> redis.Redis:
        """A client of this server; an error or an end of the connection is not tried again."""
        own = self._certificate
        tls: dict[str, Any] = (
            {} if own is None else {"ssl": True, "ssl_ca_certs": own, "ssl_certfile": own, "ssl_keyfile": own}
        )
        return redis.Redis(
            host="127.0.0.1", port=self.port, socket_timeout=timeout_s, decode_responses=True, retry=None, protocol=2,
            health_check_interval=0, **tls,
        )  # fmt: skip

    def role(self) -> Any:
        """What ROLE says; None if it does not answer."""
        try:
            with self.client(1.0) as client:
                return client.role()
        except redis.RedisError:
            return None

    def position(self) -> int:
        """Of the newest entry that it has, as `kvstore group show` has it; -1 if it does not answer."""
        role = self.role()
        return int(role[1] if role[0] == "master" else role[4]) if role else -1

    @property
    def leads(self) -> bool:
        """Whether it says so."""
        role = self.role()
        return bool(role) and role[0] in ("master", b"master")


class RealGroup:
    """See the module; each is of a name of its own in the etcd. `servers`: all that were started.

    `location`, `directory`, `changes`: called for each, give where etcd is for it, its data directory, and what its
    environment has besides. `certificate`: see `GroupServer`.
    """

    def __init__(
        self,
        etcd: Etcd,
        cleanup: Callable[..., object],
        *options: str,
        servers: int = 3,
        location: Callable[[], str] | None = None,
        certificate: str | None = None,
        directory: Callable[[], str] | None = None,
        changes: Callable[[], dict[str, str]] = dict,
    ) -> None:
        self.name = f"{NAME}{os.getpid()}-{next(_numbers)}"
        self.servers: list[GroupServer] = []
        cleanup(self.close)
        where = location or (lambda: etcd.location)
        home = directory or (lambda: new_directory(cleanup))
        for port in free_ports(servers):
            server = GroupServer(home(), where(), self.name, port, options, certificate, changes())
            self.servers.append(server)

    def leader(self) -> GroupServer:
        """The server that says that it leads, when there is one."""
        found = eventually(lambda: [server for server in self.servers if server.process.running and server.leads])
        return found[0]

    def followers(self) -> list[GroupServer]:
        """The others that run."""
        leader = self.leader()
        return [server for server in self.servers if server is not leader and server.process.running]

    def written(self, key: str, value: str, patience_s: float = PATIENCE_S) -> float:
        """Write at whoever leads, as a client does that looks for it; returns how many seconds that took."""
        began = time.monotonic()
        while time.monotonic() - began < patience_s:
            for server in self.servers:
                try:
                    with server.client(1.0) as client:
                        client.set(key, value)
                    return time.monotonic() - began
                except redis.RedisError:
                    continue
            time.sleep(0.01)
        raise TimeoutError("nobody takes writes")

    def close(self) -> None:
        """Kill all."""
        for server in self.servers:
            server.kill()
