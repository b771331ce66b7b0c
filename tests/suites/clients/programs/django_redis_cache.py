"""django-redis: Django's cache with compression, incr, many keys, patterns, TTLs, and its lock; over a kill.

Packages: django-redis==7.0.0 Django==5.2.19
"""

import common
import django
from django.conf import settings


def main():
    """The cache's verbs and the lock."""
    backend = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": common.URL, "KEY_PREFIX": "site"}
    settings.configure(CACHES={"default": backend})
    django.setup()
    from django.core.cache import cache

    cache.set_many({f"user:{n}": {"name": n} for n in range(100)}, timeout=600)
    cache.set("forever", "x" * 10_000, timeout=None)
    assert cache.add("once", 1) and not cache.add("once", 2)
    assert cache.incr("once", 5) == 6 and cache.get_or_set("made", lambda: 7) == 7
    lock = cache.lock("lock", timeout=60)
    assert lock.acquire(blocking=False)
    common.crash()
    common.eventually(lambda: cache.get("once") == 6)
    assert cache.get_many(f"user:{n}" for n in range(100)) == {f"user:{n}": {"name": n} for n in range(100)}
    assert 0 < cache.ttl("user:1") <= 600 and cache.ttl("forever") is None
    assert not cache.lock("lock", timeout=60).acquire(blocking=False)
    lock.release()
    with cache.lock("lock", timeout=60, blocking_timeout=1):
        assert len(cache.keys("user:*")) == 100 and len(list(cache.iter_keys("user:1*"))) == 11
    assert cache.touch("once", 100) and cache.expire("once", timeout=5) and cache.persist("once")
    assert cache.delete_pattern("user:*") == 100
    cache.clear()
    assert cache.get("forever") is None
    common.works("100 entries, a counter, their TTLs and a lock held over the kill are as they were")
