"""The real catalog: Debian's `catalog_server` (coop-computing-tools), on ports of its own choice on loopback."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from pathlib import Path

PROGRAM = "catalog_server"

#: Why a test is skipped where the program is missing; None where it is there.
MISSING = None if shutil.which(PROGRAM) else f"{PROGRAM} is not installed (Debian: coop-computing-tools)"


class RealCatalog:
    """A running catalog. `address`: HOST:PORT, for UDP updates and HTTP queries."""

    def __init__(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="kvstore-catalog-"))
        port_file = self._directory / "port"
        command = [PROGRAM, "-Z", str(port_file), "-H", str(self._directory), "-I", "127.0.0.1", "-u", "127.0.0.1"]
        with open(self._directory / "output", "wb") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output, cwd=self._directory)
        self.address = f"127.0.0.1:{self._read_port(port_file)}"

    def _read_port(self, port_file: Path) -> int:
        """The port, once the catalog has written it, as it does when it listens. It tells in no other way."""
        deadline = time.monotonic() + 20
        while not (port_file.exists() and port_file.read_text().strip()):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._process.kill()
                raise AssertionError(f"{PROGRAM} does not start: {(self._directory / 'output').read_text()}")
            time.sleep(0.01)
        return int(port_file.read_text())

    def stop(self) -> None:
        """Kill it, and remove its files."""
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._directory, ignore_errors=True)
