"""What hostile input is made of: words, right requests, scripts, and whole streams that lie or go too far."""

from __future__ import annotations

from collections.abc import Sequence

from kvstore.wire.resp import pack

NUMBERS = (b"0", b"1", b"-1", b"00", b"+1", b"1.5", b"1e400", b"nan", b"inf", b"2147483647", b"4294967296",
            b"9223372036854775807",
            b"9223372036854775808", b"-9223372036854775808", b"1" * 400, b"0x10", b"")  # fmt: skip
OPTION_WORDS = (
    b"EX",
    b"PX",
    b"NX",
    b"XX",
    b"GET",
    b"KEEPTTL",
    b"MATCH",
    b"COUNT",
    b"TYPE",
    b"REPLACE",
    b"WITHVALUES",
    b"DB",
    b"FIELDS",
    b"FNX",
    b"PERSIST",
    b"NOVALUES",
    b"LEFT",
    b"RIGHT",
    b"BEFORE",
    b"RANK",
    b"MAXLEN",
)
STRANGE = (
    b"\xff\xfe",
    b"\r\n",
    b"\0",
    b"{",
    b"}",
    b'"',
    b"'",
    b"*1\r\n",
    b"$-1\r\n",
    "\u00e9\U0001f600".encode(),
    b"\\x00",
)

#: Right requests on values of every type, to be cut, mixed and mutated; keys are those that odd arguments name, too.
RIGHT: Sequence[Sequence[bytes]] = tuple(
    line.split()
    for line in b"""
RPUSH a 1 2 3|LMOVE a b LEFT RIGHT|BLMPOP 0.01 2 a b LEFT COUNT 2|LINSERT a BEFORE 1 x|LPOS a 1 RANK -1 MAXLEN 5
HSET b f 1 g 2|HPEXPIRE b 50 FIELDS 2 f g|HGETEX b EX 5 FIELDS 1 f|HRANDFIELD b -5 WITHVALUES|HSCAN b 0 MATCH * COUNT 9
SADD c 1 2 m|SINTERCARD 2 c d LIMIT 3|SDIFFSTORE d c b|SPOP c 2|SMISMEMBER c 1 9
ZADD d GT CH 1.5 m -inf n 7 o|ZINCRBY d inf m|ZRANGE d (1 +inf BYSCORE LIMIT 0 5 WITHSCORES|ZRANGE d [a + BYLEX REV
ZUNIONSTORE c 2 d c WEIGHTS 2 -1 AGGREGATE MAX|BZPOPMIN d c 0.01|BZMPOP 0.01 1 d MIN COUNT 2|ZRANDMEMBER d -9 WITHSCORES
XADD a * f v|XADD a MAXLEN ~ 5 1-* f v|XGROUP CREATE a g $ MKSTREAM|XREADGROUP GROUP g c COUNT 2 BLOCK 5 STREAMS a >
XREADGROUP GROUP g d STREAMS a 0|XACK a g 1-1|XCLAIM a g d 0 1-1 IDLE 5 RETRYCOUNT 3 FORCE JUSTID|XPENDING a g - + 9
XAUTOCLAIM a g c 0 0-0 COUNT 2|XINFO STREAM a FULL|XTRIM a MINID 5|XSETID a 9-9|XREAD COUNT 2 BLOCK 5 STREAMS a b $ 0
MSETEX 2 a 1 b 2 PX 50 NX|SET a 1 PX 20 KEEPTTL|GETEX a PERSIST|COPY a b REPLACE
SORT a BY nosort GET # LIMIT 0 5 STORE b|SCAN 0 TYPE zset
MULTI|EXEC|WATCH a|SUBSCRIBE a|UNSUBSCRIBE|PUBLISH a x|SCRIPT FLUSH|SCRIPT LOAD return(1)|OBJECT ENCODING a
""".replace(b"\n", b"|").split(b"|")
    if line
)

#: Scripts that want too much, or what is not theirs.
SCRIPTS: Sequence[bytes] = (
    b"while true do end",
    b"while true do pcall(redis.call, 'get', 'a') end",
    b"local t = {} t[1] = t return t",
    b"local t = {} while true do t[#t + 1] = ('x'):rep(1e6) end",
    b"return ('x'):rep(1e9)",
    b"return #('x'):rep(1e7)",
    b"return ('a'):rep(3e4):find(('a?'):rep(25) .. ('a'):rep(25))",
    b"local function f() return f() + 1 end return f()",
    b"return redis.call('eval', 'return 1', 0)",
    b"return redis.sha1hex(nil)",
    b"return {1, {2, {3, {4}}}, nil, 5}",
    b"redis.setresp(3) return redis.call('hgetall', 'b')",
    b"return cjson.decode(('['):rep(1e5))",
    b"x = 1",
    b"return cjson.encode({a = {b = {1, 2}}})",
    b"return loadstring('\\27Lua')",
    b"return string.dump(function() end)",
    b"return getmetatable('').__index.rep('x', 99)",
    b"setmetatable(_G, {}) return 1",
    b"return tostring(redis)",
    b"for i = 1, 1e4 do redis.call('rpush', 'a', i) end error({err = 'X y'})",
    b"return redis.call(unpack({}))",
    b"for i = 1, 300 do redis.call('zadd', 'd', i, i) end return redis.call('zrange', 'd', 0, -1)",
    b"local c = coroutine.wrap(function() while true do end end) return c()",
    b"return {ok = 'a\\r\\nb'}",
    b"error()",
    b"return table.concat(redis.call('xrange', KEYS[1], '-', '+')[1][2])",
    b"return {double = 1e400, err = 'E z'}",
    b"return redis.call('blpop', 'none', 0)",
    b"return redis.pcall('nosuch')",
    b"\xff\x00return 1",
    b"#!lua flags=x\n1",
)

#: Whole streams that lie, or that go further than one would.
HOSTILE: Sequence[bytes] = (
    b"*2147483647\r\n", b"*1048576\r\n", b"*1048577\r\n", b"*-2147483648\r\n", b"*99999999999999999999\r\n",
    b"*1\r\n$536870912\r\n", b"*1\r\n$4194304\r\n", b"*1\r\n$4194305\r\n", b"*1\r\n$-1\r\n", b"*1\r\n$0\r\n\r\n",
    b"*1\r\n*1\r\n" * 1000, b"*" * 70_000, b"*1\r\n$" + b"9" * 70_000, b"*0\r\n" * 10_000, b"*-1\r\n" * 10_000,
    b"$5\r\nhello\r\n", b"~1\r\n$4\r\nPING\r\n", b"%1\r\n", b">2\r\n", b":1\r\n" * 1000, b"\0" * 5000, b"\r\n" * 20_000,
    b"\n" * 50_000, b"+OK\r\n" * 2000, b"!21\r\nSYNTAX invalid syntax\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nPING\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 50,
    b'{"method":"insert","key":"deep","value":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n",

       b'{"method":"insert","key":"deep","value":' + b"[" * 199 + b"]" * 199
    + b"}\n{\"method\":\"lookup\",\"key\":\"deep\"}\n",
    b"{" * 100_000 + b"\n", b'{"a":' * 50_000 + b"\n",
    b'{"method":"insert","key":"n","value":' + b"9" * 100_000 + b"}\n",
    b'{"method":"insert","key":"n","value":' + b"9" * 4300 + b'}\n{"method":"lookup","key":"n"}\n',
    b'{"method":"insert","key":"n","value":1e999}\n', b'{"method":"insert","key":"n","value":NaN}\n',
    b'{"method":"insert","key":"\xff\xfe","value":1}\n', b'{"method":"insert","key":"\\ud800","value":"\\udfff"}\n'
    b'{"method":"lookup","key":"\\ud800"}\n', b'{"method":"lookup","key":"x","id":' + b"[" * 190 + b"]" * 190 + b"}\n",
    b'{"method":"lookup","method":"size","key":"x","key":1}\n', b'{"method":7}\n', b'{"method":"GET","key":"x"}\n',
    b"{}\n",
    b'{"method":"insert","key":"","value":0}\n{"method":"lookup","key":""}\n',
    b'{"method":"query","subkey":"","subvalue":null}\n',
    b'insert "k\n', b"insert k " + b"[" * 5000 + b"\n", b"insert\n", b'set "\\x00\\xff" "\\q\n', b"set a 'b\n",
    b"help help\n", b"help\n", b"\xff\xf4\xff\xfd\x06PING\n", b"\xff\xfa" * 30_000 + b"\n",
    b"\xff\xfd" * 40_000 + b"\n",
    b"\xef\xbb\xbf {}\nPING\n", b"PING\n\x04PING\n", b"MULTI\nSET a 'b\nEXEC\nexit\n", b"help MULTI\nnosuch\n",
    pack(b"SET", b"", b"empty") + pack(b"GET", b""), pack(b"SET", b"limit" + b"k" * 2_000_000, b"x") + pack(b"PING"),
    pack(b"SET", b"a", b"v" * (4 * 1024 * 1024 - 4)) + pack(b"STRLEN", b"a"), pack(b"SET", b"a",
    b"v" * (4 * 1024 * 1024 - 3)),
    pack(b"HELLO", b"3") + pack(b"COMMAND") + pack(b"INFO") + pack(b"MGET", *[b"none"] * 1000),
    pack(*[b"MGET"] * 100_000),
    pack(b"MULTI") + pack(b"SET", b"a", b"x" * 1000) * 3000 + pack(b"EXEC"), pack(b"MULTI") * 5 + pack(b"EXEC") * 5,
    pack(b"KEYS", b"*a" * 2000 + b"b"), pack(b"KEYS", b"[" * 4000), pack(b"SETRANGE", b"a", b"536870911", b"x"),
    pack(b"COMMAND") * 300, pack(b"PING", b"x" * 100_000) * 30,
)  # fmt: skip
