"""What Lua's compiler has made of a script, looked at and changed before it runs.

- **Tail calls become calls.** An error says in which line it was raised; `return server.call(...)` would have left the
  script by then, as in Redis it has not: there `server.call` is a function in C. So a script recurses 20,000 deep at
  most, by tail calls too.
- **Functions that Lua 5.1.5 calls with too little stack are refused** (CVE-2014-5461): with fixed parameters and `...`,
  called with fewer arguments, they write past it. What every stack has to spare covers two missing ones.

Format: Lua 5.1's ldump.c, on a machine with 8 bytes for a size_t and little end first. Scripts never get any bytecode
in or out; this is the compiler's own.
"""

from __future__ import annotations

from array import array

#: As many parameters may stand before `...`.
MOST_PARAMETERS = 2

_HEADER = b"\x1bLua\x51\x00\x01\x04\x08\x04\x08\x00"
_TAILCALL, _CALL, _SETLIST = 29, 28, 34
_IS_VARARG = 2
#: Of a constant, by its type: nil, boolean, number; a string is none of a fixed size.
_CONSTANT_BYTES = {0: 0, 1: 1, 3: 8}


class TooManyParameters(Exception):
    """A function has more than MOST_PARAMETERS parameters, and `...`."""


def patched(dump: bytes) -> bytes:
    """A compiled chunk as it may run. Raises TooManyParameters."""
    assert dump.startswith(_HEADER), "another Lua than 5.1 on this machine"
    code = bytearray(dump)
    _Function(code).read(len(_HEADER))
    return bytes(code)


class _Function:
    """Reads functions one behind the other, each with those inside it; changes the instructions in place."""

    def __init__(self, code: bytearray) -> None:
        self._code = code

    def _integer(self, place: int) -> int:
        return int.from_bytes(self._code[place : place + 4], "little")

    def _past_string(self, place: int) -> int:
        return place + 8 + int.from_bytes(self._code[place : place + 8], "little")

    def read(self, place: int) -> int:
        """Read the function at `place`; returns where the next thing is."""
        place = self._past_string(place) + 8
        _, parameters, is_vararg, _ = self._code[place : place + 4]
        if is_vararg & _IS_VARARG and parameters > MOST_PARAMETERS:
            raise TooManyParameters
        place = self._past_constants(self._past_instructions(place + 4))
        count, place = self._integer(place), place + 4
        for _ in range(count):
            place = self.read(place)
        return self._past_names(place)

    def _past_instructions(self, place: int) -> int:
        end = place + 4 + 4 * self._integer(place)
        instructions = array("I", bytes(self._code[place + 4 : end]))
        skip = False  # what follows a SETLIST of many elements is a number
        for i, instruction in enumerate(instructions):
            operation = instruction & 63
            if not skip and operation == _TAILCALL:
                instructions[i] = instruction - _TAILCALL + _CALL
            skip = not skip and operation == _SETLIST and not instruction >> 14 & 511
        self._code[place + 4 : end] = instructions.tobytes()
        return end

    def _past_constants(self, place: int) -> int:
        count, place = self._integer(place), place + 4
        for _ in range(count):
            kind = self._code[place]
            place += 1
            place = self._past_string(place) if kind == 4 else place + _CONSTANT_BYTES[kind]
        return place

    def _past_names(self, place: int) -> int:
        """Behind what errors tell: lines, names of variables."""
        place += 4 + 4 * self._integer(place)
        count, place = self._integer(place), place + 4
        for _ in range(count):
            place = self._past_string(place) + 8
        count, place = self._integer(place), place + 4
        for _ in range(count):
            place = self._past_string(place)
        return place
