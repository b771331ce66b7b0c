"""pottery: Redlock, NextID, a counter, a dictionary and a deque; a lock held over a kill is held.

Packages: pottery==3.0.1 redis==4.6.0
"""

import common
from pottery import NextID, RedisCounter, RedisDeque, RedisDict, Redlock
from redis import Redis


def main():
    """The lock, and containers."""
    client = Redis.from_url(common.URL)
    mine = Redlock(key="lock", masters={client}, auto_release_time=60)
    assert mine.acquire(blocking=False)
    ids = NextID(key="ids", masters={client})
    assert [next(ids) for _ in range(5)] == [1, 2, 3, 4, 5]
    stored = RedisDict({"a": 1, "b": [2, 3]}, redis=client, key="dict")
    waiting = RedisDeque("abc", redis=client, key="deque")
    counted = RedisCounter("hello", redis=client, key="counter")

    common.crash()
    common.eventually(client.ping)
    assert not Redlock(key="lock", masters={client}, auto_release_time=60).acquire(blocking=False)
    assert mine.locked() > 0
    mine.extend()
    mine.release()
    with Redlock(key="lock", masters={client}, auto_release_time=60):
        assert next(ids) == 6
    assert dict(stored) == {"a": 1, "b": [2, 3]} and list(waiting) == ["a", "b", "c"] and counted["l"] == 2
    assert waiting.popleft() == "a" and (waiting.rotate(1) or list(waiting) == ["c", "b"])
    common.works("the lock is still held, ids go on with 6, containers are as they were")
