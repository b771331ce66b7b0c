"""Programs of the system that a test needs."""

from __future__ import annotations

import os
import shutil
import subprocess

from twisted.trial.unittest import SkipTest

from kvstore.testing.server_process import PATIENCE_S


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """Run one to its end. Raises SkipTest if it is not there."""
    program = shutil.which(words[0], path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if program is None:
        raise SkipTest(f"{words[0]} is not installed: .ci/run installs it")
    return subprocess.run([program, *words[1:]], capture_output=True, text=True, timeout=PATIENCE_S)
