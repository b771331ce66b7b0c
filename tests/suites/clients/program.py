"""A program that uses one client: what it is called, what it needs, what it shows, told by the comment it begins with.

    NAME: what it does, in
    a paragraph.

    Packages: celery[redis]==5.7.0 other==1.0

That stands in the docstring of a Python program, or in the `//` lines at the head of a JavaScript one. Packages are
PyPI's or npm's, with their versions; a program without that line needs none.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

PROGRAMS = Path(__file__).resolve().parent / "programs"
_SUFFIXES = (".py", ".js")


class Program(NamedTuple):
    """One program. `client`: the name in the table; `about`: what it does; `packages`: what is installed for it."""

    path: Path
    client: str
    about: str
    packages: tuple[str, ...]

    @property
    def name(self) -> str:
        """What it is called on the command line."""
        return self.path.stem


def read(path: Path) -> Program:
    """The program in a file. Raises ValueError if its head does not say what it is."""
    lines = [line.removeprefix('"""').removeprefix("//").strip() for line in path.read_text().splitlines()]
    head = " ".join(lines[: lines.index("")])
    client, colon, about = head.partition(": ")
    if not colon:
        raise ValueError(f"{path}: its first paragraph is to be 'NAME: what it does'")
    packages = next((line.split()[1:] for line in lines if re.match("Packages: ", line)), [])
    return Program(path, client, about, tuple(packages))


def all_programs(directory: Path = PROGRAMS) -> list[Program]:
    """Those of the directory, Python's first, by name. `common` is what they share, and none."""
    paths = [path for path in directory.iterdir() if path.suffix in _SUFFIXES and path.stem != "common"]
    return [read(path) for path in sorted(paths, key=lambda path: (_SUFFIXES.index(path.suffix), path.name))]
