"""What COMMAND says of each row is what Valkey 9.1 says of its command, in every field; and the exceptions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import hiredis
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.reply import Reply, Status
from kvstore.commands import facts, table
from kvstore.commands.description import documentation, information
from kvstore.wire import resp
from tests.kit.descriptions import descriptions, of_valkey
from tests.kit.valkey import ValkeyTestCase

PATH = Path(facts.__file__).with_name(facts.FILE)

#: Commands that Valkey does not have.
OURS = {"help", "insert", "lookup", "query", "remove", "size"}
#: What is said otherwise, and why. All other fields are the same: arity, flags, places of keys, categories, tips, key
#: specifications; since, group, complexity, doc_flags, deprecated_since, replaced_by, history, arguments.
EXCEPTIONS = {
    ("debug", "arguments"): "Valkey's are only in its HELP",
}
#: Fields whose elements are in no order.
UNORDERED = {"flags", "categories", "tips", "doc_flags", "history"}


def comparable(told: Any) -> Any:
    """A description with its sets in order."""
    if isinstance(told, dict):
        return {name: sorted(each) if name in UNORDERED else comparable(each) for name, each in told.items()}
    return list(map(comparable, told)) if isinstance(told, list) else told


def read(reply: Reply) -> Any:
    """A reply as hiredis reads it in RESP3."""
    reader = hiredis.Reader()
    reader.feed(bytes(resp.encode(reply, 3)))
    return reader.gets()


class AgainstValkeyTests(ValkeyTestCase):
    """Every row that Valkey has too."""

    def test_every_field(self) -> None:
        """It is the same but for EXCEPTIONS; the summaries are our own, and a container may hold less."""
        theirs = of_valkey(self.valkey)
        docs = {row.name.lower(): documentation(row) for row in table.rows()}
        ours = descriptions(read([information(row) for row in table.rows()]), read(docs))
        only_ours = OURS | {name for name in ours if name.split("|")[0] in ("group", "sentinel")}  # a Sentinel's
        self.assertEqual(set(ours) - set(theirs), only_ours)
        different = []
        for name in set(ours) - only_ours:
            mine, other = comparable(ours[name]), comparable(theirs[name])
            self.assertLessEqual(set(mine.pop("subcommands")), set(other.pop("subcommands")))
            self.assertNotIn(None, (mine.pop("summary"), other.pop("summary")))
            fields = [field for field in {**mine, **other} if mine.get(field) != other.get(field)]
            different += [(name, field, mine.get(field), other.get(field)) for field in fields]
        advice = "if the row is right, run scripts/valkey_facts, or give the reason in EXCEPTIONS of this test"
        self.assertEqual([each for each in different if each[:2] not in EXCEPTIONS], [], advice)
        self.assertEqual({each[:2] for each in different}, set(EXCEPTIONS), "strike these from EXCEPTIONS")


class RowTests(SynchronousTestCase):
    """How rows are told."""

    def test_a_parameter_that_repeats_the_one_before(self) -> None:
        """One argument that may be there several times."""
        arguments = documentation(table.by_name[b"DEL"])["arguments"]
        self.assertEqual(arguments, [
            {"name": "key", "type": "key", "display_text": "key", "key_spec_index": 0, "flags": [Status("multiple")]},
        ])  # fmt: skip

    def test_parameters_that_are_ignored_are_not_told(self) -> None:
        """QUIT takes anything."""
        self.assertNotIn("arguments", documentation(table.by_name[b"QUIT"]))
        self.assertEqual(table.by_name[b"QUIT"].usage(), "QUIT")

    def test_of_a_verb_of_ours_the_row_tells_all(self) -> None:
        """There is nothing of it in the file of facts."""
        docs = documentation(table.by_name[b"INSERT"])
        self.assertEqual(list(docs), ["summary", "group", "arguments"])
        self.assertEqual([each["type"] for each in docs["arguments"]], ["key", "string"])


class FactsTests(SynchronousTestCase):
    """The file."""

    def test_it_tells_where_it_is_from(self) -> None:
        """Valkey's licence asks for that."""
        source = " ".join(json.loads(PATH.read_text(encoding="utf-8"))["source"])
        self.assertIn("Valkey contributors. All rights reserved.", source)
        self.assertIn("THIS SOFTWARE IS PROVIDED", source)

    def test_a_command_of_nobody(self) -> None:
        """Nothing is known of it."""
        self.assertEqual(facts.facts_of("nosuch"), {})
