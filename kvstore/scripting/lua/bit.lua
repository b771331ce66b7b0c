-- The library bit: LuaBitOp. Lua 5.1 has no operations on bits, Python has.

local host, arguments = ...
local combine, number, library, unpack, type = host.combine_bits, arguments.number, arguments.library, unpack, type

local bit = {}

-- The arguments are looked at in this order: the first, then from the last to the second.
local function numbers(words)
  words[1] = number(words, 1)
  for place = words.n, 2, -1 do words[place] = number(words, place) end
  return words
end

for _, name in ipairs { "band", "bor", "bxor" } do
  bit[name] = library(function(words)
    if words.n >= arguments.MOST_VALUES then arguments.refuse(words.n, "too many arguments") end
    return combine(name, unpack(numbers(words), 1, words.n))
  end)
end

for _, name in ipairs { "lshift", "rshift", "arshift", "rol", "ror" } do
  bit[name] = library(function(words)
    return combine(name, number(words, 1), number(words, 2))
  end)
end

bit.tobit = library(function(words) return combine("band", number(words, 1)) end)
bit.bnot = library(function(words) return combine("bxor", number(words, 1), -1) end)
bit.bswap = library(function(words) return host.swap_bytes(number(words, 1)) end)
bit.tohex = library(function(words)
  return host.to_hex(number(words, 1), words.n < 2 and 8 or number(words, 2))
end)

return bit
