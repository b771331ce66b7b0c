"""A network of its own for the tests, whose ports nobody else has: they look for their server at a port that is fixed.

By Linux's `unshare`, which makes the program root of what is its own, and nowhere else.
"""

from __future__ import annotations

import os
import subprocess
import sys

#: Set in the environment of a program that is in such a network.
_INSIDE = "LIBRARY_SUITES_OWN_NETWORK"


def enter(module: str) -> None:
    """Begin this program, which is `python -m MODULE`, anew in such a network; returns if it is in one already.

    Raises OSError if there is no `unshare` or no `ip` (util-linux, iproute2).
    """
    if _INSIDE in os.environ:
        _prepare()
    else:
        words = ["unshare", "--net", "--map-root-user", sys.executable, "-m", module, *sys.argv[1:]]
        os.execvpe(words[0], words, os.environ | {_INSIDE: "1"})


def _prepare() -> None:
    """This machine by its names, and a way to all others, on which nobody answers."""
    for words in ("link set lo up", "route add default dev lo"):
        subprocess.run(["ip", *words.split()], check=True)
