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
    for name in ("pyproject.toml", "README.md"):
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
    """Major and minor version; (0, 0) if there is none. From 70.1 on setuptools builds wheels without help."""
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
        if _setuptools_version() < (70, 1):
            raise SkipTest("setuptools 70.1 or later is not installed: scripts/test installs it")
        self.names, self.metadata = wheel()

    def test_has_the_plugin_and_nothing_else_of_twisted(self) -> None:
        """The plugin goes where twistd looks; an __init__.py beside it would overwrite Twisted's own."""
        ours = {name for name in self.names if name.startswith("twisted/")}
        self.assertEqual(ours, {"twisted/plugins/kvstore_plugin.py"})

    def test_has_every_module(self) -> None:
        """Each file of the package is there, with the mark that it is typed."""
        there = {path.relative_to(ROOT).as_posix() for path in (ROOT / "kvstore").rglob("*.py")}
        self.assertEqual({name for name in self.names if name.startswith("kvstore/")}, there | {"kvstore/py.typed"})

    def test_leaves_the_rest_behind(self) -> None:
        """Tests and scripts are not installed: only the package, the plugin and the metadata are."""
        tops = {name.split("/")[0] for name in self.names}
        self.assertEqual({top for top in tops if not top.endswith(".dist-info")}, {"kvstore", "twisted"})

    def test_requires_what_it_imports(self) -> None:
        """Four libraries, and nothing else, come with a plain install."""
        required = [text for text in self.metadata.get_all("Requires-Dist", []) if "extra ==" not in text]
        self.assertEqual({_name(text) for text in required}, {"twisted", "hiredis", "orjson", "caio"})
        self.assertEqual(self.metadata["Requires-Python"], ">=3.11")


class RequirementsTests(SynchronousTestCase):
    """The exact versions that scripts/serve and scripts/test install."""

    def pins(self, name: str) -> dict[str, str]:
        """The pinned packages of a requirements file, names in lower case without extras; every line must pin one."""
        pins = {}
        for line in (ROOT / name).read_text().splitlines():
            if line and not line.startswith(("#", "-r ")):
                pin = re.fullmatch(r"([A-Za-z0-9._-]+)(\[[a-z,]+\])?==([0-9a-z.]+)", line)
                self.assertIsNotNone(pin, line)
                assert pin is not None
                pins[pin[1].lower()] = pin[3]
        return pins

    def test_every_declared_dependency_is_pinned(self) -> None:
        """What pyproject.toml asks for is in the requirements files, runtime and development apart."""
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        extras = [text for extra in project["optional-dependencies"].values() for text in extra]
        for texts, file in ((project["dependencies"], "requirements.txt"), (extras, "requirements-dev.txt")):
            declared = {_name(text) for text in texts} - {"kvstore"}
            self.assertEqual(declared - set(self.pins(file)), set())

    def test_development_adds_to_runtime(self) -> None:
        """No package is pinned twice."""
        self.assertEqual(set(self.pins("requirements.txt")) & set(self.pins("requirements-dev.txt")), set())
