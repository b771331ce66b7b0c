"""TCP proxies that can be cut: between one server of a group and each node of its etcd."""

from __future__ import annotations

import contextlib
import select
import socket
import threading

_CHUNK = 65_536


class Proxy:
    """Forwards connections to a port of this machine. While it is `cut` nothing gets through, in either direction, and
    nobody is told: as when a network is parted.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._passes = threading.Event()
        self._passes.set()
        self._is_closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def cut(self) -> bool:
        """See the class."""
        return not self._passes.is_set()

    @cut.setter
    def cut(self, cut: bool) -> None:
        if cut:
            self._passes.clear()
        else:
            self._passes.set()

    def close(self) -> None:
        """Accept no more, and forward nothing."""
        self._is_closed = True
        self._passes.set()
        self._server.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                threading.Thread(target=self._forward, args=(client,), daemon=True).start()

    def _forward(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            self._passes.wait()
            with socket.create_connection(("127.0.0.1", self._target)) as server:
                other = {client: server, server: client}
                while not self._is_closed:
                    for ready in select.select(list(other), [], [], 0.5)[0]:
                        data = ready.recv(_CHUNK)
                        self._passes.wait()
                        if not data:
                            return
                        other[ready].sendall(data)
