"""What commands ask of the rooms above, which set it: without them a server does what it can do by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kvstore.commands.acl_file import Kept


class ServerHooks:
    """A base class of `Server`.

    `compact_now`: begin a compaction soon; returns False if one is under way. `save_error`: how a compaction ends: None
    while it is under way, empty if well. `checkpoint_ms`: when the newest checkpoint was made, in milliseconds since
    the epoch. `is_durable`: whether a commit is on disk, now or at the latest when a reply leaves that waits for it.

    `network_bytes`: received from all clients since the start, and sent to them. `info`: further fields of INFO, by
    section in lower case: gives (field, value) pairs. `user_file`: where users are kept, if there is a file.
    `rewrite_configuration`: write the file of settings, if there is one; raises OSError.

    `report_bug`: log a bug; called inside the `except` of an unexpected error. `script_log`: write what a script says
    (redis.log) to the log; levels from 0, debug, to 3, a warning. `shutdown`: stop the server, soon.
    """

    def __init__(self, started_ms: int) -> None:
        self.compact_now: Callable[[], bool] = lambda: False
        self.save_error: Callable[[], str | None] = lambda: ""
        self.checkpoint_ms: Callable[[], int] = lambda: started_ms
        self.is_durable: Callable[[int], bool] = lambda sequence: True
        self.network_bytes: Callable[[], tuple[int, int]] = lambda: (0, 0)
        self.info: dict[str, Callable[[], list[tuple[str, Any]]]] = {}
        self.user_file: Kept | None = None
        self.rewrite_configuration: Callable[[], None] | None = None
        self.report_bug: Callable[[str], None] = lambda text: None
        self.script_log: Callable[[int, bytes], None] = lambda level, text: None
        self.shutdown: Callable[[], None] = lambda: None
