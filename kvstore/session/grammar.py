"""How requests are answered: each in the grammar that it came in.

A reply is encoded at once or, an array of many elements, in slices; past a number of bytes it is refused
(ReplyTooLarge).
"""

from __future__ import annotations

from collections.abc import Generator
from types import GeneratorType
from typing import Any

from kvstore.base.errors import RequestError
from kvstore.base.reply import QUEUED, Help, Members, Replies, Reply
from kvstore.commands.client import Client
from kvstore.wire import jsonlines, resp
from kvstore.wire.pieces import AT_ONCE, Encoded
from kvstore.wire.words import encode_lines

#: Elements of a reply past which it is encoded in slices.
_MANY_ELEMENTS = 4 * AT_ONCE
_ARRAYS = (list, Members)


class Grammar:
    """How replies are encoded. An `Encoder`. `limit_bytes`: of one."""

    __slots__ = ("_limit_bytes",)

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes

    def encode(self, reply: Reply) -> Encoded:
        """A reply, at once. Raises ReplyTooLarge."""
        raise NotImplementedError

    def encode_in_slices(self, reply: list[Reply]) -> Generator[None, None, Encoded]:
        """An array of many elements. Raises ReplyTooLarge."""
        raise NotImplementedError

    def refusal(self, error: RequestError) -> bytes:
        """An error."""
        raise NotImplementedError

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
    return reply.__class__ in _ARRAYS and len(reply) > _MANY_ELEMENTS


class Resp(Grammar):
    """RESP, of the version that the client has chosen by then; nothing of replies that CLIENT REPLY leaves out.

    What SUBSCRIBE and its kin answer are messages, which are sent all the same, as Valkey has it.
    """

    __slots__ = ("_client",)

    def __init__(self, client: Client, limit_bytes: int) -> None:
        super().__init__(limit_bytes)
        self._client = client

    def encode(self, reply: Reply) -> Encoded:
        """See `Grammar`."""
        if self._client.unanswered and reply.__class__ is not Replies:
            return b""
        return resp.encode(reply, self._client.protocol, self._limit_bytes)

    def encode_in_slices(self, reply: list[Reply]) -> Generator[None, None, Encoded]:
        """See `Grammar`."""
        if self._client.unanswered:
            return b""
        return (yield from resp.encode_in_slices(reply, self._client.protocol, self._limit_bytes))

    def refusal(self, error: RequestError) -> bytes:
        """See `Grammar`."""
        return b"" if self._client.unanswered else resp.encode_error(error)


class Json(Grammar):
    """JSON lines. `identity`: the "id" of the request, or ABSENT."""

    __slots__ = ("_identity",)

    def __init__(self, limit_bytes: int, identity: Any = jsonlines.ABSENT) -> None:
        self._limit_bytes = limit_bytes
        self._identity = identity

    def encode(self, reply: Reply) -> Encoded:
        """See `Grammar`."""
        return jsonlines.encode(reply, self._identity, self._limit_bytes)

    def encode_in_slices(self, reply: list[Reply]) -> Generator[None, None, Encoded]:
        """See `Grammar`."""
        return jsonlines.encode_in_slices(reply, self._identity, self._limit_bytes)

    def refusal(self, error: RequestError) -> bytes:
        """See `Grammar`."""
        return jsonlines.encode_error(error, self._identity)


class Typed(Json):
    """For the verbs of our own, typed as words: JSON lines; help is lines for a person, QUEUED as for any."""

    __slots__ = ()

    def encode(self, reply: Reply) -> Encoded:
        """See `Grammar`."""
        if reply is QUEUED:
            return bytes(QUEUED.wire)
        return encode_lines(reply.text) if isinstance(reply, Help) else super().encode(reply)
