"""The data directory under a running server is moved, replaced, unmounted; its lock is removed; there is no Linux AIO.

Whatever happens, what was acknowledged is in the directory that the server had opened, and no other is touched. What
needs a file system of its own takes root, as in `test_end_to_end_faults`.
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from kvstore.testing.server_process import ServerProcess, StartFailed
from tests.kit.refused.sitecustomize import MACHINES
from tests.kit.server_process import Serving, Wire, eventually, new_directory
from tests.kit.small_disk import SmallDisk

_REFUSED = Path(__file__).parent / "kit" / "refused"


def contents(directory: Path) -> dict[str, bytes]:
    """All files in there."""
    return {path.name: path.read_bytes() for path in directory.iterdir()}


class MovedDirectoryTests(SmallDisk, SynchronousTestCase):
    """The path of the data directory comes to lead to another one."""

    def setUp(self) -> None:
        """Where to put directories."""
        self.place = Path(new_directory(self.addCleanup))
        self.path = self.place / "data"

    def run_until_stopped(self, server: ServerProcess, harm: Callable[[], object]) -> int:
        """Write from two clients, with compactions; `harm`; write on until the server stops by itself.

        Returns the last number acknowledged.
        """
        wire = self.connect(server)
        for number in range(1, 151):
            self.assertEqual(wire.ask("INCR", "n"), number)
        harm()
        try:
            while True:
                number = wire.ask("INCR", "n")
        except (EOFError, OSError):
            pass
        self.assertEqual(server.wait(), 1)
        (line,) = [line for line in server.log if "fail-stop" in line]
        self.assertRegex(line, "names another directory now|is not where it was")
        return number

    def check_number(self, directory: Path, acknowledged: int) -> None:
        """A server on the directory has what was acknowledged."""
        server = self.start(data=str(directory))
        self.assertIn(int(self.connect(server).ask("GET", "n")), (acknowledged, acknowledged + 1))
        server.kill()

    @pytest.mark.long
    def test_another_server_in_its_place(self) -> None:
        """Each has its directory, through the compactions of both; the first finds out within a second and stops."""
        first = self.start("--compact-after", "50", data=str(self.path))
        others: list[ServerProcess] = []

        def harm() -> None:
            self.path.rename(self.place / "data.old")
            self.path.mkdir()
            others.append(self.start("--compact-after", "50", data=str(self.path)))

        acknowledged = self.run_until_stopped(first, harm)
        (second,) = others
        wire = self.connect(second)
        for number in range(1, 151):
            self.assertEqual(wire.ask("INCR", "m"), number)
        self.assertEqual(wire.ask("GET", "n"), None)
        eventually(lambda: wire.info("persistence"), lambda seen: seen["compactions"] != "0")
        second.kill()
        second.start()
        self.assertEqual(self.connect(second).ask("MGET", "n", "m"), [None, b"150"])
        self.check_number(self.place / "data.old", acknowledged)

    @pytest.mark.long
    def test_an_empty_directory_in_its_place(self) -> None:
        """It stays empty: no temporary file, no log, no lock."""

        def harm() -> None:
            self.path.rename(self.place / "data.old")
            self.path.mkdir()

        acknowledged = self.run_until_stopped(self.start("--compact-after", "50", data=str(self.path)), harm)
        self.assertEqual(list(self.path.iterdir()), [])
        self.check_number(self.place / "data.old", acknowledged)

    @pytest.mark.long
    def test_a_restored_directory_in_its_place(self) -> None:
        """It stays as it was restored, byte for byte."""
        restored = self.place / "restored"
        self.start(data=str(restored)).stop()
        before = contents(restored)

        def harm() -> None:
            self.path.rename(self.place / "data.old")
            restored.rename(self.path)

        acknowledged = self.run_until_stopped(self.start("--compact-after", "50", data=str(self.path)), harm)
        self.assertEqual(contents(self.path), before)
        self.check_number(self.place / "data.old", acknowledged)

    @pytest.mark.long
    def test_a_symbolic_link_is_switched(self) -> None:
        """The new one is left as it is."""
        one, two = self.place / "one", self.place / "two"
        one.mkdir()
        two.mkdir()
        self.path.symlink_to(one)

        def harm() -> None:
            (self.place / "new").symlink_to(two)
            (self.place / "new").rename(self.path)

        acknowledged = self.run_until_stopped(self.start("--compact-after", "50", data=str(self.path)), harm)
        self.assertEqual(list(two.iterdir()), [])
        self.check_number(one, acknowledged)

    def test_moved_and_nothing_in_its_place(self) -> None:
        """The server does not make it again."""
        moved = self.place / "data.old"
        server = self.start("--compact-after", "50", data=str(self.path))
        acknowledged = self.run_until_stopped(server, lambda: self.path.rename(moved))
        self.assertFalse(self.path.exists())
        self.check_number(moved, acknowledged)

    def test_unmounted(self) -> None:
        """The file system lives on while it is in use, but nobody would find what is written there."""
        disk = self.mount("16m")
        server = self.start("--compact-after", "50", data=str(disk / "data"))
        self.run_until_stopped(server, lambda: subprocess.run(["umount", "--lazy", str(disk)], check=True))
        self.assertEqual(list(disk.iterdir()), [])
        self.run_or_skip("mount", "-t", "tmpfs", "tmpfs", str(disk))  # for the test's clean-up

    def test_mounted_over(self) -> None:
        """The same from the other side."""
        server = self.start("--compact-after", "50", data=str(self.path))

        def harm() -> None:
            self.run_or_skip("mount", "-t", "tmpfs", "tmpfs", str(self.path))
            self.addCleanup(subprocess.run, ["umount", "--lazy", str(self.path)])

        acknowledged = self.run_until_stopped(server, harm)
        self.assertEqual(list(self.path.iterdir()), [])
        subprocess.run(["umount", str(self.path)], check=True)
        self.check_number(self.path, acknowledged)


class RemovedLockTests(Serving, SynchronousTestCase):
    """Somebody removes the file `lock`, or it is none of ours."""

    def test_removed(self) -> None:
        """A second server is refused all the same; the first puts the file back and says so, and `verify` knows."""
        server = self.start()
        lock = Path(server.data, "lock")
        lock.unlink()
        refused = self.assertRaises(StartFailed, self.start, data=server.data)
        self.assertIn("is in use by a server", refused.errors)
        server.wait_for_line(lambda line: "lock was removed or replaced under the running server" in line)
        self.assertEqual(lock.read_text(), f"{server.pid}\n")
        self.assertEqual(self.connect(server).ask("SET", "a", "1"), b"OK")

    def test_no_file(self) -> None:
        """A link is not followed; a pipe does not hold up the start."""
        data = Path(self.new_data())
        data.mkdir()
        precious = data.parent / "precious"
        precious.write_text("precious")
        (data / "lock").symlink_to(precious)
        refused = self.assertRaises(StartFailed, self.start, data=str(data))
        self.assertIn(f"kvstore: {data}/lock is a symbolic link; remove it", refused.errors)
        self.assertEqual(precious.read_text(), "precious")
        (data / "lock").unlink()
        os.mkfifo(data / "lock")
        self.assertIn("lock is no regular file", self.assertRaises(StartFailed, self.start, data=str(data)).errors)


@pytest.mark.long
class WithoutLinuxAioTests(Serving, SynchronousTestCase):
    """The kernel, or a container's filter, refuses the calls of Linux AIO."""

    def setUp(self) -> None:
        """Where filters can be written."""
        if os.uname().machine not in MACHINES:
            raise SkipTest(f"no numbers of system calls for {os.uname().machine}")

    def serve(self, refused: str, *options: str, slower_s: float | None = None) -> ServerProcess:
        """A server to which these calls are refused. `slower_s`: so much longer do syncs take."""
        places = f"{_REFUSED}:{os.environ.get('PYTHONPATH', '')}"
        slower = "" if slower_s is None else str(slower_s)
        with mock.patch.dict(os.environ, PYTHONPATH=places, REFUSED_CALLS=refused, SLOW_SYNCS_S=slower):
            return self.start(*options)

    def write_together(self, server: ServerProcess) -> None:
        """Many clients at once, so that many requests share a commit: each is answered."""

        def write(wire: Wire, name: str) -> None:
            for number in range(50):
                assert wire.ask("SET", f"{name}:{number}", "x" * 100) == b"OK"

        threads = [threading.Thread(target=write, args=(self.connect(server), str(name))) for name in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(self.connect(server).ask("DBSIZE"), 800)

    def test_refused_from_the_start(self) -> None:
        """A thread syncs, and the log says why; with both ways of choosing it."""
        for error in ("EPERM", "EAGAIN", "ENOMEM", "ENOSYS"):
            server = self.serve(f"io_setup:{error}", "--overlap", "always" if error in ("EPERM", "ENOMEM") else "auto")
            server.wait_for_line(lambda line: "by a thread, as Linux AIO does not work here (Error on io_setup" in line)
            self.write_together(server)
            server.kill()

    def test_a_slow_disk(self) -> None:
        """With the default options too its syncs overlap the loop: the thread does them. Nobody waits for ever."""
        server = self.serve("io_setup:EPERM", slower_s=0.005)
        self.write_together(server)
        self.assertEqual(len(os.listdir(f"/proc/{server.pid}/task")), 2)

    def test_refused_half_way(self) -> None:
        """It can be set up, and nothing can be asked of it, or nothing heard: found before the first commit."""
        for refused in ("io_submit:EPERM", "io_submit:EAGAIN", "io_getevents:ENOSYS"):
            server = self.serve(refused, "--overlap", "always")
            server.wait_for_line(lambda line: "by a thread, as Linux AIO does not work here" in line)
            self.write_together(server)
            server.kill()

    def test_not_refused(self) -> None:
        """The log says that, too."""
        server = self.start("--overlap", "always")
        self.assertIn("Linux AIO", server.wait_for_line(lambda line: "syncs can overlap the loop, by " in line))
        self.write_together(server)
