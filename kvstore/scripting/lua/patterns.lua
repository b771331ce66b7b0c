-- What a search by a pattern may cost at worst: what goes on in C has no hooks, so it is counted before.

local guard = ...
local spend = guard.spend
local error, find, gsub, sub = error, string.find, string.gsub, string.sub

-- What one search may cost at worst: some 100 ms.
local MOST_STEPS = 20000000
-- A pattern is matched by recursion in C, a level for each of its items.
local LONGEST_PATTERN = 1000

-- Refuse a search that could take too long, and count it. A pattern goes back at each quantifier with something behind
-- it, so at worst it takes as many steps as the length to the power of their number, from each place that it begins at.
local quantifiers = {}
local patterns = 0

local function power_of(p)
  local power = quantifiers[p]
  if power then return power end
  if #p > LONGEST_PATTERN then error("malformed pattern (too long)", 4) end
  local _, count = gsub(p, "[*+?-]", "")
  if find(p, "[*+?-]%)?$") then count = count - 1 end
  local _, more = gsub(p, "%%[b0-9]", "")
  power = count + more + (sub(p, 1, 1) == "^" and 0 or 1)
  if patterns >= 100 then quantifiers, patterns = {}, 0 end
  quantifiers[p], patterns = power, patterns + 1
  return power
end

local function weigh(s, p)
  local power, size = power_of(p), #s
  if power <= 1 then
    if size > 1000 then spend(size * (find(p, "[", 1, true) and #p or 1)) end
    return
  end
  local cost = (size + 1) ^ power * (find(p, "[", 1, true) and #p or 1)
  if cost > MOST_STEPS then
    error("the pattern could take too long on a string of that length", 3)
  end
  spend(cost)
end

return weigh
