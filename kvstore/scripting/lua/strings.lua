-- Lua's strings: what goes on in C has no hooks, so it is counted before.

local host, guard, arguments, weigh = ...
local spend, stop, watch_closely, attempt = guard.spend, guard.stop, guard.watch_closely, guard.attempt
local LONG, LOOK_STEPS, text, wrong = guard.LONG, guard.LOOK_STEPS, arguments.text, arguments.wrong
local error, ipairs, select, tonumber, type = error, ipairs, select, tonumber, type
local S, floor, concat = string, math.floor, table.concat
local find, format, gsub, sub = S.find, S.format, S.gsub, S.sub
local enter, leave = guard.depth()

-- Gsub, and format's %q, take some 50 ns for each character.
local LONGEST_GSUB = 2097152

local strings = {}
for _, name in ipairs { "byte", "char", "len", "sub" } do
  strings[name] = S[name]
end

function strings.format(...)
  for i = 1, select("#", ...) do
    local value = select(i, ...)
    if type(value) == "string" and #value > LONGEST_GSUB then error("a string is too long for format", 2) end
  end
  return format(...)
end

-- What goes through all characters in C does so piece by piece.
local function in_pieces(name, backwards)
  local convert = S[name]
  return function(s)
    s = text(s, 1, name)
    if #s < LONG then return convert(s) end
    local pieces, count = {}, floor((#s - 1) / LONG) + 1
    for i = 1, count do
      spend(LONG)
      pieces[backwards and count - i + 1 or i] = convert(sub(s, (i - 1) * LONG + 1, i * LONG))
    end
    return concat(pieces)
  end
end

strings.lower, strings.upper, strings.reverse = in_pieces("lower"), in_pieces("upper"), in_pieces("reverse", true)

-- Bytecode that nobody may load needs no more than its first byte.
function strings.dump(f)
  if type(f) ~= "function" then wrong(1, "dump", "function", f == nil and "no value" or type(f)) end
  return "\27Lua"
end

function strings.rep(s, n)
  s, n = text(s, 1, "rep"), tonumber(n) or wrong(2, "rep", "number", n == nil and "no value" or type(n))
  if not (n >= 1) or s == "" then return "" end
  if #s * n > guard.most_bytes then stop("memory") end
  n = floor(n)
  local size = #s * n
  if size < LONG then return S.rep(s, n) end
  watch_closely()
  spend(size / 4)
  -- As S.rep, by doubling: that copies each byte some ten times.
  local out, piece = "", s
  while true do
    if n % 2 == 1 then out = out .. piece end
    n = floor(n / 2)
    if n == 0 then return out end
    piece = piece .. piece
  end
end

function strings.find(s, p, init, plain)
  s, p = text(s, 1, "find"), text(p, 2, "find")
  if plain or not find(p, "[%^%$%*%+%?%.%(%[%%%-]") then
    if #s * #p < LOOK_STEPS then
      return find(s, p, init, true)
    end
    spend(#s)
    init = tonumber(init) or 1
    if not (init < 2147483648) then return nil end
    return host.find(s, p, init < -2147483648 and 1 or init)
  end
  weigh(s, p)
  return find(s, p, init)
end

function strings.match(s, p, init)
  s, p = text(s, 1, "match"), text(p, 2, "match")
  weigh(s, p)
  return S.match(s, p, init)
end

function strings.gmatch(s, p)
  s, p = text(s, 1, "gmatch"), text(p, 2, "gmatch")
  weigh(s, p)
  local following = S.gmatch(s, p)
  if #s < 100 then return following end
  return function()
    weigh(s, p)
    return following()
  end
end

strings.gfind = strings.gmatch

function strings.gsub(s, p, replacement, most)
  s, p = text(s, 1, "gsub"), text(p, 2, "gsub")
  if #s > LONGEST_GSUB then error("the string is too long for gsub", 2) end
  weigh(s, p)
  spend(#s * 20)
  if type(replacement) == "string" then
    if (#s + 1) * (#replacement + 1) > guard.most_bytes then stop("memory") end
    spend((#s + 1) * (#replacement + 1) / 4)
  end
  if type(replacement) ~= "function" and type(replacement) ~= "table" then return gsub(s, p, replacement, most) end
  if not enter() then error("C stack overflow", 2) end
  local function done(ok, ...)
    leave()
    if not ok then error((...), 0) end
    return ...
  end
  return done(attempt(gsub, s, p, replacement, most))
end

return strings
