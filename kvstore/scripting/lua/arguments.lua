-- What library functions check of their arguments, in the words of Lua's own.

local error, format, tonumber, tostring, type = error, string.format, tonumber, tostring, type

local arguments = {}

-- level: how far the script's call is from here.
local function wrong(place, name, wanted, given, level)
  error(format("bad argument #%d to '%s' (%s expected, got %s)", place, name, wanted, given), level or 3)
end

arguments.wrong = wrong

function arguments.text(value, place, name)
  local kind = type(value)
  if kind == "string" then return value end
  if kind == "number" then return tostring(value) end
  wrong(place, name, "string", value == nil and "no value" or kind, 4)
end

return arguments
