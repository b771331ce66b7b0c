"""Watch a running server: requests, commits, memory, files, commands, clients, slow requests.

TARGET is HOST:PORT, unix:PATH, the name of a project, or tls: before one of these. Keys: Tab or 1 to 4 another table,
Left and Right the column to sort by, r the other way round, Space stand still, q quit.

For scripts: --once prints all of it once, after one interval, --json as JSON; without --once a line for each interval.
The user needs +info, for the tables +client|list, +slowlog|get and +latency|latest. A password comes from a file, the
variable KVSTORE_PASSWORD, or the keyboard; never from the command line, which everybody on the machine can see.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from collections.abc import Iterator
from typing import Any

from kvstore.base.errors import KVStoreError
from kvstore.client.raw import RawConnection
from kvstore.tools.figures import Sample, ask, compare
from kvstore.tools.login import Login, add_login, connected, login_of
from kvstore.tools.screen import VIEWS, Line, Style, summary, table
from kvstore.tools.streams import output

#: Rows of each table that --once prints, and how wide they are.
_MOST_ROWS = 50
_WIDTH = 200


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line."""
    parser.add_argument("target", metavar="TARGET")
    parser.add_argument("--interval", type=_seconds, default=2.0, metavar="SECONDS", help="[default: 2]")
    parser.add_argument("--once", action="store_true", help="print all of it once")
    parser.add_argument("--json", action="store_true", help="as JSON, a line for each interval")
    add_login(parser)


def run(arguments: argparse.Namespace) -> int:
    """The tool."""
    stream = output()
    server = Server(arguments.target, login_of(arguments))
    if arguments.json or arguments.once:
        for figures in _figures(server, arguments.interval, once=arguments.once):
            print(_as_json(figures, server.target) if arguments.json else _as_text(figures, server.target), flush=True)
        return 0
    if not stream.isatty():
        raise KVStoreError("standard output is no terminal; give --once or --json")
    from kvstore.tools.terminal import watch  # curses is not everywhere

    watch(server, arguments.interval)
    return 0


class Server:
    """The one that is watched. It is connected to when it is asked, anew if it went away. `target`: as it was given."""

    def __init__(self, target: str, login: Login) -> None:
        self.target = target
        self._login = login
        self._connection: RawConnection | None = None

    def ask(self, *wanted: str) -> Sample:
        """A sample. Raises OSError if the server does not answer, KVStoreError if it does not let us in."""
        connection = self._connection or self._connect()
        try:
            sample = ask(connection, *([wanted] if wanted else []))
        except (OSError, ValueError):
            self._connection = None
            connection.close()
            raise
        self._connection = connection
        if "info" in sample.refused:
            raise KVStoreError(f"{self.target}: {sample.refused['info']}")
        return sample

    def _connect(self) -> RawConnection:
        return connected(self.target, self._login)


def _figures(server: Server, interval_s: float, *, once: bool) -> Iterator[dict[str, Any]]:
    """By two samples each, until somebody interrupts."""
    before = server.ask()
    while True:
        time.sleep(interval_s)
        now = server.ask()
        yield compare(before, now)
        if once:
            return
        before = now


def _as_json(figures: dict[str, Any], target: str) -> str:
    return json.dumps({"target": target, "time": round(time.time(), 3), **figures})


def _as_text(figures: dict[str, Any], target: str) -> str:
    lines = summary(figures, target)
    for view in VIEWS:
        heading = Line(f"\n{view.title}", Style.TITLE)
        lines += [heading, *table(figures, view, view.sort, True, _MOST_ROWS, _WIDTH)]
    return "\n".join(line.text for line in lines)


def _seconds(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0.1 <= float(text) <= 3600:
            return float(text)
    raise argparse.ArgumentTypeError("give seconds from 0.1 to 3600")
