"""Where redis-py's tests come from, and the Python that runs them: both in `.venv`, made when they are first needed.

The source distribution and everything that the tests need come from pip, pinned with hashes in `requirements.txt`,
which lies beside this file and says how it was made from `requirements.in`.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import venv
from pathlib import Path

from tests.suites.installing import install_once

VERSION = "8.1.0"
REQUIREMENTS = Path(__file__).with_name("requirements.txt")


class Environment:
    """An installed copy. `directory`: where to keep it; made if it is not there, by one process at a time."""

    def __init__(self, directory: Path) -> None:
        self.source = directory / f"redis-{VERSION}"
        self.python = directory / "venv" / "bin" / "python"
        install_once(directory, REQUIREMENTS.read_text(encoding="utf-8"), lambda: self._install(directory))

    def _install(self, directory: Path) -> None:
        print(f"installing redis-py's tests into {directory}", file=sys.stderr)
        venv.create(directory / "venv", with_pip=True)
        self._pip("install", "--requirement", str(REQUIREMENTS))
        archive = directory / f"redis-{VERSION}.tar.gz"
        own = directory / "source.txt"
        own.write_text(pin_of("redis", REQUIREMENTS.read_text(encoding="utf-8")), encoding="utf-8")
        words = ["--no-deps", "--no-binary", "redis", "--dest", str(directory), "--requirement", str(own)]
        self._pip("download", *words)
        with tarfile.open(archive) as files:
            files.extractall(directory, filter="data")

    def _pip(self, *words: str) -> None:
        pip = [self.python, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *words], check=True, stdout=sys.stderr)


def pin_of(name: str, requirements: str) -> str:
    """The lines of one package: its version and hashes."""
    lines = requirements.splitlines(keepends=True)
    first = next(number for number, line in enumerate(lines) if line.startswith(f"{name}=="))
    last = next(number for number in range(first, len(lines)) if not lines[number].rstrip().endswith("\\"))
    return "".join(lines[first : last + 1])
