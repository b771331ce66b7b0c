"""Reply values that are more than data: a reply that comes in slices."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.errors import Failure
from kvstore.base.reply import NOT_NOW, OK, NotNow, Reply, advance, finish


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

    def test_not_now(self) -> None:
        """One that would rather not begin says so once; where nobody can wait it begins all the same."""

        def reply() -> Generator[Any, None, Reply]:
            yield NOT_NOW
            yield
            return OK

        waiting = reply()
        self.assertRaises(NotNow, advance, waiting)
        self.assertIs(advance(waiting), waiting)
        self.assertIs(advance(waiting), OK)
        self.assertIs(finish(reply()), OK)

    def test_any_other_reply(self) -> None:
        """It is returned as it is."""
        for reply in (OK, None, b"text", [b"a"]):
            self.assertIs(finish(reply), reply)

    def test_an_error_in_a_late_slice(self) -> None:
        """It leaves as from a function."""
        with self.assertRaises(Failure):
            finish(_sliced(2, Failure("no such key")))
