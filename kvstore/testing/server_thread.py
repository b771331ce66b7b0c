"""A real server in a thread of the test's own process: a port, files, timers, everything; there in some 20 ms.

    with ServerThread(sync="no") as server:            # options by their names
        redis.Redis(port=server.port).set("a", 1)
        server.stop()
        server.start()                                 # again, on the same data and port

All of them run in one thread, on a reactor of their own, which is not Twisted's global one: that stays the test's. For
tests of Twisted programs there is `kvstore.testing.trial`, for a server that is to be killed `server_process`, which
takes the better part of a second to start.
"""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.threads import blockingCallFromThread

from kvstore.base.closing import Closing
from kvstore.edge.reactor import TurnReactor
from kvstore.embedded.server import EmbeddedServer, settings

_Result = TypeVar("_Result")


class ServerThread(Closing):
    """See the module. It runs when it is made, and gives its directory back when it is closed.

    `data`: the data directory; None for a new one, that is removed in the end. `options`: see
    `kvstore.embedded.server.settings`. Raises OptionError, StartRefused.

    `port`: where it listens on 127.0.0.1; `data`: its directory.
    """

    def __init__(self, data: str | os.PathLike[str] | None = None, **options: Any) -> None:
        self._own = tempfile.mkdtemp(prefix="kvstore-test-") if data is None else None
        self.data = os.path.join(self._own, "data") if self._own is not None else os.fspath(data or "")
        self._options = {"port": 0, "overlap": "never"} | options
        self._server: EmbeddedServer | None = None
        self.port = 0
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    @property
    def address(self) -> str:
        """`127.0.0.1:PORT`, as clients of ours take it."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """`redis://127.0.0.1:PORT`, as others' take it."""
        return f"redis://{self.address}"

    def start(self) -> None:
        """Start it (again) and return when it accepts connections. Raises StartRefused."""
        if self._server is not None:
            raise RuntimeError("it runs already")
        chosen = settings(data=self.data, **self._options | ({"port": self.port} if self.port else {}))
        server = EmbeddedServer(chosen, reactor=_reactor(os.getpid()))
        _call(server.startService)
        self._server = server
        self.port = server.port

    def stop(self) -> None:
        """Stop it in order, and return when that is done: all is on disk. Does nothing if it has stopped."""
        server, self._server = self._server, None
        if server is not None:
            _call(server.stopService)

    def close(self) -> None:
        """Stop it; its directory is removed, if it was made for it. Twice is once."""
        self.stop()
        if self._own is not None:
            shutil.rmtree(self._own, ignore_errors=True)


def _call(function: Callable[[], _Result]) -> _Result:
    """Call it in the servers' thread; returns its result, that of its Deferred if it returns one."""
    result: _Result = blockingCallFromThread(_reactor(os.getpid()), function)
    return result


@functools.cache
def _reactor(process: int) -> Any:
    """The one that all servers of this process run on; a process that was forked off has none of its threads."""
    reactor, runs = TurnReactor(), threading.Event()
    reactor.callWhenRunning(runs.set)
    threading.Thread(
        target=reactor.run, kwargs={"installSignalHandlers": False}, daemon=True, name="kvstore servers"
    ).start()
    runs.wait()
    return reactor
