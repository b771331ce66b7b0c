"""Syncers, the real ones on a real file: they tell when they are done, and say what went wrong."""

from __future__ import annotations

import errno
import os
import select
from typing import Any
from unittest import mock

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from kvstore.base import syncing
from kvstore.base.disk import RealDisk, RealFile
from kvstore.base.syncing import KernelSyncer, Syncer, ThreadSyncer, best_syncer


class BrokenFile(RealFile):
    """A file whose sync fails."""

    def sync(self) -> None:
        """Fail."""
        raise OSError(errno.EIO, "planted by a test")


class Refusing:
    """A function that raises `error`."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __call__(self, *arguments: object) -> None:
        """Raise it."""
        raise self._error


class SyncerTests:
    """What every syncer does. A mixin; `make` makes one."""

    def make(self) -> Syncer:
        """One to test."""
        raise NotImplementedError

    def setUp(self) -> None:
        """A syncer, and a file that was written to."""
        case: Any = self
        self.syncer = self.make()
        case.addCleanup(self.syncer.close)
        self.file = RealDisk(case.mktemp()).create("file")
        case.addCleanup(self.file.close)
        self.file.write_at(0, b"x" * 100_000)

    def wait(self) -> bool:
        """Wait for the descriptor; whether the sync is done."""
        assert select.select([self.syncer.fileno()], [], [], 30)[0], "it never ends"
        return self.syncer.finish()

    def test_one_after_the_other(self) -> None:
        """Each ends once, and nothing rings before the next begins."""
        case: Any = self
        for number in range(20):
            self.file.write_at(number, b"y")
            self.syncer.begin(self.file)
            case.assertTrue(self.wait())
            case.assertEqual(select.select([self.syncer.fileno()], [], [], 0)[0], [])
            case.assertFalse(self.syncer.finish())


class KernelSyncerTests(SyncerTests, SynchronousTestCase):
    """Linux AIO."""

    def make(self) -> Syncer:
        """See the mixin."""
        try:
            return KernelSyncer()
        except OSError as error:
            raise SkipTest(f"this kernel has no AIO: {error}") from None

    def test_what_cannot_be_synced(self) -> None:
        """A pipe: the request is refused at once, and nothing is under way; the next one is as good as any."""
        readable, writable = os.pipe()
        self.addCleanup(os.close, readable)
        pipe = RealFile(writable)
        self.addCleanup(pipe.close)
        with self.assertRaises(OSError):
            self.syncer.begin(pipe)
        self.test_one_after_the_other()

    def test_errors_in_the_words_of_the_library(self) -> None:
        """Whatever it raises for an error of the kernel, we raise an OSError: with a commit in flight a caller that
        knows no other would wait for ever.
        """
        from caio import linux_aio

        assert isinstance(self.syncer, KernelSyncer)
        refused = SystemError(errno.EMFILE, "planted by a test")
        self.patch(linux_aio, "Context", Refusing(refused))
        with self.assertRaises(OSError) as raised:
            KernelSyncer()
        self.assertEqual(raised.exception.errno, errno.EMFILE)
        self.check_falls_back("planted by a test")
        context = self.syncer._context
        self.addCleanup(setattr, self.syncer, "_context", context)
        for error in (
            OverflowError("planted by a test"), SystemError(errno.ENOMEM, "the same"), ValueError("bad"), MemoryError(),
            RuntimeError("self->ctx is NULL"),
        ):  # fmt: skip
            self.syncer._context = mock.Mock(submit=Refusing(error), process_events=Refusing(error))
            self.assertRaises(OSError, self.syncer.begin, self.file)
            self.assertRaises(OSError, self.syncer.finish)
        self.syncer._context = context
        self.test_one_after_the_other()

    def check_falls_back(self, reason: str) -> None:
        """A thread is taken now, and told why."""
        best, missing = best_syncer()
        self.addCleanup(best.close)
        self.assertIsInstance(best, ThreadSyncer)
        self.assertIn(reason, missing)

    def test_not_trusted_unproved(self) -> None:
        """What can be set up, and then does not sync, does not tell the end of it or fails, is not taken."""
        file = mock.Mock(side_effect=lambda name, flags: os.pipe()[1])  # a pipe cannot be synced
        with mock.patch("os.memfd_create", file):
            self.check_falls_back("")
        with mock.patch.object(KernelSyncer, "finish", lambda syncer: False):
            self.check_falls_back("has not told its end")
        with mock.patch.object(KernelSyncer, "finish", Refusing(OSError(errno.EPERM, "planted by a test"))):
            self.check_falls_back("planted by a test")
        with mock.patch.object(KernelSyncer, "begin", Refusing(RuntimeError("nobody thought of that"))):
            self.check_falls_back("nobody thought of that")

    def test_a_failed_sync(self) -> None:
        """The kernel's word for it is raised, under its own number."""
        self.syncer.begin(self.file)
        self.assertTrue(self.wait())
        assert isinstance(self.syncer, KernelSyncer)
        self.syncer._ended.append(2**64 - errno.EIO)  # as io_getevents gives it
        with self.assertRaises(OSError) as raised:
            self.syncer.finish()
        self.assertEqual(raised.exception.errno, errno.EIO)


class ThreadSyncerTests(SyncerTests, SynchronousTestCase):
    """A thread."""

    def make(self) -> Syncer:
        """See the mixin."""
        return ThreadSyncer()

    def test_a_failed_sync(self) -> None:
        """It is raised when it is asked for; a later sync is not blamed for it."""
        broken = BrokenFile(os.dup(self.file.fileno()))
        self.addCleanup(broken.close)
        self.syncer.begin(broken)
        with self.assertRaises(OSError) as raised:
            self.wait()
        self.assertEqual(raised.exception.errno, errno.EIO)
        self.syncer.begin(self.file)
        self.assertTrue(self.wait())

    def test_whatever_goes_wrong_is_told(self) -> None:
        """The thread does not end silently with an error that is no OSError: whoever waits for it waits for ever."""
        broken = mock.Mock(sync=Refusing(ValueError("nobody thought of that")))
        self.syncer.begin(broken)
        self.assertRaises(ValueError, self.wait)
        self.syncer.begin(self.file)
        self.assertTrue(self.wait())

    def test_no_thread_can_be_started(self) -> None:
        """That is an OSError, as it is for any other thing that the system has no more of; no descriptor is lost."""
        opened: list[int] = []

        def pipe2(flags: int) -> tuple[int, int]:
            opened.extend(ends := real_pipe2(flags))
            return ends

        real_pipe2 = os.pipe2
        with (
            mock.patch("os.pipe2", pipe2),
            mock.patch("threading.Thread.start", Refusing(RuntimeError("can't start new thread"))),
        ):
            self.assertEqual(self.assertRaises(OSError, ThreadSyncer).errno, errno.EAGAIN)
        self.assertEqual(len(opened), 2)
        for descriptor in opened:
            self.assertEqual(self.assertRaises(OSError, os.fstat, descriptor).errno, errno.EBADF)


class BestSyncerTests(SynchronousTestCase):
    """Which one the server takes."""

    def test_without_aio(self) -> None:
        """A thread, whatever it is that keeps the other from working; and what that is."""
        for error in (OSError(errno.ENOSYS, "a"), ImportError("b"), AttributeError("c"), MemoryError()):
            self.patch(syncing, "KernelSyncer", Refusing(error))
            syncer, missing = best_syncer()
            self.addCleanup(syncer.close)
            self.assertIsInstance(syncer, ThreadSyncer)
            self.assertIn(missing, (str(error), repr(error)))
            self.assertTrue(missing)
