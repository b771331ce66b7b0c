"""What has no room any more, and how that is seen: a server's disk, and etcd."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

import redis

from kvstore.base.limits import KIB
from tests.kit.group_processes import GroupServer


class Ballast:
    """A file beside the data directory `data` that takes all the room of its file system, until it is removed."""

    def __init__(self, data: str) -> None:
        self._path = Path(data).parent / "ballast"
        with contextlib.suppress(OSError), self._path.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(64 * KIB))
        if os.statvfs(self._path).f_bavail:
            raise RuntimeError(f"{self._path} does not fill its file system")

    def remove(self) -> None:
        """There is room again."""
        self._path.unlink()


def is_refused(server: GroupServer) -> bool:
    """Whether this leader refuses a write that makes the data grow; it does it if not."""
    return _write(server).startswith("MISCONF")


def is_taken(server: GroupServer) -> bool:
    """Whether it takes one."""
    return _write(server) == ""


def _write(server: GroupServer) -> str:
    try:
        with server.client() as client:
            client.set("probe", "x")
    except redis.RedisError as error:
        return str(error)
    return ""


def soft_limits(log: Iterable[str]) -> list[str]:
    """The lines in which a server says that etcd is half full."""
    return [line for line in log if "compacting, to trim it" in line]
