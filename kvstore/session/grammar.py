"""How requests are answered: each in the grammar that it came in.

A reply is encoded at once or, an array of many elements, in slices; past a number of bytes it is refused
(ReplyTooLarge).
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from types import GeneratorType
from typing import Any, NamedTuple

from kvstore.base.errors import RequestError
from kvstore.base.reply import QUEUED, Help, Reply
from kvstore.commands.client import Client
from kvstore.wire import jsonlines, resp
from kvstore.wire.pieces import AT_ONCE, Encoded
from kvstore.wire.words import encode_lines

#: Elements of a reply past which it is encoded in slices.
_MANY_ELEMENTS = 4 * AT_ONCE


class Grammar(NamedTuple):
    """How a reply is encoded, at once or, an array of many elements, in slices; and how an error is. An `Encoder`."""

    encode: Callable[[Reply], Encoded]
    encode_in_slices: Callable[[list[Reply]], Generator[None, None, Encoded]]
    refusal: Callable[[RequestError], bytes]

    def begin(self, reply: Reply, *, in_slices: bool) -> Encoded | Generator[None, None, Encoded]:
        """See `Encoder`."""
        if reply.__class__ is GeneratorType or (in_slices and has_many(reply)):
            return self._to_the_end(reply)
        return self.encode(reply)

    def _to_the_end(self, reply: Reply) -> Generator[None, None, Encoded]:
        """What is left of a request: the slices of its command, then those of its reply's encoding."""
        if reply.__class__ is GeneratorType:
            reply = yield from reply
        return (yield from self.encode_in_slices(reply)) if has_many(reply) else self.encode(reply)


def has_many(reply: Reply) -> bool:
    """Whether a reply is encoded in slices."""
    return reply.__class__ is list and len(reply) > _MANY_ELEMENTS


def in_resp(client: Client, limit_bytes: int) -> Grammar:
    """RESP, of the version that the client has chosen by then."""
    return Grammar(
        lambda reply: resp.encode(reply, client.protocol, limit_bytes),
        lambda reply: resp.encode_in_slices(reply, client.protocol, limit_bytes),
        resp.encode_error,
    )


def in_json(identity: Any, limit_bytes: int) -> Grammar:
    """JSON lines. `identity`: the "id" of the request, or ABSENT."""
    return Grammar(
        lambda reply: jsonlines.encode(reply, identity, limit_bytes),
        lambda reply: jsonlines.encode_in_slices(reply, identity, limit_bytes),
        lambda error: jsonlines.encode_error(error, identity),
    )


def typed(limit_bytes: int) -> Grammar:
    """For the verbs of our own, typed as words: JSON lines; help is lines for a person, QUEUED as for any."""
    json = in_json(jsonlines.ABSENT, limit_bytes)

    def encode(reply: Reply) -> Encoded:
        if reply is QUEUED:
            return bytes(QUEUED.wire)
        return encode_lines(reply.text) if isinstance(reply, Help) else json.encode(reply)

    return json._replace(encode=encode)
