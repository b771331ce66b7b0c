"""What a program needs, installed: an environment of Python or a directory of npm's for each, outside the checkout.

They are made once; one whose packages have changed is made anew. Rejected: one environment for all, since what the
libraries ask of redis-py excludes each other.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.suites.clients.program import PROGRAMS, Program
from tests.suites.installing import install_once

_INSTALL_TIMEOUT_S = 900


class CannotInstall(Exception):
    """A package cannot be had here, or npm itself."""


def default_cache() -> Path:
    """Where the environments are unless told."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "kvstore-clients")


def install(program: Program, cache: Path) -> tuple[list[str], dict[str, str]]:
    """See to it that what it needs is there. Returns the words that start it, and its variables besides ours.

    Raises CannotInstall.
    """
    directory = cache.resolve() / program.name
    is_python = program.path.suffix == ".py"
    fill = _install_python if is_python else _install_node
    install_once(directory, " ".join(program.packages), lambda: fill(directory, program.packages))
    if is_python:
        python = directory / "bin" / "python"
        path = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
        words = [str(python), "-u", "-c", f"import {program.name}; {program.name}.main()"]
        return words, {"PYTHONPATH": str(PROGRAMS), "PATH": path}
    return ["node", str(program.path)], {"NODE_PATH": str(directory / "node_modules")}


def _install_python(directory: Path, packages: Sequence[str]) -> None:
    _run([sys.executable, "-m", "venv", str(directory)])
    if packages:
        _run([str(directory / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", *packages])


def _install_node(directory: Path, packages: Sequence[str]) -> None:
    if shutil.which("npm") is None:
        raise CannotInstall("npm is not installed; on Debian: apt-get install nodejs npm")
    _run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(directory), *packages])


def _run(words: list[str]) -> None:
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        errors="replace", timeout=_INSTALL_TIMEOUT_S,
    )  # fmt: skip
    if done.returncode:
        raise CannotInstall(f"{' '.join(words[:3])} ...: {done.stdout.strip()[-500:]}")
