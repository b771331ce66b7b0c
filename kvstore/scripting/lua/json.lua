-- The library cjson, written in Lua: so the limits of time and memory hold in it.

local guard, arguments, decode, null = ...
local library, refuse, spend = arguments.library, arguments.refuse, guard.spend
local error, ipairs, next, rawget, type = error, ipairs, next, rawget, type
local char, concat, floor, format, gsub, huge, sub =
  string.char, table.concat, math.floor, string.format, string.gsub, math.huge, string.sub

local INT_MAX = 2147483647
-- Characters that are looked at in one call of C.
local PIECE = 16384

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

local function number(value, settings)
  if value ~= value or value == huge or value == -huge then
    local mode = settings.encode_invalid
    if not mode then error("Cannot serialise number: must not be NaN or Inf", 0) end
    if mode == "null" then return "null" end
    if value ~= value then return "nan" end
  end
  return format("%." .. settings.precision .. "g", value)
end

-- The length of an array; nil for an object.
local function length_of(t, settings)
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

local function put_array(out, t, most, depth, settings)
  out[#out + 1] = "["
  for i = 1, most do
    if i > 1 then out[#out + 1] = "," end
    put(out, rawget(t, i), depth, settings)
  end
  out[#out + 1] = "]"
end

local function put_object(out, t, depth, settings)
  out[#out + 1] = "{"
  local first = true
  for key, value in next, t do
    if not first then out[#out + 1] = "," end
    first = false
    if type(key) == "string" then
      out[#out + 1] = quoted(key)
    elseif type(key) == "number" then
      out[#out + 1] = '"' .. number(key, settings) .. '"'
    else
      error("Cannot serialise " .. type(key) .. ": table key must be a number or string", 0)
    end
    out[#out + 1] = ":"
    put(out, value, depth, settings)
  end
  out[#out + 1] = "}"
end

function put(out, value, depth, settings)
  local kind = type(value)
  if kind == "string" then
    out[#out + 1] = quoted(value)
  elseif kind == "number" then
    out[#out + 1] = number(value, settings)
  elseif kind == "boolean" then
    out[#out + 1] = value and "true" or "false"
  elseif value == nil or value == null then
    out[#out + 1] = "null"
  elseif kind == "table" then
    if depth >= settings.deep then
      error(format("Cannot serialise, excessive nesting (%d)", depth + 1), 0)
    end
    local most = length_of(value, settings)
    if most then put_array(out, value, most, depth + 1, settings) else put_object(out, value, depth + 1, settings) end
  else
    error("Cannot serialise " .. kind .. ": type not supported", 0)
  end
end

-- Settings -----------------------------------------------------------------------------------------------------------

local function check_count(words, most)
  if words.n > most then refuse(most + 1, "found too many arguments") end
end

-- Set a number, if one is given at `place`; returns what it is then.
local function number_setting(settings, field, words, place, least, most)
  if words[place] ~= nil then
    local value = arguments.integer(words, place)
    if not (least <= value and value <= most) then
      refuse(1, format("expected integer between %d and %d", least, most))
    end
    settings[field] = value
  end
  return settings[field]
end

local function option_setting(settings, field, words, place, options)
  if type(words[place]) == "boolean" then
    settings[field] = words[place]
  elseif words[place] ~= nil then
    local option = arguments.string(words, place)
    if options[option] == nil then refuse(place, format("invalid option '%s'", option)) end
    settings[field] = options[option]
  end
  return settings[field]
end

local SWITCH = { off = false, on = true }
local INVALID = { off = false, on = true, null = "null" }

local make

function make()
  local settings
  local function reset()
    settings = { convert = false, ratio = 2, safe = 10, deep = 1000, decode_deep = 1000, precision = 14,
      encode_invalid = false, decode_invalid = true, keep = true }
  end
  reset()
  local note_change = guard.private(reset)
  local cjson = { null = null, _NAME = "cjson", _VERSION = "2.1.0" }

  cjson.encode = library(function(words)
    if words.n ~= 1 then refuse(1, "expected 1 argument") end
    local out = {}
    put(out, words[1], 0, settings)
    return concat(out)
  end)

  cjson.decode = library(function(words)
    if words.n ~= 1 then refuse(1, "expected 1 argument") end
    return decode(arguments.string(words, 1), settings)
  end)

  local function add_number(name, field, most)
    cjson[name] = library(function(words)
      check_count(words, 1)
      note_change()
      return number_setting(settings, field, words, 1, 1, most)
    end)
  end

  local function add_option(name, field, options)
    cjson[name] = library(function(words)
      check_count(words, 1)
      note_change()
      return option_setting(settings, field, words, 1, options)
    end)
  end

  add_number("encode_max_depth", "deep", INT_MAX)
  add_number("decode_max_depth", "decode_deep", INT_MAX)
  add_number("encode_number_precision", "precision", 14)
  add_option("encode_keep_buffer", "keep", SWITCH)
  add_option("encode_invalid_numbers", "encode_invalid", INVALID)
  add_option("decode_invalid_numbers", "decode_invalid", SWITCH)

  cjson.encode_sparse_array = library(function(words)
    check_count(words, 3)
    note_change()
    return {
      option_setting(settings, "convert", words, 1, SWITCH),
      number_setting(settings, "ratio", words, 2, 0, INT_MAX),
      number_setting(settings, "safe", words, 3, 0, INT_MAX),
    }, 3
  end)

  cjson.new = make
  return cjson
end

return make()
