"""What the two clients share: requests as JSON lines, what a reply means to the caller, and how long to pause.

Every request carries an `id`, a number that its client never uses twice, and its reply must carry the same: a
connection on which a reply comes with another id is out of step and is given up, so that no reply is ever taken for
another's. A reply of result `invalid` may lack the id (the server may not have been able to read it); it belongs to
the oldest request.

A reply must also be of the kind that its request has: a number for `size`, pairs for `query`, a value for `lookup`, a
text with an error. On a connection where something else comes it is given up like one that is out of step: a server
that is broken, or none of ours, is waited for with words on stderr; its senseless values reach no caller.

What a reply means:

| result | error | the caller gets |
|---|---|---|
| success | | the value, or None |
| failure | "no such key" | KeyError; after a repeated `remove`, success (below) |
| failure | the server follows, in a group | nothing: it is as if there were no server |
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

A request goes on for ever unless its caller gave it a deadline; then it ends with DeadlineExceeded, which says whether
the request may have been done: it may as soon as the whole of it has left once.

JSON is the standard library's here: it needs nothing installed, keeps integers of any size, and refuses NaN. Rejected:
orjson, some 15 microseconds faster per request, but it would write NaN as null.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any, Final, NoReturn

from kvstore.base.errors import FOLLOWS, NO_SUCH_KEY, READ_ONLY
from kvstore.client.progress import write_on

#: Silence, in seconds, after which a connection is given up and the request repeated.
REPLY_TIMEOUT_SECONDS: Final = 5.0

#: Pauses before another attempt, in seconds: the first, and the longest as they double.
FIRST_PAUSE_SECONDS: Final = 1
LONGEST_PAUSE_SECONDS: Final = 16

#: Characters of a senseless reply that are shown in a message.
_SHOWN_CHARACTERS: Final = 80

_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_decode = json.JSONDecoder(parse_constant=_no_constant).decode


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _are_pairs(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str) and isinstance(pair[1], dict)
        for pair in value
    )


#: What the value of a verb's reply must be; other verbs' replies have none that anybody looks at.
_FITTING: Final[dict[str, Callable[[Any], bool]]] = {
    "lookup": lambda value: True,
    "size": _is_count,
    "query": _are_pairs,
}


class RequestRefused(Exception):
    """The server understood the request and will not do it now, for another reason than a missing key.

    Its text is the server's: `Errors writing to the log: ...` when its disk is full, for instance. See the module for
    why this is no KeyError.
    """


class DeadlineExceeded(TimeoutError):
    """The time that the caller gave for a request is over.

    `may_be_done`: whether the request may have been done, or may still be done by a server that stands still; False if
    the whole of it never left.
    """

    def __init__(self, method: str, seconds: float, target: str, may_be_done: bool) -> None:
        fate = "it may or may not have been done" if may_be_done else "it was not done, since it was never sent"
        super().__init__(f"{method} had no answer from {target} in {seconds:g} s: {fate}")
        self.may_be_done = may_be_done
        self._arguments = (method, seconds, target, may_be_done)

    def __reduce__(self) -> tuple[type[DeadlineExceeded], tuple[str, float, str, bool]]:
        return type(self), self._arguments  # to be raised in another process, as a pool's workers do


class Pauses:
    """How long to wait before each attempt: 1, 2, 4, ... seconds up to a ceiling, from the start after a success.

    `servers`: that are tried in turns; there is a pause when all of them have failed. `failed`: how many attempts have
    failed so far, of which the next server follows.
    """

    def __init__(self, servers: int = 1) -> None:
        self._servers = servers
        self.failed = 0
        self._seconds = FIRST_PAUSE_SECONDS

    def next(self) -> int:
        """The pause to make now, in seconds."""
        self.failed += 1
        if self.failed % self._servers:
            return 0
        seconds, self._seconds = self._seconds, min(2 * self._seconds, LONGEST_PAUSE_SECONDS)
        return seconds

    def reset(self) -> None:
        """Begin again with the shortest: a request succeeded."""
        self._seconds = FIRST_PAUSE_SECONDS


def report_on_stderr(message: str) -> None:
    """Say on the standard error stream what goes wrong and what is done about it. `message`: one line.

    Where there is no such stream, or it is closed or broken, nobody hears it, and nothing else happens.
    """
    write_on(sys.stderr, f"kvstore: {message}\n")  # one write: several clients may share a terminal


def encode_request(serial: int, method: str, arguments: dict[str, Any]) -> bytes:
    """The line of a request, with its line end.

    `serial`: the id. `arguments`: the other members. Raises TypeError or ValueError if they cannot be JSON (the
    caller's fault).
    """
    return _encode({"id": serial, "method": method, **arguments}).encode("ascii") + b"\n"


def decode_reply(line: bytes | bytearray, serial: int, method: str) -> dict[str, Any]:
    """The reply in one line, to the request `serial` for `method`.

    Raises ConnectionError if the line is anything else: the connection is out of step, or the server none of ours; and
    if the server does not lead its group: it has done nothing, and another will.
    """
    try:
        reply = _decode(line.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError):
        reply = None
    if not isinstance(reply, dict) or not _makes_sense(reply, method):
        raise ConnectionError(f"the reply makes no sense: {bytes(line[:_SHOWN_CHARACTERS])!r}")
    identity = reply.get("id")
    nameless = reply["result"] == "invalid" and identity is None
    if not nameless and (type(identity) is not int or identity != serial):
        raise ConnectionError("a reply came that belongs to no request")
    if reply["result"] == "failure" and reply["error"].startswith((READ_ONLY, FOLLOWS)):
        raise ConnectionError("the server does not lead its group")
    return reply


def _makes_sense(reply: dict[str, Any], method: str) -> bool:
    if reply.get("result") == "success":
        return method not in _FITTING or ("value" in reply and _FITTING[method](reply["value"]))
    return reply.get("result") in ("failure", "invalid") and isinstance(reply.get("error"), str)


def outcome(reply: dict[str, Any], method: str, key: str | None, repeated: bool) -> Any:
    """What the caller gets for a reply: returns the value, or None; raises as the module's table says.

    `key`: the key of the request, if it has one. `repeated`: an earlier attempt of the same request may have been done.
    """
    if reply["result"] == "success":
        return reply["value"] if method in _FITTING else None
    error: str = reply["error"]
    if reply["result"] == "invalid":
        raise ValueError(error)
    if error.removeprefix("ERR ") != NO_SUCH_KEY:
        raise RequestRefused(error)
    if method == "remove" and repeated:
        return None
    raise KeyError(key)
