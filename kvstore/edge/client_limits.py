"""What one client may take of the server: the limits of each connection, which follow their settings.

What is looked at for every request or reply is copied into the connection when it is made, and whenever a setting
changes, so that nobody asks for it meanwhile.

Who has not said who it is, where that is asked for, gets little memory (STRANGER_BYTES) and little time (what it may
send, STRANGER_SENDS_BYTES, and `authentication-timeout`), and so does who does not end the handshake of TLS. What it
sends at once is read all the same: the password may be in front of the rest.

**Replies not taken** (`client-output-buffer-limit`, as in Redis): past the hard limit a client is dropped at once, past
the soft one when it has been there for so long. Who reads slowly, but reads, gets down below it again and again.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import NamedTuple, Protocol

from kvstore.base.limits import STRANGER_BYTES
from kvstore.commands.client import Client
from kvstore.commands.configuration import Configuration
from kvstore.commands.setting_kinds import output_limits_of
from kvstore.wire.parser import quick_bytes

NO_LIMIT = 2**62


class OutputLimit(NamedTuple):
    """Of replies that one client has not taken: bytes; and for how many milliseconds more than the soft limit is too
    long.
    """

    hard_bytes: int
    soft_bytes: int
    soft_ms: int

    @classmethod
    def of_class(cls, text: str, name: str) -> OutputLimit:
        """Of one class in the setting."""
        hard, soft, seconds = output_limits_of(text, name)
        return cls(hard or NO_LIMIT, soft or NO_LIMIT, 1000 * seconds)


#: Of who has not said who it is.
_STRANGER = OutputLimit(STRANGER_BYTES, NO_LIMIT, 0)


class SlowReader(Protocol):
    """The connection of a client that has more replies to take than the soft limit."""

    client: Client

    def unsent_bytes(self) -> int:
        """How many."""

    def drop_for(self, unsent_bytes: int, limit: str) -> None:
        """It is too slow."""


class ClientLimits:
    """See the module. `changed`: called when limits that connections have copied are others now.

    `pause_bytes`: of replies not taken, past which a client is not read from.

    `request_bytes`, `request_words`: of one request; `quick_bytes`: see `parser.quick_bytes`. `look_bytes`: of replies
    not taken, past which a connection has to look at its limits.
    """

    def __init__(self, configuration: Configuration, changed: Callable[[], None]) -> None:
        self.configuration = configuration
        self.pause_bytes = configuration.number("pause-reading-bytes")
        self._changed: Callable[[], None] = lambda: None
        self._slow: dict[SlowReader, int] = {}
        configuration.obey("client-output-buffer-limit", self._limit_output)
        configuration.obey("pause-reading-bytes", self._limit_unread)
        configuration.obey("proto-max-bulk-len", self._limit_requests)
        configuration.obey("max-request-words", self._limit_requests)
        self._changed = changed

    def _limit_unread(self, text: str) -> None:
        self.pause_bytes = int(text)
        self._limit_output(self.configuration.text("client-output-buffer-limit"))

    def _limit_output(self, text: str) -> None:
        self._normal = OutputLimit.of_class(text, "normal")
        self._subscriber = OutputLimit.of_class(text, "pubsub")
        least = (min(limit.hard_bytes, limit.soft_bytes) for limit in (self._normal, self._subscriber))
        self.look_bytes = min(self.pause_bytes, *least)
        self._changed()

    def _limit_requests(self, _: str) -> None:
        self.request_bytes = self.configuration.number("proto-max-bulk-len")
        self.request_words = self.configuration.number("max-request-words")
        self.quick_bytes = quick_bytes(self.request_bytes, self.request_words)
        self._changed()

    def output_of(self, client: Client) -> OutputLimit:
        """Of what it has not taken."""
        if not client.was_authenticated:
            return _STRANGER
        return self._subscriber if client.subscription_bytes else self._normal

    # Who is slow

    def note(self, reader: SlowReader, unsent_bytes: int, now_ms: int) -> None:
        """So much is not taken now."""
        if unsent_bytes > self.output_of(reader.client).soft_bytes:
            self._slow.setdefault(reader, now_ms)
        elif self._slow:
            self._slow.pop(reader, None)

    def forget(self, reader: SlowReader) -> None:
        """It is gone."""
        self._slow.pop(reader, None)

    def drop_slow(self, now_ms: int) -> None:
        """Drop who has been past the soft limit for too long."""
        for reader, since_ms in list(self._slow.items()):
            limit = self.output_of(reader.client)
            unsent_bytes = reader.unsent_bytes()
            self.note(reader, unsent_bytes, now_ms)
            if reader in self._slow and now_ms - since_ms > limit.soft_ms:
                reader.drop_for(unsent_bytes, f"{limit.soft_bytes} for {limit.soft_ms // 1000} s")


def network_of(host: str) -> str:
    """What counts as one address: of IPv6 its network of 64 bits, for who has one address has them all."""
    if ":" not in host:
        return host
    address = ipaddress.IPv6Address(host.partition("%")[0])
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return host if address.is_loopback else str(ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))
