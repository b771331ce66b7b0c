"""Reply values that are more than data: a reply that comes in slices."""

from __future__ import annotations

from collections.abc import Generator

from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.errors import Failure
from kvstore.base.reply import OK, Reply, finish


def _sliced(slices: int, reply: Reply) -> Generator[None, None, Reply]:
    for _ in range(slices):
        yield
    if isinstance(reply, Failure):
        raise reply
    return reply


class FinishTests(SynchronousTestCase):
    """`finish`."""

    def test_a_reply_in_slices(self) -> None:
        """However many there are, the reply is what the generator returns."""
        for slices in (0, 1, 5):
            self.assertEqual(finish(_sliced(slices, [b"a", None])), [b"a", None])

    def test_any_other_reply(self) -> None:
        """It is returned as it is."""
        for reply in (OK, None, b"text", [b"a"]):
            self.assertIs(finish(reply), reply)

    def test_an_error_in_a_late_slice(self) -> None:
        """It leaves as from a function."""
        with self.assertRaises(Failure):
            finish(_sliced(2, Failure("no such key")))
