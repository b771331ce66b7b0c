"""What the two clients share: requests as JSON lines, what a reply means to the caller, and how long to pause.

Every request carries an `id`, a number that its client never uses twice, and its reply must carry the same: a
connection on which a reply comes with another id is out of step and is given up, so that no reply is ever taken for
another's. A reply of result `invalid` may lack the id (the server may not have been able to read it); it belongs to
the oldest request.

What a reply means:

| result | error | the caller gets |
|---|---|---|
| success | | the value, or None |
| failure | "no such key" | KeyError; after a repeated `remove`, success (below) |
| failure | anything else: a full disk, a value that is not JSON, ... | RequestRefused |
| invalid | | ValueError |

Failures other than a missing key are not KeyErrors: a program that takes a KeyError of `remove` for "it was gone
already" must not hear it from a full disk. Nor are they retried: the server is there and has answered, and how long to
wait for room on its disk is for the caller to say.

Repeating is safe because every verb may be repeated: `insert` puts the same value again, `remove` does not return the
old one. When a reply is lost nobody knows whether the request was done. So a `remove` that is repeated after that and
finds no such key succeeds: most likely it is its own first attempt that took the key away, and in any case the key is
gone. What remains of the uncertainty: if another client acts on the same key between the attempts, the repeated
attempt comes after it; and an attempt that was given up for silence may still be done by a server that had stood still,
as a rule before its own repetition, since the server finds it waiting, but nothing on the wire promises that.

JSON is the standard library's here: it needs nothing installed, keeps integers of any size, and refuses NaN. Rejected:
orjson, some 15 microseconds faster per request, but it would write NaN as null.
"""

from __future__ import annotations

import json
import sys
from typing import Any, Final

from kvstore.base.errors import NO_SUCH_KEY

#: Silence, in seconds, after which a connection is given up and the request repeated.
REPLY_TIMEOUT_SECONDS: Final = 5.0

#: Pauses before another attempt, in seconds: the first, and the longest as they double.
FIRST_PAUSE_SECONDS: Final = 1
LONGEST_PAUSE_SECONDS: Final = 16

#: Characters of a senseless reply that are shown in a message.
_SHOWN_CHARACTERS: Final = 80

_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


class RequestRefused(Exception):
    """The server understood the request and will not do it now, for another reason than a missing key.

    Its text is the server's: `Errors writing to the log: ...` when its disk is full, for instance. See the module for
    why this is no KeyError.
    """


class Pauses:
    """How long to wait before each attempt: 1, 2, 4, ... seconds up to a ceiling, from the start after a success."""

    def __init__(self) -> None:
        self._seconds = FIRST_PAUSE_SECONDS

    def next(self) -> int:
        """The pause to make now, in seconds."""
        seconds, self._seconds = self._seconds, min(2 * self._seconds, LONGEST_PAUSE_SECONDS)
        return seconds

    def reset(self) -> None:
        """Begin again with the shortest: a request succeeded."""
        self._seconds = FIRST_PAUSE_SECONDS


def report_on_stderr(message: str) -> None:
    """Say on the standard error stream what goes wrong and what is done about it. `message`: one line."""
    sys.stderr.write(f"kvstore: {message}\n")  # one write: several clients may share a terminal
    sys.stderr.flush()


def encode_request(serial: int, method: str, arguments: dict[str, Any]) -> bytes:
    """The line of a request, with its line end.

    `serial`: the id. `arguments`: the other members. Raises TypeError or ValueError if they cannot be JSON (the
    caller's fault).
    """
    return _encode({"id": serial, "method": method, **arguments}).encode("ascii") + b"\n"


def decode_reply(line: bytes, serial: int | None) -> dict[str, Any]:
    """The reply in one line, to the request `serial` (None: no request is outstanding).

    Raises ConnectionError if the line is anything else: the connection is out of step.
    """
    try:
        reply = json.loads(line)
    except (ValueError, RecursionError):
        reply = None
    if not isinstance(reply, dict) or reply.get("result") not in ("success", "failure", "invalid"):
        raise ConnectionError(f"the reply makes no sense: {line[:_SHOWN_CHARACTERS]!r}")
    nameless = reply["result"] == "invalid" and reply.get("id") is None
    if serial is None or not (nameless or reply.get("id") == serial):
        raise ConnectionError("a reply came that belongs to no request")
    return reply


def outcome(reply: dict[str, Any], method: str, key: str | None, repeated: bool) -> Any:
    """What the caller gets for a reply: returns the value, or None; raises as the module's table says.

    `key`: the key of the request, if it has one. `repeated`: an earlier attempt of the same request may have been done.
    """
    if reply["result"] == "success":
        return reply.get("value")
    error = str(reply.get("error"))
    if reply["result"] == "invalid":
        raise ValueError(error)
    if error.removeprefix("ERR ") != NO_SUCH_KEY:
        raise RequestRefused(error)
    if method == "remove" and repeated:
        return None
    raise KeyError(key)
