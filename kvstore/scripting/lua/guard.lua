-- The limits of the script that runs: time, memory and the C stack; see `engine` for what holds, and why.

-- host: the Python functions, by name. null: the one userdata that scripts are given.
local host, null = ...
local error, rawcall, type = error, pcall, type
local sethook, collect, limit_memory = debug.sethook, collectgarbage, host.limit_memory

-- How many instructions until the hook is called: while little memory is used, and else, when one can take long.
local OFTEN, VERY_OFTEN = 100, 10
-- Kilobytes that a script may take before it is looked after very often.
local LITTLE_KB = 1024
-- Hooks until the clock is looked at.
local LOOK = 16
-- What library functions may cost until it is, in steps of some nanoseconds.
local LOOK_STEPS = 1000000
-- Coroutines in each other, and calls of gsub in its own replacements: each takes of the C stack.
local MOST_NESTED = 8
local STOPPED = "the script was stopped"

-- A string of that many bytes takes so long that the hook is called more often.
local LONG = 65536

local guard = { LOOK_STEPS = LOOK_STEPS, STOPPED = STOPPED, LONG = LONG }

-- Of the script that runs: whether it is past a limit, and nothing may catch the error; what it has cost since the
-- clock was looked at; how much memory the state took before.
local stopped, hooks, steps, before_kb = false, 0, 0, 0
local watched_closely = false
-- How much may be used so that there is room for what is small.
local roomy_kb = 0
-- What to do before the next script, and behind one that did not come to its end.
local changed, resets = nil, {}

-- End the script: nothing catches the error. Who calls this has told Python why.
function guard.halt()
  stopped = true
  error(STOPPED, 0)
end

function guard.stop(why)
  host.stopped(why)
  guard.halt()
end

local stop = guard.stop

function guard.is_stopped() return stopped end

-- While no script runs the hook, which is called all the same, does nothing.
local function look()
  if stopped and host.is_running() then error(STOPPED, 0) end
  hooks, steps = 0, 0
  if host.is_late() then stop("late") end
end

local hook

function guard.watch_closely()
  watched_closely = true
  sethook(hook, "", VERY_OFTEN)
end

function hook()
  if stopped then return look() end
  hooks = hooks + 1
  if collect("count") > before_kb + LITTLE_KB then
    guard.watch_closely()
    look()
  elseif hooks >= LOOK then
    look()
  end
end

-- Each coroutine has a hook of its own.
function guard.watch(co)
  sethook(co, hook, "", OFTEN)
end

-- Count what goes on in C, where no hook is called.
function guard.spend(cost)
  steps = steps + cost
  if steps > LOOK_STEPS then look() end
end

-- An error that Lua or a script has raised is passed on, unless it is the end of the script.
local function settle(ok, ...)
  if stopped then error(STOPPED, 0) end
  if ok then return true, ... end
  local fault = ...
  if fault == "not enough memory" then stop("memory") end
  if type(fault) == "userdata" and fault ~= null then stop("fault") end
  return false, ...
end

guard.settle = settle

-- pcall, except for a script that is stopped.
function guard.attempt(f, ...)
  return settle(rawcall(f, ...))
end

-- What counts how deep something is in itself: call `enter`, which tells whether it may be, then `leave`.
function guard.depth()
  local deep = 0
  local function enter()
    if deep >= MOST_NESTED then return false end
    deep = deep + 1
    return true
  end
  local function leave() deep = deep - 1 end
  resets[#resets + 1] = function() deep = 0 end
  return enter, leave
end

-- For what a script may change, and the next one finds as the first one has: returns a function to call before such a
-- change. reset: makes it as it was.
function guard.private(reset)
  local is_changed = false
  local function restore()
    is_changed = false
    reset()
  end
  return function()
    if is_changed then return end
    is_changed = true
    changed = changed or {}
    changed[#changed + 1] = restore
  end
end

-- A function of Python, called where what it returns cannot come to the limit of memory: see `engine`.
function guard.careful(f)
  local function limited(...)
    limit_memory(guard.most_bytes)
    return ...
  end
  return function(...)
    if collect("count") < roomy_kb then return f(...) end
    limit_memory(0)
    return limited(f(...))
  end
end

-- A script begins. bytes: how much memory the state may take.
function guard.begin(bytes)
  stopped, hooks, steps, guard.most_bytes = false, 0, 0, bytes
  if watched_closely then
    sethook(hook, "", OFTEN)
    watched_closely = false
  end
  before_kb = collect("count")
  roomy_kb = (before_kb + bytes / 1024) / 2
  if changed then
    for i = 1, #changed do changed[i]() end
    changed = nil
  end
end

-- A script that did not come to its end is forgotten.
function guard.forget()
  stopped = false
  for i = 1, #resets do resets[i]() end
end

sethook(hook, "", OFTEN)

return guard
