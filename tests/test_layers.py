"""The walls between the rooms, read from every module's imports: they point down, and no room reaches round the disk.

An import under `if TYPE_CHECKING:` counts like any other: a type is knowledge too.
"""

from __future__ import annotations

import ast
import functools
import os
import re
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import kvstore
from kvstore.values import TYPES

SOURCE = os.path.dirname(kvstore.__file__)

#: From the top down: a layer may import itself and what stands below it.
LAYERS = ["edge", "session", "commands", "scripting", "wire", "values", "store", "base"]

#: Rooms beside the layers, and modules of theirs that stand apart, with all that they may import.
BESIDE = {
    "__main__": {"kvstore.base.safe_path", "kvstore.tools"},
    "testing": {"kvstore.base"},
    "kvstore.testing.memory_server": {f"kvstore.{layer}" for layer in LAYERS},
    "kvstore.testing.server_thread": {"kvstore.base.closing", "kvstore.edge.reactor", "kvstore.embedded"},
    "kvstore.testing.trial": {"kvstore.embedded"},
    "tools": {
        "kvstore.base",
        "kvstore.store",
        "kvstore.values",
        "kvstore.client.certificates",
        "kvstore.client.endpoint",
        "kvstore.client.progress",
        "kvstore.client.raw",
        "kvstore.client.target",
        "kvstore.scripting.shebang",
    },
    "embedded": {"kvstore.base", "kvstore.store", "kvstore.values", "kvstore.commands"},
    "kvstore.embedded.server": {f"kvstore.{layer}" for layer in LAYERS},
    "client": {f"kvstore.base.{name}" for name in ("address", "closing", "errors", "jsontext", "limits")},
}

#: Where Twisted may be imported: the edge, the client that returns Deferreds, and the server in memory.
TWISTED = (
    "kvstore.edge", "kvstore.__main__", "kvstore.client.deferred", "kvstore.client.pipeline",
    "kvstore.embedded.server", "kvstore.testing.memory_server", "kvstore.testing.memory_transport",
    "kvstore.testing.string_client", "kvstore.testing.server_thread", "kvstore.testing.trial",
    "kvstore.testing.pytest",
)  # fmt: skip

#: Modules of the standard library that reach files or the process, and who may import them.
FILES = ("os", "io", "pathlib", "shutil", "tempfile", "mmap", "fcntl", "glob", "fileinput")
FILES_ALLOWED = {
    "kvstore.commands.info": "tells the process's number",
    "kvstore.base.address": "reads one environment variable",
    "kvstore.base.directory_lock": "the disk's: flock",
    "kvstore.base.descriptors": "opens the standard streams that are closed, before there is a disk",
    "kvstore.base.disk": "the room of the disk",
    "kvstore.base.safe_path": "takes the working directory off the places where modules are found",
    "kvstore.base.syncing": "the disk's other half: the pipe that a thread reports through",
}

#: Modules of the standard library that reach clocks, randomness, the network or threads: parameters below the edge.
OUTSIDE = ("time", "random", "secrets", "socket", "select", "selectors", "threading", "asyncio", "subprocess")
OUTSIDE_ALLOWED = {
    "kvstore.base.syncing": "a thread that waits for the disk while the process goes on; it decides nothing",
    "kvstore.commands.context": "RANDOMKEY's generator and the stopwatch: attributes of the server, for tests to set",
    "kvstore.base.slices": "a stopwatch: where a slice of long work ends",
    "kvstore.base.chance": "the type of generators",
}

BELOW_THE_EDGE = ("session", "commands", "scripting", "wire", "values", "store", "base")


def module_name(path: str) -> str:
    """`kvstore.base.disk` for the path of its file; a package's `__init__` is the package."""
    parts = os.path.relpath(path, os.path.dirname(SOURCE))[: -len(".py")].split(os.sep)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def sources() -> dict[str, ast.Module]:
    """Every module of kvstore, by its name: its syntax tree, which nobody changes."""
    return {module_name(str(path)): ast.parse(path.read_bytes(), path) for path in sorted(Path(SOURCE).rglob("*.py"))}


def imports(name: str, tree: ast.AST) -> Iterator[str]:
    """The full names of the modules that a module imports, wherever in it the import stands.

    `from kvstore.base import disk` gives `kvstore.base.disk`; what is no module comes behind its module's name.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = name.split(".")[: -node.level]
                base = ".".join([*package, base] if base else package)
            yield from (f"{base}.{alias.name}" for alias in node.names)


@functools.cache
def imported_by() -> dict[str, set[str]]:
    """Every module of kvstore, with what it imports."""
    return {name: set(imports(name, tree)) for name, tree in sources().items()}


def within(name: str, place: str) -> bool:
    """Whether a name is `place` or something inside it."""
    return name == place or name.startswith(place + ".")


def room(name: str) -> str:
    """The layer of a module of kvstore: `base` for `kvstore.base.disk`; empty for kvstore itself."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else ""


def wrong_direction(name: str, imported: str) -> bool:
    """Whether a module of kvstore that imports this breaks the order of the rooms."""
    here, there = room(name), room(imported)
    if not here or imported in ("kvstore", "kvstore.__version__"):
        return bool(there) and not here
    if here in LAYERS and there in LAYERS:
        return LAYERS.index(there) < LAYERS.index(here)
    return here != there and not any(within(imported, allowed) for allowed in BESIDE.get(name) or BESIDE.get(here, ()))


def allowed_twisted(name: str) -> bool:
    """Whether a module may import Twisted."""
    return any(within(name, place) for place in TWISTED)


def violations() -> list[str]:
    """Every import of kvstore's own modules that does not point down."""
    return [
        f"{name} imports {imported}"
        for name, names in imported_by().items()
        for imported in sorted(names)
        if within(imported, "kvstore") and wrong_direction(name, imported)
    ]


def users_of(modules: tuple[str, ...]) -> dict[str, set[str]]:
    """Which modules of kvstore import any of these, and which they import."""
    found: dict[str, set[str]] = {}
    for name, names in imported_by().items():
        used = {module for imported in names for module in modules if within(imported, module)}
        if used:
            found[name] = used
    return found


def graph() -> dict[str, set[str]]:
    """Every module of kvstore with the modules of kvstore that it imports, for types only too."""
    modules = set(sources())
    return {
        name: {module for imported in names if (module := module_of(imported, modules))}
        for name, names in imported_by().items()
    }


def module_of(imported: str, modules: set[str]) -> str:
    """The module that an imported name is, or is in; empty if it is none of these."""
    while imported and imported not in modules:
        imported = imported.rpartition(".")[0]
    return imported


def circles(edges: dict[str, set[str]]) -> set[frozenset[str]]:
    """The groups, of more than one module, of which each leads to each (strongly connected components)."""
    reached = {name: reachable(name, edges) for name in edges}
    groups = {frozenset(other for other in reached[name] if name in reached[other]) for name in edges}
    return {group for group in groups if len(group) > 1}


def reachable(name: str, edges: dict[str, set[str]]) -> set[str]:
    """Where its imports lead, at last."""
    found: set[str] = set()
    ahead = [name]
    while ahead:
        new = edges[ahead.pop()] - found
        found |= new
        ahead += new
    return found


class LayerTests(SynchronousTestCase):
    """The order of the rooms."""

    def test_every_room_is_known(self) -> None:
        """A new package has its place in this file."""
        rooms = {room(name) for name in sources()}
        unknown = rooms - {"", *LAYERS, *BESIDE}
        advice = (
            "put the new room into LAYERS or BESIDE of tests/test_layers.py, and into the table of docs/ARCHITECTURE.md"
        )
        self.assertEqual(unknown, set(), advice)

    def test_imports_point_down(self) -> None:
        """No room imports one above it; `testing` and `client` import only what they may."""
        advice = "move what is needed down (LAYERS of tests/test_layers.py has the order), or hand it in as a parameter"
        self.assertEqual(violations(), [], advice)

    def test_no_circles(self) -> None:
        """No module leads back to itself by its imports: of two that know each other one knows too much."""
        found = [sorted(group) for group in circles(graph())]
        advice = "hand in what is needed as a parameter, or move what both need into a module of its own"
        self.assertEqual(found, [], advice)

    def test_twisted_stays_at_the_edge(self) -> None:
        """Below the edge nobody knows Twisted."""
        users = users_of(("twisted", "zope"))
        advice = "hand in what Twisted gives as a parameter; what is the edge's own business belongs into kvstore/edge"
        self.assertEqual([name for name in users if not allowed_twisted(name)], [], advice)

    def test_the_plain_client_needs_no_twisted(self) -> None:
        """What imports a Twisted module of the client is one itself."""
        plain = [
            f"{name} imports {imported}"
            for name, names in imported_by().items()
            if not allowed_twisted(name)
            for imported in sorted(names)
            if allowed_twisted(imported)
        ]
        self.assertEqual(plain, [], "TWISTED of tests/test_layers.py has the modules of the client that may import it")

    def test_files_are_the_disks(self) -> None:
        """Below the edge only the disk room, and who is listed with a reason, imports what reaches files."""
        users = {name: used for name, used in users_of(FILES).items() if room(name) in BELOW_THE_EDGE}
        advice = "take the Disk of kvstore/base/disk.py, or give a reason in FILES_ALLOWED of tests/test_layers.py"
        self.assertEqual({name: used for name, used in users.items() if name not in FILES_ALLOWED}, {}, advice)

    def test_nobody_calls_open(self) -> None:
        """The built-in `open`, which needs no import, is called by none below the edge."""
        callers = [
            name
            for name, tree in sources().items()
            if room(name) in BELOW_THE_EDGE
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("open", "__import__")
        ]
        self.assertEqual(callers, [], "open files through the Disk of kvstore/base/disk.py")

    def test_clocks_and_chance_are_parameters(self) -> None:
        """Below the edge nobody reads a clock, draws a random number, opens a socket or starts a thread or process."""
        users = {name: used for name, used in users_of(OUTSIDE).items() if room(name) in BELOW_THE_EDGE}
        advice = "take it as a parameter, or give a reason in OUTSIDE_ALLOWED of tests/test_layers.py"
        self.assertEqual({name: used for name, used in users.items() if name not in OUTSIDE_ALLOWED}, {}, advice)

    def test_no_test_imports_another(self) -> None:
        """What tests share is in tests/kit."""
        tests = Path(__file__).parent.glob("test_*.py")
        self.assertEqual(
            [each.name for each in tests if re.search("^(from|import) tests.test_", each.read_text(), re.M)], []
        )

    def test_lists_are_not_stale(self) -> None:
        """Each exception is still needed: its module exists and imports what it was excused for."""
        for allowed, modules in ((FILES_ALLOWED, FILES), (OUTSIDE_ALLOWED, OUTSIDE)):
            stale = set(allowed) - set(users_of(modules))
            self.assertEqual(stale, set(), "strike these from FILES_ALLOWED or OUTSIDE_ALLOWED of tests/test_layers.py")


#: What a store may not name: types are handed to it. The index of documents alone knows one, strings.
TYPE_NAMES = {TYPES.plain.name, TYPES.plain.operation.decode(), *(row.name for row in TYPES.others)}
TYPE_NAMES |= {edit.decode() for edit in TYPES.by_edit} | {row.holds.__name__ for row in TYPES.others}
#: Python's own classes.
TYPE_NAMES -= {"list", "set"}


def names_in(tree: ast.Module) -> Iterator[str]:
    """Every name and every string in a module's code; not in its docstrings, which may give examples."""
    docstrings = {id(docstring) for docstring in docstrings_in(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute):
            yield node.id if isinstance(node, ast.Name) else node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str | bytes) and id(node) not in docstrings:
            text = node.value.decode("latin-1") if isinstance(node.value, bytes) else node.value
            yield from () if "\n" in text else re.findall(r"[A-Za-z]+", text)


def docstrings_in(tree: ast.Module) -> Iterator[ast.expr]:
    """What stands first in a module, and in its classes and functions, if that is a string."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                yield first.value


class TypeTests(SynchronousTestCase):
    """The store knows types of values by their rows only."""

    def test_the_store_names_no_type(self) -> None:
        """Nor any operation of one, nor a class of values; so a new type changes nothing there."""
        named = {
            f"{name} names {found}"
            for name, tree in sources().items()
            if room(name) == "store" and name != "kvstore.store.index"
            for found in set(names_in(tree)) & TYPE_NAMES
        }
        self.assertEqual(named, set(), "what the store needs of a type is in its row: kvstore/base/value_type.py")

    def test_it_would_be_seen(self) -> None:
        """The check finds names and strings, and leaves docstrings alone."""
        tree = ast.parse('def f(v):\n    "HSET in prose"\n    return isinstance(v, Hash) or b"*2 HDEL" in v\n')
        self.assertLessEqual({"Hash", "HDEL"}, set(names_in(tree)))
        self.assertNotIn("HSET", set(names_in(tree)))


class CheckTests(SynchronousTestCase):
    """The checks above do see what they look for."""

    def test_directions(self) -> None:
        """Up is wrong, down and sideways within a room are right."""
        wrong = [
            ("kvstore.base.disk", "kvstore.store.log"), ("kvstore.wire.parser", "kvstore.commands.registry"),
            ("kvstore.store.store", "kvstore.testing.simulated_disk"), ("kvstore.testing.platter", "kvstore.store.log"),
            ("kvstore.client.sync", "kvstore.base.disk.RealDisk"), ("kvstore.session.session", "kvstore.edge.tap"),
            ("kvstore.store.log", "kvstore.client"), ("kvstore.commands", "kvstore.edge"),
            ("kvstore.testing.memory_transport", "kvstore.edge.turn"),
        ]  # fmt: skip
        right = [
            ("kvstore.store.log", "kvstore.base.disk.Disk"), ("kvstore.edge.tap", "kvstore.store.store"),
            ("kvstore.commands.context", "kvstore.store.store.Store"), ("kvstore.base.disk", "kvstore.base.errors"),
            ("kvstore.client.sync", "kvstore.base.jsontext.loads"), ("kvstore.edge.tap", "kvstore"),
            ("kvstore.testing.platter", "kvstore.testing.fates"), ("kvstore.wire.resp", "kvstore.__version__"),
            ("kvstore.testing.memory_server", "kvstore.edge.factory"),
        ]  # fmt: skip
        self.assertEqual([pair for pair in wrong if not wrong_direction(*pair)], [])
        self.assertEqual([pair for pair in right if wrong_direction(*pair)], [])

    def test_circles(self) -> None:
        """Of two, of three, two in one; a module that is only led to is in none."""
        edges = {"a": {"b"}, "b": {"a", "c"}, "c": {"d"}, "d": {"e"}, "e": {"c", "f"}, "f": set()}
        self.assertEqual(circles(edges), {frozenset("ab"), frozenset("cde")})
        self.assertEqual(circles({**edges, "f": {"a"}}), {frozenset("abcdef")})
        self.assertEqual(module_of("kvstore.base.disk.Disk", {"kvstore", "kvstore.base.disk"}), "kvstore.base.disk")
        self.assertEqual(module_of("os.path", {"kvstore"}), "")

    def test_imports_are_found(self) -> None:
        """Of every form, relative, renamed, inside a function or for type checking only."""
        text = """
import os.path as p, kvstore.base
from kvstore.store import log
from ..base.disk import Disk as D
from . import frames
from .. import base
if TYPE_CHECKING:
    from kvstore.edge.tap import Options
def f():
    import twisted
"""
        found = set(imports("kvstore.wire.parser", ast.parse(text)))
        expected = {
            "os.path", "kvstore.base", "kvstore.store.log", "kvstore.base.disk.Disk", "kvstore.wire.frames",
            "kvstore.edge.tap.Options", "twisted",
        }  # fmt: skip
        self.assertEqual(found, expected)

    def test_sources_are_all_there(self) -> None:
        """The walk sees packages and modules under their names."""
        names = {"kvstore", "kvstore.base", "kvstore.base.disk", "kvstore.store.log"}
        self.assertLessEqual(names, sources().keys())
