"""Whatever stands where a number should: every command answers it, and none runs into a bug."""

from __future__ import annotations

import itertools
import json

import pytest
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.limits import MAX_INTEGER_DIGITS, MAX_JSON_DEPTH
from kvstore.commands import table
from kvstore.commands.registry import Command
from kvstore.wire.resp import pack
from tests.kit.serving import Connection, Serving

_LENGTHS = (19, MAX_INTEGER_DIGITS, MAX_INTEGER_DIGITS + 1, 5119, 5120)
_LIMITS = (2**32, 2**63, 2**64, 9223372036854775)
NUMBERS = [
    *(b"9" * length for length in _LENGTHS), b"-" + b"9" * (MAX_INTEGER_DIGITS + 1),
    *(b"%d" % (sign * limit - step) for limit in _LIMITS for sign, step in ((1, 0), (1, 1), (-1, 0), (-1, 1))),
    *(b"1e%d" % power for power in (400, 4299, 4300, 4932, 4933, -324, -4951, 10**19)),
    *(b"1e" + b"9" * 5000, b"0e" + b"9" * 5000, b"0x1p" + b"9" * 5000, b"0x" + b"f" * 5000, b"0." + b"0" * 5000 + b"1"),
    *(b"-0x1.fffffffffffffffep16383", b"0x1p-16445", b"0x.p1", b"inf", b"-Infinity", b"nan", b"nan(1)"),
    *(b"", b" 1", b"+1", b"01", b"-0", b"1_000", b"1.", b"1e", b"1\0", b"\xff", "\u0663".encode(), b"\xed\xa0\x80"),
    *(b"%d", b"{}", b"[", b"1" * 4000 + b"." + b"1" * 1000),
]  # fmt: skip
#: JSON values that readers of JSON stumble over.
JSON = [
    *NUMBERS[:30],
    *(b"1e400", b"-1e400", b"1e-400", b"NaN", b"-Infinity", b"0.1e1", b"1.0", b"-0", b"-0.0", b"1E5", b"01", b"1_0"),
    *(b'"\\ud800"', b'"\\udfff\\ud800"', b'"\xed\xa0\x80"', b'"\xff"', b'"\\u0000"', b'"', b'{"\\ud800":1}', b"null"),
    *(b"[" * depth + b"]" * depth for depth in (MAX_JSON_DEPTH, MAX_JSON_DEPTH + 1, 300, 1000, 1100, 100_000)),
    *(b'{"a":' * depth + b"1" + b"}" * depth for depth in (MAX_JSON_DEPTH, MAX_JSON_DEPTH + 1, 1100)),
    b"[" + b"9" * 5000 + b"]", b'{"n":' + b"9" * (MAX_INTEGER_DIGITS + 1) + b"}", b'{"n":1,"n":2}',
]  # fmt: skip


class NastyNumberTests(SynchronousTestCase):
    """No request of a client ends in an internal error."""

    def setUp(self) -> None:
        """A server, and the connection of the next request."""
        self.serving = Serving()
        self.one = self.serving.connect()

    def ask(self, data: bytes) -> bytes:
        """Execute what is sent; returns the reply, which is no bug's."""
        if self.one.session.in_the_middle:
            self.one = self.serving.connect()
        reply = self.one.ask(data)
        if self.serving.table.pending.operations:
            self.serving.commit()
        reply += released(self.one)
        self.assertEqual(self.serving.bugs, [], data[:200])
        self.assertNotIn(b"internal error", reply, data[:200])
        return reply

    @pytest.mark.long
    def test_every_command(self) -> None:
        """Each number in one of the places of its arguments, in turns, and as the value at the key."""
        for row in table.all_rows():
            self.setUp()  # no connections that wait since the commands before
            for turn, number in enumerate(NUMBERS):
                places = arguments_around(row, number)
                self.ask_of(row, number, places[turn % len(places)])

    @pytest.mark.long
    def test_every_place(self) -> None:
        """Each number in each place."""
        for row in table.all_rows():
            self.setUp()
            for number in NUMBERS:
                for arguments in arguments_around(row, number):
                    self.ask_of(row, number, arguments)

    def ask_of(self, row: Command, number: bytes, arguments: list[bytes]) -> None:
        """Execute a command, the number being the value at the key."""
        self.ask(pack(b"SET", b"k", number) + pack(*row.name.encode().split(b"|"), *arguments))

    def test_what_was_stored(self) -> None:
        """A value that is next to no number, read as one by every command that does."""
        for number, increment in itertools.product(NUMBERS, repeat=2):
            self.ask(pack(b"SET", b"k", number) + pack(b"INCRBYFLOAT", b"k", increment))

    def test_documents(self) -> None:
        """JSON in each member of a JSON line, and as the arguments of a verb in RESP and in words; all of it shown."""
        self.serving.hooks.watchers.append(lambda executed: None)
        members = ("method", "id", "key", "value", "subkey", "subvalue", "verb")
        for text, method in itertools.product(JSON, ("insert", "lookup", "remove", "query", "size", "help")):
            for nasty in members:
                line = b"".join(
                    b'"%b":%b,' % (name.encode(), b'"k"' if name != nasty else text) for name in members[1:]
                )
                self.ask(b'{%b"method":%b}\n' % (line, text if nasty == "method" else json.dumps(method).encode()))
            for count in (1, 2):
                words = [method.encode(), *[b"k", text][-count:]]
                self.ask(pack(*words))
                self.ask(b" ".join(words) + b"\n")
            self.ask(pack(b"SET", b"k", text))
            for words in ([b"LOOKUP", b"k"], [b"QUERY", b"n", b"1"], [b"QUERY", text, text]):
                self.ask(pack(*words))


def released(connection: Connection) -> bytes:
    """All that a connection is answered, however much that is."""
    replies = connection.released()
    while connection.session.has_more:
        connection.session.run(1 << 30)
        replies += connection.released()
    return replies


def arguments_around(row: Command, number: bytes) -> list[list[bytes]]:
    """Arguments for a command, with the number in each of their places, and one after an option that takes one."""
    least, most = max(row.least - row.words, 1), max(min(row.most - row.words, 4), row.least - row.words)
    rows = [
        [number if place == at else word for place, word in enumerate([b"k", *[b"1"] * (count - 1)])]
        for count in sorted({least, most})
        for at in range(count)
    ]
    if row.options:
        rows += [[b"k", b"v", option, number] for option in (b"EX", b"PX", b"EXAT", b"PXAT")]
        rows += [[b"0", option, number] for option in (b"COUNT", b"MATCH", b"TYPE")]
        rows += [[option, number] for option in (b"ID", b"TYPE", b"ADDR", b"PATTERN", b"FILTERBY")]
        rows += [[b"k", b"k2", b"DB", number], [b"3", b"AUTH", number, number]]
    return rows
