"""Which server of a cluster is to do a request: the one that leads the group which has the slot of its keys.

| the keys of a request are | answer |
|---|---|
| none | executed here; a write at a follower is READONLY |
| of several slots | CROSSSLOT |
| of a slot that nobody has, or while some slot has nobody | CLUSTERDOWN |
| of this group | executed by the leader; by a follower after READONLY, if nothing may change; else MOVED |
| of another group | MOVED to its leader |

A block is looked at as it is queued, and as a whole at EXEC; what a script calls is looked at as it is called. Shard
channels are keys here: who subscribes to one and who publishes in it meet at the leader of its slot.

A group's slots are what its own log says, so no two groups serve one; who leads the others is a hint, see
`base.cluster_map`. Requests that take a quick way are looked at in
`edge.group.quick_ways`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from hashlib import blake2b
from typing import Any, Protocol

from kvstore.base.address import Address
from kvstore.base.cluster_map import Shard
from kvstore.base.errors import Elsewhere, Failure
from kvstore.base.slots import Slots, slot_of
from kvstore.commands.row import NOT_KEYS, WRITE, Command


class Cluster(Protocol):
    """What commands see of a cluster. `slots`: of this server's group, by its log. `is_whole`: whether each slot has a
    group.
    """

    slots: Slots
    is_whole: bool

    def shards(self) -> list[Shard]:
        """All groups of it, in the order of their slots; this server's own only once it has its slots."""

    def owner(self, slot: int) -> Shard | None:
        """The group that has that slot; None if none has."""


def node_id(address: Address) -> str:
    """The number of a server in its cluster: 40 hex digits, from its address."""
    return blake2b(str(address).encode(), digest_size=20).hexdigest()


def check_slots(call: Any, group: Any, row: Command, request: list[bytes]) -> None:
    """Raise Elsewhere if another server is to do the request. `call`: its `Call`. `group`: its `Membership`, which is
    of a cluster.
    """
    slot = _slot_of_block(call) if row.name == "EXEC" else _slot_of(row, request)
    if slot is None:
        return
    cluster: Cluster = group.cluster
    leader = _leader(group, slot)
    if not cluster.is_whole:
        raise Elsewhere("The cluster is down", "CLUSTERDOWN")
    if slot in cluster.slots and (group.leads or _may_read(call, row)):
        return
    raise Elsewhere(f"{slot} {leader}", "MOVED")


def _leader(group: Any, slot: int) -> Address:
    """Who is to do what is about that slot."""
    if slot in group.cluster.slots:
        leader: Address | None = group.leader
    else:
        shard = group.cluster.owner(slot)
        leader = None if shard is None or shard.name == group.group_name else shard.leader
    if leader is None:
        raise Elsewhere("Hash slot not served", "CLUSTERDOWN")
    return leader


def _may_read(call: Any, row: Command) -> bool:
    """Whether a follower does this: for who has said that an older state will do."""
    client = call.client
    if "r" not in client.switches or row.flags & (WRITE | NOT_KEYS):
        return False
    return row.name != "EXEC" or not any(each.flags & (WRITE | NOT_KEYS) for each, _ in client.queued or ())


def _slot_of(row: Command, request: list[bytes]) -> int | None:
    return slot_of_all(row.keys_of(request)) if row.has_keys else None


def _slot_of_block(call: Any) -> int | None:
    slots = {_slot_of(row, request) for row, request in call.client.queued or ()} - {None}
    return _only(slots)


def slot_of_all(keys: Iterable[bytes]) -> int | None:
    """The slot that all these keys are in; None if there are none. Raises Elsewhere if they are in several."""
    return _only(set(map(slot_of, keys)))


def _only(slots: set[Any]) -> int | None:
    if len(slots) > 1:
        raise Elsewhere("Keys in request don't hash to the same slot", "CROSSSLOT")
    return slots.pop() if slots else None


class ScriptSlots:
    """Where the calls of a script that runs may reach. `call`: the `Call` of who runs it. `keys`: that it was told of.
    `flags`: None if it has told none. Raises Failure for one that is not for clusters.
    """

    def __init__(self, call: Any, keys: Iterable[bytes], flags: Collection[bytes] | None) -> None:
        if flags is not None and b"no-cluster" in flags:
            raise Failure("Can not run script on cluster, 'no-cluster' flag is set.")
        self._call = call
        self._slot = slot_of_all(keys)
        self._may_cross = flags is None or b"allow-cross-slot-keys" in flags

    def check(self, row: Command, words: list[bytes]) -> None:
        """Raise Failure if a call of the script names keys that it may not reach."""
        try:
            check_slots(self._call, self._call.server.group, row, words)
        except Elsewhere as elsewhere:
            if "is down" in elsewhere.text:
                text = f"Can not execute a command '{row.name.lower()}' while the cluster is down"
                raise Failure(text) from None
            raise Failure("Attempted to access a non local key in a cluster node") from None
        slot = _slot_of(row, words)
        if slot is None or self._may_cross:
            return
        if self._slot is None:
            self._slot = slot
        elif self._slot != slot:
            raise Failure("Script attempted to access keys that do not hash to the same slot")
