"""The command line of the tools: finds the one that is meant, and turns errors into one line and status 1."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from kvstore import __version__
from kvstore.base.errors import KVStoreError
from kvstore.tools import backup, export, import_, repair, restore, show, verify

_TOOLS = {
    "verify": verify, "show": show, "repair": repair, "restore": restore, "export": export, "import": import_,
    "backup": backup,
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one tool; returns the exit status. `arguments`: without the program's name; None for the process's own."""
    parser = argparse.ArgumentParser(
        prog="kvstore", description="Look at, save and mend data directories of kvstore.",
        epilog="kvstore serve [options] is the server: see kvstore serve --help.",
    )  # fmt: skip
    parser.add_argument(
        "--version", action="version", version=f"kvstore {__version__}", help="show the version and exit"
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, tool in _TOOLS.items():
        text = (tool.__doc__ or "").split("\n\n")[0]
        tool.add_arguments(commands.add_parser(name, help=text, description=tool.__doc__,
                                               formatter_class=argparse.RawDescriptionHelpFormatter))  # fmt: skip
    parsed = parser.parse_args(arguments)
    try:
        status: int = _TOOLS[parsed.command].run(parsed)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130
    except BrokenPipeError:  # such as `kvstore show FILE | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except (KVStoreError, OSError, ValueError) as error:
        print(f"kvstore {parsed.command}: {error}", file=sys.stderr)
        return 1
