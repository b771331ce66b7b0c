-- What library functions check of their arguments, and how they fail, in the words of Lua's own, which are in C.

local guard = ...
local attempt = guard.attempt
local error, select, tonumber, tostring, type, unpack = error, select, tonumber, tostring, type, unpack
local format, getinfo, ceil, floor = string.format, debug.getinfo, math.ceil, math.floor

-- Lua has 8,000 places for what a C function holds, and what a call takes.
local MOST_VALUES = 7990

local arguments = { MOST_VALUES = MOST_VALUES }

-- level: how far the script's call is from here.
local function wrong(place, name, wanted, given, level)
  error(format("bad argument #%d to '%s' (%s expected, got %s)", place, name, wanted, given), level or 3)
end

arguments.wrong = wrong

function arguments.text(value, place, name)
  local kind = type(value)
  if kind == "string" then return value end
  if kind == "number" then return tostring(value) end
  wrong(place, name, "string", value == nil and "no value" or kind, 4)
end

-- What follows is for functions made by `library`: they raise a table, of which that makes the error.

-- place: of the argument; nil: the error is of none, and of no line.
function arguments.refuse(place, why)
  error({ place = place, why = why }, 0)
end

-- words: all arguments, `n` of them.
local function mistyped(words, place, wanted)
  local given = place > words.n and "no value" or type(words[place])
  arguments.refuse(place, wanted .. " expected, got " .. given)
end

function arguments.number(words, place)
  local value = words[place]
  return type(value) ~= "boolean" and value ~= nil and tonumber(value) or mistyped(words, place, "number")
end

function arguments.string(words, place)
  local value = words[place]
  if type(value) == "string" then return value end
  return type(value) == "number" and tostring(value) or mistyped(words, place, "string")
end

-- A number without its fraction; `otherwise`, if that is given, for nil.
function arguments.integer(words, place, otherwise)
  if otherwise and words[place] == nil then return otherwise end
  local value = arguments.number(words, place)
  return value < 0 and ceil(value) or floor(value)
end

-- How Lua names the function that raises, and counts its arguments: of a method the first is before the colon.
local function bad_argument(place, why)
  local called = getinfo(3, "n")
  if called.namewhat == "method" then
    place = place - 1
    if place == 0 then return format("calling '%s' on bad self (%s)", called.name, why) end
  end
  return format("bad argument #%d to '%s' (%s)", place, called.name or "?", why)
end

local function fail(fault)
  if type(fault) ~= "table" then error(fault, 3) end
  if not fault.place then error(fault.why, 0) end
  error(bad_argument(fault.place, fault.why), 3)
end

-- A function of a library, made of one that takes a list of words and returns a value, or a list and how many of it.
-- Its errors are told as its caller's, as those of functions in C are.
function arguments.library(f)
  return function(...)
    local ok, result, count = attempt(f, { n = select("#", ...), ... })
    if not ok then fail(result) end
    if not count then return result end
    return unpack(result, 1, count)
  end
end

return arguments
