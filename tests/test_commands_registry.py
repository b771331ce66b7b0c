"""The command table: what a row takes from a function, and how requests meet it."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from kvstore import commands
from kvstore.base.errors import InvalidRequest, shorten
from kvstore.base.reply import OK, Reply
from kvstore.commands import WORD_VERBS, table
from kvstore.commands.arguments import to_json, to_number
from kvstore.commands.context import Call
from kvstore.commands.registry import READ, VERB, WHOLE, WRITE, CommandTable, Flag, Integer, Json, Key, to_integer
from kvstore.commands.row import Scope

own = CommandTable()

#: Groups and commands that no random requests compare with Valkey, and why.
NOT_COMPARED = {
    "document": "Valkey has none",
    "connection": "compared one by one, in test_commands_connection.py",
    "server": "tells of the server itself",
    "pubsub": "compared by scripts of several clients, in test_commands_pubsub.py",
    "scripting": "compared by scripts, in test_scripting.py and test_functions.py",
    "cluster": "compared one by one, in test_commands_cluster.py",
    "sentinel": "Valkey has it as a Sentinel",
    "RANDOMKEY": "its answer is chance",
    "WAIT": "compared one by one, in test_commands_replication.py",
    "WAITAOF": "there is always a log",
}


@own.command("PLAIN", READ, group="test")
def plain(call: Call, key: Key, value: bytes) -> Reply:
    """Do something plain.

    And more about it.
    """
    return OK


@own.command("MANY", WRITE, group="test", options="[count number ...]")
def many(call: Call, first: Key, number: Integer, last_key: Key | None = None, *options: bytes) -> Reply:
    """Take many."""
    return OK


@own.command("ALL", READ, group="test")
def all_(call: Call, key: Key, *keys: Key) -> Reply:
    """Take keys."""
    return OK


@own.command("SAY", VERB | WHOLE, group="test")
def say(call: Call, key: Key, word: bytes, value: Json, times: Integer = 1) -> Reply:
    """Say it."""
    return OK


own.container("BOX", "Hold things.", group="test")


@own.command("BOX|PUT", group="test")
def box_put(call: Call, key: Key) -> Reply:
    """Put it in."""
    return OK


def refused(function: object, *arguments: object) -> str:
    """The text with which a request is refused."""
    try:
        function(*arguments)  # type: ignore[operator]
    except InvalidRequest as error:
        return error.text
    raise AssertionError("not refused")


class RowTests(SynchronousTestCase):
    """What the signature says."""

    def test_arity(self) -> None:
        """Required parameters count; optional and variadic ones make the arity a least one."""
        self.assertEqual(own.by_name[b"PLAIN"].arity, 3)
        self.assertEqual(own.by_name[b"MANY"].arity, -3)
        self.assertEqual(own.by_name[b"SAY"].arity, -4)
        self.assertEqual(own.by_name[b"SAY"].most, 5)
        self.assertEqual(own.by_name[b"BOX"].subcommands[b"PUT"].arity, 3)

    def test_places_of_keys(self) -> None:
        """The parameters annotated Key give first, last and step; a subcommand's words count."""
        self.assertEqual(own.by_name[b"PLAIN"].keys, (1, 1, 1))
        self.assertEqual(own.by_name[b"ALL"].keys, (1, -1, 1))
        self.assertEqual(own.by_name[b"BOX"].subcommands[b"PUT"].keys, (2, 2, 1))
        self.assertEqual(own.by_name[b"BOX"].keys, (0, 0, 0))

    def test_keys_of_a_request(self) -> None:
        """The keys of a request are found by first, last and step."""
        mset = table.by_name[b"MSET"]
        self.assertEqual(mset.keys_of([b"MSET", b"a", b"1", b"b", b"2"]), [b"a", b"b"])
        self.assertEqual(table.by_name[b"COPY"].keys_of([b"COPY", b"a", b"b", b"REPLACE"]), [b"a", b"b"])
        self.assertEqual(table.by_name[b"DEL"].keys_of([b"DEL", b"a", b"b"]), [b"a", b"b"])
        self.assertEqual(table.by_name[b"PING"].keys_of([b"PING", b"a"]), [])

    def test_scope(self) -> None:
        """A reply tells of nothing, its key, its keys, or the table."""
        scopes = {
            name: table.by_name[name].scope for name in (b"PING", b"GET", b"MGET", b"SET", b"KEYS", b"EXEC", b"INFO")
        }
        self.assertEqual(
            scopes,
            {
                b"PING": Scope.NOTHING,
                b"GET": Scope.KEY,
                b"MGET": Scope.KEYS,
                b"SET": Scope.TABLE,
                b"KEYS": Scope.TABLE,
                b"EXEC": Scope.TABLE,
                b"INFO": Scope.TABLE,
            },
        )

    def test_summary_and_usage(self) -> None:
        """The docstring's first line is the summary; the parameters' names are the usage, verbs in lower case."""
        self.assertEqual(own.by_name[b"PLAIN"].summary, "Do something plain.")
        self.assertEqual(own.by_name[b"MANY"].usage(), "MANY first number [last-key] [count number ...]")
        self.assertEqual(own.by_name[b"ALL"].usage(), "ALL key [key ...]")
        self.assertEqual(own.by_name[b"SAY"].usage(), "say key word value [times]")
        self.assertEqual(own.by_name[b"BOX"].subcommands[b"PUT"].usage(), "BOX PUT key")

    def test_arguments(self) -> None:
        """Arguments are counted and converted, also where they are optional."""
        row = own.by_name[b"MANY"]
        self.assertEqual(row.arguments([b"MANY", b"a", b"7"]), [b"a", 7])
        self.assertEqual(row.arguments([b"MANY", b"a", b"7", b"b", b"8"]), [b"a", 7, b"b", b"8"])
        self.assertEqual(refused(row.arguments, [b"MANY", b"a"]), "wrong number of arguments for 'many' command")
        self.assertEqual(refused(row.arguments, [b"MANY", b"a", b"x"]), "value is not an integer or out of range")
        sub = own.by_name[b"BOX"].subcommands[b"PUT"]
        self.assertEqual(sub.arguments([b"BOX", b"PUT", b"a"]), [b"a"])
        self.assertEqual(refused(sub.arguments, [b"BOX", b"PUT"]), "wrong number of arguments for 'box|put' command")

    def test_check_arity(self) -> None:
        """Before a block takes a request only what COMMAND INFO calls its arity is checked."""
        own.by_name[b"SAY"].check_arity([b"SAY"] * 9)
        refused(own.by_name[b"SAY"].check_arity, [b"SAY"] * 3)
        refused(own.by_name[b"PLAIN"].check_arity, [b"PLAIN"] * 4)

    def test_raw_tails(self) -> None:
        """The verbs that end in JSON are known with the number of words before it, the others without."""
        self.assertEqual({verb: words for verb, words in WORD_VERBS.items() if words}, {b"INSERT": 2, b"QUERY": 2})
        self.assertEqual(set(WORD_VERBS), {verb.upper().encode() for verb in table.verbs})


class MembersTests(SynchronousTestCase):
    """A JSON line's members as arguments."""

    def setUp(self) -> None:
        """Take a row with every kind of parameter."""
        self.row = own.by_name[b"SAY"]

    def test_by_name(self) -> None:
        """Strings become bytes or what the parameter converts to; a JSON value stays as it is; others are ignored."""
        members = {"value": [1, None], "word": "\u00e9", "key": "\ud800", "method": "say", "extra": 1}
        self.assertEqual(self.row.arguments_from_members(members), [b"\xed\xa0\x80", b"\xc3\xa9", [1, None]])
        self.assertEqual(self.row.arguments_from_members({**members, "times": "3"})[3], 3)

    def test_null_is_a_value(self) -> None:
        """A JSON parameter takes null, too."""
        self.assertEqual(self.row.arguments_from_members({"key": "", "word": "", "value": None}), [b"", b"", None])

    def test_missing_and_wrong(self) -> None:
        """A member that is missing or no string is named."""
        take = self.row.arguments_from_members
        self.assertEqual(refused(take, {"word": "", "value": 1}), "missing member 'key'")
        self.assertEqual(refused(take, {"key": "", "word": ""}), "missing member 'value'")
        for key in (1, None, True, [], {}):
            self.assertEqual(refused(take, {"key": key}), "member 'key' must be a string")
        members = {"key": "", "word": "", "value": 1, "times": 3}
        self.assertEqual(refused(take, members), "member 'times' must be a string")


class FindTests(SynchronousTestCase):
    """From a request to its row."""

    def test_any_spelling(self) -> None:
        """Names are found in any case of letters; no spelling but upper and lower case takes memory."""
        size = len(table.by_name)
        for name in (b"SET", b"set", b"Set", b"sEt"):
            self.assertIs(table.find([name]), table.by_name[b"SET"])
        self.assertEqual(len(table.by_name), size)
        self.assertEqual(table.find([b"client", b"iD"]).name, "CLIENT|ID")

    def test_unknown(self) -> None:
        """An unknown command is shown, with its arguments, in 128 printable characters each at most."""
        self.assertEqual(
            refused(table.find, [b"foo", b"bar", b"a b"]),
            "unknown command 'foo', with args beginning with: 'bar' 'a b' ",
        )
        text = refused(table.find, [b"\x00\r\n" * 100, b"x" * 1000, b"y" * 1000])
        self.assertTrue(text.isprintable())
        self.assertLess(len(text), 350)
        self.assertEqual(refused(table.find, [b""]), "unknown command '', with args beginning with: ")
        self.assertEqual(refused(table.find, [b"CLIENT", b"FOO"]), "unknown subcommand 'FOO'. Try CLIENT HELP.")

    def test_rows_are_sorted_and_single(self) -> None:
        """Every command is listed once, in alphabetical order."""
        names = [row.name for row in table.rows()]
        self.assertEqual(names, sorted(set(names)))
        self.assertNotIn("CLIENT|ID", names)

    def test_every_family_is_imported(self) -> None:
        """A file with rows that nothing imports adds no command."""
        for path in Path(commands.__file__).parent.glob("*.py"):
            if "\n@command(" in path.read_text():
                self.assertIn(
                    path.stem, commands.__all__, "import it in kvstore/commands/__init__.py, and name it there"
                )

    def test_every_command_on_data_is_compared(self) -> None:
        """With Valkey, reply by reply, at random; only the answer of RANDOMKEY is chance."""
        compared = (Path(__file__).parent / "kit" / "random_requests.py").read_text()
        advice = (
            "put requests for it into tests/kit/random_requests.py; or, if Valkey has none such, its group or name and"
            " why into NOT_COMPARED of tests/test_commands_registry.py"
        )
        groups = {row.group for row in table.rows()} | {row.name for row in table.rows()}
        self.assertLessEqual(set(NOT_COMPARED), groups, "strike these from NOT_COMPARED: there is no such thing")
        for row in table.rows():
            if row.group not in NOT_COMPARED and row.name not in NOT_COMPARED:
                self.assertIn(f'b"{row.name}"', compared, advice)

    def test_writes_are_flagged(self) -> None:
        """What both reads and writes is a write: no row has both flags."""
        for row in table.all_rows():
            self.assertNotEqual(row.flags & (READ | WRITE), READ | WRITE, row.name)
            self.assertEqual(row.writes, bool(row.flags & Flag.WRITE))


class ConverterTests(SynchronousTestCase):
    """From text to values."""

    def test_numbers(self) -> None:
        """Floats may be infinite; they may not be nan, too large, have spaces or underscores."""
        self.assertEqual(to_number(b"1.5e3"), 1500)
        self.assertEqual(to_number(b"-inf"), float("-inf"))
        for text in (b"nan", b" 1", b"1 ", b"1_0", b"", b"x", b"\xff", b"1e400", b"-" + b"9" * 400):
            self.assertEqual(refused(to_number, text), "value is not a valid float")

    def test_integers(self) -> None:
        """Integers reach to the ends of 64 bits."""
        for number in (0, -1, 2**63 - 1, -(2**63)):
            self.assertEqual(to_integer(b"%d" % number), number)
        for number in (2**63, -(2**63) - 1):
            self.assertEqual(refused(to_integer, b"%d" % number), "value is not an integer or out of range")

    def test_json(self) -> None:
        """JSON text becomes its value, or an error that says what to do."""
        self.assertEqual(to_json(b'{"a":[1,2.5,null]}'), {"a": [1, 2.5, None]})
        self.assertRegex(refused(to_json, b"fred"), "strings need double quotes$")

    def test_shorten(self) -> None:
        """Hostile bytes become printable ASCII of a bounded length."""
        self.assertEqual(shorten(b"a\xff\n'"), "a\\xff\\n'")
        self.assertEqual(len(shorten(b"\x00" * 1000)), 128)
        self.assertEqual(len(shorten(b"x" * 127)), 127)
        self.assertEqual(len(shorten(b"x" * 129)), 128)
