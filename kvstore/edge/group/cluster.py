"""A group among others: it has some of the slots, and knows who has the rest. See `Cluster` of `commands.hash_slots`.

    claim     the first leader of a group enters it in the map of the cluster, with the slots it was started with
    own       when they are there they go into the group's log (an entry of the kind `slots`): from then on they are its
    tell      each leader enters itself, and who follows
    look      every second, what the others have entered

A group serves what its own log says that it has, and nothing before it says so. The map is where groups that are made
at the same time meet: no slot can be claimed twice. So a crash at any moment leaves slots with nobody, or with one
group; the next leader goes on where the last one was.

Rejected: to read the others' logs (an entry may be a megabyte, and each read of etcd's that is sure costs all of its
nodes a write); a watch (a connection more for each server, for a second that a client waits longer, after the death of
another group's leader).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from twisted.internet.interfaces import IDelayedCall

from kvstore.base.address import Address
from kvstore.base.cluster_map import ClusterRegister, Shard, map_text, parse_map
from kvstore.base.errors import StartRefused
from kvstore.base.shared_log import Standing
from kvstore.base.slots import SLOTS, Slots, parse_slots

#: How often the map is looked at.
_LOOK_S = 1.0
#: The same while slots are with nobody: groups are being made.
_MAKING_S = 0.1


def check_slots(standing: Standing, given: Slots | None, *, is_empty: bool) -> None:
    """Raise StartRefused if a server was started with other slots than its group has, by its log.

    `standing`: what this server has of it. `is_empty`: whether that has no keys: the group may be one that is being
    made.
    """
    if standing.slots and given is None:
        raise StartRefused(f"this group has slots {standing.slots} of a cluster; give --slots {standing.slots}")
    if standing.slots and str(given) != standing.slots:
        raise StartRefused(
            f"--slots {given}: this group has slots {standing.slots}, for good; give --slots {standing.slots}. To split"
            " keys otherwise make other groups, and move the keys by kvstore export and import"
        )
    if given is not None and not standing.slots and not is_empty:
        raise StartRefused(
            f"--slots {given}: this group was made without slots, and has keys; leave --slots out, or make another"
            " group and move the keys by kvstore export and import"
        )


class Group(Protocol):
    """What is asked of the group's node."""

    group_name: str
    own: Address

    @property
    def leads(self) -> bool:
        """See `Membership`."""

    @property
    def epoch(self) -> int:
        """See `Membership`."""

    @property
    def leader(self) -> Address | None:
        """See `Membership`."""

    @property
    def hears_leader(self) -> bool:
        """See `Membership`: of the leader, whether its lease runs."""

    def addresses(self) -> tuple[tuple[Address, ...], tuple[Address, ...]]:
        """The other servers of the group, and those of them apart that were not heard of lately."""

    def own_slots(self) -> str:
        """Those that the group's log says it has, as far as it is known here; empty for none."""

    def enter_slots(self, slots: str) -> None:
        """As the leader, have the log say that the group has these."""

    def cannot_lead(self, reason: str) -> None:
        """This server's options are not the group's: it ends."""


class ClusterPart:
    """See the module, and `Cluster`. `given`: the slots that the server was started with. `call_later`: as a reactor's.

    `slots`, `is_whole`: see `Cluster`.
    """

    def __init__(self, group: Group, register: ClusterRegister, given: Slots, call_later: Callable[..., Any]) -> None:
        self._group = group
        self._register = register
        self._given = given
        self._call_later = call_later
        self._timer: IDelayedCall | None = None
        self._text = ""
        self._shards: dict[str, Shard] = {}
        self._owners: list[Shard | None] = [None] * SLOTS
        self.slots = Slots()
        self.is_whole = False

    def start(self) -> None:
        """Look at the map, now and from time to time."""
        self.obey_log()
        self._look()

    def stop(self) -> None:
        """No more of it."""
        self._register.stop()
        self._cancel()

    def _cancel(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def obey_log(self) -> None:
        """What the group's log says of slots may have changed."""
        if (own := self._group.own_slots()) != str(self.slots):
            self.slots = parse_slots(own)

    def look_at_once(self) -> None:
        """This server leads now."""
        self._cancel()
        self._look()

    def _look(self) -> None:
        self._timer = None
        self._register.read(self._found)

    def _found(self, text: str) -> None:
        """The map is this."""
        if text != self._text:
            self._text, self._shards = text, parse_map(text)
            self._owners = [None] * SLOTS
            for shard in self._shards.values():
                for first, last in shard.slots.ranges:
                    self._owners[first : last + 1] = [shard] * (last + 1 - first)
            self.is_whole = None not in self._owners
        if not self._tell(text):
            self._cancel()
            self._timer = self._call_later(_LOOK_S if self.is_whole and self.slots else _MAKING_S, self._look)

    def _tell(self, text: str) -> bool:
        """As the leader, have the map say what is true of this group. Returns whether that is under way, and `_found`
        to come.

        A later epoch there is that of who has followed this leader; while its lease runs nobody has, and it is of a log
        of the same name that is no more.
        """
        group = self._group
        if not group.leads:
            return False
        entered = self._shards.get(group.group_name)
        if entered is None and self._is_claimed_by_others():
            return False
        if entered is not None and entered.slots != self._given:
            group.cannot_lead(
                f"--slots {self._given}: in this etcd a group {group.group_name} has slots {entered.slots}; give those,"
                " or the group another name"
            )
            return False
        own = Shard(group.group_name, self._given, group.epoch, group.own, *group.addresses())
        if entered is not None and (entered == own or (entered.epoch > own.epoch and not group.hears_leader)):
            if not group.own_slots():
                group.enter_slots(str(self._given))
            return False
        self._register.change(text, map_text({**self._shards, own.name: own}.values()), self._found)
        return True

    def _is_claimed_by_others(self) -> bool:
        for shard in self._shards.values():
            if shard.slots.overlaps(self._given):
                self._group.cannot_lead(
                    f"--slots {self._given}: group {shard.name} of this etcd has slots {shard.slots}; give others"
                )
                return True
        return False

    # What commands see

    def serves(self, keys: Iterable[bytes]) -> bool:
        """Whether any request for each of these keys is done here, now."""
        return self.is_whole and self._group.leads and self.slots.has_all(keys)

    def shards(self) -> list[Shard]:
        """See `Cluster`: of the own group as its log says, which is newer."""
        group, found = self._group, dict(self._shards)
        if self.slots and (leader := group.leader) is not None:
            others, silent = group.addresses()
            found[group.group_name] = Shard(
                group.group_name, self.slots, group.epoch, leader,
                tuple(sorted({group.own, *others} - {leader}, key=str)), tuple(sorted({*silent} - {leader}, key=str)),
            )  # fmt: skip
        return sorted(found.values(), key=lambda shard: shard.slots.ranges)

    def owner(self, slot: int) -> Shard | None:
        """See `Cluster`."""
        return self._owners[slot]
