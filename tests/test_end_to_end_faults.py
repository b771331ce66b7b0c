"""Real faults on real files: a full disk, too few files, a log that vanishes, signals, dead children.

What needs a file system of its own mounts a small tmpfs, which takes root (and Linux); else those tests are skipped and
say so. Longer runs of the same: scripts/faults.
"""

from __future__ import annotations

import contextlib
import os
import random
import resource
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path
from unittest import mock

import pytest
from twisted.trial.unittest import SynchronousTestCase

from kvstore.testing.server_process import ServerProcess, StartFailed
from scripts.measuring.processes import children
from tests.kit.server_process import Serving, Wire, eventually, new_directory
from tests.kit.small_disk import SmallDisk, fill
from tests.suites.histories.checker import check
from tests.suites.histories.run import ConcurrentRun

_MIB = 1024 * 1024
_DAY_S = 24 * 3600


@pytest.mark.long
class FullDiskTests(SmallDisk, SynchronousTestCase):
    """No space left on device, for writes and for compaction."""

    def test_writes_are_refused_until_there_is_room(self) -> None:
        """-MISCONF and a JSON failure for writes, reads as ever, and after room is made writes again; nothing lost."""
        disk = self.mount("12m")
        ballast = self.ballast(disk, 4 * _MIB)
        server = self.start("--max-request-bytes", "1mb", data=str(disk / "data"))
        wire = self.connect(server)
        taken, error = fill(wire, "a")
        self.assertGreater(taken, 100)
        self.assertRegex(error, r"^MISCONF Errors writing to the log: No space left on device")
        refused = wire.say('{"method":"insert","key":"j","value":"' + "x" * 9000 + '"}')
        self.assertRegex(refused, rb'^\{"result":"failure","error":"Errors writing to the log: No space left')
        self.assertRegex(str(wire.ask("MSET", "m1", "x" * 9000, "m2", "x" * 9000)), "^MISCONF")
        self.assertEqual(wire.ask("EXISTS", "j", "m1", "m2", f"a:{taken}"), 0)
        self.assertTrue(wire.ask("GET", f"a:{taken - 1}").startswith(f"{taken - 1}:".encode()))
        self.assertEqual(wire.ask("DBSIZE"), taken)
        ballast.unlink()
        more, _ = fill(wire, "b")
        self.assertGreater(more, 100)
        server.kill()
        server.start()
        wire = self.connect(server)
        self.assertEqual(wire.ask("DBSIZE"), taken + more)
        for name, count in (("a", taken), ("b", more)):
            for number in range(count):
                self.assertTrue(wire.ask("GET", f"{name}:{number}").startswith(b"%d:" % number))

    def test_compaction_out_of_disk(self) -> None:
        """The merge finds no room: the server goes on, says so, tries again, and succeeds once there is room."""
        disk = self.mount("16m")
        server = self.start("--compact-after", "300", data=str(disk / "data"))
        wire = self.connect(server)
        for number in range(250):
            self.assertEqual(wire.ask("SET", f"a:{number}", "x" * 20_000), b"OK")
        ballast = self.ballast(disk, shutil.disk_usage(disk).free - 3 * _MIB)  # for a new log, not for 5 MB more
        for number in range(100):
            self.assertEqual(wire.ask("SET", f"b:{number}", "y"), b"OK")
        error = eventually(lambda: wire.info("persistence")["last_compaction_error"], lambda seen: seen != "none")
        self.assertIn("No space left on device", error)
        server.wait_for_line(lambda line: "compaction failed, again in" in line)
        self.assertEqual(wire.ask("SET", "c", "z"), b"OK")
        self.assertEqual(wire.info("persistence")["compactions"], "0")
        ballast.unlink()
        eventually(lambda: wire.info("persistence"), lambda seen: seen["compactions"] != "0")
        self.assertEqual(wire.info("persistence")["last_compaction_error"], "none")
        self.assertEqual([name for name in os.listdir(disk / "data") if name.endswith(".tmp")], [])
        server.kill()
        server.start()
        wire = self.connect(server)
        self.assertEqual(wire.ask("DBSIZE"), 351)
        self.assertEqual(wire.ask("GET", "a:249"), b"x" * 20_000)

    def test_a_disk_that_is_read_only(self) -> None:
        """The system refuses to remount under the server, which harms nothing; a start on such a disk is refused."""
        disk = self.mount("8m")
        server = self.start(data=str(disk / "data"))
        wire = self.connect(server)
        self.assertEqual(wire.ask("SET", "a", "1"), b"OK")
        remount = ["mount", "-o", "remount,ro", str(disk)]
        self.assertNotEqual(subprocess.run(remount, capture_output=True).returncode, 0)
        self.assertEqual(wire.ask("SET", "a", "2"), b"OK")
        server.kill()
        subprocess.run(remount, check=True)
        refused = self.assertRaises(StartFailed, server.start)
        self.assertEqual(refused.status, 1)
        self.assertIn("kvstore: ", refused.errors)
        self.assertRegex(refused.errors, "(?i)read-only|cannot be written")
        self.assertNotIn("Traceback", refused.errors)
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        server.start()
        self.assertEqual(self.connect(server).ask("GET", "a"), b"2")

    def test_a_disk_that_turns_read_only(self) -> None:
        """ext4 does so when it meets an error of the disk (here it is told that it met one): the server fail-stops.

        It answers nothing more; a start is refused while the disk is so; after a repair what was acknowledged is there.
        """
        self.turn_read_only()

    def test_a_disk_that_turns_read_only_while_a_sync_is_under_way(self) -> None:
        """The same, where the loop goes on meanwhile."""
        self.turn_read_only("--overlap", "always")

    def turn_read_only(self, *options: str) -> None:
        """See the tests. `options`: of the server."""
        image, disk = self.mount_ext4()
        server = self.start(*options, data=str(disk / "data"))
        wire = self.connect(server)
        acknowledged = 0

        def write() -> None:
            nonlocal acknowledged
            with contextlib.suppress(EOFError, OSError):
                while True:
                    acknowledged = wire.ask("INCR", "n")

        writer = threading.Thread(target=write)
        writer.start()
        eventually(lambda: acknowledged > 100)
        subprocess.run(["mount", "-o", "remount,abort", str(disk)], capture_output=True)
        writer.join()
        self.assertEqual(server.wait(), 1)
        self.assertEqual(sum("fail-stop: cannot " in line for line in server.log), 1)
        self.assertRegex(self.assertRaises(StartFailed, server.start).errors, "(?i)read-only")
        subprocess.run(["umount", str(disk)], check=True)
        subprocess.run(["mount", "-o", "loop", str(image), str(disk)], check=True)
        server.start()
        self.assertIn(int(self.connect(server).ask("GET", "n")), (acknowledged, acknowledged + 1))
        server.kill()  # before the disk is unmounted


class FileLimitTests(Serving, SynchronousTestCase):
    """Too many open files."""

    def test_clients_too_many_for_the_limit(self) -> None:
        """Those connected are served; those past the limit are closed or wait; when some go, others are accepted."""
        server = self.start("--compact-after", "20")
        witness = self.connect(server)
        open_files = len(os.listdir(f"/proc/{server.pid}/fd"))
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (open_files + 10, open_files + 10))
        crowd = [self.connect(server) for _ in range(60)]
        for number in range(100):  # no file is left for compaction either
            self.assertEqual(witness.ask("SET", f"k{number}", "x"), b"OK")
        for wire in crowd:
            wire.close()
        eventually(lambda: self.answers(server))
        self.assertEqual(witness.ask("DBSIZE"), 100)
        eventually(lambda: witness.info("persistence")["compactions"], lambda seen: seen != "0")

    def test_compaction_with_few_files_left(self) -> None:
        """With none left, one, two, ...: a compaction begins or does not, but the server goes on.

        With just one left the log could be sealed half-way: the server stopped.
        """
        server = self.start()
        wire = self.connect(server)
        limits = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
        for number in range(8):
            self.assertEqual(wire.ask("SET", f"k{number}", "x"), b"OK")
            eventually(lambda: wire.info("persistence"), lambda seen: seen["compaction_in_progress"] == "0")
            left = len(os.listdir(f"/proc/{server.pid}/fd")) + number
            resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (left, limits[1]))
            before = self.compactions_tried(server, wire)
            eventually(lambda: wire.ask("BGREWRITEAOF"), lambda reply: isinstance(reply, bytes))
            eventually(lambda: self.compactions_tried(server, wire), before.__lt__)
            resource.prlimit(server.pid, resource.RLIMIT_NOFILE, limits)
        server.kill()
        server.start()
        self.assertEqual(self.connect(server).ask("DBSIZE"), 8)

    def compactions_tried(self, server: ServerProcess, wire: Wire) -> int:
        """How many compactions failed or succeeded so far."""
        failed = sum("compaction failed" in line for line in server.log)
        return failed + int(wire.info("persistence")["compactions"])

    def answers(self, server: ServerProcess) -> bool:
        """Whether a new client is served."""
        try:
            with Wire(server.port) as wire:
                wire.socket.settimeout(1)
                return bool(wire.ask("PING") == b"PONG")
        except (OSError, EOFError):
            return False


#: Put in the way of the server's Python: a wall clock that is as many seconds off as a file says.
_WRONG_CLOCK = """
import pathlib, time
right, right_ns = time.time, time.time_ns
off = pathlib.Path(__file__).with_name("off")
time.time = lambda: right() + int(off.read_text())
time.time_ns = lambda: right_ns() + int(off.read_text()) * 10**9
"""


class ClockTests(Serving, SynchronousTestCase):
    """The wall clock is set under the running server."""

    def setUp(self) -> None:
        """A server whose clock we set, and which has to sync every second by itself."""
        self.place = Path(new_directory(self.addCleanup))
        self.set_clock(0)
        (self.place / "sitecustomize.py").write_text(_WRONG_CLOCK)
        with mock.patch.dict(os.environ, PYTHONPATH=f"{self.place}:{os.environ.get('PYTHONPATH', '')}"):
            self.own = self.start("--sync", "everysec")
        self.wire = self.connect(self.own)

    def set_clock(self, off_s: int) -> None:
        """Set the server's clock to so many seconds after the right time."""
        (self.place / "new").write_text(str(off_s))
        (self.place / "new").rename(self.place / "off")

    def check_timers(self) -> None:
        """What is to happen every second, and every tenth of one, happens."""
        self.assertIsInstance(self.wire.ask("INCR", "n"), int)
        eventually(lambda: self.wire.info("persistence"), lambda seen: seen["durable_commit"] == seen["last_commit"])
        expired = int(self.wire.info("stats")["expired_keys"])
        self.assertEqual(self.wire.ask("SET", "short", "x", "PX", "50"), b"OK")
        eventually(lambda: int(self.wire.info("stats")["expired_keys"]), expired.__lt__)

    def test_set_back(self) -> None:
        """Writes, syncs and expiry go on, and a deadline stays the moment that it was.

        The reactor's timers stood still until the clock was again where it had been: nothing was synced for a day.
        """
        self.assertEqual(self.wire.ask("SET", "long", "x", "EX", "100"), b"OK")
        self.set_clock(-_DAY_S)
        self.check_timers()
        self.assertGreater(self.wire.ask("TTL", "long"), _DAY_S)
        self.own.kill()
        with mock.patch.dict(os.environ, PYTHONPATH=""):
            self.own.start()
        self.assertLessEqual(self.connect(self.own).ask("TTL", "long"), 100)

    def test_set_forward(self) -> None:
        """What was to live until then is gone; all else goes on, and after the clock is right again too."""
        self.assertEqual(self.wire.ask("SET", "a", "x", "EX", "100"), b"OK")
        self.assertEqual(self.wire.ask("SET", "b", "x", "EX", str(2 * _DAY_S)), b"OK")
        self.set_clock(_DAY_S)
        self.assertEqual(self.wire.ask("MGET", "a", "b"), [None, b"x"])
        self.check_timers()
        self.set_clock(0)
        self.check_timers()
        self.assertEqual(self.wire.ask("MGET", "a", "b"), [None, b"x"])


class VanishingLogTests(Serving, SynchronousTestCase):
    """The log's file is removed, moved, replaced or cut short under the running server."""

    def found(self, harm: str) -> ServerProcess:
        """Harm the log of a server that writes; it ends with status 1, soon, and says why. Returns it."""
        server = self.start()
        wire = self.connect(server)
        self.assertEqual(wire.ask("SET", "a", "1"), b"OK")
        path = Path(server.data, "table.txn")
        if harm == "removed":
            path.unlink()
        elif harm == "truncated":
            os.truncate(path, 8192)
        else:
            os.link(path, path.with_name("elsewhere"))
            path.with_name("another").write_bytes(b"another")
            path.with_name("another").rename(path)
        with contextlib.suppress(EOFError, OSError):
            while True:
                wire.ask("INCR", "n")
        self.assertEqual(server.wait(), 1)
        last = [line for line in server.log if "fail-stop" in line]
        self.assertEqual(len(last), 1, server.log)
        self.assertIn("table.txn was removed, moved, replaced or truncated under the running server", last[0])
        return server

    def test_removed(self) -> None:
        """Found within about a second; no client is answered after that."""
        self.found("removed")

    def test_truncated(self) -> None:
        """The same; writing on past the new end must not hide it."""
        self.found("truncated")

    def test_replaced(self) -> None:
        """The same, though the file still has a name; put back, it holds what was acknowledged."""
        server = self.found("replaced")
        data = Path(server.data)
        self.assertEqual((data / "table.txn").read_bytes(), b"another")
        (data / "elsewhere").rename(data / "table.txn")
        server.start()
        self.assertEqual(self.connect(server).ask("GET", "a"), b"1")


class SignalTests(Serving, SynchronousTestCase):
    """Signals at random moments under load: what was answered stays, in one order."""

    def run_with(self, ending: signal.Signals) -> None:
        """Clients at work, the signal, a start, clients at work again: one history."""
        run = ConcurrentRun(Path(self.new_data()), random.randrange(2**32), ("--compact-after", "200"), ending)
        self.addCleanup(run.stop)
        check(run.record())

    def test_sigterm(self) -> None:
        """The orderly stop."""
        self.run_with(signal.SIGTERM)

    def test_stopped_and_continued(self) -> None:
        """SIGSTOP and SIGCONT: clients wait for a while, no longer, and nothing else happens."""
        server = self.start("--compact-after", "50")
        wire = self.connect(server)
        chance = random.Random()
        for number in range(1, 201):
            wire.send(b"INCR n\r\n")
            if number % 20 == 0:
                server.signal(signal.SIGSTOP)
                time.sleep(chance.uniform(0, 0.02))
                server.signal(signal.SIGCONT)
            self.assertEqual(wire.read_replies(1), [number])
        self.assertTrue(server.running)


class CompactionChildTests(Serving, SynchronousTestCase):
    """The process that merges is killed."""

    def test_killed_children(self) -> None:
        """The server goes on, says so and tries again; at last a merge is through and nothing is lost."""
        server = self.start("--compact-after", "100")
        wire = self.connect(server)
        number = killed = 0
        while not killed:
            self.assertEqual(wire.ask("SET", f"k{number}", str(number)), b"OK")
            number += 1
            for child in children(server.pid):
                os.kill(child, signal.SIGKILL)
                killed += 1
        line = server.wait_for_line(lambda line: "compaction failed, again in" in line)
        self.assertIn("killed by signal 9", line)
        self.assertEqual(wire.ask("SET", "k", "after"), b"OK")
        eventually(lambda: wire.info("persistence")["compactions"], lambda seen: seen != "0")
        server.kill()
        server.start()
        wire = self.connect(server)
        self.assertEqual(wire.ask("DBSIZE"), number + 1)
        self.assertEqual(wire.ask("MGET", *(f"k{each}" for each in range(number))), [b"%d" % n for n in range(number)])
