"""scripts/group_faults: which rounds there are, what a client notes, what is seen of servers that differ, its end."""

from __future__ import annotations

import argparse
import itertools
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any
from unittest.mock import Mock, patch

import pytest
from twisted.trial.unittest import SynchronousTestCase

from kvstore.testing.server_process import ROOT
from tests.kit.etcd import MISSING
from tests.kit.server_process import new_directory
from tests.suites.group_faults import one_group, plan, rounds
from tests.suites.group_faults.client import Client
from tests.suites.group_faults.faults import KINDS
from tests.suites.group_faults.rounds import Violated, level
from tests.suites.histories.checker import REFUSED, UNKNOWN, Operation

_SUITE = [sys.executable, "-m", "tests.suites.group_faults"]


def _options(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    plan.add_options(parser)
    return parser.parse_args(words)


class PlanTests(SynchronousTestCase):
    """Which rounds there are."""

    def setUp(self) -> None:
        """All kinds can be had here."""
        patched = patch.object(plan, "left_out", dict)
        patched.start()
        self.addCleanup(patched.stop)

    def test_each_kind_so_often(self) -> None:
        """--rounds-each is the number of rounds of each kind."""
        self.assertEqual(Counter(plan.all_rounds(_options("--rounds-each", "3"))), dict.fromkeys(KINDS, 3))

    def test_shares_are_all(self) -> None:
        """What groups do side by side is what one would do, and each does some of every kind."""
        shares = [plan.share_of(_options("--rounds-each", "4", "--share", f"{number}/2")) for number in range(2)]
        self.assertEqual([Counter(share) for share in shares], [dict.fromkeys(KINDS, 2)] * 2)

    def test_settings_stay_together(self) -> None:
        """A setting is made once, however many rounds ask for it."""
        settings = [KINDS[name].setting for name in plan.all_rounds(_options("--rounds-each", "3"))]
        changes = [setting for setting, _ in itertools.groupby(settings)]
        self.assertEqual(len(changes), len(set(settings)))

    def test_what_is_missing_is_left_out(self) -> None:
        """A kind that cannot be had has no rounds, and the others have theirs."""
        with patch.object(plan, "left_out", lambda: {"set_clocks": "no faketime"}):
            chosen = plan.all_rounds(_options("--rounds-each", "1"))
        self.assertEqual(set(KINDS) - set(chosen), {"set_clocks"})


class ClientTests(SynchronousTestCase):
    """What it notes."""

    def told(self, words: tuple[Any, ...], *replies: object) -> list[object]:
        """The results in its history after these replies; the last may be an error to raise."""
        client = Client("c", [1, 2], b"h", random.Random(1), itertools.count(), loyal=False)
        connection = Mock()
        connection.resp.side_effect = replies
        with patch("tests.suites.group_faults.client.RawConnection", lambda *_, **__: connection):
            client.ask(words)
        return [operation.result for operation in client.history]

    def test_what_is_refused_has_changed_nothing(self) -> None:
        """A write without room, alone or in a block."""
        self.assertEqual(self.told((b"SET", b"k", b"v"), "-MISCONF no room"), [REFUSED])
        block = (b"EXEC", (b"SET", b"k", b"v"))
        self.assertEqual(self.told(block, "+OK", "-MISCONF no room", "-EXECABORT discarded"), [REFUSED])

    def test_what_a_leader_had_not_begun_with_has_changed_nothing(self) -> None:
        """Its request waited for room on the way to the log, when the leader led no more."""
        self.assertEqual(self.told((b"INCR", b"k"), "-UNBLOCKED instance state changed"), [REFUSED])

    def test_a_server_that_follows_has_done_nothing(self) -> None:
        """It is no part of the history."""
        self.assertEqual(self.told((b"SET", b"k", b"v"), "-READONLY no"), [])
        self.assertEqual(self.told((b"EXEC", (b"SET", b"k", b"v")), "+OK", "-READONLY no", "-EXECABORT no"), [])

    def test_a_write_without_an_answer_is_unknown(self) -> None:
        """It may have been done; a read has done nothing in any case."""
        self.assertEqual(self.told((b"SET", b"k", b"v"), ConnectionResetError()), [UNKNOWN])
        self.assertEqual(self.told((b"GET", b"k"), ConnectionResetError()), [])


class LevelTests(SynchronousTestCase):
    """Whether all servers hold the same."""

    def look(self, *servers: tuple[int, dict[str, object]]) -> None:
        """Each with its position and what it holds; the first leads."""
        doubles = [Mock(port=number, held=held) for number, (_, held) in enumerate(servers)]
        for double, (position, _) in zip(doubles, servers, strict=True):
            double.position.return_value = position
        group = Mock(servers=doubles)
        group.leader.return_value = doubles[0]
        with patch.object(rounds, "_held", lambda server, prefix: server.held), patch.object(rounds, "_LEVEL_S", 0):
            level(group, b"h")

    def test_the_same(self) -> None:
        """It is so, though a follower has heard of more since."""
        self.look((7, {"k": "v"}), (7, {"k": "v"}), (8, {"k": "v"}))

    def test_behind(self) -> None:
        """One has not come as far."""
        error = self.assertRaises(AssertionError, self.look, (7, {}), (7, {}), (6, {}))
        self.assertIn("2 is at entry 6, and the leader was at 7", str(error))

    def test_another_value(self) -> None:
        """One holds something else, or more."""
        error = self.assertRaises(AssertionError, self.look, (7, {"k": "v"}), (7, {"k": "w"}))
        self.assertIn("1 differs from the leader in k: w for v", str(error))
        self.assertRaises(AssertionError, self.look, (7, {}), (7, {"k": "w"}))


class KeptTests(SynchronousTestCase):
    """What is left of a history that is wrong."""

    def test_it_is_in_a_file(self) -> None:
        """What is wrong, and each operation in the order of calls."""
        place = Path(new_directory(self.addCleanup)) / "history"
        one, two = (Operation("c", at, at + 1, (b"GET", b"k"), None) for at in (1.0, 2.0))
        one_group.keep(place, Violated("no order", [two, one]))
        text = place.read_text(encoding="utf-8")
        self.assertIn("no order", text)
        self.assertTrue(text.endswith(f"{one}\n{two}\n"), text)


@pytest.mark.long
class WholeTests(SynchronousTestCase):
    """The program."""

    skip = MISSING

    def test_without_the_lease_it_is_noticed(self) -> None:
        """The negative control: servers that do not look at their lease serve stale reads."""
        words = [*_SUITE, "--control", "--rounds", "20", "--keep", new_directory(self.addCleanup)]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("no order explains these results", done.stdout)

    def test_nothing_outlives_it(self) -> None:
        """SIGTERM ends it with its servers, etcd and groups."""
        suite = subprocess.Popen([*_SUITE, "--groups", "2"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert suite.stdout is not None
        self.addCleanup(suite.stdout.close)
        self.addCleanup(suite.kill)
        while not suite.stdout.readline().startswith("1/"):
            self.assertIsNone(suite.poll())
        groups = [pid for pid, (parent, _) in _processes().items() if parent == suite.pid]
        self.assertEqual(len(groups), 2)
        self.assertGreater(_in_sessions(groups), 2 + 6)
        suite.send_signal(signal.SIGTERM)
        self.assertEqual(suite.wait(), 143)
        self.assertEqual(_in_sessions(groups), 0)


def _in_sessions(leaders: list[int]) -> int:
    """How many processes there are in the sessions that these have begun."""
    return sum(session in leaders for _, session in _processes().values())


def _processes() -> dict[int, tuple[int, int]]:
    """The parent and the session of each process (proc(5), stat), but of those that have ended."""
    found = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            state, parent, _, session = Path("/proc", name, "stat").read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if state != "Z":
            found[int(name)] = int(parent), int(session)
    return found
