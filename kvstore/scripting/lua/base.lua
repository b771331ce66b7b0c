-- Lua's base library as a script has it.

local guard, readonly, arguments = ...
local attempt = guard.attempt
local real, check_writable, wrong = readonly.real, readonly.check_writable, arguments.wrong
local error, getmetatable, ipairs, next, pairs, rawget, rawset, select =
  error, getmetatable, ipairs, next, pairs, rawget, rawset, select
local setmetatable, tonumber, type, unpack = setmetatable, tonumber, type, unpack
local floor, collect = math.floor, collectgarbage

-- Lua's LUAI_MAXCSTACK: for what a function in C is given, and what it returns.
local MOST_PLACES = 8000

local base = {}
for _, name in ipairs { "assert", "error", "ipairs", "rawequal", "select", "tonumber", "tostring", "type" } do
  base[name] = _G[name]
end

local function caught(ok, ...)
  if ok then return true, ... end
  local fault = ...
  local err = type(fault) == "table" and rawget(fault, "err")
  return false, type(err) == "string" and err or fault
end

function base.pcall(f, ...)
  return caught(attempt(f, ...))
end

-- The handler runs behind the error, not in it: an error that a hook raises has no hooks in its handler.
function base.xpcall(f, handler)
  local function done(ok, ...)
    if ok then return ok, ... end
    return false, select(2, attempt(handler, ...))
  end
  return done(attempt(f))
end

-- Lua 5.1.5 does not look well enough at how many there are.
function base.unpack(t, ...)
  local first, last = ...
  if type(t) ~= "table" then wrong(1, "unpack", "table", t == nil and "no value" or type(t)) end
  first = first == nil and 1 or tonumber(first) or wrong(2, "unpack", "number", type(first))
  last = last == nil and #t or tonumber(last) or wrong(3, "unpack", "number", type(last))
  if first > last then return end
  if not (last - first + 2 + select("#", ...) <= MOST_PLACES and first >= -2147483648 and last < 2147483647) then
    error("too many results to unpack", 2)
  end
  return unpack(t, ...)
end

function base.rawset(t, k, v)
  check_writable(t)
  return rawset(t, k, v)
end

function base.rawget(t, k)
  return rawget(real[t] or t, k)
end

function base.setmetatable(t, m)
  check_writable(t)
  return setmetatable(t, m)
end

function base.getmetatable(t)
  if real[t] then return readonly.metatables[t] end
  return getmetatable(t)
end

function base.next(t, k)
  return next(real[t] or t, k)
end

function base.pairs(t)
  if real[t] then return base.next, t, nil end
  return pairs(t)
end

function base.collectgarbage(option)
  if option == "count" then return collect("count") end
  return 0
end

function base.gcinfo()
  return floor(collect("count"))
end

return base
