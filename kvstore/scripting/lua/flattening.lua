-- A table as a list of codes and values, for Python to read without a look into any table of a script's.

local next, rawget, type, sub = next, rawget, type, string.sub

local MOST_DEPTH = 100
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

return flatten
