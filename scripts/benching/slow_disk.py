"""Cases on a disk whose syncs take 5 ms longer: who waits for them?

A library loaded before libc (`scripts/measuring/slow_sync.c`) delays each sync of either server. One that waits for its
sync in its event loop answers nobody meanwhile, so its readers are as slow as its disk; one that does not goes on. A
server whose syncs the library does not reach would look fast: a SET must take as long as the delay, or the case fails.

Rejected: a device with a delay (dm-delay is not in every kernel, and takes root), a simulated disk (not for Valkey).
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from scripts.benching.case import Case, Measures, start
from scripts.benching.commits import CommitCounters
from scripts.benching.loops import KEYS, SKIP_SECONDS, VALUE_BYTES, readers_and_writers, with_kinds
from scripts.measuring import generator
from scripts.measuring.bench import Bench
from scripts.measuring.generator import Generator, compile_c
from scripts.measuring.load import WrongReply, load_keys

DELAY_MS = 5.0
SLOW_DISK = "slow-disk"
GROUP_TITLES = {SLOW_DISK: f"A disk whose syncs take {DELAY_MS:g} ms longer"}

#: The length of a turn, in those of the others: a sync is a large part of a short one.
_TIMES_AS_LONG = 2

_SOURCE = Path(generator.__file__).with_name("slow_sync.c")


class SlowStation:
    """One server with slow syncs, and so many readers and writers."""

    def __init__(self, bench: Bench, side: str, readers: int, writers: int) -> None:
        library = bench.directory / "slow_sync.so"
        if not library.exists():
            compile_c(_SOURCE, library, "-shared", "-fPIC")
        variables = (("SLOW_SYNC_US", f"{DELAY_MS * 1000:.0f}"),)
        slow = dataclasses.replace(bench.setting.surroundings, preload=library, variables=variables)
        self._server = start(bench, side, surroundings=slow)
        load_keys(self._server.port, KEYS, VALUE_BYTES)
        groups = [group for group in readers_and_writers(readers, writers) if group.clients]
        self._generator = Generator(bench.directory, groups, bench.setting.generator_cpus)
        self._seconds = bench.effort.seconds * _TIMES_AS_LONG
        self._commits = CommitCounters(self._server)

    def warm_up(self) -> None:
        """A short turn, in which every SET must be as slow as the disk. Raises WrongReply."""
        found = self._generator.run(self._server.port, self._seconds / 3)
        if "SET" in found.by_kind and found.by_kind["SET"].p50_ms < DELAY_MS:
            raise WrongReply(
                f"{self._server.name}: a SET takes {found.by_kind['SET'].p50_ms:.2f} ms, less than the sync it should"
                " wait for: the library that delays syncs does not see them"
            )

    def take_turn(self) -> Measures:
        """One run of the generator."""
        self._commits.begin()
        turn = self._generator.take_turn(self._server, self._seconds, SKIP_SECONDS)
        return with_kinds(*turn) | self._commits.measures()


def _case(name: str, readers: int, writers: int) -> Case:
    parts = [f"{clients} {what}" for clients, what in ((readers, "GET"), (writers, "SET")) if clients]
    return Case(name, SLOW_DISK, " beside ".join(parts), lambda bench, side: SlowStation(bench, side, readers, writers))


def cases() -> list[Case]:
    """Readers alone, which no disk should matter to; readers beside writers; writers alone."""
    return [
        _case("slow-disk-gets", 50, 0),
        _case("slow-disk-gets-beside-5-writers", 50, 5),
        _case("slow-disk-set-50", 0, 50),
    ]
