-- What a search by a pattern may cost at worst: what goes on in C has no hooks, so it is counted before.

local guard = ...
local spend = guard.spend
local error, find, gmatch, gsub, sub = error, string.find, string.gmatch, string.gsub, string.sub

-- What one search may cost at worst: some 100 ms.
local MOST_STEPS = 20000000
-- A pattern is matched by recursion in C, a level for each of its items.
local LONGEST_PATTERN = 1000

-- Characters of a pattern that are looked at in one step.
local IN_A_STEP = 4

-- Of patterns, as long as they are few: to what power of the length a search takes steps, and how much each may be.
local powers, factors, known = {}, {}, 0

-- A pattern goes back at each quantifier with something behind it, so at worst it takes as many steps as the length to
-- the power of their number, from each place that it begins at.
local function power_of(p)
  local _, count = gsub(p, "[*+?-]", "")
  if find(p, "[*+?-]%)?$") then count = count - 1 end
  local _, more = gsub(p, "%%[b0-9]", "")
  return count + more + (sub(p, 1, 1) == "^" and 0 or 1)
end

-- A step goes through all that stands between two quantifiers, and any set.
local function factor_of(p)
  if find(p, "[", 1, true) then return #p end
  local longest = IN_A_STEP
  for piece in gmatch(p, "[^*+?-]+") do
    if #piece > longest then longest = #piece end
  end
  return longest / IN_A_STEP
end

local function measure(p)
  if #p > LONGEST_PATTERN then error("malformed pattern (too long)", 4) end
  if known >= 100 then powers, factors, known = {}, {}, 0 end
  powers[p], factors[p], known = power_of(p), factor_of(p), known + 1
end

-- Refuse a search that could take too long, and count it.
local function weigh(s, p)
  if not powers[p] then measure(p) end
  local power, factor = powers[p], factors[p]
  local cost = (#s + 1) ^ power * factor
  if cost > MOST_STEPS and (power > 1 or factor > 1) then
    error("the pattern could take too long on a string of that length", 3)
  end
  spend(cost)
end

return weigh
