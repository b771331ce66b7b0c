"""What Redis has for replicas, on a server that has none: ROLE, WAIT, WAITAOF, and no REPLICAOF."""

from __future__ import annotations

from kvstore.base.errors import Failure, InvalidRequest, syntax_error
from kvstore.base.reply import OK, Reply, Wait
from kvstore.commands.arguments import at_least
from kvstore.commands.context import Call
from kvstore.commands.deadlines import end_after_ms
from kvstore.commands.registry import ADMIN, FAST, WHOLE, Integer, command
from kvstore.commands.row import BLOCKING, NO_SCRIPT


@command("ROLE", FAST | NO_SCRIPT, group="server")
def role(call: Call) -> Reply:
    """Tell the place in replication: a master without replicas."""
    return [b"master", 0, []]


@command("WAIT", BLOCKING, group="generic")
def wait(call: Call, numreplicas: Integer, timeout: bytes) -> Reply:
    """Wait until so many replicas have this client's writes, or for some milliseconds (0: for ever); tells how many."""
    until_ms = _until_ms(call, timeout)
    return 0 if numreplicas <= 0 else Wait((), type(None), until_ms, _never, 0, 0)


@command("WAITAOF", BLOCKING | WHOLE, group="generic")
def waitaof(call: Call, numlocal: Integer, numreplicas: bytes, timeout: bytes) -> Reply:
    """Wait until what is written is on disk (numlocal 1) and on that of so many replicas; tells on how many it is.

    `timeout`: for so many milliseconds, 0 for ever.

    Unlike Valkey, there is always a log: the first number is 1 when what was written before is on disk.
    """
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
    """Refused: there are no replicas."""
    left, given = list(options), set()
    while left:
        name = left[0].upper()
        if name not in _FAILOVER_WORDS or name in given or len(left) <= _FAILOVER_WORDS[name]:
            raise syntax_error()
        given.add(name)
        del left[: 1 + _FAILOVER_WORDS[name]]
    raise Failure("No failover in progress." if given == {b"ABORT"} else "FAILOVER requires connected replicas.")


#: How many words follow an option.
_FAILOVER_WORDS = {b"TO": 2, b"FORCE": 0, b"ABORT": 0, b"TIMEOUT": 1}
