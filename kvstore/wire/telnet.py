"""What telnet puts among the words that a person types: its commands, and Ctrl-D.

A telnet command is the byte IAC (0xFF), a code and, for some codes, an option (RFC 854). They come where a line
begins, or in the middle of one:

- DO and WILL ask for an option. We have none: the answer is WONT or DONT. After Ctrl-C telnet asks DO TIMING-MARK and
  shows nothing until it is answered.
- IP (Ctrl-C) and EL (erase line): what was typed of the line so far is dropped.
- IAC IAC is the byte 0xFF, which is no part of any UTF-8 text.
- The rest (a subnegotiation up to IAC SE, AYT, NOP, ...) is nothing. So is a code that is none: both bytes stay.

Ctrl-D is the byte 0x04 where a line begins; no line end follows it.
"""

from __future__ import annotations

import re

from kvstore.base.limits import MAX_HEADER_BYTES
from kvstore.wire.words import too_big

IAC = 0xFF
CTRL_D = b"\x04"
_IP, _EL, _WILL, _WONT, _DO, _DONT = 0xF4, 0xF8, 0xFB, 0xFC, 0xFD, 0xFE
_REFUSALS = {_DO: _WONT, _WILL: _DONT}
_ERASING = (_IP, _EL)

#: A command with an option, a subnegotiation (of a length that clients send), a command without, the byte itself.
_COMMAND = re.compile(rb"\xff(?:[\xfb-\xfe].|\xfa.{0,64}?\xff\xf0|[\xec-\xf9]|\xff)", re.DOTALL)
#: Those of them that can be told from what follows at any cut, and stand for nothing.
_AT_FRONT = re.compile(rb"(?:\xff(?:[\xfb-\xfe].|[\xec-\xf9]))+", re.DOTALL).match


class Negotiation(bytes):
    """What telnet is to be answered, in the order of the requests; these bytes are the whole reply."""

    __slots__ = ()


def take_front(line: bytes) -> tuple[bytes, list[Negotiation]]:
    """Take the commands off the beginning of a line that need not be whole yet. Returns the rest, and the answers."""
    found = _AT_FRONT(line)
    if found is None:
        return line, []
    return line[found.end() :], _read(found[0])[1]


def take(line: bytes) -> tuple[bytes, list[Negotiation]]:
    """Take all commands out of a whole line. Returns what is left, and the answers.

    Raises ProtocolError for more of them than a line of Redis's size could hold: each takes some steps of Python.
    """
    if line.count(IAC) > MAX_HEADER_BYTES:
        raise too_big()
    return _read(line)


def _read(line: bytes) -> tuple[bytes, list[Negotiation]]:
    kept: list[bytes] = []
    answers: list[Negotiation] = []
    position = 0
    for found in _COMMAND.finditer(line):
        kept.append(line[position : found.start()])
        position = found.end()
        code = found[0][1]
        if code in _REFUSALS:
            answers.append(Negotiation((IAC, _REFUSALS[code], found[0][2])))
        elif code in _ERASING:
            kept.clear()
        elif code == IAC:
            kept.append(found[0][:1])
    return b"".join(kept) + line[position:], answers
