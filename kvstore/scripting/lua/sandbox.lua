-- What a script sees, put together of its parts. Executed once in each Lua state; see `engine` for what holds, and why.
--
-- host: the Python functions, by name. None of them ever reaches a script: each is called by a closure of these files,
-- with strings, numbers and booleans only, and answers with such, or with a table made for the purpose.

local host = ...
local getmetatable, newproxy, pairs, setmetatable = getmetatable, newproxy, pairs, setmetatable
local error, format, tostring, clock = error, string.format, tostring, os.clock

-- Execute the file of that name; returns what it gives.
local function part(name, ...)
  return assert(loadstring(host.source(name), "=" .. name))(...)
end

-- JSON's null, the only userdata that scripts are given.
local null = newproxy(true)
getmetatable(null).__tostring = function() return "userdata: (nil)" end
getmetatable(null).__metatable = false

local guard = part("guard", host, null)
for _, name in ipairs { "call", "call_gathered", "sha1", "pack_integer", "pack_float", "to_hex" } do
  host[name] = guard.careful(host[name])
end
local readonly = part("readonly")
local arguments = part("arguments", guard)
local compiling = part("compiling", host, guard, arguments)
local strings = part("strings", host, guard, arguments, part("patterns", guard))
local protect = readonly.protect

local globals = part("base", guard, readonly, arguments)
globals._VERSION = _VERSION
globals.load, globals.loadstring = compiling.load, compiling.loadstring
globals.string = protect(strings)
globals.table = protect(part("tables", globals, guard, readonly))
globals.math = protect(part("numbers", arguments))
globals.coroutine = protect(part("coroutines", guard))
globals.os = protect { clock = clock }
globals.cjson = protect(part("json", guard, arguments, part("json_decoding", guard, null), null))
globals.cmsgpack = protect(part("msgpack", host, guard, arguments))
globals.struct = protect(part("struct", host, guard, arguments))
globals.bit = protect(part("bit", host, arguments))
local server = part("server", host, guard, arguments)
globals.redis = protect(server)
globals.server = globals.redis

local strict = {
  __index = function(_, name)
    error(format("Script attempted to access nonexistent global variable '%s'", tostring(name)), 2)
  end,
}
setmetatable(globals, strict)
local show
compiling.environment, show = readonly.view(globals)
globals._G = compiling.environment
readonly.metatables[compiling.environment] = protect(strict)

local metatable = getmetatable("")
metatable.__index = strings
metatable.__metatable = protect { __index = globals.string }

local running = part("running", host, guard, readonly.real, compiling, part("flattening"), globals)
if host.has_functions then part("functions", host, guard, readonly, running, server, globals, strict, show) end

local everything = _G
for name in pairs(everything) do everything[name] = nil end

return running
