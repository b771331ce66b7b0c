"""OBJECT: how a value is held, and when it was asked for.

When keys were asked for is noted where a policy says so: see `accesses`.
"""

from __future__ import annotations

from kvstore.base.errors import Failure
from kvstore.base.reply import Reply
from kvstore.commands.context import Call
from kvstore.commands.deadlines import MS_PER_S
from kvstore.commands.encodings import encoding_of
from kvstore.commands.registry import READ, Key, command, container

container("OBJECT", "Look into values.", group="generic")

_SWITCHING = (
    "Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust."
)


@command("OBJECT|ENCODING", READ, group="generic")
def object_encoding(call: Call, key: Key) -> Reply:
    """Tell how Redis would hold the value at a key; here all strings are bytes.

    Unlike Valkey, it is told by what the value holds now, as if it had been made now, under the settings of now: a
    short string that APPEND, SETRANGE or INCRBYFLOAT made is `int` or `embstr`, a list a `listpack` whenever its
    elements have room in one (in Valkey, too, after a restart); a sorted set that SORT has read, or to which ZADD
    was asked to add what it did not (XX), stays a `listpack`.
    """
    return encoding_of(call.table, key, call.server.configuration)


@command("OBJECT|REFCOUNT", READ, group="generic")
def object_refcount(call: Call, key: Key) -> Reply:
    """Tell how often the value at a key is referred to, which is once."""
    return None if call.table.look_up(key, is_heard=False) is None else 1


@command("OBJECT|IDLETIME", READ, group="generic")
def object_idletime(call: Call, key: Key) -> Reply:
    """Tell how many seconds nobody has asked for a key, under an LRU policy; without one it is 0.

    Unlike Valkey, accesses are noted under an LRU or LFU policy only, and from when that is set.
    """
    if call.table.look_up(key, is_heard=False) is None:
        return None
    if call.server.accesses.policy == "lfu":
        raise Failure(f"An LFU maxmemory policy is selected, idle time not tracked. {_SWITCHING}")
    return call.server.accesses.idle_ms(call.table, key) // MS_PER_S


@command("OBJECT|FREQ", READ, group="generic")
def object_freq(call: Call, key: Key) -> Reply:
    """Tell the logarithm of how often a key was asked for, under an LFU policy.

    Unlike Valkey, a key that was there before the policy was set begins with 0.
    """
    if call.table.look_up(key, is_heard=False) is None:
        return None
    if call.server.accesses.policy != "lfu":
        raise Failure(f"An LFU maxmemory policy is not selected, access frequency not tracked. {_SWITCHING}")
    return call.server.accesses.frequency(call.table, key)
