"""The files in contrib/, looked at by the programs that they are for; what is not installed here is skipped."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from twisted.trial.unittest import SynchronousTestCase

from kvstore.edge import tap
from kvstore.testing.server_process import PATIENCE_S, environment
from tests.kit.chromium import http_port
from tests.kit.programs import run
from tests.kit.server_process import Serving, eventually, new_directory

CONTRIB = Path(__file__).resolve().parent.parent / "contrib"
UNITS = sorted((CONTRIB / "systemd").iterdir())

#: What `systemd-analyze security` gives at most, times ten: 0 is a service that can do nothing, 96 one without limits.
MOST_EXPOSURE = "15"


class SystemdTests(SynchronousTestCase):
    """The units."""

    def test_verify(self) -> None:
        """Nothing is misspelt, nothing unknown; with a program that there is in place of ours."""
        directory = Path(new_directory(self.addCleanup))
        for unit in UNITS:
            text = re.sub(r"^(ExecStart=)\S+", rf"\1{shutil.which('true')}", unit.read_text(), flags=re.MULTILINE)
            (directory / unit.name).write_text(text)
        done = run("systemd-analyze", "verify", "--man=no", *(str(directory / unit.name) for unit in UNITS))
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_security(self) -> None:
        """What a server that was taken over could still do is little."""
        for unit in UNITS:
            if unit.suffix == ".service":
                done = run("systemd-analyze", "security", "--offline=true", f"--threshold={MOST_EXPOSURE}", str(unit))
                self.assertEqual(done.returncode, 0, done.stdout)

    def test_options(self) -> None:
        """The server takes the options that the units have for it."""
        texts = "".join(unit.read_text() for unit in UNITS)
        told = re.findall(r"kvstore serve (.*)", texts) + re.findall(r'KVSTORE_OPTIONS=(--[^"\n]*)', texts)
        self.assertEqual(len(told), 2)
        words = [word for word in shlex.split(" ".join(told)) if word.startswith("--")]
        known = {f"--{name}" for name, *_ in tap.Options.optParameters} | {"--listen"}
        self.assertEqual(set(words) - known, set())


@pytest.mark.long
class ContainerTests(Serving, SynchronousTestCase):
    """The Containerfile."""

    def test_health(self) -> None:
        """Of a server whose group has lost its etcd: it is not ready, and to end it would be of no use."""
        text = (CONTRIB / "container" / "Containerfile").read_text()
        program = next(word for word in re.findall(r'"([^"\n]*)"', text) if "urlopen" in word)
        server = self.start("--http=0", "--group=shop", "--log=etcd://127.0.0.1:1", "--advertise=127.0.0.1:2")
        self.assertIn(":8081/", program)
        program = program.replace(":8081/", f":{http_port(server)}/")
        self.assertEqual(run(sys.executable, "-c", program).returncode, 0)
        self.assertNotEqual(run(sys.executable, "-c", program.replace("healthz", "readyz")).returncode, 0)


@pytest.mark.long
class BackupTests(Serving, SynchronousTestCase):
    """The program that is to run each night."""

    def test_backups(self) -> None:
        """Of a running server; the newest stay, what was interrupted does not, and a server starts on one."""
        server = self.start()
        self.connect(server).ask("SET", "a", "1")
        backups = Path(new_directory(self.addCleanup))
        for name in ("20260101T000000Z", "20260102T000000Z", "unfinished-20260103T000000Z", "mine"):
            (backups / name).mkdir()
        program = f"{sys.executable} -m kvstore"
        done = subprocess.run(
            [CONTRIB / "backup" / "kvstore-backup", server.data, backups, "2"], capture_output=True, text=True,
            env=environment(KVSTORE=program), timeout=PATIENCE_S,
        )  # fmt: skip
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        kept = sorted(path.name for path in backups.iterdir())
        self.assertEqual((kept[0], kept[2]), ("20260102T000000Z", "mine"))
        again = self.start(data=str(backups / kept[1]))
        self.assertEqual(self.connect(again).ask("GET", "a"), b"1")


@pytest.mark.long
class LogrotateTests(Serving, SynchronousTestCase):
    """The example, with its paths and its signal's way changed; and the other way that logrotate has."""

    def test_rotates(self) -> None:
        """All lines are in one of the two files, and the server goes on in the new one."""
        directory = new_directory(self.addCleanup)
        log = Path(directory, "kvstore.log")
        server = self.start("--log-file", str(log), "--log-clients")
        example = (CONTRIB / "logrotate" / "kvstore").read_text()
        self.assertIn("/var/log/kvstore/kvstore.log", example)
        text = example.replace("/var/log/kvstore", directory)
        text = re.sub(r"systemctl kill .*", f"kill -HUP {server.pid}", text)
        for number, configuration in enumerate((text, re.sub("nocreate", "copytruncate", text), text)):
            Path(directory, "conf").write_text(configuration)
            os.chmod(os.path.join(directory, "conf"), 0o644)
            self.connect(server).ask("PING")
            done = run("logrotate", "--force", "--state", f"{directory}/state", f"{directory}/conf")
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            eventually(lambda: log.exists() and "opened anew" in log.read_text())
            self.assertIn(f"client {number + 1}@", Path(f"{log}.1").read_text())
        self.assertEqual(sorted(path.name for path in Path(directory).glob("*.gz")), [
            "kvstore.log.2.gz", "kvstore.log.3.gz",
        ])  # fmt: skip
