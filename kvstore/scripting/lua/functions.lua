-- Libraries of functions: what one sees while it is loaded, what it registers, and how a function is called.
--
-- running: which gets what is here. strict: the metatable of what scripts see. show: says what they see.

local host, guard, readonly, running, server, globals, strict, show = ...
local error, next, pairs, rawget, select, setmetatable = error, next, pairs, rawget, select, setmetatable
local tostring, type, xpcall, find, lower, concat = tostring, type, xpcall, string.find, string.lower, table.concat
local explain, go, split = running.explain, running.go, running.split

-- More flags than any memory holds.
local MOST_FLAGS = 10000000

-- What the library that is loaded has registered: of each function name, description, flags between commas, callback.
local registered

local function fail(message)
  error({ err = "ERR " .. message }, 0)
end

-- A string, or a number as one; nil for any other.
local function string_of(value)
  local kind = type(value)
  return kind == "string" and value or kind == "number" and tostring(value) or nil
end

local function flags_of(list)
  if type(list) ~= "table" then
    fail("flags argument to server.register_function must be a table representing function flags")
  end
  local flags = {}
  for i = 1, MOST_FLAGS do
    local flag = rawget(list, i)
    if flag == nil then return concat(flags, ",") end
    if type(flag) ~= "string" or not host.flags[lower(flag)] then fail("unknown flag given") end
    flags[i] = lower(flag)
  end
end

-- What may be given by name, each with what takes it in.
local named = {}

function named.function_name(value, given)
  given.name = string_of(value)
  if not given.name then fail("function_name argument given to server.register_function must be a string") end
end

function named.description(value, given)
  given.description = string_of(value)
  if not given.description then fail("description argument given to server.register_function must be a string") end
end

function named.callback(value, given)
  if type(value) ~= "function" then fail("callback argument given to server.register_function must be a function") end
  given.callback = value
end

function named.flags(value, given)
  given.flags = flags_of(value)
end

local function by_names(arguments)
  if type(arguments) ~= "table" then
    fail("calling server.register_function with a single argument is only applicable to Lua table "
      .. "(representing named arguments).")
  end
  local given = {}
  for name, value in next, arguments do
    local take = type(name) == "string" and named[lower(name)]
    if not take then fail("unknown argument given to server.register_function") end
    take(value, given)
  end
  if not given.name then fail("server.register_function must get a function name argument") end
  if not given.callback then fail("server.register_function must get a callback argument") end
  return given
end

local function by_places(name, callback)
  local given = { name = string_of(name), callback = callback }
  if not given.name then fail("first argument to server.register_function must be a string") end
  if type(callback) ~= "function" then fail("second argument to server.register_function must be a function") end
  return given
end

local function register(...)
  if not registered then fail("server.register_function can only be called on FUNCTION LOAD command") end
  local count = select("#", ...)
  if count < 1 or count > 2 then fail("wrong number of arguments to server.register_function") end
  registered[#registered + 1] = count == 1 and by_names((...)) or by_places(...)
end

-- As in Valkey 9: no library of Lua's is there while one of functions is loaded.
local while_loading = { register_function = register, log = server.log }
for name, value in pairs(host.constants) do
  if not find(name, "^REPL_") then while_loading[name] = value end
end
while_loading = readonly.protect(setmetatable(while_loading, strict))
while_loading = setmetatable({ redis = while_loading, server = while_loading }, strict)

server.replicate_commands, server.breakpoint, server.debug = nil, nil, nil

-- Called as a function of a library is, it loads the library that `chunk` is; returns how many functions there are.
function running.loader(chunk)
  return function()
    registered = {}
    show(while_loading)
    local ok, fault = xpcall(chunk, explain)
    show(globals)
    if not ok then registered = nil end
    guard.settle(ok, fault)
    if not ok then error({ err = rawget(fault, "err") }, 0) end
    return #registered
  end
end

-- One of them; nil behind the last.
function running.registered(place)
  local given = registered and registered[place]
  if given then return given.name, given.description, given.flags, given.callback end
  registered = nil
end

-- The function that is called, and what it is given.
local callback, keys, arguments

local function call() return callback(keys, arguments) end

-- A function is called as a script is run.
function running.run(f, bytes, count, ...)
  guard.begin(bytes)
  callback, registered = f, nil
  keys, arguments = split(count, ...)
  return go(call)
end

function running.run_many(f, bytes, all_keys, all_arguments)
  guard.begin(bytes)
  registered = nil
  callback, keys, arguments = f, all_keys, all_arguments
  return go(call, bytes)
end

local forget = running.forget

function running.forget()
  forget()
  show(globals) -- a library that was stopped may have left the other
  callback, keys, arguments = nil, nil, nil
end
