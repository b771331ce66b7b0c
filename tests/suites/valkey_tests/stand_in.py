"""The program that Valkey's tests start as `valkey-server`: kvstore, told what the configuration file says.

    python -m tests.suites.valkey_tests.stand_in CONFIGURATION [--NAME VALUE ...]

This process becomes the server, so that the tests, which know its number, can end it. A child of it waits until the
server listens, and says by CONFIG SET what is no option of the start; what is refused stays as it is. It then prints
the two lines that the tests wait for.

The server has a file of settings of its own, in which it finds users; what CONFIG REWRITE puts there is not said again
when a test starts the server anew.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from kvstore.base.address import Address
from kvstore.client.raw import RawConnection, resp_request
from kvstore.edge.config_text import lines_of, setting_of
from kvstore.testing.server_process import PATIENCE_S, command, environment
from scripts.measuring.processes import die_with_parent

_POLL_SECONDS = 0.01

#: One test's script takes a second of processor time.
_SCRIPT_MS = 10_000

#: What the server takes as an option: the option, by Valkey's name.
_OPTIONS = {
    "port": "--port", "databases": "--databases", "appendfsync": "--sync", "maxclients": "--max-clients",
    "enable-debug-command": "--enable-debug-command",
}  # fmt: skip


def settings_of(words: Sequence[str]) -> dict[str, str]:
    """What the command line says: a configuration file first, then `--name value ...`; each name's last value."""
    path, *others = words
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    lines += " ".join(others).split("--")
    pairs = (line.strip().partition(" ") for line in lines if line.strip() and not line.startswith("#"))
    return {name.lower(): " ".join(shlex.split(value)) for name, _, value in pairs}


def words_of(settings: dict[str, str]) -> list[str]:
    """The words that start kvstore with what it takes as options."""
    words = [word for name, option in _OPTIONS.items() if name in settings for word in (option, settings[name])]
    if "unixsocket" in settings:
        words += ["--listen", f"unix:{settings['unixsocket']}"]
    words += ["--script-ms", str(_SCRIPT_MS), "--config", str(_file_of_settings(settings))]
    if "aclfile" in settings:
        words += ["--acl-file", str(Path(settings.get("dir", "."), settings["aclfile"]).absolute())]
    return command("--data", str(Path(settings.get("dir", "."), "kvstore-data")), *words)


def _file_of_settings(settings: dict[str, str]) -> Path:
    """The server's own; made with the user that the configuration has, if there is none yet."""
    path = Path(settings.get("dir", "."), "kvstore.conf").absolute()
    if not path.exists():
        path.write_text(f"user {settings['user']}\n" if "user" in settings else "", encoding="utf-8")
    return path


def _kept(settings: dict[str, str]) -> set[str]:
    """The settings that CONFIG REWRITE has put into that file."""
    return {line.setting for line in lines_of(_file_of_settings(settings).read_bytes())}


def _tell(settings: dict[str, str], server: int) -> None:
    """Wait until the server listens, set what can be set, and say so: the tests wait two minutes for both lines, but
    for an answer behind them a few seconds only. `server`: the number of its process.
    """
    said = {*_OPTIONS, "aclfile", "user", *_kept(settings)}
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), RawConnection(Address("127.0.0.1", int(settings["port"]))) as connection:
            for name, value in settings.items():
                if setting_of(name) not in said:
                    connection.send(resp_request("CONFIG", "SET", name, value))
                    connection.resp()
            print(f"Started, PID: {server}. Server initialized\nReady to accept connections", flush=True)
            return
        time.sleep(_POLL_SECONDS)


def main() -> None:
    """The program. Returns only in the child."""
    settings = settings_of(sys.argv[1:])
    die_with_parent()
    server = os.getpid()
    if os.fork():
        words = words_of(settings)
        os.execve(words[0], words, environment())
    _tell(settings, server)


if __name__ == "__main__":
    main()
