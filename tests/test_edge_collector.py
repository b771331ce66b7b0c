"""The garbage collector's settings."""

from __future__ import annotations

import gc
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from kvstore.edge import collector


class CollectorTests(SynchronousTestCase):
    """Its settings in the tests' own process, which has its own again afterwards."""

    def test_tame(self) -> None:
        """What there is is not looked at again; only full collections become rarer, and it is not switched off."""
        before = gc.get_threshold()
        self.addCleanup(gc.set_threshold, *before)
        self.addCleanup(gc.unfreeze)
        collector.tame()
        self.assertGreater(gc.get_freeze_count(), 10_000)
        self.assertEqual(gc.get_threshold()[:2], before[:2])
        self.assertGreaterEqual(gc.get_threshold()[2], 10 * before[2])
        self.assertTrue(gc.isenabled())

    def test_memory_is_given_back(self) -> None:
        """What was freed goes back to the system; a C library that cannot is no reason not to start."""
        for error in (None, AttributeError, OSError):
            with (
                self.subTest(error=error),
                mock.patch.object(collector, "gc") as python,
                mock.patch.object(collector, "ctypes") as libraries,
            ):
                python.get_threshold.return_value = (700, 10, 10)
                libraries.CDLL.return_value.malloc_trim.side_effect = error
                collector.tame()
                libraries.CDLL.return_value.malloc_trim.assert_called_once_with(0)

    def test_paused(self) -> None:
        """Nothing is collected meanwhile, whatever ends it; who had switched it off has it so."""
        with self.assertRaises(KeyError), collector.paused():
            self.assertFalse(gc.isenabled())
            raise KeyError
        self.assertTrue(gc.isenabled())
        gc.disable()
        self.addCleanup(gc.enable)
        with collector.paused():
            pass
        self.assertFalse(gc.isenabled())
