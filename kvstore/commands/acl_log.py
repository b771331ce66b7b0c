"""ACL LOG: who was refused what, the newest first; and how often, for INFO.

What is alike within a minute is one entry with a count. Unlike in Valkey, names of a client's choice are cut.
"""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import Any

from kvstore.base.limits import ACL_LOG_NAME_BYTES
from kvstore.commands.configuration import Configuration

#: As many entries, of the newest, are looked at for one that is alike; it is alike for so long.
_LOOKED_AT = 10
_ALIKE_MS = 60_000


class _Entry:
    """One entry. `alike`: reason, context, object and user; what makes two of them one."""

    __slots__ = ("alike", "changed_ms", "client", "count", "created_ms", "number")

    def __init__(self, number: int, alike: tuple[str, str, bytes, bytes], now_ms: int) -> None:
        self.number = number
        self.alike = alike
        self.count = 0
        self.created_ms = self.changed_ms = now_ms
        self.client = ""

    def shown(self, now_ms: int) -> dict[str, Any]:
        """As ACL LOG shows it."""
        reason, context, name, user = self.alike
        return {
            "count": self.count,
            "reason": reason,
            "context": context,
            "object": name,
            "username": user,
            "age-seconds": (now_ms - self.changed_ms) / 1000,
            "client-info": self.client,
            "entry-id": self.number,
            "timestamp-created": self.created_ms,
            "timestamp-last-updated": self.changed_ms,
        }


class AclLog:
    """See the module. `counts`: refusals by reason: `auth`, `command`, `key`, `channel`, `database`."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._entries: list[_Entry] = []
        self._next = 0
        self.counts: Counter[str] = Counter()

    def note(self, reason: str, context: str, name: bytes, user: bytes, client: str, now_ms: int) -> None:
        """Somebody was refused something. `context`: `toplevel`, `multi` or `lua`. `name`: of the command, key,
        channel or database. `client`: its line of CLIENT LIST.
        """
        self.counts[reason] += 1
        most = self._configuration.number("acllog-max-len")
        if not most:
            self._entries.clear()
            return
        alike = (reason, context, name[:ACL_LOG_NAME_BYTES], user[:ACL_LOG_NAME_BYTES])
        entry = self._take(alike, now_ms)
        if entry is None:
            entry = _Entry(self._next, alike, now_ms)
            self._next += 1
        entry.count += 1
        entry.client, entry.changed_ms = client, now_ms
        self._entries.insert(0, entry)
        del self._entries[most:]

    def _take(self, alike: tuple[str, str, bytes, bytes], now_ms: int) -> _Entry | None:
        """Take out the entry that is alike, if there is one."""
        for place, entry in enumerate(islice(self._entries, _LOOKED_AT)):
            if entry.alike == alike and abs(now_ms - entry.changed_ms) <= _ALIKE_MS:
                return self._entries.pop(place)
        return None

    def newest(self, count: int, now_ms: int) -> list[dict[str, Any]]:
        """So many, the newest first, as ACL LOG shows them."""
        return [entry.shown(now_ms) for entry in self._entries[:count]]

    def clear(self) -> None:
        """Forget all; numbers and counts go on."""
        self._entries.clear()
