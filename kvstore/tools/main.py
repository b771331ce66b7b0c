"""The command line of the tools: finds the one that is meant, and turns errors into one line and a status.

0: done. 1: refused, or it failed. 2: called wrongly. 3: nothing of kvstore is there. 4: an interrupted backup, restore
or import is. 5: a link leads nowhere. 6: a newer version wrote it. 130: interrupted from the keyboard.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from kvstore import __version__
from kvstore.base.errors import KVStoreError, NewerVersion, NothingThere, Unfinished, Unreachable
from kvstore.tools import backup, export, group, import_, repair, restore, show, top, verify
from kvstore.tools.streams import complain, prepare, silence

_TOOLS = {
    "verify": verify, "show": show, "repair": repair, "restore": restore, "export": export, "import": import_,
    "backup": backup, "top": top, "group": group,
}  # fmt: skip
_STATUS: dict[type[Exception], int] = {NothingThere: 3, Unfinished: 4, Unreachable: 5, NewerVersion: 6}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one tool; returns the exit status. `arguments`: without the program's name; None for the process's own."""
    prepare()
    parsed = make_parser()[0].parse_args(arguments)
    try:
        status: int = _TOOLS[parsed.command].run(parsed)
        if sys.stdout is not None:
            sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        complain("")
        return 130
    except BrokenPipeError:  # such as `kvstore show FILE | head`
        silence()
        return 1
    except (KVStoreError, OSError, ValueError) as error:
        complain(f"kvstore {parsed.command}: {error}")
        _flush_or_silence()
        return _STATUS.get(type(error), 1)


def make_parser() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """The parser of the command line, and those of the tools by their names."""
    parser = argparse.ArgumentParser(
        prog="kvstore", description="Look at, save and mend data directories of kvstore; watch a server.",
        epilog="kvstore serve [options] is the server: see kvstore serve --help.",
    )  # fmt: skip
    parser.add_argument(
        "--version", action="version", version=f"kvstore {__version__}", help="show the version and exit"
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    tools: dict[str, argparse.ArgumentParser] = {}
    for name, tool in _TOOLS.items():
        text = (tool.__doc__ or "").split("\n\n")[0]
        tools[name] = commands.add_parser(
            name, help=text, description=tool.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        tool.add_arguments(tools[name])
    return parser, tools


def _flush_or_silence() -> None:
    """What was printed before an error is shown, unless that was the error."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        silence()
