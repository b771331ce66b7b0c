"""What every figure works with: how long to measure, where the data go, and the servers it starts."""

from __future__ import annotations

import resource
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from kvstore.client.progress import Progress
from scripts.measuring.servers import ANYWHERE, MeasuredServer, Surroundings, start_kvstore, start_valkey

T = TypeVar("T")

#: A number of log entries that no measurement reaches: compactions come only when they are asked for.
NEVER_COMPACT = ("--compact-after", str(2**31 - 1))
VALKEY_NEVER_COMPACT = ("--auto-aof-rewrite-percentage", "0")

#: Time for a server to start, in seconds, with a million keys to recover and another load on the machine.
START_SECONDS = 300.0


@dataclass(frozen=True)
class Effort:
    """How much to measure. `rounds`: how often each side has its turn. `seconds`: how long a turn lasts.

    `keys`: of the figures that need a large table. `idle`: connections.
    """

    rounds: int
    seconds: float
    keys: int
    idle: int


FULL = Effort(rounds=5, seconds=2.0, keys=1_000_000, idle=5_000)
QUICK = Effort(rounds=2, seconds=0.15, keys=30_000, idle=1_000)


@dataclass(frozen=True)
class Setting:
    """Where servers and load generators run, and how kvstore is started.

    `surroundings`: of both servers. `generator_cpus`: the processors of a load generator, none for any.
    `kvstore_options`: given to kvstore after all others. `checkout`: of another kvstore, measured in Valkey's place.
    """

    surroundings: Surroundings = ANYWHERE
    generator_cpus: frozenset[int] = frozenset()
    kvstore_options: tuple[str, ...] = ()
    checkout: Path | None = None


class Bench:
    """One figure at work: a directory of its own, and servers that end with it. A context manager."""

    def __init__(self, name: str, effort: Effort, directory: Path, setting: Setting | None = None) -> None:
        self.effort = effort
        self.setting = setting or Setting()
        self.progress = Progress(f"{name:10}")
        self._cleanup = ExitStack()
        self.directory = Path(tempfile.mkdtemp(prefix=f"kvstore-{name}-", dir=directory))
        self._cleanup.callback(shutil.rmtree, self.directory, ignore_errors=True)

    def kvstore(
        self, name: str, *options: str, surroundings: Surroundings | None = None, checkout: Path | None = None
    ) -> MeasuredServer:
        """Start kvstore on the directory `name`, new or as an earlier server left it, in the setting's surroundings
        if no others are given. `checkout`: another kvstore's; it gets no options of the setting.
        """
        ours = self.setting.kvstore_options if checkout is None else ()
        return self._until_the_end(
            start_kvstore(self.directory / name, *options, *ours, seconds=START_SECONDS,
                          surroundings=surroundings or self.setting.surroundings, checkout=checkout)
        )  # fmt: skip

    def valkey(self, name: str, *options: str, surroundings: Surroundings | None = None) -> MeasuredServer:
        """Start Valkey so."""
        return self._until_the_end(
            start_valkey(self.directory / name, *options, seconds=START_SECONDS,
                         surroundings=surroundings or self.setting.surroundings)
        )  # fmt: skip

    def _until_the_end(self, server: MeasuredServer) -> MeasuredServer:
        self._cleanup.callback(server.kill)
        return server

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.progress.clear()
        self._cleanup.close()


def in_turns(sides: Sequence[T], number: int) -> list[T]:
    """The sides in the order of round `number`: each of them begins in its turn."""
    first = number % len(sides)
    return [*sides[first:], *sides[:first]]


def share(seconds: float, elapsed: float) -> str:
    """Processor time as a share of the time that passed, as text."""
    return f"{100 * seconds / elapsed:.0f} %"


def allow_files(count: int) -> None:
    """Let this process have so many files open. Raises OSError, ValueError if it may not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, max(hard, count) if hard >= 0 else hard))
