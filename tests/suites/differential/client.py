"""One client of both servers: what it has asked for, what came of that from each, and whether that is the same.

Keyspace events are compared where one client hears of all of them, in order; but not whether a key is said to have
expired or to be removed, nor, once something expires soon, when. Keys that a client tracks are told in no order.
"""

from __future__ import annotations

import itertools
from collections import Counter

from tests.suites.differential.peers import CLOSED, Servers, ask_both
from tests.suites.differential.replies import SCRIPTS, alike, cut, shown_of

SUBSCRIBING = frozenset(b"SUBSCRIBE PSUBSCRIBE SSUBSCRIBE UNSUBSCRIBE PUNSUBSCRIBE SUNSUBSCRIBE".split())
_INVALIDATIONS = (b">2\r\n$10\r\ninvalidate\r\n", b"*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n")
_INVALIDATIONS += (b">3" + _INVALIDATIONS[1][2:],)


class Differs(Exception):
    """They do not answer, or hold, the same. `kind`: what several such differences have in common."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class Client:
    """One client of both servers in a sequence. `is_gone`: its connections have ended. `may_be_silent`: it has asked
    for no replies. `listens`: it is told of all keyspace events, and does nothing else.
    """

    def __init__(self, servers: Servers, protocol: int, listens: bool = False) -> None:
        self.listens = listens
        self.peers = servers.connect()
        self.unanswered: list[list[bytes]] = []
        self.block: list[list[bytes]] = []
        self.came: tuple[list[bytes], list[bytes]] = ([], [])
        self.is_gone = self.may_be_silent = self.has_stopped_tracking = False
        #: Of which keys it was told that they are gone, since something expires soon: see there.
        self.removals: tuple[Counter[bytes], Counter[bytes]] | None = None
        if protocol == 3:
            ask_both(self.peers, [[b"HELLO", b"3"]])
        if listens:
            ask_both(self.peers, [[b"PSUBSCRIBE", b"__key*"]])

    def gather(self, which: int, count: int, patience_s: float) -> None:
        """Take what has come from one server, once so many are there."""
        self.came[which].extend(self.peers[which].take(max(count - len(self.came[which]), 0), patience_s))

    def has_failed(self) -> bool:
        """Whether one of the replies that have come is, or holds, an error, or a script may have met one."""
        ran = any(words[0].upper() in SCRIPTS for words in (*self.unanswered, *self.block))
        return ran or any(b"\r\n-" in b"\r\n" + reply for reply in self.came[0])

    def compare(self, but: bytes | None = None) -> None:
        """Raise Differs unless the same came from both; then it is done with. `but`: which messages do not count."""
        theirs, ours = ([each for each in came if but is None or but not in each] for came in self.came)
        if self.listens:
            self._compare_events(*(list(map(_as_removal, came)) for came in (theirs, ours)))
        else:
            self._compare_told(*map(_invalidated, (theirs, ours)))
            self._compare_replies(*map(_by_pattern, map(_but_events, (theirs, ours))))
        self.came = ([], [])

    def _compare_events(self, theirs: list[bytes], ours: list[bytes]) -> None:
        if self.removals is not None:
            for late, came in zip(self.removals, (theirs, ours), strict=True):
                late.update(filter(_tells_of_removal, came))
            theirs, ours = (list(itertools.filterfalse(_tells_of_removal, came)) for came in (theirs, ours))
        if theirs != ours:
            raise _differs([b"(events)"], b" ".join(theirs), b" ".join(ours))

    def compare_removals(self) -> None:
        """Raise Differs unless what was told to be removed, sooner or later, was told so by Valkey, too."""
        if self.removals is not None and not self.removals[0] >= self.removals[1]:
            raise _differs([b"(removals)"], *(b" ".join(sorted(each.elements())) for each in self.removals))

    def _compare_told(self, theirs: list[bytes], ours: list[bytes]) -> None:
        """Which keys are not what they were: in no order. Of what was read before tracking stopped Valkey may tell."""
        if theirs != ours and not (self.has_stopped_tracking and set(theirs) >= set(ours)):
            raise _differs([b"(invalidations)"], b" ".join(theirs), b" ".join(ours))

    def _compare_replies(self, theirs: list[bytes], ours: list[bytes]) -> None:
        for one, other in zip(theirs, ours, strict=False):
            is_push = one[:1] == b">" or (not self.unanswered and one != CLOSED)
            self._compare_one(self.unanswered[0] if self.unanswered else [b"(push)"], one, other)
            if not is_push:
                self._answered(one)
        if len(theirs) != len(ours):
            words = self.unanswered[0] if self.unanswered else [b"(push)"]
            raise _differs(words, b" ".join(theirs), b" ".join(ours))

    def _compare_one(self, words: list[bytes], theirs: bytes, ours: bytes) -> None:
        if not alike(words, self.block, theirs, ours):
            raise _differs(words, theirs, ours)

    def _answered(self, reply: bytes) -> None:
        if reply == CLOSED:
            self.unanswered.clear()
            self.is_gone = True
            return
        words = self.unanswered[0]
        if words[0].upper() in SUBSCRIBING and reply[:1] in b"*>":
            return  # there may be more of them; `settle` ends it
        del self.unanswered[0]
        if reply == b"+QUEUED\r\n":
            self.block.append(words)
        elif words[0].upper() in (b"MULTI", b"EXEC", b"DISCARD", b"RESET"):
            self.block.clear()

    def ends(self) -> None:
        """What it has sent is done with, answered or not, unless it waits."""
        if self.may_be_silent or (self.unanswered and self.unanswered[0][0].upper() in SUBSCRIBING):
            self.unanswered.clear()

    def close(self) -> None:
        """Disconnect from both."""
        for peer in self.peers:
            peer.close()


def _invalidated(came: list[bytes]) -> list[bytes]:
    """The keys that are not what they were, sorted; what tells of them is taken out of what came."""
    keys: set[bytes] = set()
    for reply in filter(_tells_of_changes, came):
        keys.update(cut(reply.partition(b"invalidate\r\n")[2].partition(b"\r\n")[2])[0] or [b"(all)"])
    came[:] = itertools.filterfalse(_tells_of_changes, came)
    return sorted(keys)


def _as_removal(event: bytes) -> bytes:
    """That a key has expired as that it was removed: which of them is told of one that is written, nobody says."""
    return (
        event.replace(b"22\r\n__keyevent@", b"18\r\n__keyevent@")
        .replace(b"$7\r\nexpired", b"$3\r\ndel")
        .replace(b":expired\r\n", b":del\r\n")
    )


def _tells_of_removal(event: bytes) -> bool:
    return b":del\r\n" in event or event.endswith(b"$3\r\ndel\r\n")


def _tells_of_changes(reply: bytes) -> bool:
    return reply.startswith(_INVALIDATIONS)


def _but_events(came: list[bytes]) -> list[bytes]:
    """Without keyspace events, which are compared where one client hears of all."""
    return [reply for reply in came if b"\r\n__key" not in reply or b"message\r\n" not in reply[:20]]


def _by_pattern(came: list[bytes]) -> list[bytes]:
    """Messages that come by several patterns come in any order."""
    groups = itertools.groupby(came, key=lambda reply: reply[4:16] == b"$8\r\npmessage")
    return [each for is_by_pattern, group in groups for each in (sorted(group) if is_by_pattern else group)]


def _differs(words: list[bytes], theirs: bytes, ours: bytes) -> Differs:
    name = words[0].upper().decode("latin-1")
    kind = f"{name} {theirs[:1]!r} {ours[:1]!r}" + (f" {theirs[:30]!r}" if theirs[:1] == b"-" else "")
    shown = (f"{each!r:.1500}" for each in (shown_of(words, theirs), shown_of(words, ours)))
    return Differs(kind, f"{name}:\n  Valkey:  {next(shown)}\n  kvstore: {next(shown)}")
