"""How a server of a group begins: with a directory of that group's, the log, and a way to the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from hashlib import blake2b
from typing import Any

from twisted.logger import Logger

from kvstore.base.errors import StartRefused
from kvstore.edge.etcd.log import open_log
from kvstore.edge.etcd.register import EtcdRegister
from kvstore.edge.group.connecting import connector
from kvstore.edge.group.node import GroupNode
from kvstore.edge.settings import GroupSettings
from kvstore.store.group_store import GroupStore
from kvstore.store.replica import Ended

_log = Logger()


def identity_of(group: str) -> str:
    """The identity of every directory of a group, 32 hex digits: by it all of them have the same order of SCAN."""
    return blake2b(b"kvstore group " + group.encode(), digest_size=16).hexdigest()


def store_of(group: str) -> Callable[..., GroupStore]:
    """What opens a directory of that group; its arguments are those of `Store`."""
    return partial(GroupStore, identity=identity_of(group))


def open_node(
    reactor: Any, group: GroupSettings, listen: Iterable[str], store: GroupStore, ends: Callable[[Ended], None]
) -> GroupNode:
    """The server's node, over the group's log in etcd. `listen`: the server's endpoints. `store`: recovered. `ends`:
    see `GroupNode`. Raises StartRefused.
    """
    _say_how_it_began(store)
    try:
        connect = connector(reactor, group, listen)
    except ValueError as error:
        raise StartRefused(f"--node-ca {group.node_ca_path!r}: {error}") from None
    try:
        log = open_log(group.log, group.name, reactor)
        register = None if group.slots is None else EtcdRegister(group.log, reactor)
    except ValueError as error:  # of the files of its certificates
        raise StartRefused(f"--log {group.log!r}: {error}") from None
    try:
        return GroupNode(reactor, group, store, log, ends, connect, register=register)
    except StartRefused:
        log.stop()
        raise


def _say_how_it_began(store: GroupStore) -> None:
    if store.joined is not None:
        _log.info("begins with the checkpoint of another server, up to entry {position}", position=store.joined)
    if store.damage is not None:
        damage, names = store.damage
        _log.critical(
            "{damage} The files are set aside as {names}; this server joins its group anew",
            damage=str(damage).removesuffix(damage.advice), names=", ".join(names),
        )  # fmt: skip
