"""LATENCY and INFO latencystats: how long commands take, which events are noted, what is said of them."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.slices import SLICE_NS
from kvstore.commands.latency_events import Event, LatencyEvents, Sample
from kvstore.commands.latency_report import doctor, graph
from kvstore.commands.registry import table as commands
from tests.kit.serving import Serving

MS = 1_000_000


class EventsTests(SynchronousTestCase):
    """What is kept of events."""

    def setUp(self) -> None:
        """Events of at least 10 ms, by a clock."""
        self.now_ms = 7000
        self.events = LatencyEvents(lambda: self.now_ms)
        self.told: list[bool] = []
        self.events.changed.append(self.told.append)
        self.events.set_threshold("10")

    def test_threshold(self) -> None:
        """What takes less is not noted; nothing is at 0. Who asked is told."""
        self.events.note("command", 10 * MS - 1)
        self.assertEqual(self.events.by_name, {})
        self.events.note("command", 10 * MS)
        self.events.set_threshold("0")
        self.events.note("command", 10**12)
        self.assertEqual(self.events.by_name["command"].count, 1)
        self.assertEqual(self.told, [True, False])

    def test_seconds(self) -> None:
        """Of a second the longest is kept, and of 160 seconds; the sums are of all."""
        for took_ms in (20, 30, 10):
            self.events.note("fork", took_ms * MS)
        event = self.events.by_name["fork"]
        self.assertEqual(list(event.samples), [(7, 30)])
        self.assertEqual((event.longest_ms, event.total_ms, event.count), (30, 60, 3))
        for _ in range(200):
            self.now_ms += 1000
            self.events.note("fork", 10 * MS)
        self.assertEqual((len(event.samples), event.samples[-1], event.longest_ms), (160, (207, 10), 30))

    def test_forgetting(self) -> None:
        """By names in any case, or all."""
        for name in ("fork", "command", "aof-write"):
            self.events.note(name, 10 * MS)
        self.assertEqual(self.events.forget(["FORK", "none"]), 1)
        self.assertEqual(list(self.events.by_name), ["command", "aof-write"])
        self.assertEqual((self.events.forget([]), self.events.by_name), (2, {}))


class ReportTests(SynchronousTestCase):
    """What is said to a person."""

    def event(self, name: str, *samples: tuple[int, int]) -> Event:
        """One with these samples."""
        event = Event(name)
        for sample in samples:
            event.add(Sample(*sample))
        return event

    def test_graph(self) -> None:
        """As Valkey draws it: the columns from low to high, and under each, read downwards, how long ago that was."""
        event = self.event("command", (1000, 10), (4590, 22), (90_000, 16), (90_590, 13))
        lines = graph(event, 90_600).splitlines()
        self.assertEqual(lines[:2], ["command - high 22 ms, low 10 ms (all time high 22 ms)", "-" * 80])
        self.assertEqual(lines[2:], [" #  ", " |_ ", " ||_", "_|||", "    ", "1211", "d300", " hms"])

    def test_long_graph(self) -> None:
        """80 columns in a row."""
        event = self.event("command", *((second, 10) for second in range(100)))
        lines = graph(event, 100).splitlines()
        self.assertEqual([len(line) for line in lines[2:]], [80] * 8 + [0] + [20] * 8)

    def test_doctor(self) -> None:
        """Nothing is noted; nothing was; what was, and what to do about it, each advice once."""
        events = LatencyEvents(lambda: 9000)
        self.assertIn("Latency monitoring is disabled", doctor(events, -1, 9))
        events.set_threshold("5")
        self.assertIn("No latency spike", doctor(events, -1, 9))
        for name in ("command", "log-seal", "aof-rename", "something-else"):
            events.note(name, 20 * MS)
        said = doctor(events, -1, 13).splitlines()
        self.assertEqual(
            said[2],
            "1. command: 1 latency spikes (average 20ms, mean deviation 0ms, period 4.00 sec). "
            "Worst all time event 20ms.",
        )
        advice = [line for line in said if line.startswith("- ")]
        self.assertEqual(len(advice), 3)
        self.assertIn("CONFIG SET commandlog-execution-slower-than 5000", advice[-1])
        self.assertNotIn("CONFIG SET", doctor(events, 5000, 13))


class LatencyTests(SynchronousTestCase):
    """The commands. `now_ns`: the clock; GET takes 2 us, KEYS 20 ms, each second GET of `b` a microsecond more."""

    def setUp(self) -> None:
        """A server with that clock."""
        self.serving = Serving()
        self.now_ns = 0
        self.serving.server.steady_ns = lambda: self.now_ns
        for name, takes_ns in ((b"GET", 2000), (b"KEYS", 20 * MS)):
            self.patch(commands.by_name[name], "function", self.taking(takes_ns))
        self.client = self.serving.connect()

    def taking(self, nanoseconds: int) -> Any:
        """A command that takes so long."""

        def function(call: Any, *arguments: Any) -> int:
            self.now_ns += nanoseconds
            return 1

        return function

    def fields(self) -> dict[str, str]:
        """Those of INFO latencystats, without that of INFO itself."""
        lines = self.client.ask("INFO latencystats").decode().splitlines()
        pairs = (line.removeprefix("latency_percentiles_usec_").split(":") for line in lines if ":" in line)
        return {name: value for name, value in pairs if name != "info"}

    def test_histogram(self) -> None:
        """Of all commands that were called, or of some; also those calls that were not timed by themselves."""
        for request in ["GET a"] * 20 + ["KEYS *"]:
            self.client.ask(request)
        self.assertEqual(
            self.client.ask("LATENCY HISTOGRAM get keys nosuch hset"),
            b"*4\r\n$3\r\nget\r\n*4\r\n$5\r\ncalls\r\n:20\r\n$14\r\nhistogram_usec\r\n*2\r\n:2\r\n:20\r\n"
            b"$4\r\nkeys\r\n*4\r\n$5\r\ncalls\r\n:1\r\n$14\r\nhistogram_usec\r\n*2\r\n:33816\r\n:1\r\n",
        )
        self.client.ask("CONFIG RESETSTAT", "CLIENT ID")
        for asked in (
            "LATENCY HISTOGRAM client",
            "LATENCY HISTOGRAM Client|ID",
            "LATENCY HISTOGRAM config|x client|id",
        ):
            self.assertTrue(self.client.ask(asked).startswith(b"*2\r\n$9\r\nclient|id\r\n"), asked)
        self.assertEqual(self.client.ask("LATENCY HISTOGRAM latency|x nosuch"), b"*0\r\n")
        self.assertIn(b"config|resetstat", self.client.ask("LATENCY HISTOGRAM"))

    def test_info(self) -> None:
        """The percentiles that a setting names; none while the other is no."""
        self.client.ask(*["GET a"] * 99, "KEYS *")
        self.assertEqual(self.fields()["get"], "p50=2.007,p99=2.007,p99.9=2.007")
        self.client.ask(b'CONFIG SET latency-tracking-info-percentiles "0.0 99.9"\r\n', "CONFIG RESETSTAT", "GET a")
        self.assertEqual(self.fields()["get"], "p0=2.000,p99.9=2.007")
        self.client.ask("CONFIG SET latency-tracking no", "GET a", "GET a")
        self.assertEqual(self.fields(), {})
        self.client.ask("CONFIG SET latency-tracking YES")
        self.assertIn(b":1\r\n", self.client.ask("LATENCY HISTOGRAM get"))

    def test_percentiles_that_are_none(self) -> None:
        """They are refused, in Valkey's words."""
        for wrong, why in ((b"a", b"Invalid latency"), (b"101", b"should sit between [0.0,100.0]")):
            request = b'CONFIG SET latency-tracking-info-percentiles "10.0 50.0 %b"\r\n' % wrong
            self.assertIn(why, self.client.ask(request))
        shown = self.client.ask("CONFIG GET latency-tracking-info-percentiles")
        self.assertTrue(shown.endswith(b"50 99 99.9\r\n"), shown)

    def test_events(self) -> None:
        """A command that takes long is one, whether or not the next one after a quick one would be timed."""
        self.client.ask("GET a", "CONFIG SET latency-monitor-threshold 20", "GET a")
        self.patch(commands.by_name[b"GET"], "function", self.taking(30 * MS))
        self.client.ask("GET a")
        self.client.ask("GET a\n", "KEYS *", "MULTI", "KEYS *", "EXEC")
        now_s = b":%d\r\n" % (self.serving.now_ms // 1000)
        fast = b"*6\r\n$12\r\nfast-command\r\n" + now_s + b":30\r\n:30\r\n:60\r\n:2\r\n"
        slow = b"*6\r\n$7\r\ncommand\r\n" + now_s + b":20\r\n:20\r\n:60\r\n:3\r\n"
        self.assertEqual(self.client.ask("LATENCY LATEST"), b"*2\r\n" + fast + slow)
        self.assertEqual(self.client.ask("LATENCY HISTORY command"), b"*1\r\n*2\r\n" + now_s + b":20\r\n")
        self.assertEqual(self.client.ask("LATENCY HISTORY Command"), b"*0\r\n")
        self.assertIn(b"fast-command - high 30 ms, low 30 ms", self.client.ask("LATENCY GRAPH fast-command"))
        self.assertIn(b"2. command: 1 latency spikes", self.client.ask("LATENCY DOCTOR"))
        self.assertEqual(
            self.client.ask("LATENCY RESET COMMAND", "LATENCY RESET", "LATENCY LATEST"), b":1\r\n:1\r\n*0\r\n"
        )
        self.assertIn(b"No samples available for event 'x'", self.client.ask("LATENCY GRAPH x"))

    def test_slices(self) -> None:
        """A request that is done in slices is timed as one, and is no event: nobody waited for all of it."""

        def in_slices(call: Any, *arguments: Any) -> Any:
            for _ in range(3):
                self.now_ns += SLICE_NS
                yield
            return 1

        self.patch(commands.by_name[b"KEYS"], "function", in_slices)
        for watched in (False, True):
            if watched:
                self.serving.hooks.watchers.append(lambda executed: None)
            self.client.ask("CONFIG RESETSTAT", "CONFIG SET latency-monitor-threshold 2")
            self.client.ask("KEYS *")
            self.client.ask("GET a", "KEYS *")
            self.assertIn(
                b"calls\r\n:2\r\n$14\r\nhistogram_usec\r\n*2\r\n:4227\r\n:2\r\n",
                self.client.ask("LATENCY HISTOGRAM keys"),
            )
            self.assertIn("calls=2,usec=6000", self.client.ask("INFO commandstats").decode())
            self.assertEqual(self.client.ask("LATENCY LATEST"), b"*0\r\n")
