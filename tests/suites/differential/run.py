"""Sequences, one after another: sent to both servers request by request, compared, and cut down where they differ.

A client that waits (BLPOP) is passed over until it is served; its reply, and what is pushed to clients, is compared
after each request, when both servers have come to rest. Whether Valkey's client waits is seen by its having answered
another client twice meanwhile. Requests that nobody can be served by, or told of, take the short way: one reply each.

Where keyspace events are told, one more client hears of all of them, in order. Of a client that may not be answered
(CLIENT REPLY) it is not said which request a reply is of; nor in what order keys are told that it tracks.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

from kvstore.base.errors import InvalidRequest
from kvstore.commands import table
from kvstore.wire.resp import pack
from tests.kit.random_families import DEFAULTS, Sequence, full_name
from tests.kit.random_server import expires_soon
from tests.suites.differential.client import SUBSCRIBING, Client, Differs
from tests.suites.differential.peers import Servers, ask_both
from tests.suites.differential.state import differences, state_of

_BLOCKING = frozenset(b"BLPOP BRPOP BLMOVE BRPOPLPUSH BZPOPMIN BZPOPMAX BLMPOP BZMPOP XREAD XREADGROUP".split())
_TELLING = SUBSCRIBING | {b"CLIENT TRACKING"}
#: After which a connection may end; after which others may wait, too.
_ENDING = frozenset([b"QUIT", b"CLIENT KILL"])
_CHANGING = _ENDING | {b"CLIENT PAUSE"}
#: In an event that is not told of a request that fails: see CONFIG SET in docs/COMMANDS.md.
_MISS = b"keymiss\r\n"
#: For a reply that the other server has given; and while a sequence is cut down.
_PATIENCE_S, _SHORT_PATIENCE_S = 10.0, 0.5
#: After which what expires soon has expired.
_A_MOMENT_S = 0.004
#: Timeouts that nobody waits for.
LONG = (b"0", b"1000", b"1000000")


@dataclass
class Counts:
    """What was done. `families`: requests of each group of the command table."""

    families: Counter[str] = field(default_factory=Counter)
    sequences: int = 0
    waited: int = 0
    states: int = 0
    restarts: int = 0


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
        events = [b"CONFIG", b"SET", b"notify-keyspace-events", sequence.events.encode()]
        ask_both(self.servers.controls, [events])
        clients = [Client(self.servers, protocol) for protocol in sequence.protocols]
        conversation = _Conversation(self.servers, clients, self.counts, self.patience_s)
        try:
            if sequence.events:
                conversation.listen()
            for burst in sequence.bursts(_BLOCKING | SUBSCRIBING | _CHANGING):
                conversation.say(*burst)
            conversation.end()
        finally:
            self._changed_settings = any(words[0].upper() == b"CONFIG" for _, words in sequence.requests)
            conversation.close()
        self.counts.sequences += 1
        self._compare_states("state")
        if restart:
            self.servers.restart()
            self.counts.restarts += 1
            self._compare_states("state after a restart")

    def _reset(self) -> None:
        settings = [f"CONFIG SET {name} {value}" for name, value in DEFAULTS.items()] if self._changed_settings else []
        self.servers.on_both("CLIENT UNPAUSE", "FLUSHALL", "SCRIPT FLUSH", "FUNCTION FLUSH", *settings)

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
        self._everybody = clients
        self._counts = counts
        self._anybody_told = False  # of what others do
        self._is_paused = False
        self._anything_expires_soon = False

    def listen(self) -> None:
        """Have one more client hear of all keyspace events."""
        self._everybody = [*self._clients, Client(self._servers, 2, listens=True)]
        self._anybody_told = True

    def say(self, number: int, requests: list[list[bytes]]) -> None:
        """Some requests of one client, all at once; compare what comes. Raises Differs."""
        client = self._free(number)
        if client is None:
            return
        names = set(map(full_name, requests))
        self._anybody_told |= not names.isdisjoint(_TELLING)
        self._is_paused |= any(
            full_name(words) == b"CLIENT PAUSE" and words[2:3] != [] and words[2] in LONG for words in requests
        )
        client.may_be_silent |= b"CLIENT REPLY" in names
        client.has_stopped_tracking |= any(words[0].upper() == b"RESET" or b"OFF" in words for words in requests)
        may_wait = self._is_paused or client.may_be_silent or not names.isdisjoint(_BLOCKING | _CHANGING)
        for which, peer in enumerate(client.peers):
            peer.send(b"".join(pack(*self._with_identities(which, words)) for words in requests))
        client.unanswered += requests
        self._counts.families.update(map(family, requests))
        if may_wait or self._anybody_told or any(each.unanswered for each in self._clients if each is not client):
            self.settle(None if may_wait else client)
        else:
            for which in (0, 1):
                client.gather(which, len(requests), 30)
            client.compare()
        self._anything_expires_soon |= any(map(expires_soon, requests))
        if self._anything_expires_soon and (expires_soon(requests[-1]) or b"EXEC" in names):
            time.sleep(_A_MOMENT_S)

    def _free(self, number: int) -> Client | None:
        """The first client from that number on which does not wait."""
        turned = self._clients[number:] + self._clients[:number]
        return next((client for client in turned if not (client.unanswered or client.is_gone)), None)

    def _with_identities(self, which: int, words: list[bytes]) -> list[bytes]:
        """`@id1` is the CLIENT ID of client 1."""
        return [
            self._clients[int(word[3:]) % len(self._clients)].peers[which].identity if word.startswith(b"@id") else word
            for word in words
        ]

    def end(self) -> None:
        """Let both come to rest, and see that nobody got more. Raises Differs."""
        if self._is_paused:
            self._is_paused = False
            self._servers.on_both("CLIENT UNPAUSE")
        if self._anything_expires_soon:
            self._servers.find_expired()
        self._servers.settle(1)
        self.settle()
        self._everybody[-1].compare_removals()

    def close(self) -> None:
        """Disconnect everybody."""
        for client in self._everybody:
            client.close()

    def settle(self, asked: Client | None = None) -> None:
        """Let Valkey come to rest, and compare what came to everybody. `asked`: who does not wait. Raises Differs."""
        if asked is not None:
            asked.gather(0, 1, 30)
        self._servers.settle(0, 2 if asked is None else 1)
        for client in self._everybody:
            client.gather(0, 0, 0)
            if client.unanswered and not client.came[0] and not self._may_wait_long(client):
                client.gather(0, 1, self._patience_s)
        for client in self._clients:
            client.gather(1, len(client.came[0]), self._patience_s)
        if asked is None or self._everybody is not self._clients:
            self._servers.settle(1)
        for client in self._everybody:
            client.gather(1, 0, 0)
            if not client.listens:  # should it have taken longer than that
                client.gather(0, len(client.came[1]), self._patience_s)
        but = _MISS if any(client.has_failed() for client in self._clients) else None
        if self._anything_expires_soon and self._everybody[-1].removals is None:
            self._everybody[-1].removals = Counter(), Counter()
        for client in self._everybody:
            client.compare(but)
            client.ends()
            self._counts.waited += bool(client.unanswered)

    def _may_wait_long(self, client: Client) -> bool:
        return self._is_paused or client.may_be_silent or is_long(client.unanswered[0])


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
