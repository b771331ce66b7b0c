"""Notes requests as they execute, for a picture of how clients are interleaved: a few hundred, or a second's.

To be watched costs every client time (see `Hooks`: the fast ways are off while somebody watches). So a recording is
short: it ends with MAX_RECORDED_REQUESTS, which a busy server executes in a few milliseconds, and of a calm one, to
which watching is nothing, it has all. What those requests wait for comes a moment later, and is watched for alone,
which costs nobody anything: the commits until they are settled, and when replies leave.

No value of a client's is kept, not even until the recording ends: a request is noted as the name of its command and
some of its keys, cut.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from kvstore.base.errors import InvalidRequest, RequestError
from kvstore.base.limits import MAX_RECORDED_KEYS, MAX_RECORDED_REQUESTS
from kvstore.commands.client import Client
from kvstore.commands.registry import table
from kvstore.commands.row import NOT_KEYS
from kvstore.edge.connections import Connections
from kvstore.edge.request_line import kind_of, shown
from kvstore.session.hooks import Executed
from kvstore.store.store import Commit

_log = Logger()

#: Characters of a key that are shown.
_KEY_CHARACTERS = 40
#: What an error begins with, in Redis's way.
_CODE = re.compile(r"[A-Z]{2,20}(?= )")
#: How long, at most, the last requests of a recording are given for their commits and replies.
_GRACE_S = 0.25


class Recorded:
    """A request. Times in nanoseconds of the steady clock; `left_ns`: when its reply left, if that is known and it
    waited for no commit. `command`: its name, empty if there is none such. `error`: its code, empty if all went well:
    the text of an error can repeat what the client said. See `Executed`.
    """

    __slots__ = ("client", "command", "commit", "ended_ns", "error", "keys", "kind", "left_ns", "number", "started_ns")

    def __init__(self, executed: Executed) -> None:
        self.number = executed.number
        self.client = executed.client
        self.started_ns = executed.started_ns
        self.ended_ns = executed.ended_ns
        self.commit = executed.commit
        self.kind = kind_of(executed.words)
        self.command, self.keys = named(executed.words)
        self.error = _error(executed.outcome)
        self.left_ns: int | None = None


class Committed:
    """A commit. `requests`: how many write requests are in it. `left_ns`: when the replies that waited for it left."""

    __slots__ = ("began_ns", "left_ns", "requests", "sequence", "settled_ns", "size_bytes")

    def __init__(self, commit: Commit, began_ns: int, settled_ns: int, left_ns: int) -> None:
        self.sequence = commit.sequence
        self.requests = commit.requests
        self.size_bytes = len(commit.frame)
        self.began_ns = began_ns
        self.settled_ns = settled_ns
        self.left_ns = left_ns


class Recording(NamedTuple):
    """What was noted from `began_ns` to `ended_ns`, by the steady clock; `began_ms`: since the epoch.

    `requests`: in the order of their execution, all that there were. `commits`: those settled meanwhile. `clients`:
    what is known of who asked, and of some who did not, by their numbers. `connected`: how many there are.
    """

    began_ns: int
    began_ms: int
    ended_ns: int
    requests: list[Recorded]
    commits: dict[int, Committed]
    clients: dict[int, str]
    connected: int


class Recorder:
    """See the module. `is_watching`: whether requests are being watched."""

    def __init__(self, connections: Connections, most_requests: int = MAX_RECORDED_REQUESTS) -> None:
        self._connections = connections
        self._server = connections.server
        self._most_requests = most_requests
        self._waiting: list[Deferred[Recording]] = []
        self._timer: IDelayedCall | None = None
        self.is_watching = False
        self._is_on = False
        self._ended_ns = 0
        self._forget()

    def record(self, seconds: float) -> Deferred[Recording]:
        """Note what executes from now on, for so long at most. Who asks while a recording is under way gets that.

        Who does not want it any more cancels it; when nobody wants it, it ends at once.
        """
        recorded: Deferred[Recording] = Deferred(self._want_no_more)
        self._waiting.append(recorded)
        if not self._is_on:
            self._begin(seconds)
        return recorded

    def _want_no_more(self, recorded: Deferred[Recording]) -> None:
        _drop(self._waiting, recorded)
        if self._is_on and not self._waiting:
            self._end()

    def _forget(self) -> None:
        self._requests: list[Recorded] = []
        self._commits: dict[int, Committed] = {}
        self._unsent = 0  # the place of the first request that no flush has come after

    def _begin(self, seconds: float) -> None:
        self._began_ns, self._began_ms = self._server.steady_ns(), self._server.now_ms()
        self._is_on = self.is_watching = True
        self._connections.hooks.watchers.append(self._executed)
        self._connections.commit.watchers.append(self._settled)
        self._connections.turn.flushed.append(self._flushed)
        self._timer = self._connections.turn.reactor.callLater(seconds, self._watch_no_more)

    def _executed(self, executed: Executed) -> None:
        """See `Hooks.watchers`."""
        self._safely(lambda: self._note(executed))

    def _safely(self, work: Callable[[], None]) -> None:
        """Work in the middle of others': a bug here is neither a client's nor, in a commit, the disk's."""
        try:
            work()
        except Exception:
            _log.failure("bug in the interleaving")
            self._unwatch()  # what there is is told when the time is over

    def _note(self, executed: Executed) -> None:
        recorded = Recorded(executed)
        if recorded.commit <= self._server.store.settled_sequence():
            recorded.commit = 0  # it need not wait
        self._requests.append(recorded)
        if len(self._requests) >= self._most_requests:
            self._watch_no_more()

    def _settled(self, commit: Commit, began_ns: int, settled_ns: int) -> None:
        """See `GroupCommit.watchers`."""
        self._safely(lambda: self._note_commit(commit, began_ns, settled_ns))

    def _note_commit(self, commit: Commit, began_ns: int, settled_ns: int) -> None:
        self._commits[commit.sequence] = Committed(commit, began_ns, settled_ns, self._server.steady_ns())
        self._finish_if_complete()

    def _flushed(self) -> None:
        """See `Turn.flushed`."""
        self._safely(self._note_flush)

    def _note_flush(self) -> None:
        now_ns = self._server.steady_ns()
        for request in self._requests[self._unsent :]:
            if not request.commit and self._has_answer(request.client):
                request.left_ns = now_ns
        self._unsent = len(self._requests)
        self._finish_if_complete()

    def _finish_if_complete(self) -> None:
        """Not at once: this is the middle of a commit, or of a turn, and to draw takes milliseconds."""
        if not self.is_watching and self._is_complete():
            self._unwatch()
            self._cancel()
            self._timer = self._connections.turn.reactor.callLater(0, self._finish)

    def _has_answer(self, identity: int) -> bool:
        """Whether all that this client was to get has left: it does not wait, and it reads."""
        connection = self._connections.protocols.get(identity)
        return connection is not None and not connection.client.is_blocked and not connection.outlet.is_draining

    def _is_complete(self) -> bool:
        """Whether the commits that the requests wait for are settled, and their replies have left."""
        has_flushed = self._unsent == len(self._requests) or not self._connections.turn.gathers
        return has_flushed and all(not request.commit or request.commit in self._commits for request in self._requests)

    def _watch_no_more(self) -> None:
        """Requests go the fast way again; what those that were noted wait for comes soon."""
        self._watch_no_requests()
        self._ended_ns = self._server.steady_ns()
        self._cancel()
        self._timer = self._connections.turn.reactor.callLater(_GRACE_S, self._finish)
        self._finish_if_complete()

    def _unwatch(self) -> None:
        self._watch_no_requests()
        _drop(self._connections.commit.watchers, self._settled)
        _drop(self._connections.turn.flushed, self._flushed)

    def _watch_no_requests(self) -> None:
        self.is_watching = False
        _drop(self._connections.hooks.watchers, self._executed)

    def _cancel(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def _recording(self) -> Recording:
        server = self._server
        asked = {request.client for request in self._requests}
        quiet = [identity for identity, _ in zip(server.clients, range(MAX_RECORDED_REQUESTS), strict=False)]
        clients = {identity: _label(identity, server.clients.get(identity)) for identity in sorted({*asked, *quiet})}
        return Recording(
            self._began_ns, self._began_ms, self._ended_ns, self._requests, self._commits, clients, len(server.clients)
        )

    def _finish(self) -> None:
        recording, waiting = self._recording(), self._waiting
        self._end()
        for each in waiting:
            each.callback(recording)

    def _end(self) -> None:
        self._is_on = False
        self._cancel()
        self._unwatch()
        self._forget()
        self._waiting = []


def _drop(some: list[Any], one: object) -> None:
    """Take it out, if it is there: a server that stops has let go of those that watch."""
    if one in some:
        some.remove(one)


def named(words: list[bytes]) -> tuple[str, tuple[str, ...]]:
    """The name of a request's command, and its keys: nothing else of what a client said, as it may be a secret."""
    try:
        row = table.find(words)
    except InvalidRequest:
        return "", ()
    name = row.name.replace("|", " ")
    if not row.has_keys or row.flags & NOT_KEYS or not row.accepts(len(words)):
        return name, ()
    try:
        keys = row.keys_of(words)
    except RequestError:
        return name, ()
    told = [shown([key], _KEY_CHARACTERS, _KEY_CHARACTERS) for key in keys[:MAX_RECORDED_KEYS]]
    more = len(keys) - MAX_RECORDED_KEYS
    return name, (*told, f"and {more} more") if more > 0 else tuple(told)


def _error(outcome: str) -> str:
    code = _CODE.match(outcome)
    return "" if outcome == "ok" else f"error {code[0]}" if code else "error"


def _label(identity: int, client: Client | None) -> str:
    """How a lane is called, for who may know whose it is."""
    if client is None:
        return f"{identity} (gone)"
    return f"{identity} {client.name.decode('ascii') or client.address}"
