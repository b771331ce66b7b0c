"""FUNCTION and FCALL: what a library is, what its functions do, and what of it stands."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import chain, islice, repeat
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.limits import MAX_LIBRARIES_BYTES
from kvstore.commands.function_dump import read_dump, write_dump
from kvstore.store.merge import merge
from kvstore.values import TYPES
from kvstore.wire.resp import pack
from tests.kit.harness import CommandTestCase
from tests.kit.pair import Pair
from tests.kit.serving import Serving
from tests.kit.valkey import ValkeyTestCase

HEAD = "#!lua name=l\n"
#: A library with one function that counts its calls.
COUNTER = f"{HEAD}local n = 0\nredis.register_function('count', function() n = n + 1 return n end)"

#: First lines of libraries.
FIRST_LINES = r"""
x
#!lua name=l
#!lua\n
#!\n
#! lua name=l\n
#!LUA NAME=l\n
#!lua\tname=l  \r\n
#!"lua" 'name=l'\n
#!lua name="l"x\n
#!lua name='l\n
#!lua name=l\0\n
#!lua name=l-b\n
#!lua name=\n
#!lua name=l name=k\n
#!lua name=l engine=x\n
#!lua foo name=l\n
#!py\n
#!py name=a-b\n
#!py name=l\n
""".strip("\n").split("\n")

#: What stands in libraries that are loaded.
BODIES = r"""

return 1
foo(
F return 7
F local x = (
F x = 1
F local a = x
F KEYS = 1
F redis.x = 1
F local a; a.b = 1
F local a = {} a.b.c = 1
F local a = 'x' .. nil
F error('a')
F local a = pairs
F local a = string
F redis.call('get', 'a')
F redis.pcall('get', 'a')
F local a = redis.sha1hex
F local a = redis.setresp
F local a = redis.breakpoint
F local a = redis.REPL_ALL
F local a = {redis.LOG_DEBUG, redis.REDIS_VERSION, redis.VALKEY_VERSION_NUM, redis.SERVER_NAME, redis.log}
F local function f() g() end f()
F server.register_function('g', function() return x end)
F for i = 1, 3 do redis.register_function('f' .. i, function() return i end) end
F redis.register_function(('a'):rep(100), function() end)
F redis.register_function('f', function() end)
F redis.register_function('f-g', function() end)
F redis.register_function('f', function() end) error('a')
F redis.register_function('a', function() end).x = 1
redis.register_function()
redis.register_function(1)
redis.register_function('f')
redis.register_function('f', 'g')
redis.register_function('f', function() end, 'no-writes')
redis.register_function(1, function() end)
redis.register_function(1.5, function() end)
redis.register_function(true, function() end)
redis.register_function(nil, function() end)
redis.register_function({}, function() end)
redis.register_function({function_name='f', callback=function() end}, 1)
redis.register_function('f-g', function() end)
redis.register_function('a b', function() end)
redis.register_function('', function() end)
redis.register_function('a\0b', function() end)
redis.register_function{}
redis.register_function{1, 2}
redis.register_function{function_name='f'}
redis.register_function{callback=function() end}
redis.register_function{function_name=1, callback=function() end}
redis.register_function{function_name={}, callback=function() end}
redis.register_function{function_name='f', callback=1}
redis.register_function{function_name='f', callback=function() end, foo=1}
redis.register_function{function_name='f', callback=function() end, flags=1}
redis.register_function{function_name='f', callback=function() end, flags={}}
redis.register_function{function_name='f', callback=function() end, flags={1}}
redis.register_function{function_name='f', callback=function() end, flags={'x'}}
redis.register_function{function_name='f', callback=function() end, flags={'no-writes', nil, 'x'}}
redis.register_function{function_name='f', callback=function() end, flags={'NO-WRITES', 'no-writes'}}
redis.register_function{function_name='f', callback=function() end, description=1}
redis.register_function{function_name='f', callback=function() end, description={}}
redis.register_function{FUNCTION_NAME='f', callback=function() end}
local r = redis.register_function r('f', function() end)
""".strip("\n").split("\n")

#: What stands in functions that are called, with one key and one argument.
FUNCTIONS = r"""
return 1
return {keys, args, #keys, #args}
error('a')
error({err = 'MY a'})
error({err = 'MY'})
error({})
local x; x.a = 1
return y
y = 1
return KEYS
return ARGV
return redis.call('foo')
return redis.call('get')
return redis.call('lpush', 'a', 1)
return redis.pcall('lpush', 'a', 1)
return redis.call('fcall', 'f', 0)
return redis.call('fcall_ro', 'f', 0)
return redis.call('function', 'list')
return redis.call('eval', 'return 1', 0)
return redis.register_function('g', function() end)
return tostring(redis.register_function)
return early.call('ping')
return early.register_function('g', function() end)
return early == redis
local t = {} for k in pairs(redis) do t[#t + 1] = k end table.sort(t) return t
local t = {} for k in pairs(early) do t[#t + 1] = k end table.sort(t) return t
return redis.breakpoint()
return redis.replicate_commands()
return redis.setresp(5)
redis.setresp(3) return redis.call('hgetall', 'h')
return redis.sha1hex('')
return rawset(_G, 'a', 1)
string.x = 1
_G.x = 1
return loadstring('return 1')()
return {map = {a = 1}}
return {double = 1.5}
return true
return nil
n = n + 1 return n
return {pcall(redis.foo)}
""".strip("\n").split("\n")

#: Requests one after the other; `@` stands for the library that is named behind it, with a function of that name.
REQUESTS = r"""
FUNCTION
FUNCTION XX
FUNCTION LOAD
FUNCTION LOAD REPLACE
FUNCTION LOAD X @l
FUNCTION LOAD @l X
FUNCTION LOAD @l
FUNCTION LOAD @l
FUNCTION LOAD replace REPLACE @l
FUNCTION LIST
FUNCTION LIST WITHCODE
FUNCTION LIST WITHCODE withcode
FUNCTION LIST LIBRARYNAME
FUNCTION LIST LIBRARYNAME L*
FUNCTION LIST LIBRARYNAME x*
FUNCTION LIST withcode libraryname [a-z]
FUNCTION LIST LIBRARYNAME * LIBRARYNAME *
FUNCTION LIST FOO
FUNCTION LOAD @L
FUNCTION STATS
FUNCTION STATS x
FUNCTION KILL
FUNCTION DUMP
FUNCTION DUMP x
FCALL
FCALL f 0
FCALL l 0
FCALL L 0
FCALL l
FCALL l x
FCALL l -1
FCALL l 2
FCALL l 1 a
FCALL g 2
FCALL_RO l 0
COMMAND GETKEYS FCALL l 2 a b c
COMMAND GETKEYS FCALL_RO l 1 a b c
MULTI
FUNCTION DELETE l
FCALL l 0
FUNCTION LIST
FUNCTION LOAD @k
FCALL k 0
FUNCTION KILL
EXEC
FUNCTION DELETE
FUNCTION DELETE l
FUNCTION DELETE K
FUNCTION DELETE k
FUNCTION LIST
FUNCTION RESTORE
FUNCTION RESTORE x
FUNCTION RESTORE DUMP x
FUNCTION RESTORE DUMP FLUSH x
FUNCTION RESTORE DUMP
FUNCTION RESTORE DUMP
FUNCTION RESTORE DUMP append
FUNCTION RESTORE DUMP replace
FCALL l 0
FUNCTION LOAD REPLACE @k
FUNCTION RESTORE DUMP FLUSH
FUNCTION LIST
FUNCTION DELETE l
FUNCTION LOAD @k
FLUSHALL
FUNCTION LIST
FUNCTION FLUSH x
FUNCTION FLUSH ASYNC SYNC
FUNCTION FLUSH async
FUNCTION LIST
FUNCTION FLUSH
FUNCTION DUMP
""".strip("\n").split("\n")


def library(name: str) -> bytes:
    """A library with one function, both of that name."""
    return f"#!lua name={name}\nredis.register_function('{name}', function(keys) return keys end)".encode()


class FunctionTests(CommandTestCase):
    """What libraries and functions do."""

    def load(self, body: str, *options: str) -> Any:
        """Load a library with one function, `f`, of that body."""
        source = f"{HEAD}redis.register_function('f', function(keys, args) {body} end)"
        return self.do("FUNCTION", "LOAD", *options, source)

    def test_local_state(self) -> None:
        """What a library keeps in its variables stays from one call to the next, until it is loaded again."""
        self.do("FUNCTION", "LOAD", COUNTER)
        self.assertEqual([self.do("FCALL", "count", 0), self.do("FCALL", "COUNT", 0)], [1, 2])
        self.error("FUNCTION", "LOAD", COUNTER)
        self.assertEqual(self.do("FCALL", "count", 0), 3)
        self.do("FUNCTION", "LOAD", "REPLACE", COUNTER)
        self.assertEqual(self.do("FCALL", "count", 0), 1)

    def test_undone(self) -> None:
        """A function that raises is undone whole."""
        self.load("redis.call('SET', keys[1], args[1]) error('x')")
        self.assertIn("x script: on @user_function:2.", self.error("FCALL", "f", 1, "a", "b"))
        self.assertEqual(self.do("EXISTS", "a"), 0)

    def test_late(self) -> None:
        """A function, and a library, that takes too long is stopped and undone."""
        self.rig.server.script_ms = 50
        self.load("redis.call('SET', 'a', 1) while true do end")
        self.assertIn("longer than 50 ms", self.error("FCALL", "f", 0))
        self.assertIn("FUNCTION LOAD timeout", self.error("FUNCTION", "LOAD", "#!lua name=k\nwhile true do end"))
        self.load("return tostring(redis.register_function) .. type(redis.call)", "REPLACE")
        self.assertEqual(self.do("FCALL", "f", 0), b"nilfunction")

    def test_full_disk(self) -> None:
        """There is no room for a library: the one before stays, with what it has kept."""
        self.do("FUNCTION", "LOAD", COUNTER)
        self.do("FCALL", "count", 0)
        self.rig.room_bytes = 0
        self.assertIn("MISCONF", self.error("FUNCTION", "LOAD", "REPLACE", COUNTER))
        self.assertEqual(self.do("FCALL", "count", 0), 2)

    def test_a_restore_that_fails(self) -> None:
        """All of it is undone: what was flushed is there again."""
        self.do("FUNCTION", "LOAD", COUNTER)
        dump = write_dump([library("a"), library("b"), b"#!lua name=c\nreturn 1"])
        self.assertIn("No functions registered", self.error("FUNCTION", "RESTORE", dump, "FLUSH"))
        self.assertEqual([each["library_name"] for each in self.do("FUNCTION", "LIST")], [b"l"])
        self.assertEqual(self.do("FCALL", "count", 0), 1)
        self.assertIn("not found", self.error("FCALL", "a", 0))

    def test_what_libraries_keep_is_bounded(self) -> None:
        """One that keeps too much loses it, and so do the others; one that is too large from the start is refused."""
        self.do("FUNCTION", "LOAD", COUNTER)
        self.do("FCALL", "count", 0)
        grow = "local t = {} redis.register_function('grow', function() t[#t + 1] = ('x'):rep(5e6 + #t) return #t end)"
        self.do("FUNCTION", "LOAD", f"#!lua name=g\n{grow}")
        self.assertEqual([self.do("FCALL", "grow", 0) for _ in range(5)], [1, 2, 3, 4, 1])
        self.assertEqual(self.do("FCALL", "count", 0), 1)
        fill = "local t = {} for i = 1, 5 do t[i] = ('x'):rep(5e6 + i) end"
        source = f"#!lua name=h\n{fill} redis.register_function('h', function() return t end)"
        self.assertIn("too much memory", self.error("FUNCTION", "LOAD", source))
        self.assertEqual(self.do("FCALL", "count", 0), 1)

    def test_sizes(self) -> None:
        """All sources together are bounded."""
        filler = "-" * 200_000
        for number in range(MAX_LIBRARIES_BYTES // len(filler)):
            self.do("FUNCTION", "LOAD", library(f"l{number}") + f" --{filler}".encode())
        self.assertIn("more than", self.error("FUNCTION", "LOAD", library("m") + f" --{filler}".encode()))

    def test_info(self) -> None:
        """INFO tells of them."""
        self.do("FUNCTION", "LOAD", COUNTER)
        fields = dict(line.split(":") for line in self.do("INFO", "memory").split("\r\n") if ":" in line)
        self.assertEqual([fields["number_of_libraries"], fields["number_of_functions"]], ["1", "1"])
        self.assertGreater(int(fields["used_memory_vm_functions"]), 0)


class RestartTests(SynchronousTestCase):
    """Libraries in the files."""

    def test_restarts(self) -> None:
        """They are there after kills and compactions, without what they had kept; FLUSHALL leaves them."""
        serving = Serving()
        for _ in range(2):
            client = serving.connect()
            client.told(pack(b"FUNCTION", b"LOAD", b"REPLACE", library("l")), pack(b"SELECT", b"3"))
            client.told(pack(b"FUNCTION", b"LOAD", COUNTER.replace("name=l", "name=c").encode()), "SET a 1")
            self.assertEqual(client.told("FCALL count 0", "FCALL count 0"), b":1\r\n:2\r\n")
            client.told("FUNCTION DELETE l", "FLUSHALL")
            serving = Serving(serving.disk.kill())
            self.assertEqual(serving.connect().told("FCALL count 0"), b":1\r\n")
            store = serving.store
            store.finish_compaction(merge(serving.disk, TYPES, store.seal(), 0))
            serving = Serving(serving.disk.kill())
            self.assertEqual(serving.connect().told("FCALL count 0", "DBSIZE"), b":1\r\n:0\r\n")
            serving.connect().told("FUNCTION FLUSH")
            self.assertEqual(Serving(serving.disk.kill()).connect().told("FUNCTION LIST"), b"*0\r\n")
            serving = Serving(serving.disk.kill())

    def test_a_machine_that_stood_still(self) -> None:
        """A library that took too long to load after a restart is loaded again when it is asked for."""
        serving = Serving()
        serving.connect().told(pack(b"FUNCTION", b"LOAD", library("l") + b" for i = 1, 9999 do end"))
        for request in ("FCALL l 0", "FUNCTION LIST"):
            again, seconds = Serving(serving.disk.kill()), chain([0] * 8, [1] * 8, repeat(2))
            again.server.steady_ns = lambda seconds=seconds: next(seconds) * 10**9  # it stands still while Lua runs
            client = again.connect()
            self.assertIn(b"timeout", client.told("FCALL l 0"))
            deque(islice(seconds, 16), maxlen=0)
            self.assertIn(b"*0", client.told(request))
            self.assertEqual(client.told("FCALL l 0"), b"*0\r\n")

    def test_a_reply_waits(self) -> None:
        """FUNCTION LOAD, and what tells of it, is answered when it is on disk."""
        serving = Serving()
        one, two = serving.connect(), serving.connect()
        self.assertEqual(one.ask(pack(b"FUNCTION", b"LOAD", library("l"))), b"")
        self.assertEqual(two.ask("FUNCTION LIST"), b"")
        self.assertEqual(two.ask("FCALL l 0"), b"")
        serving.commit()
        self.assertEqual(one.released(), b"$1\r\nl\r\n")
        self.assertIn(b"library_name", two.released())


class DumpTests(CommandTestCase):
    """The bytes of FUNCTION DUMP."""

    def test_read_back(self) -> None:
        """Sources of any length are read back."""
        for length in (0, 63, 64, 16383, 16384):
            self.assertEqual(read_dump(write_dump([b"x" * length, b"y"])), [b"x" * length, b"y"])

    def test_damaged(self) -> None:
        """A dump that is cut, or changed in any bit, is refused, and restores nothing."""
        dump = write_dump([library("l"), library("k")])
        for place in range(0, len(dump), 7):
            changed = dump[:place] + bytes([dump[place] ^ 1 << place % 8]) + dump[place + 1 :]
            for payload in (changed, dump[:place]):
                self.assertIn("version or checksum", self.error("FUNCTION", "RESTORE", payload))


class AgainstValkeyTests(ValkeyTestCase):
    """The same in Valkey: every reply is the same, in both protocols."""

    def pairs(self) -> Iterator[Pair]:
        """One of each protocol, one after the other; without libraries at first."""
        for protocol in (2, 3):
            pair = Pair(self.valkey, protocol)
            self.addCleanup(pair.close)
            pair.theirs[0].ask([b"FUNCTION", b"FLUSH"])
            yield pair

    def compare(self, sources: list[bytes], *then: list[bytes]) -> None:
        """Load each library alone, and ask this behind it."""
        differences = []
        for pair in self.pairs():
            for source in sources:
                for words in ([b"FUNCTION", b"FLUSH"], [b"FUNCTION", b"LOAD", source], *then):
                    difference = pair.differs(0, words)
                    differences += [f"{words}, {source!r}\n{difference}"] if difference else []
        self.assertFalse(differences, "\n".join(differences))

    def test_first_lines(self) -> None:
        """What the first line may be."""
        register = b"redis.register_function('f', function() return 1 end)"
        lines = [line.encode().decode("unicode_escape").encode("latin-1") for line in FIRST_LINES]
        self.compare([line + register for line in lines], [b"FUNCTION", b"LIST"])

    def test_loading(self) -> None:
        """What may stand in a library."""
        register = "redis.register_function('f', function() return 1 end) "
        bodies = [register + body[2:] if body.startswith("F ") else body for body in BODIES]
        once = [body for body in bodies if body.count("redis.register_function(") < 2 and "server" not in body]
        self.compare([(HEAD + body).encode() for body in once], [b"FUNCTION", b"LIST"])
        self.compare([(HEAD + body).encode() for body in bodies if body not in once])

    def test_calling(self) -> None:
        """What may stand in a function."""
        head = f"{HEAD}local early, n = redis, 1\nredis.register_function"
        call = [b"FCALL", b"f", b"1", b"k", b"x"]
        sources = [f"{head}('f', function(keys, args) {body} end)".encode() for body in FUNCTIONS]
        self.compare(sources, [b"SET", b"a", b"1"], [b"HSET", b"h", b"f", b"v"], call, call, [b"FCALL_RO", *call[1:]])
        only_reads = f"{head}{{function_name='f', flags={{'no-writes'}}, callback=function(keys) return %s end}}"
        commands = ("redis.call('get', 'a')", "redis.call('set', 'a', 1)", "redis.pcall('set', 'a', 1)")
        self.compare([(only_reads % each).encode() for each in commands], call, [b"FCALL_RO", *call[1:]])

    def test_requests(self) -> None:
        """FUNCTION's subcommands, one after the other."""
        dump = write_dump([library("l")])
        differences = []
        for pair in self.pairs():
            for request in REQUESTS:
                words = [library(word[1:]) if word[0] == "@" else word.encode() for word in request.split()]
                words = [dump if word == b"DUMP" and b"RESTORE" in words else word for word in words]
                difference = pair.differs(0, words)
                differences += [f"{request}\n{difference}"] if difference else []
        self.assertFalse(differences, "\n".join(differences))

    def test_dumps(self) -> None:
        """What either dumps the other restores, compressed or not."""
        long = library("long") + b" -- and so on, and so on" * 1000
        pair = next(self.pairs())
        for source in (library("l"), library("k"), long):
            self.assertEqual(pair.differs(0, [b"FUNCTION", b"LOAD", source]), "")
        _, theirs = pair.theirs[0].ask([b"FUNCTION", b"DUMP"])
        ours = pair.rig.do("FUNCTION", "DUMP")
        self.assertLess(len(theirs), len(ours))
        self.assertEqual(sorted(read_dump(theirs)), sorted(read_dump(ours)))
        for dump in (theirs, ours):
            self.assertEqual(pair.differs(0, [b"FUNCTION", b"RESTORE", dump, b"FLUSH"]), "")
            self.assertEqual(pair.differs(0, [b"FUNCTION", b"LIST", b"LIBRARYNAME", b"long", b"WITHCODE"]), "")

    def test_functions_that_change_places(self) -> None:
        """A library that is restored may have a function of one that is restored behind it, without that."""
        pair = next(self.pairs())
        f, g = (b"redis.register_function('%b', function() return 1 end)" % name for name in (b"f", b"g"))
        one, other, moved, broken = (
            b"#!lua name=a\n" + f,
            b"#!lua name=a\n" + g,
            b"#!lua name=b\n" + f,
            b"#!lua name=c\n",
        )
        for sources, policy in (
            ([one], b"FLUSH"), ([moved], b"REPLACE"), ([one, moved], b"REPLACE"), ([one, broken], b"APPEND"),
            ([moved, other], b"REPLACE"), ([moved], b"APPEND"),
        ):  # fmt: skip
            self.assertEqual(pair.differs(0, [b"FUNCTION", b"RESTORE", write_dump(sources), policy]), "")
            for name in (b"f", b"g"):
                self.assertEqual(pair.differs(0, [b"FCALL", name, b"0"]), "")
