"""Every type of values, deadlines of elements, all databases: each tool takes them whole, by the type's row alone."""

from __future__ import annotations

import contextlib
import io
import json
import os
from typing import Any

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.disk import RealDisk
from kvstore.store.examine import LIVE, examine
from kvstore.store.merge import merge
from kvstore.store.operations import encode
from kvstore.tools import directory, import_, repair, timeline
from kvstore.tools.main import main
from tests.kit.store_files import commit
from tests.kit.tools import write_files
from tests.kit.value_changes import Draw, all_seen, changes, check, grown, live, new_store
from tests.kit.value_strategies import BAG, TYPES_AND_BAG


def without_order(found: dict[int, Any]) -> dict[int, Any]:
    """What `live` and `held` tell, but for the order in hashes and sets: the directory makes that of large ones."""
    return {number: {key: _without_order(*seen) for key, seen in keys.items()} for number, keys in found.items()}


def _without_order(content: Any, deadline_ms: int | None) -> object:
    if not isinstance(content, bytes) and content[0][0][0] == b"SADD":
        members = {(name, word) for name, words in content[0] for word in words}
        return members, content[1:], deadline_ms
    if isinstance(content, bytes) or content[0][0][0] != b"HSET":
        return content, deadline_ms
    values: dict[bytes, bytes] = {}
    deadlines: dict[bytes, bytes] = {}
    for name, words in content[0]:
        if name == b"HSET":
            values.update(zip(words[::2], words[1::2], strict=True))
        else:
            deadlines.update(dict.fromkeys(words[3:], words[0]))
    return values, deadlines, content[1:], deadline_ms


class TypeTests(SynchronousTestCase):
    """Tools on a directory with values of all types, in three databases."""

    def setUp(self) -> None:
        """The tools know the tests' own type, too."""
        for module in (directory, import_, repair, timeline):
            self.patch(module, "TYPES", TYPES_AND_BAG)

    def new(self) -> str:
        """A path where nothing is yet."""
        return os.path.abspath(self.mktemp())

    def run_tool(self, *words: str) -> bytes:
        """What it wrote; it did its work."""
        output = io.TextIOWrapper(io.BytesIO(), encoding="latin-1", newline="", write_through=True)
        with contextlib.redirect_stdout(output):
            self.assertEqual(main(words), 0, output.buffer.getvalue())  # type: ignore[attr-defined]
        written: bytes = output.buffer.getvalue()  # type: ignore[attr-defined]
        return written

    def held(self, path: str) -> dict[int, object]:
        """What a directory holds."""
        return all_seen(examine(RealDisk(path), TYPES_AND_BAG).databases.by_number.items())

    def imported(self, exported: bytes, *option: str) -> str:
        """A directory made of that."""
        out, file = self.new(), self.new()
        with open(file, "wb") as written:
            written.write(exported)
        self.run_tool("import", *option, out, file)
        return out

    def round_trips(self, draw: Draw) -> None:
        """Each tool, on a directory with checkpoint and log."""
        disk, store = new_store(TYPES_AND_BAG)
        store.databases[0].write(b"\xff", b"\xfe")
        for number, row in enumerate(TYPES_AND_BAG.others):
            value = grown(draw, row, store.types.places)
            if len(value):
                store.databases[number % 3].put(
                    b"\xffvalue %d" % number, value, draw(st.none() | st.just(4_000_000_000_000))
                )
        store.pending.undo.clear()
        commit(store)
        store.finish_compaction(merge(disk, TYPES_AND_BAG, store.seal(), 0))
        for _ in range(3):
            changes(draw, store)
            commit(store)
        expected, path = live(store), write_files(self.mktemp(), disk.contents())
        for option in ([], ["--resp"]):
            made = self.held(self.imported(self.run_tool("export", *option, path), *option))
            self.assertEqual(without_order(made), without_order(expected))
        for tool in ("backup", "restore"):
            copy = self.new()
            self.run_tool(tool, path, copy)
            self.assertEqual(self.held(copy), expected)
        self.run_tool("verify", path)
        for name in (LIVE, "table.ckpt"):
            self.assertEqual(self.run_tool("show", "--json", os.path.join(path, name)).count(b"verdict"), 1)

    def test_round_trips(self) -> None:
        """Backup, restore, export and import in both forms make what was there."""
        check(8, self.round_trips)

    def bag(self) -> str:
        """A directory with one bag in database 2."""
        disk, store = new_store(TYPES_AND_BAG)
        store.databases[2].edit(b"key", b"BAGPUT", [b"a", b"1", b"\xff", b"2"])
        store.databases[2].edit(b"key", b"BAGEXPIREAT", [b"4000000000000", b"a"])
        store.databases[2].set_deadline(b"key", 5_000_000_000_000)
        commit(store)
        return write_files(self.mktemp(), disk.contents())

    def test_lines(self) -> None:
        """A line says what makes the value."""
        operations: list[Any] = [
            ["BAGPUT", "a", "1", {"base64": "/w=="}, "2"], ["BAGEXPIREAT", "4000000000000", "a"],
        ]  # fmt: skip
        line = {"db": 2, "key": "key", "type": "bag", "operations": operations, "deadline_ms": 5_000_000_000_000}
        self.assertEqual(json.loads(self.run_tool("export", self.bag())), line)

    def test_commands(self) -> None:
        """Valid commands for any server that has the type: what is at the key there goes first."""
        self.assertEqual(
            self.run_tool("export", "--resp", self.bag()),
            encode(b"SELECT", b"2") + encode(b"DEL", b"key") + encode(b"BAGPUT", b"key", b"a", b"1", b"\xff", b"2")
            + encode(b"BAGEXPIREAT", b"key", b"4000000000000", b"a") + encode(b"PEXPIREAT", b"key", b"5000000000000"),
        )  # fmt: skip

    def test_verify_tells_of_databases(self) -> None:
        """Those with keys."""
        said = self.run_tool("verify", self.bag())
        self.assertIn(b"keys:            0, of which 0 with a deadline\n", said)
        self.assertIn(b"keys in db 2:    1, of which 1 with a deadline\n", said)

    def refused(self, file: bytes, *option: str) -> str:
        """Why that cannot be imported; nothing is made."""
        out, path, errors = self.new(), self.new(), io.StringIO()
        with open(path, "wb") as written:
            written.write(file)
        with contextlib.redirect_stderr(errors):
            self.assertEqual(main(["import", *option, out, path]), 1)
        self.assertFalse(os.path.exists(out))
        return errors.getvalue()

    def test_lines_that_are_refused(self) -> None:
        """Operations of no type or another one, that leave nothing, on another's key; databases that are none."""
        good = {"key": "k", "type": "bag", "operations": [["BAGPUT", "a", "1"]]}
        for changed in (
            {"operations": []}, {"operations": [["BAGPUT", "a"]]}, {"operations": [["BAGPUT", "a", "x"]]},
            {"operations": [["DEL"]]}, {"operations": [["SET", "a"]]}, {"operations": [[]]}, {"operations": 5},
            {"operations": [["BAGPUT", "a", "1"], ["BAGTAKE", "a"]]}, {"type": "hash"}, {"db": -1}, {"db": "0"},
            {"db": True}, {"db": 1 << 31},
        ):  # fmt: skip
            line = json.dumps(good).encode() + b"\n" + json.dumps(good | changed).encode() + b"\n"
            self.assertIn("line 2 is none", self.refused(line))

    def test_commands_that_are_refused(self) -> None:
        """The same in RESP."""
        good = encode(b"BAGPUT", b"k", b"a", b"1")
        for bad in (
            encode(b"SELECT", b"-1"), encode(b"SELECT", b"1", b"2"), encode(b"SELECT"), encode(b"FLUSHALL"),
            encode(b"BAGPUT", b"k", b"a"), encode(b"BAGPUT"), encode(b"BAGTAKE"), encode(b"PEXPIREAT", b"other", b"5"),
            encode(b"PEXPIREAT", b"k", b"soon"), encode(b"PEXPIREAT", b"k"), encode(b"DEL", b"k", b"l"),
            encode(b"SET", b"s", b"v") + encode(b"BAGPUT", b"s", b"a", b"1"), encode(b"RENAME", b"k", b"l"),
        ):  # fmt: skip
            said = self.refused(good + bad, "--resp")
            self.assertRegex(said, "command [23] is none")

    def test_types_differ(self) -> None:
        """Equality of states sees all of a value: `backup` counts on it."""
        one, other = (examine(RealDisk(self.bag()), TYPES_AND_BAG).databases for _ in range(2))
        self.assertTrue(directory.equal(one, other))
        other.at(2).values[b"key"].deadlines[b"a"] += 1
        self.assertFalse(directory.equal(one, other))
        self.assertEqual(BAG.name, "bag")
