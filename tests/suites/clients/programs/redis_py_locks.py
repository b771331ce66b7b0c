"""redis-py: its Lock, blocking and asyncio: four threads enter by turns while the server is killed, and never two at
once; a lock held over the kill is still held after it, by its owner alone.

Packages: redis==8.1.0
"""

import asyncio
import threading

import common
import redis
import redis.asyncio

_inside = threading.Lock()


def enter(client):
    """Enter, again and again. A lock whose release was not answered ends by itself after its seconds."""
    while True:
        try:
            with client.lock("lock", timeout=5, blocking_timeout=30):
                if not _inside.acquire(blocking=False):
                    common.note(-1)
                common.note(1)
                _inside.release()
        except redis.RedisError as error:
            print(error)


async def in_asyncio():
    """The lock of asyncio's client."""
    async with redis.asyncio.Redis(port=common.PORT) as client:
        async with client.lock("other", timeout=30) as lock:
            assert not await client.lock("other").acquire(blocking=False)
            assert await lock.extend(10) and await lock.owned()
        assert not await client.exists("other")


def main():
    """Both locks."""
    client = redis.Redis(port=common.PORT)
    mine, other = client.lock("held", timeout=60), client.lock("held", timeout=60)
    assert mine.acquire(blocking=False)
    for _ in range(4):
        common.in_background(enter, client)
    common.eventually(lambda: len(common.notes()) > 50)
    common.crash()
    before = len(common.notes())
    assert not other.acquire(blocking=False) and mine.owned() and mine.extend(30)
    mine.release()
    assert other.acquire(blocking=False)
    common.eventually(lambda: len(common.notes()) > before + 50)
    asyncio.run(in_asyncio())
    assert -1 not in common.notes(), "two were in at once"
    common.works("more than 50 turns before the kill and 50 after it, never two at once; the lock held over it is held")
