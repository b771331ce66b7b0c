"""What `pip install .` would install: the whole package, and the one file that gives twistd its kvstore command."""

from __future__ import annotations

import functools
import importlib.metadata
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent

#: The build backend itself, without pip: nothing is fetched.
BUILD = "import setuptools.build_meta as backend; print(backend.build_wheel('.'))"


def build_wheel(directory: Path) -> Path:
    """Build the wheel from a copy of the checkout in `directory`, where the backend may leave what it likes."""
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, directory)
    for name in ("kvstore", "twisted", "tests", "scripts"):
        shutil.copytree(ROOT / name, directory / name, ignore=shutil.ignore_patterns("__pycache__", "dropin.cache"))
    subprocess.run([sys.executable, "-c", BUILD], cwd=directory, check=True, capture_output=True, timeout=120)
    return next(directory.glob("*.whl"))


def _name(requirement: str) -> str:
    """The package that a requirement such as `twisted[tls]>=24.10` is about."""
    return re.split(r"[^A-Za-z0-9_.-]", requirement)[0]


def _setuptools_version() -> tuple[int, int]:
    """Major and minor version; (0, 0) if there is none. From 77 on setuptools knows licence expressions."""
    try:
        major, minor = importlib.metadata.version("setuptools").split(".")[:2]
    except importlib.metadata.PackageNotFoundError:
        return 0, 0
    return int(major), int(minor)


@functools.cache
def wheel() -> tuple[set[str], Message]:
    """The names in the wheel and its metadata; built once. (Trial does not call setUpClass.)"""
    with tempfile.TemporaryDirectory() as directory, zipfile.ZipFile(build_wheel(Path(directory))) as archive:
        names = set(archive.namelist())
        path = next(name for name in names if name.endswith(".dist-info/METADATA"))
        return names, Parser().parsestr(archive.read(path).decode())


class WheelTests(SynchronousTestCase):
    """The built wheel."""

    def setUp(self) -> None:
        """Build the wheel, unless an earlier test did, and read what is in it."""
        if _setuptools_version() < (77, 0):
            raise SkipTest("setuptools 77 or later is not installed: scripts/test installs it")
        self.names, self.metadata = wheel()

    def test_has_the_plugin_and_nothing_else_of_twisted(self) -> None:
        """The plugin goes where twistd looks; an __init__.py beside it would overwrite Twisted's own."""
        ours = {name for name in self.names if name.startswith("twisted/")}
        self.assertEqual(ours, {"twisted/plugins/kvstore_plugin.py"})

    def test_has_every_module(self) -> None:
        """Each file of the package is there, with the mark that it is typed, Lua's, data, and the status page's."""
        paths = [
            path
            for kind in ("py", "lua", "json", "html", "css", "js", "svg")
            for path in (ROOT / "kvstore").rglob(f"*.{kind}")
        ]
        there = {path.relative_to(ROOT).as_posix() for path in paths}
        self.assertEqual({name for name in self.names if name.startswith("kvstore/")}, there | {"kvstore/py.typed"})

    def test_leaves_the_rest_behind(self) -> None:
        """Tests and scripts are not installed: only the package, the plugin and the metadata are."""
        tops = {name.split("/")[0] for name in self.names}
        self.assertEqual({top for top in tops if not top.endswith(".dist-info")}, {"kvstore", "twisted"})

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
