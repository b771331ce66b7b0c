"""How a directory of a group becomes that of a server by itself, for good: by a frame that is no entry of any log.

For whoever has lost the group, or wants to go on with one server's data alone. A server by itself refuses a directory
of a group, since its first write would do the same unasked. The frame begins a history, as that of any start that
writes; the number before it is the last entry that the directory has. What it has fetched to join with is taken first,
as the newest state there is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kvstore.base.disk import Disk
from kvstore.base.errors import KVStoreError
from kvstore.base.limits import MOST_DATABASES
from kvstore.base.value_type import Types
from kvstore.store import joining
from kvstore.store.recovery import Recovered
from kvstore.store.store import Store


def leave_group(disk: Disk, types: Types, now_us: Callable[[], int], random_bytes: Callable[[int], bytes]) -> int:
    """Make a directory that of a server by itself; returns the last entry of the group's log in it.

    The arguments are those of `Store`. Raises KVStoreError if it is of no group; DirectoryInUse, DamagedStore, OSError.
    Durability: on disk when this returns; a crash before leaves it the group's.
    """
    store = _Leaving(disk, types, now_us, random_bytes, databases=MOST_DATABASES)
    try:
        if not store.lineage.entry:
            raise KVStoreError(f"{disk.describe('')}: it is of no group, but a server's by itself")
        commit = store.close_commit(even_if_empty=True)
        assert commit is not None
        store.write(commit)
        store.sync()
        store.settle(commit, durable=True)
        store.mark_and_sync()
        return commit.sequence - 1
    finally:
        store.close()


class _Leaving(Store):
    """Opens what no other store that is no group's would."""

    may_be_of_group = True

    def _recovered(self, disk: Disk, *arguments: Any) -> Recovered:
        """See `Store`."""
        _, now_us, random_bytes, _ = arguments
        joining.complete(disk, now_us(), random_bytes)
        return super()._recovered(disk, *arguments)
