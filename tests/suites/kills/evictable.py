"""Keys that may be evicted in a kill run: clients of their own, and a model that is held against the log. No I/O.

While memory is short, any of these keys may go at any time; but it goes for good, and the log says so, for nobody here
ever removes one. So after each kill the log is read (`tests.kit.logged`), and must explain all that its client was told
since the last kill, and nothing else: each client has a database of its own, and its requests execute in their order.

| in the log | is |
|---|---|
| `DEL` | an eviction: never between the operations of one request |
| what a request writes | there, in the requests' order, of each that was answered, and of the first few in flight |
| anything else | a violation |

A reply must be what the state was, that the operations before it make; a key that is not there any more needs a `DEL`
before the client's next write. Each round begins by reading all keys: so what a start found is what the log had, and
what was evicted does not come back.
"""

from __future__ import annotations

import itertools
import random
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import hiredis

from kvstore.client.raw import resp_request
from tests.kit.logged import Commit
from tests.suites.kills.request import Violation

#: The first database of these clients; how many keys each has of a kind.
DATABASE, _KEYS = 3, 40
_FIELDS, _LONGEST_VALUE = 4, 48_000
_FAR_MS = b"4000000000000"
_SCRIPT = b"""
local reply = {redis.call('set', KEYS[1], ARGV[1], 'pxat', ARGV[4]), redis.call('hset', KEYS[2], ARGV[2], ARGV[3])}
reply[3] = redis.call('pexpireat', KEYS[2], ARGV[4])
return reply
"""

#: What a key holds: a string, or the fields of a hash.
Held = bytes | dict[bytes, bytes]
#: A command in its model's words: SET key value, INCR key, HSET key field value, PEXPIREAT key, GET key, HGETALL key.
Step = tuple[bytes, ...]
_READS = (b"GET", b"HGETALL", b"SELECT")


class Request(NamedTuple):
    """Steps that are done together, each with a reply. `replies`: how many there are on the wire, of which the last is
    the steps', a list if `is_list`.
    """

    data: bytes
    steps: Sequence[Step]
    replies: int = 1
    is_list: bool = False

    @property
    def writes(self) -> bool:
        """Whether it changes anything."""
        return self.steps[0][0] not in _READS


class EvictableClient:
    """One of them; it asks as a `Writer` does, and is told as one. `number`: its own. `chance`: where its requests come
    from. `evicted`: keys, as the log says; `missed`: reads that found one gone.
    """

    def __init__(self, number: int, chance: random.Random) -> None:
        self.database = DATABASE + number
        self.name = f"e{number}"
        self.in_flight: deque[Request] = deque()
        self.acknowledged = self.evicted = self.missed = 0
        self._chance = chance
        self._values = itertools.count(1)
        self._state: dict[bytes, Held] = {}
        self._gone: set[bytes] = set()
        self._answered: list[tuple[Request, list[Any]]] = []
        self._begin()

    def _begin(self) -> None:
        """There is a new server."""
        self._is_new = True
        self._replies: list[Any] = []
        self._reader = hiredis.Reader()

    # Asking

    def next_request(self) -> bytes:
        """Another request, or some, in flight from now on."""
        made = self._first() if self._is_new else self._chance.choice(self._MAKERS)(self)
        self._is_new = False
        self.in_flight.extend(made)
        return b"".join(request.data for request in made)

    def _first(self) -> list[Request]:
        select = Request(resp_request("SELECT", b"%d" % self.database), [(b"SELECT",)])
        every = [self._reading(kind, number) for kind in (b"string", b"counter", b"hash") for number in range(_KEYS)]
        return [select, *every]

    def _reading(self, kind: bytes, number: int) -> Request:
        step = (b"HGETALL" if kind == b"hash" else b"GET", b"%b:%d" % (kind, number))
        return Request(resp_request(*step), [step])

    def _read(self) -> list[Request]:
        return [self._reading(self._chance.choice((b"string", b"counter", b"hash")), self._number())]

    def _gets(self) -> list[Request]:
        """A pipeline, which the server executes as columns if memory is not short."""
        return [self._reading(b"string", self._number()) for _ in range(8)]

    def _sets(self) -> list[Request]:
        """A pipeline; some of the same key."""
        steps = [(b"SET", self._key(b"string"), self._value()) for _ in range(self._chance.choice((1, 1, 8)))]
        return [Request(resp_request(*step, "PXAT", _FAR_MS), [step]) for step in steps]

    def _incr(self) -> list[Request]:
        step = (b"INCR", self._key(b"counter"))
        return [Request(resp_request(*step), [step])]

    def _block(self) -> list[Request]:
        """MULTI, or a script: a string, and a field of a hash."""
        string, hash_, field = self._key(b"string"), self._key(b"hash"), b"%d" % self._chance.randrange(_FIELDS)
        value, inside = self._value(), self._value()
        steps = [(b"SET", string, value), (b"HSET", hash_, field, inside), (b"PEXPIREAT", hash_)]
        if self._chance.random() < 0.5:
            words = ("EVAL", _SCRIPT, "2", string, hash_, value, field, inside, _FAR_MS)
            return [Request(resp_request(*words), steps, is_list=True)]
        sent = [("MULTI",), (*steps[0], "PXAT", _FAR_MS), steps[1], (*steps[2], _FAR_MS), ("EXEC",)]
        return [Request(b"".join(resp_request(*words) for words in sent), steps, len(sent), is_list=True)]

    _MAKERS = (_read, _read, _gets, _sets, _sets, _incr, _block, _block)

    def _number(self) -> int:
        return self._chance.randrange(_KEYS)

    def _key(self, kind: bytes) -> bytes:
        return b"%b:%d" % (kind, self._number())

    def _value(self) -> bytes:
        return b"%d-%b" % (next(self._values), b"x" * self._chance.randrange(_LONGEST_VALUE))

    # Hearing

    def hear(self, line: bytes) -> None:
        """A line of a reply. Raises Violation."""
        self._reader.feed(line + b"\r\n")
        while (reply := self._reader.gets()) is not False:
            if not self.in_flight:
                raise Violation(f"{self.name} was answered {reply!r}, and had asked nothing")
            if isinstance(reply, hiredis.ReplyError):
                raise Violation(f"{self.name}: {self.in_flight[0].data[:200]!r} was answered {reply}")
            self._replies.append(reply)
            if len(self._replies) == self.in_flight[0].replies:
                request = self.in_flight.popleft()
                self._answered.append((request, self._replies[-1] if request.is_list else self._replies))
                self._replies = []
                self.acknowledged += 1

    # After a kill

    def settle(self, commits: Iterable[Commit]) -> int:
        """The server was killed, and has logged these commits since the last time. Returns how many requests in flight
        were done, of those that write. Raises Violation if they do not explain what it was told.
        """
        logged = deque(
            tuple(words) for commit in commits for database, words in commit.operations
            if database == self.database and words[0] != b"PEXPIREAT"
        )  # fmt: skip
        for request, replies in self._answered:
            self._explain(request, replies, logged)
        self._answered.clear()
        done = self._explain_in_flight(logged)
        self.in_flight.clear()
        self._begin()
        return done

    def _explain_in_flight(self, logged: deque[Step]) -> int:
        done = 0
        for request in self.in_flight:
            if request.writes:
                self._evict(logged)
                if not logged:
                    break
                self._explain(request, None, logged)
                done += 1
        self._evict(logged)
        if logged:
            raise Violation(f"{self.name}: the log has {_shown(logged[0])}, which nobody asked for")
        return done

    def _evict(self, logged: deque[Step], until: bytes = b"") -> None:
        """Apply the evictions that come next, until this key is gone."""
        while logged and logged[0][0] == b"DEL" and not (until and until not in self._state):
            if self._state.pop(logged[0][1], None) is None:
                raise Violation(f"{self.name}: the log has {_shown(logged[0])}, and there was no such key")
            self._gone.add(logged.popleft()[1])
            self.evicted += 1

    def _explain(self, request: Request, replies: Sequence[Any] | None, logged: deque[Step]) -> None:
        """One request. `replies`: to its steps, None if there were none."""
        if request.writes:
            self._evict(logged)
        for step, reply in itertools.zip_longest(request.steps, replies or (), fillvalue=None):
            if not request.writes and not reply:
                self._evict(logged, step[1])
                self.missed += step[1] in self._gone
            expected = self._execute(step, logged)
            if replies is not None and reply != expected:
                raise Violation(f"{self.name}: {_shown(step)} was answered {_shown(reply)}, not {_shown(expected)}")

    def _execute(self, step: Step, logged: deque[Step]) -> object:
        """Do one to the state, and take what it writes off the log. Returns what is to be answered."""
        name, key = step[0], step[1] if len(step) > 1 else b""
        held = self._state.get(key)
        if name == b"SELECT":
            return b"OK"
        if name == b"PEXPIREAT":
            return 1
        if name == b"GET":
            return held
        if name == b"HGETALL":
            return [word for pair in held.items() for word in pair] if isinstance(held, dict) else []
        if name == b"HSET":
            fields = held if isinstance(held, dict) else {}
            self._take(step, logged)
            self._state[key] = {**fields, step[2]: step[3]}
            return int(step[2] not in fields)
        value = step[2] if name == b"SET" else b"%d" % (int(held or b"0") + 1)  # type: ignore[arg-type]
        self._take((b"SET", key, value), logged)
        self._state[key] = value
        return b"OK" if name == b"SET" else int(value)

    def _take(self, operation: Step, logged: deque[Step]) -> None:
        if not logged or logged[0][: len(operation)] != operation:
            found = _shown(logged[0]) if logged else "nothing"
            raise Violation(f"{self.name}: in the log {found} stands where {_shown(operation)} belongs")
        self._gone.discard(logged.popleft()[1])


def _shown(what: object) -> str:
    if isinstance(what, tuple | list):
        return "(" + ", ".join(map(_shown, what)) + ")"
    return repr(what)[:60]
