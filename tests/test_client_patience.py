"""How long a client waits, on a clock of the test's own."""

from __future__ import annotations

import math

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.limits import LEAST_BYTES_PER_SECOND
from kvstore.client.patience import Patience


class PatienceTests(SynchronousTestCase):
    """`Patience`, of five seconds."""

    def setUp(self) -> None:
        """Begin."""
        self.clock = Clock()
        self.patience = Patience(5, self.clock.seconds)

    def test_silence(self) -> None:
        """Without a byte it is over after its seconds, and says so."""
        self.assertEqual(self.patience.left(), 5)
        self.clock.advance(4.5)
        self.assertEqual(self.patience.left(), 0.5)
        self.clock.advance(0.5)
        self.assertIn("no answer in 5 s", str(self.assertRaises(TimeoutError, self.patience.left)))

    def test_rate_at_its_limit(self) -> None:
        """What moves at the least rate may go on for ever; at one byte a second less it ends."""
        for rate, goes_on in ((LEAST_BYTES_PER_SECOND, True), (LEAST_BYTES_PER_SECOND - 1, False)):
            self.patience.renew()
            try:
                for _ in range(6 * LEAST_BYTES_PER_SECOND):
                    self.clock.advance(1)
                    self.patience.moved(rate)
                    self.patience.left()
            except TimeoutError as error:
                self.assertIn("fewer than 4096 bytes a second moved in 5 s", str(error))
                self.assertFalse(goes_on)
            else:
                self.assertTrue(goes_on)

    def test_trickle(self) -> None:
        """A byte each 0.3 seconds is hardly better than silence."""
        for _ in range(16):
            self.clock.advance(0.3)
            self.patience.moved(1)
        self.assertLess(self.patience.left(), 0.3)
        self.clock.advance(0.3)
        self.assertRaises(TimeoutError, self.patience.left)

    def test_much_at_once_is_no_store(self) -> None:
        """However much has moved, no more than the whole allowance is in hand; renewing gives that."""
        self.clock.advance(4)
        self.patience.moved(10**12)
        self.assertEqual(self.patience.left(), 5)
        self.clock.advance(3)
        self.patience.renew()
        self.assertEqual(self.patience.left(), 5)

    def test_deadline(self) -> None:
        """A deadline is the end whatever moves, and however often one begins anew."""
        patience = Patience(5, self.clock.seconds, 7)
        self.assertEqual(patience.left(), 5)
        self.clock.advance(4)
        for begin in (patience.renew, lambda: patience.moved(10**9)):
            begin()
            self.assertEqual(patience.left(), 3)
        self.clock.advance(3)
        patience.renew()
        self.assertRaises(TimeoutError, patience.left)
        self.assertEqual(Patience(5, self.clock.seconds, math.inf).left(), 5)
