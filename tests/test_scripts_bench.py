"""What scripts/bench stands on: redis-benchmark's output, the generator, slow syncs, targets, the report's files."""

from __future__ import annotations

import atexit
import contextlib
import functools
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import polars
import pytest
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from scripts.benching import loops, targets
from scripts.benching import program as report
from scripts.benching.program import BENCH
from scripts.measuring import compaction, load, program, redis_benchmark
from scripts.measuring.bench import KVSTORE, VALKEY, Bench, Case, Effort, Setting
from scripts.measuring.compaction import Compaction
from scripts.measuring.generator import Generator, Group, compile_c
from scripts.measuring.load import WrongReply
from scripts.measuring.metering import Measures, Shape, latencies, metered
from scripts.measuring.record import Entry, Figure, Record
from scripts.measuring.results import Table

#: What redis-benchmark 7.0.15 wrote for `-c 50 -n 30000 -r 10000 -t set`, shortened where the dots are.
OUTPUT = """ \rSET: rps=0.0 (overall: 0.0) avg_msec=-nan (overall: -nan)\r        \
\rSET: rps=55404.0 (overall: 55183.3) avg_msec=0.821 (overall: 0.821)\r       \r====== SET ======
  30000 requests completed in 0.51 seconds
  50 parallel clients
  3 bytes payload
  keep alive: 1
  host configuration "save":
  host configuration "appendonly": yes
  multi-thread: no

Latency by percentile distribution:
0.000% <= 0.247 milliseconds (cumulative count 1)
50.000% <= 0.695 milliseconds (cumulative count 15346)
99.219% <= 2.319 milliseconds (cumulative count 29766)
99.805% <= 7.295 milliseconds (cumulative count 29943)
99.902% <= 9.591 milliseconds (cumulative count 29971)
99.951% <= 9.719 milliseconds (cumulative count 29986)
100.000% <= 9.983 milliseconds (cumulative count 30000)

Cumulative distribution of latencies:
0.000% <= 0.103 milliseconds (cumulative count 0)
99.990% <= 9.103 milliseconds (cumulative count 29950)
100.000% <= 10.103 milliseconds (cumulative count 30000)

Summary:
  throughput summary: 59288.54 requests per second
  latency summary (msec):
          avg       min       p50       p95       p99       max
        0.762     0.240     0.695     1.079     1.535     9.983

"""


class RedisBenchmarkTests(SynchronousTestCase):
    """What redis-benchmark is asked, and what it answers."""

    def test_reads_its_output(self) -> None:
        """p99.9 from the first step at or above it, the rest from the summary."""
        self.assertEqual(list(redis_benchmark.parse(OUTPUT).values()), [59288.54, 0.695, 1.535, 9.591, 9.983])

    def test_few_requests_have_a_tail_too(self) -> None:
        """Then the steps end with the slowest."""
        text = "".join(line for line in OUTPUT.splitlines(keepends=True) if not line.startswith("99.9"))
        self.assertEqual(redis_benchmark.parse(text)["p999_ms"], 9.983)

    def test_refuses_what_it_does_not_know(self) -> None:
        """Also output that breaks off."""
        for text in ("", "ERR", OUTPUT[: OUTPUT.index("Summary")], OUTPUT.partition("Latency by")[0]):
            self.assertRaises(redis_benchmark.UnreadableOutput, redis_benchmark.parse, text)

    def test_command(self) -> None:
        """All that makes a cell is on the command line."""
        load = redis_benchmark.Load(("-t", "mset"), Shape(50, 16), 100, 200)
        words = " ".join(redis_benchmark.command(6380, load, 7))
        self.assertEqual(words, "redis-benchmark -p 6380 -c 50 -P 16 -n 7 -r 200 -d 100 -t mset")


def _compiler() -> None:
    if shutil.which(os.environ.get("CC", "cc")) is None:
        raise SkipTest("there is no C compiler")


@functools.cache
def _compiled_generator() -> Path:
    """The generator, without a warning; it goes when the tests end."""
    directory = Path(tempfile.mkdtemp(prefix="kvstore-generator-"))
    atexit.register(shutil.rmtree, directory)
    source = Path(redis_benchmark.__file__).with_name("generator.c")
    return compile_c(source, directory / "generator", "-Wall", "-Wextra", "-Werror")


class _Echo:
    """Answers each line that it receives on any connection with `reply`, until `stop`."""

    def __init__(self, reply: bytes) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._reply = reply
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=(self._listener.accept()[0],), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while data := connection.recv(1 << 16):
                for piece in (self._reply[:3], self._reply[3:] + self._reply * (data.count(b"\n") - 1)):
                    connection.sendall(piece)

    def stop(self) -> None:
        """Take no more connections."""
        self._listener.close()


class GeneratorTests(SynchronousTestCase):
    """The generator in C."""

    def setUp(self) -> None:
        """A directory with the generator in it; it is compiled once."""
        _compiler()
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        shutil.copy(_compiled_generator(), self.directory / "generator")

    def _ask(self, reply: bytes, groups: list[Group]) -> Any:
        echo = _Echo(reply)
        self.addCleanup(echo.stop)
        return Generator(self.directory, groups).run(echo.port, 0.03)

    def test_counts_kinds_apart(self) -> None:
        """Each with its own rate and percentiles; all together are the sum."""
        groups = [Group(2, 1, [("GET", b"a\n"), ("SET", b"b\n")]), Group(1, 4, [("PING", b"c\n")])]
        found = self._ask(b"+OK\r\n", groups)
        measures = found.measures()
        rates = {kind: measures[f"{kind}.per_second"] for kind in ("GET", "SET", "PING")}
        self.assertApproximates(sum(rates.values()), measures["per_second"], 1)
        self.assertApproximates(measures["per_second"] * found.seconds, found.trace.height, 0.01)
        for kind in ("", "GET.", "SET.", "PING."):
            tail = [measures[kind + name] for name in ("p50_ms", "p99_ms", "p999_ms", "slowest_ms")]
            self.assertTrue(tail[0] > 0 and tail == sorted(tail), tail)

    def test_knows_where_a_reply_ends(self) -> None:
        """Whatever its grammar, in however many pieces it comes."""
        for reply in (b":12\r\n", b"$5\r\n+\r\n*1\r\n", b"*2\r\n$1\r\na\r\n*1\r\n:5\r\n", b"*0\r\n",
                      b'{"result":"success","value":[1]}\r\n'):  # fmt: skip
            self.assertGreater(self._ask(reply, [Group(1, 2, [("x", b"a\n")])]).trace.height, 1)

    def test_refuses_what_is_no_success(self) -> None:
        """An error, nothing, an array with an error in it, a failure as a JSON line, one reply too many."""
        for reply in (
            b"-ERR no\r\n",
            b"$-1\r\n",
            b"*2\r\n:1\r\n-ERR\r\n",
            b'{"result":"failure"}\r\n',
            b"+A\r\n+B\r\n",
        ):
            self.assertRaises(WrongReply, self._ask, reply, [Group(1, 1, [("x", b"a\n")])])

    def test_an_open_loop_asks_when_it_is_time(self) -> None:
        """Latency counts from when a request was due, so all began at multiples of a step, whatever was slow."""
        trace = self._ask(b"+OK\r\n", [Group(2, 1, [("x", b"a\n")], rate=1000)]).trace
        began = sorted(trace["began_ns"])
        self.assertEqual({(each - began[0]) % 1_000_000 for each in began}, {0})
        self.assertGreater(len(began), 2)
        self.assertGreater(trace["took_ns"].min(), 0)

    def test_traces_every_request_until_it_is_stopped(self) -> None:
        """When each began, on the clock that Python reads too."""
        echo = _Echo(b"+OK\r\n")
        self.addCleanup(echo.stop)
        before = time.perf_counter_ns()
        running = Generator(self.directory, [Group(2, 1, [("a", b"a\n"), ("b", b"b\n")])]).start(echo.port)
        while time.perf_counter_ns() < before + 50_000_000:
            running.check()
        trace = running.stop().trace
        self.assertEqual({"a", "b"}, set(trace["kind"]))
        self.assertTrue(before < trace["began_ns"].min() and trace["began_ns"].max() < time.perf_counter_ns())
        running.kill()


_SYNCS = """
import ctypes, os, sys, time
file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
def took(call):
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
def at_once():
    libc, context = ctypes.CDLL(None, use_errno=True), ctypes.c_ulong(0)
    if libc.syscall(206, 4, ctypes.byref(context)):
        return print("no AIO")
    event = os.eventfd(0)
    block = (ctypes.c_uint64 * 8)()
    block[2] = 3 | file << 32  # IOCB_CMD_FDSYNC
    block[7] = 1 | event << 32  # IOCB_FLAG_RESFD
    listed = (ctypes.c_void_p * 1)(ctypes.addressof(block))
    print(took(lambda: libc.syscall(209, context, ctypes.c_long(1), listed)), took(lambda: os.eventfd_read(event)))
print(took(lambda: os.fdatasync(file)), took(lambda: os.fsync(file)))
at_once()
"""


class SlowSyncTests(SynchronousTestCase):
    """The library that makes syncs slow."""

    def test_delays_syncs(self) -> None:
        """Those that wait sleep; those that do not wait return at once and complete late."""
        _compiler()
        directory = Path(self.mktemp())
        directory.mkdir()
        library = compile_c(loops._SLOW_SYNC, directory / "slow.so", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror")
        variables = {"LD_PRELOAD": str(library.absolute()), "SLOW_SYNC_US": "50000"}
        words = [sys.executable, "-S", "-c", _SYNCS, str(directory / "file")]
        output = subprocess.run(words, env=os.environ | variables, check=True, capture_output=True, text=True).stdout
        waiting, asynchronous = output.splitlines()
        self.assertGreaterEqual(min(map(float, waiting.split())), 0.05)
        if asynchronous != "no AIO":
            submitted, completed = map(float, asynchronous.split())
            self.assertLess(submitted, completed)
            self.assertGreaterEqual(submitted + completed, 0.049)


class RequestTests(SynchronousTestCase):
    """What the generator asks."""

    def test_varied_requests_find_what_they_ask_for(self) -> None:
        """Keys and fields are those that are filled in, and a list is pushed to as often as it is popped."""
        filled = b"".join(load.filled_for_varied(100, 3))
        counts: Counter[tuple[str, bytes]] = Counter()
        for kind, request in load.varied(100, 3):
            words = request.split(b"\r\n")[2::2]
            counts[kind, words[1]] += 1
            if kind in ("GET", "HGET"):
                self.assertIn(words[-1], filled)
        pushed, popped = ({key: n for (k, key), n in counts.items() if k == kind} for kind in ("LPUSH", "RPOP"))
        self.assertEqual(pushed, popped)
        self.assertLess(max(popped.values()), load._ELEMENTS)


class LatencyTests(SynchronousTestCase):
    """What is made of a trace."""

    def test_latencies(self) -> None:
        """Rate and nearest rank, of all and of each kind; of one kind it is said once."""
        took_ms = {"GET": [1, 2, 3], "SET": [10]}
        trace = polars.DataFrame(
            [{"kind": k, "took_ns": ms * 1_000_000} for k, all_ms in took_ms.items() for ms in all_ms]
        )
        found = latencies(trace, 2)
        self.assertEqual((found["per_second"], found["GET.per_second"], found["SET.p50_ms"]), (2, 1.5, 10))
        self.assertEqual((found["GET.p50_ms"], found["GET.slowest_ms"], found["slowest_ms"]), (2, 3, 10))
        self.assertEqual(list(latencies(trace[:3], 1)), ["per_second", "p50_ms", "p99_ms", "p999_ms", "slowest_ms"])

    def test_phases_of_a_compaction(self) -> None:
        """A request on the way at any time of it is in it; what follows at once is left out of what is compared."""
        watch = mock.Mock(asked_ns=1_000_000_000, ended_ns=3_000_000_000, server_grown_bytes=1, child_bytes=2)
        times = [(0, 10), (900, 200), (2_000, 5), (2_999, 2), (3_100, 7), (3_300, 4), (3_400, 1)]
        trace = polars.DataFrame([{"kind": "GET", "began_ns": b * 10**6, "took_ns": t * 10**6} for b, t in times])
        found = Compaction(compaction._with_phases(trace, watch), watch, [])
        self.assertEqual(found.trace["phase"].to_list(), ["before", *["during"] * 3, "settling", *["after"] * 2])
        measures = found.measures()
        self.assertEqual((measures["slowest_ms"], measures["normal.slowest_ms"], measures["added_ms"]), (200, 4, 196))
        self.assertEqual((measures["compaction_seconds"], measures["child_bytes"]), (2, 2))
        self.assertRaises(WrongReply, found._replace(trace=found.trace[:2]).measures)


class MeterTests(SynchronousTestCase):
    """Who was busy, and what INFO counts, between two readings."""

    def _found(self, name: str, *infos: dict[str, str]) -> Measures:
        server = mock.Mock()
        server.name, server.info.side_effect, server.cpu_seconds.side_effect = name, infos, [1.0, 1.5]
        with metered(server) as used:
            pass
        self.assertGreater(used["server_share"], 0)
        return {name: value for name, value in used.items() if not name.endswith("_share")}

    def test_counts_what_came_between(self) -> None:
        """The mean time of a commit is that of these commits, not of all."""
        before = {"commits": "10", "committed_requests": "10", "microseconds_per_commit": "100"}
        after = {"commits": "20", "committed_requests": "50", "microseconds_per_commit": "150"}
        found = self._found(KVSTORE, before, after)
        self.assertEqual(found, {"commits": 10.0, "requests_per_commit": 4.0, "commit_us": 200.0})
        self.assertEqual(self._found(KVSTORE, before, before), {})

    def test_finds_nothing_where_nothing_is_told(self) -> None:
        """Valkey, or a kvstore with other names in INFO."""
        self.assertEqual(self._found(VALKEY), {})
        self.assertEqual(self._found(KVSTORE, {}, {}), {})


class TableTests(SynchronousTestCase):
    """Tables for a terminal and for a report."""

    def test_columns_stand_under_each_other(self) -> None:
        """Names to the left, numbers to the right."""
        table = Table("Rates", ["", "a", "b"], [["SET", "1", "22"], ["GET", "333", "4"]])
        lines = [line.rstrip() for line in table.as_text().splitlines()]
        self.assertEqual(lines, ["", "Rates", "        a   b", " SET    1  22", " GET  333   4"])
        lines = table.as_markdown().splitlines()
        rows = ["|  | a | b |", "| --- | ---: | ---: |", "| SET | 1 | 22 |", "| GET | 333 | 4 |"]
        self.assertEqual(lines, ["**Rates**", "", *rows])


class TargetTests(SynchronousTestCase):
    """Whether a figure is reached."""

    def _figure(self, ours: list[float], theirs: list[float]) -> Figure:
        turns = {KVSTORE: [{"x": value} for value in ours], VALKEY: [{"x": value} for value in theirs]}
        return Entry("", "", turns).figures()["x"]

    def test_ratio_is_that_of_each_round(self) -> None:
        """Not that of the medians; one side alone has none."""
        self.assertEqual(self._figure([1, 4, 9], [1, 2, 4]), Figure(4, 2, 2, 1, 2.25))
        self.assertEqual(self._figure([1, 4, 9], []), Figure(4, None, None, None, None))
        self.assertEqual(self._figure([0, 1], [0, 1]), Figure(0.5, 0.5, 1, 1, 1))

    def test_more_is_better_of_rates(self) -> None:
        """The median must be at least the limit; the aim is told apart."""
        target = targets.Target("x", "case", "per_second", 0.9, 1.25, is_rate=True)
        row = target.row(self._figure([1, 2, 1], [1, 1, 2]))
        self.assertEqual(row, ["x", "at least 0.9", "1.25", "1.00", "0.50 to 2.00", "yes", "no"])
        self.assertEqual(target.row(self._figure([1], [2]))[-2:], ["NO", "no"])

    def test_less_is_better_of_times(self) -> None:
        """A bound may be on kvstore's own number."""
        target = targets.Target("x", "case", "added_ms", 20, 2, is_own=True)
        self.assertEqual(target.row(self._figure([3], [1]))[1:], ["at most 20", "2", "3.00", "-", "yes", "no"])

    def test_targets_are_of_cases_that_there_are(self) -> None:
        """And no two cases have one name; no two columns either."""
        names = [case.name for case in BENCH.cases]
        self.assertEqual(len(names), len(set(names)))
        self.assertEqual({target.case for target in targets.TARGETS} - set(names), set())
        self.assertEqual({case.group for case in BENCH.cases} - set(report.GROUP_TITLES), set())


_RATES: Measures = {
    "per_second": 1000.0, "p50_ms": 0.1, "p99_ms": 1.0, "p999_ms": 2.0, "slowest_ms": 3.0, "server_share": 0.9,
    "generator_share": 0.5, "stolen_share": 0.01, "server_us": 900.0,
}  # fmt: skip


def _both(measures: Measures) -> dict[str, list[Measures]]:
    """One turn of each side, with the same result."""
    return {side: [measures] for side in (KVSTORE, VALKEY)}


class RecordTests(SynchronousTestCase):
    """Cases, and the report's files."""

    def setUp(self) -> None:
        """A case whose sides only note that they had a turn."""
        self.happened: list[str] = []

        def set_up(bench: Bench, side: str) -> Callable[[], Measures]:
            self.happened.append(f"{side} is set up")
            return lambda: self.happened.append(side) or dict(_RATES)

        self.case = Case("set-50", "commands", "SET 50", set_up)
        self.out = Path(self.mktemp())

    def _arguments(self, *words: str) -> Any:
        return program.parse_arguments(BENCH, "", ["--out", str(self.out), *words])

    def test_sides_take_turns(self) -> None:
        """When both are set up, the side that begins changing from round to round."""
        with Bench("x", Effort(3, 0.1), Path(".").absolute()) as bench:
            turns = self.case.measure(bench)
        self.assertEqual(self.happened[:2], ["kvstore is set up", "Valkey is set up"])
        self.assertEqual(self.happened[2:], [KVSTORE, VALKEY, VALKEY, KVSTORE, KVSTORE, VALKEY])
        self.assertEqual([len(turns[side]) for side in (KVSTORE, VALKEY)], [3, 3])

    def test_resumes(self) -> None:
        """What the file has from the same commit and conditions is left out, and only that."""
        arguments = self._arguments("--resume", "set-50", "get-50")
        about = {"commit": "abc", "date": "now", **program.conditions(arguments)}
        Record(self.out / "bench.json").put(self.case, _both(_RATES), about)
        again = Record.read(self.out / "bench.json")
        self.assertEqual([case.name for case in program.left(arguments, again, about)], ["get-50"])
        self.assertEqual(len(program.left(arguments, again, about | {"commit": "def"})), 2)
        more = self._arguments("--resume", "set-50", "get-50", "--rounds", "9")
        self.assertEqual(len(program.left(more, again, about | program.conditions(more))), 2)

    def _put(self, record: Record, name: str, turns: dict[str, list[Measures]]) -> None:
        [case] = program.choose(BENCH, [name])
        record.put(case, turns, {"commit": "abc", "date": "now"})

    def test_writes_tables_and_plots(self) -> None:
        """Of whatever was measured: rates, kinds of requests, other measures, probes."""
        record = Record(self.out / "bench.json")
        commits = {"commits": 25.0, "requests_per_commit": 4.0, "commit_us": 120.0}
        self._put(record, "set-50", {KVSTORE: [_RATES | commits], VALKEY: [_RATES]})
        kinds = {f"{kind}.{name}": value for kind in ("GET", "SET") for name, value in _RATES.items()}
        self._put(record, "gets-beside-16-writers", _both(_RATES | kinds))
        self._put(record, "query-50", {KVSTORE: [_RATES]})
        sizes = {"loaded_bytes": 2.0**20, "recovered_bytes": 2.0**21}
        self._put(record, "recovery", _both({"log_seconds": 1.5, "checkpoint_seconds": 1.0} | sizes))
        self._put(record, "disk-append", {"disk": [_RATES]})
        self._put(record, "generators-50", {"redis-benchmark": [_RATES], "own generator": [_RATES]})
        self.assertEqual(report.draw(record, self.out), ["bench.png"])
        text = program.as_markdown(BENCH, record, {"command": "scripts/bench"}, ["bench.png"])
        text = re.sub(" +", " ", text)
        for part in ("| SET 50 | 1,000 | 1,000 | 1.00 |", "| - GET | 1,000 |", "| query 50 | 1,000 | 0.100 |",
                     "| 90 % / 90 % | 50 % / 50 % | 900.00 / 900.00 | 4.0 | 120 |",
                     "| recovery: start, everything in the log | 1.50 s |", "| 1 MiB | 1 MiB |",
                     "| append | 1,000 | 0.100 |", "| redis-benchmark/s | own generator/s |",
                     "![bench.png](bench.png)", "- cases by commit: 6 at abc", "1 % of the time in the median turn",
                     "Figures to reach (not measured: plain-set-200, "):  # fmt: skip
            self.assertIn(part, text)
        self.assertEqual(report.headline(record.entries["recovery"], VALKEY), "kvstore 1.50 s  Valkey 1.50 s")

    def test_names_another_peer(self) -> None:
        """Beside another kvstore nothing is worded for Valkey, and the targets are left out."""
        record = Record(self.out / "bench.json", "kvstore@abc")
        record.put(self.case, _both(_RATES), {"commit": "abc", "date": "now"})
        tables = [*report.tables(record), *report.verdict(record)]
        text = "".join(table.as_text() for table in tables)
        self.assertNotIn("Valkey", text)
        self.assertNotIn("Figures to reach", text)
        self.assertIn("kvstore@abc/s", text)
        self.assertRaises(ValueError, Record.read, self.out / "bench.json")


class CommandLineTests(SynchronousTestCase):
    """What can be asked of scripts/bench."""

    def test_chooses_by_name_group_and_pattern(self) -> None:
        """All without a name."""
        for patterns, names in ((["set-1"], ["set-1"]), (["?et-200"], ["set-200", "get-200"]),
                                (["mixed"], ["mixed-50", "mixed-50-p16", "varied-50-p16"])):  # fmt: skip
            self.assertEqual([case.name for case in program.choose(BENCH, patterns)], names)
        self.assertEqual(program.choose(BENCH, []), BENCH.cases)

    def test_bad_values_end_it(self) -> None:
        """A case that is none, a number that is not over 0, a directory that is not there."""
        for words in (["nonsense"], ["--rounds", "0"], ["--seconds", "-1"], ["--directory", "/no/such/place"],
                      ["--before", "/no/such/checkout"]):  # fmt: skip
            with contextlib.redirect_stderr(io.StringIO()):
                self.assertRaises(SystemExit, program.parse_arguments, BENCH, "", words)

    def test_setting(self) -> None:
        """Pinned, server and generator share no processor; options are kvstore's."""
        with mock.patch.object(os, "sched_getaffinity", lambda _: {0, 1, 2}):
            pinned = program.setting(True, ["--group-limit", "8"])
        self.assertEqual(pinned.surroundings.cpus, {0})
        self.assertEqual(pinned.generator_cpus, {1, 2})
        self.assertEqual(pinned.kvstore_options, ("--group-limit", "8"))
        self.assertEqual(program.setting(False, []), Setting())

    @pytest.mark.long
    def test_measures_cases(self) -> None:
        """From the command line to the report, with real servers, redis-benchmark and the generator."""
        _compiler()
        if shutil.which("redis-benchmark") is None:
            raise SkipTest("redis-benchmark is not installed")
        out = os.path.abspath(self.mktemp())
        words = ["bench", "rpop-50", "varied-50-p16", "--quick", "--rounds", "1", "--seconds", "0.1", "--out", out]
        output = io.StringIO()
        with (
            mock.patch.object(sys, "argv", words),
            contextlib.redirect_stdout(output),
        ):
            status = program.main(BENCH, "")
        self.assertEqual(status, 0, output.getvalue())
        cases = json.loads(Path(out, "bench.json").read_text())["cases"]
        for side in (KVSTORE, VALKEY):
            self.assertGreater(cases["rpop-50"]["turns"][side][0]["per_second"], 0)
            self.assertGreater(cases["varied-50-p16"]["turns"][side][0]["RPOP.per_second"], 0)
        self.assertIn("Figures to reach", Path(out, "bench.md").read_text())
