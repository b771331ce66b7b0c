"""The history of a server: rates, levels and times by the second and the minute, and no more than there is room for."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from kvstore.edge.history import MINUTES, SECONDS, History, Series
from tests.kit.http import WatchedTestCase


class SeriesTests(SynchronousTestCase):
    """The newest samples."""

    def test_the_oldest_go(self) -> None:
        """In order, whole and in part, before it is full and after."""
        series = Series(["x", "y"], 3)
        self.assertEqual(series.columns(), {"x": [], "y": []})
        for number in range(5):
            series.add({"x": number, "y": -number})
            self.assertEqual(len(series), min(number + 1, 3))
        self.assertEqual(series.columns(), {"x": [2, 3, 4], "y": [-2, -3, -4]})
        self.assertEqual(series.columns(2)["x"], [3, 4])
        self.assertEqual(series.columns(9)["x"], [2, 3, 4])
        self.assertEqual(series.columns(0)["x"], [])


class HistoryTests(WatchedTestCase):
    """Of a server."""

    def setUp(self) -> None:
        """Make it."""
        super().setUp()
        self.history = History(self.sources)

    def second(self) -> None:
        """One passes."""
        self.clock.advance(1)
        self.now_ms += 1000
        for each in (self.sources.pace, self.sources.received, self.sources.sent, self.history):
            each.sample()

    def test_rates_and_levels(self) -> None:
        """What a counter grew by in a second, and what there is; times of what was committed since."""
        self.second()
        client = self.connect()
        client.send(b"SET a 1\r\n" * 10)
        self.turn()
        self.second()
        self.second()
        seconds = self.history.seconds.columns()
        self.assertEqual([seconds[name] for name in ("requests", "commits", "clients", "keys")],
                         [[0, 10, 0], [0, 1, 0], [0, 1, 1], [0, 1, 1]])  # fmt: skip
        self.assertEqual(seconds["received_bytes"], [0, 90, 0])
        self.assertEqual([end - seconds["at_s"][0] for end in seconds["at_s"]], [0, 1, 2])
        self.assertEqual([seconds[name][1] > 0 for name in ("resident_bytes", "log_bytes")], [True, True])

    def test_who_is_blocked(self) -> None:
        """Who waits for a key, and who for the end of a pause: as INFO counts them."""
        self.connect().send(b"BLPOP jobs 0\r\n")
        self.connect().send(b"CLIENT PAUSE 10000\r\n")
        self.connect().send(b"SET a 1\r\n")
        self.turn()
        self.second()
        self.assertEqual(self.history.seconds.columns()["blocked_clients"], [2])

    def test_times_of_commits(self) -> None:
        """Quantiles of those since the sample before."""
        durations_ns = self.commit.figures.durations_ns
        durations_ns[20] += 100
        self.second()
        durations_ns[10] += 90
        durations_ns[30] += 10
        self.second()
        self.second()
        seconds = self.history.seconds.columns()
        self.assertEqual([f"{time_s:.2g}" for time_s in seconds["commit_p50_s"]], ["0.00079", "8e-07", "0"])
        self.assertEqual([f"{time_s:.2g}" for time_s in seconds["commit_p99_s"]], ["0.001", "1", "0"])

    def test_times_of_calls(self) -> None:
        """Of all commands together."""
        client, times = self.connect(), iter((0, 1_000_000, 0, 1_000_000))
        self.server.steady_ns = lambda: next(times)
        client.send(b"LPUSH a 1\r\n")
        self.second()
        client.send(b"PING\r\n")
        self.second()
        self.second()
        seconds = self.history.seconds.columns()
        self.assertEqual([f"{time_s:.1g}" for time_s in seconds["call_p50_s"]], ["0.001", "0.001", "0"])

    def test_minutes(self) -> None:
        """Over the whole of one."""
        for _ in range(119):
            self.second()
            self.server.requests_executed += 60
        minutes = self.history.minutes.columns()
        self.assertEqual(minutes["requests"], [59])
        self.second()
        self.assertEqual(self.history.minutes.columns()["requests"], [59, 60])

    def test_counters_that_are_set_back(self) -> None:
        """CONFIG RESETSTAT makes no rate below nothing."""
        self.server.requests_executed = 100
        self.second()
        self.server.requests_executed = 0
        self.second()
        self.assertEqual(self.history.seconds.columns()["requests"], [100, 0])

    def test_it_is_bounded(self) -> None:
        """No sample more than there is room for."""
        sample = dict.fromkeys(self.history.seconds.columns(), 0.0)
        for _ in range(MINUTES + 1):
            self.history.seconds.add(sample)
            self.history.minutes.add(sample)
        self.assertEqual([len(self.history.seconds), len(self.history.minutes)], [SECONDS, MINUTES])
