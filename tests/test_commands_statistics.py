"""INFO's commandstats: what is counted, as a real Valkey counts it; and for how long commands took."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.errors import Failure
from kvstore.commands.latency_events import LatencyEvents
from kvstore.commands.registry import table as commands
from kvstore.commands.statistics import _QUICK_NS, _UNTIMED, CommandStatistics
from kvstore.wire.resp import pack
from tests.kit.serving import Serving
from tests.kit.valkey import ValkeyTestCase

#: Steps, each of which begins with all counters at zero.
STEPS = """
GET|GET a b|GET a
SET a b foo|SET a b|INCR a|EXPIRE a x|SET a b NX
CLIENT nonsense|NONSENSE|CLIENT ID|CLIENT SETNAME|CONFIG
MULTI|GET|INCR a|EXEC
SET a b|MULTI|SET a b|INCR a|GET a|EXEC|GET a
EXEC|MULTI|MULTI|DISCARD|DISCARD
MULTI|WATCH a|EXEC
SCAN 0 COUNT x|MGET a b|MSET a 1 b|DEL a a
"""


def counted(lines: str) -> dict[str, tuple[int, ...]]:
    """Calls, rejected and failed ones of each command, from the lines of INFO commandstats."""
    found = {}
    for line in lines.splitlines():
        name, _, fields = line.removeprefix("cmdstat_").partition(":")
        numbers = dict(field.split("=") for field in fields.split(",") if "=" in field)
        if numbers and name not in ("info", "config|resetstat"):
            found[name] = tuple(int(numbers[key]) for key in ("calls", "rejected_calls", "failed_calls"))
    return found


class AsValkeyTests(ValkeyTestCase):
    """The same requests to both."""

    def test_counters(self) -> None:
        """Calls, rejected and failed ones; whether or not somebody watches; also in a pipeline."""
        for watched in (False, True):
            theirs, serving = self.valkey.connect(), Serving()
            self.addCleanup(theirs.close)
            if watched:
                serving.hooks.watchers.append(lambda executed: None)
            ours = serving.connect()
            for step in STEPS.strip().splitlines():
                theirs.ask([b"CONFIG", b"RESETSTAT"])
                ours.ask("CONFIG RESETSTAT")
                for request in step.split("|"):
                    theirs.ask(request.encode().split(b" "))
                ours.ask(*step.split("|"))
                expected = counted(theirs.ask([b"INFO", b"commandstats"])[1].decode())
                lines = ours.told("INFO commandstats").decode()
                self.assertEqual(counted(lines), expected, step)


class ErrorsAsValkeyTests(ValkeyTestCase):
    """Errors in scripts, by the words they begin with, as Valkey counts them."""

    def test_errors_of_scripts(self) -> None:
        """Each call that fails counts, caught or not, and not again as the script's answer; what a script makes counts
        as that.
        """
        ours = Serving().connect()
        theirs = self.valkey.connect()
        self.addCleanup(theirs.close)
        for script in (
            b"redis.pcall('INCRBY', 'a', 'x') return 1",
            b"return redis.pcall('INCRBY', 'a', 'x')",
            b"redis.call('INCRBY', 'a', 'x')",
            b"redis.pcall('GET') return 1",
            b"redis.pcall('NONE') redis.pcall('SELECT', '99') return redis.pcall('LPUSH', 's', 'a')",
            b"return redis.error_reply('MINE of my own')",
            b"error({err='MINE of my own'})",
            b"redis.pcall('INCRBY', 'a', 'x') return redis.error_reply('MINE of my own')",
        ):
            found = []
            for ask in (lambda request: theirs.ask(request), lambda request: ours.told(pack(*request))):
                ask([b"SET", b"s", b"a"])
                ask([b"CONFIG", b"RESETSTAT"])
                ask([b"EVAL", script, b"0"])
                shown = ask([b"INFO", b"errorstats"])
                text = (shown if isinstance(shown, bytes) else shown[1]).decode()
                found.append(sorted(line for line in text.split() if "errorstat_" in line))
            self.assertEqual(found[1], found[0], script)


class FailingTests(SynchronousTestCase):
    """What Valkey cannot be brought to here."""

    def test_a_full_disk(self) -> None:
        """A write that is refused is no call, as in Valkey (MISCONF)."""
        for watched in (False, True):
            serving = Serving()
            if watched:
                serving.hooks.watchers.append(lambda executed: None)
            client = serving.connect()
            serving.disk.capacity_bytes = 0
            self.assertIn(
                b"MISCONF", client.ask(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$600000\r\n" + b"x" * 600_000 + b"\r\n")
            )
            statistics = serving.server.statistics[commands.by_name[b"SET"]]
            self.assertEqual((statistics.calls, statistics.rejected, statistics.failed), (0, 1, 0))

    def test_json_lines(self) -> None:
        """A call of a verb counts as one; a member that is missing is no call."""
        client = Serving().connect()
        client.ask('{"method":"lookup","key":"a"}', '{"method":"lookup"}', '{"method":"size"}', "size\n", "lookup\n")
        shown = counted(client.ask("INFO commandstats").decode())
        self.assertEqual((shown["lookup"], shown["size"]), ((1, 2, 1), (2, 0, 0)))

    def test_two_servers(self) -> None:
        """They share nothing."""
        one, two = Serving(), Serving()
        one.connect().ask("GET a")
        self.assertEqual(counted(two.connect().ask("INFO commandstats").decode()), {})


class TimeTests(SynchronousTestCase):
    """For how long. `now_ns`: the clock; GET takes 1 us, KEYS a millisecond."""

    def setUp(self) -> None:
        """A server with that clock."""
        self.serving = Serving()
        self.now_ns = 0
        self.looks = 0
        self.serving.server.steady_ns = self.look
        for name, takes_ns in ((b"GET", 1000), (b"KEYS", 1_000_000)):
            self.patch(commands.by_name[name], "function", self.taking(takes_ns))
        self.client = self.serving.connect()

    def look(self) -> int:
        """What the clock says."""
        self.looks += 1
        return self.now_ns

    def taking(self, nanoseconds: int) -> Any:
        """A command that takes so long."""

        def function(call: Any, *arguments: Any) -> int:
            self.now_ns += nanoseconds
            return 1

        return function

    def shown(self, name: str) -> str:
        """The line of a command."""
        lines = self.client.ask("INFO commandstats").decode().splitlines()
        return next(line.partition(":")[2] for line in lines if line.startswith(f"cmdstat_{name}:"))

    def test_single_requests(self) -> None:
        """Quick ones are timed now and then, slow ones always; both are right."""
        for _ in range(100):
            self.client.ask("GET a")
        self.assertLess(self.looks, 20)
        self.assertEqual(self.shown("get"), "calls=100,usec=100,usec_per_call=1.00,rejected_calls=0,failed_calls=0")
        self.looks = 0
        for _ in range(100):
            self.client.ask("KEYS a")
        self.assertEqual(self.looks, 200)
        self.assertEqual(
            self.shown("keys"), "calls=100,usec=100000,usec_per_call=1000.00,rejected_calls=0,failed_calls=0"
        )

    def test_batches_and_blocks(self) -> None:
        """A request is timed wherever it executes."""
        self.client.ask(*["GET a", "KEYS *"] * 4, "GET a\n", "MULTI", "GET a", "KEYS *", "EXEC")
        self.assertIn("calls=6,usec=6,usec_per_call=1.00", self.shown("get"))
        self.assertIn("calls=5,usec=5000,usec_per_call=1000.00", self.shown("keys"))
        self.assertIn("calls=1,usec=1001,", self.shown("exec"))

    def test_failed_calls(self) -> None:
        """They take time, too, in a block as outside one."""

        def function(call: Any, *arguments: Any) -> int:
            self.now_ns += 2000
            raise Failure("planted by a test")

        self.patch(commands.by_name[b"STRLEN"], "function", function)
        self.client.ask("STRLEN a", "MULTI", "STRLEN a", "EXEC", "STRLEN a\n")
        self.assertEqual(self.shown("strlen"), "calls=3,usec=6,usec_per_call=2.00,rejected_calls=0,failed_calls=3")

    def test_averages(self) -> None:
        """What was not timed counts as the next that is."""
        statistics = CommandStatistics(commands.by_name[b"GET"], LatencyEvents(lambda: 0))
        statistics.calls = 1
        statistics.add_time(_QUICK_NS)
        self.assertEqual(statistics.untimed, 0)
        statistics.calls = 2
        statistics.add_time(_QUICK_NS - 1)
        self.assertEqual(statistics.untimed, _UNTIMED)
        statistics.calls = 4
        statistics.add_time(3 * _QUICK_NS + 1)
        statistics.calls = 12
        statistics.add_times(8 * _QUICK_NS, 8)
        self.assertIn("calls=12,usec=1600,usec_per_call=133.33", statistics.shown())
        statistics.not_called(8)
        self.assertIn("calls=4,usec=800,usec_per_call=200.00", statistics.shown())
        self.assertEqual(statistics.histogram().count, 4)
