"""What Redis has for replicas: ROLE, WAIT, WAITAOF, FAILOVER, READONLY; on a server alone, which has none, and in a
group, whose followers are replicas as clients see them (see `membership`).
"""

from __future__ import annotations

from typing import Any

from kvstore.base.address import Address
from kvstore.base.errors import Failure, InvalidRequest, syntax_error
from kvstore.base.reply import OK, Reply, Wait
from kvstore.base.shared_log import Size
from kvstore.commands.arguments import at_least
from kvstore.commands.context import Call
from kvstore.commands.deadlines import end_after_ms
from kvstore.commands.membership import Life, Membership, Node
from kvstore.commands.registry import ADMIN, FAST, WHOLE, Integer, command, to_integer
from kvstore.commands.row import BLOCKING, NO_SCRIPT


@command("ROLE", FAST | NO_SCRIPT, group="server")
def role(call: Call) -> Reply:
    """Tell the place in replication: a master without replicas, or a group's leader, or follower.

    Unlike Valkey, an offset is the number of an entry of the group's log; that of a replica may be some seconds old.
    """
    group = call.server.group
    if group is None:
        return [b"master", 0, []]
    if group.leads:
        others = [[each.address.host, str(each.address.port), str(each.position)] for each in _online(group)]
        return [b"master", group.position, others]
    host, port = group.leader or ("", 0)
    return [b"slave", host, port, b"connected" if group.hears_leader else b"connect", group.position]


def replication_fields(call: Call) -> list[tuple[str, Any]]:
    """The section of INFO."""
    group, backlog = call.server.group, call.server.configuration.text("repl-backlog-size")
    if group is None or group.leads:
        replicas = [] if group is None else _online(group)
        return [
            ("role", "master"),
            ("connected_slaves", len(replicas)),
            *(
                (
                    f"slave{number}",
                    f"ip={each.address.host},port={each.address.port},state=online,offset={each.position},"
                    f"lag={each.quiet_s}",
                )
                for number, each in enumerate(replicas)
            ),
            *_of_group(group),
            ("master_replid", call.server.run_id),
            ("repl_backlog_size", backlog),
        ]
    return [
        ("role", "slave"),
        ("master_host", group.leader.host if group.leader else ""),
        ("master_port", group.leader.port if group.leader else 0),
        ("master_link_status", "up" if group.hears_leader else "down"),
        ("slave_repl_offset", group.position),
        ("slave_read_only", 1),
        ("connected_slaves", 0),
        *_of_group(group),
        ("master_replid", call.server.run_id),
        ("repl_backlog_size", backlog),
    ]


def _online(group: Membership) -> list[Node]:
    """As on Redis, who is down is not told of."""
    return [each for each in group.others() if each.life is not Life.SILENT]


def _of_group(group: Membership | None) -> list[tuple[str, Any]]:
    if group is None:
        return []
    return [
        ("group", group.group_name),
        ("group_node", group.own),
        ("group_epoch", group.epoch),
        ("master_repl_offset", group.position),
        *([] if group.log_size is None else _of_engine(group.log_size)),
    ]


def _of_engine(size: Size) -> list[tuple[str, Any]]:
    return [("group_log_used_bytes", size.used_bytes), ("group_log_quota_bytes", size.quota_bytes)]


@command("READONLY", FAST, group="cluster")
def readonly(call: Call) -> Reply:
    """Let this client read at a group's follower: an older state. Shown by CLIENT LIST; elsewhere it does no more."""
    call.client.switches.add("r")
    call.client.is_barred = False
    return OK


@command("READWRITE", FAST, group="cluster")
def readwrite(call: Call) -> Reply:
    """Take READONLY back."""
    call.client.switches.discard("r")
    call.client.is_barred = call.server.follows
    return OK


@command("WAIT", BLOCKING, group="generic")
def wait(call: Call, numreplicas: Integer, timeout: bytes) -> Reply:
    """Wait until so many replicas have this client's writes, or for some milliseconds (0: for ever); tells how many.

    Unlike Valkey, none are counted in a group: what is answered is on a quorum of the log's disks already.
    """
    _check_leads(call, "WAIT")
    until_ms = _until_ms(call, timeout)
    return 0 if numreplicas <= 0 else Wait((), type(None), until_ms, _never, 0, 0)


def _check_leads(call: Call, name: str) -> None:
    group = call.server.group
    if group is not None and not group.leads:
        raise Failure(
            f"{name} cannot be used with replica instances. Please also note that writes to replicas are just local and"
            " are not propagated."
        )


@command("WAITAOF", BLOCKING | WHOLE, group="generic")
def waitaof(call: Call, numlocal: Integer, numreplicas: bytes, timeout: bytes) -> Reply:
    """Wait until what is written is on disk (numlocal 1) and on that of so many replicas; tells on how many it is.

    `timeout`: for so many milliseconds, 0 for ever.

    Unlike Valkey, there is always a log: the first number is 1 when what was written before is on disk.
    """
    _check_leads(call, "WAITAOF")
    if numlocal not in (0, 1):
        raise InvalidRequest("value is out of range, value must between 0 and 1")
    replicas = at_least(0, numreplicas, "value is out of range, must be positive")
    until_ms = _until_ms(call, timeout)
    sequence = call.store.commit_for_table() or call.store.pending.sequence - 1

    told = [0, 0]

    def again() -> Reply | None:
        told[0] = int(call.server.is_durable(sequence))
        return told if told[0] >= numlocal and not replicas else None

    if again() is None:
        call.server.syncing.add(call.client)
        return Wait((), type(None), until_ms, again, told, told)
    return told


def _until_ms(call: Call, timeout: bytes) -> int | None:
    return end_after_ms(timeout, call.store.now_us() // 1000)


def _never() -> Reply | None:
    return None


@command("REPLICAOF", ADMIN | NO_SCRIPT, group="server")
def replicaof(call: Call, host: bytes, port: bytes) -> Reply:
    """Refused, but for NO ONE: the server cannot follow another one."""
    if (host.lower(), port.lower()) == (b"no", b"one"):
        return OK
    raise Failure("this server cannot be a replica; kvstore backup copies a directory while it is in use")


command("SLAVEOF", ADMIN | NO_SCRIPT, group="server")(replicaof)


@command("FAILOVER", ADMIN | NO_SCRIPT, group="server", options="[TO host port [FORCE]] [ABORT] [TIMEOUT milliseconds]")
def failover(call: Call, *options: bytes) -> Reply:
    """Let a follower lead, that or any; refused by a server alone, which has none.

    Unlike Valkey, it is answered when that is on its way; whether it comes to pass is told by ROLE. FORCE is for a
    target that was not heard of lately; no time is waited before.
    """
    left, given, to = list(options), set(), None
    while left:
        name = left[0].upper()
        if name not in _FAILOVER_WORDS or name in given or len(left) <= _FAILOVER_WORDS[name]:
            raise syntax_error()
        given.add(name)
        if name == b"TO":
            to = (left[1].decode("utf-8", "replace"), left[2])
        del left[: 1 + _FAILOVER_WORDS[name]]
    if call.server.group is not None and b"ABORT" not in given:
        if b"FORCE" in given and not given >= {b"TO", b"TIMEOUT"}:
            raise Failure("FAILOVER with force option requires both a timeout and target HOST and IP.")
        target = None if to is None else Address(to[0], to_integer(to[1]))
        call.server.group.hand_over(target, is_forced=b"FORCE" in given)
        return OK
    raise Failure("No failover in progress." if given == {b"ABORT"} else "FAILOVER requires connected replicas.")


#: How many words follow an option.
_FAILOVER_WORDS = {b"TO": 2, b"FORCE": 0, b"ABORT": 0, b"TIMEOUT": 1}
