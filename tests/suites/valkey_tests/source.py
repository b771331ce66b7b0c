"""Where Valkey's tests come from: Debian's source package, fetched by apt once, into `.venv`.

apt gets lists and an archive of its own, so it needs neither root nor a `deb-src` line of the machine's.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from kvstore.testing.server_process import ROOT
from tests.suites.installing import install_once

#: Debian's version, Valkey's own, and what its archive's checksum is.
PACKAGE, VERSION = "valkey=9.1.2-1", "9.1.2"
SHA256 = "8e8557da7426a51b4e0fb514a65ef6241dc7c85cb408243af389070abf379cec"

_FROM = "deb-src [trusted=yes] http://deb.debian.org/debian sid main\n"  # the checksum is ours
_TIMEOUT_S = 900


def fetched() -> Path:
    """The unpacked source. Raises CalledProcessError if apt cannot have it, RuntimeError if it is another."""
    directory = Path(ROOT, ".venv", "valkey-source").resolve()
    install_once(directory, f"{PACKAGE} {SHA256}", lambda: _fetch(directory))
    return next(path for path in directory.iterdir() if (path / "tests" / "test_helper.tcl").exists())


def _fetch(directory: Path) -> None:
    print(f"fetching Valkey's source into {directory}", file=sys.stderr)
    options = _apt_options(directory / "apt")
    for words in (["update"], ["source", "--download-only", PACKAGE]):
        command = ["apt-get", "-qq", *options, *words]
        subprocess.run(command, cwd=directory, stdin=subprocess.DEVNULL, check=True, timeout=_TIMEOUT_S)
    shutil.rmtree(directory / "apt")
    archive = directory / f"valkey_{VERSION}.orig.tar.gz"
    if (found := hashlib.sha256(archive.read_bytes()).hexdigest()) != SHA256:
        raise RuntimeError(f"{archive} is not what it was: its SHA-256 is {found}")
    with tarfile.open(archive) as files:
        files.extractall(directory, filter="data")


def _apt_options(directory: Path) -> list[str]:
    """Of an apt that keeps everything below `directory`, which is made."""
    for name in ("lists/partial", "cache/archives/partial"):
        (directory / name).mkdir(parents=True)
    (directory / "sources.list").write_text(_FROM, encoding="utf-8")
    settings = {
        "Dir::Etc::SourceList": directory / "sources.list", "Dir::Etc::SourceParts": "-",
        "Dir::State::Lists": directory / "lists", "Dir::Cache": directory / "cache",
        "APT::Sandbox::User": Path(os.path.expanduser("~")).owner(), "Acquire::Retries": 3,
    }  # fmt: skip
    return [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
