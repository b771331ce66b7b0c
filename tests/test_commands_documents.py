"""The document verbs, and help."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kvstore.base.reply import OK, JSONText
from kvstore.commands import table
from kvstore.commands.registry import VERB
from tests.kit.harness import CommandTestCase, Rig

_atoms = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.integers(),
    st.sampled_from([0.0, 1.0, 1.5, -0.0, 1e300, 2.0**53, 5e-324]),
    st.sampled_from([2**53, 2**53 + 1, int(1e300), int(1e300) + 1, 10**4299]),
    st.text(max_size=3),
)
#: As many digits as a JSON integer may have.
_LONG = 10**4299
_documents = st.one_of(st.dictionaries(st.sampled_from("ab"), st.one_of(_atoms, st.lists(_atoms, max_size=2))), _atoms)


def json_equal(one: Any, other: Any) -> bool:
    """JSON's equality of atomic values: true is not 1, and 1 is 1.0."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


class StoringTests(CommandTestCase):
    """insert, lookup, remove, size."""

    def test_round_trip(self) -> None:
        """lookup gives the JSON that insert stored, compact; insert replaces, remove removes, size counts."""
        self.assertEqual(self.do("INSERT", "zebra", '{ "weight" : 100, "name":"fred"}'), OK)
        self.assertEqual(self.do("LOOKUP", "zebra"), JSONText(b'{"weight":100,"name":"fred"}'))
        self.assertEqual(self.do("SIZE"), 1)
        self.assertEqual(self.do("INSERT", "zebra", "[1,2]"), OK)
        self.assertEqual(self.do("lookup", "zebra"), JSONText(b"[1,2]"))
        self.assertEqual(self.do("REMOVE", "zebra"), OK)
        self.assertEqual(self.do("SIZE"), 0)

    def test_no_such_key(self) -> None:
        """lookup and remove of a key that is not there, or has expired, fail."""
        self.assertEqual(self.error("LOOKUP", "zebra"), "ERR no such key")
        self.assertEqual(self.error("REMOVE", "zebra"), "ERR no such key")
        self.do("SET", "zebra", "1", "PX", 1)
        self.rig.now_ms += 1
        self.assertEqual(self.error("LOOKUP", "zebra"), "ERR no such key")
        self.assertEqual(self.error("REMOVE", "zebra"), "ERR no such key")

    def test_insert_takes_the_deadline_away(self) -> None:
        """A document that is inserted stays, whatever deadline its key had."""
        self.do("SET", "a", "1", "PX", 1)
        self.do("INSERT", "a", "2")
        self.rig.now_ms += 1
        self.assertEqual(self.do("LOOKUP", "a"), JSONText(b"2"))

    def test_one_table(self) -> None:
        """GET shows a document's text; lookup takes any JSON that SET stored, and says so of what is none."""
        self.do("INSERT", "a", '{"b": [1, 2]}')
        self.assertEqual(self.do("GET", "a"), b'{"b":[1,2]}')
        self.do("SET", "a", '{"b":\r\n 1}\n')
        self.assertEqual(self.do("LOOKUP", "a"), JSONText(b'{"b":1}'))
        self.do("SET", "a", "just text")
        self.assertRegex(self.error("LOOKUP", "a"), "^ERR the value at this key is not JSON .*; read it with GET$")

    def test_what_is_not_json(self) -> None:
        """insert and query refuse a value that is not JSON, and say why and how."""
        for words in (("INSERT", "a", "fred"), ("QUERY", "a", "fred"), ("INSERT", "a", ""), ("INSERT", "a", "NaN")):
            self.assertRegex(self.error(*words), r"^ERR value is not JSON \(.*\); strings need double quotes$")

    def test_usage_in_arity_errors(self) -> None:
        """A verb with too few words says how it is used."""
        expected = "ERR wrong number of arguments for 'insert' command; usage: insert key value"
        self.assertEqual(self.error("insert", "a"), expected)

    def test_large_integers_and_odd_strings(self) -> None:
        """Integers of any size and lone surrogates come back as they went in."""
        for text in ("1" + "0" * 100, '"\\ud800"', '"\u00e9\U0001f600"', "-9223372036854775809", "1.0", "true", "null"):
            self.do("INSERT", "a", text.encode())
            self.assertEqual(json.loads(self.do("LOOKUP", "a").text), json.loads(text))


class QueryTests(CommandTestCase):
    """query, and the index behind it."""

    def ask(self, subkey: str, subvalue: str) -> list[bytes]:
        """The keys that a query gives, sorted."""
        return sorted(key for key, _ in self.do("QUERY", subkey, subvalue))

    def test_pairs(self) -> None:
        """query gives [key, value] pairs."""
        self.do("INSERT", "zebra", '{"name":"fred"}')
        self.do("INSERT", "lion", '{"name":"leo"}')
        self.assertEqual(self.do("QUERY", "name", '"fred"'), [[b"zebra", JSONText(b'{"name":"fred"}')]])

    def test_value_on_one_line(self) -> None:
        """A document that SET stored over several lines is given on one."""
        self.do("SET", "a", '{"b":\n1}')
        self.assertEqual(self.do("QUERY", "b", "1"), [[b"a", JSONText(b'{"b":1}')]])

    def test_equality(self) -> None:
        """true is not 1, 1 equals 1.0, null is a value, and "1" is a string."""
        for key, value in (
            ("i", "1"),
            ("f", "1.0"),
            ("t", "true"),
            ("s", '"1"'),
            ("n", "null"),
            ("z", "0"),
            ("x", "false"),
        ):
            self.do("INSERT", key, f'{{"v":{value}}}')
        self.assertEqual(self.ask("v", "1"), [b"f", b"i"])
        self.assertEqual(self.ask("v", "1.0"), [b"f", b"i"])
        self.assertEqual(self.ask("v", "true"), [b"t"])
        self.assertEqual(self.ask("v", '"1"'), [b"s"])
        self.assertEqual(self.ask("v", "null"), [b"n"])
        self.assertEqual(self.ask("v", "-0.0"), [b"z"])
        self.assertEqual(self.ask("nosuch", "1"), [])

    def test_equality_of_large_numbers(self) -> None:
        """Numbers are compared as what they are: an integer of any size is not the double next to it."""
        for key, value in (
            ("i", 2**53),
            ("j", 2**53 + 1),
            ("f", 2.0**53),
            ("g", 1e300),
            ("h", int(1e300)),
            ("l", _LONG),
        ):
            self.do("INSERT", key, json.dumps({"v": value}))
        self.assertEqual(self.ask("v", "9007199254740992"), [b"f", b"i"])
        self.assertEqual(self.ask("v", "9007199254740993"), [b"j"])
        self.assertEqual(self.ask("v", "1e300"), [b"g", b"h"])
        self.assertEqual(self.ask("v", str(_LONG)), [b"l"])
        self.assertEqual(self.ask("v", str(-_LONG)), [])

    def test_only_atomic_values(self) -> None:
        """A query for an array or object is refused."""
        for value in ("[]", "{}", "[1]"):
            self.assertRegex(self.error("QUERY", "a", value), "^ERR only an atomic value")

    def test_subkey_is_text(self) -> None:
        """A subkey that is not UTF-8 is refused; a lone surrogate is a character like another."""
        self.assertEqual(self.error("QUERY", b"\xff", "1"), "ERR subkey is not UTF-8 at byte 0")
        self.do("INSERT", "a", b'{"\\ud800": 1}')
        self.assertEqual(self.ask("\ud800".encode("utf-8", "surrogatepass"), "1"), [b"a"])  # type: ignore[arg-type]

    def test_expired_documents(self) -> None:
        """A document whose deadline has passed is in no answer."""
        self.do("SET", "a", '{"v":1}', "PX", 1)
        self.do("SET", "b", '{"v":1}')
        self.assertEqual(self.ask("v", "1"), [b"a", b"b"])
        self.rig.now_ms += 1
        self.assertEqual(self.ask("v", "1"), [b"b"])

    @given(
        st.lists(
            st.tuples(st.sampled_from("klmno"), st.none() | _documents, st.sampled_from("ab"), _atoms), max_size=20
        )
    )
    def test_as_a_full_search(self, steps: list[tuple[str, Any, str, Any]]) -> None:
        """After any changes a query gives what looking at every document would."""
        rig = Rig()
        model: dict[bytes, Any] = {}
        for key, document, subkey, value in steps:
            if document is None:
                rig.do("DEL", key)
                model.pop(key.encode(), None)
            else:
                rig.do("INSERT", key, json.dumps(document))
                model[key.encode()] = document
            expected = {
                each
                for each, stored in model.items()
                if isinstance(stored, dict) and subkey in stored and json_equal(stored[subkey], value)
            }
            self.assertEqual({pair[0] for pair in rig.do("QUERY", subkey, json.dumps(value))}, expected)


class HelpTests(CommandTestCase):
    """help, made from the table."""

    def test_verbs(self) -> None:
        """Without an argument it lists the verbs and how each is used."""
        self.assertEqual(
            self.do("HELP"),
            {
                "help": "help [verb] [subcommand]",
                "insert": "insert key value",
                "lookup": "lookup key",
                "query": "query subkey subvalue",
                "remove": "remove key",
                "size": "size",
            },
        )

    def test_any_command(self) -> None:
        """With an argument it tells how that command is used, and what it does; of a container, its subcommands."""
        self.assertEqual(
            self.do("HELP", "incrby"),
            {"usage": "INCRBY key increment", "summary": "Add a whole number to the number at a key."},
        )
        self.assertEqual(self.do("HELP", "client")["subcommands"]["client|id"], "CLIENT ID")
        self.assertEqual(self.do("HELP", "Client|Id")["usage"], "CLIENT ID")
        self.assertEqual(self.do("HELP", "Client", "id")["usage"], "CLIENT ID")
        self.assertEqual(self.error("HELP", "n\x00such"), "ERR no such command 'n\\x00such'")
        self.assertEqual(self.error("HELP", "client|foo"), "ERR no such command 'client|foo'")
        self.assertEqual(self.error("HELP", "client", "foo"), "ERR no such command 'client foo'")
        self.assertEqual(self.error("HELP", "get", "foo"), "ERR no such command 'get foo'")
        self.assertEqual(self.error("HELP", "key"), "ERR no such command 'key'; did you mean HKEYS, KEYS, RANDOMKEY?")

    def test_text(self) -> None:
        """For a person it is lines, as wide as a terminal; each begins with a blank."""
        overview = self.do("HELP").text
        for word in ("insert key value", "RANDOMKEY", "help NAME", "quit, exit or Ctrl-D"):
            self.assertIn(word, overview)
        self.assertIn("  CLIENT ID\n      Tell this connection's number", self.do("HELP", "client").text)
        for text in (overview, *(self.do("HELP", row.name).text for row in table.all_rows())):
            self.assertTrue(text.endswith("\n"))
            for line in text.splitlines():
                self.assertRegex(line, r"\A .{1,79}\Z")

    def test_every_command_has_a_summary(self) -> None:
        """Every row says in one sentence what it does."""
        for row in table.all_rows():
            self.assertRegex(row.summary, r"^[A-Z].*\.$", row.name)

    def test_verbs_are_the_six(self) -> None:
        """No other command is called as a JSON line."""
        verbs = {row.name for row in table.all_rows() if row.flags & VERB}
        self.assertEqual(verbs, {"INSERT", "LOOKUP", "REMOVE", "SIZE", "QUERY", "HELP"})
