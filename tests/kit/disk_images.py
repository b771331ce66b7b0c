"""What crashes can leave of a simulated disk, and files that are wholly on one."""

from __future__ import annotations

from typing import Any

from kvstore.testing.simulated_disk import SimulatedDisk


def distinct(disk: SimulatedDisk, limit: int = 100_000) -> list[dict[str, bytes]]:
    """Every different state that a crash now can leave."""
    found: dict[tuple[tuple[str, bytes], ...], dict[str, bytes]] = {}
    for state in disk.crashes(limit):
        contents = state.contents()
        found[tuple(contents.items())] = contents
    return list(found.values())


def images(disk: SimulatedDisk, name: str = "a") -> set[bytes | None]:
    """Every different content of a file, None where it is missing, that a crash now can leave."""
    return {state.get(name) for state in distinct(disk)}


def synced(disk: SimulatedDisk, name: str, data: bytes) -> Any:
    """An open file that is wholly on disk, its name included."""
    file = disk.create(name)
    file.write_at(0, data)
    file.sync()
    disk.sync_directory()
    return file
