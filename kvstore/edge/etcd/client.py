"""Asks etcd until it answers: one request at a time over one kept connection, at any of its nodes.

A request may be sent again, to another node, while the first sending is still somewhere on its way, and be done twice;
so only requests may be asked for which that makes no difference (`EtcdLog` has none else).

| what happens | then |
|---|---|
| no answer in time, no connection, or one that is lost; an error, or what is not accepted | the next node, at once |
| all nodes in turn were tried | a pause, and again from the first; the log says so once, and once that it goes again |
| `_QUICK_TRIES` were not enough | more time at each try: a slow etcd is not to be buried in repetitions |

A request may be answered by an error that is an answer: `final` has their codes. Where etcd has users, it is sent once
there is a token, and once more if that was refused: see `login`.

**Time limits.** A node of etcd that has lost its leader without knowing it takes a request and forgets it: only what is
sent after the election is done. An election takes 1 to 2 s, so the first tries are short. A limit counts from the last
byte that was received, and is longer for a request that is long.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import orjson
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from kvstore.base.errors import shorten
from kvstore.base.limits import MIB
from kvstore.edge.etcd.gateway import AUTHENTICATE, Answer
from kvstore.edge.etcd.link import Link
from kvstore.edge.etcd.login import Login
from kvstore.edge.etcd.places import Place
from kvstore.edge.etcd.replies import Reply
from kvstore.edge.etcd.timeout import Timeout

_log = Logger()

#: Seconds for an answer: of the first tries, and at most; and how much longer each further try has, or pause is.
_QUICK_S = 0.3
_QUICK_TRIES = 10
_LONGER = 1.5
_MOST_S = 5.0
#: Bytes of a request that take a second more, on a slow network.
_BYTES_A_SECOND = 1 * MIB

#: What etcd says past its quota, and will until its alarm is disarmed; and what is told of it.
_NO_SPACE = b"database space exceeded"
_FULL = "etcd is past its quota (alarm NOSPACE), and takes nothing until it has room and the alarm is disarmed: "

#: Seconds more for a password: etcd makes its hash slow on purpose.
_AUTHENTICATION_S = 1.0

#: Seconds of the pause once all nodes were tried: the first, and the longest.
_PAUSE_S = 0.05
_MOST_PAUSE_S = 1.0


class Request(NamedTuple):
    """What to ask. `path`, `body`: of the POST. `answered`: called once. `final`: codes of errors that are answers."""

    path: bytes
    body: bytes
    answered: Callable[[Answer], None]
    final: frozenset[int] = frozenset()


def patience_s(tries: int, length: int) -> float:
    """Seconds for an answer to a request of so many bytes that was sent so many times before."""
    beyond = max(0, tries + 1 - _QUICK_TRIES)
    return float(min(_QUICK_S * _LONGER ** min(beyond, 20), _MOST_S) + length / _BYTES_A_SECOND)


class Client:
    """See the module. `clock`: the reactor. `places`: the nodes, at least one. `accept`: sees each answer, and says
    whether it may be taken. Connects when it is first asked.
    """

    def __init__(
        self, clock: Any, places: Sequence[Place], accept: Callable[[dict[str, Any]], bool] = lambda document: True
    ) -> None:
        self._clock = clock
        self._places = places
        self._accept = accept
        self._login = places[0].login
        self._authenticates = False  # that is what was sent, before the first request
        self._token: bytes | None = None  # or that request, with it
        self._renewed = False  # it was refused, and then there was another one
        self._at = 0  # which of them
        self._preferred: int | None = None  # and which one from the next request on
        self._requests: deque[Request] = deque()  # the first is under way
        self._link: Link | None = None
        self._tries = 0
        self._failing = False
        self._stopped = False
        self._timeout = Timeout(clock, self._no_answer)
        self._pause: IDelayedCall | None = None

    def ask(self, request: Request) -> None:
        """Have it answered, after those that were asked before; `answered` is not called before this returns."""
        if self._stopped:
            return
        self._requests.append(request)
        if len(self._requests) == 1:
            self._send()

    def prefer(self, index: int) -> None:
        """Ask the node at that place, from the next request on, until it fails."""
        self._preferred = index

    def stop(self) -> None:
        """Ask nothing more, and forget what is under way: no `answered` is called any more."""
        self._stopped = True
        self._requests.clear()
        self._timeout.stop()
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        self._drop()

    def _send(self) -> None:
        """Send the first request to the node whose turn it is, or what is to come before it."""
        self._turn_to_preferred()
        path, body, *_ = self._requests[0]
        if (login := self._login) is not None:
            self._token = login.token
            self._authenticates = login.token is None
            if self._authenticates:
                path, body = AUTHENTICATE, login.request
        self._wait()
        link = self._link
        if link is None:
            link = self._link = Link(self._places[self._at], self._came, self._failed)
            link.send(path, body)
            link.open()
        else:
            link.send(path, body)
        link.moved = False

    def _turn_to_preferred(self) -> None:
        index, self._preferred = self._preferred, None
        if index is not None and index != self._at:
            self._drop()
            self._at = index

    def _wait(self) -> None:
        more_s = _AUTHENTICATION_S if self._authenticates else 0.0
        self._timeout.begin(patience_s(self._tries, len(self._requests[0].body)) + more_s)

    def _came(self, reply: Reply) -> None:
        """A reply: it is the first request's, as there is only one under way."""
        if not self._requests:
            self._drop()  # nothing was asked
            return
        request = self._requests[0]
        answer = _answer(reply)
        if self._login is not None and answer is not None and self._logs_in(self._login, answer):
            return
        if answer is None or self._authenticates or (answer.code and answer.code not in request.final):
            full = _FULL if _NO_SPACE in reply.body else ""
            self._failed(f"{full}it answers {reply.status} {shorten(reply.body)}")
            return
        if not self._accept(answer.document):
            self._failed("it is a node of another etcd")
            return
        self._timeout.lift()
        self._succeeded()
        self._requests.popleft()
        if self._requests:
            self._send()
        request.answered(answer)

    def _logs_in(self, login: Login, answer: Answer) -> bool:
        """Whether an answer was one to that, or refuses who we were: the first request is sent then."""
        if self._authenticates:
            goes_on = self._accept(answer.document) and login.takes(answer)
        else:
            goes_on = login.refuses(answer) and not self._renewed
            self._renewed |= goes_on
            if login.refuses(answer):
                login.forget(self._token)
        if goes_on:
            self._send()
        return goes_on

    def _no_answer(self) -> None:
        """Time is up: for this node, unless it is just telling."""
        if self._link is not None and self._link.moved:
            self._link.moved = False
            self._wait()
        else:
            self._failed("no answer in time")

    def _failed(self, reason: str) -> None:
        """This node is of no use now: go on at the next, if there is anything to ask."""
        name = self._places[self._at].name
        self._drop()
        if not self._requests:
            return
        self._timeout.lift()
        self._tries += 1
        self._at = (self._at + 1) % len(self._places)
        rounds, within = divmod(self._tries, len(self._places))
        if within:
            self._pause = self._clock.callLater(0, self._resume)
            return
        if not self._failing:
            self._failing = True
            _log.warn("etcd: no node answers; trying on; the last, {name}: {reason}", name=name, reason=reason)
        pause_s = min(_PAUSE_S * _LONGER ** min(rounds - 1, 20), _MOST_PAUSE_S)
        self._pause = self._clock.callLater(pause_s, self._resume)

    def _resume(self) -> None:
        self._pause = None
        self._send()

    def _succeeded(self) -> None:
        self._tries = 0
        self._renewed = False
        if self._failing:
            self._failing = False
            _log.info("etcd: {name} answers again", name=self._places[self._at].name)

    def _drop(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.drop()


def _answer(reply: Reply) -> Answer | None:
    """What a reply says; None if it makes no sense."""
    try:
        document = orjson.loads(reply.body)
        return Answer(0 if reply.status == 200 else int(document["code"]), document)
    except (ValueError, KeyError, TypeError):
        return None
