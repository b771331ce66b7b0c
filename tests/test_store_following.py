"""A follower's store: it sees what its leader's does, frame by frame, and what is on its disk is the group's log."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.kit.group_stores import GroupLog, Node
from tests.kit.value_changes import Draw, changes, check, live


def _follows(draw: Draw) -> None:
    log = GroupLog()
    leader, follower = Node("a", log), Node("b", log)
    leader.lead()
    for _ in range(6):
        changes(draw, leader.store)
        leader.commit(even_if_empty=True)
        follower.follow()
        assert live(follower.store) == live(leader.store)
        assert follower.store.standing == leader.store.standing == follower.replica.standing
    again = follower.start_again()
    assert live(again.store) == live(leader.store)
    assert again.store.standing == leader.store.standing
    again.compact()
    again = again.start_again()
    assert live(again.store) == live(leader.store)
    assert again.store.standing == leader.store.standing


class FollowerTests(SynchronousTestCase):
    """A leader's frames at a follower."""

    def test_it_holds_what_the_leader_does(self) -> None:
        """After each frame of changes of any kind, after a start, and after a compaction."""
        check(60, _follows)
