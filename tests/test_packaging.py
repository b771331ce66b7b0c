"""What `pip install .` would install: the whole package, and the one file that gives twistd its kvstore command."""

from __future__ import annotations

import functools
import hashlib
import io
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from twisted.trial.unittest import SynchronousTestCase

from tests.kit.server_process import Serving, new_directory

ROOT = Path(__file__).resolve().parent.parent

#: The build backend itself, without pip: nothing is fetched.
BUILD = "import hatchling.build as backend; backend.build_wheel('dist'); backend.build_sdist('dist')"

#: What is built from; the rest of the checkout goes into the source distribution as it is.
_SOURCES = ("pyproject.toml", "README.md", "LICENSE", ".gitignore", "kvstore", "twisted", "docs", "contrib")


def build(directory: Path, umask: int = 0o022) -> tuple[Path, Path]:
    """Build from a copy of the checkout in `directory`, where the backend may leave what it likes. Returns the wheel
    and the source distribution. `umask`: of who made the copy, and builds.
    """
    words = ["cp", "--recursive", *(str(ROOT / name) for name in _SOURCES), str(directory)]
    subprocess.run(words, check=True, umask=umask, timeout=120)
    words = [sys.executable, "-c", BUILD]
    subprocess.run(words, cwd=directory, check=True, capture_output=True, umask=umask, timeout=120)
    return next(directory.glob("dist/*.whl")), next(directory.glob("dist/*.tar.gz"))


def _name(requirement: str) -> str:
    """The package that a requirement such as `twisted[tls]>=24.10` is about."""
    return re.split(r"[^A-Za-z0-9_.-]", requirement)[0]


@functools.cache
def built() -> tuple[bytes, bytes]:
    """The wheel and the source distribution; built once. (Trial does not call setUpClass.)"""
    with tempfile.TemporaryDirectory() as directory:
        wheel, source = build(Path(directory))
        return wheel.read_bytes(), source.read_bytes()


class WheelTests(Serving, SynchronousTestCase):
    """The built wheel."""

    def setUp(self) -> None:
        """Build the wheel, unless an earlier test did, and read what is in it."""
        self.archive = zipfile.ZipFile(io.BytesIO(built()[0]))
        self.names = set(self.archive.namelist())
        path = next(name for name in self.names if name.endswith(".dist-info/METADATA"))
        self.metadata = Parser().parsestr(self.archive.read(path).decode())

    def test_has_the_plugin_and_nothing_else_of_twisted(self) -> None:
        """The plugin goes where twistd looks; an __init__.py beside it would overwrite Twisted's own."""
        ours = {name for name in self.names if name.startswith("twisted/")}
        self.assertEqual(ours, {"twisted/plugins/kvstore_plugin.py"})

    def test_has_every_file(self) -> None:
        """Each file of the package is there: modules, the mark that it is typed, Lua's, data, the status page's."""
        paths = [path for path in (ROOT / "kvstore").rglob("*") if path.is_file() and path.suffix != ".pyc"]
        there = {path.relative_to(ROOT).as_posix() for path in paths}
        self.assertEqual({name for name in self.names if name.startswith("kvstore/")}, there)

    def test_has_the_manual(self) -> None:
        """Where man(1) of an environment looks."""
        pages = {name.partition(".data/data/")[2] for name in self.names if ".data/" in name}
        self.assertEqual(pages, {"share/man/man1/kvstore.1", "share/man/man1/kvstore-serve.1"})

    def test_serves(self) -> None:
        """A server of nothing but the wheel, on the libraries that are here: nothing that it needs was left behind."""
        directory = new_directory(self.addCleanup)
        self.archive.extractall(directory)
        with open(os.path.join(directory, "kvstore", "__init__.py"), "a") as file:
            file.write('__version__ = "the wheel\'s"\n')
        server = self.start(
            "--http=tcp:0:interface=127.0.0.1", env=dict(os.environ, PYTHONPATH=directory), directory="/"
        )
        wire = self.connect(server)
        self.assertEqual(wire.ask("EVAL", "return 'well'", "0"), b"well")
        self.assertIn("the wheel's", wire.info("server").values())

    def test_leaves_the_rest_behind(self) -> None:
        """Tests and scripts are not installed: only the package, the plugin and the metadata are."""
        tops = {name.split("/")[0] for name in self.names}
        self.assertEqual({top for top in tops if not top.endswith((".dist-info", ".data"))}, {"kvstore", "twisted"})

    def test_requires_what_it_imports(self) -> None:
        """These libraries, and nothing else, come with a plain install."""
        required = [text for text in self.metadata.get_all("Requires-Dist", []) if "extra ==" not in text]
        advice = "a new one is named here, told in pyproject.toml, and pinned as CONTRIBUTING.md tells"
        named = {"twisted", "hiredis", "orjson", "caio", "lupa", "jinja2", "prometheus-client"}
        self.assertEqual({_name(text) for text in required}, named, advice)
        self.assertEqual(self.metadata["Requires-Python"], ">=3.11")

    def test_says_whose_it_is(self) -> None:
        """Its name on PyPI, its licence and its authors; the licence's text comes along."""
        told = [self.metadata[field] for field in ("Name", "License-Expression", "License-File", "Author")]
        self.assertEqual(told, ["twisted-kvstore", "MIT", "LICENSE", "the kvstore developers"])
        self.assertIn("twisted", self.metadata["Keywords"])
        self.assertTrue(any(name.endswith(".dist-info/licenses/LICENSE") for name in self.names), self.names)


class ReproducibleTests(SynchronousTestCase):
    """Who builds what was released can see that it is the same."""

    @pytest.mark.long
    def test_to_the_last_byte(self) -> None:
        """By somebody else, in another place, at another time."""
        with tempfile.TemporaryDirectory() as directory:
            again = build(Path(directory), umask=0o077)
            self.assertEqual([hashlib.sha256(path.read_bytes()).hexdigest() for path in again],
                             [hashlib.sha256(data).hexdigest() for data in built()])  # fmt: skip

    def test_source_distribution(self) -> None:
        """It has what is needed to build, and to run."""
        with tarfile.open(fileobj=io.BytesIO(built()[1])) as archive:
            names = {name.partition("/")[2] for name in archive.getnames()}
        for name in (
            "pyproject.toml",
            "kvstore/__main__.py",
            "twisted/plugins/kvstore_plugin.py",
            "docs/man/kvstore.1",
        ):
            self.assertIn(name, names)


#: A line of a requirements file that pins a package: its name, its version, where it is needed.
_PIN = re.compile(r"([a-z0-9._-]+)==([0-9a-z.]+)( ; .+)? \\")


class RequirementsTests(SynchronousTestCase):
    """The exact versions, with their hashes, that scripts/serve and scripts/test install."""

    def pins(self, name: str) -> dict[str, str]:
        """The pinned packages of a requirements file; every line must pin one, or be a hash of the one above."""
        pins = {}
        for line in (ROOT / name).read_text().splitlines():
            if line.startswith("#") or re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", line):
                continue
            pin = _PIN.fullmatch(line)
            self.assertIsNotNone(pin, f"{name}: {line!r} pins nothing; make the file anew by the command in its head")
            assert pin is not None
            pins[pin[1]] = pin[2]
        return pins

    def test_every_declared_dependency_is_pinned(self) -> None:
        """What pyproject.toml asks for is in the requirements files, runtime and development apart."""
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        extras = [text for extra in project["optional-dependencies"].values() for text in extra]
        for texts, file in ((project["dependencies"], "requirements.txt"), (extras, "requirements-dev.txt")):
            missing = {_name(text) for text in texts} - {project["name"]} - set(self.pins(file))
            advice = f"make {file} anew by the command in its first lines: pyproject.toml asks for what it does not pin"
            self.assertEqual(missing, set(), advice)

    def test_development_adds_to_runtime(self) -> None:
        """Tests run with the versions that the server runs with."""
        runtime, development = self.pins("requirements.txt"), self.pins("requirements-dev.txt")
        advice = "make requirements-dev.txt anew by the command in its first lines: requirements.txt has changed"
        self.assertEqual({name: development.get(name) for name in runtime}, runtime, advice)

    def test_tells_no_registry(self) -> None:
        """Where packages come from is the business of whoever installs them."""
        for name in ("requirements.txt", "requirements-dev.txt"):
            self.assertNotIn("://", (ROOT / name).read_text())
