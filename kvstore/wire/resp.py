"""Replies as RESP: one function per version of the protocol, after the table in `base.reply`.

The classes that most replies have (`bytes`, None, `int`, `Status`) are tested first, by identity of the class; the
rest goes through a table, then by `isinstance` for subclasses. Containers are written piece by piece into one `Writer`,
so that a reply of a million elements is not copied once per level, and a long string in it not at all: see `pieces`.

Text (`str`) leaves as UTF-8; lone surrogates, which JSON can put there, as the three bytes that UTF-8 would give them.

Source: the RESP specification (redis.io, "Redis serialization protocol specification"); for doubles `base.doubles`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from itertools import chain, repeat
from typing import Any

from kvstore.base.doubles import double_text
from kvstore.base.errors import ProtocolError, RequestError
from kvstore.base.limits import LONG_STRING_BYTES
from kvstore.base.reply import (
    NULL_ARRAY,
    Arrays,
    Attributed,
    BigNumber,
    Distinct,
    JSONText,
    Map,
    Members,
    Numbers,
    Pairs,
    Push,
    Replies,
    Reply,
    Scored,
    Status,
    Strings,
    Verbatim,
)
from kvstore.wire.pieces import AT_ONCE, UNLIMITED_BYTES, Encoded, Writer, in_parts, join_parts, parts

NULL2 = b"$-1\r\n"
NULL3 = b"_\r\n"
CRLF = b"\r\n"

#: How a string of each length below 512 is written.
_FORMATS = [b"$%d\r\n%%b\r\n" % length for length in range(512)]
_ONLY_BYTES = {bytes}
#: Fewer strings are written one by one: as fast, then.
_MANY = 16
_LINE_BREAKS = str.maketrans("\r\n", "  ")


def pack(*words: bytes) -> bytes:
    """A request, or any array of bulk strings, from its words."""
    return b"*%d\r\n" % len(words) + b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in words])


def encode(reply: Reply, protocol: int, limit_bytes: int = UNLIMITED_BYTES) -> Encoded:
    """The bytes of a reply. `protocol`: 2 or 3. `limit_bytes`: of a reply with long strings, or many.

    Raises ReplyTooLarge past the limit, TypeError for a value that is no reply, a bug.
    """
    kind = reply.__class__
    if kind is bytes and len(reply) < LONG_STRING_BYTES:
        return b"$%d\r\n%b\r\n" % (len(reply), reply)
    if kind is int:
        return b":%d\r\n" % reply
    if kind is Status:
        return reply.wire  # type: ignore[no-any-return]
    if reply is None:
        return NULL3 if protocol == 3 else NULL2
    writer = Writer(limit_bytes)
    _append(writer, reply, protocol)
    return writer.finish()


def encode_message(message: Reply, protocol: int) -> Encoded:
    """The bytes of what is sent unasked, maybe to many: of a `Push` they are kept, and given again."""
    if message.__class__ is not Push:
        return encode(message, protocol)
    encoded: Encoded | None = message.encoded.get(protocol)
    if encoded is None:
        if set(map(type, message)) == _ONLY_BYTES and max(lengths := list(map(len, message))) < len(_FORMATS):
            head = b">%d\r\n" if protocol == 3 else b"*%d\r\n"
            encoded = head % len(message) + b"".join(map(_FORMATS.__getitem__, lengths)) % tuple(message)
        else:
            encoded = encode(message, protocol)
        message.encoded[protocol] = encoded
    return encoded


def encode_in_slices(
    reply: list[Reply], protocol: int, limit_bytes: int = UNLIMITED_BYTES
) -> Generator[None, None, Encoded]:
    """As `encode`, for an array, or a set, of many elements: yields after some of them, and returns the bytes."""
    out = Writer(limit_bytes)
    out.append(_begin(reply, protocol))
    for some in in_parts(reply):
        _append_some(out, some, protocol)
        out.gather()
        yield
    return out.finish()


def encode_strings(strings: Sequence[bytes | None] | Arrays, protocol: int, limit_bytes: int) -> bytes | None:
    """The bytes of the replies that these strings, nulls or arrays are, one behind the other. `protocol`: 2 or 3.

    Returns None if they are, or might be, more than `limit_bytes` together.
    """
    if isinstance(strings, Arrays):
        each = encode_arrays(strings, limit_bytes, repeat(protocol))
        return None if each is None else b"".join(each)
    try:
        lengths = set(map(len, strings))  # type: ignore[arg-type]
    except TypeError:
        if sum(map(len, filter(None, strings))) > limit_bytes:
            return None
        null = NULL3 if protocol == 3 else NULL2
        return b"".join([null if text is None else b"$%d\r\n%b\r\n" % (len(text), text) for text in strings])
    if max(lengths, default=0) * len(strings) > limit_bytes:
        return None
    return _joined(strings)  # type: ignore[arg-type]


def encode_each(
    strings: Sequence[bytes], limit_bytes: int = UNLIMITED_BYTES, counts: Sequence[int] | None = None
) -> list[bytes] | None:
    """The bytes of each of the replies that these strings are; given `counts`, of so many of them at a time.

    Returns None if they are more than `limit_bytes` together. Raises TypeError if there is a null.
    """
    lengths = set(map(len, strings))
    if max(lengths, default=0) * len(strings) > limit_bytes and sum(map(len, strings)) > limit_bytes:
        return None
    if len(lengths) != 1:
        each = [b"$%d\r\n%b\r\n" % (len(text), text) for text in strings]
        return each if counts is None else join_parts(each, counts)
    header = b"$%d\r\n" % lengths.pop()
    if counts is None:
        return [header + text + CRLF for text in strings]
    between = CRLF + header
    return [b"%b%b\r\n" % (header, between.join(strings[part])) for part in parts(counts)]


def encode_arrays(arrays: Arrays, limit_bytes: int, protocols: Iterable[int]) -> list[bytes] | None:
    """The bytes of each of the replies that these arrays are; None if all are, or might be, more than `limit_bytes`.

    `protocols`: in which each is to be encoded.
    """
    if isinstance(arrays, Scored):
        return list(map(_scored, arrays, protocols))
    encoded: dict[int, bytes] = {}
    identities = list(map(id, arrays))
    for array, identity in zip(arrays, identities, strict=True):
        if identity not in encoded:
            most_bytes = max(map(len, array), default=0) * len(array)
            if most_bytes > limit_bytes // len(arrays) and most_bytes * identities.count(identity) > limit_bytes:
                return None
            encoded[identity] = encode_array(array)
        limit_bytes -= len(encoded[identity])
    return None if limit_bytes < 0 else list(map(encoded.__getitem__, identities))


def _scored(pair: Sequence[bytes], protocol: int) -> bytes:
    if not pair:
        return b"*0\r\n"
    member, score = pair
    if protocol == 3:
        return b"*2\r\n$%d\r\n%b\r\n,%b\r\n" % (len(member), member, score)
    return b"*2\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(member), member, len(score), score)


def encode_array(strings: Sequence[bytes]) -> bytes:
    """The bytes of an array of strings."""
    return b"*%d\r\n" % len(strings) + _joined(strings)


def _joined(strings: Collection[bytes]) -> bytes:
    """The bytes of the replies that these strings are, one behind the other."""
    lengths = set(map(len, strings))
    if len(lengths) == 1:
        header = b"$%d\r\n" % lengths.pop()
        return b"%b%b\r\n" % (header, (CRLF + header).join(strings))
    if max(lengths, default=0) < len(_FORMATS):  # LRANGE, HGETALL, KEYS: half the time
        return b"".join(map(_FORMATS.__getitem__, map(len, strings))) % tuple(strings)
    return b"".join([b"$%d\r\n%b\r\n" % (len(text), text) for text in strings])


def encode_numbers(numbers: Numbers) -> bytes:
    """The bytes of the replies that these are, one behind the other; at least one."""
    return b":" + b"\r\n:".join(numbers) + CRLF


def encode_error(error: RequestError | ProtocolError) -> bytes:
    """An error reply, `-CODE text`; as in Redis line breaks in the text become spaces, and those at its end go."""
    return b"-%b\r\n" % str(error).rstrip("\r\n").translate(_LINE_BREAKS).encode("utf-8", "backslashreplace")


def _append(out: Writer, reply: Reply, protocol: int) -> None:
    """Write any reply, at any depth."""
    write = _WRITERS.get(reply.__class__) or _writer_of_subclass(reply)
    write(out, reply, protocol)


def _writer_of_subclass(reply: Reply) -> Callable[[Writer, Any, int], None]:
    for kind, write in _WRITERS.items():
        if isinstance(reply, kind):
            return write
    raise TypeError(f"{reply.__class__.__name__} is no reply value")


def _append_bytes(out: Writer, reply: bytes, protocol: int) -> None:
    if len(reply) < LONG_STRING_BYTES:
        out.append(b"$%d\r\n%b\r\n" % (len(reply), reply))
    else:
        out.append(b"$%d\r\n" % len(reply))
        out.text(reply)
        out.append(CRLF)


def _append_integer(out: Writer, reply: int, protocol: int) -> None:
    out.append(b":%d\r\n" % reply)


def _append_null(out: Writer, reply: None, protocol: int) -> None:
    out.append(NULL3 if protocol == 3 else NULL2)


def _append_null_array(out: Writer, reply: Any, protocol: int) -> None:
    out.append(NULL3 if protocol == 3 else b"*-1\r\n")


def _append_bool(out: Writer, reply: bool, protocol: int) -> None:
    if protocol == 3:
        out.append(b"#t\r\n" if reply else b"#f\r\n")
    else:
        out.append(b":1\r\n" if reply else b":0\r\n")


def _append_double(out: Writer, reply: float, protocol: int) -> None:
    digits = double_text(reply)
    out.append(b",%b\r\n" % digits if protocol == 3 else b"$%d\r\n%b\r\n" % (len(digits), digits))


def _append_text(out: Writer, reply: str, protocol: int) -> None:
    _append_bytes(out, reply.encode("utf-8", "surrogatepass"), protocol)


def _append_verbatim(out: Writer, reply: Verbatim, protocol: int) -> None:
    if protocol == 3:
        text = reply.encode("utf-8", "surrogatepass")
        out.append(b"=%d\r\ntxt:%b\r\n" % (len(text) + 4, text))
    else:
        _append_text(out, reply, protocol)


def _append_big_number(out: Writer, reply: BigNumber, protocol: int) -> None:
    if protocol == 3:
        out.append(b"(%b\r\n" % reply.encode())
    else:
        _append_text(out, reply, protocol)


def _append_attributed(out: Writer, reply: Attributed, protocol: int) -> None:
    if protocol == 3:
        out.append(b"|%d\r\n" % len(reply.attributes))
        _append_all(out, list(chain.from_iterable(reply.attributes.items())), protocol)
    _append(out, reply.reply, protocol)


def _append_json(out: Writer, reply: JSONText, protocol: int) -> None:
    _append_bytes(out, reply.text, protocol)


def _append_status(out: Writer, reply: Status, protocol: int) -> None:
    out.append(reply.wire)


def _append_error(out: Writer, reply: RequestError, protocol: int) -> None:
    out.append(encode_error(reply))


def _append_array(out: Writer, reply: list[Any] | tuple[Any, ...], protocol: int) -> None:
    out.append(b"*%d\r\n" % len(reply))
    _append_all(out, reply, protocol)


def _begin(reply: Strings | Members | list[Any], protocol: int) -> bytes:
    return (b"~%d\r\n" if protocol == 3 and reply.__class__ is Members else b"*%d\r\n") % len(reply)


def _append_strings(out: Writer, reply: Strings | Members, protocol: int) -> None:
    out.append(_begin(reply, protocol))
    for some in in_parts(reply) if len(reply) > AT_ONCE else (reply,):
        if max(map(len, some), default=0) < LONG_STRING_BYTES:
            out.append(_joined(some))
        else:
            _append_some(out, some, protocol)
        out.gather()


def _append_set(out: Writer, reply: set[Any] | frozenset[Any] | Distinct, protocol: int) -> None:
    out.append((b"~%d\r\n" if protocol == 3 else b"*%d\r\n") % len(reply))
    _append_all(out, reply, protocol)


def _append_push(out: Writer, reply: Push, protocol: int) -> None:
    out.append((b">%d\r\n" if protocol == 3 else b"*%d\r\n") % len(reply))
    _append_all(out, reply, protocol)


def _append_dict(out: Writer, reply: dict[Any, Any], protocol: int) -> None:
    _append_map(out, reply.items(), protocol)


def _append_map(out: Writer, pairs: Collection[tuple[Any, Any]], protocol: int) -> None:
    out.append(b"%%%d\r\n" % len(pairs) if protocol == 3 else b"*%d\r\n" % (2 * len(pairs)))
    _append_all(out, list(chain.from_iterable(pairs)), protocol)


def _append_pairs(out: Writer, reply: Pairs, protocol: int) -> None:
    if protocol == 3:
        out.append(b"%%%d\r\n" % len(reply))
        _append_all(out, list(chain.from_iterable(reply)), protocol)
    else:
        _append_array(out, reply, protocol)


def _append_all(out: Writer, replies: Collection[Reply], protocol: int) -> None:
    if len(replies) <= AT_ONCE:
        _append_some(out, replies, protocol)
        return
    for some in in_parts(replies):
        _append_some(out, some, protocol)
        out.gather()


def _append_some(out: Writer, replies: Collection[Reply], protocol: int) -> None:
    append = out.append
    if len(replies) >= _MANY and set(map(type, replies)) == _ONLY_BYTES and max(map(len, replies)) < LONG_STRING_BYTES:
        append(_joined(replies))
        return
    for reply in replies:
        if reply.__class__ is bytes and len(reply) < LONG_STRING_BYTES:  # MGET, SCAN: saves a call for each
            append(b"$%d\r\n%b\r\n" % (len(reply), reply))
        else:
            _append(out, reply, protocol)


#: How each class is written. For a subclass the first entry that fits counts: hence bool before int, Verbatim
#: before str.
_WRITERS: dict[type, Callable[[Writer, Any, int], None]] = {
    bytes: _append_bytes,
    bool: _append_bool,
    int: _append_integer,
    type(None): _append_null,
    type(NULL_ARRAY): _append_null_array,
    float: _append_double,
    Verbatim: _append_verbatim,
    BigNumber: _append_big_number,
    Attributed: _append_attributed,
    str: _append_text,
    Push: _append_push,
    Strings: _append_strings,
    Members: _append_strings,
    Distinct: _append_set,
    Map: _append_map,
    Pairs: _append_pairs,
    Replies: _append_all,
    list: _append_array,
    tuple: _append_array,
    dict: _append_dict,
    set: _append_set,
    frozenset: _append_set,
    Status: _append_status,
    JSONText: _append_json,
    RequestError: _append_error,
}
