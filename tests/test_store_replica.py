"""The state machine of a group's node, told what happens. Several of them: see `test_store_replica_worlds`."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.shared_log import NOTHING, Appended, Entries, Entry, Kind, Standing, Trimmed, chained, decode, encode
from kvstore.store.replica import End, Ended, Replica, Role

LEASE_MS = 2000
SECOND = 1_000_000_000
LEASE = 2 * SECOND


class ReplicaTests(SynchronousTestCase):
    """One replica of the name b."""

    def setUp(self) -> None:
        """A group that begins."""
        self.replica = Replica("b", NOTHING, LEASE_MS, Random(1), 0)

    def lead(self) -> None:
        """It leads, since 0."""
        self.replica.campaign(1, 0)
        self.replica.appended(Appended.THERE, 0)

    def entry(
        self, kind: Kind = Kind.FRAME, *, lease_ms: int = LEASE_MS, body: bytes = b"", successor: str = ""
    ) -> bytes:
        """The next entry of the node a, for a log that has what the replica has."""
        entry = Entry(kind, 1, "a", 1, lease_ms, "", body, successor)
        return encode(chained(self.replica.standing.checksum, entry))

    def saw(self, data: bytes, now_ns: int = 0) -> Entry:
        """It sees the next entry."""
        return self.replica.saw(self.replica.standing.position + 1, data, now_ns)

    def assert_ends(self, end: End, text: str, step: Callable[..., object], *arguments: object) -> None:
        """`step` ends the replica, for this reason."""
        ended = self.assertRaises(Ended, step, *arguments)
        self.assertEqual((ended.end, self.replica.role), (end, Role.ENDED))
        self.assertIn(text, str(ended))

    def assert_campaigns_between(self, begins_ns: int, ends_ns: int) -> None:
        """When it will campaign."""
        self.assertTrue(begins_ns <= self.replica.campaign_at_ns <= ends_ns, self.replica.campaign_at_ns)

    # Following

    def test_begins_a_group_at_once(self) -> None:
        """With nothing in the log nobody leads."""
        self.assertEqual(self.replica.campaign_at_ns, 0)

    def test_waits_after_a_start(self) -> None:
        """For longer than the lease of the newest entry that it has, as if that had just been seen."""
        self.replica = Replica("b", Standing(7, 1, 10_000, "0" * 16), LEASE_MS, Random(1), SECOND)
        self.assert_campaigns_between(SECOND + 12_500_000_000, SECOND + 15_000_000_000)

    def test_waits_for_the_lease_of_the_leader(self) -> None:
        """Not for its own."""
        self.saw(self.entry(lease_ms=10_000), SECOND)
        self.assert_campaigns_between(SECOND + 12_500_000_000, SECOND + 15_000_000_000)

    def test_each_entry_puts_the_campaign_off(self) -> None:
        """Counted from when it was seen."""
        for seconds in (1, 2, 3):
            self.saw(self.entry(), seconds * SECOND)
            self.assert_campaigns_between(seconds * SECOND + LEASE * 5 // 4, seconds * SECOND + LEASE * 3 // 2)

    def test_entry_seen_is_returned(self) -> None:
        """With what is to be applied; where it stands, and who leads, is known."""
        entry = self.saw(self.entry(body=b"*1\r\n$8\r\nFLUSHALL\r\n"))
        self.assertEqual(entry.body, b"*1\r\n$8\r\nFLUSHALL\r\n")
        self.assertEqual(self.replica.standing, Standing(1, 1, LEASE_MS, entry.checksum))
        self.assertEqual((self.replica.leader, self.replica.role), ("a", Role.FOLLOWING))

    def test_successor_campaigns_at_once(self) -> None:
        """And nobody leads."""
        self.saw(self.entry(Kind.HANDOVER, lease_ms=0, successor="b"), SECOND)
        self.assertEqual((self.replica.campaign_at_ns, self.replica.leader), (SECOND, ""))

    def test_others_wait_for_the_successor(self) -> None:
        """As for a lease of their own."""
        self.saw(self.entry(Kind.HANDOVER, lease_ms=0, successor="c"), SECOND)
        self.assert_campaigns_between(SECOND + LEASE * 5 // 4, SECOND + LEASE * 3 // 2)

    def test_entry_that_does_not_go_on(self) -> None:
        """Its checksum is that of another log."""
        data = self.entry()
        self.saw(data)
        self.assert_ends(End.DIFFERS, "checksum of entry 2", self.saw, data)

    def test_gap(self) -> None:
        """An entry is missing."""
        self.assert_ends(End.DIFFERS, "next entry is 2", self.replica.saw, 2, self.entry(), 0)

    def test_no_entry(self) -> None:
        """Bytes that are none."""
        self.assert_ends(End.DIFFERS, "no entry", self.saw, b"*1\r\n$4\r\nPING\r\n")

    def test_newer_entry(self) -> None:
        """One of a version to come."""
        newer = self.entry().replace(b"ENTRY\r\n$1\r\n1", b"ENTRY\r\n$1\r\n2")
        self.assert_ends(End.NEWER, "version 2", self.saw, newer)

    # Campaigning

    def test_campaign(self) -> None:
        """A leadership entry of the next epoch, with which it leads."""
        self.saw(self.entry())
        data = self.replica.campaign(5, LEASE * 2)
        self.assertEqual(decode(data)[:5], (Kind.LEADERSHIP, 2, "b", 5, LEASE_MS))
        self.assertEqual((self.replica.role, self.replica.is_sending), (Role.CAMPAIGNING, True))
        self.assertEqual(self.replica.appended(Appended.THERE, LEASE * 2), decode(data))
        self.assertEqual((self.replica.role, self.replica.leader), (Role.LEADING, "b"))
        self.assertEqual((self.replica.standing.position, self.replica.standing.epoch), (2, 2))

    def test_no_other_composes_the_same(self) -> None:
        """Two processes of one name at the same moment: each would take the other's entry for its own."""
        other = Replica("b", NOTHING, LEASE_MS, Random(2), 0)
        again = Replica("b", NOTHING, LEASE_MS, Random(1), 0)
        entry = self.replica.campaign(1, 0)
        self.assertNotEqual(other.campaign(1, 0), entry)
        self.assertEqual(again.campaign(1, 0), entry)

    def test_word_of_a_leadership_names_no_successor(self) -> None:
        """It is one by chance."""
        self.saw(self.entry(Kind.LEADERSHIP, successor="b"), SECOND)
        self.assert_campaigns_between(SECOND + LEASE * 5 // 4, SECOND + LEASE * 3 // 2)

    def test_campaign_that_is_fenced(self) -> None:
        """Another one was first: it follows, and gives that one time."""
        self.replica.campaign(1, 0)
        self.assertIsNone(self.replica.appended(Appended.FENCED, SECOND))
        self.assertEqual((self.replica.role, self.replica.standing), (Role.FOLLOWING, NOTHING))
        self.assert_campaigns_between(SECOND + LEASE * 5 // 4, SECOND + LEASE * 3 // 2)

    def test_lost_entries(self) -> None:
        """The log was set back below what is here: it ends, whether it leads or campaigns."""
        self.replica.campaign(1, 0)
        self.assert_ends(End.DIFFERS, "has lost entries", self.replica.appended, Appended.LOST, SECOND)
        self.setUp()
        self.lead()
        self.replica.compose(b"", 1, SECOND)
        self.assert_ends(End.DIFFERS, "has lost entries", self.replica.appended, Appended.LOST, SECOND)

    def test_check_before_a_campaign(self) -> None:
        """Its own newest entry is there, or was trimmed; nothing is asked of an empty one."""
        self.replica.check(Entries([], 0))
        data = self.entry()
        self.saw(data)
        for found in (Entries([(1, data)], 1), Entries([(1, data), (2, b"more")], 2), Trimmed(2)):
            self.replica.check(found)
        self.assertIs(self.replica.role, Role.FOLLOWING)

    def test_check_of_another_log(self) -> None:
        """It was set back, or has grown as long again since, or longer; or it has no entry there."""
        data = self.entry()
        other = self.entry(body=b"*1\r\n$8\r\nFLUSHALL\r\n")
        for found, text in (
            (Entries([], 0), "has lost entries: its newest is 0, and 1 was in it"),
            (Entries([(1, other)], 1), "entry 1 is another one"),
            (Entries([(1, other), (2, b"more")], 2), "entry 1 is another one"),
            (Entries([(1, b"damage")], 1), "entry 1 cannot be read"),
        ):
            self.setUp()
            self.saw(data)
            self.assert_ends(End.DIFFERS, text, self.replica.check, found)

    def test_campaign_too_early(self) -> None:
        """It is no use asking."""
        self.saw(self.entry())
        self.assertRaises(AssertionError, self.replica.campaign, 1, LEASE)

    # Leading

    def test_lease_counts_from_the_composing(self) -> None:
        """However late it is known that the entry is there."""
        self.replica.campaign(1, 100)
        self.replica.appended(Appended.THERE, SECOND)
        self.assertTrue(self.replica.lease_runs(100 + LEASE - 1))
        self.assertFalse(self.replica.lease_runs(100 + LEASE))

    def test_entry_under_way_gives_no_lease(self) -> None:
        """It may never be there."""
        self.lead()
        self.replica.compose(b"", 1, SECOND)
        self.assertFalse(self.replica.lease_runs(LEASE))
        self.replica.appended(Appended.THERE, LEASE)
        self.assertTrue(self.replica.lease_runs(LEASE))

    def test_who_does_not_lead_has_no_lease(self) -> None:
        """Before, while it campaigns, and afterwards."""
        self.assertFalse(self.replica.lease_runs(0))
        self.replica.campaign(1, 0)
        self.assertFalse(self.replica.lease_runs(0))

    def test_frame_is_what_a_follower_sees(self) -> None:
        """Byte for byte; so both stand at the same place."""
        follower = Replica("a", NOTHING, LEASE_MS, Random(2), 0)
        entries = [self.replica.campaign(1, 0)]
        self.replica.appended(Appended.THERE, 0)
        for operations in (b"*1\r\n$8\r\nFLUSHALL\r\n", b""):
            entries.append(self.replica.compose(operations, 2, 0))
            self.replica.appended(Appended.THERE, 0)
        for position, data in enumerate(entries, 1):
            follower.saw(position, data, 0)
        self.assertEqual(follower.standing, self.replica.standing)

    def test_one_entry_at_a_time(self) -> None:
        """A second would not know what it goes on from."""
        self.lead()
        self.replica.compose(b"", 1, 0)
        self.assertRaises(AssertionError, self.replica.compose, b"", 1, 0)

    def test_renewal(self) -> None:
        """Each entry puts the next one off: to long before the lease ends."""
        self.lead()
        self.assertEqual(self.replica.renew_at_ns, LEASE // 4)
        self.replica.compose(b"", 1, SECOND)
        self.assertEqual(self.replica.renew_at_ns, SECOND + LEASE // 4)

    def test_fenced(self) -> None:
        """It ends: its memory holds what the log does not."""
        self.lead()
        self.replica.compose(b"", 1, SECOND)
        self.assert_ends(End.FENCED, "entry 2", self.replica.appended, Appended.FENCED, SECOND)
        self.assertFalse(self.replica.lease_runs(SECOND))

    def test_handover(self) -> None:
        """No lease from the composing on, then it follows."""
        self.lead()
        data = self.replica.compose_handover("a", 3, 10)
        self.assertEqual(decode(data), (Kind.HANDOVER, 1, "b", 3, 0, decode(data).checksum, b"", "a"))
        self.assertFalse(self.replica.lease_runs(11))
        self.replica.appended(Appended.THERE, SECOND)
        self.assertEqual((self.replica.role, self.replica.leader), (Role.FOLLOWING, ""))
        self.assert_campaigns_between(SECOND + LEASE * 5 // 4, SECOND + LEASE * 3 // 2)

    def test_end(self) -> None:
        """For a reason of the caller's."""
        ended = self.replica.end(End.NEWER, "an unknown operation")
        self.assertEqual(str(ended), "a newer version of kvstore leads the group: an unknown operation")
        self.assertIs(self.replica.role, Role.ENDED)
