"""How long a server with an empty directory takes to join a group, of three servers over three nodes of etcd on this
machine: `scripts/group_join`.

Keys are written, and the log is trimmed behind them; then one server starts with nothing.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import NamedTuple

from tests.kit.etcd import shared_etcd
from tests.kit.group_processes import GroupServer, RealGroup

_PATIENCE_S = 600.0
#: Requests of a pipeline.
_AT_ONCE = 1000


class Joined(NamedTuple):
    """Seconds from the start of the server with nothing."""

    listens_s: float
    fetched_s: float
    recovered_s: float
    has_all_s: float

    def steps(self) -> list[tuple[str, float]]:
        """What it had done, and after how many seconds."""
        said = ("listens", "has fetched a checkpoint", "has recovered a checkpoint", "has all")
        return list(zip(said, self, strict=True))


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--bytes", type=int, default=100, help="of each value")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        joined = join(RealGroup(shared_etcd(), stack.callback), arguments.keys, arguments.bytes)
    print(f"{arguments.keys} keys with {arguments.bytes} bytes each")
    for what, seconds in joined.steps():
        print(f"{what} after {seconds:.1f} s")


def join(group: RealGroup, keys: int, size_bytes: int) -> Joined:
    """Fill the group, trim its log, have one server lose all data, and start it. `size_bytes`: of each value."""
    leader = group.leader()
    _until(lambda: len(leader.role()[2]) == len(group.servers) - 1)
    new, other = group.followers()
    new.kill()
    _fill(leader, keys, size_bytes)
    for server in (leader, other):
        with server.client() as client:
            client.execute_command("GROUP", "TRIM")
    leader.process.wait_for_line(lambda line: "leave the log" in line, _PATIENCE_S)
    new.forget()
    began = time.monotonic()
    new.start()
    seconds = [time.monotonic() - began]
    for words in ("was fetched", "begins with the checkpoint"):
        new.process.wait_for_line(lambda line, words=words: words in line, _PATIENCE_S)
        seconds.append(time.monotonic() - began)
    _until(lambda: (new.role() or [""] * 5)[4] == leader.role()[1])
    return Joined(*seconds, time.monotonic() - began)


def _fill(leader: GroupServer, keys: int, size_bytes: int) -> None:
    with leader.client() as client:
        for first in range(0, keys, _AT_ONCE):
            with client.pipeline(transaction=False) as pipeline:
                for number in range(first, min(keys, first + _AT_ONCE)):
                    pipeline.set(f"key:{number:09}", f"{number:0{size_bytes}}")
                pipeline.execute()


def _until(happens: Callable[[], bool]) -> None:
    ends = time.monotonic() + _PATIENCE_S
    while not happens():
        if time.monotonic() > ends:
            raise TimeoutError("it did not happen")
        time.sleep(0.05)


if __name__ == "__main__":
    main()
