"""docs/GROUP.md: what its ten minutes, its snippets for clients and its several groups say is done, as it stands there.

Its blocks of shell go into one shell, in order, as a reader would paste them. Changed are only ports and the directory,
that others may have in use, and that the environment is the one of these tests. A comment behind a command that asks
something is what the document says of its output.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from redis.cluster import RedisCluster
from twisted.trial.unittest import SynchronousTestCase

from kvstore.testing.server_process import PATIENCE_S, ROOT, environment
from tests.kit.etcd import MISSING, Etcd, free_ports
from tests.kit.group_processes import RealGroup
from tests.kit.server_process import new_directory

DOCUMENT = (Path(ROOT) / "docs" / "GROUP.md").read_text(encoding="utf-8")

#: Seconds for all of it.
_PATIENCE_S = 4 * PATIENCE_S

#: What a block begins with that is no shell, or for other machines.
_NOT_SHELL = re.compile(r"from |def |const |group shop|    |kvstore serve --data /var")

#: A command whose output is told behind it.
_TOLD = re.compile(r"^(?:redis-cli|\(echo|wait) .*?  # (.*)$", re.MULTILINE)

#: Ports of the document, but for their last digit.
_PORTS = re.compile(r"(?<!\d)(?:23[78]|6[34]\d)(?=\d(?!\d)|\$)")

#: Between what two blocks print.
_MARK = "=== the next block"


def blocks(section: str) -> list[str]:
    """The indented blocks of a section, by its title."""
    _, _, rest = DOCUMENT.partition(f"\n## {section}\n")
    found = re.findall(r"^\n((?:    .*\n|\n(?=    ))+)", rest.partition("\n## ")[0], re.MULTILINE)
    return [re.sub("^    ", "", block, flags=re.MULTILINE) for block in found]


def shell_of(section: str) -> list[str]:
    """Those that are for a shell."""
    return [block for block in blocks(section) if not _NOT_SHELL.match(block)]


def program(name: str, lines: str) -> str:
    """What a reader types to write a program of Python, and to run it."""
    return f"cat > {name}.py <<'END'\n{lines}END\npython {name}.py\n"


def is_told(text: str, output: str) -> bool:
    """Whether a line of the output is that; `...` stands for anything."""
    return re.search(f"^{re.escape(text).replace(re.escape('...'), '.*')}$", output, re.MULTILINE) is not None


class Reader:
    """Somebody with the document, in a directory of its own.

    `new_cluster`: the port of a server of the one that keys are brought to.
    """

    def __init__(self, directory: str, new_cluster: int) -> None:
        self._directory = directory
        self._new_cluster = new_cluster
        self._prefixes: dict[str, str] = {}

    def text(self, block: str) -> str:
        """What is typed of a block, or printed, here."""
        changes = {"6491": str(self._new_cluster), "/tmp/shop": self._directory, ". .venv/bin/activate\n": ""}
        for there, here in changes.items():
            block = block.replace(there, here)
        return _PORTS.sub(lambda found: self._prefix(found[0]), block)

    def _prefix(self, there: str) -> str:
        while there not in self._prefixes:
            here = str(free_ports(1)[0])[:-1]
            if here not in self._prefixes.values() and all(_is_free(int(here + last)) for last in "123"):
                self._prefixes[there] = here
        return self._prefixes[there]

    def run(self, script: list[str]) -> list[str]:
        """What each block of a script prints, to both streams. All that was started is gone when this returns, and soon
        after this process.
        """
        path = Path(self._directory, "script")
        begin = "shopt -s expand_aliases\ntrap 'kill -KILL 0' EXIT TERM\n"
        path.write_text(begin + f"echo '{_MARK}'\n".join(map(self.text, script)), encoding="utf-8")
        variables = environment(PATH=os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]]))
        with open(Path(self._directory, "output"), "w+", encoding="utf-8") as output:
            shell = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", "bash", "-u", str(path)], cwd=ROOT, env=variables,
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
            try:
                shell.wait(_PATIENCE_S)
            finally:
                _kill_group(shell)
            output.seek(0)
            return output.read().split(_MARK + "\n")


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def _kill_group(shell: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(shell.pid, signal.SIGKILL)
    shell.wait()


@pytest.mark.long
class ReaderTests(SynchronousTestCase):
    """See the module."""

    skip = MISSING

    def test_all_of_it(self) -> None:
        """Each command prints what the document says, over the kills of leaders; the cluster that keys were brought to
        has them.
        """
        etcd = Etcd()
        self.addCleanup(etcd.close)
        new = [RealGroup(etcd, self.addCleanup, "--slots", part, servers=1) for part in ("0-8191", "8192-16383")]
        for group in new:
            group.leader()
        port = new[0].servers[0].port
        snippets = [block for block in blocks("Clients") if block.startswith(("from ", "def "))]
        asks = 'print(shop.get("greeting"), replica.get("greeting"))\n'
        script = [
            *shell_of("Ten minutes on one machine"),
            program("clients", "".join(snippets) + asks),
            *shell_of("Several groups"),
        ]
        reader = Reader(new_directory(self.addCleanup), port)
        printed = reader.run(script)
        everything = f"\n{_MARK}\n".join(printed)
        self.assertEqual(len(printed), len(script), everything)
        expected = [
            (reader.text(text), output)
            for block, output in zip(script, printed, strict=True)
            for text in _TOLD.findall(block)
        ]
        self.assertGreater(len(expected), 7)
        self.assertEqual([text for text, output in expected if not is_told(text, output)], [], everything)
        self.assertIn("b'again' b'again'\n", everything, everything)
        self.assertNotIn("Traceback", everything, everything)
        with RedisCluster("127.0.0.1", port, decode_responses=True) as client:
            written = int(re.findall(r"^(\d+) written", everything, re.MULTILINE)[-1])
            self.assertEqual(client.get("greeting"), "hello")
            self.assertEqual([n for n in range(written) if client.get(f"key{n}") != str(n)], [])
