"""A client's connection, as seen by what others' requests do to it: messages, and its end.

A command does not send anything itself: what its request says may still be undone. It calls `Call.tell(client,
message)`; when the request is whole, the messages leave through `Client.peer`, each no earlier than the reply to the
request could: nobody is told of a change that a crash can still take back. Messages of a request that fails, or of a
command of a block that fails, are forgotten.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

from kvstore.base.reply import Reply

#: Sends something that a request tells others. Given the commit that it waits for, 0 for none, and the client whose
#: request it is, None if the server's own work brings it.
Message: TypeAlias = Callable[[int, Any], object]


class Peer(Protocol):
    """See the module. The edge has one for each client; `Nobody` stands for a connection that is gone."""

    def send(self, message: Reply, needed: int) -> None:
        """Send `message`, a reply value (mostly a `Push`), when commit `needed`, 0 for none, is settled.

        Behind what was sent before, in the version of RESP that the client speaks. A client that does not take its
        messages is dropped as one that does not take its replies. Raises nothing.
        """

    def wake(self) -> None:
        """The client's session has something to send, or to go on with: see to it in this turn. Raises nothing."""

    def changed(self) -> None:
        """What the client may do has changed: serve it accordingly from now on. Raises nothing."""

    def close(self) -> None:
        """Drop the connection, at once. A client's own end is `Client.closing`, so that its reply gets out."""


class Nobody:
    """No connection, yet or any more: a `Peer`."""

    def send(self, message: Reply, needed: int) -> None:
        """See `Peer`."""

    def wake(self) -> None:
        """See `Peer`."""

    def changed(self) -> None:
        """See `Peer`."""

    def close(self) -> None:
        """See `Peer`."""
