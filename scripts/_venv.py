"""Begins every program in scripts/ that is written in Python: sees to it that what it needs is there.

    ROOT = Path(__file__).resolve().parent.parent
    sys.path.insert(0, str(ROOT))
    from scripts._venv import enter
    enter("matplotlib")                  # or enter(), if requirements.txt has all that is needed

`_venv.sh` is the same for programs of the shell, and knows how the environment is made. Written for any Python 3, and
for the standard library: it runs before anything is known of the interpreter.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))
_PYTHON = os.path.join(os.path.dirname(_HERE), ".venv", "bin", "python")

#: What requirements.txt brings, needed by all; anything else is a developer's.
_SERVED = ("twisted", "hiredis", "orjson", "caio")
_LEAST = (3, 11)

#: Makes the environment; `$0` is the program.
_ENSURE = '. "$1/_venv.sh"; shift; ensure_venv "$@"'


def enter(*modules: str) -> None:
    """Go on where what the server needs, and all `modules`, are installed: here, or else in the checkout's .venv, which
    is made and filled if need be. Ends the program with one line if that fails.
    """
    missing = [name for name in (*_SERVED, *modules) if not _is_installed(name)]
    if not missing and sys.version_info >= _LEAST:
        return
    if os.environ.get("KVSTORE_ENTERED") == str(os.getpid()):
        _end(f"{missing[0]} is not in {os.path.dirname(_HERE)}/.venv: remove that directory, and run scripts/test")
    files = ["requirements.txt"] if set(missing) <= set(_SERVED) else ["requirements.txt", "requirements-dev.txt"]
    program = os.path.abspath(sys.argv[0])
    if subprocess.call(["sh", "-c", _ENSURE, program, _HERE, *files]) != 0:
        _end(
            f"{', '.join(missing) or 'Python 3.11'} is missing, and .venv could not be filled with it: run scripts/test"
        )
    os.environ["KVSTORE_ENTERED"] = str(os.getpid())
    os.execv(_PYTHON, [_PYTHON, program, *sys.argv[1:]])


def _is_installed(name: str) -> bool:
    """The checkout's own directory `twisted` is found by that name too: a namespace, without a file of its own."""
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.origin is not None


def _end(reason: str) -> None:
    sys.exit(f"{os.path.basename(sys.argv[0])}: {reason}")
