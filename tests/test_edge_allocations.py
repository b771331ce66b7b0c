"""What the process has allocated."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.jsontext import dumps_to_keep
from kvstore.base.limits import MIB
from kvstore.edge.allocations import Allocators, resident_bytes


class AllocationTests(SynchronousTestCase):
    """It follows what is live, small and large."""

    def test_small_and_large(self) -> None:
        """It grows by what is allocated, and falls when that is freed, though the process may keep it."""
        allocated = Allocators().allocated_bytes
        for size, number in ((100, 50_000), (1000, 5000), (20 * MIB, 1)):
            before = allocated()
            things = [bytes(size) for _ in range(number)]
            grown = allocated() - before
            self.assertTrue(size * number <= grown <= 1.6 * size * number, grown)
            del things[::2]
            del things
            self.assertLess(abs(allocated() - before), 0.1 * size * number)

    def test_documents(self) -> None:
        """What is stored of a document takes little more than its text."""
        allocated = Allocators().allocated_bytes
        before = allocated()
        texts = [dumps_to_keep({"name": "x" * 80, "weight": i}) for i in range(2000)]
        self.assertLess(allocated() - before, 2 * len(texts) * len(texts[0]) + 100_000)

    def test_resident(self) -> None:
        """The system has given it more than it has allocated."""
        self.assertGreater(resident_bytes(), 10 * MIB)

    def test_described(self) -> None:
        """Both say something; what is given back was not allocated."""
        allocators = Allocators()
        text = allocators.described()
        self.assertIn("malloc uordblks: ", text)
        self.assertIn("# bytes in allocated blocks", text)
        before = allocators.allocated_bytes()
        allocators.purge()
        self.assertLess(abs(allocators.allocated_bytes() - before), MIB)
