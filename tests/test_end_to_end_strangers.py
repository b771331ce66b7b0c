"""Strangers at the real server: each kind once, as scripts/strangers has them come again and again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.kit.server_process import new_directory
from tests.suites.strangers.__main__ import judged, served
from tests.suites.strangers.cases import CASES


@pytest.mark.long
class StrangersTests(SynchronousTestCase):
    """Nothing but errors, and a server that is well."""

    def test_all_but_the_crowd(self) -> None:
        """One server for all; a violation says whose it is."""
        if shutil.which("redis-cli") is None:
            raise SkipTest("there is no redis-cli; on Debian: apt-get install redis-tools")
        with served(Path(new_directory(self.addCleanup))) as target:
            for name, comes in CASES.items():
                if "connections" not in name:
                    comes(target)
                    judged(target)
