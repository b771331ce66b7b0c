"""Damage: the promised state exactly, or a refusal that says what to run. A sample; `scripts/damage` tries them all."""

from __future__ import annotations

import functools
import random
import re
from unittest import mock

import pytest
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.errors import DamagedStore
from kvstore.base.frame import BLOCK_BYTES
from kvstore.store import checkpoint
from kvstore.store.examine import LIVE, examine
from kvstore.store.operations import DELETE, EXPIRE, FLUSH_ALL, FLUSH_DATABASE, PERSIST, SELECT, SWAP
from kvstore.testing.simulated_disk import SimulatedDisk
from kvstore.values import TYPES
from tests.suites.damage.run import Damage, Directory, ThirdOutcome, directories, judge, try_all

_SHARE = 0.001
_SEED = random.SystemRandom().randrange(2**32)


_directories = functools.cache(directories)


def refused(contents: dict[str, bytes]) -> DamagedStore:
    """The refusal of these files, or an AssertionError."""
    try:
        examine(SimulatedDisk.holding(contents, record=False), TYPES)
    except DamagedStore as refusal:
        return refusal
    raise AssertionError("served")


class DamageTests(SynchronousTestCase):
    """Damaged directories, opened as a server does."""

    def setUp(self) -> None:
        """Small undamaged ones."""
        self.log_alone, self.one_commit, self.everything, self.empty_live = _directories()

    def test_every_operation_is_there(self) -> None:
        """In the logs, and in the segments, of the directories that are damaged."""
        names = {edit.name for row in TYPES.others for edit in row.edits}
        names |= {b"SET", DELETE, EXPIRE, PERSIST, SELECT, SWAP, FLUSH_DATABASE, FLUSH_ALL}
        images = [data for each in _directories() for name, data in each.contents.items() if name != checkpoint.NAME]
        self.assertEqual({name for name in names if not any(b"\r\n%b\r\n" % name in data for data in images)}, set())

    @pytest.mark.long
    def test_sample_of_all_damages(self) -> None:
        """No damage has a third outcome; all rare kinds are tried, and a share of the rest."""
        chance = random.Random(_SEED)
        seen: set[str] = set()
        third = try_all(directories(), lambda: chance.random() < _SHARE, lambda _, kind, outcome: seen.add(outcome))
        self.assertEqual([str(error) for error in third], [], f"seed {_SEED}")
        self.assertEqual(seen, {"served", "refused"})

    def test_damage_of_one_mark_and_the_last_frames(self) -> None:
        """They had promised the frames both: what is left of them says so, or nothing does and the start is refused."""
        data = self.log_alone.contents[LIVE]
        last = data.rindex(b"+KV1 ")
        for end in (3 * BLOCK_BYTES, last, last + 90):
            for at in (BLOCK_BYTES, 2 * BLOCK_BYTES):
                damaged = data[:at] + bytes(BLOCK_BYTES) + data[at + BLOCK_BYTES : end]
                refusal = refused({LIVE: damaged.ljust(len(data), b"\0")})
                self.assertIn("commits up to 4 were on disk", refusal.reason)

    def test_both_marks_damaged(self) -> None:
        """Then nothing says what was promised."""
        data = self.one_commit.contents[LIVE]
        damaged = data[:BLOCK_BYTES] + bytes(2 * BLOCK_BYTES) + data[3 * BLOCK_BYTES :]
        self.assertIn("both marks", refused({LIVE: damaged}).reason)

    def test_log_shorter_than_its_first_blocks(self) -> None:
        """No crash leaves such a log; a mark that was cut off might have promised something."""
        for length in (1, BLOCK_BYTES, 2 * BLOCK_BYTES, 3 * BLOCK_BYTES - 1):
            refused({LIVE: self.one_commit.contents[LIVE][:length]})

    def test_log_deleted_from_a_directory_that_never_compacted(self) -> None:
        """Refused instead of coming up empty: the empty checkpoint from the first start says that there was a log."""
        contents = dict(self.log_alone.contents)
        del contents[LIVE]
        self.assertIn("the transaction log is missing", refused(contents).reason)

    def _live_from_before_its_sealing(self) -> Damage:
        newest = max(name for name in self.everything.contents if name.startswith(LIVE + "."))
        older = [copy[LIVE] for copy in self.everything.older if newest not in copy]
        return Damage("older", "live log", {**self.everything.contents, LIVE: older[-1]})

    def test_live_log_from_before_it_was_sealed(self) -> None:
        """Its sealed segment is there, and says that it was: refused, and nothing removed."""
        damage = self._live_from_before_its_sealing()
        self.assertEqual(judge(damage, self.everything), "refused")
        self.assertIn("not before the live log", refused(damage.contents).reason)

    def test_leftover_that_is_no_log_any_more(self) -> None:
        """A power cut can bring back the name of a merged segment, emptied: no damage, the checkpoint covers it."""
        for name, covered in ((f"{LIVE}.{1:016x}", True), (f"{LIVE}.{999:016x}", False)):
            for left in (b"", b"garbage", self.log_alone.contents[LIVE][:5000].replace(b"first=", b"FIRST=")):
                damage = Damage("leftover", name, {**self.everything.contents, name: left})
                self.assertEqual(judge(damage, self.everything), "served" if covered else "refused")

    def test_marks_of_a_sealed_segment(self) -> None:
        """What they say the next file says better: both damaged is no loss."""
        name = max(name for name in self.everything.contents if name.startswith(LIVE + "."))
        data = self.everything.contents[name]
        damaged = data[:BLOCK_BYTES] + bytes(2 * BLOCK_BYTES) + data[3 * BLOCK_BYTES :]
        damage = Damage("marks", name, {**self.everything.contents, name: damaged})
        self.assertEqual(judge(damage, self.everything), "served")

    def test_sealing_that_a_crash_ended(self) -> None:
        """The live log has its segment's name, and nothing else has its own: served; not so if it was sealed."""
        for directory in (self.everything, self.log_alone):
            contents = dict(directory.contents)
            image = contents.pop(LIVE)
            first = int(re.search(rb"first=([0-9a-f]{16})", image)[1], 16)  # type: ignore[index]
            damage = Damage("sealing", "ended", {**contents, f"{LIVE}.{first:016x}": image})
            self.assertEqual(judge(damage, directory), "served")

    def test_garbage_behind_a_sealed_segment(self) -> None:
        """Refused at start: every later compaction would have failed."""
        contents = dict(self.everything.contents)
        name = next(name for name in contents if name.startswith(LIVE + "."))
        contents[name] = contents[name][:-1] + b"x"
        self.assertIn("bytes after its last commit", refused({**contents}).reason)

    def test_header_of_a_frame(self) -> None:
        """A commit whose time was changed, or what it says was on disk before it, is not served, though its body is."""
        data = self.log_alone.contents[LIVE]
        start = data.rindex(b"+KV1 ")
        for field, offset in (("DURABLE", 22), ("TIME", 39)):
            at = start + offset + 15
            damaged = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
            self.assertIn("no valid frame header", refused({LIVE: damaged}).reason, field)

    def test_checksums_ignored(self) -> None:
        """The judge sees a server that does not check its frames."""
        with mock.patch("kvstore.base.frame.crc32", lambda data, salt=0: 0):
            self._judge_unchecked(directories()[0])

    def _judge_unchecked(self, directory: Directory) -> None:
        data = directory.contents[LIVE]
        at = data.index(b"shared")
        damage = Damage("bit", "key", {LIVE: data[:at] + b"S" + data[at + 1 :]})
        self.assertRaises(ThirdOutcome, judge, damage, directory)

    def test_refusal_names_the_commands_to_run(self) -> None:
        """File, offset, reason, and verify, restore, repair."""
        text = str(refused({LIVE: b"x" * 99_999}))
        for word in (LIVE, "byte 0", "header", "kvstore.tools verify", "restore", "repair"):
            self.assertIn(word, text)
