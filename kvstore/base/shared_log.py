"""The shared log of a group: the one sequence of entries that all its servers write to and read, wherever it is kept.

Who may write is decided by the log alone: an entry is appended *at a position*, and is there only if no other one is.
So leadership and leases are entries of the log themselves (see `store/replica`), as in Amazon's MemoryDB, and nothing
else of the engine behind it need be trusted: not its clocks, its locks, its leases.

**An entry** is RESP, as all of the store's files: first the operation `ENTRY`, then the operations of the frame. So it
is the body of a frame of the local log, byte for byte, and its position is the number of that frame:

    ENTRY version kind epoch node time lease checksum successor

| word | what |
|---|---|
| version | of this format: 1 |
| kind | `frame`: a commit, which may be empty; `leadership`: `node` leads from here on; `handover`: `successor` may; |
| | `slots`: the group has these |
| epoch | counted up by each leadership; of the leader that wrote the entry |
| node | who wrote it: the leader, by its name in the group |
| time | of the commit, in microseconds since the epoch, by the leader's wall clock; never less than the one before |
| lease | for how long `node` leads alone, from the first sending of this entry on, in milliseconds; of a handover 0 |
| checksum | of the log up to here: BLAKE2b, 16 hexadecimal digits; see `chained` |
| successor | of a handover: who may campaign at once; of a leadership: a word by chance; empty in all others |

Of `slots` there is one operation in place of those of a frame, `SLOTS 0-5460`: which slots (see `slots`) the group has,
from there on. One is in the log of each group of a cluster, near its beginning; in others there is none.

By the word, a leadership entry is one that no other process could have composed, not one of the same name and in the
same microsecond either; the checksum carries it on to all entries of that leader's.

The lease is in each entry, so that who waits for its end waits for that of the leader and not for its own: servers may
be started with different ones.

Rejected: JSON or Protocol Buffers around the operations (the local log would hold something else than the shared one,
so no position and no checksum of one would say anything of the other); leadership by the engine's own leases and locks
(etcd's were held by two at a time, when one had been paused).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum
from hashlib import blake2b
from typing import NamedTuple, Protocol, TypeAlias

from kvstore.base.errors import KVStoreError, NewerVersion

VERSION = 1
#: The checksum before the first entry.
NO_CHECKSUM = "0" * 16
#: Longest name of a node, in bytes; printable ASCII without spaces.
MAX_NODE_BYTES = 255

_NAME = rb"[!-~]{1,%d}" % MAX_NODE_BYTES
_BEGINS = re.compile(rb"\*[0-9]+\r\n\$5\r\nENTRY\r\n\$[0-9]+\r\n([0-9]{1,9})\r\n").match
_WORDS = re.compile(
    rb"\*9\r\n\$5\r\nENTRY\r\n\$1\r\n1\r\n\$[0-9]+\r\n([a-z]+)\r\n\$[0-9]+\r\n([0-9]{1,19})\r\n\$[0-9]+\r\n(%b)\r\n"
    rb"\$[0-9]+\r\n([0-9]{1,19})\r\n\$[0-9]+\r\n([0-9]{1,19})\r\n\$16\r\n([0-9a-f]{16})\r\n\$[0-9]+\r\n(%b|)\r\n"
    % (_NAME, _NAME)
).match

_SLOTS = re.compile(rb"\*2\r\n\$5\r\nSLOTS\r\n\$[0-9]+\r\n([0-9,-]+)\r\n").fullmatch
_IS_NAME = re.compile(_NAME).fullmatch


def named(node: str) -> str:
    """A node's name as it is: at most MAX_NODE_BYTES printable characters of ASCII. Raises ValueError for another."""
    if _IS_NAME(node.encode()) is None:
        raise ValueError(f"not the name of a node: {node[:MAX_NODE_BYTES]!r}")
    return node


class Kind(Enum):
    """What an entry is: see the module."""

    FRAME = "frame"
    LEADERSHIP = "leadership"
    HANDOVER = "handover"
    SLOTS = "slots"


_KINDS = {kind.value: kind for kind in Kind}


class BadEntry(KVStoreError):
    """Bytes that are no entry."""


class Entry(NamedTuple):
    """One entry; see the module. `body`: encoded operations; none but in a frame, or what slots there are."""

    kind: Kind
    epoch: int
    node: str
    time_us: int
    lease_ms: int
    checksum: str
    body: bytes = b""
    successor: str = ""

    @property
    def operations(self) -> bytes:
        """Those on keys."""
        return b"" if self.kind is Kind.SLOTS else self.body

    @property
    def slots(self) -> str:
        """Of an entry of that kind: which. Raises BadEntry."""
        found = _SLOTS(self.body)
        if found is None:
            raise BadEntry(f"no slots: {self.body[:64]!r}")
        return str(found[1], "ascii")


def encode_slots(slots: str) -> bytes:
    """The body of an entry of that kind."""
    return b"*2\r\n$5\r\nSLOTS\r\n$%d\r\n%b\r\n" % (len(slots), slots.encode("ascii"))


class Standing(NamedTuple):
    """What a node has of the log, by the newest entry that it has: its position, and what the next one goes on from.

    A checkpoint and a log's header keep it as `word` beside the number of their commit, which is the position. `slots`:
    that the group has, as `parse_slots` takes them; empty if it is not of a cluster.
    """

    position: int
    epoch: int
    lease_ms: int
    checksum: str
    slots: str = ""

    def after(self, entry: Entry) -> Standing:
        """Where a node stands with one entry more. Raises BadEntry."""
        slots = entry.slots if entry.kind is Kind.SLOTS else self.slots
        return Standing(self.position + 1, entry.epoch, entry.lease_ms, entry.checksum, slots)

    @property
    def word(self) -> str:
        """All but the position, as a word without spaces."""
        return f"{self.epoch}.{self.lease_ms}.{self.checksum}{self.slots and '.' + self.slots}"

    @classmethod
    def of_word(cls, position: int, word: str) -> Standing:
        """What `word` was made of. Raises ValueError."""
        epoch, lease_ms, checksum, *slots = word.split(".")
        return cls(position, int(epoch), int(lease_ms), checksum, *slots)


#: Of a node that has nothing.
NOTHING = Standing(0, 0, 0, NO_CHECKSUM)


def heading(entry: Entry) -> bytes:
    """The operation ENTRY: what an entry begins with."""
    kind, node, successor = entry.kind.value, entry.node.encode("ascii"), entry.successor.encode("ascii")
    epoch, time, lease = b"%d" % entry.epoch, b"%d" % entry.time_us, b"%d" % entry.lease_ms
    return (
        b"*9\r\n$5\r\nENTRY\r\n$1\r\n1\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n$16\r\n%b\r\n"
        b"$%d\r\n%b\r\n"
    ) % (
        len(kind), kind.encode(), len(epoch), epoch, len(node), node, len(time), time, len(lease), lease,
        entry.checksum.encode(), len(successor), successor,
    )  # fmt: skip


def encode(entry: Entry) -> bytes:
    """An entry as it stands in the log, and in the frame of the local one."""
    return heading(entry) + entry.body


def is_entry(body: bytes) -> bool:
    """Whether the body of a frame is an entry of a shared log, of whatever version."""
    return body[0:1] == b"*" and _BEGINS(body) is not None


def decode(data: bytes, name: str = "the shared log", offset: int = 0) -> Entry:
    """The entry in these bytes. `name`, `offset`: of the file they are in, for the message.

    Raises NewerVersion for an entry of a later version, or a kind that this one does not know; BadEntry.
    """
    begins = _BEGINS(data)
    if begins is not None and int(begins[1]) > VERSION:
        raise NewerVersion(name, offset, f"an entry of the unknown version {int(begins[1])}")
    words = _WORDS(data)
    if words is None:
        raise BadEntry(f"no entry: {data[:64]!r}")
    kind, epoch, node, time, lease, checksum, successor = (word.decode("ascii") for word in words.groups())
    if kind not in _KINDS:
        raise NewerVersion(name, offset, f"an entry of the unknown kind {kind!r}")
    body = data[words.end() :]
    entry = Entry(_KINDS[kind], int(epoch), node, int(time), int(lease), checksum, body, successor)
    if not data.startswith(heading(entry)):
        raise BadEntry(f"an entry with lengths that are not those of its words: {data[:64]!r}")
    if entry.kind is Kind.SLOTS:
        _ = entry.slots
    return entry


def chained(previous: str, entry: Entry) -> Entry:
    """`entry` with its checksum: that of its bytes with the checksum of the entry before it, `previous`, in its place.

    So each stands for the whole log before it, too.
    """
    summed = blake2b(heading(entry._replace(checksum=previous)), digest_size=8)
    summed.update(entry.body)
    return entry._replace(checksum=summed.hexdigest())


class Appended(Enum):
    """What became of an append.

    `THERE`: the entry is in the log, on a quorum's disks, at its position. `FENCED`: the log has another one there, or
    has gone past that position for so long that it does not know any more: nobody may be told that this one is in it.
    `LOST`: the log does not reach the position before, where there was an entry: it was set back, or replaced.
    """

    THERE = "there"
    FENCED = "fenced"
    LOST = "lost"


class Entries(NamedTuple):
    """Entries from the position asked for on, with their positions. `head`: the position of the newest there is."""

    entries: list[tuple[int, bytes]]
    head: int


class Trimmed(NamedTuple):
    """There are no entries from that position on any more: the first that there is, is at `first`."""

    first: int


Read: TypeAlias = Entries | Trimmed


class Note(NamedTuple):
    """What a node has: `covers` is the position up to which its synced checkpoint has all, `position` that of the
    newest entry that it has applied.
    """

    covers: int
    position: int


def difference(standing: Standing, found: Entries) -> str:
    """Why the log is not the one in which somebody has this standing; "" if it is.

    `found`: what the log has from `standing.position` on; where that entry was trimmed, from the one behind it on.
    """
    position, entries = standing.position, dict(found.entries)
    if found.head < position:
        return f"it has lost entries: its newest is {found.head}, and {position} was in it"
    compared = position if position in entries else position + 1
    try:
        entry = decode(entries.get(compared, b""))
    except KVStoreError as error:
        return f"its entry {compared} cannot be read: {error}"
    checksum = standing.checksum if compared == position else chained(standing.checksum, entry).checksum
    return "" if entry.checksum == checksum else f"its entry {compared} is another one"


class Size(NamedTuple):
    """What the engine holds, of all that use it, and past how much it takes nothing more; and its file, which that is
    of: what is free in it is used again, if it is in one piece.
    """

    used_bytes: int
    quota_bytes: int
    file_bytes: int = 0


class Watch(Protocol):
    """Entries are being told of."""

    def stop(self) -> None:
        """No more of them, from now on."""


class SharedLog(Protocol):
    """A shared log as one node of the group sees it.

    All that is asked for is repeated inside until it is done, however long that takes, and `done` is called once, by
    the reactor and never before the method has returned. Positions begin with 1, without gaps. After `stop` nothing is
    called any more.
    """

    def append(self, position: int, entry: bytes, done: Callable[[Appended], None]) -> None:
        """Append `entry` at `position`, which is the one behind the log's newest, or do nothing at all.

        One at a time. `entry`: what no other node could have composed, so that who finds it there knows its own; at
        most MAX_ENTRY_BYTES. Durability: with THERE on the disks of a quorum. It is never ambiguous: what is not known
        yet is asked again.
        """

    def read(self, position: int, done: Callable[[Read], None]) -> None:
        """The entries from `position` on: at most some 1 MiB of them, but one at least if there is one.

        As new as all that was appended before the call.
        """

    def watch(self, position: int, seen: Callable[[int, bytes], None], trimmed: Callable[[int], None]) -> Watch:
        """Call `seen` with each entry from `position` on and its position: those there and those to come, once, in
        order.

        `trimmed`: called instead with the first position that there is, if the next one was trimmed; with that the
        watch ends.
        """

    def trim(self, first: int, done: Callable[[], None]) -> None:
        """Remove all entries before the position `first`, which then is the first; never the newest one."""

    def free(self, done: Callable[[], None]) -> None:
        """Have the engine forget what its keys held before. It looks at all that it holds: so not with each append."""

    def note(self, node: str, note: Note, done: Callable[[Note | None], None]) -> None:
        """Note beside the log, not in it, what `node` has. `done`: told what was noted of it before; None: nothing."""

    def forget(self, node: str, done: Callable[[], None]) -> None:
        """Remove what `node` has noted."""

    def notes(self, done: Callable[[dict[str, Note]], None]) -> None:
        """What each node has noted last. What cannot be read is left out."""

    def size(self, done: Callable[[Size], None]) -> None:
        """How full the engine is."""

    def stop(self) -> None:
        """Close what is open. What is under way may still come to be."""
