"""GROUP: what the servers of a group ask each other, and what their operator asks of them."""

from __future__ import annotations

from kvstore.base.address import parse_address
from kvstore.base.errors import Failure
from kvstore.base.reply import OK, Reply
from kvstore.commands.context import Call
from kvstore.commands.membership import Membership
from kvstore.commands.registry import ADMIN, Integer, command, container
from kvstore.commands.row import NO_SCRIPT

container("GROUP", "What the servers of a group ask each other.", group="server")


@command("GROUP|CHECKPOINT", ADMIN | NO_SCRIPT, group="server")
def checkpoint(call: Call, offset: Integer, least: Integer = 0) -> Reply:
    """Tell of this server's checkpoint: which it is, the entry up to which it has all, its size, bytes from `offset`.

    For a server of the group that joins; a user with +group|checkpoint alone is enough. All data are in it. If it does
    not go up to entry `least` that is an error; and one that does is made, if this server has that entry, and the log
    no more what comes behind the checkpoint.
    """
    group = _group(call)
    if offset < 0:
        raise Failure("offset is out of range, must be positive")
    return list(group.checkpoint(offset, least))


@command("GROUP|TRIM", ADMIN | NO_SCRIPT, group="server")
def trim(call: Call) -> Reply:
    """Compact now; a leader then trims the group's log as far as two servers' checkpoints let it.

    Later, while somebody fetches the checkpoint. Two are those of living servers, if there are two.
    """
    _group(call).trim()
    return OK


@command("GROUP|FORGET", ADMIN | NO_SCRIPT, group="server")
def forget(call: Call, node: bytes) -> Reply:
    """Take a server that left for good off the list: HOST:PORT. Refused for one that was heard of lately.

    Within some seconds no server tells of it. One that comes back is on the list again.
    """
    try:
        address = parse_address(node.decode("utf-8", "replace"))
    except ValueError as error:
        raise Failure(str(error)) from None
    _group(call).forget(address)
    return OK


def _group(call: Call) -> Membership:
    group: Membership | None = call.server.group
    if group is None:
        raise Failure("This server is in no group; start it with --group")
    return group
