-- Compiling: a script, and what a script itself compiles. No bytecode gets in.

local host, guard, arguments = ...
local spend, text, limit_memory = guard.spend, arguments.text, host.limit_memory
local error, ipairs, loadstring, select, setfenv, type = error, ipairs, loadstring, select, setfenv, type
local dump, gsub, sub, concat = string.dump, string.gsub, string.sub, table.concat

local compiling = {}

local REFUSED = "a function has more than two parameters and ...; take the others from ... by select"

-- Compile a source, for a script to run in `compiling.environment`; returns nil and why not.
local function compile(source, name)
  if #source > host.most_source then return nil, "chunk is too long" end
  local jumps = 0
  for _, word in ipairs { "and", "break", "elseif", "or" } do
    jumps = jumps + select(2, gsub(source, "%f[%w_]" .. word .. "%f[^%w_]", ""))
  end
  if jumps > host.most_jumps then return nil, "chunk has too many branches" end
  if sub(source, 1, 1) == "\27" then return nil, "bytecode is not loaded" end
  local chunk, fault = loadstring(source, name)
  if not chunk then return nil, fault end
  local code = host.patched(dump(chunk))
  if not code then return nil, REFUSED end
  return setfenv(loadstring(code), compiling.environment)
end

compiling.compile = compile

-- The same for a script, in which there may be no memory for the look at the code.
local function load_text(source, name)
  source = text(source, 1, "loadstring")
  spend(#source * 20)
  limit_memory(0)
  local chunk, fault = compile(source, name or source)
  limit_memory(guard.most_bytes)
  return chunk, fault
end

function compiling.loadstring(source, name)
  return load_text(source, name)
end

function compiling.load(reader, name)
  local pieces, size = {}, 0
  while true do
    local piece = reader()
    if piece == nil or piece == "" then break end
    if type(piece) ~= "string" then error("reader function must return a string", 0) end
    size = size + #piece
    if size > host.most_source then return nil, "chunk is too long" end
    pieces[#pieces + 1] = piece
  end
  return load_text(concat(pieces), name or "=(load)")
end

return compiling
