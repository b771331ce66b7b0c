"""Sequences, one after another: sent to both servers request by request, compared, and cut down where they differ.

A client that waits (BLPOP) is passed over until it is served; its reply, and what is pushed to clients, is compared
after each request, when both servers have come to rest. Whether Valkey's client waits is seen by its having answered
another client twice meanwhile. Requests that nobody can be served by, or told of, take the short way: one reply each.
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, field

from kvstore.base.errors import InvalidRequest
from kvstore.commands import table
from kvstore.wire.resp import pack
from tests.kit.random_families import DEFAULTS, Sequence
from tests.suites.differential.peers import Servers, ask_both
from tests.suites.differential.replies import alike
from tests.suites.differential.state import differences, state_of

_BLOCKING = frozenset(b"BLPOP BRPOP BLMOVE BRPOPLPUSH BZPOPMIN BZPOPMAX BLMPOP BZMPOP XREAD XREADGROUP".split())
_SUBSCRIBING = frozenset(b"SUBSCRIBE PSUBSCRIBE SSUBSCRIBE UNSUBSCRIBE PUNSUBSCRIBE SUNSUBSCRIBE".split())
#: For a reply that the other server has given; and while a sequence is cut down.
_PATIENCE_S, _SHORT_PATIENCE_S = 10.0, 0.5
#: Timeouts that nobody waits for.
LONG = (b"0", b"1000", b"1000000")


class Differs(Exception):
    """They do not answer, or hold, the same. `kind`: what several such differences have in common."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


@dataclass
class Counts:
    """What was done. `families`: requests of each group of the command table."""

    families: Counter[str] = field(default_factory=Counter)
    sequences: int = 0
    waited: int = 0
    states: int = 0
    restarts: int = 0


class Client:
    """One client of both servers in a sequence."""

    def __init__(self, servers: Servers, protocol: int) -> None:
        self.peers = servers.connect()
        self.unanswered: list[list[bytes]] = []
        self.block: list[list[bytes]] = []
        self.came: tuple[list[bytes], list[bytes]] = ([], [])
        if protocol == 3:
            ask_both(self.peers, [[b"HELLO", b"3"]])

    def gather(self, which: int, count: int, patience_s: float) -> None:
        """Take what has come from one server, once so many are there."""
        self.came[which].extend(self.peers[which].take(max(count - len(self.came[which]), 0), patience_s))

    def compare(self) -> None:
        """Raise Differs unless the same came from both; then it is done with."""
        theirs, ours = map(_by_pattern, self.came)
        for one, other in zip(theirs, ours, strict=False):
            is_push = one[:1] == b">" or not self.unanswered
            self._compare_one(self.unanswered[0] if self.unanswered else [b"(push)"], one, other)
            if not is_push:
                self._answered(one)
        if len(theirs) != len(ours):
            words = self.unanswered[0] if self.unanswered else [b"(push)"]
            raise _differs(words, b" ".join(theirs), b" ".join(ours))
        self.came = ([], [])

    def _compare_one(self, words: list[bytes], theirs: bytes, ours: bytes) -> None:
        if not alike(words, self.block, theirs, ours):
            raise _differs(words, theirs, ours)

    def _answered(self, reply: bytes) -> None:
        words = self.unanswered[0]
        if words[0].upper() in _SUBSCRIBING and reply[:1] in b"*>":
            return  # there may be more of them; `settle` ends it
        del self.unanswered[0]
        if reply == b"+QUEUED\r\n":
            self.block.append(words)
        elif words[0].upper() in (b"MULTI", b"EXEC", b"DISCARD", b"RESET"):
            self.block.clear()

    def close(self) -> None:
        """Disconnect from both."""
        for peer in self.peers:
            peer.close()


def _by_pattern(came: list[bytes]) -> list[bytes]:
    """Messages that come by several patterns come in any order."""
    groups = itertools.groupby(came, key=lambda reply: reply[4:16] == b"$8\r\npmessage")
    return [each for is_by_pattern, group in groups for each in (sorted(group) if is_by_pattern else group)]


def _differs(words: list[bytes], theirs: bytes, ours: bytes) -> Differs:
    name = words[0].upper().decode("latin-1")
    kind = f"{name} {theirs[:1]!r} {ours[:1]!r}" + (f" {theirs[:30]!r}" if theirs[:1] == b"-" else "")
    return Differs(kind, f"{name}:\n  Valkey:  {theirs[:1000]!r}\n  kvstore: {ours[:1000]!r}")


class Run:
    """Sequences on two servers. `servers`: see there. `counts`: what was done. `patience_s`: see `_PATIENCE_S`."""

    def __init__(self, servers: Servers) -> None:
        self.servers = servers
        self.counts = Counts()
        self._changed_settings = False
        self.patience_s = _PATIENCE_S

    def compare(self, sequence: Sequence, restart: bool) -> None:
        """Send a sequence to both. `restart`: whether to kill kvstore at the end and look again. Raises Differs."""
        self._reset()
        clients = [Client(self.servers, protocol) for protocol in sequence.protocols]
        try:
            conversation = _Conversation(self.servers, clients, self.counts, self.patience_s)
            for burst in sequence.bursts(_BLOCKING | _SUBSCRIBING):
                conversation.say(*burst)
            conversation.end()
        finally:
            self._changed_settings = any(words[0].upper() == b"CONFIG" for _, words in sequence.requests)
            for client in clients:
                client.close()
        self.counts.sequences += 1
        self._compare_states("state")
        if restart:
            self.servers.restart()
            self.counts.restarts += 1
            self._compare_states("state after a restart")

    def _reset(self) -> None:
        settings = [f"CONFIG SET {name} {value}" for name, value in DEFAULTS.items()] if self._changed_settings else []
        self.servers.on_both("FLUSHALL", "SCRIPT FLUSH", "FUNCTION FLUSH", *settings)

    def _compare_states(self, what: str) -> None:
        for which in (0, 1):
            self.servers.settle(which)
        tolerated = ("encoding",) if self._changed_settings else ()
        theirs, ours = map(state_of, self.servers.controls)
        found = differences(theirs, ours, tolerated)
        self.counts.states += 1
        if found:
            raise Differs(
                f"{what}: {found[0].partition(':')[0].rpartition(' ')[2]}", "\n".join([f"the {what}:", *found])
            )


class _Conversation:
    """The requests of one sequence."""

    def __init__(self, servers: Servers, clients: list[Client], counts: Counts, patience_s: float) -> None:
        self._patience_s = patience_s
        self._servers = servers
        self._clients = clients
        self._counts = counts
        self._anybody_subscribed = False

    def say(self, number: int, requests: list[list[bytes]]) -> None:
        """Some requests of one client, all at once; compare what comes. Raises Differs."""
        client = self._free(number)
        if client is None:
            return
        names = {words[0].upper() for words in requests}
        self._anybody_subscribed |= not names.isdisjoint(_SUBSCRIBING)
        may_wait = not names.isdisjoint(_BLOCKING)
        for which, peer in enumerate(client.peers):
            peer.send(b"".join(pack(*self._with_identities(which, words)) for words in requests))
        client.unanswered += requests
        self._counts.families.update(map(family, requests))
        if may_wait or self._anybody_subscribed or any(each.unanswered for each in self._clients if each is not client):
            self.settle(None if may_wait else client)
        else:
            for which in (0, 1):
                client.gather(which, len(requests), 30)
            client.compare()

    def _free(self, number: int) -> Client | None:
        """The first client from that number on which does not wait."""
        turned = self._clients[number:] + self._clients[:number]
        return next((client for client in turned if not client.unanswered), None)

    def _with_identities(self, which: int, words: list[bytes]) -> list[bytes]:
        """`@id1` is the CLIENT ID of client 1."""
        return [
            self._clients[int(word[3:]) % len(self._clients)].peers[which].identity if word.startswith(b"@id") else word
            for word in words
        ]

    def end(self) -> None:
        """Let both come to rest, and see that nobody got more. Raises Differs."""
        self._servers.settle(1)
        self.settle()

    def settle(self, asked: Client | None = None) -> None:
        """Let Valkey come to rest, and compare what came to everybody. `asked`: who does not wait. Raises Differs."""
        if asked is not None:
            asked.gather(0, 1, 30)
        self._servers.settle(0, 2 if asked is None else 1)
        for client in self._clients:
            client.gather(0, 0, 0)
            if client.unanswered and not client.came[0] and not is_long(client.unanswered[0]):
                client.gather(0, 1, self._patience_s)
        for client in self._clients:
            client.gather(1, len(client.came[0]), self._patience_s)
        for client in self._clients:
            client.gather(1, 0, 0)
            client.gather(0, len(client.came[1]), self._patience_s)  # should it have taken longer than that
            client.compare()
            if client.unanswered and client.unanswered[0][0].upper() in _SUBSCRIBING:
                client.unanswered.clear()
            self._counts.waited += bool(client.unanswered)


def is_long(words: list[bytes]) -> bool:
    """Whether a request may wait for longer than we do."""
    name, upper = words[0].upper(), [word.upper() for word in words]
    if name in (b"XREAD", b"XREADGROUP"):
        place = upper.index(b"BLOCK") + 1 if b"BLOCK" in upper else 0
    else:
        place = 1 if name in (b"BLMPOP", b"BZMPOP") else len(words) - 1
    return place < len(words) and words[place] in LONG


def family(words: list[bytes]) -> str:
    """The group of the command table that a request belongs to."""
    try:
        return table.find(words).group
    except InvalidRequest:
        return "unknown"


def shrunk(run: Run, sequence: Sequence, restart: bool, found: Differs) -> tuple[Sequence, str]:
    """The sequence without the requests that a difference of this kind does not need; and the difference."""
    text, kind = str(found), found.kind
    run.patience_s = _SHORT_PATIENCE_S
    size = max(len(sequence.requests) // 2, 1)
    while True:
        at = 0
        while at < len(sequence.requests):
            shorter = sequence.without(at, at + size)
            try:
                run.compare(shorter, restart)
                at += size
            except Differs as difference:
                if difference.kind == kind:
                    sequence, text = shorter, str(difference)
                else:
                    at += size
        if size == 1:
            run.patience_s = _PATIENCE_S
            return sequence, text
        size //= 2
