-- How a script runs, and what comes of it.
--
-- real: the tables that cannot be changed. globals: what scripts see, which takes their KEYS and ARGV.

local host, guard, real, compiling, flatten, globals = ...
local limit_memory, STOPPED = host.limit_memory, guard.STOPPED
local getinfo, rawget, rawset, select, tostring, type, unpack, xpcall =
  debug.getinfo, rawget, rawset, select, tostring, type, unpack, xpcall

-- An error as a table with its text, and the line of the script that it came from.
local function explain(fault)
  if type(fault) ~= "table" then fault = { err = "ERR " .. tostring(fault) } end
  if real[fault] then fault = {} end
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

-- Returns a value that is no table; or true, and a table as its `part`; or false, the text of the error, and its line.
local function conclude(ok, value)
  if guard.is_stopped() then return false, STOPPED, 0 end
  if not ok then
    if value == "not enough memory" then guard.stop("memory") end
    if type(value) ~= "table" then return false, "ERR " .. tostring(value), 0 end
    local err, line = rawget(value, "err"), rawget(value, "line")
    if type(err) ~= "string" then err = "ERR unknown error" end
    return false, err, type(line) == "number" and line or 0
  end
  if type(value) ~= "table" then
    local kind = type(value)
    if kind == "string" or kind == "number" or kind == "boolean" then return value end
    return nil
  end
  local out = {}
  flatten(value, out, 1)
  result = out
  return true, part(1)
end

-- bytes: how much memory the state may take, unless that limit is set already.
local function go(chunk, bytes)
  if bytes then limit_memory(bytes) end
  return conclude(xpcall(chunk, explain))
end

-- A table of the first `count` words, and one of the others.
local function split(count, ...)
  if count == 1 then return { (...) }, { select(2, ...) } end
  local words = { ... }
  return { unpack(words, 1, count) }, { unpack(words, count + 1, select("#", ...)) }
end

local running = { part = part, explain = explain, go = go, split = split }

-- Few words that are small, `keys` of which are the keys: the limit of memory is set.
function running.run(chunk, bytes, keys, ...)
  guard.begin(bytes)
  globals.KEYS, globals.ARGV = split(keys, ...)
  return go(chunk)
end

function running.run_many(chunk, bytes, keys, arguments)
  guard.begin(bytes)
  globals.KEYS, globals.ARGV = keys, arguments
  return go(chunk, bytes)
end

function running.forget()
  guard.forget()
  result = nil
  globals.KEYS, globals.ARGV = nil, nil
end

function running.compile(source)
  guard.begin(0)
  return compiling.compile(source, host.chunk_name)
end

return running
