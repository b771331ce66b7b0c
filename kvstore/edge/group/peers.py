"""The servers of a group as another one sees them: who is alive, and how far each is, by what they note beside the log.

Each server looks at the notes every two seconds, and rewrites its own if that has changed. While somebody leads it
does, as a leader renews its lease by entries, which all servers apply. So with each look that is answered:

| the note of another | then it is |
|---|---|
| has changed since the look before, or is a new one | heard of, and ALIVE |
| has not, and does not reach what this server had at the look before | missed |
| has not, and reaches that: nothing was entered, or this server itself is behind | as before |
| was missed _MISSES times in a row | SILENT |
| was neither heard of nor missed so often since this server began | UNKNOWN |

Nobody's clock is compared with another's, and looks without an answer make nobody silent. A server that applies no more
entries is silent too, whether it answers or not: its disk is full, it fetches a checkpoint, or a newer version leads.

Rejected: the age of a note by a clock (with a long lease an idle group changes no note for many seconds); connections
among the servers (each would be asked by each, and one that cannot reach the log is of no use to anybody).
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

from kvstore.base.address import Address, parse_address
from kvstore.base.errors import Failure, shorten
from kvstore.base.shared_log import Note
from kvstore.commands.membership import Life, Node

_log = Logger()

#: After so many looks at which it was missed a server is silent: that is after some 6 to 8 s.
_MISSES = 3


class _Heard:
    """What was heard of one server. `life`; `misses`: in a row; `at_s`: when its note was seen to change, or first."""

    def __init__(self, note: Note, life: Life, now_s: float) -> None:
        self.note = note
        self.life = life
        self.at_s = now_s
        self.misses = 0


class Peers:
    """See the module. `own`: this server. `now_s`: a steady clock.

    `notes`: of all servers, this one among them, as of the last look.
    """

    def __init__(self, own: Address, now_s: Callable[[], float]) -> None:
        self._own = own
        self._now_s = now_s
        self._heard: dict[Address, _Heard] = {}
        self._had: int | None = None  # up to where this server had all at the look before
        self._strangers: set[str] = set()
        self.notes: dict[Address, Note] = {}

    def look(self, noted: dict[str, Note], position: int) -> None:
        """These are the notes now. `position`: of the newest entry that this server has applied."""
        self.notes = by_address(noted)
        self._tell_of_strangers(noted)
        now_s, heard = self._now_s(), self._heard
        self._heard = {
            address: self._look_at(heard.get(address), note, now_s)
            for address, note in self.notes.items()
            if address != self._own
        }
        self._had = position

    def _look_at(self, heard: _Heard | None, note: Note, now_s: float) -> _Heard:
        if self._had is None:
            return _Heard(note, Life.UNKNOWN, now_s)
        if heard is None or note != heard.note:
            return _Heard(note, Life.ALIVE, now_s)
        if note.position < self._had:
            heard.misses += 1
            if heard.misses >= _MISSES:
                heard.life = Life.SILENT
        return heard

    def _tell_of_strangers(self, noted: dict[str, Note]) -> None:
        strangers = {node for node in noted if _address(node) is None}
        for node in sorted(strangers - self._strangers):
            _log.warn("a note of nobody's is left out: {node}", node=shorten(node.encode()))
        self._strangers |= strangers

    def life(self, address: Address) -> Life:
        """Of a server that has noted something; this one is alive."""
        return Life.ALIVE if address == self._own else self._heard[address].life

    def others(self) -> list[Node]:
        """See `Membership`."""
        return [
            Node(address, each.note.position, each.life, self._quiet_s(each)) for address, each in self._heard.items()
        ]

    def _quiet_s(self, heard: _Heard) -> int:
        return int(self._now_s() - heard.at_s)

    def _alive(self) -> list[Address]:
        return [address for address, each in self._heard.items() if each.life is Life.ALIVE]

    @property
    def is_alone(self) -> bool:
        """Whether no other one is known to be alive."""
        return not self._alive()

    def successor(self, to: Address | None, *, is_forced: bool) -> Address:
        """Who is to lead when this server hands over: `to`, or of those that are alive who has the newest entry.

        `is_forced`: `to` may be silent. Raises Failure.
        """
        if to is not None:
            if to not in self._heard:
                raise Failure("FAILOVER target HOST and PORT is not a replica.")
            if self._heard[to].life is Life.SILENT and not is_forced:
                raise Failure(f"FAILOVER target replica is not online: {self._absence(to)}")
            return to
        if self.is_alone:
            absences = ", ".join(map(self._absence, self._heard))
            raise Failure(f"FAILOVER requires connected replicas{absences and ': '}{absences or '.'}")
        return max(self._alive(), key=lambda address: self._heard[address].note.position)

    def check_gone(self, address: Address) -> None:
        """Raise Failure unless that is another server, and silent."""
        if address == self._own:
            raise Failure("this server cannot forget itself; ask another one")
        if address not in self._heard:
            raise Failure(f"no server {address} is known in this group")
        if (life := self._heard[address].life) is not Life.SILENT:
            raise Failure(f"{address} is {life.value}; stop it for good, and wait until it is silent, some 10 s")

    def _absence(self, address: Address) -> str:
        """For a message."""
        heard = self._heard[address]
        if heard.life is Life.UNKNOWN:
            return f"{address} was not heard of yet"
        return f"{address} was not heard of for {self._quiet_s(heard)} s"


def by_address(noted: dict[str, Note]) -> dict[Address, Note]:
    """Notes by the addresses of who made them, in order; those of what is no server's name are left out."""
    notes = {_address(node): note for node, note in sorted(noted.items())}
    return {address: note for address, note in notes.items() if address is not None}


def _address(node: str) -> Address | None:
    try:
        return parse_address(node)
    except ValueError:
        return None
