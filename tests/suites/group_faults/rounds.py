"""One round: clients, a fault in their midst, and then what they were told, and what the servers hold, is looked at."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import NamedTuple

import redis

from tests.kit.group_processes import GroupServer, RealGroup
from tests.kit.server_process import eventually
from tests.suites.group_faults.client import Client, Reader
from tests.suites.group_faults.faults import KINDS, Kind
from tests.suites.group_faults.world import Setting, World
from tests.suites.histories.checker import REFUSED, UNKNOWN, Operation, check

_CLIENTS = 6
_READERS = 2
_BEFORE_S = 0.4
_AFTER_S = 0.6
#: How long the servers may take to hold the same, when all is mended.
_LEVEL_S = 20.0


class Told(NamedTuple):
    """What a round has come to. `pause_s`: for how long nobody could write; `seconds`: that the round took."""

    kind: str
    operations: int
    unknown: int
    refused: int
    pause_s: float
    seconds: float


class Violated(Exception):
    """A promise was broken: the text says how. `history`: what clients were told."""

    def __init__(self, text: str, history: Sequence[Operation]) -> None:
        super().__init__(text)
        self.history = history


class Rounds:
    """Rounds of any kind, each in a world as its kind asks for: of which one is there at a time. Ends with `close`."""

    def __init__(self, seed: int, options: tuple[str, ...]) -> None:
        self._chance = random.Random(seed)
        self._options = options
        self._values = itertools.count(1)
        self._held = ExitStack()
        self._setting: Setting | None = None
        self._numbers = itertools.count(1)

    def close(self) -> None:
        """End all that runs."""
        self._setting = None
        self._held.close()

    def _world_of(self, setting: Setting) -> World:
        if setting != self._setting:
            self.close()
            self._world = World(setting, self._chance, self._options, self._held)
            self._world.group.leader()
            self._setting = setting
        return self._world

    def one(self, name: str) -> Told:
        """A round of this kind. Raises Violated."""
        kind = KINDS[name]
        world = self._world_of(kind.setting)
        began = time.monotonic()
        prefix = b"h%d" % next(self._numbers)
        clients = self._clients(world, kind, prefix)
        history: list[Operation] = []
        try:
            at = self._trouble(world, kind, clients)
            history += [operation for client in clients for operation in client.history]
            history += self._read_all(world, clients, prefix)
            check(history)
            level(world.group, prefix)
        except AssertionError as error:
            told = history or [operation for client in clients for operation in client.history]
            raise Violated(f"{name}: {error}", told) from error
        self._clear(world, clients)
        known = [operation for operation in history if operation.result is not UNKNOWN]
        refused = sum(client.refused for client in clients)
        return Told(name, len(history), len(history) - len(known), refused, _pause(known, at), time.monotonic() - began)

    def _clients(self, world: World, kind: Kind, prefix: bytes) -> list[Client]:
        ports = world.doors if kind.has_doors else world.ports
        makers: list[type[Client]] = [*[Client] * _CLIENTS, *[Reader] * _READERS, *kind.beside]
        clients = []
        for number, make in enumerate(makers):
            chance, is_loyal = random.Random(self._chance.random()), make is Reader or number % 2 == 0
            clients.append(make(f"client{number}", ports, prefix, chance, self._values, is_loyal))
        return clients

    def _trouble(self, world: World, kind: Kind, clients: list[Client]) -> float:
        """Returns when it began, of `time.monotonic`."""
        for client in clients:
            client.start()
        try:
            time.sleep(_BEFORE_S)
            at = time.monotonic()
            mend = kind.fault(world)
            time.sleep(kind.lasts_s)
            mend()
            world.heal()
            time.sleep(_AFTER_S)
        finally:
            for client in clients:
                client.stop()
        return at

    def _read_all(self, world: World, clients: list[Client], prefix: bytes) -> list[Operation]:
        reader = Client("reader", world.ports, prefix, self._chance, self._values, loyal=False)
        reader.patience_s = 4.0
        for key in sorted({key for client in clients for key in client.keys}):
            eventually(lambda key=key: reader.ask((b"GET", key)))
        reader.hang_up()
        return reader.history

    def _clear(self, world: World, clients: list[Client]) -> None:
        """Make room for rounds to come."""
        with world.group.leader().client() as client:
            client.delete(*{key for each in clients for key in each.keys})


def _pause(known: list[Operation], at: float) -> float:
    times = sorted(each.returned for each in known if each.words[0] != b"GET" and each.result is not REFUSED)
    return max((after - before for before, after in itertools.pairwise(times) if after > at), default=0.0)


def level(group: RealGroup, prefix: bytes) -> None:
    """All servers have come to where the leader is now, and hold the same of what begins with `prefix`. Raises
    AssertionError if they do not in time.
    """
    eventually(lambda: _unlike(group, prefix), lambda unlike: not unlike, _LEVEL_S)


def _unlike(group: RealGroup, prefix: bytes) -> str:
    """How they differ; "" if they do not."""
    leader = group.leader()
    try:
        entry, held = leader.position(), _held(leader, prefix)
        for server in group.servers:
            there = server.position()
            if there < entry:
                return f"{server.port} is at entry {there}, and the leader was at {entry}"
            theirs = _held(server, prefix)
            if theirs != held:
                return f"{server.port} differs from the leader in {_different(theirs, held)}"
    except redis.RedisError as error:
        return str(error)
    return ""


def _different(theirs: dict[str, object], held: dict[str, object]) -> str:
    keys = [key for key in theirs | held if theirs.get(key) != held.get(key)]
    return ", ".join(f"{key}: {str(theirs.get(key))[:50]} for {str(held.get(key))[:50]}" for key in keys)


def _held(server: GroupServer, prefix: bytes) -> dict[str, object]:
    """All keys that begin so, with their values, and how many keys there are in all under "keys"."""
    with server.client() as client:
        if not server.leads:
            client.execute_command("READONLY")
        keys = sorted(client.scan_iter(f"{prefix.decode()}:*", count=1000))
        return {"keys": client.dbsize(), **dict(zip(keys, client.mget(keys) if keys else [], strict=True))}
