"""Replies as JSON lines, and how bytes are shown as JSON strings.

A reply is one line: `{"result":"success"}`, with `"value"` where there is one, `{"result":"failure","error":...}` or
`{"result":"invalid","error":...}`; the request's `"id"`, if it had one, comes last. A stored document (`JSONText`) is
part of the line as it is, never parsed, and not copied if it is long (see `pieces`).

Keys are bytes in the table and strings in JSON. Every JSON string is a key, and two different strings are two
different keys: `text_to_key` (of the commands' arguments) is UTF-8, where a lone surrogate (JSON's escapes can write
one, UTF-8 cannot) becomes the three bytes that UTF-8's scheme would give it. `bytes_to_text` goes back. Bytes that no
JSON string gives (a RESP client put them there) are shown as Python's surrogateescape shows them: UTF-8 where it is
UTF-8, each other byte 0xNN as the lone surrogate U+DCNN. Nothing is lost to the eye, but such a text is, read as a key,
another key: `bytes_to_text` cannot be undone there. Rejected: to read U+DCNN back as byte 0xNN, for then two different
JSON strings could be one key.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable
from typing import Any

from kvstore.base.errors import InvalidRequest, RequestError
from kvstore.base.jsontext import dumps
from kvstore.base.reply import NULL_ARRAY, JSONText, Reply, Status
from kvstore.wire.pieces import AT_ONCE, UNLIMITED_BYTES, Encoded, Writer, in_parts

#: Says that a request had no "id": null is one.
ABSENT: Any = object()


def bytes_to_text(data: bytes) -> str:
    """The string that shows a key or value; `text_to_key` undoes it for every key that a JSON string can name."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        pass
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return data.decode("utf-8", "surrogateescape")


def encode(reply: Reply, identity: Any = ABSENT, limit_bytes: int = UNLIMITED_BYTES) -> Encoded:
    """The line for a request that succeeded.

    `identity`: the request's "id". `limit_bytes`: of the line. Raises ReplyTooLarge past the limit, TypeError for a
    value that is no reply (a bug of the command).
    """
    end = b"}\r\n" if identity is ABSENT else b',"id":%b}\r\n' % dumps(identity)
    if reply.__class__ is Status:
        return b'{"result":"success"' + end
    out = Writer(limit_bytes)
    out.append(b'{"result":"success","value":')
    _write(out, reply)
    out.append(end)
    return out.finish()


def encode_in_slices(
    reply: list[Reply], identity: Any = ABSENT, limit_bytes: int = UNLIMITED_BYTES
) -> Generator[None, None, Encoded]:
    """As `encode`, for a list of many elements: yields after some of them, and returns the bytes."""
    out = Writer(limit_bytes)
    opening = b'{"result":"success","value":['
    for some in in_parts(reply):
        _write_between(out, opening, some, b"", _write)
        out.gather()
        opening = b","
        yield
    out.append(b"]}\r\n" if identity is ABSENT else b'],"id":%b}\r\n' % dumps(identity))
    return out.finish()


def encode_error(error: RequestError | str, identity: Any = ABSENT) -> bytes:
    """The line for a request that did not succeed.

    `error`: what the command raised, or why the line was no request at all. Its text goes out without the code word.
    """
    understood = isinstance(error, RequestError) and not isinstance(error, InvalidRequest)
    text = error if isinstance(error, str) else error.text
    line = b'{"result":"%b","error":%b' % (b"failure" if understood else b"invalid", dumps(text))
    return line + (b"}\r\n" if identity is ABSENT else b',"id":%b}\r\n' % dumps(identity))


def _write(out: Writer, reply: Reply) -> None:
    """The JSON text of any reply, at any depth."""
    kind = reply.__class__
    if kind is JSONText:
        out.text(reply.text)
    elif kind is bytes:
        out.text(dumps(bytes_to_text(reply)))
    elif isinstance(reply, (list, tuple, set, frozenset)):
        _write_between(out, b"[", reply, b"]", _write)
    elif isinstance(reply, dict):
        _write_between(out, b"{", reply.items(), b"}", _write_member)
    else:
        out.text(b"%d" % reply if kind is int else dumps(_plain(reply)))


def _write_between(
    out: Writer, opening: bytes, elements: Iterable[Any], closing: bytes, write: Callable[[Writer, Any], None]
) -> None:
    """Elements, with commas between them."""
    out.append(opening)
    for number, element in enumerate(elements, 1):
        if number > 1:
            out.append(b",")
        write(out, element)
        if number % AT_ONCE == 0:
            out.gather()
    out.append(closing)


def _write_member(out: Writer, member: tuple[Any, Any]) -> None:
    name, value = member
    out.text(dumps(bytes_to_text(name) if isinstance(name, bytes) else str(name)))
    out.append(b":")
    _write(out, value)


def _plain(reply: Reply) -> Any:
    """What stands in JSON for a reply that is none of the above."""
    if isinstance(reply, Status):
        return reply.text
    if isinstance(reply, RequestError):  # one failed command in the reply of a block
        return {"error": str(reply)}
    if reply is NULL_ARRAY:
        return None
    if isinstance(reply, float) and not math.isfinite(reply):  # JSON has no number for it
        return str(reply)
    return str(reply) if isinstance(reply, str) else reply
