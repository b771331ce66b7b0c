-- The library cjson, written in Lua: so the limits of time and memory hold in it.

local guard, null = ...
local spend, attempt = guard.spend, guard.attempt
local error, next, rawget, select, tonumber, tostring, type = error, next, rawget, select, tonumber, tostring, type
local byte, char, find, format, gsub, sub = string.byte, string.char, string.find, string.format, string.gsub, string.sub
local concat, floor, huge = table.concat, math.floor, math.huge

-- Characters that are looked at in one call of C.
local PIECE = 16384

local settings
local function reset()
  settings = { convert = false, ratio = 2, safe = 10, deep = 1000, decode_deep = 1000, precision = 14 }
end
reset()
local note_change = guard.private(reset)
local cjson = { null = null, _NAME = "cjson", _VERSION = "2.1.0" }

local escapes = { ['"'] = '\\"', ["\\"] = "\\\\", ["/"] = "\\/", ["\b"] = "\\b", ["\f"] = "\\f", ["\n"] = "\\n",
  ["\r"] = "\\r", ["\t"] = "\\t" }
for code = 0, 31 do
  escapes[char(code)] = escapes[char(code)] or format("\\u%04x", code)
end
escapes["\127"] = "\\u007f"

local function quoted(text)
  if #text < PIECE then return '"' .. gsub(text, '[%c"\\/]', escapes) .. '"' end
  local pieces = {}
  for first = 1, #text, PIECE do
    spend(20 * PIECE)
    pieces[#pieces + 1] = gsub(sub(text, first, first + PIECE - 1), '[%c"\\/]', escapes)
  end
  return '"' .. concat(pieces) .. '"'
end

local function number(value)
  if value ~= value or value == huge or value == -huge then
    error("Cannot serialise number: must not be NaN or Inf", 0)
  end
  return format("%." .. settings.precision .. "g", value)
end

-- The length of an array; nil for an object.
local function length_of(t)
  local most, count = 0, 0
  for key in next, t do
    if type(key) ~= "number" or key < 1 or key ~= floor(key) then return nil end
    if key > most then most = key end
    count = count + 1
  end
  if count == 0 then return nil end
  if settings.ratio > 0 and most > count * settings.ratio and most > settings.safe then
    if not settings.convert then error("Cannot serialise table: excessively sparse array", 0) end
    return nil
  end
  return most
end

local put

local function put_array(out, t, most, depth)
  out[#out + 1] = "["
  for i = 1, most do
    if i > 1 then out[#out + 1] = "," end
    put(out, rawget(t, i), depth)
  end
  out[#out + 1] = "]"
end

local function put_object(out, t, depth)
  out[#out + 1] = "{"
  local first = true
  for key, value in next, t do
    if not first then out[#out + 1] = "," end
    first = false
    if type(key) == "string" then
      out[#out + 1] = quoted(key)
    elseif type(key) == "number" then
      out[#out + 1] = '"' .. number(key) .. '"'
    else
      error("Cannot serialise " .. type(key) .. ": table key must be a number or string", 0)
    end
    out[#out + 1] = ":"
    put(out, value, depth)
  end
  out[#out + 1] = "}"
end

function put(out, value, depth)
  local kind = type(value)
  if kind == "string" then
    out[#out + 1] = quoted(value)
  elseif kind == "number" then
    out[#out + 1] = number(value)
  elseif kind == "boolean" then
    out[#out + 1] = value and "true" or "false"
  elseif value == nil or value == null then
    out[#out + 1] = "null"
  elseif kind == "table" then
    if depth >= settings.deep then
      error(format("Cannot serialise, excessive depth (%d)", depth + 1), 0)
    end
    local most = length_of(value)
    if most then put_array(out, value, most, depth + 1) else put_object(out, value, depth + 1) end
  else
    error("Cannot serialise " .. kind .. ": type not supported", 0)
  end
end

local function encode(value)
  local out = {}
  put(out, value, 0)
  return concat(out)
end

function cjson.encode(...)
  if select("#", ...) ~= 1 then error("bad argument #1 to 'encode' (expected 1 argument)", 2) end
  local ok, result = attempt(encode, ...)
  if not ok then error(result, 2) end
  return result
end

local function invalid(expected, found, place)
  error(format("Expected %s but found %s at character %d", expected, found, place), 0)
end

local function utf8(code)
  if code < 0x80 then return char(code) end
  if code < 0x800 then return char(0xC0 + floor(code / 0x40), 0x80 + code % 0x40) end
  if code < 0x10000 then
    return char(0xE0 + floor(code / 0x1000), 0x80 + floor(code / 0x40) % 0x40, 0x80 + code % 0x40)
  end
  return char(0xF0 + floor(code / 0x40000), 0x80 + floor(code / 0x1000) % 0x40, 0x80 + floor(code / 0x40) % 0x40,
    0x80 + code % 0x40)
end

local plain = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", ['"'] = '"', ["\\"] = "\\", ["/"] = "/" }

-- An escape that begins at `place`: the text that it stands for, and the place behind it.
local function unescape(text, place)
  local letter = sub(text, place + 1, place + 1)
  if plain[letter] then return plain[letter], place + 2 end
  local digits = letter == "u" and find(text, "^%x%x%x%x", place + 2) and sub(text, place + 2, place + 5)
  if not digits then
    invalid("value", letter == "u" and "invalid unicode escape code" or "invalid escape code", place)
  end
  local code = tonumber(digits, 16)
  if code >= 0xD800 and code < 0xDC00 then
    local pair = find(text, "^\\u[dD][c-fC-F]%x%x", place + 6) and tonumber(sub(text, place + 8, place + 11), 16)
    if not pair then invalid("value", "invalid unicode escape code", place) end
    return utf8(0x10000 + (code - 0xD800) * 0x400 + pair - 0xDC00), place + 12
  end
  if code >= 0xDC00 and code < 0xE000 then invalid("value", "invalid unicode escape code", place) end
  return utf8(code), place + 6
end

local function string_at(text, first)
  local out, place = {}, first
  while true do
    local stop = find(text, '["\\%z]', place)
    if not stop then invalid("value", "unexpected end of string", #text + 1) end
    spend(stop - place)
    if stop > place then out[#out + 1] = sub(text, place, stop - 1) end
    local mark = byte(text, stop)
    if mark == 34 then return concat(out), stop + 1 end
    if mark == 92 then
      out[#out + 1], place = unescape(text, stop)
    else
      invalid("value", "unexpected end of string", stop)
    end
  end
end

local value_at

local function blank(text, place)
  return find(text, "[^ \t\n\r]", place) or #text + 1
end

local function found(text, place)
  local letter = sub(text, place, place)
  if letter == "" then return "T_END" end
  local names = { ["{"] = "T_OBJ_BEGIN", ["}"] = "T_OBJ_END", ["["] = "T_ARR_BEGIN", ["]"] = "T_ARR_END",
    [","] = "T_COMMA", [":"] = "T_COLON", ['"'] = "T_STRING" }
  if names[letter] then return names[letter] end
  if find(letter, "[%d-]") then return "T_NUMBER" end
  if find(text, "^true", place) or find(text, "^false", place) then return "T_BOOLEAN" end
  if find(text, "^null", place) then return "T_NULL" end
  return "invalid token"
end

local function too_deep(depth, place)
  if depth > settings.decode_deep then
    error(format("Found too many nested data structures (%d) at character %d", depth, place), 0)
  end
end

local function array_at(text, place, depth)
  too_deep(depth, place)
  local out, count = {}, 0
  place = blank(text, place + 1)
  if byte(text, place) == 93 then return out, place + 1 end
  while true do
    count = count + 1
    out[count], place = value_at(text, place, depth)
    place = blank(text, place)
    local mark = byte(text, place)
    if mark == 93 then return out, place + 1 end
    if mark ~= 44 then invalid("comma or array end", found(text, place), place) end
    place = blank(text, place + 1)
  end
end

local function object_at(text, place, depth)
  too_deep(depth, place)
  local out, key = {}, nil
  place = blank(text, place + 1)
  if byte(text, place) == 125 then return out, place + 1 end
  while true do
    if byte(text, place) ~= 34 then invalid("object key string", found(text, place), place) end
    key, place = string_at(text, place + 1)
    place = blank(text, place)
    if byte(text, place) ~= 58 then invalid("colon", found(text, place), place) end
    out[key], place = value_at(text, blank(text, place + 1), depth)
    place = blank(text, place)
    local mark = byte(text, place)
    if mark == 125 then return out, place + 1 end
    if mark ~= 44 then invalid("comma or object end", found(text, place), place) end
    place = blank(text, place + 1)
  end
end

local words = { { "^true", true }, { "^false", false }, { "^null", null } }

local function number_at(text, place)
  local _, last = find(text, "^-?%d+%.?%d*[eE]?[+-]?%d*", place)
  local digits = last and sub(text, place, last)
  local value = digits and not find(digits, "^-?0%d") and tonumber(digits)
  if not value then invalid("value", found(text, place) == "T_NUMBER" and "invalid number" or found(text, place), place) end
  return value, last + 1
end

function value_at(text, place, depth)
  local mark = byte(text, place)
  if mark == 34 then return string_at(text, place + 1) end
  if mark == 123 then return object_at(text, place, depth + 1) end
  if mark == 91 then return array_at(text, place, depth + 1) end
  for i = 1, 3 do
    local _, last = find(text, words[i][1], place)
    if last then return words[i][2], last + 1 end
  end
  return number_at(text, place)
end

local function decode(text)
  local value, place = value_at(text, blank(text, 1), 0)
  place = blank(text, place)
  if place <= #text then invalid("the end", found(text, place), place) end
  return value
end

function cjson.decode(...)
  if select("#", ...) ~= 1 then error("bad argument #1 to 'decode' (expected 1 argument)", 2) end
  local text = ...
  if type(text) == "number" then text = tostring(text) end
  if type(text) ~= "string" then
    error("bad argument #1 to 'decode' (string expected, got " .. type(text) .. ")", 2)
  end
  local ok, result = attempt(decode, text)
  if not ok then error(result, 2) end
  return result
end

local function bounded(field, most)
  return function(value)
    if value ~= nil then
      value = tonumber(value)
      if not value or value < 1 or value > most then
        error(format("bad argument #1 (expected integer between 1 and %d)", most), 2)
      end
      note_change()
      settings[field] = floor(value)
    end
    return settings[field]
  end
end

cjson.encode_max_depth = bounded("deep", 1000)
cjson.decode_max_depth = bounded("decode_deep", 1000)
cjson.encode_number_precision = bounded("precision", 14)

function cjson.encode_sparse_array(convert, ratio, safe)
  note_change()
  if convert ~= nil then settings.convert = not not convert end
  if ratio ~= nil then settings.ratio = tonumber(ratio) or settings.ratio end
  if safe ~= nil then settings.safe = tonumber(safe) or settings.safe end
  return settings.convert, settings.ratio, settings.safe
end

function cjson.encode_keep_buffer(keep) return keep ~= false end
function cjson.encode_invalid_numbers() return false end
function cjson.decode_invalid_numbers() return true end

return cjson
