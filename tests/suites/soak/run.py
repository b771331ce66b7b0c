"""A whole soak: the server, all who use it, what happens to it, and what is seen meanwhile."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import hiredis

from kvstore.client.progress import Progress
from kvstore.testing.server_process import StartFailed
from tests.suites.kills.request import Violation
from tests.suites.soak import companions
from tests.suites.soak.checked import CheckedLoad
from tests.suites.soak.companions import Companion
from tests.suites.soak.liars import Liar
from tests.suites.soak.plan import COMPACTION, FULL_DISK, KILL, plan
from tests.suites.soak.sampling import Calm, Sample, Sampler
from tests.suites.soak.sockets import Conversation, Server
from tests.suites.soak.volume import Volume

#: Of the calm clients, a second; and of all others who do not check all there is.
_CALM_RATE = 80.0
_PATIENCE_S = 60.0
_FILL_BYTES = 10_000


class Happened(NamedTuple):
    """`at_s`: when it began; `took_s`: until all was as before; `note`: what there is to say of it."""

    at_s: float
    what: str
    took_s: float
    note: str = ""


class Soak:
    """See the module. `seconds`: how long. `rate`: requests a second that are checked, beside all others. `options`: of
    the server; `password`: of its, if it has one. `volume`: that the data are on, if it can be filled. `others`: makes
    more companions, given the server. `window_s`: between two samples.
    """

    def __init__(
        self, data: Path, seconds: float, rate: float, seed: int, options: Sequence[str], password: str | None,
        volume: Volume | None, others: Sequence[Callable[[Server], Companion]], window_s: float,
    ) -> None:  # fmt: skip
        self._seconds = seconds
        self._volume = volume
        self.load = CheckedLoad(data, 8, seed, options, rate, password)
        self._server = Server(self.load.server.port, password)
        self.calm = Calm(self._server, _CALM_RATE, window_s)
        self.companions = companions.make(self._server, seed, [lambda one=one: one(self._server) for one in others])
        self.companions.append(Liar(self._server, 0.15, seed))
        self.began_s = time.monotonic()
        self._sampler = Sampler(self.load, self._server, self.calm, self.began_s)
        self.events: list[Happened] = []
        self.violation = ""
        self.complaints: list[str] = []

    @property
    def samples(self) -> list[Sample]:
        """All so far."""
        return self._sampler.samples

    def run(self) -> None:
        """All of it; a violation ends it. The server is killed in the end."""
        progress = Progress("of the time")
        try:
            self._sampler.start()
            for companion in self.companions:
                companion.start()
            for event in plan(full_disks=self._volume is not None):
                self._serve_until(event.at, progress)
                self._happen(event.what)
            self._serve_until(1.0, progress)
            self._end()
        except (Violation, StartFailed, OSError) as error:
            self.violation = str(error) if isinstance(error, Violation) else repr(error)
        finally:
            progress.clear()
            self._stop()

    def _now(self) -> float:
        return time.monotonic() - self.began_s

    def _serve_until(self, part: float, progress: Progress) -> None:
        while (left := part * self._seconds - self._now()) > 0:
            progress.show(self._now() / self._seconds)
            self.load.serve_for(min(left, 1.0))

    def _happen(self, what: str) -> None:
        began = self._now()
        note = {KILL: self._kill, FULL_DISK: self._fill_the_disk, COMPACTION: self._compact}[what]()
        self.events.append(Happened(round(began, 1), what, round(self._now() - began, 2), note))

    def _kill(self) -> str:
        self.complaints += self.load.complaints()
        return f"started in {self.load.kill_and_compare():.2f} s; all that was acknowledged was there"

    def _compact(self) -> str:
        conversation = self._server.known()
        conversation.ask("BGSAVE")
        conversation.close()
        return ""

    def _fill_the_disk(self) -> str:
        """Those who check everything wait meanwhile: they count on no refusals."""
        assert self._volume is not None
        self.load.drain()
        conversation = self._server.known()
        self._volume.fill()
        try:
            taken = _fill(conversation)
            if conversation.ask("GET", "soak:fill:0") != b"x" * _FILL_BYTES:
                raise Violation("a full disk: a read was not answered as it must be")
        finally:
            self._volume.empty()
        _wait_for_room(conversation)
        for number in range(taken):
            conversation.ask("DEL", f"soak:fill:{number}")
        conversation.close()
        return f"after {taken} writes of {_FILL_BYTES} bytes"

    def _end(self) -> None:
        """The last look: nothing is in flight."""
        self.load.drain()
        self.load.compare()

    def _stop(self) -> None:
        for companion in self.companions:
            companion.stop()
        self._sampler.stop()
        self.complaints += self.load.complaints()
        self.load.stop()
        for companion in self.companions:
            companion.join(_PATIENCE_S)


def _fill(conversation: Conversation) -> int:
    """Write until one is refused; returns how many were taken."""
    for number in range(1_000_000):
        reply = conversation.ask("SET", f"soak:fill:{number}", "x" * _FILL_BYTES)
        if isinstance(reply, hiredis.ReplyError):
            if not str(reply).startswith("MISCONF"):
                raise Violation(f"a full disk: a write was answered {reply}")
            return number
    raise Violation("the disk did not fill up")


def _wait_for_room(conversation: Conversation) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while conversation.ask("SET", "soak:room", "x" * _FILL_BYTES) != b"OK":
        if time.monotonic() > deadline:
            raise Violation(f"there is room again, and for {_PATIENCE_S:g} s no write was taken")
        time.sleep(0.05)


def new_password() -> str:
    """One that nobody knows."""
    return secrets.token_urlsafe(16)
