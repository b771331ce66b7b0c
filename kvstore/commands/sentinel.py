"""SENTINEL: how clients that know Redis Sentinel find the leader of a group.

Each server of a group answers for the group as a Sentinel answers for the masters that it watches; the group's name is
the master's. So a client is given the servers' own addresses in place of Sentinels', and works as it is (redis-py's
`Sentinel`, ioredis's `sentinels`, Jedis, Lettuce). Nobody watches anybody here, and nobody votes: who leads is in the
shared log, and each server tells what it has read there.

Fields, as a Sentinel's, of which clients read: name, ip, port, flags (`s_down,o_down` for a leader that was not heard
of lately, `s_down` and `disconnected` for another server), num-slaves, num-other-sentinels, quorum.
"""

from __future__ import annotations

from kvstore.base.address import Address
from kvstore.base.errors import Failure
from kvstore.base.reply import NULL_ARRAY, OK, Reply
from kvstore.commands.context import Call
from kvstore.commands.membership import Life, Membership, Node
from kvstore.commands.registry import ADMIN, FAST, command, container
from kvstore.commands.row import NO_SCRIPT

container("SENTINEL", "Find the leader of a group, as from Redis Sentinel.", group="sentinel")


@command("SENTINEL|GET-MASTER-ADDR-BY-NAME", FAST | NO_SCRIPT, group="sentinel")
def get_master_addr_by_name(call: Call, name: bytes) -> Reply:
    """Tell the leader's host and port; null if there is no group of this name, or nobody leads it.

    Unlike Valkey, also if no leader was heard of lately: clients then ask the next server.
    """
    group = _group(call)
    if name != group.group_name.encode() or group.leader is None or not group.hears_leader:
        return NULL_ARRAY
    return [group.leader.host, str(group.leader.port)]


@command("SENTINEL|MASTERS", NO_SCRIPT, group="sentinel")
def masters(call: Call) -> Reply:
    """Tell of the leaders of groups: of one, this server's."""
    group = _group(call)
    return [] if group.leader is None else [_master(group, group.leader)]


@command("SENTINEL|MASTER", NO_SCRIPT, group="sentinel")
def master(call: Call, name: bytes) -> Reply:
    """Tell of the leader of a group."""
    group = _named(call, name)
    if group.leader is None:
        raise _no_such_master()
    return _master(group, group.leader)


@command("SENTINEL|REPLICAS", NO_SCRIPT, group="sentinel")
def replicas(call: Call, name: bytes) -> Reply:
    """Tell of the servers of a group that follow."""
    group = _named(call, name)
    own = [] if group.leads else [Node(group.own, group.position, Life.ALIVE, 0)]
    return [
        _node(each, "slave") | _link(group) | {"slave-repl-offset": each.position, "slave-priority": 100}
        for each in (*group.others(), *own)
        if each.address != group.leader
    ]


command("SENTINEL|SLAVES", NO_SCRIPT, group="sentinel")(replicas)


@command("SENTINEL|SENTINELS", NO_SCRIPT, group="sentinel")
def sentinels(call: Call, name: bytes) -> Reply:
    """Tell of the other servers that can be asked."""
    return [_node(each, "sentinel") for each in _named(call, name).others()]


@command("SENTINEL|CKQUORUM", NO_SCRIPT, group="sentinel")
def ckquorum(call: Call, name: bytes) -> Reply:
    """Tell whether somebody leads and is heard of. Unlike Valkey, no Sentinels are counted: the log has the quorum."""
    group = _named(call, name)
    if not group.hears_leader:
        raise Failure("NOQUORUM nobody leads, or was heard of lately", "NOQUORUM")
    return OK


@command("SENTINEL|FAILOVER", ADMIN | NO_SCRIPT, group="sentinel")
def failover(call: Call, name: bytes) -> Reply:
    """Let another server lead. Unlike Valkey, only the leader can be told."""
    _named(call, name).hand_over(None)
    return OK


@command("SENTINEL|MYID", FAST | NO_SCRIPT, group="sentinel")
def myid(call: Call) -> Reply:
    """Tell this server's number as a Sentinel: its run id."""
    _group(call)
    return call.server.run_id


def _group(call: Call) -> Membership:
    if call.server.group is None:
        raise Failure("This server is in no group; start it with --group")
    return call.server.group


def _named(call: Call, name: bytes) -> Membership:
    group = _group(call)
    if name != group.group_name.encode():
        raise _no_such_master()
    return group


def _no_such_master() -> Failure:
    return Failure("No such master with that name")


def _instance(address: Address, kind: str) -> dict[str, str | int]:
    return {"name": str(address), "ip": address.host, "port": address.port, "runid": "", "flags": kind}


def _node(node: Node, kind: str) -> dict[str, str | int]:
    """Clients leave out who is down; Redis's Sentinel says so when it has not answered for long."""
    return _instance(node.address, f"s_down,{kind},disconnected" if node.life is Life.SILENT else kind)


def _link(group: Membership) -> dict[str, str | int]:
    leader = group.leader
    return {
        "master-link-status": "ok" if group.hears_leader else "err",
        "master-host": leader.host if leader else "?",
        "master-port": leader.port if leader else 0,
    }


def _master(group: Membership, leader: Address) -> Reply:
    others = len(group.others())
    return _instance(leader, "master" if group.hears_leader else "s_down,o_down,master") | {
        "name": group.group_name,
        "role-reported": "master",
        "config-epoch": group.epoch,
        "num-slaves": others,
        "num-other-sentinels": others,
        "quorum": others // 2 + 1,
    }
