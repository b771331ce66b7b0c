"""The group that a round does something to, its etcd, and what stands between them; and settings, what some faults ask
of these: each setting is a group, and an etcd, of its own.
"""

from __future__ import annotations

import glob
import os
import random
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from kvstore.base.limits import MIB
from tests.kit.etcd import Etcd, Node
from tests.kit.group_processes import GroupServer, RealGroup
from tests.kit.server_process import new_directory
from tests.suites.group_faults.proxy import Proxy

_QUOTA_BYTES = 16 * MIB
_SMALL_DISK_BYTES = 16 * MIB
_SHARED_MEMORY = "/dev/shm/*faketime_s*_*"
_FAKETIME = "/usr/lib/*/faketime/libfaketime.so.1"


class Setting(NamedTuple):
    """What the servers and etcd are like. `clocks`: the servers' wall clocks can be set; `small_disks`: each server has
    a file system of its own; `quota_bytes`: of etcd, 0 for its own.
    """

    clocks: bool = False
    small_disks: bool = False
    quota_bytes: int = 0

    def missing(self) -> str:
        """Why it cannot be had here; "" if it can."""
        if self.clocks and not glob.glob(_FAKETIME):
            return "libfaketime is not installed (Debian: faketime)"
        if self.small_disks and (os.geteuid() != 0 or shutil.which("mount") is None):
            return "mounting a file system takes root"
        return ""


PLAIN = Setting()
CLOCKS = Setting(clocks=True)
SMALL_DISKS = Setting(small_disks=True)
SMALL_ETCD = Setting(quota_bytes=_QUOTA_BYTES)


class World:
    """Three servers over three nodes of etcd. `chance`: what is drawn from. `options`: the servers'. `held`: closes
    all.

    `clocks`: of each server, if they can be set; `most_ahead_s`: by which one was ever set forward.
    """

    def __init__(self, setting: Setting, chance: random.Random, options: tuple[str, ...], held: ExitStack) -> None:
        self.chance = chance
        self.most_ahead_s = 0
        self._setting = setting
        self._held = held
        self._wires: list[list[Proxy]] = []
        self.clocks: list[Clock] = []
        quota = ("--quota-backend-bytes", str(setting.quota_bytes)) if setting.quota_bytes else ()
        if setting.clocks:
            held.callback(_remove_shared_memory, set(glob.glob(_SHARED_MEMORY)))
        self.etcd = Etcd(*quota)
        held.callback(self.etcd.close)
        self.group = RealGroup(
            self.etcd, held.callback, *options, location=self._wired,
            directory=self._small_disk if setting.small_disks else None,
            changes=self._clock if setting.clocks else dict,
        )  # fmt: skip
        self._doors = [Proxy(server.port) for server in self.group.servers]
        for door in self._doors:
            held.callback(door.close)

    def _wired(self) -> str:
        """Where etcd is for one server: proxies of its own."""
        self._wires.append([Proxy(node.port) for node in self.etcd.nodes])
        for wire in self._wires[-1]:
            self._held.callback(wire.close)
        quota = f"?quota={self._setting.quota_bytes}" if self._setting.quota_bytes else ""
        return "etcd://" + ",".join(f"127.0.0.1:{wire.port}" for wire in self._wires[-1]) + quota

    def _small_disk(self) -> str:
        directory = new_directory(self._held.callback)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_SMALL_DISK_BYTES}", "tmpfs", directory], check=True)
        self._held.callback(subprocess.run, ["umount", "--lazy", directory], check=True)
        return os.path.join(directory, "data")

    def _clock(self) -> dict[str, str]:
        self.clocks.append(Clock(Path(new_directory(self._held.callback))))
        return self.clocks[-1].environment

    # What faults ask for

    @property
    def servers(self) -> list[GroupServer]:
        """All of them."""
        return self.group.servers

    @property
    def ports(self) -> list[int]:
        """Where clients come that nothing stands before."""
        return [server.port for server in self.servers]

    @property
    def doors(self) -> list[int]:
        """Where clients come that can be cut off from a server."""
        return [door.port for door in self._doors]

    def wires_of(self, server: GroupServer) -> list[Proxy]:
        """Those between a server and each node of etcd."""
        return self._wires[self.servers.index(server)]

    def door_of(self, server: GroupServer) -> Proxy:
        """That between clients and a server."""
        return self._doors[self.servers.index(server)]

    def clock_of(self, server: GroupServer) -> Clock:
        """That by which a server goes."""
        return self.clocks[self.servers.index(server)]

    def engine_followers(self) -> list[Node]:
        """The nodes of etcd that do not lead it."""
        leader = self.etcd.leader
        return [node for node in self.etcd.nodes if node is not leader]

    def heal(self) -> None:
        """All servers run, and one leads; etcd serves."""
        self.etcd.heal()
        for server in self.servers:
            if not server.process.running:
                server.start()
        self.group.leader()


def _remove_shared_memory(before: set[str]) -> None:
    """What libfaketime has left since of processes that have ended: it never does so itself."""
    for path in set(glob.glob(_SHARED_MEMORY)) - before:
        if not os.path.exists(f"/proc/{path.rpartition('_')[2]}"):
            os.unlink(path)


class Clock:
    """A wall clock that can be set, of the processes with this `environment`. Not their CLOCK_BOOTTIME, nor
    CLOCK_MONOTONIC: this looks whether that is so.
    """

    def __init__(self, directory: Path) -> None:
        self._stamp = directory / "stamp"
        self.environment = {
            "LD_PRELOAD": glob.glob(_FAKETIME)[0],
            "FAKETIME_TIMESTAMP_FILE": str(self._stamp),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_CACHE_DURATION": "1",
        }
        self.set(100_000)
        look = "import time; print(time.time(), time.monotonic(), time.clock_gettime(time.CLOCK_BOOTTIME))"
        words = [sys.executable, "-c", look]
        true = [float(each) for each in subprocess.check_output(words).split()]
        seen = [float(each) for each in subprocess.check_output(words, env={**os.environ, **self.environment}).split()]
        self.set(0)
        shift = [round((after - before) / 100_000) for before, after in zip(true, seen, strict=True)]
        if shift != [1, 0, 0]:
            raise RuntimeError(f"libfaketime shifts the wall clock, the monotonic one and that of boot by {shift}")

    def set(self, ahead_s: int) -> None:
        """So many seconds before the true time. Seen within a second."""
        new = self._stamp.with_suffix(".new")
        new.write_text(f"{ahead_s:+d}\n", encoding="ascii")
        new.replace(self._stamp)
