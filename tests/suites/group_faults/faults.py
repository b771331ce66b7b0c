"""What can happen to a group: each fault is a function that does it, and returns what mends it. The table of all is
`KINDS`.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tests.kit.etcd import Node
from tests.kit.group_processes import GroupServer
from tests.kit.server_process import eventually
from tests.suites.group_faults.client import Client, FillingClient, LargeClient
from tests.suites.group_faults.filling import Ballast, is_refused, is_taken, soft_limits
from tests.suites.group_faults.proxy import Proxy
from tests.suites.group_faults.world import CLOCKS, PLAIN, SMALL_DISKS, SMALL_ETCD, Setting, World

Mend = Callable[[], object]


def _all_of(calls: Sequence[Mend]) -> Mend:
    return lambda: [call() for call in calls]


# kill -9


def _kill(*killed: GroupServer | Node) -> Mend:
    for each in killed:
        each.kill()
    return _all_of([each.start for each in killed])


def kill_leader(world: World) -> Mend:
    """Of the leader's parent."""
    return _kill(world.group.leader())


def kill_follower(world: World) -> Mend:
    """Of a follower."""
    return _kill(world.chance.choice(world.group.followers()))


def kill_engine_leader(world: World) -> Mend:
    """Of the node that leads etcd."""
    return _kill(world.etcd.leader)


def kill_engine_follower(world: World) -> Mend:
    """Of another node of etcd."""
    return _kill(world.chance.choice(world.engine_followers()))


def kill_engine(world: World) -> Mend:
    """Of all of etcd."""
    return _kill(*world.etcd.nodes)


def kill_both_leaders(world: World) -> Mend:
    """Of the leader, and of the node that leads etcd."""
    return _kill(world.group.leader(), world.etcd.leader)


def kill_two_servers(world: World) -> Mend:
    """Of any two."""
    return _kill(*world.chance.sample(world.servers, 2))


def kill_server_and_engine_follower(world: World) -> Mend:
    """Of any server, and of a node that does not lead etcd."""
    return _kill(world.chance.choice(world.servers), world.chance.choice(world.engine_followers()))


def kill_two_engine_nodes(world: World) -> Mend:
    """Of any two nodes of etcd."""
    return _kill(*world.chance.sample(world.etcd.nodes, 2))


# SIGSTOP


def _stop(servers: Sequence[GroupServer], nodes: Sequence[Node] = ()) -> Mend:
    pids = [server.pid for server in servers]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    for node in nodes:
        node.stop()
    return lambda: [os.kill(pid, signal.SIGCONT) for pid in pids] + [node.go_on() for node in nodes]


def stop_leader(world: World) -> Mend:
    """Of the leader."""
    return _stop([world.group.leader()])


def stop_follower(world: World) -> Mend:
    """Of a follower."""
    return _stop([world.chance.choice(world.group.followers())])


def stop_engine_leader(world: World) -> Mend:
    """Of the node that leads etcd."""
    return _stop([], [world.etcd.leader])


def stop_engine_follower(world: World) -> Mend:
    """Of another node of etcd."""
    return _stop([], [world.chance.choice(world.engine_followers())])


def stop_both_leaders(world: World) -> Mend:
    """Of both."""
    return _stop([world.group.leader()], [world.etcd.leader])


def stop_two_servers(world: World) -> Mend:
    """Of any two."""
    return _stop(world.chance.sample(world.servers, 2))


def stop_server_and_engine_follower(world: World) -> Mend:
    """Of any server, and of a node that does not lead etcd."""
    return _stop([world.chance.choice(world.servers)], [world.chance.choice(world.engine_followers())])


def stop_two_engine_nodes(world: World) -> Mend:
    """Of any two nodes of etcd."""
    return _stop([], world.chance.sample(world.etcd.nodes, 2))


# Cuts


def _cut(proxies: Sequence[Proxy]) -> Mend:
    def cut(is_cut: bool) -> None:
        for proxy in proxies:
            proxy.cut = is_cut

    cut(True)
    return lambda: cut(False)


def cut_leader(world: World) -> Mend:
    """The leader is cut off from all of etcd, not from its clients."""
    return _cut(world.wires_of(world.group.leader()))


def cut_half(world: World) -> Mend:
    """The leader is cut off from two nodes of etcd."""
    return _cut(world.chance.sample(world.wires_of(world.group.leader()), 2))


def cut_clients(world: World) -> Mend:
    """The leader is cut off from its clients, not from etcd: it goes on leading."""
    return _cut([world.door_of(world.group.leader())])


# Clocks


def set_clocks(world: World) -> Mend:
    """The servers' wall clocks are set, each otherwise: the leader's forward, by more than ever before; the others
    anywhere. Mended, all are right again, so the leader's goes back.
    """
    leader = world.group.leader()
    world.most_ahead_s += world.chance.randrange(60, 7200)
    for server in world.servers:
        anywhere = world.chance.choice([-86_400, -3600, -30, 30, 3600])
        world.clock_of(server).set(world.most_ahead_s if server is leader else anywhere)
    eventually(lambda: _ahead_s(leader), lambda seen: seen > world.most_ahead_s - 60)
    return lambda: [clock.set(0) for clock in world.clocks]


def _ahead_s(server: GroupServer) -> float:
    with server.client() as client:
        return float(client.time()[0]) - time.time()


# Servers that join


def join(world: World) -> Mend:
    """A follower loses its directory, and the log is trimmed, so that it begins with the checkpoint of another."""
    leader = world.group.leader()
    new = world.chance.choice(world.group.followers())
    new.kill()
    new.forget()
    _trim(leader, world.servers)
    return lambda: _join(new)


def join_by_the_last(world: World) -> Mend:
    """The leader and a follower lose their directories, when the log was trimmed up to what only they have in their
    checkpoints. The third server makes one, by which they join.
    """
    leader = world.group.leader()
    other, last = world.chance.sample(world.group.followers(), 2)
    _trim(leader, [leader, other])
    entry = leader.position()
    eventually(last.position, lambda seen: seen >= entry)
    for each in (leader, other):
        each.kill()
        each.forget()
    return lambda: _join(leader, other)


def _join(*servers: GroupServer) -> None:
    for server in servers:
        server.start()
    for server in servers:
        server.process.wait_for_line(lambda line: "begins with the checkpoint" in line)


def _trim(leader: GroupServer, servers: Sequence[GroupServer]) -> None:
    """As `kvstore group trim`: those that run compact, and the leader trims the log as far as may be."""
    since = len(leader.process.log)
    for server in servers:
        if server.process.running:
            with server.client() as client:
                client.execute_command("GROUP", "TRIM")
    eventually(lambda: [line for line in leader.process.log[since:] if "leave the log" in line])


# Nothing has room


def _fill(server: GroupServer, says: str) -> Mend:
    """Fill its file system. Mended when the server has noticed: its log `says` so."""
    since = len(server.process.log)
    ballast = Ballast(server.data)

    def mend() -> None:
        eventually(lambda: [line for line in server.process.log[since:] if says in line])
        ballast.remove()

    return mend


def full_disk_leader(world: World) -> Mend:
    """The file system of the leader is full, to the last byte."""
    return _fill(world.group.leader(), "a write was refused: ")


def full_disk_follower(world: World) -> Mend:
    """The same, of a follower."""
    return _fill(world.chance.choice(world.group.followers()), "waits for room: ")


def engine_quota(world: World) -> Mend:
    """Etcd gets full, while followers that stand still make no checkpoint by which the log could be trimmed: past the
    soft limit the leader compacts, past the hard one writes are refused. Mended, when the followers have caught up and
    the log is trimmed, they are taken again.
    """
    leader = world.group.leader()
    go_on = _stop(world.group.followers())
    eventually(lambda: is_refused(leader))
    eventually(
        lambda: soft_limits(leader.process.log)
    )  # or in a round before: it may have been past that all the while

    def mend() -> None:
        go_on()
        entry = leader.position()
        eventually(lambda: [server.position() for server in world.servers], lambda seen: min(seen) >= entry)
        _trim(world.group.leader(), world.servers)
        eventually(lambda: is_taken(world.group.leader()))

    return mend


class Kind(NamedTuple):
    """A kind of fault. `setting`: what it asks for; `beside`: clients besides the usual ones; `lasts_s`: from the fault
    to its mending; `has_doors`: clients come through what can be cut.
    """

    fault: Callable[[World], Mend]
    setting: Setting = PLAIN
    beside: Sequence[type[Client]] = ()
    lasts_s: float = 2.5
    has_doors: bool = False


def large_frames(world: World) -> Mend:
    """The leader is killed, amid entries of more than 1 MiB."""
    return kill_leader(world)


_ALL = [
    Kind(kill_leader), Kind(stop_leader), Kind(cut_leader), Kind(kill_engine_leader), Kind(cut_half),
    Kind(kill_follower), Kind(stop_engine_leader), Kind(kill_engine), Kind(kill_both_leaders), Kind(stop_both_leaders),
    Kind(stop_follower), Kind(kill_engine_follower), Kind(stop_engine_follower), Kind(kill_two_servers),
    Kind(stop_two_servers), Kind(kill_server_and_engine_follower), Kind(stop_server_and_engine_follower),
    Kind(kill_two_engine_nodes), Kind(stop_two_engine_nodes), Kind(cut_clients, has_doors=True),
    Kind(join, lasts_s=0.0), Kind(join_by_the_last, lasts_s=0.0),
    Kind(large_frames, beside=[LargeClient, LargeClient]), Kind(set_clocks, CLOCKS),
    Kind(full_disk_leader, SMALL_DISKS), Kind(full_disk_follower, SMALL_DISKS),
    Kind(engine_quota, SMALL_ETCD, beside=[FillingClient], lasts_s=0.5),
]  # fmt: skip

#: All of them by name, those of one setting together.
KINDS: dict[str, Kind] = {kind.fault.__name__: kind for kind in _ALL}
