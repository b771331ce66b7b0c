-- Lua's tables: what goes on in C is counted before.

local base, guard, readonly = ...
local spend, check_writable = guard.spend, readonly.check_writable
local T, error, rawget, select, tonumber, type = table, error, rawget, select, tonumber, type

-- More elements than any table has that fits into the memory.
local MOST_ELEMENTS = 10000000

local tables = { getn = T.getn, maxn = T.maxn, setn = T.setn }

-- Count what is moved by a change at a place of a table.
local function shift(t, place)
  check_writable(t)
  if type(t) == "table" and place then
    local moved = #t - place
    if not (moved < MOST_ELEMENTS and moved > -2147483648) then error("the position is out of bounds", 3) end
    spend(moved > 0 and moved * 4 or 0)
  end
end

function tables.insert(t, ...)
  shift(t, select("#", ...) > 1 and tonumber((...)) or nil)
  return T.insert(t, ...)
end

function tables.remove(t, ...)
  shift(t, select("#", ...) > 0 and tonumber((...)) or nil)
  return T.remove(t, ...)
end

function tables.foreach(t, f)
  for k, v in base.pairs(t) do
    local result = f(k, v)
    if result ~= nil then return result end
  end
end

function tables.foreachi(t, f)
  for i = 1, #t do
    local result = f(i, rawget(t, i))
    if result ~= nil then return result end
  end
end

function tables.concat(t, separator, first, last)
  first, last = tonumber(first) or 1, tonumber(last) or (type(t) == "table" and #t or 0)
  if last - first < 1000 then return T.concat(t, separator, first, last) end
  local parts, between = {}, separator or ""
  for i = first, last, 1000 do
    spend(20000)
    parts[#parts + 1] = T.concat(t, between, i, i + 999 < last and i + 999 or last)
  end
  return T.concat(parts, between)
end

-- Of a comparison in Lua the hooks are called; of one in C they are not.
function tables.sort(t, less)
  check_writable(t)
  if type(t) == "table" and #t > 1000 then
    local given = less
    less = given and function(a, b) return given(a, b) end or function(a, b) return a < b end
  end
  return T.sort(t, less)
end

return tables
