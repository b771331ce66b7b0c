-- Lua's mathematics. The generator of chance is Redis's, drand48: it goes on from script to script.

local arguments = ...
local wrong = arguments.wrong
local error, format, math, pairs, select, tonumber, type = error, string.format, math, pairs, select, tonumber, type
local floor = math.floor

local maths = {}
for name, value in pairs(math) do maths[name] = value end

local high, low

local function seed(number)
  high, low = floor(number / 256) % 16777216, number % 256 * 65536 + 13070
end

local function draw()
  local product = low * 15525485 + 11
  high = (high * 15525485 + low * 1502 + floor(product / 16777216)) % 16777216
  low = product % 16777216
  return high * 128 + floor(low / 131072)
end

function maths.randomseed(number)
  seed(floor(tonumber(number) or wrong(1, "randomseed", "number", type(number))) % 4294967296)
end

function maths.random(...)
  local r = draw() % 2147483647 / 2147483647
  local count, m, n = select("#", ...), ...
  if count == 0 then return r end
  if count > 2 then error("wrong number of arguments", 2) end
  m = tonumber(m) or wrong(1, "random", "number", type(m))
  if count == 1 then m, n = 1, m else n = tonumber(n) or wrong(2, "random", "number", type(n)) end
  if m > n then error(format("bad argument #%d to 'random' (interval is empty)", count), 2) end
  return floor(r * (n - m + 1)) + m
end

seed(0x1234ABCD) -- what drand48 begins with

return maths
