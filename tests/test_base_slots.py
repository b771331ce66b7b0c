"""Slots of keys, and sets of slots."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.slots import MAX_RUNS, Slots, parse_slots, slot_of


class SlotTests(SynchronousTestCase):
    """`slot_of`."""

    def test_known(self) -> None:
        """Those of Redis's cluster specification, and of Valkey's CLUSTER KEYSLOT."""
        for key, slot in ((b"123456789", 0x31C3), (b"foo", 12182), (b"", 0), (b"somekey", 11058)):
            self.assertEqual(slot_of(key), slot)

    def test_tags(self) -> None:
        """What is between the first brace and the first that closes it, unless that is nothing."""
        for key, same in ((b"{user1000}.following", b"user1000"), (b"foo{{bar}}zap", b"{bar"), (b"a{b}{c}", b"b")):
            self.assertEqual(slot_of(key), slot_of(same))
        for key in (b"foo{}{bar}", b"a{b", b"}a{b"):
            self.assertNotEqual(slot_of(key), slot_of(b"bar"))


class SlotsTests(SynchronousTestCase):
    """`Slots`, as text and back."""

    def test_text(self) -> None:
        """Runs are joined, and in order."""
        slots = parse_slots("300-399,0-99,100,16383")
        self.assertEqual((str(slots), len(slots)), ("0-100,300-399,16383", 202))
        self.assertEqual(slots, parse_slots(str(slots)))
        self.assertEqual([slot in slots for slot in (0, 100, 101, 16383)], [True, True, False, True])

    def test_overlaps(self) -> None:
        """One slot in common is enough."""
        self.assertTrue(parse_slots("0-10").overlaps(parse_slots("10-20")))
        self.assertFalse(parse_slots("0-10").overlaps(parse_slots("11-20")))

    def test_no_slots(self) -> None:
        """Text that is none, and numbers that there are not."""
        for text in ("", "a", "5-4", "0-16384", "16384", "1,", "-1", "0 - 5"):
            self.assertRaises(ValueError, parse_slots, text)
        self.assertRaises(ValueError, Slots, [16384])

    def test_most_runs(self) -> None:
        """So many, and not one more."""
        runs = ",".join(str(slot) for slot in range(0, 2 * MAX_RUNS, 2))
        self.assertEqual(len(parse_slots(runs)), MAX_RUNS)
        self.assertRaises(ValueError, parse_slots, f"{runs},999")
