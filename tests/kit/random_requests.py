"""Requests at random, for tests that compare: few keys, many of them odd; every command and option, right and wrong.

`sequences` is the strategy: lists of (client number, words) for two clients, transactions among them; `list_sequences`
is that of lists. Left out is what cannot be compared: cursors, random keys, what tells of the server itself.
"""

from __future__ import annotations

from typing import Any

from tests.kit import drawing as st

_FUTURE_S = 4_000_000_000

_key = st.sampled_from([b"a", b"b", b"c", b"", b"\x00\xff\r\n k"])
_integer = st.sampled_from(
    b"0,1,-1,2,5,-5,100,9223372036854775807,-9223372036854775808,9223372036854775808,01,+1, 1,1 ,-0,,x,1.0,1_0".split(
        b","
    )
)
_database = st.sampled_from([b"0", b"1", b"1", b"2", b"16", b"-1", b"x"])
_small = st.sampled_from([b"0", b"1", b"2", b"3", b"5", b"-1", b"-2", b"-3", b"-100", b"100", b"x"])
_float = st.sampled_from(
    b"0.1,0.2,-0.3,1e3,3.0e3,1e20,-1e-17,5e-18,1e4000,1e5000,inf,-inf,nan,.5,5.,+1.5,1e,1e-5000,1e-4950".split(b",")
    + b"12345678901234567890.123,1.00000000000000000001,0.000000000000000005, 1,1 ,,1_0,-0".split(b",")
    + b"1e4300,-1e4932,0x1p3,0X.8P-1,-0xff,0x1.8,0x,0x1p,0x.p1,0x1p16383,0x1p16384,0x1p-16445,0x0e5".split(b",")
    + b"0e99999999999999999999,0x0p99999999999999999999,0x1p99999999999999999999,0x1p-999999999999999999".split(b",")
)
_value = st.one_of(_integer, _float, st.binary(max_size=6), st.just(b"x" * 50))
_printable = st.sampled_from([b"x", b"two words", b"y" * 40, b"z" * 90, b"w" * 200, b"it's"])
_seconds = st.sampled_from([b"100", b"1000", b"0", b"-1", b"x", b"9223372036854775807", b"9223372036854775"])
_unix_s = st.sampled_from([b"1", b"%d" % _FUTURE_S, b"%d" % (_FUTURE_S + 7), b"0", b"-5", b"9223372036854775807"])
_unix_ms = st.sampled_from([b"1", b"%d000" % _FUTURE_S, b"%d007" % _FUTURE_S, b"-5", b"9223372036854775807"])
_time_option = st.one_of(
    st.tuples(st.sampled_from([b"EX", b"ex", b"PX"]), _seconds),
    st.tuples(st.just(b"EXAT"), _unix_s),
    st.tuples(st.just(b"PXAT"), _unix_ms),
    st.sampled_from([(b"KEEPTTL",), (b"PERSIST",), (b"EX",)]),
)
_write_condition = st.sampled_from([(b"NX",), (b"XX",), (b"nx",), (b"FOO",)])
_if_equal = st.tuples(st.sampled_from([b"IFEQ", b"ifeq"]), _value)
_set_option = st.one_of(_time_option, _write_condition, _if_equal, st.sampled_from([(b"GET",), (b"IFEQ",)]))
_msetex_option = st.one_of(_time_option, _write_condition)
_condition = st.sampled_from([(b"NX",), (b"XX",), (b"GT",), (b"LT",), (b"gt",), (b"FOO",)])
_copy_option = st.sampled_from([(b"REPLACE",), (b"DB", b"0"), (b"DB", b"1"), (b"DB",)])
_scan_option = st.sampled_from(
    [(b"COUNT", b"0"), (b"COUNT", b"9999"), (b"COUNT", b"x"), (b"MATCH",), (b"MATCH", b"a"), (b"FOO", b"x"), (b"FOO",),
     (b"TYPE", b"q"), (b"TYPE", b"String"), (b"TYPE",)]
)  # fmt: skip
_pattern = st.one_of(
    st.text("ab*?[]^-\\c\xff", max_size=6).map(lambda text: text.encode("latin-1")),
    st.sampled_from([b"*", b"[^a]", b"[a-b]", b"[b-a]", b"\\a", b"[a-", b"[\\", b"*[", b"?", b"", b"[]a]", b"[^]"]),
).filter(lambda pattern: pattern == b"*" or pattern.strip(b"*"))  # `**` and the empty key: see test_commands_glob


def _tail(option: st.Draw[Any], most: int) -> st.Draw[list[bytes]]:
    return st.lists(option, max_size=most).map(lambda options: [word for words in options for word in words])


def _request(name: bytes, *arguments: Any, tail: st.Draw[list[bytes]] | None = None) -> Any:
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


_keys = st.lists(_key, min_size=1, max_size=3)
_pairs = st.lists(st.tuples(_key, _value), max_size=3).map(lambda pairs: [word for pair in pairs for word in pair])
_many_pairs = st.lists(st.tuples(_key, _value), min_size=1, max_size=3)
_msetex_number = st.sampled_from([0, 0, 0, 0, 0, 1, -1, 9])
_msetex = st.tuples(_many_pairs, _msetex_number, _tail(_msetex_option, 2)).map(
    lambda drawn: [b"%d" % (len(drawn[0]) + drawn[1]), *(word for pair in drawn[0] for word in pair), *drawn[2]]
)
#: Of HELLO only what fails: the rest tells of the server itself.
_REQUESTS = [
    _request(b"GET", _key),
    _request(b"SET", _key, _value),
    _request(b"SET", _key, _value, tail=_tail(_set_option, 3)),
    _request(b"SETNX", _key, _value),
    _request(b"SETEX", _key, _seconds, _value),
    _request(b"PSETEX", _key, _seconds.filter(lambda word: word != b"100"), _value),
    _request(b"GETSET", _key, _value),
    _request(b"GETDEL", _key),
    _request(b"GETEX", _key, tail=_tail(_time_option, 2)),
    _request(b"MGET", tail=_keys),
    _request(b"MSET", _key, _value, tail=_pairs),
    _request(b"MSETNX", _key, _value, tail=_pairs),
    _request(b"MSETEX", tail=_msetex),
    _request(b"DELIFEQ", _key, _value),
    _request(b"APPEND", _key, _value),
    _request(b"STRLEN", _key),
    _request(b"INCR", _key),
    _request(b"DECR", _key),
    _request(b"INCRBY", _key, _integer),
    _request(b"DECRBY", _key, _integer),
    _request(b"INCRBYFLOAT", _key, _float),
    _request(b"GETRANGE", _key, _small, _small),
    _request(b"SUBSTR", _key, _small, _small),
    _request(b"SETRANGE", _key, st.sampled_from([b"0", b"1", b"7", b"-1", b"600000000", b"x"]), _value),
    _request(b"DEL", tail=_keys),
    _request(b"UNLINK", tail=_keys),
    _request(b"EXISTS", tail=_keys),
    _request(b"TOUCH", tail=_keys),
    _request(b"TYPE", _key),
    _request(b"KEYS", _pattern),
    _request(b"SCAN", st.sampled_from([b"x", b"-1", b"", b"18446744073709551616"])),
    _request(b"SCAN", st.just(b"0"), tail=_tail(_scan_option, 3)),
    _request(b"SCAN", st.sampled_from([b"+0", b"-0", b" 0", b"0x0", b"+", b"1_0"]), tail=st.just([b"COUNT", b"9999"])),
    _request(b"EXPIRE", _key, _seconds, tail=_tail(_condition, 2)),
    _request(b"PEXPIRE", _key, _seconds.filter(lambda word: word != b"100"), tail=_tail(_condition, 2)),
    _request(b"EXPIREAT", _key, _unix_s, tail=_tail(_condition, 2)),
    _request(b"PEXPIREAT", _key, _unix_ms, tail=_tail(_condition, 2)),
    _request(b"TTL", _key),
    _request(b"PTTL", _key),
    _request(b"EXPIRETIME", _key),
    _request(b"PEXPIRETIME", _key),
    _request(b"PERSIST", _key),
    _request(b"RENAME", _key, _key),
    _request(b"RENAMENX", _key, _key),
    _request(b"COPY", _key, _key, tail=_tail(_copy_option, 2)),
    _request(b"MOVE", _key, _database),
    _request(b"DBSIZE"),
    _request(b"FLUSHDB", tail=st.sampled_from([[], [b"ASYNC"], [b"SYNC"], [b"FOO"]])),
    _request(b"FLUSHALL", tail=st.sampled_from([[], [b"ASYNC"], [b"SYNC"], [b"FOO"]])),
    _request(b"OBJECT", st.sampled_from([b"FOO", b"ENCODING"])),
    _request(b"OBJECT", st.sampled_from([b"REFCOUNT", b"IDLETIME", b"FREQ"]), _key),
    _request(b"PING"),
    _request(b"ECHO", _value),
    _request(b"SELECT", st.sampled_from([b"0", b"1", b"-1", b"x"])),
    _request(b"SELECT", st.sampled_from([b"0", b"1", b"15", b"16"])),
    _request(b"SWAPDB", _database, _database),
    _request(b"CLIENT", st.just(b"SETNAME"), st.sampled_from([b"me", b"m e", b"", b"m\n"])),
    _request(b"CLIENT", st.just(b"GETNAME")),
    st.tuples(st.just(b"HELLO"), st.sampled_from([b"4", b"x", b"1"])).map(list),
    st.sampled_from([[b"FOO"], [b"AUTH", b"u", b"p"], [b"SETNAME", b" "]]).map(lambda words: [b"HELLO", b"3", *words]),
    _request(b"AUTH", _value),
    _request(b"AUTH", st.sampled_from([b"default", b"u"]), _value, tail=st.sampled_from([[], [], [b"x"]])),
    _request(b"COMMAND", st.just(b"GETKEYS"), st.sampled_from([b"MSET", b"GET", b"PING", b"NOSUCH"]), _key, _value),
    _request(b"NOSUCH", _printable, _printable),
]  # fmt: skip
_TRANSACTION = [_request(name) for name in (b"MULTI", b"MULTI", b"DISCARD", b"UNWATCH", b"RESET")]
_TRANSACTION += [st.just([b"EXEC"])] * 3 + [st.just([b"EXEC", b"x"])] + [_request(b"WATCH", tail=_keys)] * 3

#: Of any type.
_GENERIC = [
    _request(b"SET", _key, _value),
    _request(b"GET", _key),
    _request(b"DEL", tail=_keys),
    _request(b"TYPE", _key),
    _request(b"OBJECT", st.just(b"ENCODING"), _key),
    _request(b"EXISTS", tail=_keys),
    _request(b"RENAME", _key, _key),
    _request(b"COPY", _key, _key, tail=_tail(_copy_option, 2)),
    _request(b"MOVE", _key, _database),
    _request(b"EXPIRE", _key, _seconds, tail=_tail(_condition, 2)),
    _request(b"PEXPIRETIME", _key),
]
_element = st.one_of(st.sampled_from([b"x", b"x", b"x", b"y", b"z", b""]), _value, st.just(b"w" * 3000))
_elements = st.lists(_element, min_size=1, max_size=6)
_end = st.sampled_from([b"LEFT", b"RIGHT", b"left", b"LEFT", b"RIGHT", b"UP"])
_count_option = st.sampled_from(
    [(), (), (b"COUNT", b"1"), (b"COUNT", b"2"), (b"count", b"100"), (b"COUNT", b"0"), (b"COUNT",)]
)
_lpos_option = st.one_of(
    st.tuples(st.sampled_from([b"RANK", b"COUNT", b"MAXLEN", b"rank", b"FOO"]), _small),
    st.sampled_from([(b"RANK", b"-9223372036854775808"), (b"RANK",)]),
)
#: How many keys, and the keys.
_numbered = st.one_of(
    _keys.map(lambda keys: [b"%d" % len(keys), *keys]), st.tuples(_small, _keys).map(lambda both: [both[0], *both[1]])
)
_mpop = st.tuples(_numbered, _end, _count_option).map(lambda parts: [*parts[0], parts[1], *parts[2]])
_timeout = st.sampled_from([b"0.001", b"1e-3", b"0x1p-10", b"0.0000001", b"-1", b"x", b"inf", b"-inf", b"1e300", b""])
_blocking_keys = st.tuples(_keys, _timeout).map(lambda parts: [*parts[0], parts[1]])
_LISTS = [
    _request(b"RPUSH", _key, tail=_elements),
    _request(b"LPUSH", _key, tail=_elements),
    _request(b"RPUSHX", _key, tail=_elements),
    _request(b"LPUSHX", _key, tail=_elements),
    _request(b"LPOP", _key),
    _request(b"RPOP", _key),
    _request(b"LPOP", _key, _small),
    _request(b"RPOP", _key, _small),
    _request(b"LLEN", _key),
    _request(b"LRANGE", _key, _small, _small),
    _request(b"LRANGE", _key, st.just(b"0"), st.just(b"-1")),
    _request(b"LINDEX", _key, _small),
    _request(b"LSET", _key, _small, _element),
    _request(b"LREM", _key, _small, _element),
    _request(b"LTRIM", _key, _small, _small),
    _request(b"LINSERT", _key, st.sampled_from([b"BEFORE", b"AFTER", b"after", b"FOO"]), _element, _element),
    _request(b"LPOS", _key, _element, tail=_tail(_lpos_option, 3)),
    _request(b"LMOVE", _key, _key, _end, _end),
    _request(b"RPOPLPUSH", _key, _key),
    _request(b"LMPOP", tail=_mpop),
    _request(b"BLPOP", tail=_blocking_keys),
    _request(b"BRPOP", tail=_blocking_keys),
    _request(b"BLMPOP", _timeout, tail=_mpop),
    _request(b"BLMOVE", _key, _key, _end, _end, _timeout),
    _request(b"BRPOPLPUSH", _key, _key, _timeout),
    _request(
        b"CLIENT", st.just(b"UNBLOCK"), st.sampled_from([b"0", b"x"]), tail=st.sampled_from([[], [b"ERROR"], [b"FOO"]])
    ),
    _request(b"COMMAND", st.just(b"GETKEYS"), st.just(b"LMPOP"), tail=_mpop),
]


_field = st.sampled_from([b"a", b"b", b"c", b"", b"\xff"])
_some_fields = st.lists(_field, min_size=1, max_size=3)
_field_pairs = st.lists(st.tuples(_field, _value), min_size=1, max_size=3)
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
    tail = st.tuples(_tail(options, most) if options is not None else st.just([]), _fields_word, fields)
    return _request(name, *arguments, tail=tail.map(lambda parts: [*parts[0], parts[1], *parts[2]]))


_hsetex_option = st.one_of(
    _time_option, st.sampled_from([(b"NX",), (b"XX",), (b"FNX",), (b"FXX",), (b"fnx",), (b"KEEPTTL",), (b"FOO",)])
)
_hscan_option = st.one_of(_scan_option, st.just((b"NOVALUES",)))
_HASHES = [
    _request(b"HSET", _key, tail=_field_values),
    _request(b"HSET", _key, tail=_field_values),
    _request(b"HSET", _key, _field, st.just(b"v" * 65)),
    _request(b"HMSET", _key, tail=_field_values),
    _request(b"HSETNX", _key, _field, _value),
    _request(b"HGET", _key, _field),
    _request(b"HMGET", _key, tail=_some_fields),
    _request(b"HGETALL", _key),
    _request(b"HKEYS", _key),
    _request(b"HVALS", _key),
    _request(b"HLEN", _key),
    _request(b"HEXISTS", _key, _field),
    _request(b"HSTRLEN", _key, _field),
    _request(b"HDEL", _key, tail=_some_fields),
    _request(b"HINCRBY", _key, _field, _integer),
    _request(b"HINCRBYFLOAT", _key, _field, _float),
    _request(b"HRANDFIELD", _key, tail=st.sampled_from([b"0", b"99", b"x", b"99 WITHVALUES", b"1 x"]).map(bytes.split)),
    _request(b"HSCAN", _key, st.sampled_from([b"0", b"+0", b"x"]), tail=_tail(_hscan_option, 3)),
    _request(b"OBJECT", st.just(b"ENCODING"), _key),
    _ending_in_fields(b"HEXPIRE", _key, _seconds, options=_condition, most=2),
    _ending_in_fields(b"HPEXPIRE", _key, _seconds.filter(lambda word: word != b"100"), options=_condition, most=2),
    _ending_in_fields(b"HEXPIREAT", _key, _unix_s, options=_condition, most=2),
    _ending_in_fields(b"HPEXPIREAT", _key, _unix_ms, options=_condition, most=2),
    _ending_in_fields(b"HTTL", _key),
    _ending_in_fields(b"HPTTL", _key),
    _ending_in_fields(b"HEXPIRETIME", _key),
    _ending_in_fields(b"HPEXPIRETIME", _key),
    _ending_in_fields(b"HPERSIST", _key),
    _ending_in_fields(b"HGETDEL", _key),
    _ending_in_fields(b"HGETEX", _key, options=_time_option, most=2),
    _ending_in_fields(b"HSETEX", _key, options=_hsetex_option, most=3, fields=_counted_pairs),
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
_SETS = [
    _request(b"SADD", _key, tail=_members),
    _request(b"SADD", _key, tail=_members),
    _request(b"SREM", _key, tail=_members),
    _request(b"SREM", _key, tail=st.lists(_member, min_size=1, max_size=4)),
    _request(b"SMEMBERS", _key),
    _request(b"SCARD", _key),
    _request(b"SISMEMBER", _key, _member),
    _request(b"SMISMEMBER", _key, tail=_members),
    _request(b"SMOVE", _key, _key, _member),
    _request(b"SPOP", _key, tail=_all_or_none.map(bytes.split)),
    _request(b"SPOP", _key, st.just(b"-1")),
    _request(b"SRANDMEMBER", _key, tail=_all_or_none.map(bytes.split)),
    _request(b"SSCAN", _key, st.sampled_from([b"0", b"+0", b"x"]), tail=_tail(_scan_option, 3)),
    _request(b"SINTER", tail=_keys),
    _request(b"SUNION", tail=_keys),
    _request(b"SDIFF", tail=_keys),
    _request(b"SINTERSTORE", _key, tail=_keys),
    _request(b"SUNIONSTORE", _key, tail=_keys),
    _request(b"SDIFFSTORE", _key, tail=_keys),
    _request(b"SINTERCARD", tail=st.tuples(_numbered, _limit_option).map(lambda parts: [*parts[0], *parts[1]])),
    _request(b"OBJECT", st.just(b"ENCODING"), _key),
]  # fmt: skip


_score = st.sampled_from(
    b"0,0,1,1,2,2.5,-1,1e3,3.0e3,inf,-inf,+inf,Infinity,nan,x,,1e400,1e-400,0e-400,5e-324,0x10, 1,1_0,.5,5.,+5".split(
        b","
    )
)
_member = st.sampled_from([b"a", b"a", b"b", b"c", b"d", b"", b"\xff", b"m" * 65])
_score_pairs = st.lists(st.tuples(_score, _member), min_size=1, max_size=4).map(
    lambda pairs: [word for pair in pairs for word in pair]
)
_zadd_option = st.sampled_from([(b"NX",), (b"XX",), (b"GT",), (b"LT",), (b"CH",), (b"INCR",), (b"incr",), (b"FOO",)])
_zadd = st.tuples(_tail(_zadd_option, 2), _score_pairs).map(lambda parts: [*parts[0], *parts[1]])
_score_end = st.one_of(_score, st.sampled_from(b"(1,(2,(,(-inf,(inf,((1,-inf,+inf,0,3".split(b",")))
_lex_end = st.sampled_from(b"-,+,[a,(a,[b,(c,[,(,[\xff,a,,-x,+".split(b","))
_limit = st.sampled_from(b"LIMIT 0 1,LIMIT 1 -1,limit -1 2,LIMIT 1 x,LIMIT 1,LIMIT 0 0,LIMIT 100 2".split(b",")).map(
    lambda text: tuple(text.split())
)
_withscores = st.sampled_from([(b"WITHSCORES",), (b"withscores",), (b"FOO",)])
_range_option = st.one_of(_limit, _withscores, st.sampled_from([(b"REV",), (b"BYSCORE",), (b"BYLEX",), (b"byscore",)]))
_score_options = _tail(st.one_of(_limit, _withscores), 2)
_scored_mpop = st.tuples(_numbered, st.sampled_from([b"MIN", b"MAX", b"max", b"UP"]), _count_option).map(
    lambda parts: [*parts[0], parts[1], *parts[2]]
)
_zunion_option = st.one_of(
    st.lists(_score, min_size=1, max_size=3).map(lambda weights: (b"WEIGHTS", *weights)),
    st.sampled_from([b"SUM", b"MIN", b"max", b"FOO"]).map(lambda name: (b"AGGREGATE", name)),
    st.sampled_from(
        [(b"WITHSCORES",), (b"withscores",), (b"WITHSCORES",), (b"FOO",), (b"AGGREGATE",), (b"LIMIT", b"1")]
    ),
)
_zunion = st.tuples(_numbered, _tail(_zunion_option, 2)).map(lambda parts: [*parts[0], *parts[1]])
_zintercard = st.tuples(_numbered, _tail(st.tuples(st.just(b"LIMIT"), _small), 2)).map(
    lambda parts: [*parts[0], *parts[1]]
)
_zscan_option = st.one_of(_scan_option, st.sampled_from([(b"NOSCORES",), (b"NOVALUES",)]))
_SORTED_SETS = [
    _request(b"ZADD", _key, tail=_score_pairs),
    _request(b"ZADD", _key, tail=_score_pairs),
    _request(b"ZADD", _key, tail=_zadd),
    _request(b"ZADD", _key, tail=_zadd),
    _request(b"ZINCRBY", _key, _score, _member),
    _request(b"ZREM", _key, tail=st.lists(_member, min_size=1, max_size=3)),
    _request(b"ZCARD", _key),
    _request(b"ZSCORE", _key, _member),
    _request(b"ZMSCORE", _key, tail=st.lists(_member, min_size=1, max_size=3)),
    _request(b"ZRANK", _key, _member, tail=st.sampled_from([[], [b"WITHSCORE"], [b"x"]])),
    _request(b"ZREVRANK", _key, _member, tail=st.sampled_from([[], [b"withscore"], [b"x"]])),
    _request(b"ZPOPMIN", _key, tail=st.lists(_small, max_size=1)),
    _request(b"ZPOPMAX", _key, tail=st.lists(_small, max_size=1)),
    _request(b"ZMPOP", tail=_scored_mpop),
    _request(b"ZCOUNT", _key, _score_end, _score_end),
    _request(b"ZRANGE", _key, _small, _small, tail=_tail(_range_option, 3)),
    _request(
        b"ZRANGE", _key, _score_end, _score_end, tail=_tail(_range_option, 3).map(lambda tail: [b"BYSCORE", *tail])
    ),
    _request(b"ZREVRANGE", _key, _small, _small, tail=_score_options),
    _request(b"ZRANGEBYSCORE", _key, _score_end, _score_end, tail=_score_options),
    _request(b"ZREVRANGEBYSCORE", _key, _score_end, _score_end, tail=_score_options),
    _request(b"ZRANGESTORE", _key, _key, _small, _small, tail=_tail(_range_option, 2)),
    _request(b"ZREMRANGEBYRANK", _key, _small, _small),
    _request(b"SADD", _key, tail=st.lists(_member, min_size=1, max_size=3)),
    _request(b"ZUNION", tail=_zunion),
    _request(b"ZINTER", tail=_zunion),
    _request(b"ZDIFF", tail=_zunion),
    _request(b"ZUNIONSTORE", _key, tail=_zunion),
    _request(b"ZINTERSTORE", _key, tail=_zunion),
    _request(b"ZDIFFSTORE", _key, tail=_numbered),
    _request(b"ZINTERCARD", tail=_zintercard),
    _request(
        b"ZRANDMEMBER", _key, tail=st.sampled_from([b"0", b"99", b"x", b"99 WITHSCORES", b"1 x"]).map(bytes.split)
    ),
    _request(b"ZSCAN", _key, st.sampled_from([b"0", b"+0", b"x"]), tail=_tail(_zscan_option, 2)),
    _request(b"BZPOPMIN", tail=_blocking_keys),
    _request(b"BZPOPMAX", tail=_blocking_keys),
    _request(b"BZMPOP", _timeout, tail=_scored_mpop),
    _request(b"COMMAND", st.just(b"GETKEYS"), st.just(b"ZUNIONSTORE"), _key, tail=_zunion),
    _request(b"ZREMRANGEBYSCORE", _key, _score_end, _score_end),
    _request(b"OBJECT", st.just(b"ENCODING"), _key),
]
#: Where all members have one score: what a range of members is, only then is it said.
_LEXICAL = [
    *([_request(b"ZADD", _key, tail=st.lists(_member, min_size=1, max_size=4).map(lambda each: [
        word for member in each for word in (b"0", member)]))] * 3),
    _request(b"ZLEXCOUNT", _key, _lex_end, _lex_end),
    _request(b"ZRANGE", _key, _lex_end, _lex_end, tail=_tail(_range_option, 3).map(lambda tail: [b"BYLEX", *tail])),
    _request(b"ZRANGEBYLEX", _key, _lex_end, _lex_end, tail=_score_options),
    _request(b"ZREVRANGEBYLEX", _key, _lex_end, _lex_end, tail=_score_options),
    _request(b"ZREMRANGEBYLEX", _key, _lex_end, _lex_end),
    _request(b"ZRANGESTORE", _key, _key, _lex_end, _lex_end, tail=st.just([b"BYLEX"])),
]  # fmt: skip


#: Elements that are numbers, some of them the same, and keys and fields that they lead to.
_number = st.sampled_from(b"1,2,3,10,1,2,1.0,-1,+1,1e1,.5,inf".split(b","))
_sorted_element = st.one_of(_number, _number, _number, _member)
_pattern_to = st.sampled_from(b"w*,w*,w*,h*->f,h*->f,h*->g,*,#,nosort,w*->,w,*->f,w**,h1->f".split(b","))
_sort_option = st.one_of(
    st.sampled_from([(b"ASC",), (b"DESC",), (b"desc",), (b"ALPHA",), (b"alpha",), (b"FOO",), (b"BY",), (b"GET",)]),
    st.tuples(st.just(b"LIMIT"), _small, _small),
    st.tuples(st.sampled_from([b"BY", b"GET", b"get"]), _pattern_to),
    st.tuples(st.just(b"STORE"), _key),
)
_sort_tail = _tail(_sort_option, 4)
_weight = st.sampled_from([b"w1", b"w2", b"w3", b"w10", b"w-1", b"h1", b"h2", b"h3", b"1", b"2"])
_SORTING = [
    *[_request(b"RPUSH", _key, tail=st.lists(_sorted_element, min_size=1, max_size=8))] * 2,
    _request(b"RPUSH", _key, tail=st.lists(_number, min_size=1, max_size=8)),
    _request(b"SADD", _key, tail=st.lists(_sorted_element, min_size=1, max_size=8)),
    _request(b"ZADD", _key, tail=st.lists(st.tuples(_number, _number), min_size=1, max_size=5).map(
        lambda pairs: [word for pair in pairs for word in pair])),
    *[_request(b"SET", _weight, st.one_of(_number, _number, _value))] * 2,
    *[_request(b"HSET", _weight, st.sampled_from([b"f", b"g"]), _number)] * 2,
    *[_request(b"SORT", _key, tail=_sort_tail)] * 6,
    *[_request(b"SORT_RO", _key, tail=_sort_tail)] * 2,
    _request(b"COMMAND", st.just(b"GETKEYS"), st.just(b"SORT"), _key, tail=_sort_tail),
    _request(b"COMMAND", st.just(b"GETKEYS"), st.just(b"SORT_RO"), _key, tail=_sort_tail),
]  # fmt: skip


#: Few enough to be the same at times. None is drawn by the server, since that hangs on its clock.
_id = st.sampled_from(
    b"1-1,1-2,2-1,2-5,3-0,3,2,5-1,5-7,9-9,0-1,0,0-0,1-*,2-*,5-*,0-*,x,1-x,-,+,$,>,01-1,18446744073709551615,,-1".split(
        b","
    )
)
_new_id = st.one_of(_id, st.sampled_from([b"%d-%d" % (ms, at) for ms in range(1, 10) for at in range(3)]))
_bound = st.one_of(
    st.sampled_from([b"-", b"+", b"-", b"+", b"(1-1", b"(2", b"(5-7", b"(0", b"(-", b"(18446744073709551615"]), _id
)
_trim_option = st.one_of(
    st.tuples(st.just(b"MAXLEN"), st.sampled_from([b"0", b"1", b"2", b"5", b"-1", b"x"])),
    st.tuples(st.just(b"maxlen"), st.sampled_from([b"=", b"~"]), st.sampled_from([b"0", b"1", b"3"])),
    st.tuples(st.just(b"MINID"), st.sampled_from([b"=", b"~"]), _id),
    st.tuples(st.just(b"MINID"), _id),
    st.tuples(st.just(b"LIMIT"), st.sampled_from([b"0", b"1", b"5", b"-1", b"x"])),
    st.sampled_from([(b"MAXLEN",), (b"FOO",), (b"~",)]),
)
_add_option = st.one_of(_trim_option, st.sampled_from([(b"NOMKSTREAM",), (b"nomkstream",)]))
_maybe_trim = st.one_of(st.just([]), st.just([]), _tail(_add_option, 2))
_entry = st.lists(st.tuples(_field, _value), min_size=1, max_size=3).map(lambda pairs: [w for p in pairs for w in p])
_add = st.tuples(_maybe_trim, _new_id, _entry).map(lambda parts: [*parts[0], parts[1], *parts[2]])
_ids = st.lists(_id, min_size=1, max_size=3)
_stream_count = st.sampled_from(
    [[], [], [b"COUNT", b"1"], [b"COUNT", b"2"], [b"COUNT", b"0"], [b"count", b"-1"], [b"X"]]
)
_setid_option = st.one_of(
    st.tuples(st.just(b"ENTRIESADDED"), st.sampled_from([b"0", b"2", b"100", b"-1"])),
    st.tuples(st.just(b"MAXDELETEDID"), _id),
)
_read_option = st.sampled_from(
    [(b"COUNT", b"1"), (b"COUNT", b"0"), (b"COUNT", b"x"), (b"BLOCK", b"1"), (b"BLOCK", b"-1"), (b"BLOCK", b"x"),
     (b"NOACK",), (b"FOO",), (b"GROUP", b"g", b"c")]
)  # fmt: skip
_reads = st.lists(st.tuples(_key, _id), min_size=1, max_size=3).map(
    lambda pairs: [b"STREAMS", *(key for key, _ in pairs), *(each for _, each in pairs)]
)
_read_tail = st.tuples(st.one_of(st.just([]), _tail(_read_option, 2)), _reads).map(lambda parts: parts[0] + parts[1])
_STREAMS = [
    _request(b"XADD", _key, tail=_add),
    _request(b"XADD", _key, tail=_add),
    _request(b"XADD", _key, tail=_add),
    _request(b"XADD", _key, _new_id, _field, _value),
    _request(b"XADD", _key, _new_id, _field, _value),
    _request(b"XADD", _key, _new_id, _field, st.just(b"w" * 3000)),
    _request(b"XLEN", _key),
    _request(b"XRANGE", _key, st.just(b"-"), st.just(b"+")),
    _request(b"XRANGE", _key, _bound, _bound, tail=_stream_count),
    _request(b"XREVRANGE", _key, _bound, _bound, tail=_stream_count),
    _request(b"XREAD", tail=_read_tail),
    _request(b"XDEL", _key, tail=_ids),
    _request(b"XTRIM", _key, tail=_tail(_trim_option, 2)),
    _request(b"XSETID", _key, _id, tail=_tail(_setid_option, 2)),
]
#: Errors name keys; what is not printable in them is escaped here.
_named = st.sampled_from([b"a", b"a", b"b", b""])
_group, _consumer = st.sampled_from([b"g", b"g", b"g", b"h", b""]), st.sampled_from([b"c", b"c", b"d", b""])
_idle = st.sampled_from([b"0", b"0", b"100000", b"-1", b"x"])
_create_option = st.sampled_from(
    [(b"MKSTREAM",), (b"mkstream",), (b"ENTRIESREAD", b"1"), (b"ENTRIESREAD", b"-2"), (b"X",)]
)
_claim_option = st.sampled_from(
    [(b"IDLE", b"100000000"), (b"TIME", b"1"), (b"TIME", b"x"), (b"RETRYCOUNT", b"3"), (b"RETRYCOUNT", b"-1"),
     (b"FORCE",), (b"JUSTID",), (b"justid",), (b"LASTID", b"5-1"), (b"FOO",), (b"IDLE",)]
)  # fmt: skip
_claim_tail = st.tuples(_ids, _tail(_claim_option, 2)).map(lambda parts: parts[0] + parts[1])
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
_group_tail = st.tuples(st.one_of(st.just([]), _tail(_read_option, 2)), _read_new).map(
    lambda parts: parts[0] + parts[1]
)
_STREAM_GROUPS = [
    _request(b"XADD", _named, _new_id, _field, _value),
    _request(b"XADD", _named, _new_id, _field, _value),
    _request(b"XADD", _named, _new_id, _field, _value),
    _request(b"XDEL", _named, tail=_ids),
    _request(b"XTRIM", _named, tail=_tail(_trim_option, 1)),
    _request(b"XSETID", _named, _id, tail=_tail(_setid_option, 2)),
    *[_request(b"XGROUP", st.just(b"CREATE"), _named, _group, _id, tail=_tail(_create_option, 2))] * 3,
    _request(b"XGROUP", st.just(b"SETID"), _named, _group, _id, tail=_tail(_create_option, 1)),
    _request(b"XGROUP", st.just(b"DESTROY"), _named, _group),
    _request(b"XGROUP", st.just(b"CREATECONSUMER"), _named, _group, _consumer),
    _request(b"XGROUP", st.just(b"DELCONSUMER"), _named, _group, _consumer),
    *[_request(b"XREADGROUP", st.just(b"GROUP"), _group, _consumer, tail=_group_tail)] * 4,
    _request(b"XACK", _named, _group, tail=_ids),
    _request(b"XPENDING", _named, _group, tail=_pending_tail),
    _request(b"XPENDING", _named, _group),
    *[_request(b"XCLAIM", _named, _group, _consumer, _idle, tail=_claim_tail)] * 2,
    *[_request(b"XAUTOCLAIM", _named, _group, _consumer, _idle, _bound, tail=_tail(_auto_option, 2))] * 2,
    _request(b"XINFO", st.just(b"STREAM"), _named, tail=st.sampled_from([[], [], [b"FOO"], [b"FULL", b"COUNT", b"x"]])),
    *[_request(b"XINFO", st.just(b"GROUPS"), _key)] * 2,
    _request(b"XINFO", st.just(b"CONSUMERS"), _named, st.just(b"nobody")),
]


def _sequences(*requests: Any) -> st.Draw[list[tuple[int, list[bytes]]]]:
    """(number of the client, words of its request), up to 25 of them. `requests`: kinds, each drawn as often."""
    kinds = st.one_of(*(st.one_of(*kind) for kind in requests))
    return st.lists(st.tuples(st.integers(0, 1), kinds), min_size=1, max_size=25)


sequences = _sequences(_REQUESTS, _TRANSACTION)
list_sequences = _sequences(_LISTS, _LISTS, _GENERIC, _TRANSACTION)
set_sequences = _sequences(_SETS, _SETS, _GENERIC, _TRANSACTION)
hash_sequences = _sequences(_HASHES, _HASHES, _GENERIC, _TRANSACTION)
sorted_set_sequences = _sequences(_SORTED_SETS, _SORTED_SETS, _GENERIC, _TRANSACTION)
lexical_sequences = _sequences(_LEXICAL, _LEXICAL, _GENERIC, _TRANSACTION)
sort_sequences = _sequences(_SORTING, _SORTING, _SORTING, _GENERIC, _TRANSACTION)
stream_sequences = _sequences(_STREAMS, _STREAMS, _GENERIC, _TRANSACTION)
group_sequences = _sequences(_STREAM_GROUPS, _STREAM_GROUPS, _STREAM_GROUPS, _GENERIC, _TRANSACTION)
