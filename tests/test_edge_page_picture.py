"""Where requests and commits are drawn: order, lanes, times, and how many lanes there are at most."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.limits import MAX_LANES
from kvstore.edge.page.picture import WIDTH, draw
from kvstore.edge.page.recorder import Committed, Recorded, Recording
from kvstore.session.hooks import Executed
from kvstore.store.store import Commit


def request(number: int, client: int, start: int, end: int, commit: int = 0) -> Recorded:
    """A request; times in microseconds."""
    executed = Executed(number, client, 0, "", 0, start * 1000, end * 1000, [b"SET", b"a", b"1"], "ok", commit)
    return Recorded(executed)


def commit(sequence: int, began: int, settled: int) -> Committed:
    """A commit of one request; times in microseconds."""
    made: Any = Commit(sequence, b"frame", 0, None, [], 1, 1)  # type: ignore[arg-type]
    return Committed(made, began * 1000, settled * 1000, settled * 1000)


def recording(*requests: Recorded, commits: tuple[Committed, ...] = (), clients: int = 0) -> Recording:
    """One of those, while so many clients were connected, who are numbered from 1."""
    known = range(1, 1 + max(clients, *(each.client for each in requests)))
    by_number = {each.sequence: each for each in commits}
    return Recording(0, 5000, 10_000_000, list(requests), by_number, {n: f"{n} x" for n in known}, len(known))


class DrawTests(SynchronousTestCase):
    """The picture of a recording."""

    def test_lanes(self) -> None:
        """A request is in its client's lane, as wide as it took; who did not ask has an empty one."""
        picture = draw(recording(request(1, 2, 1000, 1500), request(2, 1, 2000, 2100), clients=3))
        self.assertEqual([lane.label for lane in picture.lanes], ["1 x", "2 x", "3 x"])
        self.assertEqual([len(lane.ticks) for lane in picture.lanes], [1, 1, 0])
        late, early = picture.lanes[0].ticks[0], picture.lanes[1].ticks[0]
        self.assertAlmostEqual(early.width / late.width, 5, places=2)
        self.assertTrue(0 < early.x < early.x + early.width < late.x < WIDTH)

    def test_commit(self) -> None:
        """It reaches from its closing to its settling; a request's times count from its own begin."""
        picture = draw(recording(request(1, 1, 1000, 1010, 7), commits=(commit(7, 1100, 3100),)))
        (band,), (row,) = picture.bands, picture.rows
        self.assertAlmostEqual(band.width / WIDTH * picture.span_ms, 2.0, places=2)
        self.assertEqual((row.took_us, row.on_disk_ms, row.left_ms), (10.0, 2.1, 2.1))

    def test_unknown(self) -> None:
        """What is not known is None."""
        (row,) = draw(recording(request(1, 1, 1000, 1010, 7))).rows
        self.assertEqual((row.on_disk_ms, row.left_ms), (None, None))

    def test_a_hair(self) -> None:
        """The shortest request can be seen in the longest picture."""
        picture = draw(recording(request(1, 1, 0, 0), request(2, 1, 1_000_000, 1_000_001)))
        self.assertTrue(all(tick.width > 0.1 for tick in picture.lanes[0].ticks))

    def test_nothing(self) -> None:
        """A second in which nobody asked anything is a picture too."""
        picture = draw(Recording(0, 5000, 10_000_000, [], {}, {}, 0))
        self.assertEqual((picture.span_ms, picture.lanes, picture.rows), (10.0, [], []))

    def test_many_clients(self) -> None:
        """Past so many clients they share a lane, which says how many they are; nothing is left out."""
        picture = draw(recording(*(request(n, n, n, n + 1) for n in range(1, 1001))))
        self.assertEqual(len(picture.lanes), MAX_LANES + 1)
        self.assertEqual((picture.lanes[-1].label, len(picture.lanes[-1].ticks)), ("900 others", 900))
        self.assertEqual((picture.connected, picture.others, len(picture.rows)), (1000, 900, 1000))
