"""Requests at random about clients and the server itself: who is connected, who tracks, who is paused or not answered;
what DEBUG and COMMAND tell. `@id1` in one stands for the CLIENT ID of client 1.

Left out is what ends or changes the servers (SHUTDOWN, REPLICAOF of another), and what tells of them only (INFO).
"""

from __future__ import annotations

from typing import Any

from kvstore.commands import table
from kvstore.commands.facts import facts_of
from kvstore.commands.function_dump import write_dump
from tests.kit import drawing as st
from tests.kit import random_requests as kit
from tests.kit.random_requests import key, keys, request, several_of, value

_identity = st.sampled_from([b"@id0", b"@id1", b"@id2", b"0", b"-1", b"x"])
_known_identity = st.sampled_from([b"@id0", b"@id1", b"@id2"])
_on_or_off = st.sampled_from([b"ON", b"OFF", b"on", b"x"])


def _client(sub: bytes, *arguments: Any, tail: st.Draw[list[bytes]] | None = None) -> Any:
    return request(b"CLIENT", st.just(sub), *arguments, tail=tail)


#: Filters of CLIENT LIST and KILL, each also with NOT- before it. No two servers agree on an address.
_FILTERS: list[st.Draw[tuple[bytes, ...]]] = [
    st.tuples(st.sampled_from([b"ID", b"id", b"NOT-ID"]), _identity),
    st.tuples(st.sampled_from([b"ID", b"NOT-ID"]), _known_identity, _known_identity),
    st.tuples(
        st.sampled_from([b"TYPE", b"NOT-TYPE"]),
        st.sampled_from([b"normal", b"PUBSUB", b"master", b"primary", b"replica", b"SLAVE", b"x"]),
    ),
    st.tuples(st.sampled_from([b"NAME", b"NOT-NAME"]), st.sampled_from([b"me", b"you", b""])),
    st.tuples(st.sampled_from([b"USER", b"NOT-USER"]), st.sampled_from([b"default", b"nobody"])),
    st.tuples(st.sampled_from([b"ADDR", b"NOT-ADDR", b"LADDR", b"NOT-LADDR"]), st.just(b"1.2.3.4:5")),
    st.tuples(st.sampled_from([b"IP", b"NOT-IP"]), st.just(b"1.2.3.4")),
    st.tuples(st.sampled_from([b"FLAGS", b"NOT-FLAGS"]), st.sampled_from([b"P", b"x", b"t", b"b", b"xP", b"!"])),
    st.tuples(st.sampled_from([b"DB", b"NOT-DB"]), st.sampled_from([b"0", b"1", b"-1", b"99", b"x"])),
    st.tuples(st.sampled_from([b"LIB-NAME", b"NOT-LIB-NAME"]), st.sampled_from([b"lib", b"", b"a b"])),
    st.tuples(st.sampled_from([b"LIB-VER", b"NOT-LIB-VER"]), st.sampled_from([b"1.0", b""])),
    st.tuples(st.sampled_from([b"CAPA", b"NOT-CAPA"]), st.sampled_from([b"r", b"x", b""])),
    st.tuples(st.sampled_from([b"MAXAGE", b"IDLE"]), st.sampled_from([b"100000", b"0", b"-1", b"x"])),
    st.tuples(st.just(b"SKIPME"), st.sampled_from([b"yes", b"NO", b"x"])),
    st.sampled_from([(b"FOO",), (b"ID",), (b"TYPE",), (b"SKIPME",), (b"NOT-SKIPME", b"yes"), (b"NOT-MAXAGE", b"1")]),
]
_filters = several_of(st.one_of(*_FILTERS), 3)
CLIENTS = [
    *[_client(b"LIST", tail=_filters)] * 6,
    _client(b"LIST"),
    *[_client(b"INFO")] * 2,
    _client(b"ID"),
    *[_client(b"KILL", st.just(b"ID"), _known_identity, tail=_filters)] * 2,
    _client(b"KILL", st.sampled_from([b"1.2.3.4:5", b"x", b""])),
    *[_client(b"SETNAME", st.sampled_from([b"me", b"you", b"", b"a b"]))] * 2,
    _client(b"SETINFO", st.sampled_from([b"LIB-NAME", b"lib-ver", b"x"]), st.sampled_from([b"lib", b"1.0", b"a b"])),
    _client(b"CAPA", st.sampled_from([b"redirect", b"REDIRECT", b"x"])),
    _client(b"NO-EVICT", _on_or_off),
    _client(b"NO-TOUCH", _on_or_off),
    _client(b"IMPORT-SOURCE", _on_or_off),
    _client(b"FOO"),
    request(b"SUBSCRIBE", st.just(b"news")),
    request(b"UNSUBSCRIBE"),
    request(b"SELECT", st.sampled_from([b"0", b"1"])),
    request(b"HELLO", st.sampled_from([b"2", b"3"]), st.just(b"SETNAME"), st.sampled_from([b"me", b"a b"])).filter(
        lambda words: b"a b" in words or len(words) != 4  # its answer tells of the server
    ),
    request(b"QUIT"),
    request(b"RESET"),
    request(b"WATCH", tail=keys),
    request(b"SET", key, value),
]  # fmt: skip

#: Of all requests for a moment only: who asks whether it is over has to wait, too.
_MODES = st.sampled_from([[], [b"ALL"], [b"all"], [b"WRITE"], [b"x"], [b"WRITE", b"x"]])
PAUSES = [
    _client(b"PAUSE", st.sampled_from([b"1", b"2", b"5", b"0", b"-1", b"x", b"9223372036854775807"]), tail=_MODES),
    _client(b"UNPAUSE"),
    *[request(b"SET", key, value)] * 2,
    request(b"GET", key),
    request(b"RPUSH", key, tail=kit.elements),
    request(b"PUBLISH", st.just(b"news"), value),
    request(b"SUBSCRIBE", st.just(b"news")),
]
#: Of those that write, until CLIENT UNPAUSE.
WRITE_PAUSES = [
    *[st.sampled_from([[b"CLIENT", b"PAUSE", ms, b"WRITE"] for ms in (b"1000000", b"0")])] * 2,
    *[_client(b"UNPAUSE")] * 2,
    *[request(b"SET", key, value)] * 2,
    *[request(b"GET", key)] * 2,
    request(b"RPUSH", key, tail=kit.elements),
    request(b"BLPOP", key, st.just(b"1000000")),
    request(b"PUBLISH", st.just(b"news"), value),
    request(b"SUBSCRIBE", st.just(b"news")),
    request(b"EVAL", st.just(b"return redis.call('GET', KEYS[1])"), st.just(b"1"), key),
    request(b"EVAL", st.just(b"#!lua flags=no-writes\nreturn redis.call('GET', KEYS[1])"), st.just(b"1"), key),
    request(b"EVAL_RO", st.just(b"return redis.call('GET', KEYS[1])"), st.just(b"1"), key),
    request(b"SORT_RO", key, tail=st.just([b"ALPHA"])),
    _client(b"LIST", st.just(b"ID"), _known_identity),
]  # fmt: skip

#: Replies of one form only: nobody says which request a reply is of.
SILENCE = [
    *[_client(b"REPLY", st.sampled_from([b"OFF", b"SKIP", b"ON", b"on", b"skip", b"x"]))] * 4,
    request(b"SET", key, value),
    request(b"GET", key),
    request(b"INCR", key),
    request(b"MGET", tail=keys),
    request(b"RPUSH", key, tail=kit.elements),
    request(b"LRANGE", key, st.just(b"0"), st.just(b"-1")),
    request(b"SUBSCRIBE", st.just(b"news")),
    request(b"UNSUBSCRIBE", st.just(b"news")),
    request(b"PUBLISH", st.just(b"news"), value),
    request(b"EVAL", st.just(b"return redis.call('INCR', KEYS[1])"), st.just(b"1"), key),
    request(b"NOSUCH"),
]

_tracking_option = st.one_of(
    st.sampled_from([(b"BCAST",), (b"bcast",), (b"OPTIN",), (b"OPTOUT",), (b"NOLOOP",), (b"FOO",), (b"PREFIX",)]),
    st.tuples(st.just(b"REDIRECT"), _identity),
    st.sampled_from([(b"BCAST", b"PREFIX", each) for each in (b"a", b"b", b"", b"ab", b"c")]),
)
TRACKING = [
    *[_client(b"TRACKING", _on_or_off, tail=several_of(_tracking_option, 2))] * 3,
    *[_client(b"TRACKING", st.just(b"ON"))] * 2,
    *[_client(b"CACHING", st.sampled_from([b"YES", b"NO", b"yes", b"x"]))] * 2,
    _client(b"GETREDIR"),
    _client(b"TRACKINGINFO"),
    *[request(b"GET", key)] * 3,
    *[request(b"MGET", tail=keys)] * 2,
    *[request(b"SET", key, value)] * 2,
    request(b"MSET", key, value, key, value),
    request(b"DEL", tail=keys),
    request(b"INCR", key),
    request(b"LRANGE", key, st.just(b"0"), st.just(b"-1")),
    request(b"RPUSH", key, tail=kit.elements),
    request(b"EXPIRE", key, st.sampled_from([b"1000", b"-1"])),
    request(b"RENAME", key, key),
    request(b"EVAL", st.just(b"return redis.call('GET', KEYS[1])"), st.just(b"1"), key),
    request(b"EVAL", st.just(b"return redis.call('INCR', KEYS[1])"), st.just(b"1"), key),
    request(b"SUBSCRIBE", st.just(b"__redis__:invalidate")),
    request(b"FLUSHDB"),
    request(b"FLUSHALL"),
    request(b"RESET"),
]  # fmt: skip

_PROTOCOLS = b"string integer double bignum null array set map verbatim true false x".split()
DEBUGGING = [
    *[request(b"DEBUG", st.just(b"DIGEST"))] * 2,
    *[request(b"DEBUG", st.just(b"DIGEST-VALUE"), tail=keys)] * 4,
    request(b"DEBUG", st.just(b"PROTOCOL"), st.sampled_from(_PROTOCOLS)),
    request(b"DEBUG", st.just(b"ERROR"), st.sampled_from([b"CODE text", b"text", b"a\r\nb", b""])),
    request(b"DEBUG", st.just(b"SLEEP"), st.sampled_from([b"0", b"0.001", b"x"])),
    request(b"DEBUG", st.just(b"OBJECT"), key, tail=st.sampled_from([[], [b"fast"]])),
    request(
        b"DEBUG", st.just(b"POPULATE"), st.sampled_from([b"0", b"2", b"-1", b"x"]),
        tail=st.sampled_from([[], [b"p"], [b"p", b"3"], [b"p", b"12"], [b"p", b"x"]]),
    ),
    request(b"DEBUG", st.just(b"RELOAD")),
    request(b"DEBUG", st.sampled_from([b"LOG", b"FOO", b"CHANGE-REPL-ID"]), value),
    request(b"DEBUG", st.just(b"QUICKLIST-PACKED-THRESHOLD"), st.sampled_from([b"1", b"1kb", b"10b", b"x"])),
    request(b"DEBUG", st.sampled_from([b"PAUSE-CRON", b"DICT-RESIZING"]), st.just(b"0")),
    request(b"DEBUG", st.just(b"STRINGMATCH-LEN"), st.just(b"1"), st.just(b"*")),
]  # fmt: skip

_REQUESTS = st.one_of(
    *(st.one_of(*kinds) for kinds in (
        kit.REQUESTS, kit.LISTS, kit.HASHES, kit.SETS, kit.SORTED_SETS, kit.SORTING, kit.STREAMS, kit.STREAM_GROUPS,
    ))
)  # fmt: skip
#: Without those of which a subcommand is not here, and DEBUG, of which only we tell the arguments.
_UNLIKE = ("SCRIPT", "CLUSTER", "DEBUG")
_NAMES = [row.name.encode() for row in table.all_rows() if facts_of(row.name.lower()) and row.name not in _UNLIKE]
_name = st.sampled_from([*_NAMES, b"nosuch", b"config|nosuch", b"get|x", b"", b"|"]).map(
    lambda name: name.lower() if len(name) % 2 else name
)
_categories = st.sampled_from(b"read,WRITE,string,@read,list,dangerous,blocking,pubsub,fast,nosuch,".split(b","))
_name_patterns = st.sampled_from([b"*", b"X*", b"client|*", b"z[a-m]*", b"get", b"nosuch", b""])
_list_filter = st.one_of(
    st.tuples(st.just(b"ACLCAT"), _categories), st.tuples(st.just(b"pattern"), _name_patterns),
    st.sampled_from([(b"MODULE", b"json"), (b"FOO", b"x"), (b"PATTERN",), ()]),
)  # fmt: skip
_COMMANDS = [
    *[st.tuples(st.sampled_from([b"GETKEYS", b"GETKEYSANDFLAGS", b"getkeys"]), _REQUESTS).map(
        lambda drawn: [b"COMMAND", drawn[0], *drawn[1]])] * 6,
    request(b"COMMAND", st.just(b"INFO"), _name, tail=st.lists(_name, max_size=2)),
    request(b"COMMAND", st.just(b"DOCS"), _name, tail=st.lists(_name, max_size=2)),
    request(b"COMMAND", st.just(b"LIST"), st.sampled_from([b"FILTERBY", b"x"]), tail=_list_filter.map(list)),
    st.sampled_from([[b"COMMAND", b"LIST"], [b"COMMAND", b"FOO", b"x"]]),
    request(b"COMMAND", st.sampled_from([b"GETKEYS", b"GETKEYSANDFLAGS"]), tail=st.lists(_name, max_size=3)),
]  # fmt: skip
#: Without those that tell of all commands there are.
COMMANDS = [each.filter(lambda words: len(words) > 2 or words[1:2] == [b"LIST"]) for each in _COMMANDS]

_CODE = b"#!lua name=%b\nredis.register_function('%b', function(keys, args) return #keys end)"
_dumps = st.sampled_from(
    [
        write_dump([]),
        write_dump([_CODE % (b"one", b"f")]),
        write_dump([_CODE % (b"two", b"f")]),
        b"",
        b"x" * 20,
    ]
)
#: Of the whole server, where its answer does not hang on the server.
SERVER = [
    request(b"FUNCTION", st.just(b"RESTORE"), _dumps, tail=st.sampled_from(
        [[], [b"APPEND"], [b"REPLACE"], [b"flush"], [b"x"]])),
    request(b"FUNCTION", st.just(b"STATS")),
    request(b"FUNCTION", st.just(b"FLUSH"), st.sampled_from([b"ASYNC", b"async", b"x"])),
    request(b"SCRIPT", st.just(b"FLUSH"), st.sampled_from([b"ASYNC", b"SYNC", b"x"])),
    request(b"FUNCTION", st.just(b"LIST"), tail=st.sampled_from([[], [b"WITHCODE"]])),
    request(b"MEMORY", st.just(b"USAGE"), key, tail=st.sampled_from(
        [[], [b"SAMPLES", b"0"], [b"samples", b"-1"], [b"SAMPLES", b"x"], [b"SAMPLES"], [b"x", b"1"]])),
    request(b"MEMORY", st.sampled_from([b"PURGE", b"FOO"])),
    request(b"SLOWLOG", st.sampled_from([b"LEN", b"RESET", b"GET", b"FOO"])),
    request(b"SLOWLOG", st.just(b"GET"), st.sampled_from([b"-1", b"0", b"-2", b"x", b"5"])),
    request(b"LATENCY", st.sampled_from([b"LATEST", b"RESET", b"FOO", b"HISTORY"])),
    request(b"LATENCY", st.sampled_from([b"HISTORY", b"RESET", b"GRAPH"]), st.sampled_from([b"command", b"x"])),
    request(b"CONFIG", st.just(b"RESETSTAT")),
    request(b"ROLE"),
    request(b"TIME"),
    request(b"LASTSAVE"),
    request(b"READONLY"),
    request(b"READWRITE"),
    request(b"ASKING"),
    st.just([b"CLUSTER", b"INFO"]),
    st.sampled_from([words.split() for words in (
        b"REPLICAOF NO ONE", b"SLAVEOF no one", b"FAILOVER ABORT", b"FAILOVER x", b"SHUTDOWN ABORT", b"SHUTDOWN x",
        b"SHUTDOWN SAVE NOSAVE", b"LATENCY HISTOGRAM nosuch", b"LATENCY HISTOGRAM config|x",
    )]),
    request(b"WAIT", st.sampled_from([b"0", b"-1", b"x"]), st.sampled_from([b"0", b"1", b"-1", b"x"])),
    request(b"WAITAOF", st.sampled_from([b"0", b"-1", b"x", b"2"]), st.just(b"0"), st.sampled_from([b"0", b"1", b"x"])),
    request(b"CONFIG", st.just(b"GET"), st.sampled_from([b"maxmemory-pol*", b"nosuch", b"databases", b"[", b""])),
    request(b"SET", key, value),
    request(b"RPUSH", key, tail=kit.elements),
]  # fmt: skip

#: What has expired a moment later; see `expires_soon`.
EXPIRING = [
    request(b"PEXPIRE", key, st.just(b"1")),
    request(b"SET", key, value, st.just(b"PX"), st.just(b"1")),
    request(b"GETEX", key, st.just(b"PX"), st.just(b"1")),
    request(b"PSETEX", key, st.just(b"1"), value),
]


def expires_soon(words: list[bytes]) -> bool:
    """Whether a request gives a key a deadline that will have passed a moment later, and has not now."""
    name = words[0].upper()
    if name in (b"PEXPIRE", b"PSETEX"):
        return words[2:3] == [b"1"]
    return name in (b"SET", b"GETEX") and words[-2:] == [b"PX", b"1"]
