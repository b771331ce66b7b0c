"""Tests for `kvstore.testing.simulated_syncer`: what was written before `begin` is on disk at `end`, and no sooner."""

from __future__ import annotations

import errno

from twisted.trial.unittest import SynchronousTestCase

from kvstore.testing.fates import AllKept, AllLost
from kvstore.testing.simulated_disk import SimulatedDisk
from kvstore.testing.simulated_syncer import SimulatedSyncer


class SimulatedSyncerTests(SynchronousTestCase):
    """A sync that goes on while the file is written to."""

    def setUp(self) -> None:
        """A file of three bytes that is on disk; then `new` was written, a sync begun, and `!` written behind it."""
        self.disk = SimulatedDisk()
        self.file = self.disk.create("a")
        self.file.write_at(0, b"old")
        self.file.sync()
        self.disk.sync_directory()
        self.syncer = SimulatedSyncer()
        self.file.write_at(0, b"new")
        self.syncer.begin(self.file)
        self.file.write_at(3, b"!")

    def ends(self) -> tuple[bytes, bytes]:
        """What a crash leaves if all is lost that can be, and if all is kept."""
        lost, kept = (self.disk.crash(fates).contents()["a"] for fates in (AllLost(), AllKept()))
        return lost, kept

    def test_nothing_is_sure_before_the_end(self) -> None:
        """A sync under way promises nothing, and says so."""
        self.assertFalse(self.syncer.finish())
        self.assertEqual(self.ends(), (b"old", b"new!"))

    def test_what_was_written_before_is_on_disk(self) -> None:
        """From the end on; what was written meanwhile is for another sync. `finish` tells once."""
        self.syncer.end()
        self.assertEqual(self.ends(), (b"new", b"new!"))
        self.syncer.end()
        self.assertTrue(self.syncer.finish())
        self.assertFalse(self.syncer.finish())
        self.assertEqual(self.ends(), (b"new", b"new!"))
        self.syncer.begin(self.file)
        self.syncer.end()
        self.assertEqual(self.ends(), (b"new!", b"new!"))

    def test_a_failed_sync(self) -> None:
        """It is told to `finish`; no later sync makes anything of it durable, of what was written meanwhile neither."""
        self.disk.fail("finish_sync", errno.EIO)
        self.syncer.end()
        with self.assertRaises(OSError) as raised:
            self.syncer.finish()
        self.assertEqual(raised.exception.errno, errno.EIO)
        self.assertFalse(self.syncer.is_busy)
        self.file.sync()
        self.assertEqual(self.disk.crash(AllLost()).contents()["a"][:3], b"old")
        self.assertEqual(self.ends()[1], b"new!")

    def test_what_cannot_be_begun(self) -> None:
        """Then nothing is under way: a second sync beside the first, and one that the kernel refuses."""
        self.assertRaises(OSError, self.syncer.begin, self.file)
        self.syncer.end()
        self.assertTrue(self.syncer.finish())
        self.disk.fail("begin_sync", errno.EAGAIN)
        self.assertRaises(OSError, self.syncer.begin, self.file)
        self.assertFalse(self.syncer.is_busy)

    def test_another_sync_meanwhile(self) -> None:
        """What a plain sync made durable stays so when the sync under way ends, well or not."""
        self.file.sync()
        self.assertEqual(self.ends(), (b"new!", b"new!"))
        self.disk.fail("finish_sync", errno.EIO)
        self.syncer.end()
        self.assertEqual(self.ends(), (b"new!", b"new!"))

    def test_killed_in_the_middle(self) -> None:
        """The next process reads what was written, and has to sync it."""
        left = self.disk.kill()
        self.assertEqual(left.contents()["a"], b"new!")
        self.assertEqual(left.crash(AllLost()).contents()["a"], b"old")
        left.open("a").sync()
        self.assertEqual(left.crash(AllLost()).contents()["a"], b"new!")

    def test_recorded(self) -> None:
        """Both ends of the sync are moments of the run, and it has its effect at the second."""
        self.syncer.end()
        lost = [(str(moment.call), moment.disk.crash(AllLost()).contents()) for moment in self.disk.moments()]
        calls = [call.partition(": ")[2].partition("(")[0] for call, _ in lost]
        self.assertEqual(calls[-4:], ["write_at", "begin_sync", "write_at", "finish_sync"])
        self.assertEqual([contents["a"] for _, contents in lost[-4:]], [b"old", b"old", b"old", b"new"])
