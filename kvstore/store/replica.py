"""A replica of the shared log: which part a node has in its group, told by the entries that it sees and those it sends.

It reads and sends nothing and has no clock: what happens comes in, with the time at which it did, and what to send goes
out. The time is of a clock that never stands still, not while the machine sleeps either (CLOCK_BOOTTIME), in
nanoseconds; nodes' clocks need not agree, only run at about the same rate.

    FOLLOWING ----- campaign ----> CAMPAIGNING      it has waited, and appends a leadership entry
        ^  ^                         |     |
        |  +------ FENCED -----------+   THERE      another one was first; it was
        |                                  v
        +------ handover THERE ----------LEADING    it alone appends, one entry at a time
                                           |
                                         FENCED     another leads: its memory holds what the log does not
                                           v
                                         ENDED

**What makes it safe.** An entry is in the log only at the position behind the newest, so who appends has seen all that
is there: no two lead at one position, and what was acknowledged is in whatever a later leader has. A leader serves
reads while its **lease** runs: for `lease_ms` from the moment when the newest entry of its own that is THERE was
composed, that is before it was sent for the first time. Another node may append a leadership entry no sooner than
_BACKOFF of that lease after it *saw* the newest entry of the log, so later than the lease's end, unless its clock is a
fourth faster than the leader's. If there are entries that it has not seen, its append is fenced. So no read is stale.

A lease counted from a repetition of the sending would be wrong: the first may have been in the log long before, and
the others' backoffs begun. A node that starts waits as if it had just seen the newest entry that it has.

**When a read's reply may leave** a leader, if P was the number of the open commit when the read was executed: when what
it tells of is settled, if `lease_runs` at a time read *after* the execution, since until then nobody else has written;
and with P settled in any case, since that entry was composed after the execution, too. A read of the commit in flight,
P - 1, needs the lease like any other: that entry may be in the log for long, and others behind it. Without leases all
replies wait for P, and no clock is asked.

**A log that was set back**, or replaced by another, has lost what was acknowledged, and a node that went on would fork
it. So an append that is LOST ends the node, and before a candidate's entry is sent it reads its own newest entry in the
log, and `check`s that this is there: a log may have grown again, by others, to just where it was.

**A handover** is an entry without a lease, and from its composing on none of the leases before it counts: so the
successor need not wait.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

from kvstore.base.chance import Chance
from kvstore.base.errors import KVStoreError, NewerVersion
from kvstore.base.shared_log import (
    Appended,
    BadEntry,
    Entry,
    Kind,
    Read,
    Standing,
    Trimmed,
    chained,
    decode,
    difference,
    encode,
    encode_slots,
    named,
)

#: A backoff in leases of the entry last seen: from the first number to the second, drawn, so that not all campaign at
#: once. The part above 1 is what clocks may differ in rate.
_BACKOFF = (1.25, 1.5)
#: A leader that has nothing to append appends an empty frame after this part of its lease.
_RENEWAL = 0.25

_NS_PER_MS = 1_000_000


class Role(Enum):
    """A node's part; see the module."""

    FOLLOWING = auto()
    CAMPAIGNING = auto()
    LEADING = auto()
    ENDED = auto()


class End(Enum):
    """Why a node goes on with the log no more.

    `HANDED_OVER`: it led, and has another lead, as it was asked to. `FENCED`: it led, and another does: its memory may
    hold what the log does not. `DIFFERS`: the log's next entry does not go on from what it has, or the log has lost
    some of that: one of the two is damaged. `NEWER`: a newer version leads the group; what it has is sound, and grows
    old. `SLOTS`: it was started with others than the log says. `JOINED`: it was too far behind, and has fetched
    another's state, to begin with that.
    """

    HANDED_OVER = "this node has handed over"
    FENCED = "another node leads the group"
    DIFFERS = "the shared log does not go on from what this node has"
    JOINED = "the state of another node was fetched"
    NEWER = "a newer version of kvstore leads the group"
    SLOTS = "this server was started with other slots than its group has"


class Ended(KVStoreError):
    """The replica is ENDED now, and why."""

    def __init__(self, end: End, detail: str = "") -> None:
        super().__init__(f"{end.value}: {detail}" if detail else end.value)
        self.end = end


class _Sent(NamedTuple):
    """The entry under way, and when it was composed."""

    entry: Entry
    composed_ns: int


class Replica:
    """See the module. `node`: its name in the group, see `named`. `standing`: what recovery found. `lease_ms`: of its
    own entries. `now_ns`: of this start. Raises ValueError for a name that is none.

    `role`; `standing`; `leader`: the node that leads, as far as is known; `campaign_at_ns`: while FOLLOWING, when to
    campaign if nothing is seen by then; `renew_at_ns`: while LEADING, when to append an empty frame if nothing else is.
    """

    def __init__(self, node: str, standing: Standing, lease_ms: int, chance: Chance, now_ns: int) -> None:
        self.node = named(node)
        self.role = Role.FOLLOWING
        self.standing = standing
        self.leader = ""
        self.renew_at_ns = 0
        self._lease_ms = lease_ms
        self._lease_ends_ns = 0
        self._chance = chance
        self._sent: _Sent | None = None
        self._back_off(now_ns)
        if standing.position == 0:  # if the log is as empty as this, nobody leads
            self.campaign_at_ns = now_ns

    @property
    def is_sending(self) -> bool:
        """Whether an entry is under way: composed, and what became of it is not known."""
        return self._sent is not None

    @property
    def sent(self) -> Entry | None:
        """The entry under way."""
        return None if self._sent is None else self._sent.entry

    # Following

    def saw(self, position: int, data: bytes, now_ns: int) -> Entry:
        """While FOLLOWING: the watch has told of the next entry. Returns it, to be applied. Raises Ended."""
        assert self.role is Role.FOLLOWING
        entry = self._next(position, data)
        self._has(entry)
        if entry.kind is Kind.HANDOVER and entry.successor == self.node:
            self.campaign_at_ns = now_ns
        else:
            self._back_off(now_ns)
        return entry

    def _next(self, position: int, data: bytes) -> Entry:
        try:
            entry = decode(data)
        except NewerVersion as newer:
            raise self.end(End.NEWER, newer.reason) from newer
        except BadEntry as bad:
            raise self.end(End.DIFFERS, str(bad)) from bad
        if position != self.standing.position + 1:
            raise self.end(End.DIFFERS, f"its next entry is {position}, and the newest here {self.standing.position}")
        if chained(self.standing.checksum, entry) != entry:
            raise self.end(End.DIFFERS, f"the checksum of entry {position} is another one")
        return entry

    def _has(self, entry: Entry) -> None:
        self.standing = self.standing.after(entry)
        self.leader = "" if entry.kind is Kind.HANDOVER else entry.node

    def _back_off(self, now_ns: int) -> None:
        """Wait for the end of the lease that the newest entry gave; after one without, give others the time to lead."""
        lease_ns = max(self.standing.lease_ms, self._lease_ms) * _NS_PER_MS
        self.campaign_at_ns = now_ns + int(lease_ns * self._chance.uniform(*_BACKOFF))

    # Sending: the caller appends what is returned at `standing.position + 1`, and tells what became of it

    def campaign(self, time_us: int, now_ns: int) -> bytes:
        """While FOLLOWING, at `campaign_at_ns` or later: the leadership entry to append. The watch ends before."""
        assert self.role is Role.FOLLOWING and now_ns >= self.campaign_at_ns
        self.role = Role.CAMPAIGNING
        word = f"{self._chance.getrandbits(64):016x}"
        return self._send(Kind.LEADERSHIP, self.standing.epoch + 1, time_us, now_ns, successor=word)

    def check(self, found: Read) -> None:
        """Before a candidate's entry is sent: what the log has from `standing.position` on. If that was trimmed there
        are others behind it, and the entry will be fenced. Raises Ended if the log is not the one that this node has.
        """
        if isinstance(found, Trimmed) or self.standing.position == 0:
            return
        if reason := difference(self.standing, found):
            raise self.end(End.DIFFERS, reason)

    def compose(self, operations: bytes, time_us: int, now_ns: int) -> bytes:
        """While LEADING, with nothing under way: the entry of a commit, which may be empty. `time_us`: of the commit.

        The lease counts from `now_ns`, once it is THERE: so this comes before the first sending.
        """
        assert self.role is Role.LEADING
        self.renew_at_ns = now_ns + int(self._lease_ms * _NS_PER_MS * _RENEWAL)
        return self._send(Kind.FRAME, self.standing.epoch, time_us, now_ns, operations)

    def compose_handover(self, successor: str, time_us: int, now_ns: int) -> bytes:
        """While LEADING, with nothing under way: the entry after which `successor` may lead at once.

        From now on there is no lease. Nothing may be executed until it is known what became of it. Raises ValueError.
        """
        assert self.role is Role.LEADING
        entry = self._send(Kind.HANDOVER, self.standing.epoch, time_us, now_ns, successor=named(successor))
        self._lease_ends_ns = now_ns
        return entry

    def compose_slots(self, slots: str, time_us: int, now_ns: int) -> bytes:
        """While LEADING, with nothing under way: the entry by which the group has these slots, of a cluster's."""
        assert self.role is Role.LEADING
        return self._send(Kind.SLOTS, self.standing.epoch, time_us, now_ns, encode_slots(slots))

    def _send(
        self, kind: Kind, epoch: int, time_us: int, now_ns: int, operations: bytes = b"", successor: str = ""
    ) -> bytes:
        assert self._sent is None
        lease_ms = 0 if kind is Kind.HANDOVER else self._lease_ms
        entry = Entry(kind, epoch, self.node, time_us, lease_ms, "", operations, successor)
        entry = chained(self.standing.checksum, entry)
        self._sent = _Sent(entry, now_ns)
        return encode(entry)

    def appended(self, outcome: Appended, now_ns: int) -> Entry | None:
        """What became of the entry under way. Returns it if it is THERE: to be written locally, and acknowledged.

        None: a candidate's was fenced, and it follows again; the watch goes on. Raises Ended if a leader's was, or if
        the log has LOST entries.
        """
        assert self._sent is not None
        (entry, composed_ns), self._sent = self._sent, None
        if outcome is Appended.THERE:
            self._has(entry)
            self._lead_or_follow(entry, composed_ns, now_ns)
            return entry
        if outcome is Appended.LOST:
            raise self.end(End.DIFFERS, f"it has lost entries: {self.standing.position} was in it")
        if self.role is Role.LEADING:
            raise self.end(End.FENCED, f"entry {self.standing.position + 1} is not this node's")
        self._follow(now_ns)
        return None

    def _lead_or_follow(self, entry: Entry, composed_ns: int, now_ns: int) -> None:
        if entry.kind is Kind.HANDOVER:
            self._follow(now_ns)
            return
        self.role = Role.LEADING
        self._lease_ends_ns = composed_ns + entry.lease_ms * _NS_PER_MS
        self.renew_at_ns = composed_ns + int(entry.lease_ms * _NS_PER_MS * _RENEWAL)

    def _follow(self, now_ns: int) -> None:
        self.role = Role.FOLLOWING
        self._back_off(now_ns)

    # Reading, and ending

    def lease_runs(self, now_ns: int) -> bool:
        """Whether nobody else can lead at `now_ns`: a read that was executed before that, and of which nothing waits to
        be settled, is not stale.
        """
        return self.role is Role.LEADING and now_ns < self._lease_ends_ns

    def end(self, end: End, detail: str = "") -> Ended:
        """The node goes on no more: an operation that it does not know, say (NEWER). Returns what to raise."""
        self.role = Role.ENDED
        self._sent = None
        return Ended(end, detail)
