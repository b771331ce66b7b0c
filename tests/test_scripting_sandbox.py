"""The sandbox and the limits of scripts: whatever a script tries, it stays inside, and is stopped in time."""

from __future__ import annotations

from typing import Any

from kvstore.base.errors import RequestError
from kvstore.base.limits import MAX_SCRIPT_SOURCE_BYTES
from tests.kit.harness import CommandTestCase

#: What would take for ever, each in its own way: stopped by the clock.
ENDLESS = (
    """
while true do end
while true do pcall(function() while true do end end) end
while true do xpcall(function() while true do end end, function() while true do end end) end
xpcall(function() local x = nil + 1 end, function() while true do end end)
local co = coroutine.create(function() while true do end end) while true do coroutine.resume(co) end
while true do local co = coroutine.wrap(function() while true do end end) pcall(co) end
local function f() return pcall(f) end while true do f() end
return setmetatable({}, {__index = function() while true do end end}).x
return tostring(setmetatable({}, {__tostring = function() while true do end end}))
for i = 1, 1e9 do string.find(string.rep('a', 25), 'a*a*a*a*b') end
while true do string.find(string.rep('a', 2e6), string.rep('a', 1e6) .. 'b', 1, true) end
local t = {} for i = 1, 1e5 do t[i] = i end while true do table.sort(t, rawequal) end
while true do table.concat({1, 2, 3}) end
table.sort({3, 2, 1}, function() while true do end end)
string.gsub('x', 'x', function() while true do end end)
while true do redis.call('ping') end
while true do redis.pcall('nosuch') end
return loadstring('while true do end')()
load(function() while true do end end)
load(function() return 'x' end)
local t = {} for i = 1, 50 do t = {t, t} end return t
local t = {} for i = 1, 50 do t = {t, t} end return cjson.encode(t)
local s = {} for i = 1, 9 do s[i] = coroutine.create(function() while true do coroutine.yield() end end) end \
while true do for i = 1, 9 do coroutine.resume(s[i]) end end
for i = 1, 1e9 do pcall(loadstring, string.rep('x=1 ', 10000)) end
""".strip()
    .replace("\\\n", "")
    .split("\n")
)

#: What would take more memory than there may be.
LARGE = (
    "return string.rep('x', 1e9)",
    "while true do pcall(string.rep, 'x', 2e9) end",
    "local s = 'x' while true do s = s .. s end",
    "pcall(function() local s = 'x' while true do s = s .. s end end) return 1",
    "return string.gsub(string.rep('a', 1e6), 'a', string.rep('b', 1e6))",
)

#: What Lua or the sandbox refuses; and the beginning of what it says.
REFUSED = {
    "return string.find(string.rep('a', 1e5), string.rep('a*', 20) .. 'b')": "the pattern could take too long",
    "return string.find('x', string.rep('a?', 600))": "malformed pattern (too long)",
    "return ('a'):rep(2e6):find(('a'):rep(900) .. 'b.')": "the pattern could take too long",
    "return ('a'):rep(2e6):gsub(('a'):rep(900) .. 'b', '')": "the pattern could take too long",
    "return ('a'):rep(2e6):find('^[' .. ('b'):rep(900) .. 'a]*c')": "the pattern could take too long",
    "return ('x'):rep(3e6):gsub('x', 'y')": "the string is too long for gsub",
    "return unpack({}, 0, 2147483647)": "too many results to unpack",
    "return unpack({}, 1, 0/0)": "too many results to unpack",
    "return table.insert({}, -2147483648, 1)": "the position is out of bounds",
    "return table.insert({}, 0/0, 1)": "the position is out of bounds",
    "local function f() coroutine.wrap(f)() end f()": "",
    "local function f(s) return (s:gsub('.', f)) end f('a')": "C stack overflow",
    "return loadstring(string.dump(function() end))()": "attempt to call a nil value",
    "string.dump()": "bad argument #1 to 'dump'",
    "getmetatable(_G).__index = {}": "Attempt to modify a readonly table",
    "return redis.call('DEBUG', 'PROTOCOL', 'map')": "not allowed from script",
    "return coroutine.yield(1)": "",
    "rawset(_G, 'x', 1)": "",
    "setmetatable(redis, {})": "",
    "table.insert(string, 1)": "",
    "table.sort(_G)": "",
    "getmetatable('').__index = nil": "Attempt to modify a readonly table",
    "string.rep = 1": "Attempt to modify a readonly table",
    "redis.call = 1": "Attempt to modify a readonly table",
    "getfenv()": "Script attempted to access nonexistent global variable 'getfenv'",
}

#: Names that must not be there.
ABSENT = (
    *("print", "dofile", "loadfile", "require", "module", "package", "io", "debug"),
    *("python", "newproxy", "getfenv", "setfenv", "jit", "arg"),
)


class SandboxTests(CommandTestCase):
    """What a script cannot do."""

    def failure(self, source: str) -> str:
        """The error of a script that changes a key first, which is undone."""
        text = self.error("EVAL", f"redis.call('SET', 'undone', 1) {source}", 0)
        self.assertEqual(self.do("EVAL", "return 7", 0), 7, "the next script runs")
        return text

    def test_endless(self) -> None:
        """What has no end is stopped, nothing catches that, and all of it is undone."""
        self.rig.server.script_ms = 20
        for source in ENDLESS:
            self.assertIn("took longer than 20 ms", self.failure(source), source)

    def test_large(self) -> None:
        """So is what takes too much memory."""
        for source in LARGE:
            self.assertIn("MiB of memory", self.failure(source), source)

    def test_memory(self) -> None:
        """The limit may change while there are scripts."""
        source = "local t = {} for i = 1, 100 do t[i] = string.rep('x', 65536) .. i end return #t"  # 6.3 MiB
        self.do("CONFIG", "SET", "script-memory-bytes", "6mb")
        self.assertIn("more than 6 MiB of memory", self.failure(source))
        self.do("CONFIG", "SET", "script-memory-bytes", "7mb")
        self.assertEqual(self.do("EVAL", source, 0), 100)

    def test_refused(self) -> None:
        """What could take long inside of C, or break Lua itself, is refused."""
        for source, expected in REFUSED.items():
            self.assertIn(expected, self.failure(source), source)

    def test_absent(self) -> None:
        """What reaches files, other environments, bytecode or Python is not there."""
        for name in ABSENT:
            self.assertIn(f"nonexistent global variable '{name}'", self.failure(f"return {name}"))
        self.assertEqual(self.do("EVAL", "local n = 0 for k in pairs(os) do n = n + 1 end return n", 0), 1)

    def test_no_python(self) -> None:
        """Whatever can be reached from the globals, there is no object of Python in it."""
        source = """
            local seen, found = {}, {}
            local function look(value, path)
              if type(value) == 'userdata' and value ~= cjson.null then found[#found + 1] = path end
              if type(value) ~= 'table' or seen[value] then return end
              seen[value] = true
              look(getmetatable(value), path .. '!')
              for k, v in pairs(value) do look(k, path .. '#') look(v, path .. '.' .. tostring(k)) end
            end
            look(_G, '_G') look(getmetatable(''), 'string')
            return found
        """
        self.assertEqual(self.do("EVAL", source, 0), [])

    def test_bytecode(self) -> None:
        """Bytecode is not loaded, by EVAL neither; nor a function that Lua would call with too little stack."""
        self.assertIsNone(self.do("EVAL", "return loadstring('\\27Lua')", 0))
        self.error("EVAL", b"\x1bLuaQ\x00\x01\x04\x08\x04\x08\x00", 0)
        self.assertIsNone(self.do("EVAL", "return loadstring('return function(a, b, c, ...) end')", 0))
        self.assertIn("more than two parameters", self.error("EVAL", "local function f(a, --[[x]] b, c, ...) end", 0))
        self.assertEqual(self.do("EVAL", "local function f(a, b, ...) return ... end return f(1, 2, 3)", 0), 3)

    def test_long_sources(self) -> None:
        """Sources are bounded, and the jumps in them, whose compilation takes the square of their number."""
        self.assertEqual(self.do("EVAL", "return 1".ljust(MAX_SCRIPT_SOURCE_BYTES), 0), 1)
        self.error("EVAL", "return 1".ljust(MAX_SCRIPT_SOURCE_BYTES + 1), 0)
        for word in ("elseif x then ", "or x ", "and x "):
            start, end = ("if x then ", "end") if word.startswith("else") else ("local y = x ", "")
            self.assertIn("too many branches", self.error("EVAL", f"local x {start}{word * 4001}{end}", 0))

    def test_nothing_is_left(self) -> None:
        """One script leaves nothing for the next: no global, no field, no setting."""
        for source in ("x = 1", "string.y = 1", "_G.z = 1", "cjson.w = 1"):
            self.failure(source)
        for shown in ("redis", "_G"):
            self.failure(f"error({shown})")
            self.assertIsNone(self.do("EVAL", f"return rawget({shown}, 'line')", 0))
        self.assertEqual(self.do("EVAL", "return #string.rep('x', 0/0)", 0), 0)
        self.do("EVAL", "cjson.encode_max_depth(1)", 0)
        self.assertEqual(self.do("EVAL", "return cjson.encode({{{}}})", 0), b"[[{}]]")

    def test_errors_with_methods(self) -> None:
        """An error with metamethods runs none of them where no hook would stop it."""
        endless = "function() while true do end end"
        for name in ("__tostring", "__index", "__newindex"):
            self.assertIn("unknown error", self.failure(f"error(setmetatable({{}}, {{{name} = {endless}}}))"))

    def test_a_bug_in_a_command(self) -> None:
        """A bug inside of a command ends the script, whatever it catches, and is reported as any other."""
        reports: list[str] = []
        self.rig.server.report_bug = reports.append

        def broken(*arguments: Any) -> None:
            raise ZeroDivisionError

        self.do("EVAL", "return 1", 0)
        self.patch(self.rig.server.scripts, "_server", None)
        self.patch(self.rig.table, "look_up", broken)
        reply = self.do("EVAL", "pcall(redis.call, 'GET', 'a') return 1", 0)
        self.assertIsInstance(reply, RequestError)
        self.assertEqual(len(reports), 1)
