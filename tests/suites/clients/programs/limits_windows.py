"""limits: each of its strategies, blocking and asyncio, from four threads; what was used up stays so over a kill.

Packages: limits[redis,async-redis]==5.8.0
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import common
from limits import RateLimitItemPerHour, aio, strategies
from limits.storage import storage_from_string

_LIMIT = RateLimitItemPerHour(100)
_KINDS = ("FixedWindowRateLimiter", "MovingWindowRateLimiter", "SlidingWindowCounterRateLimiter")


async def in_asyncio(kind):
    """The same by asyncio's storage: 30 of 100."""
    storage = storage_from_string(f"async+{common.URL}", implementation="redispy")
    limiter = getattr(aio.strategies, kind)(storage)
    return sum(await asyncio.gather(*[limiter.hit(_LIMIT, "asyncio", kind) for _ in range(130)]))


def main():
    """Every strategy: 60 before the kill, 40 after it."""
    limiters = {kind: getattr(strategies, kind)(storage_from_string(common.URL)) for kind in _KINDS}
    with ThreadPoolExecutor(4) as pool:

        def hits(kind, count):
            return sum(pool.map(lambda _: limiters[kind].hit(_LIMIT, kind), range(count)))

        assert [hits(kind, 60) for kind in _KINDS] == [60] * 3
        common.crash()
        for kind in _KINDS:
            common.eventually(lambda kind=kind: limiters[kind].get_window_stats(_LIMIT, kind).remaining == 40)
        assert [hits(kind, 80) for kind in _KINDS] == [40] * 3
    assert [asyncio.run(in_asyncio(kind)) for kind in _KINDS] == [100] * 3
    common.works(
        "of 100 hits 60 were taken before the kill, 40 of 80 after it, by each strategy; 100 of 130 by asyncio"
    )
