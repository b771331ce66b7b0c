"""EVAL and its kin, and SCRIPT: what a script does, what it answers, and what of it stands."""

from __future__ import annotations

import hashlib

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.limits import MAX_ERROR_CODES, MAX_EVAL_SCRIPTS
from kvstore.scripting.conversion import number_text
from tests.kit.harness import CommandTestCase, Rig
from tests.kit.pair import Pair
from tests.kit.valkey import ValkeyTestCase

RELEASE = """
    local token = redis.call('get', KEYS[1])
    if not token or token ~= ARGV[1] then
        return 0
    end
    redis.call('del', KEYS[1])
    return 1
"""

#: Scripts that answer in kvstore as in Valkey, in both protocols.
SCRIPTS = r"""
return 1.9
return -1.9
return 1e300
return 0/0
return true
return false
return nil
return {1, 2, nil, 3}
return {1, {2, 'x', {}}, false, true, 3}
return {double = 1.5}
return {big_number = '12345678901234567890'}
return {map = {a = 1}}
return {set = {a = true}}
return {set = {[{1, 2}] = true}}
redis.setresp(3) return redis.call('command', 'getkeysandflags', 'type', 'l')
return {ok = 'a\r\nb'}
return {err = 'x'}
return {err = 'x y'}
return {ok = 1}
return {ok = 'x', err = 'y'}
return {3, ok = 'x'}
return {1, {ok = 'x'}, {err = 'E y'}}
return {1, function() end, 2}
return function() end
return setmetatable({}, {__index = {1, 2}})
redis.setresp(3) return true
redis.setresp(3) return {true, false}
redis.setresp(3) return redis.call('get', 'nokey')
redis.setresp(3) return tostring(redis.call('get', 'nokey'))
return tostring(redis.call('get', 'nokey'))
redis.setresp(3) return redis.call('hgetall', 'h')
redis.setresp(3) return redis.call('smembers', 'nokey')
redis.setresp(3) return redis.call('sinter', 's').set.m
redis.setresp(3) return redis.call('xread', 'streams', 'x', '0').map.x
redis.setresp(3) return redis.call('hgetall', 'h').map.f
return redis.call('hgetall', 'h')
return redis.call('lrange', 'l', 0, -1)
return redis.call('set', 'a', 1)
return redis.call('ping').ok
return server.call('ping')
return redis.pcall('reset', 'x')
return redis.pcall('reset')
return redis.call('blpop', 'nokey', 0)
return redis.call('select', 1)
return redis.call('type', 'l')
return redis.call('lpush', 'a', 1)
return redis.pcall('lpush', 'a', 1)
return redis.pcall('lpush', 'a', 1).err
return {pcall(redis.call, 'lpush', 'a', 1)}
local t = {} for k in pairs(redis.pcall('lpush', 'a', 1)) do t[#t + 1] = k end table.sort(t) return t
return redis.call('nosuch')
return redis.call()
return redis.call('get')
return redis.call('get', {})
return redis.call('get', nil)
return redis.call('object', 'nosuch')
return redis.call('multi')
return redis.call('eval', 'return 1', 0)
return redis.call('client', 'id')
return type(redis.call('client', 'help'))
return redis.call('client', 'nosuch')
return redis.call('client')
return redis.call('config', 'get', 'port')
return redis.call('subscribe', 'a')
return redis.pcall('exec')
return {redis.call('zscore', 'z', 'a'), redis.call('zscore', 'z', 'b'), redis.call('zscore', 'z', 'c')}
return redis.call('zrange', 'z', 0, -1, 'withscores')
redis.setresp(3) return redis.call('zscore', 'z', 'a')
return redis.call('echo', 1.5)
return redis.call('echo', 1e20)
return redis.call('echo', 2^63)
return redis.call('echo', 1e15)
return redis.call('echo', 1e-5)
return redis.call('echo', 0.1 + 0.2)
return redis.call('echo', 1/0)
return redis.error_reply('x')
return redis.error_reply('X y')
return redis.error_reply('-X y')
return redis.error_reply()
return redis.status_reply('x')
return redis.status_reply(1)
return redis.sha1hex('')
return redis.sha1hex(1)
return redis.sha1hex()
return redis.log()
return redis.log('a', 'b')
return redis.log(9, 'b')
return redis.log(redis.LOG_DEBUG, 'b')
return redis.setresp(4)
return redis.setresp()
return redis.set_repl(9)
return redis.set_repl(redis.REPL_ALL)
return redis.replicate_commands()
return redis.acl_check_cmd('get', 'a')
return redis.acl_check_cmd('nosuch', 'a')
return {redis.REDIS_VERSION, redis.REDIS_VERSION_NUM, redis.VALKEY_VERSION_NUM, redis.SERVER_NAME}
return x
x = 1
function f() end
rawset(_G, 'x', 1)
string.x = 1
setmetatable(_G, {})
table.insert(string, 1)
error('a')
error({err = 'MY x'})
error({})
error()
local t = nil; t.x = 1
return 1 .. {}
return 'a' < 1
return ('x'):bad()
string.rep()
string.rep('x', {})
return os.time()
return newproxy
return (
x =
KEYS = {}
KEYS[1] = 'x' return KEYS
return {#KEYS, #ARGV, KEYS[1], ARGV[1], ARGV[2]}
return {pcall(function() error('x') end)}
return {xpcall(function() error('x') end, function(e) return e .. '!' end)}
return {coroutine.resume(coroutine.create(function(a) local b = coroutine.yield(a + 1) return b * 2 end), 1)}
local f = coroutine.wrap(function(a) local b = coroutine.yield(a + 1) return b * 2 end) return {f(1), f(4)}
coroutine.wrap(function() error({err = 'E x'}) end)()
return {('hello'):find('l'), ('hello'):find('l', 1, true), ('a.b'):find('.', 1, true), ('abc'):find('b', -2)}
return {('k=v, a=b'):match('(%w+)=(%w+)'), ('abc'):gsub('%w', '%0%0')}
return {('abc'):gsub('b', {b = 'x'}), ('abc'):gsub('b', '')}
local t = {} for k, v in ('k=v, a=b'):gmatch('(%w+)=(%w+)') do t[#t + 1] = k .. v end return t
return {('abc'):upper(), ('ABC'):lower(), ('abc'):reverse(), ('ab'):rep(3), ('abc'):byte(2), ('abc'):sub(-2), #'abc'}
local t = {3, 1, 2} table.sort(t) table.insert(t, 9) table.insert(t, 1, 0) table.remove(t, 2) return t
local t = {} for i = 1, 2000 do t[i] = (i * 7919) % 2003 end table.sort(t) return table.concat(t, ' ')
local t = {} for i = 1, 2000 do t[i] = (i * 7919) % 2003 end table.sort(t, function(a, b) return a > b end) return t
math.randomseed(3) return {math.random(1000000), math.random(5, 7), math.floor(math.random() * 1000)}
return {tostring(loadstring('return 1')()), tostring(loadstring('return (')), tostring(select('#', 1, nil)), type(load)}
return {cjson.encode({1, 2, {a = 'x/"\n\1'}}), cjson.encode({}), cjson.encode(cjson.null)}
return {cjson.encode(1.5), cjson.encode(1e20), cjson.encode(0.1)}
return cjson.encode({[1] = 1, [100] = 2})
return cjson.encode({[1] = 1, [3] = 2})
return cjson.encode({[1.5] = 1})
return cjson.encode(function() end)
return cjson.encode(1/0)
return cjson.encode({[true] = 1})
local v = cjson.decode('{"a": [1, 2.5, "x\\u00e9\\n", null, true], "b": {}}') return {v.a[3], v.a[5], type(v.b)}
local v = cjson.decode('"\\ud83d\\ude00"') return v
return cjson.decode('[1,')
return cjson.decode('{"a" 1}')
return cjson.decode('[1 2]')
return cjson.decode('[1] x')
return cjson.decode('nul')
return cjson.decode('')
return cjson.decode('[0, -1, 1e3, 1E-2]')
#!lua
#!js\nreturn 1
#!lua name=x\nreturn 1
#!lua flags=bad\nreturn 1
#!lua flags=no-writes\nreturn redis.call('set', 'a', 1)
#!lua flags=no-writes,allow-stale\nreturn redis.call('get', 'a')
#!lua\n\nerror('x')
""".strip("\n").split("\n")


class ScriptTests(CommandTestCase):
    """What a script does to the table, and how it is kept."""

    def test_lock(self) -> None:
        """redis-py's release of a lock removes its own only."""
        sha = self.do("SCRIPT", "LOAD", RELEASE)
        self.do("SET", "lock", "mine")
        self.assertEqual(self.do("EVALSHA", sha, 1, "lock", "other"), 0)
        self.assertEqual(self.do("EVALSHA", sha.upper(), 1, "lock", "mine"), 1)
        self.assertIsNone(self.do("GET", "lock"))

    def test_undone(self) -> None:
        """A script that raises is undone whole; one that answers an error is not, and pcall undoes the one command."""
        self.do("SET", "a", "before")
        change = "redis.call('SET', 'a', 'after') redis.call('RPUSH', 'l', 1)"
        self.assertIn("x", self.error("EVAL", f"{change} error('x')", 0))
        self.error("EVAL", f"{change} return redis.call('INCR', 'a')", 0)
        self.assertEqual([self.do("GET", "a"), self.do("EXISTS", "l")], [b"before", 0])
        self.assertIn("value is not", str(self.do("EVAL", f"{change} return redis.pcall('INCR', 'a')", 0)))
        self.assertEqual([self.do("GET", "a"), self.do("LLEN", "l")], [b"after", 1])
        self.do("EVAL", "pcall(redis.call, 'MSETNX', 'a', 1, 'b', 2) redis.pcall('RPUSH', 'a', 1) return 1", 0)
        self.assertEqual(self.do("EXISTS", "b"), 0)

    def test_full_disk(self) -> None:
        """A full disk ends the script, whatever it catches, and is what the client is told."""
        self.do("SET", "a", 1)
        self.rig.room_bytes = self.rig.store.pending.size_bytes + 100
        source = "redis.call('SET', 'a', 2) pcall(redis.call, 'SET', 'b', string.rep('x', 1000)) return 1"
        self.assertIn("MISCONF", self.error("EVAL", source, 0))
        self.assertEqual(self.do("GET", "a"), b"1")

    def test_messages(self) -> None:
        """What a script publishes is told when it is whole; of one that raises nothing is."""
        self.do("SUBSCRIBE", "c", by=self.rig.connect())
        self.do("EVAL", "redis.call('PUBLISH', 'c', 'x') return 1", 0)
        self.assertEqual(len(self.rig.server.messages), 1)
        self.rig.server.messages.clear()
        self.error("EVAL", "redis.call('PUBLISH', 'c', 'x') error('y')", 0)
        self.assertEqual(self.rig.server.messages, [])

    def test_watch(self) -> None:
        """A script changes what others watch; its own client's database is where it begins, and stays."""
        other = self.rig.connect()
        self.do("WATCH", "a", by=other)
        self.do("EVAL", "redis.call('SET', 'a', 1)", 0)
        self.do("MULTI", by=other)
        self.assertEqual(repr(self.do("EXEC", by=other)), "NULL_ARRAY")
        self.do("SELECT", 3)
        self.do("EVAL", "redis.call('SET', 'b', 1) redis.call('SELECT', 4) redis.call('SET', 'c', 1)", 0)
        self.assertEqual([self.do("EXISTS", "b"), self.do("EXISTS", "c")], [1, 0])

    def test_in_a_block(self) -> None:
        """In a MULTI block a script that raises is undone, and the others stand."""
        for request in (
            ["MULTI"],
            ["SET", "a", 1],
            ["EVAL", "redis.call('SET', 'b', 1) error('x')", 0],
            ["SET", "c", 1],
        ):
            self.do(*request)
        self.assertIn("x", str(self.do("EXEC")[1]))
        self.assertEqual([self.do("EXISTS", key) for key in "abc"], [1, 0, 1])

    def test_monitored(self) -> None:
        """What a script's calls execute is gathered for MONITOR, what is refused is not; nothing if nobody looks."""
        source = "redis.call('SELECT', 4) redis.pcall('nosuch') redis.pcall('GET') return redis.call('GET', 'k')"
        self.do("EVAL", source, 0)
        self.rig.server.script_calls.wanted = True
        self.do("EVAL", source, 0)
        self.assertEqual(self.rig.server.script_calls.take(), [(4, [b"SELECT", b"4"]), (4, [b"GET", b"k"])])

    def test_read_only(self) -> None:
        """The _RO forms, and the flag no-writes, refuse writes; a script that may write is none for _RO."""
        refused = "Write commands are not allowed from read-only scripts."
        for command in ("SET', 'a', 1", "PUBLISH', 'a', 1"):
            self.assertIn(refused, self.error("EVAL_RO", f"return redis.call('{command})", 0))
        self.assertIn(refused, str(self.do("EVAL_RO", "return redis.pcall('SET', 'a', 1)", 0)))
        self.assertIn("write flag", self.error("EVAL_RO", "#!lua\nreturn 1", 0))
        self.assertEqual(self.do("EVAL_RO", "#!lua flags=no-writes\nreturn 1", 0), 1)
        sha = self.do("SCRIPT", "LOAD", "return redis.call('GET', KEYS[1])")
        self.assertIsNone(self.do("EVALSHA_RO", sha, 1, "a"))

    def test_most_words(self) -> None:
        """A command gets as many as Lua has places for."""
        for count in (7989, 7990, 7997):
            source = f"local a = {{}} for i = 1, {count} do a[i] = i end return redis.call('RPUSH', 'l', unpack(a))"
            self.assertEqual(self.do("EVAL", source, 0), count)
            self.assertEqual(self.do("LRANGE", "l", 7980, -1), [b"%d" % i for i in range(7981, count + 1)])
            self.do("DEL", "l")

    def test_codes_of_errors(self) -> None:
        """Past a limit those that scripts make up are counted as one."""
        codes = self.rig.server.errors_by_code
        for number in range(MAX_ERROR_CODES + 2):
            self.error("EVAL", "return redis.error_reply('X' .. ARGV[1] .. ' y')", 0, number)
        self.assertEqual((len(codes), codes["ERRORSTATS_OVERFLOW"]), (MAX_ERROR_CODES + 1, 2))
        self.error("GET")
        self.error("EVAL", "return redis.error_reply('X1 y')", 0)
        self.assertEqual((codes["ERR"], codes["X1"], codes["ERRORSTATS_OVERFLOW"]), (1, 2, 2))

    def test_chance(self) -> None:
        """Numbers by chance are others in each script."""
        drawn = {self.do("EVAL", "return math.random(2^31)", 0) for _ in range(9)}
        self.assertGreater(len(drawn), 5)

    def test_told_by_info(self) -> None:
        """INFO tells of the scripts that are kept."""
        self.do("SCRIPT", "LOAD", "return 1")
        self.do("EVAL", "return 22", 0)
        lines = self.do("INFO", "memory").split("\r\n")
        self.assertIn("number_of_cached_scripts:2", lines)
        self.assertIn("used_memory_scripts_eval:17", lines)

    def test_debug(self) -> None:
        """DEBUG is for scripts once it is told so."""
        self.rig.server.configuration._values["enable-debug-command"] = "yes"
        self.do("DEBUG", "SET-DISABLE-DENY-SCRIPTS", 1)
        self.assertEqual(self.do("EVAL", "return redis.call('DEBUG', 'PROTOCOL', 'true')", 0), 1)
        big = "redis.setresp(3) return redis.call('DEBUG', 'PROTOCOL', 'bignum').big_number"
        self.assertEqual(self.do("EVAL", big, 0), b"1234567999999999999999999999999999999")

    def test_which_error_is_first(self) -> None:
        """What cannot be a SHA-1; the number of keys; the source, or that it is not kept."""
        unknown = "0" * 40
        for name in ("EVALSHA", "EVALSHA_RO"):
            self.assertIn("NOSCRIPT", self.error(name, "x", "y"))
            self.assertIn("NOSCRIPT", self.error(name, unknown, 0))
        for name, what in (("EVALSHA", unknown), ("EVAL", "return ("), ("EVAL_RO", "return (")):
            self.assertIn("not an integer", self.error(name, what, "x"))
            self.assertIn("can't be greater", self.error(name, what, 2, "a"))
            self.assertIn("can't be negative", self.error(name, what, -1))

    def test_kept(self) -> None:
        """EVAL keeps the newest scripts, SCRIPT LOAD all; SCRIPT FLUSH forgets both."""
        loaded = self.do("SCRIPT", "LOAD", "return 'loaded'")
        first = hashlib.sha1(b"return 0").hexdigest()
        for number in range(MAX_EVAL_SCRIPTS):
            self.do("EVAL", f"return {number}", 0)
        self.assertEqual(self.do("SCRIPT", "EXISTS", loaded, first), [1, 1])
        self.do("EVAL", "return 0", 0)
        self.do("EVAL", "return 'more'", 0)
        second = hashlib.sha1(b"return 1").hexdigest()
        self.assertEqual(self.do("SCRIPT", "EXISTS", loaded, first, second), [1, 1, 0])
        self.assertIn("evicted_scripts:1\r\n", self.do("INFO", "stats"))
        self.do("CONFIG", "RESETSTAT")
        self.assertIn("evicted_scripts:0\r\n", self.do("INFO", "stats"))
        self.assertEqual(self.do("SCRIPT", "SHOW", loaded), b"return 'loaded'")
        self.assertIn("NOSCRIPT", self.error("EVALSHA", second, 0))
        self.do("SCRIPT", "FLUSH")
        self.assertIn("NOSCRIPT", self.error("EVALSHA", loaded, 0))
        self.assertIn("NOSCRIPT", self.error("SCRIPT", "SHOW", loaded))
        self.assertIn("NOTBUSY", self.error("SCRIPT", "KILL"))
        self.assertIn("SYNC|ASYNC", self.error("SCRIPT", "FLUSH", "x"))

    def test_a_new_state(self) -> None:
        """Scripts that were compiled in a state that was replaced are compiled again."""
        sha = self.do("SCRIPT", "LOAD", "return 5")
        self.rig.server.scripts._engine._make_state()
        self.assertEqual(self.do("EVALSHA", sha, 0), 5)

    def test_many_words(self) -> None:
        """As many words as a client sends, and as Lua can pass on."""
        words = [str(number) for number in range(20_000)]
        self.assertEqual(
            self.do("EVAL", "return {#KEYS, #ARGV, KEYS[2], ARGV[10000]}", 2, *words), [2, 19998, b"1", b"10001"]
        )
        self.assertEqual(self.do("EVAL", "return redis.call('RPUSH', 'l', unpack(ARGV))", 0, *words[:5000]), 5000)
        self.assertEqual(self.do("EVAL", "return #redis.call('LRANGE', 'l', 0, -1)", 0), 5000)

    def test_keys(self) -> None:
        """The number of keys is checked."""
        self.assertIn("negative", self.error("EVAL", "return 1", -1))
        self.assertIn("greater", self.error("EVAL", "return 1", 2, "a"))
        self.assertIn("integer", self.error("EVAL", "return 1", "x"))


class _Ticking(Rig):
    """A server whose clock goes on whenever it is looked at."""

    @property
    def now_ms(self) -> int:
        """Another time each time."""
        self._now_ms += 1
        return self._now_ms


class TimeTests(SynchronousTestCase):
    """What a script sees of time."""

    def test_time_stands_still(self) -> None:
        """TIME and deadlines are as of one moment in a script; the next request has another."""
        rig = _Ticking()
        rig.do("SET", "k", "v", "PX", "1000")
        looks = "{redis.call('TIME')[2], redis.call('PTTL', 'k')}"
        first, second = rig.do("EVAL", f"return {{{looks}, {looks}}}", "0")
        self.assertEqual(first, second)
        self.assertNotEqual(rig.do("TIME"), rig.do("TIME"))


class NumberTests(CommandTestCase):
    """Numbers as words."""

    @settings(max_examples=200, derandomize=True, database=None)
    @given(st.floats(allow_nan=False))
    def test_read_back(self, number: float) -> None:
        """The digits read back as the number."""
        self.assertEqual(float(number_text(number)), number)


class AgainstValkeyTests(ValkeyTestCase):
    """The same scripts in Valkey."""

    def test_scripts(self) -> None:
        """Every one gets the same bytes, in both protocols."""
        for protocol in (2, 3):
            pair = Pair(self.valkey, protocol)
            self.addCleanup(pair.close)
            for words in (
                b"SET a 1",
                b"RPUSH l x y",
                b"HSET h f v",
                b"ZADD z 0 a 1e17 b 1.5 c",
                b"SADD s m",
                b"XADD x 1-1 f v",
            ):
                self.assertEqual(pair.differs(0, words.split()), "")
            differences = []
            for script in SCRIPTS:
                source = script.replace("\\nreturn", "\nreturn").replace("\\n\\nerror", "\n\nerror").encode()
                difference = pair.differs(0, [b"EVAL", source, b"1", b"k", b"x", b"y"])
                differences += [f"{script}\n{difference}"] if difference else []
            self.assertEqual(differences, [])
            self.assertEqual(pair.differs(0, [b"GET", b"a"]), "")

    def test_numbers(self) -> None:
        """Numbers become the same words."""
        pair = Pair(self.valkey, 2)
        self.addCleanup(pair.close)

        @settings(max_examples=200, derandomize=True, database=None)
        @given(st.floats(allow_nan=False, allow_infinity=False))
        def run(number: float) -> None:
            source = f"return redis.call('echo', {number!r})".encode()
            self.assertEqual(pair.differs(0, [b"EVAL", source, b"0"]), "", number)

        run()
