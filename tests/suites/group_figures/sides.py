"""A group and a server by itself, on one machine, asked in turns; and who of them uses the processors."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from kvstore.testing.server_process import ServerProcess
from scripts.measuring.processes import running_ns
from tests.kit.etcd import Etcd, Node
from tests.kit.group_processes import GroupServer, RealGroup
from tests.kit.server_process import eventually, new_directory

GROUP, LOCAL = "group", "local"

#: Who uses a processor, in the order of the tables.
SERVER, FOLLOWERS, LEADING_NODE, NODES, GENERATOR = (
    "server", "two followers", "etcd's leader", "etcd's two others", "generator",
)  # fmt: skip


class Meter:
    """Seconds: what has passed, and what of a processor each has used. `idle`: the group's, while another is asked."""

    def __init__(self) -> None:
        self.elapsed_s = 0.0
        self.used_s: dict[str, float] = {}
        self.idle_s = 0.0

    @property
    def busy(self) -> float:
        """What part of all processors was used by those who are measured, the idle ones included."""
        return (sum(self.used_s.values()) + self.idle_s) / self.elapsed_s / (os.cpu_count() or 1)


class Standing:
    """A group over an etcd of its own, which has a leader that knows of all others. `held` ends it. `options`: of each
    server.
    """

    def __init__(self, held: ExitStack, *options: str) -> None:
        self.etcd = Etcd()
        held.callback(self.etcd.close)
        self.group = RealGroup(self.etcd, held.callback, *options)
        self.wait_for_all()

    def wait_for_all(self) -> GroupServer:
        """Wait until one leads, the others follow, and have all that it has. Returns it."""
        found = eventually(self._leader_of_all)
        assert found is not None
        return found

    def _leader_of_all(self) -> GroupServer | None:
        said = [(server, server.role()) for server in self.group.servers]
        leading = [(server, role) for server, role in said if role and role[0] == "master"]
        following = [role for _, role in said if role and role[0] == "slave"]
        if len(leading) != 1 or len(following) != len(said) - 1:
            return None
        leader, role = leading[0]
        knows_all = len(role[2]) == len(following)
        # The log gets entries without any request, twice a second.
        return leader if knows_all and all(int(each[4]) >= int(role[1]) - 1 for each in following) else None


class Sides(Standing):
    """The same, and a server by itself that syncs before each reply."""

    def __init__(self, held: ExitStack, *options: str) -> None:
        super().__init__(held, *options)
        self._local = ServerProcess("--sync", "always", data=new_directory(held.callback))
        held.callback(self._local.kill)

    def server(self, side: str) -> tuple[int, int]:
        """Whom to ask: its port, its process."""
        if side == LOCAL:
            return self._local.port, self._local.pid
        leader = self.group.leader()
        return leader.port, leader.pid

    def processes(self, side: str) -> dict[str, list[int]]:
        """Processes by who they are; of LOCAL the server only."""
        if side == LOCAL:
            return {SERVER: [self._local.pid]}
        leader, leading = self.group.leader(), self.etcd.leader
        return {
            SERVER: [leader.pid],
            FOLLOWERS: [server.pid for server in self.group.servers if server is not leader],
            LEADING_NODE: [leading.pid],
            NODES: [node.pid for node in self._others(leading)],
        }

    def _others(self, leading: Node) -> list[Node]:
        return [node for node in self.etcd.nodes if node is not leading]

    @contextmanager
    def metered(self, side: str) -> Iterator[Meter]:
        """Afterwards the meter says who was busy. Children of this process that end meanwhile are the generator."""
        meter = Meter()
        asked = self.processes(side)
        idle = [pid for pids in self.processes(GROUP).values() for pid in pids] if side == LOCAL else []
        before = _now(asked, idle)
        yield meter
        after = _now(asked, idle)
        meter.elapsed_s = after.pop("elapsed") - before.pop("elapsed")
        meter.idle_s = after.pop("idle") - before.pop("idle")
        meter.used_s = {name: after[name] - before[name] for name in after}


def _now(asked: dict[str, list[int]], idle: list[int]) -> dict[str, float]:
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = {name: sum(map(running_ns, pids)) / 1e9 for name, pids in asked.items()}
    found |= {GENERATOR: ended.ru_utime + ended.ru_stime, "idle": sum(map(running_ns, idle)) / 1e9}
    return found | {"elapsed": time.perf_counter()}
