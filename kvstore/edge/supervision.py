"""What whoever supervises the process is told (systemd; see sd_notify(3)): that it is ready, that it stops, that its
loop goes round.

    READY=1         recovered, and listening; until then what is ordered after the unit waits
    WATCHDOG=1      from the loop, at half the interval that is asked for: a loop that is stuck is found out, and the
                    process killed and started again, which is all the same as any other start
    STOPPING=1      an orderly stop
    STATUS=...      a line for `systemctl status`

The socket may have a path, or a name in the abstract namespace (`@`). Nobody listens: nothing is said, and nothing
fails. The variables are taken out of the environment, so that no child speaks in this process's name.

Rejected: a library for it (sdnotify, systemd-python: unmaintained, or with a compiler); a thread that tells of the
loop's health (it would go on when the loop is stuck).
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import MutableMapping
from typing import Any

from twisted.application.internet import TimerService
from twisted.application.service import MultiService


class Supervision(MultiService):
    """See the module. `environment`: where the supervisor says what it wants. Starts when the server listens."""

    def __init__(self, reactor: Any, environment: MutableMapping[str, str] = os.environ) -> None:
        super().__init__()
        path = environment.pop("NOTIFY_SOCKET", "")
        interval_us = environment.pop("WATCHDOG_USEC", "")
        process = environment.pop("WATCHDOG_PID", "")
        self._address = "\0" + path[1:] if path.startswith("@") else path
        if self._address and interval_us.isdecimal() and process in ("", str(os.getpid())):
            timer = TimerService(int(interval_us) / 2e6, self.tell, "WATCHDOG=1")
            timer.clock = reactor
            timer.setServiceParent(self)

    def tell(self, *assignments: str) -> None:
        """Say something, such as `READY=1`. Raises nothing."""
        if not self._address:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifier:
            notifier.setblocking(False)
            notifier.sendto("\n".join(assignments).encode(), self._address)

    def ready(self, status: str) -> None:
        """The server serves. `status`: one line for people."""
        self.tell("READY=1", f"STATUS={status}")

    def stopService(self) -> Any:
        """The server stops."""
        self.tell("STOPPING=1", "STATUS=stopping")
        return super().stopService()
