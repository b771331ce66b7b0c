"""Commands that wait and that tell others, for tests of who waits and who is told: the shortest that there can be."""

from __future__ import annotations

from typing import Any

from kvstore.base.errors import Failure
from kvstore.base.reply import NULL_ARRAY, OK, Push, Replies, Reply, Wait
from kvstore.commands.arguments import Integer, Key
from kvstore.commands.context import Call
from kvstore.commands.registry import table
from kvstore.commands.row import FAST, NO_FLAGS, WRITE, Command, Flag, numbered_keys


def give(call: Call, key: Key, value: bytes) -> Reply:
    """Give a key a value, for one of those who wait for it."""
    call.table.write(key, value)
    if key in call.table.awaited:  # as every change but `write` does
        call.table.ready.append(key)
    return OK


def take(call: Call, key: Key, timeout_ms: Integer) -> Reply:
    """Take the value of a key away, or wait for one."""
    return _take(call, (key,), timeout_ms)


def take_any(call: Call, timeout_ms: Integer, number: Integer, *keys: bytes) -> Reply:
    """Take the value of one of some keys."""
    return _take(call, keys[:number], timeout_ms)


def move(call: Call, source: Key, destination: Key, timeout_ms: Integer) -> Reply:
    """Take the value of a key and give it to another."""
    return _take(call, (source,), timeout_ms, destination)


def _take(call: Call, keys: tuple[bytes, ...], timeout_ms: int, destination: bytes | None = None) -> Reply:
    def again() -> Reply | None:
        for key in keys:
            value = call.table.read(key)
            if value is not None:
                call.table.delete(key)
                if value == b"wrong":
                    raise Failure("taken wrongly", "WRONGTYPE")
                if value == b"bug":
                    raise ZeroDivisionError
                if destination is not None:
                    give(call, destination, value)
                return [key, value]
        return None

    reply = again()
    until_ms = call.server.now_ms() + timeout_ms if timeout_ms else None
    return Wait(keys, bytes, until_ms, again, NULL_ARRAY) if reply is None else reply


def shout(call: Call, text: bytes) -> Reply:
    """Tell all clients something, oneself included. What is `bad` fails after it."""
    for client in list(call.server.clients.values()):
        call.tell(client, Push([b"shout", text]))
    if text == b"bad":
        raise Failure("nobody is told")
    return len(call.server.clients)


def thrice(call: Call, text: bytes) -> Reply:
    """Answer three times."""
    return Replies([text, text, Push([text])])


def _row(name: str, flags: Flag, function: Any, **options: Any) -> Command:
    return Command(name, flags, "generic", function, **options)


ROWS = [
    _row("GIVE", WRITE | FAST, give),
    _row("TAKE", WRITE, take),
    _row("TAKEANY", WRITE, take_any, keys=numbered_keys(2)),
    _row("MOVEOVER", WRITE, move),
    _row("SHOUT", NO_FLAGS, shout),
    _row("THRICE", NO_FLAGS, thrice),
]


def add_to_table(test: Any) -> None:
    """The server that is made next in this test has these commands, too."""
    names = {row.wire_name: row for row in ROWS}
    test.patch(table, "by_name", {**table.by_name, **names})
    plain = {name: row for name, row in names.items() if row.writes}
    test.patch(table, "plain", {**table.plain, **plain})
