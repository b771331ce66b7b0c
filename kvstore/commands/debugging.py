"""DEBUG, for those who test clients and servers: refused unless the option `--enable-debug-command` allows it.

What Valkey's and redis-py's own tests ask of it is here where it means something; what sets Valkey's inner workings,
which there are none of here, is taken, and changes nothing. Of the rest the error is Valkey's.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from kvstore.base.errors import (
    NO_SUCH_KEY,
    Failure,
    InvalidRequest,
    KVStoreError,
    RequestError,
    shorten,
    wrong_subcommand,
)
from kvstore.base.reply import OK, Attributed, BigNumber, Reply, Status, Verbatim
from kvstore.commands.arguments import at_least, to_integer
from kvstore.commands.context import Call
from kvstore.commands.digest import digest_of_all, digest_of_value
from kvstore.commands.encodings import encoding_of
from kvstore.commands.events import NEW
from kvstore.commands.registry import ADMIN, WHOLE, command
from kvstore.commands.row import NO_SCRIPT
from kvstore.store.state import Databases, State

_REFUSED = (
    'DEBUG command not allowed. If the enable-debug-command option is set to "local", you can run it from a local'
    " connection, otherwise you need to set this option in the configuration file, and then restart the server."
)
_NUMBER = re.compile(rb"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)").match
_TYPES = "string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false"


class _Part(NamedTuple):
    """A subcommand: its words behind the name, how many at least and at most, and what it does."""

    usage: str
    least: int
    most: int
    run: Callable[..., Reply]
    summary: str


@command("DEBUG", ADMIN | WHOLE | NO_SCRIPT, group="server", keys=(0, 0, 0), options="[argument ...]")
def debug(call: Call, subcommand: bytes, *arguments: bytes) -> Reply:
    """Look into the server, or hold it up, to test; see DEBUG HELP.

    Unlike Valkey, only what makes sense here is there: SLEEP, OBJECT, SET-ACTIVE-EXPIRE, RELOAD and LOADAOF (which
    read the files anew, compare that with what is in memory, and are an error if they differ), DIGEST, DIGEST-VALUE
    (with Valkey's digits), POPULATE, PROTOCOL, ERROR, LOG; QUICKLIST-PACKED-THRESHOLD and its kin change nothing.
    DIGEST is of keys that have not expired. COMMAND DOCS tells of arguments.
    """
    if not _is_allowed(call):
        raise Failure(_REFUSED)
    part = _PARTS.get(subcommand.upper())
    if part is None or not part.least <= len(arguments) <= part.most:
        raise Failure(wrong_subcommand("DEBUG", shorten(subcommand)))
    return part.run(call, *arguments)


def _is_allowed(call: Call) -> bool:
    client, who = call.client, call.server.configuration.text("enable-debug-command")
    is_local = client.through_file or client.address.startswith(("127.", "[::1]:"))
    return who == "yes" or (who == "local" and is_local)


def _help(call: Call) -> Reply:
    lines = ["DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"]
    for name, part in sorted(_PARTS.items()):
        lines += [f"{name.decode()} {part.usage}".rstrip(), "    " + part.summary]
    return [Status(line) for line in lines]


def _sleep(call: Call, seconds: bytes) -> Reply:
    call.server.sleep(max(0.0, _first_number(seconds)))
    return OK


def _object(call: Call, key: bytes, fast: bytes = b"") -> Reply:
    value = call.table.read(key)
    if value is None:
        raise Failure(NO_SUCH_KEY)
    length = len(value) if value.__class__ is bytes else value.size_bytes()
    told = "" if fast else f" serializedlength:{length}"
    encoding = encoding_of(call.table, key, call.server.configuration)
    return Status(f"Value at:{id(value):#x} refcount:1 encoding:{encoding}{told} lru:0 lru_seconds_idle:0")


def _set_active_expire(call: Call, on: bytes) -> Reply:
    call.server.removes_expired = _first_number(on) != 0
    return OK


def _let_scripts(call: Call, on: bytes) -> Reply:
    call.server.scripts_may_debug = _first_number(on) != 0
    return OK


def _first_number(text: bytes) -> float:
    found = _NUMBER(text)
    return float(found[0]) if found else 0


def _reload(call: Call, *options: bytes) -> Reply:
    if not {b"MERGE", b"NOFLUSH", b"NOSAVE"}.issuperset(option.upper() for option in options):
        raise Failure("DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.")
    try:
        found = call.store.read_again()
    except (KVStoreError, OSError) as error:
        raise Failure(f"Error trying to load the files: {error}") from None
    differs = _difference(call, found)
    if differs:
        raise Failure(f"what the files hold is not what is in memory: {differs}")
    return OK


def _difference(call: Call, found: Databases) -> str:
    """What is not in the files as it is in memory, or not in memory; empty if nothing is."""
    for table in call.store.tables:
        held, state = table.held(), found.at(table.number)
        for key in held.values.keys() | state.values.keys():
            if _whole(held, key) != _whole(state, key):
                return f"key '{shorten(key)}' in database {table.number}"
    return ""


def _whole(state: State, key: bytes) -> list[bytes]:
    return list(state.whole(key)) if key in state.values else []


def _digest(call: Call) -> Reply:
    return Status(digest_of_all(call.store.databases))


def _digest_value(call: Call, *keys: bytes) -> Reply:
    return [Status(digest_of_value(call.table, key)) for key in keys]


def _populate(call: Call, count: bytes, prefix: bytes = b"key", size: bytes = b"0") -> Reply:
    number, length = (at_least(0, each, "value is out of range, must be positive") for each in (count, size))
    for place in range(number):
        key = b"%b:%d" % (prefix, place)
        if not call.table.exists(key):
            value = b"value:%d" % place
            call.table.write(key, value[:length].ljust(length, b"\0") if length else value, event=NEW)
    return OK


def _protocol(call: Call, kind: bytes) -> Reply:
    name = kind.lower().decode("latin-1")
    if name == "push" and call.client.protocol == 2:
        raise InvalidRequest("RESP2 is not supported by this command")
    if name not in _SHOWN:
        raise InvalidRequest(f"Wrong protocol type name. Please use one of the following: {_TYPES}")
    return _SHOWN[name]


#: Of each type, the reply that DEBUG PROTOCOL gives of it.
_SHOWN: dict[str, Reply] = {
    "string": b"Hello World", "integer": 12345, "double": 3.141, "null": None, "array": [0, 1, 2],
    "set": {0, 1, 2}, "map": {0: False, 1: True, 2: False},
    "attrib": Attributed({b"key-popularity": [b"key:123", 90]}, b"Some real reply following the attribute"),
    "verbatim": Verbatim("This is a verbatim\nstring"), "true": True, "false": False,
    "bignum": BigNumber("1234567999999999999999999999999999999"),
}  # fmt: skip


def _error(call: Call, text: bytes) -> Reply:
    code, _, rest = text.decode("utf-8", "replace").replace("\r", " ").replace("\n", " ").partition(" ")
    raise RequestError(rest, code)


def _taken(call: Call, *ignored: bytes) -> Reply:
    return OK


def _threshold(call: Call, size: bytes) -> Reply:
    digits = size.lower().rstrip(b"bkmg")
    if not digits.isdigit() or to_integer(digits or b"x") >= 2**32:
        raise Failure("argument must be a memory value bigger than 1 and smaller than 4gb")
    return OK


def _listpack(call: Call, key: bytes) -> Reply:
    if call.table.read(key) is None:
        raise Failure(NO_SUCH_KEY)
    if encoding_of(call.table, key, call.server.configuration) != "listpack":
        raise Failure("Not a listpack encoded object.")
    return Status("Listpack structure printed on stdout")


_NOTHING = "Taken, and changes nothing."
_MANY = 2**31
_PARTS: dict[bytes, _Part] = {
    b"CHANGE-REPL-ID": _Part("", 0, 0, _taken, _NOTHING),
    b"DICT-RESIZING": _Part("<0|1>", 1, 1, _taken, _NOTHING),
    b"DIGEST": _Part("", 0, 0, _digest, "Tell digits equal for equal databases."),
    b"DIGEST-VALUE": _Part("<key> [<key> ...]", 0, _MANY, _digest_value, "Tell digits equal for equal values."),
    b"ERROR": _Part("<string>", 1, 1, _error, "Answer this error."),
    b"HELP": _Part("", 0, 0, _help, "List the subcommands."),
    b"LISTPACK": _Part("<key>", 1, 1, _listpack, _NOTHING),
    b"LOADAOF": _Part("", 0, 0, _reload, "The same as RELOAD."),
    b"LOG": _Part("<message>", 1, 1, _taken, _NOTHING),
    b"OBJECT": _Part("<key> [fast]", 1, 2, _object, "Tell how a value is held."),
    b"PAUSE-CRON": _Part("<0|1>", 1, 1, _taken, _NOTHING),
    b"POPULATE": _Part("<count> [<prefix>] [<size>]", 1, 3, _populate, "Set keys that are not there."),
    b"PROTOCOL": _Part("<type>", 1, 1, _protocol, f"Answer a value of a type: {_TYPES}."),
    b"QUICKLIST-PACKED-THRESHOLD": _Part("<size>", 1, 1, _threshold, _NOTHING),
    b"RELOAD": _Part("[option ...]", 0, 3, _reload, "Read the files anew; an error if memory holds anything else."),
    b"REPLICATE": _Part("<string>", 1, _MANY, _taken, _NOTHING),
    b"REPLYBUFFER": _Part("PEAK-RESET-TIME <ms>|NEVER|RESET", 2, 2, _taken, _NOTHING),
    b"SET-ACTIVE-EXPIRE": _Part("<0|1>", 1, 1, _set_active_expire, "Leave expired keys, or remove them."),
    b"SET-DISABLE-DENY-SCRIPTS": _Part("<0|1>", 1, 1, _let_scripts, "Let scripts use DEBUG, or not."),
    b"SLEEP": _Part("<seconds>", 1, 1, _sleep, "Hold up the whole server."),
}
