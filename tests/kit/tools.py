"""The operator's tools in the tests' own process, and directories for them to work on."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Mapping

from kvstore.tools.main import main


def run_tool(*words: str) -> tuple[int, str]:
    """Exit status of a tool, and what it printed to both streams."""
    output = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        status = main(words)
    return status, output.buffer.getvalue().decode("utf-8")  # type: ignore[attr-defined]


def write_files(path: str, contents: Mapping[str, bytes]) -> str:
    """Make a directory with these files; returns its path, absolute."""
    os.makedirs(path)
    for name, data in contents.items():
        with open(os.path.join(path, name), "wb") as file:
            file.write(data)
    return os.path.abspath(path)


def read_files(path: str) -> dict[str, bytes]:
    """The files of a directory by name, but for the lock, which holds nothing."""
    found = {}
    for entry in os.scandir(path):
        if entry.name != "lock":
            with open(entry.path, "rb") as file:
                found[entry.name] = file.read()
    return found
