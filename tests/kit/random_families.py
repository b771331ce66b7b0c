"""Sequences of requests over all families, for several clients: those of `random_requests`, and what only makes sense
between clients: channels, waiting without a limit, scripts, settings, databases.

A sequence draws from a few families at once, on a few keys, so that keys hold other types than commands expect, and the
right ones often enough.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha1
from random import Random

from tests.kit import drawing as st
from tests.kit import random_requests as kit
from tests.kit import random_server as server
from tests.kit.random_requests import key, keys, request, several_of, value

#: Settings that sequences change, and their defaults.
DEFAULTS = {
    "hash-max-listpack-entries": "512", "hash-max-listpack-value": "64", "list-max-listpack-size": "-2",
    "set-max-intset-entries": "512", "set-max-listpack-entries": "128", "set-max-listpack-value": "64",
    "zset-max-listpack-entries": "128", "zset-max-listpack-value": "64",
}  # fmt: skip


def _maybe(word: bytes) -> st.Draw[list[bytes]]:
    return st.sampled_from([[], [word]])


#: Without the empty one, see `listed`.
_channel = st.sampled_from([b"a", b"b", b"news", b" ", b"\x00\xff\r\n"])
_channels = st.lists(_channel, min_size=1, max_size=3)
_patterns = st.lists(st.sampled_from([b"*", b"a*", b"[ab]", b"n?ws", b"", b"\\a", b"a"]), min_size=1, max_size=3)
_PUBSUB = [
    request(b"SUBSCRIBE", tail=_channels),
    request(b"PSUBSCRIBE", tail=_patterns),
    request(b"SSUBSCRIBE", tail=_channels),
    request(b"UNSUBSCRIBE", tail=st.lists(_channel, max_size=2)),
    request(b"PUNSUBSCRIBE", tail=st.one_of(st.just([]), _patterns)),
    request(b"SUNSUBSCRIBE", tail=st.lists(_channel, max_size=2)),
    *[request(b"PUBLISH", _channel, value)] * 5,
    *[request(b"SPUBLISH", _channel, value)] * 2,
    request(b"PUBSUB", st.sampled_from([b"CHANNELS", b"SHARDCHANNELS"]), tail=st.lists(kit.pattern, max_size=1)),
    request(b"PUBSUB", st.sampled_from([b"NUMSUB", b"SHARDNUMSUB", b"numsub"]), tail=_channels),
    request(b"PUBSUB", st.sampled_from([b"NUMPAT", b"FOO", b"CHANNELS"])),
    request(b"PING", tail=st.lists(value, max_size=1)),
    request(b"RESET"),
    request(b"GET", key),
]  # fmt: skip

_long = st.sampled_from([b"0", b"1000", b"1000000", b"0.001", b"-1", b"x"])
_stream_ids = st.sampled_from([b"$", b"0", b">", b"1-1", b"+", b"5-1"])
_streams = st.lists(st.tuples(key, _stream_ids), min_size=1, max_size=2).map(
    lambda pairs: [b"STREAMS", *(key for key, _ in pairs), *(each for _, each in pairs)]
)
_block = st.one_of(
    st.sampled_from([[b"BLOCK", b"0"], [b"BLOCK", b"1000000"], [b"BLOCK", b"1"], [b"block", b"1000000"]]),
    st.just([b"COUNT", b"1", b"BLOCK", b"1000000"]), st.just([b"NOACK", b"BLOCK", b"1000000"]),
)  # fmt: skip
_blocking_read = st.tuples(_block, _streams).map(lambda parts: [*parts[0], *parts[1]])
_waits = st.tuples(keys, _long).map(lambda parts: [*parts[0], parts[1]])
_WAITING = [
    *[request(name, tail=_waits) for name in (b"BLPOP", b"BRPOP", b"BZPOPMIN", b"BZPOPMAX")],
    request(b"BLMPOP", _long, tail=kit.mpop),
    request(b"BZMPOP", _long, tail=kit.scored_mpop),
    request(b"BLMOVE", key, key, kit.list_end, kit.list_end, _long),
    request(b"BRPOPLPUSH", key, key, _long),
    *[request(b"XREAD", tail=_blocking_read)] * 2,
    *[request(b"XREADGROUP", st.just(b"GROUP"), kit.group, kit.consumer, tail=_blocking_read)] * 2,
    *[request(b"XGROUP", st.just(b"CREATE"), key, kit.group, kit.entry_id, tail=_maybe(b"MKSTREAM"))] * 2,
    request(b"XGROUP", st.just(b"DESTROY"), key, kit.group),
    request(
        b"CLIENT", st.just(b"UNBLOCK"), st.sampled_from([b"@id0", b"@id1", b"@id2", b"0", b"x"]),
        tail=st.sampled_from([[], [], [b"ERROR"], [b"timeout"], [b"FOO"]]),
    ),
    *[request(b"RPUSH", key, tail=kit.elements)] * 3,
    *[request(b"ZADD", key, tail=kit.score_pairs)] * 3,
    *[request(b"XADD", key, kit.new_entry_id, kit.field, value)] * 3,
    request(b"LPUSHX", key, tail=kit.elements),
    request(b"LMOVE", key, key, kit.list_end, kit.list_end),
    request(b"RENAME", key, key),
    request(b"COPY", key, key, tail=_maybe(b"REPLACE")),
    request(b"DEL", tail=keys),
    request(b"SET", key, value),
    request(b"MOVE", key, kit.database),
    request(b"SELECT", st.sampled_from([b"0", b"1"])),
    request(b"SWAPDB", st.just(b"0"), st.just(b"1")),
    request(b"FLUSHALL"),
    request(b"FLUSHDB"),
    request(b"ZUNIONSTORE", key, tail=kit.numbered),
    request(b"XDEL", key, tail=kit.entry_ids),
    request(b"PERSIST", key),
    request(b"EXPIRE", key, kit.seconds),
]  # fmt: skip

_SETTINGS = [
    request(
        b"CONFIG", st.just(b"SET"), st.sampled_from([name.encode() for name in DEFAULTS]),
        st.sampled_from([b"0", b"1", b"2", b"3", b"5", b"-1", b"-2", b"-5", b"64", b"512", b"x", b"1kb"]),
    ),
    request(b"CONFIG", st.just(b"GET"), tail=st.sampled_from([[b"hash-max*"], [b"SET-max-intset-*"]])),
]  # fmt: skip

_DATABASES = [
    request(b"SELECT", kit.database),
    request(b"MOVE", key, kit.database),
    request(b"SWAPDB", kit.database, kit.database),
    request(b"COPY", key, key, tail=several_of(kit.copy_option, 2)),
    request(b"DBSIZE"),
    request(b"KEYS", st.just(b"*")),
    request(b"FLUSHDB"),
]  # fmt: skip

FAMILIES: dict[str, list[st.Draw[list[bytes]]]] = {
    "strings and keys": kit.REQUESTS, "lists": kit.LISTS, "hashes": kit.HASHES, "sets": kit.SETS,
    "sorted sets": kit.SORTED_SETS, "sorting": kit.SORTING, "streams": kit.STREAMS,
    "stream groups": kit.STREAM_GROUPS, "channels": _PUBSUB, "waiting": _WAITING, "databases": _DATABASES,
}  # fmt: skip

_any_request = st.one_of(*(st.one_of(*kinds) for kinds in FAMILIES.values()))

#: Scripts of which a raised error has nothing to undo, and what they are given: (source, number of keys, arguments).
_SOURCES = [
    b"return redis.call(unpack(ARGV))",
    b"return redis.pcall(unpack(ARGV))",
    b"redis.setresp(3); return redis.call(unpack(ARGV))",
    b"#!lua flags=no-writes\nreturn redis.call(unpack(ARGV))",
    b"return {redis.pcall(unpack(ARGV)), redis.pcall('TYPE', KEYS[1])}",
    b"local said = redis.pcall(unpack(ARGV)); return type(said) == 'table' and said.err or type(said)",
]
#: What scripts return, or raise, by themselves.
_LITERAL = rb"""
return {1, 2.9, 'x', false, 'unseen', nil, 3}
return {ok='fine'}
return {err='My error'}
return {err='CODE text'}
return {KEYS[1], ARGV[1], #KEYS, #ARGV}
return true
return false
return nil
return 3.99
return -3.99
return tostring(1e15)
return {double=3.5}
return {map={a=1}}
return {map={[{1,2}]=3}}
return {set={a=true}}
return {big_number='12'}
redis.setresp(3); return {double=3.5}
redis.setresp(3); return {true, false}
return redis.sha1hex(ARGV[1] or '')
return redis.error_reply('no')
return redis.status_reply('yes')
error('raised')
error({err='X raised'})
return foo
foo = 1
return redis.call()
return redis.call('nosuch')
return redis.call('get')
return (
return redis.call('get', {})
return cjson.encode({1, 'x', {}, 2.5})
return cjson.decode('[1,2.5,"x",null]')
return {string.format('%5.1f|%s', 3.14159, 'x')}
return tonumber('0x10')
return #redis.call('KEYS', '*')
return redis.call('INCRBYFLOAT', KEYS[1] or 'a', '0.1')
return math.floor(2.7)
return 2^53
return {{{{1}}}}
return redis.REDIS_VERSION and 1
return redis.log and 1
return string.rep('x', 5)
return type(redis.call('ping'))
""".strip().splitlines()
_evaluation = st.sampled_from([b"EVAL", b"EVAL", b"EVAL", b"EVAL_RO", b"eval"])
_wrapped = st.tuples(_evaluation, st.sampled_from(_SOURCES), key, _any_request).map(
    lambda drawn: [drawn[0], drawn[1], b"1", drawn[2], *drawn[3]]
)
_literal = st.tuples(_evaluation, st.sampled_from(_LITERAL), kit.numbered).map(lambda drawn: [*drawn[:2], *drawn[2]])
_sha = st.sampled_from([*(sha1(source).hexdigest().encode() for source in _LITERAL[:4]), b"0" * 40, b"x", b""])
_SCRIPTS = [
    *[_wrapped] * 8,
    *[_literal] * 4,
    request(b"SCRIPT", st.just(b"LOAD"), st.sampled_from(_LITERAL + _SOURCES)),
    request(b"SCRIPT", st.just(b"EXISTS"), tail=st.lists(_sha, min_size=1, max_size=2)),
    request(b"SCRIPT", st.sampled_from([b"FLUSH", b"FOO", b"KILL"]), tail=st.sampled_from([[], [b"SYNC"], [b"x"]])),
    request(b"SCRIPT", st.just(b"SHOW"), _sha),
    request(b"EVALSHA", _sha, tail=kit.numbered),
    request(b"EVALSHA_RO", _sha, tail=kit.numbered),
]  # fmt: skip
FAMILIES["scripts"] = _SCRIPTS

_LIBRARIES = [
    b"#!lua name=%b\nredis.register_function('%b', function(keys, args) return redis.call(unpack(args)) end)" % names
    for names in ((b"one", b"f"), (b"two", b"g"), (b"two", b"f"), (b"3", b"F"), (b"b d", b"f"), (b"one", b""))
] + [
    b"#!lua name=one\nredis.register_function{function_name='r', callback=print, flags={'no-writes'}}",
    b"#!lua name=one\nredis.register_function('h', function(keys, args) return {#keys, #args, keys[1]} end)",
    b"#!lua name=one\nreturn 1", b"#!lua\nredis.register_function('f', print)", b"#!js name=one\n", b"return 1", b"",
    b"#!lua name=one\nredis.register_function('f', function(", b"#!lua name=one\nredis.call('PING')",
]  # fmt: skip
_function = st.sampled_from([b"f", b"f", b"g", b"r", b"h", b"F", b"", b"nosuch"])
_call = st.sampled_from([b"FCALL", b"FCALL", b"FCALL_RO", b"fcall"])
FAMILIES["functions"] = [
    *[st.tuples(_call, _function, key, _any_request).map(lambda drawn: [*drawn[:2], b"1", drawn[2], *drawn[3]])] * 6,
    *[st.tuples(_call, _function, kit.numbered).map(lambda drawn: [*drawn[:2], *drawn[2]])] * 2,
    *[request(b"FUNCTION", st.just(b"LOAD"), st.sampled_from(_LIBRARIES))] * 4,
    *[request(b"FUNCTION", st.just(b"LOAD"), st.just(b"REPLACE"), st.sampled_from(_LIBRARIES))] * 2,
    request(b"FUNCTION", st.just(b"DELETE"), st.sampled_from([b"one", b"two", b"x", b""])),
    request(b"FUNCTION", st.sampled_from([b"FLUSH", b"KILL", b"FOO"]), tail=st.sampled_from([[], [b"SYNC"], [b"x"]])),
    request(b"FUNCTION", st.just(b"LIST"), tail=st.sampled_from([[], [b"WITHCODE"], [b"LIBRARYNAME", b"o*"], [b"x"]])),
]
FAMILIES |= {
    "clients": server.CLIENTS, "tracking": server.TRACKING, "pauses": server.PAUSES, "server": server.SERVER,
    "debugging": server.DEBUGGING, "commands": server.COMMANDS,
}  # fmt: skip
#: By themselves: what a range of members is, is only said where all have one score; which request a reply is of, is not
#: said where some are not answered; and a pause of those who write may become one of all.
_ALONE = {"lexical ranges": kit.LEXICAL, "silence": server.SILENCE, "pauses of writes": server.WRITE_PAUSES}
FAMILIES |= _ALONE


@dataclass(frozen=True)
class Sequence:
    """Requests of several clients: (number of the client, words) each. `protocols`: of each client. `pipelined`:
    whether neighbours of one client are sent together. `events`: of which classes keyspace events are told. `@id1` in
    a request stands for the CLIENT ID of client 1.
    """

    protocols: tuple[int, ...]
    requests: list[tuple[int, list[bytes]]]
    pipelined: bool
    events: str = ""

    def without(self, start: int, end: int) -> Sequence:
        """The sequence without these requests."""
        return replace(self, requests=self.requests[:start] + self.requests[end:])

    def bursts(self, alone: frozenset[bytes]) -> Iterator[tuple[int, list[list[bytes]]]]:
        """(number of the client, requests to be sent at once). `alone`: names of commands that go by themselves."""
        number = 0
        burst: list[list[bytes]] = []
        for client, words in self.requests:
            together = self.pipelined and client == number
            if burst and not (together and not any(_goes_alone(each, alone) for each in (words, burst[-1]))):
                yield number, burst
                burst = []
            number = client
            burst.append(words)
        if burst:
            yield number, burst


def _goes_alone(words: list[bytes], alone: frozenset[bytes]) -> bool:
    return full_name(words) in alone or server.expires_soon(words)


def full_name(words: list[bytes]) -> bytes:
    """The name of a request's command, in upper case; CLIENT's with its subcommand."""
    name = words[0].upper()
    return b" ".join(words[:2]).upper() if name == b"CLIENT" else name


#: Of requests that go with every family, one in so many.
_OFTEN = 3
_SETTINGS_CHANCE, _PIPELINED_CHANCE, _OTHER_CLIENT_CHANCE, _EXPIRING_CHANCE = 0.1, 0.5, 0.4, 0.2
_EVENTS = ["", "", "KEA", "KEAn", "Em$", "Kghsx", "EAnm", "Etlze"]


def random_sequence(random: Random) -> Sequence:
    """A sequence of up to three families, and what goes with all of them."""
    pools = _random_pools(random)
    protocols = tuple(random.choice((2, 3)) for _ in range(random.choice((2, 3))))
    requests: list[tuple[int, list[bytes]]] = []
    number = 0
    for _ in range(random.randint(5, 80)):
        if random.random() < _OTHER_CLIENT_CHANCE:
            number = random.randrange(len(protocols))
        words = random.choice(random.choice(pools)).by(random)
        if _SETTINGS not in pools or b"ENCODING" not in words:  # see `listed`
            requests.append((number, words))
    return Sequence(protocols, requests, random.random() < _PIPELINED_CHANCE, random.choice(_EVENTS))


def _random_pools(random: Random) -> list[list[st.Draw[list[bytes]]]]:
    """What a sequence draws from."""
    names = random.sample([*sorted(FAMILIES), "channels"], random.choice((1, 1, 2, 3)))
    families = [FAMILIES[name] for name in names if name not in _ALONE or len(names) == 1]
    if server.COMMANDS in families:  # whose replies are compared by parts: which request one is of must be known
        families = [family for family in families if family is not _PUBSUB]
    pools = families * _OFTEN + [kit.GENERIC, kit.TRANSACTION]
    if names[0] in _ALONE and families:
        return pools
    if random.random() < _SETTINGS_CHANCE:
        pools.append(_SETTINGS)
    tells_of_expiry = server.DEBUGGING in pools or server.TRACKING in pools  # which has its time
    if random.random() < _EXPIRING_CHANCE and not tells_of_expiry:
        pools.append(server.EXPIRING)
    return pools
