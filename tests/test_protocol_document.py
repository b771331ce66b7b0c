"""docs/PROTOCOL.md is true: its sessions go as they are written, its verbs and limits are ours."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from kvstore.base import limits
from kvstore.base.limits import KIB, MIB
from kvstore.commands import WORD_VERBS, table
from kvstore.commands.client import Client
from kvstore.commands.context import Call, Server
from kvstore.commands.registry import VERB
from kvstore.session.hooks import Hooks
from kvstore.session.session import Session
from kvstore.store.store import Store
from kvstore.testing.simulated_disk import SimulatedDisk
from kvstore.values import TYPES
from kvstore.wire.parser import RequestParser

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "PROTOCOL.md").read_text(encoding="utf-8")

#: Limits as the page words them: the start of the row, what stands for the value, and the option.
LIMITS = [
    ("a request", f"{limits.MAX_REQUEST_BYTES // MIB} MiB", "`--max-request-bytes`"),
    ("words of a request", f"{limits.MAX_REQUEST_ELEMENTS:,}", "`--max-request-words`"),
    ("a line of words", f"{limits.MAX_INLINE_BYTES // KIB} KiB", ""),
    ("words, and escapes, of a line", f"{limits.MAX_INLINE_BYTES:,} each", ""),
    ("a header line", f"{limits.MAX_HEADER_BYTES // KIB} KiB", ""),
    ("memory that is allocated", "none", "`--max-memory`, `--max-memory-policy`"),
    (
        "unfinished requests, subscriptions and replies not taken of all clients",
        "none",
        "the setting `maxmemory-clients`",
    ),
    (
        "unfinished requests and subscriptions of all clients",
        f"{limits.MAX_INPUT_BYTES // MIB} MiB",
        "`--max-input-bytes`",
    ),
    (
        f"requests queued in a MULTI block, with {limits.QUEUED_WORD_BYTES} bytes more",
        f"{limits.MAX_TRANSACTION_BYTES // MIB} MiB",
        "`--max-transaction-bytes`",
    ),
    (
        f"subscriptions of a client: {limits.SUBSCRIPTION_BYTES} bytes for each, and the name, that of a pattern"
        f" {limits.COMPILED_BYTES} times",
        f"{limits.MAX_SUBSCRIPTION_BYTES // MIB} MiB",
        "`--max-subscription-bytes`",
    ),
    ("keys that clients with caches have read", f"{limits.MAX_TRACKED_BYTES // MIB} MiB", ""),
    ("unread replies of a client, before", f"{limits.PAUSE_READING_BYTES // MIB} MiB", "`--pause-reading-bytes`"),
    (
        "unread replies of a client",
        f"{limits.DROP_CLIENT_BYTES // MIB} MiB; {limits.DROP_CLIENT_BYTES // 4 // MIB} MiB for 5 minutes",
        "`--client-output-buffer-limit`, `--drop-client-bytes`",
    ),
    (
        "unread replies of a client that subscribes",
        "32 MiB; 8 MiB for a minute",
        "`--client-output-buffer-limit`",
    ),
    ("one reply", f"{limits.DROP_CLIENT_BYTES // MIB} MiB", "`--drop-client-bytes`, 16 KiB at least"),
    ("time that a client", f"{limits.CLIENT_SHARE_MS} ms", "`--client-share-ms`"),
    ("time that a script", f"{limits.SCRIPT_MS} ms", "`--script-ms`"),
    ("memory that a script", f"{limits.MAX_SCRIPT_MEMORY_BYTES // MIB} MiB", "`--script-memory-bytes`"),
    ("source of a script", f"{limits.MAX_SCRIPT_SOURCE_BYTES // KIB} KiB", ""),
    ("sources that", f"{limits.MAX_SCRIPTS_BYTES // MIB} MiB", ""),
    ("scripts kept", f"{limits.MAX_EVAL_SCRIPTS}", ""),
    ("sources of all libraries", f"{limits.MAX_LIBRARIES_BYTES // MIB} MiB", ""),
    ("what libraries keep", "some 16 MiB", ""),
    ("clients; fewer", f"{limits.MAX_CLIENTS:,}", "`--max-clients`"),
    ("clients of one", f"half of them, at least {limits.FEW_CLIENTS}", "`--max-clients-per-address`"),
    ("words of a request of who", f"{limits.STRANGER_WORDS}", ""),
    ("time to say who one is", f"{limits.AUTHENTICATION_S} s", "`--authentication-timeout`"),
    ("unfinished requests, and unread replies, of who", f"{limits.STRANGER_BYTES // KIB} KiB each", ""),
    ("all that it may send", f"{limits.STRANGER_SENDS_BYTES // KIB} KiB", ""),
    ("time that a client may be", "none", "`--idle-timeout`"),
    ("free bytes of the data's volume", "none", "`--min-free-bytes`"),
    ("bytes of the log", "none", "`--max-log-bytes`"),
    ("a string that", f"{limits.MAX_REQUEST_BYTES // MIB} MiB", "`--max-request-bytes`"),
    ("a pattern", f"{limits.MAX_PATTERN_BYTES // KIB} KiB", ""),
    ("one with wildcards", f"{limits.MAX_SET_PATTERN_BYTES} bytes", ""),
    ("nesting", f"{limits.MAX_JSON_DEPTH}", "`--max-json-depth`"),
    ("digits", f"{limits.MAX_INTEGER_DIGITS:,}", ""),
    ("changes in one commit", f"{limits.MAX_COMMIT_BYTES // MIB // KIB} GiB", ""),
    ("subkeys", f"{limits.MAX_INDEXES}", ""),
    ("characters of a request that MONITOR", f"{limits.MAX_MONITORED_BYTES:,}", ""),
]


class Player:
    """A client of an empty server: what it sends executes, and what may leave comes back."""

    def __init__(self) -> None:
        self._store = Store(SimulatedDisk(), TYPES, lambda: 1_700_000_000_000_000, random.Random(1).randbytes)
        server = Server(self._store, lambda: 1_700_000_000_000, {}, "0" * 40)
        client = Client(1, "127.0.0.1:50000", "127.0.0.1:6380", 1_700_000_000_000)
        self._session = Session(Call(server, client), RequestParser(WORD_VERBS), Hooks(), 1 << 30)

    def send(self, line: str) -> bytes:
        """Send a line; returns what came back by the end of the turn."""
        self._session.receive(line.encode() + b"\r\n")
        while self._session.backlog:  # a request that takes more than a slice, as any does on a busy machine
            self._session.run(1 << 30)
        store = self._store
        commit = store.close_commit()
        if commit is not None:
            store.write(commit)
            store.sync()
            store.settle(commit, durable=True)
            self._session.release(commit.sequence)
        return bytes(self._session.take_ready())

    @property
    def is_closed(self) -> bool:
        """Whether the server closes the connection."""
        return self._session.closing


def exchanges(session: str) -> Iterator[tuple[list[str], list[str]]]:
    """What is sent and what is answered, turn by turn, in a session of the page."""
    for part in re.findall(r"((?:^> .*\n)+)((?:^< .*\n)*)", session, re.MULTILINE):
        sent, answered = ([line[2:] for line in lines.splitlines()] for lines in part)
        yield sent, answered


class SessionTests(SynchronousTestCase):
    """The sessions in the page."""

    def play(self, session: str) -> None:
        """Hold that a session goes as it is written."""
        player = Player()
        for sent, answered in exchanges(session):
            closed = answered[-1:] == ["(closed)"]
            expected = "".join(line + "\r\n" for line in (answered[:-1] if closed else answered))
            pattern = ".*".join(map(re.escape, expected.split("...")))
            answer = b"".join(map(player.send, sent)).decode()
            self.assertRegex(answer, f"^(?:{pattern})\\Z", f"after {sent}")
            self.assertEqual(player.is_closed, closed, f"after {sent}")

    def test_they_go_as_they_are_written(self) -> None:
        """Byte for byte, but for what `...` stands for."""
        sessions = re.findall(r"```session\n(.*?)```", PAGE, re.DOTALL)
        self.assertGreaterEqual(len(sessions), 6)
        for session in sessions:
            self.play(session)

    def test_a_wrong_session_is_found(self) -> None:
        """Another answer, one too many, none, or a connection that is not closed."""
        for session in ("> PING\n< +PANG\n", "> PING\n< +PONG\n< +PONG\n", "> PING\n", "> PING\n< +PONG\n< (closed)\n"):
            self.assertRaises(self.failureException, self.play, session)
        self.play("> PING\n< +PO...\n")
        self.play("> QUIT\n< +OK\n< (closed)\n")


class VerbTests(SynchronousTestCase):
    """The document verbs in the page."""

    def test_the_verbs_have_a_table_of_their_own(self) -> None:
        """With the members of their JSON lines."""
        section = PAGE.partition("## Document verbs")[2].partition("\n## ")[0]
        for row in table.rows():
            if row.flags & VERB:
                members = ", ".join(f"`{name}`" for name, _, _, _ in row.parameters)
                advice = f"{row.name} needs a line with its members in docs/PROTOCOL.md, Document verbs"
                self.assertRegex(section, rf"\| `{row.name.lower()}` \| {re.escape(members)}", advice)


class LimitTests(SynchronousTestCase):
    """The limits in the page."""

    def test_they_are_those_of_the_server(self) -> None:
        """Each row has the value and the option."""
        section = PAGE.partition("## Limits")[2].partition("\n## ")[0]
        rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in section.splitlines() if "|" in line][2:]
        advice = (
            "each limit needs a row in docs/PROTOCOL.md, Limits, and one in LIMITS of tests/test_protocol_document.py"
        )
        self.assertEqual(len(rows), len(LIMITS), advice)
        for (what, value, option), row in zip(LIMITS, rows, strict=True):
            self.assertTrue(row[0].startswith(what), f"{row}: {advice}")
            self.assertEqual(
                row[1:3], [value, option], "docs/PROTOCOL.md, Limits, says otherwise than kvstore/base/limits.py"
            )
