"""Which clients CLIENT LIST shows and CLIENT KILL ends: filters, all of which must let a client through.

A filter is an option with a value; one that is named again takes the place of the first, but for ID, which takes any
number of numbers, and more of them each time. With `NOT-` before it, where that is allowed, it lets through all others.
Texts and rules are Valkey's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from kvstore.base.errors import Failure, InvalidRequest, shorten, syntax_error
from kvstore.commands.arguments import is_integer, to_integer
from kvstore.commands.client import Client
from kvstore.commands.context import Call
from kvstore.commands.deadlines import MS_PER_S

_TYPES = (b"normal", b"master", b"primary", b"replica", b"slave", b"pubsub")
#: The letters that Valkey knows; those of `Client.flags` are among them.
_FLAGS = frozenset("ABEIMNOPRSTUbcdeirtux")
#: The letters of CLIENT CAPA: redirect.
_CAPABILITIES = frozenset("r")

_Test = Callable[[Client], bool]


def select(call: Call, words: Iterable[bytes], *, skip_me: bool) -> list[Client]:
    """The clients that the filters in `words` let through, in the order in which they came.

    `skip_me`: whether one's own connection is left out unless SKIPME says otherwise. Raises RequestError.
    """
    left = deque(words)
    if len(left) == 1:
        raise syntax_error()
    tests: dict[bytes, _Test] = {}
    identities: dict[bytes, set[int]] = {b"ID": set(), b"NOT-ID": set()}
    while left:
        option = left.popleft().upper()
        if option in identities:
            identities[option] |= _take_identities(left)
            tests[option] = _among(identities[option])
        elif not left:
            raise syntax_error()
        elif option == b"SKIPME":
            skip_me = _to_yes_or_no(left.popleft())
        else:
            tests[option] = _test(call, option, left.popleft())
    chosen = [(test, option.startswith(b"NOT-")) for option, test in tests.items()]
    return [
        client
        for client in call.server.clients.values()
        if all(test(client) != negated for test, negated in chosen) and not (skip_me and client is call.client)
    ]


def _take_identities(left: deque[bytes]) -> set[int]:
    """The numbers that come next; none where no word does."""
    identities = set()
    while left and is_integer(left[0]):
        identities.add(to_identity(left.popleft()))
    return identities


def _among(identities: set[int]) -> _Test:
    return lambda client: client.identity in identities


def _test(call: Call, option: bytes, value: bytes) -> _Test:
    """The test that an option other than ID stands for: whether a client is as it says, or as what `NOT-` negates."""
    name = option.removeprefix(b"NOT-")
    if option in _AT_LEAST:
        return _at_least(call, option, value)
    if name in _TEXTS:
        text_of = _TEXTS[name]
        return lambda client: text_of(client) == value
    if name in _CHECKED:
        return _CHECKED[name](call, option.decode(), value)
    raise syntax_error()


def _at_least(call: Call, option: bytes, value: bytes) -> _Test:
    name, since_ms = option.decode().lower(), _AT_LEAST[option]
    seconds = _number(name, value)
    if seconds < 1:
        raise InvalidRequest(f"{name} should be greater than 0")
    now_ms = call.server.recent_ms
    return lambda client: now_ms // MS_PER_S - since_ms(client) // MS_PER_S >= seconds


def _of_type(call: Call, option: str, value: bytes) -> _Test:
    """A client is subscribed, or a normal one: there are no replicas here."""
    name = value.lower()
    if name not in _TYPES:
        raise InvalidRequest(f"Unknown client type '{shorten(value)}'")
    return lambda client: name == (b"pubsub" if client.subscription_bytes else b"normal")


def _of_user(call: Call, option: str, value: bytes) -> _Test:
    user = call.server.users.get(value)
    if user is None:
        raise Failure(f"No such user '{shorten(value)}'")
    return lambda client: client.user is user


def _of_database(call: Call, option: str, value: bytes) -> _Test:
    number, last = _number(option, value), len(call.store.databases) - 1
    if not 0 <= number <= last:
        raise InvalidRequest(f"{option} number should be between 0 and {last}")
    return lambda client: client.database == number


def _with_flags(call: Call, option: str, value: bytes) -> _Test:
    letters = _letters("flags", option, value, _FLAGS)
    return lambda client: letters <= set(client.flags)


def _with_capabilities(call: Call, option: str, value: bytes) -> _Test:
    letters = _letters("capa", option, value, _CAPABILITIES)
    return lambda client: letters <= set(client.capabilities)


def _letters(what: str, option: str, value: bytes, known: frozenset[str]) -> set[str]:
    letters = set(value.decode("latin-1"))
    if not letters <= known:
        where = option if option.startswith("NOT-") else "provided"
        raise InvalidRequest(f"Unknown {what} found in the {where} filter: {shorten(value)}")
    return letters


def _number(what: str, value: bytes) -> int:
    return to_integer(value, f"{what} is not an integer or out of range")


def to_identity(text: bytes) -> int:
    """The number of a client. Raises InvalidRequest."""
    identity = to_integer(text)
    if identity < 1:
        raise InvalidRequest("client-id should be greater than 0")
    return identity


def _to_yes_or_no(text: bytes) -> bool:
    if text.lower() not in (b"yes", b"no"):
        raise syntax_error()
    return text.lower() == b"yes"


def _host(client: Client) -> bytes:
    return client.address.rpartition(":")[0].strip("[]").encode()


#: The text that must be equal; None where there is none, which is equal to nothing.
_TEXTS: dict[bytes, Callable[[Client], bytes | None]] = {
    b"ADDR": lambda client: client.address.encode(),
    b"LADDR": lambda client: client.local_address.encode(),
    b"IP": _host,
    b"NAME": lambda client: client.name or None,
    b"LIB-NAME": lambda client: client.library_name or None,
    b"LIB-VER": lambda client: client.library_version or None,
}
#: What is counted from; these have no `NOT-`.
_AT_LEAST: dict[bytes, Callable[[Client], int]] = {
    b"MAXAGE": lambda client: client.connected_ms,
    b"IDLE": lambda client: client.last_request_ms,
}
#: What is looked at before anybody is; `option` as an error names it.
_CHECKED: dict[bytes, Callable[[Call, str, bytes], _Test]] = {
    b"TYPE": _of_type,
    b"USER": _of_user,
    b"DB": _of_database,
    b"FLAGS": _with_flags,
    b"CAPA": _with_capabilities,
}
