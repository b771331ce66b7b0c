"""Requests at random, for tests that compare: few keys, many of them odd; every command and option, right and wrong.

`sequences` is the strategy: lists of (client number, words) for two clients, transactions among them; `list_sequences`
is that of lists. Left out is what cannot be compared: cursors, random keys, what tells of the server itself.
What they are drawn from, a list of kinds of requests for each family, is for `random_families` too.
"""

from __future__ import annotations

from typing import Any

from tests.kit import drawing as st

_FUTURE_S = 4_000_000_000

KEYS = [b"a", b"b", b"c", b"", b"\x00\xff\r\n k"]
key = st.sampled_from(KEYS)
_integer = st.sampled_from(
    b"0,1,-1,2,5,-5,100,9223372036854775807,-9223372036854775808,9223372036854775808,01,+1, 1,1 ,-0,,x,1.0,1_0".split(
        b","
    )
)
database = st.sampled_from([b"0", b"1", b"1", b"2", b"16", b"-1", b"x"])
_small = st.sampled_from([b"0", b"1", b"2", b"3", b"5", b"-1", b"-2", b"-3", b"-100", b"100", b"x"])
_float = st.sampled_from(
    b"0.1,0.2,-0.3,1e3,3.0e3,1e20,-1e-17,5e-18,1e4000,1e5000,inf,-inf,nan,.5,5.,+1.5,1e,1e-5000,1e-4950".split(b",")
    + b"12345678901234567890.123,1.00000000000000000001,0.000000000000000005, 1,1 ,,1_0,-0".split(b",")
    + b"1e4300,-1e4932,0x1p3,0X.8P-1,-0xff,0x1.8,0x,0x1p,0x.p1,0x1p16383,0x1p16384,0x1p-16445,0x0e5".split(b",")
    + b"0e99999999999999999999,0x0p99999999999999999999,0x1p99999999999999999999,0x1p-999999999999999999".split(b",")
)
value = st.one_of(_integer, _float, st.binary(max_size=6), st.just(b"x" * 50))
_printable = st.sampled_from([b"x", b"two words", b"y" * 40, b"z" * 90, b"w" * 200, b"it's"])
seconds = st.sampled_from([b"100", b"1000", b"0", b"-1", b"x", b"9223372036854775807", b"9223372036854775"])
_unix_s = st.sampled_from([b"1", b"%d" % _FUTURE_S, b"%d" % (_FUTURE_S + 7), b"0", b"-5", b"9223372036854775807"])
_unix_ms = st.sampled_from([b"1", b"%d000" % _FUTURE_S, b"%d007" % _FUTURE_S, b"-5", b"9223372036854775807"])
_time_option = st.one_of(
    st.tuples(st.sampled_from([b"EX", b"ex", b"PX"]), seconds),
    st.tuples(st.just(b"EXAT"), _unix_s),
    st.tuples(st.just(b"PXAT"), _unix_ms),
    st.sampled_from([(b"KEEPTTL",), (b"PERSIST",), (b"EX",)]),
)
_write_condition = st.sampled_from([(b"NX",), (b"XX",), (b"nx",), (b"FOO",)])
_if_equal = st.tuples(st.sampled_from([b"IFEQ", b"ifeq"]), value)
_set_option = st.one_of(_time_option, _write_condition, _if_equal, st.sampled_from([(b"GET",), (b"IFEQ",)]))
_msetex_option = st.one_of(_time_option, _write_condition)
_condition = st.sampled_from([(b"NX",), (b"XX",), (b"GT",), (b"LT",), (b"gt",), (b"FOO",)])
copy_option = st.sampled_from([(b"REPLACE",), (b"DB", b"0"), (b"DB", b"1"), (b"DB",)])
_scan_option = st.sampled_from(
    [(b"COUNT", b"0"), (b"COUNT", b"9999"), (b"COUNT", b"x"), (b"MATCH",), (b"MATCH", b"a"), (b"FOO", b"x"), (b"FOO",),
     (b"TYPE", b"q"), (b"TYPE", b"String"), (b"TYPE",)]
)  # fmt: skip
pattern = st.one_of(
    st.text("ab*?[]^-\\c\xff", max_size=6).map(lambda text: text.encode("latin-1")),
    st.sampled_from([b"*", b"[^a]", b"[a-b]", b"[b-a]", b"\\a", b"[a-", b"[\\", b"*[", b"?", b"", b"[]a]", b"[^]"]),
).filter(lambda pattern: pattern == b"*" or pattern.strip(b"*"))  # `**` and the empty key: see test_commands_glob


def several_of(option: st.Draw[Any], most: int) -> st.Draw[list[bytes]]:
    """The words of up to so many options."""
    return st.lists(option, max_size=most).map(lambda options: [word for words in options for word in words])


def request(name: bytes, *arguments: Any, tail: st.Draw[list[bytes]] | None = None) -> Any:
    """Requests of one command; now and then in lower case, with a word too many or too few."""
    fixed = st.tuples(*arguments).map(list)
    words = st.tuples(fixed, st.just([]) if tail is None else tail).map(lambda parts: [name, *parts[0], *parts[1]])
    fault = st.integers(0, 59)
    return st.tuples(words, fault).map(lambda drawn: _with_fault(*drawn))


#: Without a count they answer by chance.
_DRAWS = (b"SPOP", b"SRANDMEMBER", b"HRANDFIELD", b"ZRANDMEMBER")


def _with_fault(words: list[bytes], fault: int) -> list[bytes]:
    if fault == 1:
        return [*words, b"x"]
    if fault == 2 and len(words) > 1 + 2 * (words[0] in _DRAWS):
        return words[:-1]
    return [words[0].lower(), *words[1:]] if fault > 50 else words


keys = st.lists(key, min_size=1, max_size=3)
_pairs = st.lists(st.tuples(key, value), max_size=3).map(lambda pairs: [word for pair in pairs for word in pair])
_many_pairs = st.lists(st.tuples(key, value), min_size=1, max_size=3)
_msetex_number = st.sampled_from([0, 0, 0, 0, 0, 1, -1, 9])
_msetex = st.tuples(_many_pairs, _msetex_number, several_of(_msetex_option, 2)).map(
    lambda drawn: [b"%d" % (len(drawn[0]) + drawn[1]), *(word for pair in drawn[0] for word in pair), *drawn[2]]
)
#: Of HELLO only what fails: the rest tells of the server itself.
REQUESTS = [
    request(b"GET", key),
    request(b"SET", key, value),
    request(b"SET", key, value, tail=several_of(_set_option, 3)),
    request(b"SETNX", key, value),
    request(b"SETEX", key, seconds, value),
    request(b"PSETEX", key, seconds.filter(lambda word: word != b"100"), value),
    request(b"GETSET", key, value),
    request(b"GETDEL", key),
    request(b"GETEX", key, tail=several_of(_time_option, 2)),
    request(b"MGET", tail=keys),
    request(b"MSET", key, value, tail=_pairs),
    request(b"MSETNX", key, value, tail=_pairs),
    request(b"MSETEX", tail=_msetex),
    request(b"DELIFEQ", key, value),
    request(b"APPEND", key, value),
    request(b"STRLEN", key),
    request(b"INCR", key),
    request(b"DECR", key),
    request(b"INCRBY", key, _integer),
    request(b"DECRBY", key, _integer),
    request(b"INCRBYFLOAT", key, _float),
    request(b"GETRANGE", key, _small, _small),
    request(b"SUBSTR", key, _small, _small),
    request(b"SETRANGE", key, st.sampled_from([b"0", b"1", b"7", b"-1", b"600000000", b"x"]), value),
    request(b"DEL", tail=keys),
    request(b"UNLINK", tail=keys),
    request(b"EXISTS", tail=keys),
    request(b"TOUCH", tail=keys),
    request(b"TYPE", key),
    request(b"KEYS", pattern),
    request(b"SCAN", st.sampled_from([b"x", b"-1", b"", b"18446744073709551616"])),
    request(b"SCAN", st.just(b"0"), tail=several_of(_scan_option, 3)),
    request(b"SCAN", st.sampled_from([b"+0", b"-0", b" 0", b"0x0", b"+", b"1_0"]), tail=st.just([b"COUNT", b"9999"])),
    request(b"EXPIRE", key, seconds, tail=several_of(_condition, 2)),
    request(b"PEXPIRE", key, seconds.filter(lambda word: word != b"100"), tail=several_of(_condition, 2)),
    request(b"EXPIREAT", key, _unix_s, tail=several_of(_condition, 2)),
    request(b"PEXPIREAT", key, _unix_ms, tail=several_of(_condition, 2)),
    request(b"TTL", key),
    request(b"PTTL", key),
    request(b"EXPIRETIME", key),
    request(b"PEXPIRETIME", key),
    request(b"PERSIST", key),
    request(b"RENAME", key, key),
    request(b"RENAMENX", key, key),
    request(b"COPY", key, key, tail=several_of(copy_option, 2)),
    request(b"MOVE", key, database),
    request(b"DBSIZE"),
    request(b"FLUSHDB", tail=st.sampled_from([[], [b"ASYNC"], [b"SYNC"], [b"FOO"]])),
    request(b"FLUSHALL", tail=st.sampled_from([[], [b"ASYNC"], [b"SYNC"], [b"FOO"]])),
    request(b"OBJECT", st.sampled_from([b"FOO", b"ENCODING"])),
    request(b"OBJECT", st.sampled_from([b"REFCOUNT", b"IDLETIME", b"FREQ"]), key),
    request(b"PING"),
    request(b"ECHO", value),
    request(b"SELECT", st.sampled_from([b"0", b"1", b"-1", b"x"])),
    request(b"SELECT", st.sampled_from([b"0", b"1", b"15", b"16"])),
    request(b"SWAPDB", database, database),
    request(b"CLIENT", st.just(b"SETNAME"), st.sampled_from([b"me", b"m e", b"", b"m\n"])),
    request(b"CLIENT", st.just(b"GETNAME")),
    st.tuples(st.just(b"HELLO"), st.sampled_from([b"4", b"x", b"1"])).map(list),
    st.sampled_from([[b"FOO"], [b"AUTH", b"u", b"p"], [b"SETNAME", b" "]]).map(lambda words: [b"HELLO", b"3", *words]),
    request(b"AUTH", value),
    request(b"AUTH", st.sampled_from([b"default", b"u"]), value, tail=st.sampled_from([[], [], [b"x"]])),
    request(b"COMMAND", st.just(b"GETKEYS"), st.sampled_from([b"MSET", b"GET", b"PING", b"NOSUCH"]), key, value),
    request(b"NOSUCH", _printable, _printable),
]  # fmt: skip
TRANSACTION = [request(name) for name in (b"MULTI", b"MULTI", b"DISCARD", b"UNWATCH", b"RESET")]
TRANSACTION += [st.just([b"EXEC"])] * 3 + [st.just([b"EXEC", b"x"])] + [request(b"WATCH", tail=keys)] * 3

#: Of any type.
GENERIC = [
    request(b"SET", key, value),
    request(b"GET", key),
    request(b"DEL", tail=keys),
    request(b"TYPE", key),
    request(b"OBJECT", st.just(b"ENCODING"), key),
    request(b"EXISTS", tail=keys),
    request(b"RENAME", key, key),
    request(b"COPY", key, key, tail=several_of(copy_option, 2)),
    request(b"MOVE", key, database),
    request(b"EXPIRE", key, seconds, tail=several_of(_condition, 2)),
    request(b"PEXPIRETIME", key),
]
_element = st.one_of(st.sampled_from([b"x", b"x", b"x", b"y", b"z", b""]), value, st.just(b"w" * 3000))
elements = st.lists(_element, min_size=1, max_size=6)
list_end = st.sampled_from([b"LEFT", b"RIGHT", b"left", b"LEFT", b"RIGHT", b"UP"])
_count_option = st.sampled_from(
    [(), (), (b"COUNT", b"1"), (b"COUNT", b"2"), (b"count", b"100"), (b"COUNT", b"0"), (b"COUNT",)]
)
_lpos_option = st.one_of(
    st.tuples(st.sampled_from([b"RANK", b"COUNT", b"MAXLEN", b"rank", b"FOO"]), _small),
    st.sampled_from([(b"RANK", b"-9223372036854775808"), (b"RANK",)]),
)
#: How many keys, and the keys.
numbered = st.one_of(
    keys.map(lambda keys: [b"%d" % len(keys), *keys]), st.tuples(_small, keys).map(lambda both: [both[0], *both[1]])
)
mpop = st.tuples(numbered, list_end, _count_option).map(lambda parts: [*parts[0], parts[1], *parts[2]])
_timeout = st.sampled_from([b"0.001", b"1e-3", b"0x1p-10", b"0.0000001", b"-1", b"x", b"inf", b"-inf", b"1e300", b""])
_blocking_keys = st.tuples(keys, _timeout).map(lambda parts: [*parts[0], parts[1]])
LISTS = [
    request(b"RPUSH", key, tail=elements),
    request(b"LPUSH", key, tail=elements),
    request(b"RPUSHX", key, tail=elements),
    request(b"LPUSHX", key, tail=elements),
    request(b"LPOP", key),
    request(b"RPOP", key),
    request(b"LPOP", key, _small),
    request(b"RPOP", key, _small),
    request(b"LLEN", key),
    request(b"LRANGE", key, _small, _small),
    request(b"LRANGE", key, st.just(b"0"), st.just(b"-1")),
    request(b"LINDEX", key, _small),
    request(b"LSET", key, _small, _element),
    request(b"LREM", key, _small, _element),
    request(b"LTRIM", key, _small, _small),
    request(b"LINSERT", key, st.sampled_from([b"BEFORE", b"AFTER", b"after", b"FOO"]), _element, _element),
    request(b"LPOS", key, _element, tail=several_of(_lpos_option, 3)),
    request(b"LMOVE", key, key, list_end, list_end),
    request(b"RPOPLPUSH", key, key),
    request(b"LMPOP", tail=mpop),
    request(b"BLPOP", tail=_blocking_keys),
    request(b"BRPOP", tail=_blocking_keys),
    request(b"BLMPOP", _timeout, tail=mpop),
    request(b"BLMOVE", key, key, list_end, list_end, _timeout),
    request(b"BRPOPLPUSH", key, key, _timeout),
    request(
        b"CLIENT", st.just(b"UNBLOCK"), st.sampled_from([b"0", b"x"]), tail=st.sampled_from([[], [b"ERROR"], [b"FOO"]])
    ),
    request(b"COMMAND", st.just(b"GETKEYS"), st.just(b"LMPOP"), tail=mpop),
]


field = st.sampled_from([b"a", b"b", b"c", b"", b"\xff"])
_some_fields = st.lists(field, min_size=1, max_size=3)
_field_pairs = st.lists(st.tuples(field, value), min_size=1, max_size=3)
_field_values = _field_pairs.map(lambda pairs: [word for pair in pairs for word in pair])
_fields_word = st.sampled_from([b"FIELDS", b"fields", b"FIELDS", b"FIELDS", b"FIELD"])


def _counted(words: list[bytes], each: int, fault: int) -> list[bytes]:
    """So many fields behind their number, now and then a wrong one."""
    number = [b"x", b"0", b"-1", b"9"][fault] if fault < 4 else b"%d" % (len(words) // each)
    return [number, *words]


_counted_fields = st.builds(_counted, _some_fields, st.just(1), st.integers(0, 60))
_counted_pairs = st.builds(_counted, _field_values, st.just(2), st.integers(0, 60))


def _ending_in_fields(
    name: bytes, *arguments: Any, options: Any = None, most: int = 0, fields: Any = _counted_fields
) -> Any:
    tail = st.tuples(several_of(options, most) if options is not None else st.just([]), _fields_word, fields)
    return request(name, *arguments, tail=tail.map(lambda parts: [*parts[0], parts[1], *parts[2]]))


_hsetex_option = st.one_of(
    _time_option, st.sampled_from([(b"NX",), (b"XX",), (b"FNX",), (b"FXX",), (b"fnx",), (b"KEEPTTL",), (b"FOO",)])
)
_hscan_option = st.one_of(_scan_option, st.just((b"NOVALUES",)))
HASHES = [
    request(b"HSET", key, tail=_field_values),
    request(b"HSET", key, tail=_field_values),
    request(b"HSET", key, field, st.just(b"v" * 65)),
    request(b"HMSET", key, tail=_field_values),
    request(b"HSETNX", key, field, value),
    request(b"HGET", key, field),
    request(b"HMGET", key, tail=_some_fields),
    request(b"HGETALL", key),
    request(b"HKEYS", key),
    request(b"HVALS", key),
    request(b"HLEN", key),
    request(b"HEXISTS", key, field),
    request(b"HSTRLEN", key, field),
    request(b"HDEL", key, tail=_some_fields),
    request(b"HINCRBY", key, field, _integer),
    request(b"HINCRBYFLOAT", key, field, _float),
    request(b"HRANDFIELD", key, tail=st.sampled_from([b"0", b"99", b"x", b"99 WITHVALUES", b"1 x"]).map(bytes.split)),
    request(b"HSCAN", key, st.sampled_from([b"0", b"+0", b"x"]), tail=several_of(_hscan_option, 3)),
    request(b"OBJECT", st.just(b"ENCODING"), key),
    _ending_in_fields(b"HEXPIRE", key, seconds, options=_condition, most=2),
    _ending_in_fields(b"HPEXPIRE", key, seconds.filter(lambda word: word != b"100"), options=_condition, most=2),
    _ending_in_fields(b"HEXPIREAT", key, _unix_s, options=_condition, most=2),
    _ending_in_fields(b"HPEXPIREAT", key, _unix_ms, options=_condition, most=2),
    _ending_in_fields(b"HTTL", key),
    _ending_in_fields(b"HPTTL", key),
    _ending_in_fields(b"HEXPIRETIME", key),
    _ending_in_fields(b"HPEXPIRETIME", key),
    _ending_in_fields(b"HPERSIST", key),
    _ending_in_fields(b"HGETDEL", key),
    _ending_in_fields(b"HGETEX", key, options=_time_option, most=2),
    _ending_in_fields(b"HSETEX", key, options=_hsetex_option, most=3, fields=_counted_pairs),
]  # fmt: skip
_member = st.sampled_from(
    [b"1", b"2", b"-7", b"x", b"", b"01", b"9223372036854775807", b"9223372036854775808", b"m" * 65]
)
_members = st.one_of(
    st.lists(_member, min_size=1, max_size=4),
    st.tuples(st.sampled_from([b"%d", b"m%d"]), st.sampled_from([3, 127, 128, 129, 130, 510, 512, 513])).map(
        lambda drawn: [drawn[0] % number for number in range(drawn[1])]
    ),
)
#: Of all members or none: others are chance.
_all_or_none = st.sampled_from([b"0", b"0", b"99999", b"9223372036854775807", b"-9223372036854775808", b"x", b"1 x"])
_limit_option = st.sampled_from([[], [b"LIMIT", b"0"], [b"limit", b"2"], [b"LIMIT", b"-1"], [b"LIMIT"], [b"FOO", b"1"]])
SETS = [
    request(b"SADD", key, tail=_members),
    request(b"SADD", key, tail=_members),
    request(b"SREM", key, tail=_members),
    request(b"SREM", key, tail=st.lists(_member, min_size=1, max_size=4)),
    request(b"SMEMBERS", key),
    request(b"SCARD", key),
    request(b"SISMEMBER", key, _member),
    request(b"SMISMEMBER", key, tail=_members),
    request(b"SMOVE", key, key, _member),
    request(b"SPOP", key, tail=_all_or_none.map(bytes.split)),
    request(b"SPOP", key, st.just(b"-1")),
    request(b"SRANDMEMBER", key, tail=_all_or_none.map(bytes.split)),
    request(b"SSCAN", key, st.sampled_from([b"0", b"+0", b"x"]), tail=several_of(_scan_option, 3)),
    request(b"SINTER", tail=keys),
    request(b"SUNION", tail=keys),
    request(b"SDIFF", tail=keys),
    request(b"SINTERSTORE", key, tail=keys),
    request(b"SUNIONSTORE", key, tail=keys),
    request(b"SDIFFSTORE", key, tail=keys),
    request(b"SINTERCARD", tail=st.tuples(numbered, _limit_option).map(lambda parts: [*parts[0], *parts[1]])),
    request(b"OBJECT", st.just(b"ENCODING"), key),
]  # fmt: skip


_score = st.sampled_from(
    b"0,0,1,1,2,2.5,-1,1e3,3.0e3,inf,-inf,+inf,Infinity,nan,x,,1e400,1e-400,0e-400,5e-324,0x10, 1,1_0,.5,5.,+5".split(
        b","
    )
)
_member = st.sampled_from([b"a", b"a", b"b", b"c", b"d", b"", b"\xff", b"m" * 65])
score_pairs = st.lists(st.tuples(_score, _member), min_size=1, max_size=4).map(
    lambda pairs: [word for pair in pairs for word in pair]
)
_zadd_option = st.sampled_from([(b"NX",), (b"XX",), (b"GT",), (b"LT",), (b"CH",), (b"INCR",), (b"incr",), (b"FOO",)])
_zadd = st.tuples(several_of(_zadd_option, 2), score_pairs).map(lambda parts: [*parts[0], *parts[1]])
_score_end = st.one_of(_score, st.sampled_from(b"(1,(2,(,(-inf,(inf,((1,-inf,+inf,0,3".split(b",")))
_lex_end = st.sampled_from(b"-,+,[a,(a,[b,(c,[,(,[\xff,a,,-x,+".split(b","))
_limit = st.sampled_from(b"LIMIT 0 1,LIMIT 1 -1,limit -1 2,LIMIT 1 x,LIMIT 1,LIMIT 0 0,LIMIT 100 2".split(b",")).map(
    lambda text: tuple(text.split())
)
_withscores = st.sampled_from([(b"WITHSCORES",), (b"withscores",), (b"FOO",)])
_range_option = st.one_of(_limit, _withscores, st.sampled_from([(b"REV",), (b"BYSCORE",), (b"BYLEX",), (b"byscore",)]))
_score_options = several_of(st.one_of(_limit, _withscores), 2)
scored_mpop = st.tuples(numbered, st.sampled_from([b"MIN", b"MAX", b"max", b"UP"]), _count_option).map(
    lambda parts: [*parts[0], parts[1], *parts[2]]
)
_zunion_option = st.one_of(
    st.lists(_score, min_size=1, max_size=3).map(lambda weights: (b"WEIGHTS", *weights)),
    st.sampled_from([b"SUM", b"MIN", b"max", b"FOO"]).map(lambda name: (b"AGGREGATE", name)),
    st.sampled_from(
        [(b"WITHSCORES",), (b"withscores",), (b"WITHSCORES",), (b"FOO",), (b"AGGREGATE",), (b"LIMIT", b"1")]
    ),
)
_zunion = st.tuples(numbered, several_of(_zunion_option, 2)).map(lambda parts: [*parts[0], *parts[1]])
_zintercard = st.tuples(numbered, several_of(st.tuples(st.just(b"LIMIT"), _small), 2)).map(
    lambda parts: [*parts[0], *parts[1]]
)
_zscan_option = st.one_of(_scan_option, st.sampled_from([(b"NOSCORES",), (b"NOVALUES",)]))
SORTED_SETS = [
    request(b"ZADD", key, tail=score_pairs),
    request(b"ZADD", key, tail=score_pairs),
    request(b"ZADD", key, tail=_zadd),
    request(b"ZADD", key, tail=_zadd),
    request(b"ZINCRBY", key, _score, _member),
    request(b"ZREM", key, tail=st.lists(_member, min_size=1, max_size=3)),
    request(b"ZCARD", key),
    request(b"ZSCORE", key, _member),
    request(b"ZMSCORE", key, tail=st.lists(_member, min_size=1, max_size=3)),
    request(b"ZRANK", key, _member, tail=st.sampled_from([[], [b"WITHSCORE"], [b"x"]])),
    request(b"ZREVRANK", key, _member, tail=st.sampled_from([[], [b"withscore"], [b"x"]])),
    request(b"ZPOPMIN", key, tail=st.lists(_small, max_size=1)),
    request(b"ZPOPMAX", key, tail=st.lists(_small, max_size=1)),
    request(b"ZMPOP", tail=scored_mpop),
    request(b"ZCOUNT", key, _score_end, _score_end),
    request(b"ZRANGE", key, _small, _small, tail=several_of(_range_option, 3)),
    request(
        b"ZRANGE", key, _score_end, _score_end, tail=several_of(_range_option, 3).map(lambda tail: [b"BYSCORE", *tail])
    ),
    request(b"ZREVRANGE", key, _small, _small, tail=_score_options),
    request(b"ZRANGEBYSCORE", key, _score_end, _score_end, tail=_score_options),
    request(b"ZREVRANGEBYSCORE", key, _score_end, _score_end, tail=_score_options),
    request(b"ZRANGESTORE", key, key, _small, _small, tail=several_of(_range_option, 2)),
    request(b"ZREMRANGEBYRANK", key, _small, _small),
    request(b"SADD", key, tail=st.lists(_member, min_size=1, max_size=3)),
    request(b"ZUNION", tail=_zunion),
    request(b"ZINTER", tail=_zunion),
    request(b"ZDIFF", tail=_zunion),
    request(b"ZUNIONSTORE", key, tail=_zunion),
    request(b"ZINTERSTORE", key, tail=_zunion),
    request(b"ZDIFFSTORE", key, tail=numbered),
    request(b"ZINTERCARD", tail=_zintercard),
    request(b"ZRANDMEMBER", key, tail=st.sampled_from([b"0", b"99", b"x", b"99 WITHSCORES", b"1 x"]).map(bytes.split)),
    request(b"ZSCAN", key, st.sampled_from([b"0", b"+0", b"x"]), tail=several_of(_zscan_option, 2)),
    request(b"BZPOPMIN", tail=_blocking_keys),
    request(b"BZPOPMAX", tail=_blocking_keys),
    request(b"BZMPOP", _timeout, tail=scored_mpop),
    request(b"COMMAND", st.just(b"GETKEYS"), st.just(b"ZUNIONSTORE"), key, tail=_zunion),
    request(b"ZREMRANGEBYSCORE", key, _score_end, _score_end),
    request(b"OBJECT", st.just(b"ENCODING"), key),
]
#: Where all members have one score: what a range of members is, only then is it said.
LEXICAL = [
    *([request(b"ZADD", key, tail=st.lists(_member, min_size=1, max_size=4).map(lambda each: [
        word for member in each for word in (b"0", member)]))] * 3),
    request(b"ZLEXCOUNT", key, _lex_end, _lex_end),
    request(b"ZRANGE", key, _lex_end, _lex_end, tail=several_of(_range_option, 3).map(lambda tail: [b"BYLEX", *tail])),
    request(b"ZRANGEBYLEX", key, _lex_end, _lex_end, tail=_score_options),
    request(b"ZREVRANGEBYLEX", key, _lex_end, _lex_end, tail=_score_options),
    request(b"ZREMRANGEBYLEX", key, _lex_end, _lex_end),
    request(b"ZRANGESTORE", key, key, _lex_end, _lex_end, tail=st.just([b"BYLEX"])),
]  # fmt: skip


#: Elements that are numbers, some of them the same, and keys and fields that they lead to.
_number = st.sampled_from(b"1,2,3,10,1,2,1.0,-1,+1,1e1,.5,inf".split(b","))
_sorted_element = st.one_of(_number, _number, _number, _member)
_pattern_to = st.sampled_from(b"w*,w*,w*,h*->f,h*->f,h*->g,*,#,nosort,w*->,w,*->f,w**,h1->f".split(b","))
_sort_option = st.one_of(
    st.sampled_from([(b"ASC",), (b"DESC",), (b"desc",), (b"ALPHA",), (b"alpha",), (b"FOO",), (b"BY",), (b"GET",)]),
    st.tuples(st.just(b"LIMIT"), _small, _small),
    st.tuples(st.sampled_from([b"BY", b"GET", b"get"]), _pattern_to),
    st.tuples(st.just(b"STORE"), key),
)
_sort_tail = several_of(_sort_option, 4)
_weight = st.sampled_from([b"w1", b"w2", b"w3", b"w10", b"w-1", b"h1", b"h2", b"h3", b"1", b"2"])
SORTING = [
    *[request(b"RPUSH", key, tail=st.lists(_sorted_element, min_size=1, max_size=8))] * 2,
    request(b"RPUSH", key, tail=st.lists(_number, min_size=1, max_size=8)),
    request(b"SADD", key, tail=st.lists(_sorted_element, min_size=1, max_size=8)),
    request(b"ZADD", key, tail=st.lists(st.tuples(_number, _number), min_size=1, max_size=5).map(
        lambda pairs: [word for pair in pairs for word in pair])),
    *[request(b"SET", _weight, st.one_of(_number, _number, value))] * 2,
    *[request(b"HSET", _weight, st.sampled_from([b"f", b"g"]), _number)] * 2,
    *[request(b"SORT", key, tail=_sort_tail)] * 6,
    *[request(b"SORT_RO", key, tail=_sort_tail)] * 2,
    request(b"COMMAND", st.just(b"GETKEYS"), st.just(b"SORT"), key, tail=_sort_tail),
    request(b"COMMAND", st.just(b"GETKEYS"), st.just(b"SORT_RO"), key, tail=_sort_tail),
]  # fmt: skip


#: Few enough to be the same at times. None is drawn by the server, since that hangs on its clock.
entry_id = st.sampled_from(
    b"1-1,1-2,2-1,2-5,3-0,3,2,5-1,5-7,9-9,0-1,0,0-0,1-*,2-*,5-*,0-*,x,1-x,-,+,$,>,01-1,18446744073709551615,,-1".split(
        b","
    )
)
new_entry_id = st.one_of(entry_id, st.sampled_from([b"%d-%d" % (ms, at) for ms in range(1, 10) for at in range(3)]))
_bound = st.one_of(
    st.sampled_from([b"-", b"+", b"-", b"+", b"(1-1", b"(2", b"(5-7", b"(0", b"(-", b"(18446744073709551615"]), entry_id
)
_trim_option = st.one_of(
    st.tuples(st.just(b"MAXLEN"), st.sampled_from([b"0", b"1", b"2", b"5", b"-1", b"x"])),
    st.tuples(st.just(b"maxlen"), st.sampled_from([b"=", b"~"]), st.sampled_from([b"0", b"1", b"3"])),
    st.tuples(st.just(b"MINID"), st.sampled_from([b"=", b"~"]), entry_id),
    st.tuples(st.just(b"MINID"), entry_id),
    st.tuples(st.just(b"LIMIT"), st.sampled_from([b"0", b"1", b"5", b"-1", b"x"])),
    st.sampled_from([(b"MAXLEN",), (b"FOO",), (b"~",)]),
)
_add_option = st.one_of(_trim_option, st.sampled_from([(b"NOMKSTREAM",), (b"nomkstream",)]))
_maybe_trim = st.one_of(st.just([]), st.just([]), several_of(_add_option, 2))
_entry = st.lists(st.tuples(field, value), min_size=1, max_size=3).map(lambda pairs: [w for p in pairs for w in p])
_add = st.tuples(_maybe_trim, new_entry_id, _entry).map(lambda parts: [*parts[0], parts[1], *parts[2]])
entry_ids = st.lists(entry_id, min_size=1, max_size=3)
_stream_count = st.sampled_from(
    [[], [], [b"COUNT", b"1"], [b"COUNT", b"2"], [b"COUNT", b"0"], [b"count", b"-1"], [b"X"]]
)
_setid_option = st.one_of(
    st.tuples(st.just(b"ENTRIESADDED"), st.sampled_from([b"0", b"2", b"100", b"-1"])),
    st.tuples(st.just(b"MAXDELETEDID"), entry_id),
)
_read_option = st.sampled_from(
    [(b"COUNT", b"1"), (b"COUNT", b"0"), (b"COUNT", b"x"), (b"BLOCK", b"1"), (b"BLOCK", b"-1"), (b"BLOCK", b"x"),
     (b"NOACK",), (b"FOO",), (b"GROUP", b"g", b"c")]
)  # fmt: skip
_reads = st.lists(st.tuples(key, entry_id), min_size=1, max_size=3).map(
    lambda pairs: [b"STREAMS", *(key for key, _ in pairs), *(each for _, each in pairs)]
)
_read_tail = st.tuples(st.one_of(st.just([]), several_of(_read_option, 2)), _reads).map(
    lambda parts: parts[0] + parts[1]
)
STREAMS = [
    request(b"XADD", key, tail=_add),
    request(b"XADD", key, tail=_add),
    request(b"XADD", key, tail=_add),
    request(b"XADD", key, new_entry_id, field, value),
    request(b"XADD", key, new_entry_id, field, value),
    request(b"XADD", key, new_entry_id, field, st.just(b"w" * 3000)),
    request(b"XLEN", key),
    request(b"XRANGE", key, st.just(b"-"), st.just(b"+")),
    request(b"XRANGE", key, _bound, _bound, tail=_stream_count),
    request(b"XREVRANGE", key, _bound, _bound, tail=_stream_count),
    request(b"XREAD", tail=_read_tail),
    request(b"XDEL", key, tail=entry_ids),
    request(b"XTRIM", key, tail=several_of(_trim_option, 2)),
    request(b"XSETID", key, entry_id, tail=several_of(_setid_option, 2)),
]
#: Errors name keys; what is not printable in them is escaped here.
_named = st.sampled_from([b"a", b"a", b"b", b""])
group, consumer = st.sampled_from([b"g", b"g", b"g", b"h", b""]), st.sampled_from([b"c", b"c", b"d", b""])
_idle = st.sampled_from([b"0", b"0", b"100000", b"-1", b"x"])
_create_option = st.sampled_from(
    [(b"MKSTREAM",), (b"mkstream",), (b"ENTRIESREAD", b"1"), (b"ENTRIESREAD", b"-2"), (b"X",)]
)
_claim_option = st.sampled_from(
    [(b"IDLE", b"100000000"), (b"TIME", b"1"), (b"TIME", b"x"), (b"RETRYCOUNT", b"3"), (b"RETRYCOUNT", b"-1"),
     (b"FORCE",), (b"JUSTID",), (b"justid",), (b"LASTID", b"5-1"), (b"FOO",), (b"IDLE",)]
)  # fmt: skip
_claim_tail = st.tuples(entry_ids, several_of(_claim_option, 2)).map(lambda parts: parts[0] + parts[1])
_auto_option = st.sampled_from(
    [(b"COUNT", b"1"), (b"COUNT", b"2"), (b"COUNT", b"0"), (b"JUSTID",), (b"COUNT",), (b"FOO",)]
)
#: Without what is pending, and since when: that hangs on the clock.
_pending_tail = st.sampled_from(
    [
        b"",
        b"",
        b"IDLE 0 - +",
        b"- + 0",
        b"IDLE 9999999 - + 9",
        b"- + x",
        b"x + 1",
        b"IDLE x - + 1",
        b"- + 1 nobody",
        b"-",
    ]
).map(bytes.split)
_read_new = st.lists(
    st.tuples(_named, st.sampled_from([b">", b">", b">", b"0", b"1-1", b"$", b"x"])), min_size=1, max_size=2
).map(lambda pairs: [b"STREAMS", *(key for key, _ in pairs), *(each for _, each in pairs)])
_group_tail = st.tuples(st.one_of(st.just([]), several_of(_read_option, 2)), _read_new).map(
    lambda parts: parts[0] + parts[1]
)
STREAM_GROUPS = [
    request(b"XADD", _named, new_entry_id, field, value),
    request(b"XADD", _named, new_entry_id, field, value),
    request(b"XADD", _named, new_entry_id, field, value),
    request(b"XDEL", _named, tail=entry_ids),
    request(b"XTRIM", _named, tail=several_of(_trim_option, 1)),
    request(b"XSETID", _named, entry_id, tail=several_of(_setid_option, 2)),
    *[request(b"XGROUP", st.just(b"CREATE"), _named, group, entry_id, tail=several_of(_create_option, 2))] * 3,
    request(b"XGROUP", st.just(b"SETID"), _named, group, entry_id, tail=several_of(_create_option, 1)),
    request(b"XGROUP", st.just(b"DESTROY"), _named, group),
    request(b"XGROUP", st.just(b"CREATECONSUMER"), _named, group, consumer),
    request(b"XGROUP", st.just(b"DELCONSUMER"), _named, group, consumer),
    *[request(b"XREADGROUP", st.just(b"GROUP"), group, consumer, tail=_group_tail)] * 4,
    request(b"XACK", _named, group, tail=entry_ids),
    request(b"XPENDING", _named, group, tail=_pending_tail),
    request(b"XPENDING", _named, group),
    *[request(b"XCLAIM", _named, group, consumer, _idle, tail=_claim_tail)] * 2,
    *[request(b"XAUTOCLAIM", _named, group, consumer, _idle, _bound, tail=several_of(_auto_option, 2))] * 2,
    request(b"XINFO", st.just(b"STREAM"), _named, tail=st.sampled_from([[], [], [b"FOO"], [b"FULL", b"COUNT", b"x"]])),
    *[request(b"XINFO", st.just(b"GROUPS"), key)] * 2,
    request(b"XINFO", st.just(b"CONSUMERS"), _named, st.just(b"nobody")),
]


def _sequences(*requests: Any) -> st.Draw[list[tuple[int, list[bytes]]]]:
    """(number of the client, words of its request), up to 25 of them. `requests`: kinds, each drawn as often."""
    kinds = st.one_of(*(st.one_of(*kind) for kind in requests))
    return st.lists(st.tuples(st.integers(0, 1), kinds), min_size=1, max_size=25)


sequences = _sequences(REQUESTS, TRANSACTION)
list_sequences = _sequences(LISTS, LISTS, GENERIC, TRANSACTION)
set_sequences = _sequences(SETS, SETS, GENERIC, TRANSACTION)
hash_sequences = _sequences(HASHES, HASHES, GENERIC, TRANSACTION)
sorted_set_sequences = _sequences(SORTED_SETS, SORTED_SETS, GENERIC, TRANSACTION)
lexical_sequences = _sequences(LEXICAL, LEXICAL, GENERIC, TRANSACTION)
sort_sequences = _sequences(SORTING, SORTING, SORTING, GENERIC, TRANSACTION)
stream_sequences = _sequences(STREAMS, STREAMS, GENERIC, TRANSACTION)
group_sequences = _sequences(STREAM_GROUPS, STREAM_GROUPS, STREAM_GROUPS, GENERIC, TRANSACTION)
