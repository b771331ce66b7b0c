-- Reading JSON, token by token, as lua-cjson does: which also takes what strtod takes for a number.

local guard, null = ...
local spend = guard.spend
local error, next, tonumber = error, next, tonumber
local byte, char, concat, find, floor, format, lower, sub =
  string.byte, string.char, table.concat, string.find, math.floor, string.format, string.lower, string.sub

local PUNCTUATION = { ["{"] = "T_OBJ_BEGIN", ["}"] = "T_OBJ_END", ["["] = "T_ARR_BEGIN", ["]"] = "T_ARR_END",
  [","] = "T_COMMA", [":"] = "T_COLON", ["\0"] = "T_END", [""] = "T_END" }
local WORDS = { ["true"] = true, ["false"] = false, ["null"] = null }
local ESCAPES = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", ['"'] = '"', ["\\"] = "\\", ["/"] = "/" }

local function utf8(code)
  if code < 0x80 then return char(code) end
  if code < 0x800 then return char(0xC0 + floor(code / 0x40), 0x80 + code % 0x40) end
  if code < 0x10000 then
    return char(0xE0 + floor(code / 0x1000), 0x80 + floor(code / 0x40) % 0x40, 0x80 + code % 0x40)
  end
  return char(0xF0 + floor(code / 0x40000), 0x80 + floor(code / 0x1000) % 0x40, 0x80 + floor(code / 0x40) % 0x40,
    0x80 + code % 0x40)
end

-- What the escape at `place` stands for, and the place behind it; nil if it is none.
local function unescape(text, place)
  local letter = sub(text, place + 1, place + 1)
  if letter ~= "u" then return ESCAPES[letter], place + 2 end
  local code = find(text, "^%x%x%x%x", place + 2) and tonumber(sub(text, place + 2, place + 5), 16)
  if not code or (code >= 0xDC00 and code < 0xE000) then return nil end
  if code < 0xD800 or code >= 0xE000 then return utf8(code), place + 6 end
  local pair = find(text, "^\\u[dD][c-fC-F]%x%x", place + 6) and tonumber(sub(text, place + 8, place + 11), 16)
  if not pair then return nil end
  return utf8(0x10000 + (code - 0xD800) * 0x400 + pair - 0xDC00), place + 12
end

-- A string whose first quote is before `first`, and the place behind it; or nil, where it is wrong, and how.
local function string_at(text, first)
  local out, place = {}, first
  while true do
    local stop = find(text, '["\\%z]', place) or #text + 1
    spend(stop - place)
    if stop > place then out[#out + 1] = sub(text, place, stop - 1) end
    local mark = byte(text, stop)
    if mark == 34 then return concat(out), stop + 1 end
    if mark ~= 92 then return nil, stop, "unexpected end of string" end
    local meant, behind = unescape(text, stop)
    if not meant then
      local is_unicode = sub(text, stop + 1, stop + 1) == "u"
      return nil, stop, is_unicode and "invalid unicode escape code" or "invalid escape code"
    end
    out[#out + 1], place = meant, behind
  end
end

-- The last place of what strtod reads as a number; nil if that is nothing.
local function number_end(text, place)
  local _, sign = find(text, "^[+-]?", place)
  local first = sign + 1
  local _, last = find(text, "^0[xX]%x*%.?%x*", first)
  if last and find(text, "^0[xX]%.?%x", first) then
    local _, power = find(text, "^[pP][+-]?%d+", last + 1)
    return power or last
  end
  _, last = find(text, "^%d*%.?%d*", first)
  if find(text, "^%.?%d", first) then
    local _, power = find(text, "^[eE][+-]?%d+", last + 1)
    return power or last
  end
  local word = lower(sub(text, first, first + 7))
  if word == "infinity" then return first + 7 end
  word = sub(word, 1, 3)
  return (word == "inf" or word == "nan") and first + 2 or nil
end

-- Whether strict JSON has no such number.
local function is_odd(text, place)
  return find(text, "^%+", place) or find(text, "^%-?0[%dxX]", place)
    or find(text, "^%-?[iI][nN][fF]", place) or find(text, "^%-?[nN][aA][nN]", place)
end

local function number_at(text, place)
  local last = number_end(text, place)
  if not last then return "T_ERROR", "invalid number", place, place end
  return "T_NUMBER", tonumber(sub(text, place, last)), place, last + 1
end

-- The token at `place` or behind blanks: its kind, its value or what is wrong, where it is, and the place behind it.
local function token_at(text, place, settings)
  place = find(text, "[^ \t\n\r]", place) or #text + 1
  local letter = sub(text, place, place)
  local kind = PUNCTUATION[letter]
  if kind then return kind, nil, place, kind == "T_END" and place or place + 1 end
  if letter == '"' then
    local value, behind, fault = string_at(text, place + 1)
    if fault then return "T_ERROR", fault, behind, behind end
    return "T_STRING", value, place, behind
  end
  if find(letter, "[%d-]") then
    if settings.decode_invalid or not is_odd(text, place) then return number_at(text, place) end
    return "T_ERROR", "invalid number", place, place
  end
  for word, value in next, WORDS do
    if sub(text, place, place + #word - 1) == word then
      return value == null and "T_NULL" or "T_BOOLEAN", value, place, place + #word
    end
  end
  if settings.decode_invalid and find(letter, "[+iInN]") and is_odd(text, place) then return number_at(text, place) end
  return "T_ERROR", "invalid token", place, place
end

local function invalid(expected, kind, value, place)
  error(format("Expected %s but found %s at character %d", expected, kind == "T_ERROR" and value or kind, place), 0)
end

local value_of

-- The token behind the comma that follows an element; if that was the last, no kind and the place behind the end.
local function next_token(text, place, settings, last, expected)
  local kind, value, at, behind = token_at(text, place, settings)
  if kind == last then return nil, nil, nil, behind end
  if kind ~= "T_COMMA" then invalid(expected, kind, value, at) end
  return token_at(text, behind, settings)
end

local function array_at(text, place, depth, settings)
  local out, count = {}, 0
  local kind, value, at, behind = token_at(text, place, settings)
  if kind == "T_ARR_END" then return out, behind end
  while kind do
    count = count + 1
    out[count], behind = value_of(text, depth, settings, kind, value, at, behind)
    kind, value, at, behind = next_token(text, behind, settings, "T_ARR_END", "comma or array end")
  end
  return out, behind
end

local function object_at(text, place, depth, settings)
  local out = {}
  local kind, value, at, behind = token_at(text, place, settings)
  if kind == "T_OBJ_END" then return out, behind end
  while kind do
    if kind ~= "T_STRING" then invalid("object key string", kind, value, at) end
    local key = value
    kind, value, at, behind = token_at(text, behind, settings)
    if kind ~= "T_COLON" then invalid("colon", kind, value, at) end
    kind, value, at, behind = token_at(text, behind, settings)
    out[key], behind = value_of(text, depth, settings, kind, value, at, behind)
    kind, value, at, behind = next_token(text, behind, settings, "T_OBJ_END", "comma or object end")
  end
  return out, behind
end

local CONTAINERS = { T_ARR_BEGIN = array_at, T_OBJ_BEGIN = object_at }
local SCALARS = { T_STRING = true, T_NUMBER = true, T_BOOLEAN = true, T_NULL = true }

-- The value that a token begins or is, and the place behind it.
function value_of(text, depth, settings, kind, value, at, behind)
  if SCALARS[kind] then return value, behind end
  local read = CONTAINERS[kind]
  if not read then invalid("value", kind, value, at) end
  if depth >= settings.decode_deep then
    error(format("Found too many nested data structures (%d) at character %d", depth + 1, at), 0)
  end
  return read(text, behind, depth + 1, settings)
end

return function(text, settings)
  if #text >= 2 and find(sub(text, 1, 2), "%z") then
    error("JSON parser does not support UTF-16 or UTF-32", 0)
  end
  local value, place = value_of(text, 0, settings, token_at(text, 1, settings))
  local kind, found, at = token_at(text, place, settings)
  if kind ~= "T_END" then invalid("the end", kind, found, at) end
  return value
end
