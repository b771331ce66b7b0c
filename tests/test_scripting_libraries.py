"""The libraries of scripts, compared with Valkey's: the same values, bytes and errors."""

from __future__ import annotations

import os

from tests.kit.harness import CommandTestCase
from tests.kit.library_calls import LibraryCalls
from tests.kit.pair import Pair
from tests.kit.valkey import ValkeyTestCase

#: Makes one list of strings of all that a call gives, or of its error.
_SHOW = r"""
local out
local function show(v)
  local kind = type(v)
  if kind == 'number' then out[#out + 1] = string.format('%.17g', v)
  elseif kind == 'table' then
    out[#out + 1] = '{'
    for k, x in pairs(v) do show(k) show(x) end
    out[#out + 1] = '}'
  elseif kind == 'string' then out[#out + 1] = 's' .. v
  elseif v == cjson.null then out[#out + 1] = 'null'
  else out[#out + 1] = tostring(v) end
end
local function all(...)
  out = {}
  for i = 1, select('#', ...) do show((select(i, ...))) end
  return out
end
return {
"""

#: What no chance makes: the ends of limits, and what they say.
_EDGES = r"""
cmsgpack.unpack(string.rep('\145', 3990) .. '\192')
cmsgpack.unpack(string.rep('\145', 5000))
cmsgpack.unpack('\221\255\255\255\255')
cmsgpack.unpack('\223\255\255\255\255\1\1')
cmsgpack.pack({{{{{{{{{{{{{{{{{{{{1}}}}}}}}}}}}}}}}}}}})
(function() local t = {} t[1] = t return cmsgpack.pack(t) end)()
cmsgpack.pack({[1] = 1, [2] = 2, [4] = 4}) == nil
cmsgpack.pack(string.rep('x', 300)):sub(1, 4)
cmsgpack.pack(string.rep('x', 70000)):sub(1, 6)
cmsgpack.pack({1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16})
cmsgpack.unpack('\129\192\1')
cmsgpack.unpack('\129\203\127\248\0\0\0\0\0\0\1')
{select('#', cmsgpack.unpack(string.rep('\1', 7000)))}
cmsgpack._NAME .. cmsgpack._VERSION .. cmsgpack._COPYRIGHT .. cmsgpack._DESCRIPTION
struct.unpack(string.rep('b', 8100), string.rep('x', 8100)) == 1
struct.unpack('s', 'abc')
('>I2'):len() + #struct.pack('>I2c0', 3, 'abc')
struct.unpack('>I2c0', '\0\3abcde')
struct.pack('c5', 'abc')
(function() local t = setmetatable({}, {__index = bit}) return t:bnot() end)()
(function() local f = bit.bnot return f('x') end)()
cjson._NAME .. cjson._VERSION .. tostring(cjson.null)
cjson.decode(string.rep('[', 1001) .. string.rep(']', 1001))
#cjson.encode(string.rep('"', 100000))
cjson.encode_max_depth(0)
cjson.encode_max_depth('x')
cjson.encode_max_depth(1, 2)
cjson.encode_number_precision(15)
cjson.encode_sparse_array(1, 'x')
cjson.encode_sparse_array(nil, -1)
cjson.encode_sparse_array(true, 1, 2, 3)
cjson.encode_invalid_numbers('x')
cjson.encode_invalid_numbers({})
(function(c) return c.encode_max_depth(3), pcall(c.encode, {{{{1}}}}) end)(cjson.new())
(function(c) return c.decode_max_depth(2), pcall(c.decode, '[[[1]]]') end)(cjson.new())
(function(c) return c.encode_number_precision(3), c.encode(1 / 3) end)(cjson.new())
(function(c) return c.encode_sparse_array(true), c.encode({[100] = 1}) end)(cjson.new())
(function(c) return c.encode_sparse_array(false, 1, 1), pcall(c.encode, {[3] = 1}) end)(cjson.new())
(function(c) return c.encode_invalid_numbers(true), c.encode(0/0), c.encode(1/0), c.encode(-1/0) end)(cjson.new())
(function(c) return c.encode_invalid_numbers('null'), c.encode(0/0), c.encode(-1/0) end)(cjson.new())
(function(c) return c.decode_invalid_numbers(false), pcall(c.decode, 'NaN') end)(cjson.new())
(function(c) return c.decode_invalid_numbers(false), pcall(c.decode, '[01]') end)(cjson.new())
(function(c) return c.encode_keep_buffer(false), c.encode(1), c.encode_keep_buffer() end)(cjson.new())
{cjson.encode_invalid_numbers(), cjson.decode_invalid_numbers(), cjson.encode_keep_buffer()}
{cjson.decode('[0x10, 0x1p4, 01, -.5, 1., NaN, -Infinity, inf, 1e, 0x]')}
cjson.decode('[0x10, 0x1p4, 01, -.5, 1., NaN, -Infinity, inf, 1e5]')
cjson.decode('\0[]')
cjson.decode('[]\0x')
cjson.encode_keep_buffer('x')
cjson.encode({[cjson.null] = 1})
cjson.encode(setmetatable({}, {__index = function() return 1 end}))
type(cjson.new)
""".strip("\n").split("\n")


class AgainstValkeyTests(ValkeyTestCase):
    """The same calls in Valkey."""

    def differences(self, calls: list[str]) -> list[str]:
        """Those calls that answer otherwise, called plainly and by pcall."""
        pair = Pair(self.valkey, 2)
        self.addCleanup(pair.close)
        found = []
        for first in range(0, len(calls), 20):
            some = calls[first : first + 20]
            if self.differs(pair, some):
                found += [difference for call in some if (difference := self.differs(pair, [call]))]
        return found

    def differs(self, pair: Pair, calls: list[str]) -> str:
        """How a script that makes these calls answers otherwise; the empty string: it does not."""
        ways = ["all(pcall(function() return %s end))", "all(pcall(%s))"]
        shown = [ways[0] % call for call in calls]
        for call in calls:
            name, _, inner = call.partition("(")
            if name.replace(".", "").replace("_", "").isalpha() and call.endswith(")") and call.count("(") == 1:
                shown.append(ways[1] % f"{name}{', ' if inner != ')' else ''}{inner[:-1]}")
        source = (_SHOW + ",\n".join(shown) + "}").encode()
        difference = pair.differs(0, [b"EVAL", source, b"0"])
        return f"{calls}: {difference}" if difference else ""

    def test_at_random(self) -> None:
        """Every one gives the same; more of them: KVSTORE_LIBRARY_CALLS=100000."""
        calls = LibraryCalls(1)
        made = [calls.make() for _ in range(int(os.environ.get("KVSTORE_LIBRARY_CALLS", "1500")))]
        self.assertEqual(self.differences(made), [])

    def test_edges(self) -> None:
        """So does what chance does not make."""
        self.assertEqual(self.differences(_EDGES), [])


class LimitTests(CommandTestCase):
    """What has no end in the libraries."""

    def test_endless(self) -> None:
        """Is stopped."""
        self.rig.server.script_ms = 20
        for source in (
            "while true do cmsgpack.unpack('\\221\\255\\255\\255\\255' .. ('\\192'):rep(100000)) end",
            "local t = {} for i = 1, 15 do t = {t, t, t, t} end return cmsgpack.pack(t)",
            "while true do bit.band(1, 2) end",
            "while true do pcall(struct.pack, 'x') end",
            "while true do cjson.decode('[' .. ('1,'):rep(10000) .. '1]') end",
        ):
            self.assertIn("took longer than 20 ms", self.error("EVAL", source, 0), source)
