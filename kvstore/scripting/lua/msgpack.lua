-- The library cmsgpack: MessagePack, written in Lua, so the limits of time and memory hold in it.

local host, guard, arguments = ...
local library, refuse, spend = arguments.library, arguments.refuse, guard.spend
local error, next, rawget, type = error, next, rawget, type
local byte, char, concat, floor, format, sub = string.byte, string.char, table.concat, math.floor, string.format, string.sub

-- A table in more others than that is nil.
local MOST_NESTED = 16
-- The places that C has for what it has not finished; a value takes one, an open array two.
local MOST_PLACES = 8000
local TOO_MANY = "stack overflow (too many return values at once; use unpack_one or unpack_limit instead.)"

-- Packing ------------------------------------------------------------------------------------------------------------

local function two(n) return char(floor(n / 256) % 256, n % 256) end
local function four(n) return two(floor(n / 65536)) .. two(n % 65536) end
local function eight(n) return four(floor(n / 4294967296)) .. four(n % 4294967296) end

local function integer(n)
  if n >= 0 then
    if n < 128 then return char(n) end
    if n < 256 then return "\204" .. char(n) end
    if n < 65536 then return "\205" .. two(n) end
    if n < 4294967296 then return "\206" .. four(n) end
    return "\207" .. eight(n)
  end
  if n >= -32 then return char(n % 256) end
  if n >= -128 then return "\208" .. char(n % 256) end
  if n >= -32768 then return "\209" .. two(n) end
  if n >= -2147483648 then return "\210" .. four(n) end
  return "\211" .. eight(n)
end

local function number(n)
  if n == floor(n) and n >= -9223372036854775808 and n < 9223372036854775808 then return integer(n) end
  local short = host.pack_float(n, 4, false)
  if host.unpack_float(short, false) == n then return "\202" .. short end
  return "\203" .. host.pack_float(n, 8, false)
end

-- What stands before `count` elements. few: the byte for none of them, which the number is added to.
local function head(count, few, many)
  if count < 16 then return char(few + count) end
  if count < 65536 then return char(many) .. two(count) end
  return char(many + 1) .. four(count)
end

local function string_head(size)
  if size < 32 then return char(160 + size) end
  if size < 256 then return "\217" .. char(size) end
  if size < 65536 then return "\218" .. two(size) end
  return "\219" .. four(size)
end

-- How many entries a table has, and whether it is an array.
local function measure(t)
  local count, most, is_array = 0, 0, true
  for key in next, t do
    count = count + 1
    if is_array and type(key) == "number" and key > 0 and key == floor(key) and key < 2147483648 then
      if key > most then most = key end
    else
      is_array = false
    end
  end
  return count, is_array and most == count
end

local put

local function put_table(out, t, level)
  local count, is_array = measure(t)
  if is_array then
    out[#out + 1] = head(count, 144, 220)
    for i = 1, count do put(out, rawget(t, i), level) end
    return
  end
  out[#out + 1] = head(count, 128, 222)
  for key, value in next, t do
    put(out, key, level)
    put(out, value, level)
  end
end

function put(out, value, level)
  local kind = type(value)
  if kind == "string" then
    spend(#value)
    out[#out + 1] = string_head(#value)
    out[#out + 1] = value
  elseif kind == "number" then
    out[#out + 1] = number(value)
  elseif kind == "boolean" then
    out[#out + 1] = value and "\195" or "\194"
  elseif kind == "table" and level < MOST_NESTED then
    put_table(out, value, level + 1)
  else
    out[#out + 1] = "\192"
  end
end

-- Unpacking ----------------------------------------------------------------------------------------------------------

-- A value that begins at `place`, and the place behind it. places: how many are taken, see MOST_PLACES.
local value_at

local function array_at(text, place, length, places)
  if places + 2 > MOST_PLACES then error("stack overflow (in function mp_decode_to_lua_array)", 0) end
  local out = {}
  for i = 1, length do
    out[i], place = value_at(text, place, places + 2)
  end
  return out, place
end

local function map_at(text, place, length, places)
  local out, key, value = {}, nil, nil
  for _ = 1, length do
    key, place = value_at(text, place, places + 1)
    value, place = value_at(text, place, places + 2)
    if key == nil then refuse(nil, "table index is nil") end
    if key ~= key then refuse(nil, "table index is NaN") end
    out[key] = value
  end
  return out, place
end

local function string_at(text, place, length)
  if place + length - 1 > #text then error("Missing bytes in input.", 0) end
  spend(length)
  return sub(text, place, place + length - 1), place + length
end

local function unsigned(text, place, size)
  if place + size - 1 > #text then error("Missing bytes in input.", 0) end
  local value = 0
  for i = place, place + size - 1 do value = value * 256 + byte(text, i) end
  return value
end

local function unsigned_at(text, place, size)
  return unsigned(text, place, size), place + size
end

local function signed_at(text, place, size)
  local value = unsigned(text, place, size)
  local all = 256 ^ size
  return value >= all / 2 and value - all or value, place + size
end

-- Both kinds of 8 bytes are read with a sign.
local function long_at(text, place)
  unsigned(text, place, 8)
  return host.unpack_integer(sub(text, place, place + 7), true, false), place + 8
end

local function float_at(text, place, size)
  unsigned(text, place, size)
  return host.unpack_float(sub(text, place, place + size - 1), false), place + size
end

-- What follows a length of so many bytes.
local function behind(at)
  return function(text, place, size, places)
    return at(text, place + size, unsigned(text, place, size), places)
  end
end

local string_behind, array_behind, map_behind = behind(string_at), behind(array_at), behind(map_at)

-- By the first byte: what reads the rest, and the bytes of its number or length.
local READ = {
  [0xca] = { float_at, 4 }, [0xcb] = { float_at, 8 },
  [0xcc] = { unsigned_at, 1 }, [0xcd] = { unsigned_at, 2 }, [0xce] = { unsigned_at, 4 }, [0xcf] = { long_at, 8 },
  [0xd0] = { signed_at, 1 }, [0xd1] = { signed_at, 2 }, [0xd2] = { signed_at, 4 }, [0xd3] = { long_at, 8 },
  [0xd9] = { string_behind, 1 }, [0xda] = { string_behind, 2 }, [0xdb] = { string_behind, 4 },
  [0xdc] = { array_behind, 2 }, [0xdd] = { array_behind, 4 }, [0xde] = { map_behind, 2 }, [0xdf] = { map_behind, 4 },
}

function value_at(text, place, places)
  local first = byte(text, place)
  if not first then error("Missing bytes in input.", 0) end
  if places + 1 > MOST_PLACES then error(TOO_MANY, 0) end
  place = place + 1
  if first < 0x80 then return first, place end
  if first < 0x90 then return map_at(text, place, first - 0x80, places) end
  if first < 0xa0 then return array_at(text, place, first - 0x90, places) end
  if first < 0xc0 then return string_at(text, place, first - 0xa0) end
  if first >= 0xe0 then return first - 256, place end
  if first == 0xc0 then return nil, place end
  if first == 0xc2 or first == 0xc3 then return first == 0xc3, place end
  local read = READ[first]
  if not read then error("Bad data format in input.", 0) end
  return read[1](text, place, read[2], places)
end

-- The values from an offset on: all, if both are 0; else at most `limit`, behind the offset where they end.
local function unpacked(text, limit, offset)
  if offset < 0 or limit < 0 then
    error(format("Invalid request to unpack with offset of %d and limit of %d.", offset, #text), 0)
  end
  if offset > #text then error(format("Start offset %d greater than input length %d.", offset, #text), 0) end
  local out, count, place = {}, 0, offset + 1
  local all = limit == 0 and offset == 0
  local first = all and 0 or 1
  while place <= #text and (all or count < limit) do
    out[first + count + 1], place = value_at(text, place, 1 + count)
    count = count + 1
  end
  if not all then out[1] = place <= #text and place - 1 or -1 end
  if first + count > arguments.MOST_VALUES then error(TOO_MANY, 0) end
  return out, first + count
end

local cmsgpack = {
  _NAME = "cmsgpack",
  _VERSION = "lua-cmsgpack 0.4.0",
  _COPYRIGHT = "Copyright (C) 2012, Redis Ltd.",
  _DESCRIPTION = "MessagePack C implementation for Lua",
}

cmsgpack.pack = library(function(words)
  if words.n == 0 then refuse(0, "MessagePack pack needs input.") end
  local out = {}
  for place = 1, words.n do put(out, words[place], 0) end
  return concat(out)
end)

cmsgpack.unpack = library(function(words)
  return unpacked(arguments.string(words, 1), 0, 0)
end)

cmsgpack.unpack_one = library(function(words)
  local offset = arguments.integer(words, 2, 0)
  return unpacked(arguments.string(words, 1), 1, offset)
end)

cmsgpack.unpack_limit = library(function(words)
  local limit, offset = arguments.integer(words, 2), arguments.integer(words, 3, 0)
  return unpacked(arguments.string(words, 1), limit, offset)
end)

return cmsgpack
