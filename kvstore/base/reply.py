"""Reply values: what a command returns, before any grammar gives it bytes.

A command returns plain Python values; `wire` encodes them. The whole set:

| Python value | RESP2 | RESP3 |
|---|---|---|
| `bytes` | bulk string | bulk string |
| `str` | bulk string (UTF-8) | bulk string |
| `int` | integer | integer |
| `None` | null bulk `$-1` | null `_` |
| `NULL_ARRAY` | null array `*-1` | null `_` |
| `bool` | integer 1 or 0 | boolean |
| `float` | bulk string | double |
| `list`, `tuple`, `Strings` | array | array |
| `dict` | flat array | map |
| `set`, `frozenset`, `Distinct`, `Members` | array | set |
| `Pairs` | array of arrays of two | map |
| `Status` | simple string | simple string |
| `Verbatim` | bulk string | verbatim string `txt:` |
| `BigNumber` | bulk string | big number |
| `Attributed` | its reply | attributes, its reply |
| `JSONText` | bulk string | bulk string |
| `Help` | flat array | map |
| `Push` | array | push |
| `RequestError` (raised, or inside an array) | error | error |

A command that may take long returns a generator instead, which `advance` explains. Two more things are no reply value:

| a command returns | what happens |
|---|---|
| `Replies` | several replies to one request, one behind the other (SUBSCRIBE a b) |
| `Wait` | the client waits: `commands.waiting` |
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from types import GeneratorType
from typing import Any, NamedTuple, TypeAlias

Reply: TypeAlias = Any


class Status:
    """A simple string such as OK. `text`: ASCII, no CR or LF."""

    __slots__ = ("text", "wire")

    def __init__(self, text: str) -> None:
        self.text = text
        self.wire = b"+%b\r\n" % text.encode("ascii")

    def __repr__(self) -> str:
        return f"Status({self.text!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Status) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)


class Verbatim(str):
    """Text for a person (INFO, HELP): a verbatim string in RESP3, a bulk string in RESP2."""


class BigNumber(str):
    """An integer of any size, by its digits, as a script may return: a big number in RESP3, a bulk string in RESP2."""


class Attributed(NamedTuple):
    """A reply, and what a RESP3 client is told of it beside."""

    attributes: dict[Any, Any]
    reply: Any


class Help(dict[str, Any]):
    """What `help` tells: names with values for a program; `text`, lines each ended by LF, for a person who types."""

    def __init__(self, shown: dict[str, Any], text: str) -> None:
        super().__init__(shown)
        self.text = text


class Push(list[Any]):
    """An out-of-band message (pub/sub): a push in RESP3, an array in RESP2.

    `encoded`: its bytes, by version of RESP: it may go to many clients, and is encoded once.
    """

    __slots__ = ("encoded",)

    def __init__(self, elements: Iterable[Any]) -> None:
        super().__init__(elements)
        self.encoded: dict[int, Any] = {}


class JSONText:
    """A stored document. `text`: JSON on one line, UTF-8; the JSON-line grammar shows it as it is, not as a string."""

    __slots__ = ("text",)

    def __init__(self, text: bytes) -> None:
        self.text = text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, JSONText) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)


class Replies(list[Any]):
    """Several replies to one request. Inside an array: as many elements, not counted in its length (as in Redis)."""


class Numbers(list[bytes]):
    """Integers, by their digits: what many requests that execute as one answer, one each (`CommandTable.many`)."""


class Pairs(list[tuple[Any, Any]]):
    """Keys with a value each, in order; a key may come twice (XREAD)."""


class Map(list[tuple[Any, Any]]):
    """A map whose keys may be any values, as of a script, in order: names and values in turn in RESP2."""


class Strings(list[bytes]):
    """An array of nothing but strings: encoded without a look at each."""


class Members(list[bytes]):
    """A set of nothing but strings, each once: encoded without a look at each, in their order."""


class Distinct(list[Any]):
    """A set of any values, each once, in their order."""


class Arrays(list[Sequence[bytes]]):
    """The same of arrays of strings. Where several are one object, that is encoded once."""


class Scored(Arrays):
    """Arrays of a member and the digits of its score, a double in RESP3; or of nothing."""


class _NullArray:
    def __repr__(self) -> str:
        return "NULL_ARRAY"


NULL_ARRAY = _NullArray()


class Wait(NamedTuple):
    """There is no reply yet: see `commands.waiting`.

    `keys`: a change of one of them may bring it, after which it holds a value of the class `takes`. `until_ms`: when to
    wait no more, in milliseconds since the epoch; None: never. `again`: tries again; returns the reply, or None to wait
    on. `otherwise`: the reply where nobody may wait: in a block or a script; `timed_out`: when time is up, which is a
    null array in all of Redis's commands. `lost`: `again` is called, too, when one of the keys holds something else, or
    nothing.
    """

    keys: Sequence[bytes]
    takes: type
    until_ms: int | None
    again: Callable[[], Reply | None]
    otherwise: Reply
    timed_out: Reply = NULL_ARRAY
    lost: bool = False


OK = Status("OK")
PONG = Status("PONG")
QUEUED = Status("QUEUED")

#: Nothing goes out (SHUTDOWN: the closed connection is the answer).
NO_REPLY = Status("")
NO_REPLY.wire = b""


#: What a reply in slices yields, first of all, if it would rather not begin now; see `advance`.
NOT_NOW = object()


class NotNow(Exception):
    """A request has not begun: as if it had not come yet, it is to be executed later."""


class Paused(NotNow):
    """It is to be executed when a pause ends."""


def advance(reply: Reply) -> Reply:
    """Run the next slice of a reply that comes in slices; any other reply is returned as it is.

    A command that may take long returns a generator: it yields where others may have their turn, about every ms, and
    what it returns in the end is the reply. What it tells of the table it has read, or noted, before its first yield,
    so that it answers as of its place in the order; it changes nothing after that. Who executes it runs the first slice
    at once and the others by and by, and closes it if its client is gone.

    Returns the reply if that was its last slice, else the generator. Raises what the generator raises; NotNow if it
    would rather not begin: another `advance` makes it.
    """
    if reply.__class__ is GeneratorType:
        try:
            if next(reply) is NOT_NOW:
                raise NotNow
        except StopIteration as end:
            return end.value
    return reply


def finish(reply: Reply) -> Reply:
    """Run a reply that comes in slices to its end, at once; otherwise as `advance`. Nobody waits."""
    while reply.__class__ is GeneratorType:
        with suppress(NotNow):
            reply = advance(reply)
    return reply.otherwise if reply.__class__ is Wait else reply


def size_bytes(reply: Reply) -> int:
    """About how many bytes a reply comes to, in any grammar; what is short counts as _SHORT_BYTES."""
    kind = reply.__class__
    if kind is bytes or kind is str:
        return len(reply)
    if kind is JSONText:
        return len(reply.text)
    if isinstance(reply, dict):
        return size_bytes(list(reply)) + size_bytes(list(reply.values()))
    if isinstance(reply, (list, tuple, set, frozenset)):
        return _SHORT_BYTES * len(reply) + sum(map(size_bytes, reply))
    return _SHORT_BYTES


#: What an integer, a null or the head of a string takes.
_SHORT_BYTES = 8
