-- The library struct: values in and out of the bytes of C's structures. The format: a letter for each value.

local host, guard, arguments = ...
local library, refuse, spend = arguments.library, arguments.refuse, guard.spend
local error, tonumber, type = error, tonumber, type
local concat, find, format, rep, sub = table.concat, string.find, string.format, string.rep, string.sub
local ceil, floor, frexp = math.ceil, math.floor, math.frexp

local INT_MAX, LARGEST_INTEGER = 2147483647, 32
local SIZES = { b = 1, B = 1, h = 2, H = 2, l = 8, L = 8, T = 8, f = 4, d = 8, x = 1 }
local INTEGERS = { b = true, B = true, h = true, H = true, l = true, L = true, T = true, i = true, I = true }
-- Its bytes, by their number: Lua's numbers come to Python without the sign of a zero.
local MINUS_ZERO = { [4] = "\0\0\0\128", [8] = "\0\0\0\0\0\0\0\128" }

-- A format that is read: how far, in which order bytes are, and what is aligned at most to how many.
local function reading(text)
  return { text = sub(text, 1, (find(text, "%z") or 0) - 1), place = 1, little = true, align = 1 }
end

local function digits(reader, otherwise)
  local _, last = find(reader.text, "^%d+", reader.place)
  if not last then return otherwise end
  local value = tonumber(sub(reader.text, reader.place, last))
  if value > INT_MAX then error("integral size overflow", 0) end
  reader.place = last + 1
  return value
end

local function size_of(letter, reader)
  if letter == "c" then return digits(reader, 1) end
  if letter ~= "i" and letter ~= "I" then return SIZES[letter] or 0 end
  local size = digits(reader, 4)
  if size > LARGEST_INTEGER then
    error(format("integral size %d is larger than limit of %d", size, LARGEST_INTEGER), 0)
  end
  return size
end

-- The next letter of a format, the bytes that its value takes, and those before it. offset: where it is.
local function following(reader, offset)
  local letter = sub(reader.text, reader.place, reader.place)
  if letter == "" then return nil end
  reader.place = reader.place + 1
  local size = size_of(letter, reader)
  local aligned = size > reader.align and reader.align or size
  if aligned <= 1 or letter == "c" then return letter, size, 0 end
  return letter, size, host.padding(offset, aligned)
end

-- A letter that stands for no value.
local function control(letter, reader)
  if letter == " " then return end
  if letter == "<" or letter == ">" then
    reader.little = letter == "<"
  elseif letter == "!" then
    local align = digits(reader, 8)
    if frexp(align) ~= 0.5 then error(format("alignment %d is not a power of 2", align), 0) end
    reader.align = align
  else
    refuse(1, format("invalid format option '%s'", letter))
  end
end

local function float_bytes(number, size, little)
  if number ~= 0 or 1 / number > 0 then return host.pack_float(number, size, little) end
  local bytes = MINUS_ZERO[size]
  return little and bytes or bytes:reverse()
end

-- Of a string that is too short C counts one argument too far.
local function string_bytes(words, place, size)
  local text = arguments.string(words, place)
  if size == 0 then return text end
  if #text < size then refuse(place + 1, "string too short") end
  return sub(text, 1, size)
end

local struct = {}

struct.pack = library(function(words)
  words.n = words.n + 1 -- behind the arguments C has a mark, which is nil
  local reader, out, place, total = reading(arguments.string(words, 1)), {}, 1, 0
  while true do
    local letter, size, before = following(reader, total)
    if not letter then return concat(out) end
    local bytes = ""
    if letter == "x" then
      bytes = "\0"
    elseif INTEGERS[letter] then
      place = place + 1
      bytes = host.pack_integer(arguments.number(words, place), size, reader.little)
    elseif letter == "f" or letter == "d" then
      place = place + 1
      bytes = float_bytes(arguments.number(words, place), size, reader.little)
    elseif letter == "c" or letter == "s" then
      place = place + 1
      bytes = string_bytes(words, place, size)
      if letter == "s" then bytes = bytes .. "\0" end
    else
      control(letter, reader)
    end
    total = total + before + #bytes
    out[#out + 1] = rep("\0", before) .. bytes
    spend(#bytes)
  end
end)

local function check_length(data, offset, size)
  if not (size >= 0 and offset >= 0 and offset <= #data - size) then refuse(2, "data string too short") end
end

-- The length that was read before a "c0", in whose place its string comes.
local function length_before(out, count)
  local size = count > 0 and (type(out[count]) == "number" or type(out[count]) == "string") and tonumber(out[count])
  if not size then error("format 'c0' needs a previous size", 0) end
  return size < 0 and ceil(size) or floor(size)
end

struct.unpack = library(function(words)
  local reader, data = reading(arguments.string(words, 1)), arguments.string(words, 2)
  local offset = arguments.integer(words, 3, 1) - 1
  if offset == -1 then refuse(3, "offset must be 1 or greater") end
  local out, count = {}, 0
  while true do
    local letter, size, before = following(reader, offset)
    if not letter then break end
    offset = offset + before
    check_length(data, offset, size)
    if count + 5 > arguments.MOST_VALUES then error("stack overflow (too many results)", 0) end
    local value
    if INTEGERS[letter] then
      value = host.unpack_integer(sub(data, offset + 1, offset + size), letter == letter:lower(), reader.little)
    elseif letter == "f" or letter == "d" then
      value = host.unpack_float(sub(data, offset + 1, offset + size), reader.little)
    elseif letter == "c" then
      if size == 0 then
        size = length_before(out, count)
        count = count - 1
        check_length(data, offset, size)
      end
      value = sub(data, offset + 1, offset + size)
    elseif letter == "s" then
      local zero = find(data, "\0", offset + 1, true)
      if not zero then error("unfinished string in data", 0) end
      size = zero - offset
      value = sub(data, offset + 1, zero - 1)
    elseif letter ~= "x" then
      control(letter, reader)
    end
    if value ~= nil then
      count = count + 1
      out[count] = value
    end
    offset = offset + size
  end
  out[count + 1] = offset + 1
  return out, count + 1
end)

struct.size = library(function(words)
  local reader, total = reading(arguments.string(words, 1)), 0
  while true do
    local letter, size, before = following(reader, total)
    if not letter then return total end
    if letter == "s" then refuse(1, "option 's' has no fixed size") end
    if letter == "c" and size == 0 then refuse(1, "option 'c0' has no fixed size") end
    if not find(letter, "^%w") then control(letter, reader) end
    total = total + before + size
  end
end)

return struct
