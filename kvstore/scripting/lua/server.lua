-- The table `server`, also named `redis`: calls of the server, and what goes with them.

local host, guard, arguments = ...
local call, gather, call_gathered, limit_memory = host.call, host.gather, host.call_gathered, host.limit_memory
local error, pairs, select, tonumber, tostring, type = error, pairs, select, tonumber, tostring, type
local unpack, min = unpack, math.min
local find, gsub, sub, concat = string.find, string.gsub, string.sub, table.concat

local server = {}
for name, value in pairs(host.constants) do server[name] = value end

local function fail(message)
  error({ err = message }, 0)
end

-- What a command has answered.
local function answered(raises, value, kind)
  if kind == nil then
    if type(value) == "string" and #value >= guard.LONG then guard.watch_closely() end
    return value
  end
  if kind == "status" then return { ok = value } end
  if kind == "unlimited" then
    limit_memory(guard.most_bytes)
    return answered(raises, value)
  end
  if kind == "stop" then guard.halt() end
  local reply = { err = value, ignore_error_stats_update = true }
  if raises then error(reply, 0) end
  return reply
end

local function refused(raises, fault)
  if raises then fail(fault) end
  return { err = fault }
end

local function request(raises, ...)
  local words = { ... }
  for i = 1, select("#", ...) do
    local kind = type(words[i])
    if kind ~= "string" and kind ~= "number" then
      return refused(raises, "ERR Command arguments must be strings or integers")
    end
  end
  if words[1] == nil then return refused(raises, "ERR Please specify at least one argument for this call") end
  local count = select("#", ...)
  if count <= arguments.MOST_VALUES then return answered(raises, call(...)) end
  for first = 1, count, arguments.MOST_VALUES do
    gather(first == 1, unpack(words, first, min(first + arguments.MOST_VALUES - 1, count)))
  end
  return answered(raises, call_gathered())
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
  host.log(level, sub(concat(words, " "), 1, 1024))
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
  for i = 1, select("#", ...) do
    local kind = type((select(i, ...)))
    if kind ~= "string" and kind ~= "number" then fail("ERR Command arguments must be strings or integers") end
  end
  local may = select("#", ...) <= arguments.MOST_VALUES and host.may(...)
  if may == nil then fail("ERR Invalid command passed to server.acl_check_cmd()") end
  return may
end

function server.replicate_commands() return true end
function server.breakpoint() return false end
function server.debug() end

return server
