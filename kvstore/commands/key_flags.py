"""What a command does with each of its keys, in the words of Redis's key specifications: for COMMAND INFO, and for
COMMAND GETKEYSANDFLAGS, by which proxies and tools tell which keys a request reads, and which it changes.

RO, RW, OW (written over), RM (removed); then what becomes of the value: access, update, insert, delete. Commands that
are not listed have `RO access` if they are reads, else `RW update`.
"""

from __future__ import annotations

from kvstore.commands.row import NOT_KEYS, READ, Command

#: Of the first key, then of the next; the last counts for all that follow.
_FLAGS = {
    "RO": """
        EXISTS HEXISTS HLEN HSTRLEN LLEN MEMORY|USAGE OBJECT|ENCODING OBJECT|FREQ OBJECT|IDLETIME OBJECT|REFCOUNT SCARD
        SISMEMBER STRLEN TOUCH TYPE WATCH XLEN ZCARD
    """,
    "RO access": "XPENDING XREADGROUP",
    "RW access delete": """
        BLMPOP BLPOP BRPOP BZMPOP BZPOPMAX BZPOPMIN GETDEL HGETDEL LMPOP LPOP RPOP SPOP ZMPOP ZPOPMAX ZPOPMIN
    """,
    "RW delete": """
        HDEL LREM LTRIM SREM XAUTOCLAIM XDEL XGROUP|DELCONSUMER XGROUP|DESTROY XTRIM ZREM ZREMRANGEBYLEX
        ZREMRANGEBYRANK ZREMRANGEBYSCORE
    """,
    "RW access update": """
        DECR DECRBY EVAL EVALSHA FCALL GETEX GETSET HGETEX HINCRBY HINCRBYFLOAT INCR INCRBY INCRBYFLOAT MOVE SET ZINCRBY
    """,
    "RW insert": """
        APPEND HSETEX HSETNX LINSERT LPUSH LPUSHX RPUSH RPUSHX SADD XGROUP|CREATE XGROUP|CREATECONSUMER
    """,
    "OW update": "MSET MSETEX PSETEX SETEX",
    "OW insert": "MSETNX SETNX",
    "RM delete": "DEL DELIFEQ UNLINK",
    "OW update, RO access": "SDIFFSTORE SINTERSTORE SUNIONSTORE ZDIFFSTORE ZINTERSTORE ZRANGESTORE ZUNIONSTORE",
    "RW access delete, RW insert": "BLMOVE BRPOPLPUSH LMOVE RPOPLPUSH SMOVE",
    "RO access, OW update": "COPY SORT",
    "RW access delete, OW update": "RENAME",
    "RW access delete, OW insert": "RENAMENX",
}
_BY_NAME = {name: flags for flags, names in _FLAGS.items() for name in names.split()}


def key_flags(row: Command) -> list[list[str]]:
    """The flags of a command's first key, of the next, ...; the last ones are those of all that follow."""
    if row.flags & NOT_KEYS:
        return [["not_key"]]
    told = _BY_NAME.get(row.name, "RO access" if row.flags & READ else "RW update")
    return [flags.split() for flags in told.split(", ")]


def key_flags_of(row: Command, request: list[bytes], keys: list[bytes]) -> list[list[str]]:
    """The flags of each key that a request names. What SET does with its key hangs on its options."""
    if row.name == "SET" and b"GET" not in map(bytes.upper, request[3:]):
        return [["OW", "update"]]
    flags = key_flags(row)
    return [flags[min(place, len(flags) - 1)] for place in range(len(keys))]
