"""What a server counts, besides what it counts of each command (`statistics`): INFO tells, CONFIG RESETSTAT forgets."""

from __future__ import annotations

from collections import Counter

from kvstore.base.errors import RequestError
from kvstore.base.limits import MAX_ERROR_CODES


class Counters:
    """A base class of `Server`. `errors`: replies that were errors; `errors_by_code`: how many began with which code.

    `clients_dropped`: since they did not take their replies; `clients_evicted`: for the memory that they held.
    `network_bytes_before`: received and sent until the counters were set to zero.
    """

    def __init__(self) -> None:
        self.errors_by_code: Counter[str] = Counter()
        self.reset_counters((0, 0))

    def reset_counters(self, network_bytes: tuple[int, int]) -> None:
        """Set them to zero. `network_bytes`: received and sent so far."""
        self.connections_received = self.connections_refused = self.clients_dropped = self.clients_evicted = 0
        self.requests_executed = self.errors = 0
        self.errors_by_code.clear()
        self.network_bytes_before = network_bytes

    def count_error(self, error: RequestError) -> None:
        """An error is about to be a reply, of a client's request or of a script's."""
        if error.is_counted:
            return
        self.errors += 1
        code = error.code
        if error.is_custom and code not in self.errors_by_code and len(self.errors_by_code) >= MAX_ERROR_CODES:
            code = "ERRORSTATS_OVERFLOW"
        self.errors_by_code[code] += 1
