"""The libraries: where the tests of each come from, and how they are started. A row is all that a library has here.

Their sources are those that the registries have, of these versions: fakeredis and txredisapi by pip; ioredis by npm, of
the last version that was published with its tests; node-redis by apt, from Debian's archive, since npm has it without.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import venv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kvstore.testing.server_process import ROOT
from tests.suites.installing import install_once

_HERE = Path(__file__).parent
_CACHE = Path(ROOT, ".venv", "library-suites")

#: In seconds, for one test.
_TIMEOUT = 60


@dataclass(frozen=True)
class Library:
    """One library's tests, or some. `title`: with its version. `packages`: what the registry is asked for.

    `port`: where its tests look for a server, whatever they are told. `room`: where they run, below its directory.
    `start`: the words that run them, given its directory and the file that the report goes to.
    """

    title: str
    packages: tuple[str, ...]
    port: int
    room: str
    fetch: Callable[[Path, Sequence[str]], None]
    start: Callable[[Path, Path], list[str]]
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def directory(self) -> Path:
        """Where it is installed; libraries with the same packages share one."""
        return _CACHE / self.title.split()[0]

    def install(self) -> None:
        """See to it that it is there. Raises CalledProcessError, OSError."""
        install_once(self.directory, " ".join(self.packages), self._fetch)

    def _fetch(self) -> None:
        print(f"installing {self.title} into {self.directory}", file=sys.stderr)
        self.fetch(self.directory, self.packages)

    def run(self, report: Path) -> str:
        """Run its tests. Returns the end of what they printed, in case there is no report."""
        modules = self.directory / "source/node_modules"
        variables = {"TEST_PORT": str(self.port), "PYTHONPATH": str(_HERE), "NODE_PATH": str(modules), **self.variables}
        done = subprocess.run(
            self.start(self.directory, report), cwd=self.directory / self.room, env=os.environ | variables,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        )  # fmt: skip
        return done.stdout[-2000:]


def _quietly(*words: str | Path, room: Path | None = None) -> None:
    subprocess.run([*words], cwd=room, check=True, stdin=subprocess.DEVNULL, stdout=sys.stderr)


def _by_pip(directory: Path, packages: Sequence[str]) -> None:
    """An environment of Python with all packages; the first one's source beside it."""
    venv.create(directory / "venv", with_pip=True)
    pip = (directory / "venv/bin/python", "-m", "pip", "--quiet", "--disable-pip-version-check")
    _quietly(*pip, "install", *packages)
    _quietly(*pip, "download", "--no-deps", "--no-binary", ":all:", "--dest", directory, packages[0])
    _unpack(next(directory.glob("*.tar.gz")), directory)


def _by_npm(directory: Path, packages: Sequence[str]) -> None:
    _quietly("npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", directory, *packages)


def _by_apt(directory: Path, packages: Sequence[str]) -> None:
    """An archive, by its address and checksum; then what its own lock file pins, and its own compiler."""
    address, checksum = packages
    archive = directory / "source.tar.gz"
    _quietly("/usr/lib/apt/apt-helper", "download-file", address, archive, checksum)
    _unpack(archive, directory)
    source = next(path for path in directory.iterdir() if path.is_dir())
    source = source.rename(directory / "source")
    _quietly("npm", "ci", "--silent", "--ignore-scripts", "--no-audit", "--no-fund", room=source)
    for part in ("client", "test-utils"):
        _quietly("npx", "tsc", room=source / "packages" / part)


def _unpack(archive: Path, directory: Path) -> None:
    with tarfile.open(archive) as files:
        files.extractall(directory, filter="data")


def _pytest(*what: str) -> Callable[[Path, Path], list[str]]:
    """What failed is run once more, and that counts."""
    options = ("-q", "--tb=native", f"--timeout={_TIMEOUT}", "-p", "no:cacheprovider", "--reruns", "1")
    return lambda directory, report: [
        str(directory / "venv/bin/python"), "-m", "pytest", *options, *what, f"--junitxml={report}"
    ]  # fmt: skip


_MOCHA = ("--reporter", "xunit", "--timeout", f"{_TIMEOUT}000")


def _mocha_of_ioredis(directory: Path, report: Path) -> list[str]:
    """As its package.json does, but for one option; this mocha can print a report only with what the tests print."""
    words = [directory / "node_modules/.bin/_mocha", "--opts", os.devnull, "--recursive", *_MOCHA]
    return ["sh", "-c", 'exec "$@" > "$0" 2>/dev/null', str(report), *map(str, words), "test"]


def _mocha_of_node_redis(directory: Path, report: Path) -> list[str]:
    shims = ("-r", "source-map-support/register", "-r", "ts-node/register", "--file", str(_HERE / "given_server.js"))
    return ["npx", "mocha", *shims, *_MOCHA, "--reporter-option", f"output={report}", "--retries", "1", "--exit",
            "./lib/**/*.spec.ts"]  # fmt: skip


_FAKEREDIS = (
    "fakeredis==2.41.0", "redis==8.1.0", "valkey==6.2.0", "lupa==2.8", "hypothesis==6.170.17", "pytest==9.2.0",
    "pytest-asyncio==1.5.0", "pytest-mock==3.17.0", "pytest-rerunfailures==16.7", "pytest-timeout==2.4.0",
)  # fmt: skip
_TXREDISAPI = ("txredisapi==1.6.0", "Twisted[tls]==26.10.0", "pytest==9.2.0", "pytest-rerunfailures==16.7",
               "pytest-timeout==2.4.0")  # fmt: skip
_IOREDIS = ("ioredis@2.4.0", "mocha@2.5.3", "chai@3.5.0", "sinon@1.17.7", "server-destroy@1.0.1", "redis@2.4.2")
_NODE_REDIS = ("http://deb.debian.org/debian/pool/main/n/node-redis/node-redis_4.6.14+~1.1.2.orig.tar.gz",
               "SHA256:169de6d0f1159595f3ab505ef0102e2beea762628773e3fcbbc43a1e176e1226")  # fmt: skip

LIBRARIES = {
    "fakeredis": Library(
        "fakeredis 2.41.0", _FAKEREDIS, 6390, "fakeredis-2.41.0", _by_pip,
        _pytest("-p", "named", "-m", "not fake", "test/test_async", "test/test_mixins",
                "test/test_keyspace_notifications.py"),
        {"SERVER_NAME": "valkey"},
    ),
    "fakeredis-machines": Library(
        "fakeredis 2.41.0", _FAKEREDIS, 6390, "fakeredis-2.41.0", _by_pip,
        _pytest("-p", "named", "--timeout=900", "--reruns=0", "test/test_hypothesis"),
        {"SERVER_NAME": "redis", "FAKEREDIS_HYPOTHESIS_EXAMPLES": "50"},
    ),
    "txredisapi": Library(
        "txredisapi 1.6.0", _TXREDISAPI, 6379, "txredisapi-1.6.0", _by_pip,
        _pytest("-c", os.devnull, "--rootdir=.", "tests"),
    ),
    "ioredis": Library(
        "ioredis 2.4.0", _IOREDIS, 6379, "node_modules/ioredis", _by_npm, _mocha_of_ioredis, {"NODE_ENV": "test"}
    ),
    "node-redis": Library(
        "node-redis 4.6.14", _NODE_REDIS, 6379, "source/packages/client", _by_apt, _mocha_of_node_redis
    ),
}  # fmt: skip
