"""Worlds in several processes: blocks of seeds, each the next free process's.

A process gets its blocks over a pipe of its own, whose other end is gone with whoever started it: then it ends, too.
"""

from __future__ import annotations

import contextlib
import gc
import signal
import traceback
from collections import Counter
from collections.abc import Iterator
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

from twisted.logger import globalLogBeginner

from tests.suites.replicas.history import Violation
from tests.suites.simulated_groups.process import Killed
from tests.suites.simulated_groups.world import World, run

#: So many seeds take a process a second, or less.
BLOCK = 16


class Failed(NamedTuple):
    """What does not hold in the world of that seed."""

    seed: int
    text: str


class Block(NamedTuple):
    """What was done in worlds, up to the first in which something does not hold."""

    counts: Counter[str]
    failed: Failed | None = None


def ways_of(seed: int) -> dict[str, Any]:
    """How the world of a seed is: in every other one the wall clocks jump, in every fourth those of leases stand still,
    and reads go through the quorum.
    """
    by_quorum = seed % 4 == 3
    return {"reads": "quorum" if by_quorum else "lease", "clocks_stand": by_quorum, "walls_jump": seed % 2 == 1}


def counted(world: World) -> Counter[str]:
    """What was done in a world."""
    return Counter(
        worlds=1,
        entries=world.log.head,
        leaders=world.truth.entries[-1].epoch,
        trimmed=world.log.first - 1,
        kills=world.kills,
        operations=len(world.history),
        reads_at_followers=sum(reader.reads for reader in world.readers),
    )


def run_block(seeds: range) -> Block:
    """Run worlds, one after the other, until something does not hold: a bug of the suite does not, either."""
    counts: Counter[str] = Counter()
    for seed in seeds:
        try:
            counts += counted(run(seed, **ways_of(seed)))
        except Violation as violation:
            return Block(counts, Failed(seed, str(violation)))
        except (Exception, Killed):
            return Block(counts, Failed(seed, traceback.format_exc()))
        gc.collect()
    return Block(counts)


def prepare_process() -> None:
    """Make worlds cheaper in this process, which does nothing else. To be called once, when all is imported.

    A world is one circle of objects, which is garbage when it is over: to look for it before that takes long, and what
    was imported is none. What servers log goes nowhere, but to who looks for bugs.
    """
    globalLogBeginner.beginLoggingTo([], discardBuffer=True, redirectStandardIO=False)
    gc.collect()
    gc.freeze()
    gc.disable()


def run_blocks(seeds: range, jobs: int) -> Iterator[Block]:
    """Run the worlds of all seeds in so many processes, 1: in this one. Yields what was done, a block at a time.

    When something does not hold no more are begun; those under way are ended, since their seeds may be lower.
    """
    blocks = (seeds[at : at + BLOCK] for at in range(0, len(seeds), BLOCK))
    if jobs > 1 and len(seeds) > BLOCK:
        yield from _in_processes(blocks, jobs)
        return
    for block in blocks:
        done = run_block(block)
        yield done
        if done.failed:
            return


def _in_processes(blocks: Iterator[range], jobs: int) -> Iterator[Block]:
    context = get_context("spawn")
    working: dict[Connection, range] = {}
    processes = []
    try:
        for _, block in zip(range(jobs), blocks, strict=False):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs,), daemon=True)
            process.start()
            processes.append(process)
            theirs.close()
            ours.send(block)
            working[ours] = block
        while working:
            for ready in wait(list(working)):
                assert isinstance(ready, Connection)
                done = _received(ready, working.pop(ready))
                yield done
                if done.failed:
                    blocks = iter(())
                elif block := next(blocks, range(0)):
                    ready.send(block)
                    working[ready] = block
    finally:
        for process in processes:
            process.terminate()


def _received(pipe: Connection, seeds: range) -> Block:
    try:
        block: Block = pipe.recv()
    except EOFError:
        return Block(Counter(), Failed(seeds.start, f"its process ended, in one of the seeds {seeds}"))
    return block


def _work(pipe: Connection) -> None:
    """A process: whoever started it hears of Ctrl-C, and ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    prepare_process()
    with contextlib.suppress(EOFError):
        while True:
            pipe.send(run_block(pipe.recv()))
