"""CLUSTER: how clients find who has which slots; see `hash_slots`.

Every reply is as Valkey's of a server in a cluster. What is different here: nobody gossips, so there are no links, no
votes and no pings, and a bus port is 0; slots are split when groups are made, and stay, so all that moves them is
refused; a server's number is made from its address. In a server without slots every subcommand is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

from kvstore.base.address import Address
from kvstore.base.cluster_map import Shard
from kvstore.base.errors import Failure
from kvstore.base.reply import OK, Reply, Verbatim
from kvstore.base.slices import Slices
from kvstore.base.slots import SLOTS, slot_of
from kvstore.commands.context import Call
from kvstore.commands.hash_slots import node_id
from kvstore.commands.registry import ADMIN, FAST, WHOLE, Integer, command, container
from kvstore.store.table import Table

container("CLUSTER", "Tell of the cluster that this server's group is one of.", group="cluster")

#: Keys looked at before the time is.
_AT_ONCE = 1000


@command("ASKING", FAST, group="cluster")
def asking(call: Call) -> Reply:
    """Taken, and changes nothing: no slot is on its way from one group to another."""
    _membership(call)
    return OK


@command("CLUSTER|SLOTS", group="cluster")
def slots(call: Call) -> Reply:
    """List the runs of slots, each with its leader and who follows, but for who was not heard of lately."""
    return [
        [first, last, *([each.host, each.port, node_id(each), {}] for each in (shard.leader, *shard.others))]
        for (first, last), shard in _runs(_shards(call))
    ]


@command("CLUSTER|SHARDS", group="cluster")
def shards(call: Call) -> Reply:
    """List the groups, each with its slots and servers."""
    membership = _membership(call)
    return [
        {
            "slots": [bound for run in shard.slots.ranges for bound in run],
            "nodes": [_node(membership, shard, each) for each in (shard.leader, *shard.followers)],
            "id": _shard_id(shard.name),
        }
        for shard in _shards(call)
    ]


@command("CLUSTER|NODES", group="cluster")
def nodes(call: Call) -> Reply:
    """Describe all servers, a line for each."""
    return Verbatim("".join(f"{line}\n" for shard in _shards(call) for line in _lines(call, shard)))


@command("CLUSTER|REPLICAS", ADMIN, group="cluster")
def replicas(call: Call, node_id: bytes) -> Reply:
    """Describe who follows a server that leads."""
    number = node_id.decode("utf-8", "replace")
    for shard in _shards(call):
        if _is(number, shard.leader):
            return list(_lines(call, shard))[1:]
        if any(_is(number, each) for each in shard.followers):
            raise Failure("The specified node is not a master")
    raise Failure(f"Unknown node {number}")


command("CLUSTER|SLAVES", ADMIN, group="cluster")(replicas)


@command("CLUSTER|INFO", group="cluster")
def info(call: Call) -> Reply:
    """Tell of the state of the cluster."""
    membership, found = _membership(call), _shards(call)
    assigned = sum(len(shard.slots) for shard in found)
    fields = {
        "cluster_state": "ok" if membership.cluster.is_whole else "fail",
        "cluster_slots_assigned": assigned,
        "cluster_slots_ok": assigned,
        "cluster_slots_pfail": 0,
        "cluster_slots_fail": 0,
        "cluster_nodes_pfail": 0,
        "cluster_nodes_fail": sum(len(shard.silent) for shard in found),
        "cluster_voting_nodes_pfail": 0,
        "cluster_voting_nodes_fail": 0,
        "cluster_known_nodes": sum(1 + len(shard.followers) for shard in found),
        "cluster_size": len(found),
        "cluster_current_epoch": max((shard.epoch for shard in found), default=0),
        "cluster_my_epoch": membership.epoch,
        "cluster_stats_messages_sent": 0,
        "cluster_stats_messages_received": 0,
        **{
            f"cluster_stats_{what}bytes_{way}": 0 for what in ("", "pubsub_", "module_") for way in ("sent", "received")
        },
        "total_cluster_links_buffer_limit_exceeded": 0,
    }
    return Verbatim("".join(f"{name}:{value}\r\n" for name, value in fields.items()))


@command("CLUSTER|MYID", group="cluster")
def myid(call: Call) -> Reply:
    """Tell this server's number."""
    return node_id(_membership(call).own)


@command("CLUSTER|MYSHARDID", group="cluster")
def myshardid(call: Call) -> Reply:
    """Tell the number of this server's group."""
    return _shard_id(_membership(call).group_name)


@command("CLUSTER|LINKS", group="cluster")
def links(call: Call) -> Reply:
    """List the links to other servers: none, as they meet in the shared log."""
    _membership(call)
    return []


@command("CLUSTER|KEYSLOT", group="cluster")
def keyslot(call: Call, key: bytes) -> Reply:
    """Tell the slot that a key is in; also where there is no cluster."""
    return slot_of(key)


@command("CLUSTER|COUNTKEYSINSLOT", WHOLE, group="cluster")
def countkeysinslot(call: Call, slot: Integer) -> Slices:
    """Count the keys here that are in a slot: all keys are looked at."""
    _membership(call)
    if not 0 <= slot < SLOTS:
        raise Failure("Invalid slot")
    found = yield from _keys_in(call.table, slot, None)
    return len(found)


@command("CLUSTER|GETKEYSINSLOT", WHOLE, group="cluster")
def getkeysinslot(call: Call, slot: Integer, count: Integer) -> Slices:
    """List some of the keys here that are in a slot: all keys are looked at."""
    _membership(call)
    if not 0 <= slot < SLOTS or count < 0:
        raise Failure("Invalid slot or number of keys")
    return (yield from _keys_in(call.table, slot, count))


def _keys_in(table: Table, slot: int, most: int | None) -> Slices:
    yield from table.slicing.room()
    found: list[bytes] = []
    keys, lives = list(table.values), table.living()

    def steps() -> Iterator[None]:
        for at in range(0, len(keys), _AT_ONCE):
            found.extend(filter(lives, (key for key in keys[at : at + _AT_ONCE] if slot_of(key) == slot)))
            if most is not None and len(found) >= most:
                return
            yield

    yield from table.slicing.go_through(steps())
    return found[:most]


# What moves slots, or speaks of a bus


def _refused(call: Call, *arguments: bytes) -> Reply:
    """Refused: slots are split among groups when these are made, and servers come and go by themselves."""
    _membership(call)
    raise Failure(
        "slots are split among groups when these are made, and stay; who leads is in each group's log, FAILOVER has"
        " another lead"
    )


def _refused_alone(call: Call) -> Reply:
    return _refused(call)


def _refused_one(call: Call, argument: bytes) -> Reply:
    return _refused(call)


_refused_alone.__doc__ = _refused_one.__doc__ = _refused.__doc__

for _name in ("BUMPEPOCH", "FLUSHSLOTS", "SAVECONFIG"):
    command(f"CLUSTER|{_name}", ADMIN, group="cluster")(_refused_alone)
for _name in ("COUNT-FAILURE-REPORTS", "FORGET", "SET-CONFIG-EPOCH"):
    command(f"CLUSTER|{_name}", ADMIN, group="cluster")(_refused_one)
_LEAST = {
    "ADDSLOTS": 3, "ADDSLOTSRANGE": 4, "DELSLOTS": 3, "DELSLOTSRANGE": 4, "FAILOVER": 2, "MEET": 4, "REPLICATE": 3,
    "RESET": 2, "SETSLOT": 4,
}  # fmt: skip
for _name, _least in _LEAST.items():
    command(f"CLUSTER|{_name}", ADMIN, group="cluster", least=_least)(_refused)


def _membership(call: Call) -> Any:
    """The group, one of a cluster. Raises Failure if there is none."""
    group = call.server.group
    if group is None or group.cluster is None:
        raise Failure("This instance has cluster support disabled")
    return group


def _shards(call: Call) -> list[Shard]:
    found: list[Shard] = _membership(call).cluster.shards()
    return found


def _runs(shards: list[Shard]) -> list[tuple[tuple[int, int], Shard]]:
    """All runs of slots in order, each with who has it."""
    return sorted(((run, shard) for shard in shards for run in shard.slots.ranges), key=lambda each: each[0])


def _shard_id(group: str) -> str:
    return blake2b(b"group " + group.encode(), digest_size=20).hexdigest()


def _is(number: str, address: Address) -> bool:
    return node_id(address) == number


def _node(membership: Any, shard: Shard, address: Address) -> dict[str, Any]:
    return {
        "id": node_id(address),
        "port": address.port,
        "ip": address.host,
        "endpoint": address.host,
        "role": "master" if address == shard.leader else "replica",
        "replication-offset": _offset(membership, shard, address),
        "health": "fail" if _is_down(membership, shard, address) else "online",
    }


def _offset(membership: Any, shard: Shard, address: Address) -> int:
    """Of servers of other groups it is not known."""
    if address == membership.own or (shard.name == membership.group_name and address == shard.leader):
        return int(membership.position)
    return next((each.position for each in membership.others() if each.address == address), 0)


def _is_down(membership: Any, shard: Shard, address: Address) -> bool:
    """Of a leader only its own group knows."""
    if address == shard.leader:
        return shard.name == membership.group_name and not membership.hears_leader
    return address in shard.silent


def _lines(call: Call, shard: Shard) -> Iterator[str]:
    """As CLUSTER NODES has them, the leader's first."""
    membership = _membership(call)
    own = membership.own
    runs = "".join(f" {run}" for run in str(shard.slots).split(","))
    for address in (shard.leader, *shard.followers):
        leads, is_down = address == shard.leader, _is_down(membership, shard, address)
        flags = ("myself," if address == own else "") + ("master" if leads else "slave") + (",fail" if is_down else "")
        link = "disconnected" if is_down and address != own else "connected"
        leader = "-" if leads else node_id(shard.leader)
        place = f"{address.host}:{address.port}@0"
        yield f"{node_id(address)} {place} {flags} {leader} 0 0 {shard.epoch} {link}{runs if leads else ''}"
