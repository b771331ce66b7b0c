-- How a script runs, and what comes of it.
--
-- globals: what scripts see, which takes their KEYS and ARGV.

local host, guard, compiling, flatten, globals = ...
local limit_memory, STOPPED = host.limit_memory, guard.STOPPED
local getinfo, rawget, rawset, select, tostring, type, unpack, xpcall =
  debug.getinfo, rawget, rawset, select, tostring, type, unpack, xpcall

-- An error as a table with its text, and the line of the script that it came from.
local function explain(fault)
  if type(fault) ~= "table" then fault = { err = "ERR " .. tostring(fault) } end
  for level = 2, 200 do
    local place = getinfo(level, "Sl")
    if not place then break end
    if place.source == host.chunk_name then
      rawset(fault, "source", place.source)
      rawset(fault, "line", place.currentline)
      break
    end
  end
  return fault
end

local result

local function part(first)
  local last = first + 199
  if last > #result then last = #result end
  return #result, unpack(result, first, last)
end

-- Returns: whether it went well, then the value, or a code, the text of the error and its place.
local function conclude(ok, value)
  if guard.is_stopped() then return false, STOPPED end
  if not ok then
    if value == "not enough memory" then guard.stop("memory") end
    if type(value) ~= "table" then return false, "ERR " .. tostring(value) end
    local err, line = rawget(value, "err"), rawget(value, "line")
    if type(err) ~= "string" then err = "ERR unknown error" end
    return false, err, type(line) == "number" and line or 0
  end
  if type(value) ~= "table" then
    local kind = type(value)
    if kind == "string" or kind == "number" or kind == "boolean" then return true, value end
    return true
  end
  local out = {}
  flatten(value, out, 1)
  result = out
  return true, "", part(1)
end

local function go(chunk, bytes)
  limit_memory(bytes)
  return conclude(xpcall(chunk, explain))
end

local running = { part = part, explain = explain, go = go }

-- keys: how many of the words are. Few words are passed one by one.
function running.run(chunk, bytes, keys, ...)
  guard.begin(bytes)
  if keys == 1 then
    rawset(globals, "KEYS", { (...) })
    rawset(globals, "ARGV", { select(2, ...) })
  else
    local words = { ... }
    rawset(globals, "KEYS", { unpack(words, 1, keys) })
    rawset(globals, "ARGV", { unpack(words, keys + 1, select("#", ...)) })
  end
  return go(chunk, bytes)
end

function running.run_many(chunk, bytes, keys, arguments)
  guard.begin(bytes)
  rawset(globals, "KEYS", keys)
  rawset(globals, "ARGV", arguments)
  return go(chunk, bytes)
end

function running.forget()
  guard.forget()
  result = nil
  rawset(globals, "KEYS", nil)
  rawset(globals, "ARGV", nil)
end

function running.compile(source, name)
  guard.begin(0)
  return compiling.compile(source, name)
end

return running
