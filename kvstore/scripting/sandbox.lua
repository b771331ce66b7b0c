-- What a script sees, and how it runs. Executed once in each Lua state; see `engine` for what holds, and why.
--
-- host: the Python functions, by name. None of them ever reaches a script: each is called by a closure of this file,
-- with strings, numbers and booleans only, and answers with such, or with a table made for the purpose.

local host, libraries = ...
local call, limit_memory = host.call, host.limit_memory

local assert, error, getmetatable, ipairs, loadstring, next, pairs, rawcall, rawequal, rawget, rawset, select =
  assert, error, getmetatable, ipairs, loadstring, next, pairs, pcall, rawequal, rawget, rawset, select
local setfenv, setmetatable, tonumber, tostring, type, unpack, xpcall =
  setfenv, setmetatable, tonumber, tostring, type, unpack, xpcall
local floor, getinfo, sethook, collect, newproxy = math.floor, debug.getinfo, debug.sethook, collectgarbage, newproxy
local C, T, S = coroutine, table, string
local find, format, gsub, sub = S.find, S.format, S.gsub, S.sub

-- How many instructions until the hook is called: while little memory is used, and else, when one can take long.
local OFTEN, VERY_OFTEN = 100, 10
-- Kilobytes that a script may take before it is looked after very often.
local LITTLE_KB = 1024
-- Hooks until the clock is looked at.
local LOOK = 16
-- What library functions may cost until it is, in steps of some nanoseconds.
local LOOK_STEPS = 1000000
-- What one search may cost at worst: some 100 ms.
local MOST_STEPS = 20000000
-- A pattern is matched by recursion in C, a level for each of its items.
local LONGEST_PATTERN = 1000
local MOST_DEPTH = 100
-- Coroutines in each other, and calls of gsub in its own replacements: each takes of the C stack.
local MOST_NESTED = 8
-- What unpack gives at most: Lua has 8,000 places for what a call takes.
local MOST_VALUES = 7990
-- A string of that many bytes takes so long that the hook is called more often.
local LONG = 65536
-- Gsub, and format's %q, take some 50 ns for each character.
local LONGEST_GSUB = 2097152
-- More elements than any table has that fits into the memory.
local MOST_ELEMENTS = 10000000
local STOPPED = "the script was stopped"

-- Of the script that runs: whether it is past a limit, and nothing may catch the error; what it has cost since the
-- clock was looked at; how much memory the state took before; how much it may take, in bytes; coroutines in each other.
local stopped, hooks, steps, before_kb, most_bytes, depth, nested = false, 0, 0, 0, 0, 0, 0
local watched_closely = false

local function stop(why)
  host.stopped(why)
  stopped = true
  error(STOPPED, 0)
end

-- While no script runs the hook, which is called all the same, does nothing.
local function look()
  if stopped and host.is_running() then error(STOPPED, 0) end
  hooks, steps = 0, 0
  if host.is_late() then stop("late") end
end

local hook

local function watch_closely()
  watched_closely = true
  sethook(hook, "", VERY_OFTEN)
end

function hook()
  if stopped then return look() end
  hooks = hooks + 1
  if collect("count") > before_kb + LITTLE_KB then
    watch_closely()
    look()
  elseif hooks >= LOOK then
    look()
  end
end

local function spend(cost)
  steps = steps + cost
  if steps > LOOK_STEPS then look() end
end

-- An error that Lua or a script has raised is passed on, unless it is the end of the script.
local function settle(ok, fault, ...)
  if stopped then error(STOPPED, 0) end
  if not ok then
    if fault == "not enough memory" then stop("memory") end
    if type(fault) == "userdata" and fault ~= libraries.null then stop("fault") end
  end
  return ok, fault, ...
end

-- Tables that nobody may change: what a script is given is empty, and reads through to the real one.
local real = setmetatable({}, { __mode = "k" })

local function refuse()
  error("Attempt to modify a readonly table", 2)
end

local function protect(content, index)
  local shown = {}
  real[shown] = content
  return setmetatable(shown, { __index = index or content, __newindex = refuse, __metatable = false })
end

local function check_writable(t)
  if real[t] then error("Attempt to modify a readonly table", 0) end
end

local function wrong(place, name, wanted, given, level)
  error(format("bad argument #%d to '%s' (%s expected, got %s)", place, name, wanted, given), level or 3)
end

local function text(value, place, name)
  local kind = type(value)
  if kind == "string" then return value end
  if kind == "number" then return tostring(value) end
  wrong(place, name, "string", value == nil and "no value" or kind, 4)
end

-- The base library ---------------------------------------------------------------------------------------------------

local base = { _VERSION = _VERSION }
for _, name in ipairs { "assert", "error", "ipairs", "rawequal", "select", "tonumber", "tostring", "type" } do
  base[name] = _G[name]
end

local function caught(ok, fault, ...)
  if not ok and type(fault) == "table" then
    local err = rawget(fault, "err")
    if type(err) == "string" then fault = err end
  end
  return ok, fault, ...
end

function base.pcall(f, ...)
  return caught(settle(rawcall(f, ...)))
end

-- The handler runs behind the error, not in it: an error that a hook raises has no hooks in its handler.
function base.xpcall(f, handler)
  local function done(ok, ...)
    settle(ok, ...)
    if ok then return ok, ... end
    return false, select(2, settle(rawcall(handler, ...)))
  end
  return done(settle(rawcall(f)))
end

-- Lua 5.1.5 does not look well enough at how many there are.
function base.unpack(t, first, last)
  if type(t) ~= "table" then wrong(1, "unpack", "table", t == nil and "no value" or type(t)) end
  first = first == nil and 1 or tonumber(first) or wrong(2, "unpack", "number", type(first))
  last = last == nil and #t or tonumber(last) or wrong(3, "unpack", "number", type(last))
  if first > last then return end
  if not (first > -2147483648 and last < 2147483647 and last - first < MOST_VALUES) then
    error("too many results to unpack", 2)
  end
  return unpack(t, first, last)
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
  if real[t] then return nil end
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

local environment

local REFUSED = "a function has more than two parameters and ...; take the others from ... by select"

-- Compile a source, for a script to run; returns nil and why not.
local function compile(source, name)
  if #source > host.most_source then return nil, "chunk is too long" end
  local jumps = 0
  for _, word in ipairs { "and", "break", "elseif", "or" } do
    jumps = jumps + select(2, gsub(source, "%f[%w_]" .. word .. "%f[^%w_]", ""))
  end
  if jumps > host.most_jumps then return nil, "chunk has too many branches" end
  if sub(source, 1, 1) == "\27" then return nil, "bytecode is not loaded" end
  local chunk, fault = loadstring(source, name)
  if not chunk then return nil, fault end
  local code = host.patched(S.dump(chunk))
  if not code then return nil, REFUSED end
  return setfenv(loadstring(code), environment)
end

-- The same for a script, in which there may be no memory for the look at the code.
local function load_text(source, name)
  source = text(source, 1, "loadstring")
  spend(#source * 20)
  limit_memory(0)
  local chunk, fault = compile(source, name or source)
  limit_memory(most_bytes)
  return chunk, fault
end

function base.loadstring(source, name)
  return load_text(source, name)
end

function base.load(reader, name)
  local pieces, size = {}, 0
  while true do
    local piece = reader()
    if piece == nil or piece == "" then break end
    if type(piece) ~= "string" then error("reader function must return a string", 0) end
    size = size + #piece
    if size > host.most_source then return nil, "chunk is too long" end
    pieces[#pieces + 1] = piece
  end
  return load_text(T.concat(pieces), name or "=(load)")
end

-- Coroutines: each has a hook of its own -----------------------------------------------------------------------------

local coroutines = { running = C.running, status = C.status, yield = C.yield }

local function create(f)
  local co = C.create(f)
  sethook(co, hook, "", OFTEN)
  return co
end

local function resume(co, ...)
  if depth >= MOST_NESTED then return false, "C stack overflow" end
  local function done(...)
    depth = depth - 1
    return settle(...)
  end
  depth = depth + 1
  return done(C.resume(co, ...))
end

coroutines.create, coroutines.resume = create, resume

function coroutines.wrap(f)
  local co = create(f)
  return function(...)
    local function done(ok, ...)
      if ok then return ... end
      error((...), type((...)) == "string" and 3 or 0)
    end
    return done(resume(co, ...))
  end
end

-- Strings: what goes on in C has no hooks, so it is counted before ---------------------------------------------------

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
    return T.concat(pieces)
  end
end

strings.lower, strings.upper, strings.reverse = in_pieces("lower"), in_pieces("upper"), in_pieces("reverse", true)

function strings.dump()
  error("unable to dump given function", 2)
end

function strings.rep(s, n)
  s, n = text(s, 1, "rep"), tonumber(n) or wrong(2, "rep", "number", n == nil and "no value" or type(n))
  if n < 1 or s == "" then return "" end
  if #s * n > most_bytes then stop("memory") end
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

-- Refuse a search that could take too long, and count it. A pattern goes back at each quantifier with something behind
-- it, so at worst it takes as many steps as the length to the power of their number, from each place that it begins at.
local quantifiers = {}
local patterns = 0

local function power_of(p)
  local power = quantifiers[p]
  if power then return power end
  if #p > LONGEST_PATTERN then error("malformed pattern (too long)", 4) end
  local _, count = gsub(p, "[*+?-]", "")
  if find(p, "[*+?-]%)?$") then count = count - 1 end
  local _, more = gsub(p, "%%[b0-9]", "")
  power = count + more + (sub(p, 1, 1) == "^" and 0 or 1)
  if patterns >= 100 then quantifiers, patterns = {}, 0 end
  quantifiers[p], patterns = power, patterns + 1
  return power
end

local function weigh(s, p)
  local power, size = power_of(p), #s
  if power <= 1 then
    if size > 1000 then spend(size * (find(p, "[", 1, true) and #p or 1)) end
    return
  end
  local cost = (size + 1) ^ power * (find(p, "[", 1, true) and #p or 1)
  if cost > MOST_STEPS then
    error("the pattern could take too long on a string of that length", 3)
  end
  spend(cost)
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
    if (#s + 1) * (#replacement + 1) > most_bytes then stop("memory") end
    spend((#s + 1) * (#replacement + 1) / 4)
  end
  if type(replacement) ~= "function" and type(replacement) ~= "table" then return gsub(s, p, replacement, most) end
  if nested >= MOST_NESTED then error("C stack overflow", 2) end
  local function done(ok, ...)
    nested = nested - 1
    if not ok then error((...), 0) end
    return ...
  end
  nested = nested + 1
  return done(settle(rawcall(gsub, s, p, replacement, most)))
end

-- Tables -------------------------------------------------------------------------------------------------------------

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

-- Numbers: the generator is Redis's, which begins anew with each script ----------------------------------------------

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

-- The server ---------------------------------------------------------------------------------------------------------

local server = {}
for name, value in pairs(host.constants) do server[name] = value end

local function fail(message)
  error({ err = message }, 0)
end

-- What a command has answered. While Python makes Lua's objects there is no limit of memory: it could not obey one.
local function answered(raises, value, kind)
  limit_memory(most_bytes)
  if kind == nil then
    if type(value) == "string" and #value >= LONG then watch_closely() end
    return value
  end
  if kind == "status" then return { ok = value } end
  if kind == "stop" then
    stopped = true
    error(STOPPED, 0)
  end
  local reply = { err = value, ignore_error_stats_update = true }
  if raises then error(reply, 0) end
  return reply
end

local function request(raises, ...)
  local count = select("#", ...)
  local words = { ... }
  local fault = count == 0 and "ERR Please specify at least one argument for this call"
  for i = 1, count do
    local kind = type(words[i])
    if kind ~= "string" and kind ~= "number" then fault = "ERR Command arguments must be strings or integers" end
  end
  if fault then
    if raises then fail(fault) end
    return { err = fault }
  end
  steps = steps + 1000
  return answered(raises, call(...))
end

function server.call(...) return request(true, ...) end
function server.pcall(...) return request(false, ...) end

local function single(field, ...)
  local value = ...
  if select("#", ...) ~= 1 or type(value) ~= "string" then
    return { err = "ERR wrong number or type of arguments" }
  end
  return { [field] = value }
end

function server.status_reply(...) return single("ok", ...) end

function server.error_reply(...)
  local reply = single("err", ...)
  local message = gsub(gsub(reply.err, "^%-", ""), "[\r\n]+$", "")
  if not find(message, " ", 1, true) then message = "ERR " .. message end
  reply.err = message
  return reply
end

function server.sha1hex(...)
  if select("#", ...) ~= 1 then fail("ERR wrong number of arguments") end
  local value = ...
  local kind = type(value)
  return host.sha1(kind == "string" and value or kind == "number" and tostring(value) or "")
end

function server.log(level, ...)
  if select("#", ...) < 1 then fail("ERR server.log() requires two arguments or more.") end
  if type(level) ~= "number" then fail("ERR First argument must be a number (log level).") end
  if level < 0 or level > 3 then fail("ERR Invalid log level.") end
  local words = {}
  for i = 1, select("#", ...) do
    local word = select(i, ...)
    if type(word) == "string" or type(word) == "number" then words[#words + 1] = word end
  end
  host.log(level, sub(T.concat(words, " "), 1, 1024))
end

function server.setresp(...)
  if select("#", ...) ~= 1 then fail("ERR server.setresp() requires one argument.") end
  local version = tonumber((...))
  if version ~= 2 and version ~= 3 then fail("ERR RESP version must be 2 or 3.") end
  host.set_protocol(version)
end

function server.set_repl(...)
  if select("#", ...) ~= 1 then fail("ERR server.set_repl() requires one argument.") end
  local flags = tonumber((...))
  if not flags or flags < 0 or flags > 3 then
    fail("ERR Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.")
  end
end

function server.acl_check_cmd(...)
  if select("#", ...) == 0 then
    fail("ERR Please specify at least one argument for this server.acl_check_cmd() call")
  end
  if type((...)) ~= "string" or not host.is_command((...)) then
    fail("ERR Invalid command passed to server.acl_check_cmd()")
  end
  return true
end

function server.replicate_commands() return true end
function server.breakpoint() return false end
function server.debug() end

-- What a script sees -------------------------------------------------------------------------------------------------

local methods = protect(strings)
local metatable = getmetatable("")
metatable.__index = strings
metatable.__metatable = protect { __index = methods }

base.string, base.table, base.math, base.coroutine = methods, protect(tables), protect(maths), protect(coroutines)
base.os = protect { clock = os.clock }
base.redis = protect(server)
base.server = base.redis
local more, reset_libraries = libraries.make(spend, function(f, ...) return settle(rawcall(f, ...)) end)
for name, library in pairs(more) do base[name] = protect(library) end

setmetatable(base, {
  __index = function(_, name)
    error(format("Script attempted to access nonexistent global variable '%s'", tostring(name)), 2)
  end,
})
environment = protect(base)
base._G = environment

-- How a script runs --------------------------------------------------------------------------------------------------

-- An error as a table with its text, and the line of the script that it came from.
local function explain(fault)
  if type(fault) ~= "table" then fault = { err = "ERR " .. tostring(fault) } end
  for level = 2, 200 do
    local place = getinfo(level, "Sl")
    if not place then break end
    if place.source == "@user_script" then
      rawset(fault, "source", place.source)
      rawset(fault, "line", place.currentline)
      break
    end
  end
  return fault
end

-- A table as a list of codes and values, for Python to read without a look into any table of a script's.
local ARRAY, MAP, SET, DOUBLE, STATUS, ERROR, BIG, VERBATIM, SCALAR, DEEP, NULL = 1, 2, 3, 4, 5, 6, 7, 8, 0, 9, 10

local flatten

local function flatten_pairs(t, out, level, code)
  out[#out + 1] = code
  out[#out + 1] = 0
  local place, count = #out, 0
  for k, v in next, t do
    count = count + 1
    flatten(k, out, level + 1)
    if code == MAP then flatten(v, out, level + 1) end
  end
  out[place] = count
end

local function put(out, code, value)
  out[#out + 1] = code
  out[#out + 1] = value
end

function flatten(value, out, level)
  local kind = type(value)
  if kind == "string" or kind == "number" or kind == "boolean" then return put(out, SCALAR, value) end
  if kind ~= "table" then return put(out, NULL, 0) end
  if level > MOST_DEPTH then return put(out, DEEP, 0) end
  local err, ok, double = rawget(value, "err"), rawget(value, "ok"), rawget(value, "double")
  if type(err) == "string" then return put(out, ERROR, err) end
  if type(ok) == "string" then return put(out, STATUS, ok) end
  if type(double) == "number" then return put(out, DOUBLE, double) end
  local map, set = rawget(value, "map"), rawget(value, "set")
  if type(map) == "table" then return flatten_pairs(map, out, level, MAP) end
  if type(set) == "table" then return flatten_pairs(set, out, level, SET) end
  local big, verbatim = rawget(value, "big_number"), rawget(value, "verbatim_string")
  if type(big) == "string" then return put(out, BIG, big) end
  if type(verbatim) == "table" then
    local shown, how = rawget(verbatim, "string"), rawget(verbatim, "format")
    if type(shown) == "string" and type(how) == "string" then return put(out, VERBATIM, sub(how, 1, 3) .. ":" .. shown) end
  end
  put(out, ARRAY, 0)
  local place, count = #out, 0
  while true do
    local element = rawget(value, count + 1)
    if element == nil then break end
    count = count + 1
    flatten(element, out, level + 1)
  end
  out[place] = count
end

local result

local function part(first)
  local last = first + 199
  if last > #result then last = #result end
  return #result, unpack(result, first, last)
end

local function begin(bytes)
  stopped, hooks, steps, depth, nested, most_bytes = false, 0, 0, 0, 0, bytes
  if watched_closely then
    sethook(hook, "", OFTEN)
    watched_closely = false
  end
  before_kb = collect("count")
  seed(0)
  reset_libraries()
end

-- Returns: whether it went well, then the value, or a code, the text of the error and its place.
local function conclude(ok, value)
  if stopped then return false, STOPPED end
  if not ok then
    if value == "not enough memory" then stop("memory") end
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

local exported = {}

-- keys: how many of the words are. Few words are passed one by one.
function exported.run(chunk, bytes, keys, ...)
  begin(bytes)
  if keys == 1 then
    rawset(base, "KEYS", { (...) })
    rawset(base, "ARGV", { select(2, ...) })
  else
    local words = { ... }
    rawset(base, "KEYS", { unpack(words, 1, keys) })
    rawset(base, "ARGV", { unpack(words, keys + 1, select("#", ...)) })
  end
  return go(chunk, bytes)
end

function exported.run_many(chunk, bytes, keys, arguments)
  begin(bytes)
  rawset(base, "KEYS", keys)
  rawset(base, "ARGV", arguments)
  return go(chunk, bytes)
end

exported.part = part

function exported.forget()
  stopped = false
  result = nil
  rawset(base, "KEYS", nil)
  rawset(base, "ARGV", nil)
end

function exported.compile(source, name)
  begin(0)
  return compile(source, name)
end

local globals = _G
for name in pairs(globals) do globals[name] = nil end
sethook(hook, "", OFTEN)

return exported.run, exported.run_many, exported.part, exported.forget, exported.compile
