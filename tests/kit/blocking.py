"""Clients that wait for keys, on a server by hand: what tests of BLPOP, XREAD BLOCK and their kin stand on."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.kit.serving import Serving

NULL_ARRAY = b"*-1\r\n"


def array(*elements: bytes) -> bytes:
    """An array of strings."""
    return b"*%d\r\n" % len(elements) + b"".join(map(string, elements))


def string(text: bytes) -> bytes:
    """One string."""
    return b"$%d\r\n%b\r\n" % (len(text), text)


class BlockingTestCase(SynchronousTestCase):
    """One client that pushes, and three that wait."""

    def setUp(self) -> None:
        """Connect them."""
        self.serving = Serving()
        self.pusher = self.serving.connect()
        self.waiters = [self.serving.connect() for _ in range(3)]

    def tearDown(self) -> None:
        """Nobody met a bug, and nothing is left of those who waited."""
        self.assertEqual(self.serving.bugs, [])
        for waiter in self.waiters:
            waiter.session.disconnected()
        table = self.serving.table
        self.assertEqual((self.serving.server.waiting.places, table.awaited), ({}, {}))
        self.assertEqual(self.serving.clock.getDelayedCalls(), [])

    def push(self, *requests: str) -> bytes:
        """What the pusher is told."""
        return self.pusher.told(*requests)

    def wait(self, *requests: str) -> None:
        """Let the first client wait, the second, and so on."""
        for waiter, request in zip(self.waiters, requests, strict=False):
            self.assertEqual(waiter.told(request), b"", request)

    def served(self) -> list[bytes]:
        """What each of those who waited has got since."""
        return [waiter.released() for waiter in self.waiters]
