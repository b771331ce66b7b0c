"""What the suites install outside the checkout's own environment: once, and anew when something else is wanted."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable
from pathlib import Path


def install_once(directory: Path, wanted: str, install: Callable[[], None]) -> None:
    """See to it that `directory` holds what `install` puts there, which finds it empty. `wanted`: tells what that is;
    if it is not what was installed before, all is done anew. One process at a time; what failed is tried again.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{directory}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp = directory / "installed"
        if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir()
            install()
            stamp.write_text(wanted, encoding="utf-8")
