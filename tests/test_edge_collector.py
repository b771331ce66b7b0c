"""The garbage collector's settings."""

from __future__ import annotations

import gc
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from kvstore.edge import collector


class CollectorTests(SynchronousTestCase):
    """What is asked of Python; the tests' own process is left as it is."""

    def test_tame(self) -> None:
        """What there is is looked at once more and never again; only full collections become rarer."""
        with mock.patch.object(collector, "gc") as asked:
            asked.get_threshold.return_value = (700, 10, 10)
            collector.tame()
        self.assertEqual(
            asked.mock_calls,
            [mock.call.collect(), mock.call.freeze(), mock.call.get_threshold(), mock.call.set_threshold(700, 10, 100)],
        )

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

    def test_it_goes_on(self) -> None:
        """It is not switched off."""
        self.assertTrue(gc.isenabled())
