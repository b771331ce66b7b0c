"""Workloads of histories on sorted sets, streams with a group, and locks: what clients ask (see `workloads`)."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from typing import Any

from kvstore.client.raw import resp_request
from tests.suites.histories.checker import UNKNOWN, NotLinearizable, Operation
from tests.suites.histories.client import Client

# Leader boards


def scores(client: Client) -> None:
    """A score that is set or grows, a member that goes."""
    key, member, number = _board(client), b"m%d" % client.chance.randrange(4), b"%d" % client.chance.randrange(1, 50)
    client.resp(
        client.chance.choice(
            [(b"ZADD", key, number, member), (b"ZINCRBY", key, number, member), (b"ZREM", key, member)]
        )
    )


def ranks(client: Client) -> None:
    """Who stands where, and who stands there."""
    key, member = _board(client), b"m%d" % client.chance.randrange(4)
    if client.chance.random() < 0.5:
        client.resp(client.chance.choice([(b"ZRANK", key, member), (b"ZSCORE", key, member)]))
    else:
        whole_board(client, key)


def whole_board(client: Client, key: bytes) -> None:
    """All of it."""
    client.call((b"ZRANGE", key), resp_request(b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"), client.connection.resp)


def pops(client: Client) -> None:
    """The first or the last is taken, or waited for."""
    key = _board(client)
    name = client.chance.choice((b"ZPOPMIN", b"ZPOPMAX", b"BZPOPMIN"))
    timeout = (b"0.00%d" % client.chance.randint(1, 9),) if name == b"BZPOPMIN" else ()
    client.call((name, key), resp_request(name, key, *timeout), client.connection.resp)


def unions(client: Client) -> None:
    """One takes over the other's."""
    key, other = _board(client), _board(client)
    data = resp_request(b"ZUNIONSTORE", key, b"2", key, other, b"AGGREGATE", b"MAX")
    client.call((b"ZUNIONSTORE", key, other), data, client.connection.resp)


def board_blocks(client: Client) -> None:
    """What is taken from one is put into the other, in a block."""
    key, other, member = _board(client), _board(client), b"m%d" % client.chance.randrange(4)
    inner = [(b"ZREM", key, member), (b"ZINCRBY", other, b"7", member)]
    data = b"".join(resp_request(*words) for words in [(b"MULTI",), *inner, (b"EXEC",)])
    client.call((b"EXEC", *inner), data, lambda: client.last_of(4))


def _board(client: Client) -> bytes:
    return client.key(b"board", 2)


def read_boards(client: Client) -> None:
    """All of them."""
    for number in range(2):
        whole_board(client, b"%b:board:%d" % (client.prefix, number))


# Streams with a group


def adds(client: Client) -> None:
    """An entry."""
    key, value = _stream(client), client.value()
    client.call((b"XADD", key, value), resp_request(b"XADD", key, b"1-*", b"f", value), client.connection.resp)


def deliveries(client: Client) -> None:
    """The next entry, or what comes within some ms."""
    key = _stream(client)
    wait = (b"BLOCK", b"%d" % client.chance.randint(1, 9)) if client.chance.random() < 0.5 else ()
    words = (b"GROUP", b"g", client.name.encode(), b"COUNT", b"1", *wait, b"STREAMS", key, b">")

    def read() -> Any:
        reply = client.connection.resp()
        return _entry(reply[0][1] if isinstance(reply, list) else reply)

    given = client.call((b"XREADGROUP", key, client.name.encode()), resp_request(b"XREADGROUP", *words), read)
    if given is not None:
        client.held.append((key, given[0]))


def acknowledgements(client: Client) -> None:
    """Of what it was given, or, so that two may, of what was pending with anybody."""
    if not client.held:
        adds(client)
        return
    key, entry_id = client.held.pop(client.chance.randrange(len(client.held)))
    client.call((b"XACK", key, entry_id), resp_request(b"XACK", key, b"g", entry_id), client.connection.resp)


def claims(client: Client) -> None:
    """What others do not acknowledge: a certain one, or the first."""
    key, name = _stream(client), client.name.encode()

    def read() -> Any:
        return _entry(client.connection.resp())

    def read_first() -> Any:
        reply = client.connection.resp()
        return _entry(reply[1] if isinstance(reply, list) else reply)

    if client.chance.random() < 0.5:
        data = resp_request(b"XAUTOCLAIM", key, b"g", name, b"0", b"0", b"COUNT", b"1")
        claimed = client.call((b"XAUTOCLAIM", key, name), data, read_first)
    elif pending := whole_group(client, key):
        entry_id = client.chance.choice(pending)[0]
        data = resp_request(b"XCLAIM", key, b"g", name, b"0", entry_id)
        claimed = client.call((b"XCLAIM", key, name, entry_id), data, read)
    else:
        return
    if claimed is not None:
        client.held.append((key, claimed[0]))


def whole_group(client: Client, key: bytes) -> Any:
    """What is pending."""

    def read() -> Any:
        reply = client.connection.resp()
        return tuple((one, who, times) for one, who, _, times in reply) if isinstance(reply, list) else reply

    return client.call((b"XPENDING", key), resp_request(b"XPENDING", key, b"g", b"-", b"+", b"1000"), read)


def _entry(entries: Any) -> Any:
    """The one entry in a reply."""
    if isinstance(entries, list):
        assert len(entries) < 2, entries
        return (entries[0][0], entries[0][1][1]) if entries else None
    return entries


def _resp(client: Client) -> Any:
    return client.connection.resp


def _stream(client: Client) -> bytes:
    """One that has its group, for all that this client knows."""
    key = client.key(b"stream", 2)
    if key not in client.known:
        client.call(
            (b"XGROUP", key), resp_request(b"XGROUP", b"CREATE", key, b"g", b"0", b"MKSTREAM"), client.connection.resp
        )
        client.known.add(key)
    return key


def read_groups(client: Client) -> None:
    """What is pending, and how many entries there are; the rest comes out, one after the other."""
    for number in range(2):
        key = b"%b:stream:%d" % (client.prefix, number)
        client.call(
            (b"XGROUP", key), resp_request(b"XGROUP", b"CREATE", key, b"g", b"0", b"MKSTREAM"), client.connection.resp
        )
        whole_group(client, key)
        client.resp((b"XLEN", key))


# Locks

_RIGHT = b"if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end "
SCRIPTS = {
    b"UNLOCK": _RIGHT + b"return redis.call('del', KEYS[1])",
    b"EXTEND": _RIGHT + b"return redis.call('pexpire', KEYS[1], ARGV[2])",
    b"FENCED": _RIGHT + b"redis.call('set', KEYS[3], ARGV[2]) return redis.call('incr', KEYS[2])",
    b"RAISES": b"redis.call('incr', KEYS[2]) redis.call('set', KEYS[3], 'x') redis.call('del', KEYS[1]) error('no')",
}
_LOCK_MS = b"150"


def criticals(client: Client) -> None:
    """Get the lock, do something that it guards, and let it go; or forget to, or hold it too long."""
    key, token = client.key(b"lock", 2), client.value()
    data = resp_request(b"SET", key, token, b"NX", b"PX", _LOCK_MS)
    if client.call((b"LOCK", key, token, _LOCK_MS), data, client.connection.resp) is None:
        time.sleep(client.chance.uniform(0, 0.01))
        return
    for _ in range(client.chance.randint(0, 3)):
        _fenced(client, key, token)
        if client.chance.random() < 0.3:
            _script(client, (b"EXTEND", key, token, _LOCK_MS), 1)
    chance = client.chance.random()
    if chance < 0.2:
        time.sleep(client.chance.uniform(0.14, 0.17))  # it may have ended meanwhile
        _fenced(client, key, token)
    if chance < 0.9:
        _script(client, (b"UNLOCK", key, token), 1)
    client.held.append((key, token))


def late_ones(client: Client) -> None:
    """Somebody still believes that he holds the lock, or does not care."""
    if client.held:
        key, token = client.chance.choice(client.held)
        client.chance.choice((_fenced, _unlock))(client, key, token)
    key = client.key(b"lock", 2)
    _script(client, (b"RAISES", *_guarded(key), b"nobody", client.value()), 3)
    client.call((b"HOLDER", key), resp_request(b"GET", key), client.connection.resp)


def _unlock(client: Client, key: bytes, token: bytes) -> None:
    _script(client, (b"UNLOCK", key, token), 1)


def _fenced(client: Client, key: bytes, token: bytes) -> None:
    _script(client, (b"FENCED", *_guarded(key), token, client.value()), 3)


def _guarded(key: bytes) -> tuple[bytes, bytes, bytes]:
    return key, key + b":fence", key + b":shared"


def _script(client: Client, words: tuple[bytes, ...], keys: int) -> None:
    """By its hash, which a server that was just started has to be told once."""
    name = words[0]
    if name not in client.known:
        client.connection.send(resp_request(b"SCRIPT", b"LOAD", SCRIPTS[name]))
        client.connection.resp()
        client.known.add(name)
    sha = hashlib.sha1(SCRIPTS[name], usedforsecurity=False).hexdigest().encode()
    data = resp_request(b"EVALSHA", sha, b"%d" % keys, *words[1:])
    client.call(words, data, client.connection.resp)


def read_locks(client: Client) -> None:
    """Who holds them, and what they guard."""
    for number in range(2):
        key = b"%b:lock:%d" % (client.prefix, number)
        client.call((b"HOLDER", key), resp_request(b"GET", key), client.connection.resp)
        client.call((b"SHARED", *_guarded(key)), resp_request(b"MGET", *_guarded(key)[1:]), client.connection.resp)


def check_fences(history: Iterable[Operation]) -> None:
    """Whoever was let in under a lock was alone: the fence's numbers of one token stand together. No search is needed
    for that, and no clock. Raises NotLinearizable.
    """
    passed = sorted(
        (each.words[2], each.result, each.words[4])
        for each in history
        if each.words[0] == b"FENCED" and each.result is not UNKNOWN and each.result
    )
    seen: dict[bytes, bytes] = {}
    before = (b"", 0, b"")
    for fence, number, token in passed:
        if (fence, number) == before[:2] or (token in seen and before[2] != token):
            raise NotLinearizable(f"{token!r} was let in as number {number} at {fence!r}, between or beside {before}")
        seen[token] = fence
        before = fence, number, token
