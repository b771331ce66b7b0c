-- Lua's coroutines: each has a hook of its own, and so many of them may be in each other.

local guard = ...
local watch, settle = guard.watch, guard.settle
local C, error, type = coroutine, error, type
local enter, leave = guard.depth()

local coroutines = { running = C.running, status = C.status, yield = C.yield }

local function create(f)
  local co = C.create(f)
  watch(co)
  return co
end

local function resume(co, ...)
  if not enter() then return false, "C stack overflow" end
  local function done(...)
    leave()
    return settle(...)
  end
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

return coroutines
