"""Who has which slots, and who leads them: the map of a cluster, which all its groups share.

It is text, a line for each group, in order:

    GROUP SLOTS EPOCH LEADER [OTHER ...] [silent OTHER ...]
    north 0-5460 7 a:6380 b:6380 silent c:6380

GROUP is a group's name, SLOTS are those that it has claimed, for good; EPOCH, LEADER and the other servers are what
its newest leader says of it: `silent` are those that it has not heard of lately. It is changed as a whole, by who has
read it, if nobody else has changed it meanwhile (`ClusterRegister`): so no two groups claim the same slot. Whether a
server may answer for a slot is not said here but by its group's log; of what is here only the claim has to be true, the
rest is a hint for clients, which are sent on again by whoever does not lead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

from kvstore.base.address import Address, parse_address
from kvstore.base.slots import Slots, parse_slots

_SILENT = "silent"


class Shard(NamedTuple):
    """One group of a cluster: a line of the map. `epoch`: of the leader who said so. `silent`: none of the `others`."""

    name: str
    slots: Slots
    epoch: int
    leader: Address
    others: tuple[Address, ...] = ()
    silent: tuple[Address, ...] = ()

    def __str__(self) -> str:
        silent = (_SILENT, *self.silent) if self.silent else ()
        return " ".join(map(str, (self.name, self.slots, self.epoch, self.leader, *self.others, *silent)))

    @property
    def followers(self) -> tuple[Address, ...]:
        """All but the leader."""
        return self.others + self.silent


def parse_map(text: str) -> dict[str, Shard]:
    """The groups by their names. Raises ValueError."""
    shards: dict[str, Shard] = {}
    for line in text.splitlines():
        told, _, silent = line.partition(f" {_SILENT} ")
        name, slots, epoch, leader, *others = told.split(" ")
        shards[name] = Shard(
            name, parse_slots(slots), int(epoch), parse_address(leader), tuple(map(parse_address, others)),
            tuple(map(parse_address, silent.split())),
        )  # fmt: skip
    return shards


def map_text(shards: Iterable[Shard]) -> str:
    """The map of these groups."""
    return "".join(f"{shard}\n" for shard in sorted(shards, key=lambda shard: shard.name))


class ClusterRegister(Protocol):
    """Where the map of a cluster is kept. What is asked for is repeated inside until it is done."""

    def read(self, done: Callable[[str], None]) -> None:
        """The map; it may be some moments old. Empty if there is none."""

    def change(self, before: str, after: str, done: Callable[[str], None]) -> None:
        """Make the map `after` if it is `before`. `done` is told what it is then: `after`, or what others made of it.

        Durability: with `after` on the disks of a quorum.
        """

    def stop(self) -> None:
        """Close what is open. Nothing is called any more."""
