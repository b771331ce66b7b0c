"""aiocache: entries with TTLs, counters, multi-gets, compare-and-set, and RedLock against a stampede; over a kill.

Packages: aiocache[redis]==0.12.3 redis==5.3.1
"""

import asyncio

import common
from aiocache import RedisCache
from aiocache.lock import OptimisticLock, RedLock
from aiocache.serializers import JsonSerializer


async def entries():
    """One cache."""
    cache = RedisCache(endpoint="127.0.0.1", port=common.PORT, serializer=JsonSerializer(), namespace="site:")
    await cache.multi_set([[f"k{n}", {"n": n}] for n in range(50)], ttl=600)
    counts = RedisCache(endpoint="127.0.0.1", port=common.PORT)
    assert await counts.increment("count", 5) == 5
    await asyncio.to_thread(common.crash)
    for _ in range(10):
        try:
            await cache.get("k1")
        except Exception as error:
            print(error)
    assert await cache.multi_get([f"k{n}" for n in range(50)]) == [{"n": n} for n in range(50)]
    assert await counts.increment("count") == 6
    made = []

    async def get():
        async with RedLock(cache, "costly", 5):
            if await cache.get("costly") is None:
                made.append(1)
                await cache.set("costly", 1)

    await asyncio.gather(*[get() for _ in range(5)])
    assert made == [1]
    async with OptimisticLock(cache, "k1") as lock:
        assert await lock.cas("mine")
    assert await cache.get("k1") == "mine" and await cache.expire("k1", 5) and await cache.delete("k1") == 1
    await cache.clear(namespace="site:")
    assert await cache.get("k2") is None


def main():
    """All of it on one loop."""
    asyncio.run(entries())
    common.works("50 entries and a counter as they were; under the lock one of five made the value")
