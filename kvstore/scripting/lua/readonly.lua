-- Tables that nobody may change: what a script is given is empty, and reads through to the real one.

local error, setmetatable = error, setmetatable

local readonly = {}

-- The real tables, by those that are shown.
local real = setmetatable({}, { __mode = "k" })
readonly.real = real

local function refuse()
  error("Attempt to modify a readonly table", 2)
end

function readonly.protect(content)
  local shown = {}
  real[shown] = content
  return setmetatable(shown, { __index = content, __newindex = refuse, __metatable = false })
end

function readonly.check_writable(t)
  if real[t] then error("Attempt to modify a readonly table", 0) end
end

return readonly
