"""Look whether clients of a group see one order of everything, whatever is killed, stopped or cut off.

    scripts/group_faults --rounds 20

Three servers and three nodes of etcd, all on this machine, each server with proxies to etcd of its own. In each round
six clients send GET, SET, SET NX, GETSET, DEL and INCR to whoever leads, some of them loyal: they stay with their
server until it says that it follows. After a second something happens to servers and nodes (each fault in its turn),
and is mended after some more. Then all keys are read at the leader, and the history is checked for linearizability:
nothing acknowledged is lost, nothing read is stale.

Prints counts, and for how long nobody could write. Exit status: 0 if there was no violation, else 1.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import statistics
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack

from kvstore.client.progress import Progress
from tests.kit.etcd import Etcd
from tests.kit.group_processes import GroupServer, RealGroup
from tests.suites import program
from tests.suites.group_faults.client import Client
from tests.suites.group_faults.proxy import Proxy
from tests.suites.histories.checker import UNKNOWN, NotLinearizable, Operation, check
from tests.suites.program import positive

_CLIENTS = 6
_BEFORE_S = 1.0
_LASTS_S = 4.0
_AFTER_S = 1.5


class Rounds:
    """The group, its etcd, and what is done to them. `pauses`: seconds for which nobody could write, by the fault."""

    def __init__(self, seed: int, options: tuple[str, ...], held: ExitStack) -> None:
        self.counts: Counter[str] = Counter()
        self.pauses: dict[str, list[float]] = {}
        self._random = random.Random(seed)
        self._values = itertools.count(1)
        self._etcd = Etcd()
        held.callback(self._etcd.close)
        self._proxies: list[list[Proxy]] = []
        self.group = RealGroup(self._etcd, held.callback, *options, location=self._proxied)

    def _proxied(self) -> str:
        """Where etcd is for one server: proxies of its own."""
        self._proxies.append([Proxy(node.port) for node in self._etcd.nodes])
        return "etcd://" + ",".join(f"127.0.0.1:{proxy.port}" for proxy in self._proxies[-1])

    # Faults: each returns what mends it

    def kill_leader(self) -> Callable[[], None]:
        """kill -9 of the leader's parent."""
        leader = self.group.leader()
        leader.kill()
        return leader.start

    def kill_follower(self) -> Callable[[], None]:
        """kill -9 of a follower."""
        follower = self._random.choice(self.group.followers())
        follower.kill()
        return follower.start

    def stop_leader(self) -> Callable[[], None]:
        """SIGSTOP of the leader."""
        pid = self.group.leader().pid
        os.kill(pid, signal.SIGSTOP)
        return lambda: os.kill(pid, signal.SIGCONT)

    def cut_leader(self) -> Callable[[], None]:
        """The leader is cut off from all of etcd, not from its clients."""
        return self._cut(self.group.leader(), 3)

    def cut_half(self) -> Callable[[], None]:
        """The leader is cut off from two nodes of etcd."""
        return self._cut(self.group.leader(), 2)

    def _cut(self, server: GroupServer, count: int) -> Callable[[], None]:
        proxies = self._random.sample(self._proxies[self.group.servers.index(server)], count)

        def cut(is_cut: bool) -> None:
            for proxy in proxies:
                proxy.cut = is_cut

        cut(True)
        return lambda: cut(False)

    def kill_engine_leader(self) -> Callable[[], None]:
        """kill -9 of the node that leads etcd."""
        node = self._etcd.leader
        node.kill()
        return node.start

    def stop_engine_leader(self) -> Callable[[], None]:
        """SIGSTOP of the node that leads etcd."""
        node = self._etcd.leader
        node.stop()
        return node.go_on

    def kill_engine(self) -> Callable[[], None]:
        """kill -9 of all of etcd."""
        for node in self._etcd.nodes:
            node.kill()
        return self._etcd.heal

    def kill_both_leaders(self) -> Callable[[], None]:
        """kill -9 of the leader, and of the node that leads etcd."""
        return _all_of([self.kill_leader(), self.kill_engine_leader()])

    def stop_both_leaders(self) -> Callable[[], None]:
        """SIGSTOP of both."""
        return _all_of([self.stop_leader(), self.stop_engine_leader()])

    # A round

    def one(self, number: int, fault: Callable[[], Callable[[], None]]) -> None:
        """One history with a fault in it, checked. Raises NotLinearizable."""
        prefix = b"h%d" % number
        ports = [server.port for server in self.group.servers]
        clients = [
            Client(f"client{n}", ports, prefix, random.Random(self._random.random()), self._values, loyal=n % 2 == 0)
            for n in range(_CLIENTS)
        ]
        for client in clients:
            client.start()
        time.sleep(_BEFORE_S)
        began = time.monotonic()
        mend = fault()
        time.sleep(_LASTS_S)
        mend()
        self._etcd.heal()
        self.group.leader()
        time.sleep(_AFTER_S)
        for client in clients:
            client.stop()
        history = [operation for client in clients for operation in client.history]
        history += self._read_all(prefix, ports)
        check(history)
        self._count(fault.__name__, history, began)

    def _read_all(self, prefix: bytes, ports: list[int]) -> list[Operation]:
        reader = Client("reader", ports, prefix, self._random, self._values, loyal=False)
        for key in [b"%b:string:%d" % (prefix, n) for n in range(3)] + [b"%b:counter:%d" % (prefix, n) for n in (0, 1)]:
            while not reader.ask((b"GET", key)):
                pass
        return reader.history

    def _count(self, name: str, history: list[Operation], began: float) -> None:
        known = [operation for operation in history if operation.result is not UNKNOWN]
        self.counts["operations"] += len(history)
        self.counts["unknown outcomes"] += len(history) - len(known)
        self.counts[f"rounds of {name}"] += 1
        times = sorted(operation.returned for operation in known if operation.words[0] != b"GET")
        pauses = [after - before for before, after in itertools.pairwise(times) if after > began]
        self.pauses.setdefault(name, []).append(max(pauses, default=0.0))


def _all_of(calls: list[Callable[[], None]]) -> Callable[[], None]:
    def call_all() -> None:
        for call in calls:
            call()

    return call_all


def main() -> int:
    """Make trouble. Returns the exit status."""
    parser = program.parser_of("group_faults", __doc__)
    parser.add_argument("--rounds", type=positive, default=20, metavar="N", help="(default %(default)s)")
    parser.add_argument("--fault", metavar="NAME", help="only this one")
    parser.add_argument("--reads", choices=["lease", "quorum"], default="lease", help="(default %(default)s)")
    arguments = parser.parse_args()
    seed = program.seed_of(arguments)
    print(f"scripts/group_faults --rounds {arguments.rounds} --reads {arguments.reads} --seed {seed}", flush=True)
    violation = None
    with ExitStack() as held:
        rounds = Rounds(seed, ("--reads", arguments.reads), held)
        faults = [
            rounds.kill_leader, rounds.stop_leader, rounds.cut_leader, rounds.kill_engine_leader, rounds.cut_half,
            rounds.kill_follower, rounds.stop_engine_leader, rounds.kill_engine, rounds.kill_both_leaders,
            rounds.stop_both_leaders,
        ]  # fmt: skip
        chosen = [fault for fault in faults if arguments.fault in (None, fault.__name__)]
        progress = Progress("rounds")
        try:
            for number, fault in zip(range(arguments.rounds), itertools.cycle(chosen), strict=False):
                progress.show(number / arguments.rounds)
                rounds.one(number, fault)
        except NotLinearizable as error:
            violation = error
        progress.clear()
        counts = [(name, count) for name, count in sorted(rounds.counts.items())]
        counts += [
            (f"seconds without a write, {name}", f"median {statistics.median(each):.2f}, most {max(each):.2f}")
            for name, each in rounds.pauses.items()
        ]
    program.print_counts(counts, violation)
    return 1 if violation else 0


if __name__ == "__main__":
    program.run(main)
