"""Sealing the log: the live log gets the name of a segment, and a fresh one takes its place.

A crash in between leaves no live log, but a segment that is not marked sealed: that one is it, see `examine`; what is
left to do then is in `recovery`. The directory is synced between the steps: else a power cut could keep the second and
lose the first, and with it the only name of the sealed segment. No step needs a second name of a file: FAT and others
have none.
"""

from __future__ import annotations

import contextlib
import errno

from kvstore.base.disk import Disk
from kvstore.base.errors import StorageFault, StorageFull
from kvstore.base.files import publish, temporary
from kvstore.store.examine import LIVE, segment_name
from kvstore.store.log import LogHeader, Purpose, TransactionLog, create_log


def switch_logs(disk: Disk, old: TransactionLog, header: LogHeader, size_bytes: int) -> TransactionLog:
    """Seal `old`, which is synced, and return the fresh log that has its place, with room for a frame of `size_bytes`.

    Raises StorageFull or OSError if it could not begin (nothing changed, but that `old` gave its zeros back),
    StorageFault if it stopped half-way. Durability: all of it is on disk when this returns.
    """
    sealed = segment_name(old.header.first)
    if sealed in disk.names():
        raise FileExistsError(errno.EEXIST, "File exists", disk.describe(sealed))
    old.give_back(size_bytes)
    new = _fresh_log(disk, header, size_bytes)
    try:
        publish(disk, LIVE, sealed)
        publish(disk, temporary(LIVE), LIVE)
        old.mark_sealed(header.first - 1)
    except (OSError, StorageFault) as error:
        raise StorageFault(f"cannot seal the log: {error}") from error
    new.name = LIVE
    return new


def _fresh_log(disk: Disk, header: LogHeader, size_bytes: int) -> TransactionLog:
    """A log under a temporary name, with that room. Raises StorageFull, StorageFault, OSError; then it is not there."""
    name = temporary(LIVE)
    try:
        log = create_log(disk, name, header)
        try:
            log.reserve(size_bytes, Purpose.FLUSH)  # it was granted before: nothing is kept from it
            return log
        except (StorageFull, StorageFault):
            log.close()
            raise
    except (StorageFull, StorageFault, OSError):
        with contextlib.suppress(OSError):  # garbage that the next start removes
            disk.remove(name)
        raise
