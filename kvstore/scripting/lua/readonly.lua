-- Tables that nobody may change: what a script is given is empty, and reads through to the real one.

local error, setmetatable = error, setmetatable

local readonly = {}

-- The real tables, by those that are shown.
local real = setmetatable({}, { __mode = "k" })
readonly.real = real
-- Those of the shown that have one a script may look at.
readonly.metatables = setmetatable({}, { __mode = "k" })

local function refuse()
  error("Attempt to modify a readonly table", 2)
end

-- Returns what is shown, and a function that lets it read through to another table.
function readonly.view(content)
  local metatable = { __index = content, __newindex = refuse, __metatable = false }
  local shown = setmetatable({}, metatable)
  real[shown] = content
  return shown, function(other) metatable.__index = other end
end

function readonly.protect(content)
  return (readonly.view(content))
end

function readonly.check_writable(t)
  if real[t] then error("Attempt to modify a readonly table", 0) end
end

return readonly
