"""The shared log in a real etcd that has users: one may write the group's keys, and nothing else."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SkipTest, TestCase

from kvstore.base.shared_log import Appended, Entries, Note, Trimmed
from kvstore.edge.etcd.log import EtcdLog, open_log
from kvstore.edge.etcd.register import EtcdRegister
from tests.kit.etcd import MISSING, Etcd
from tests.kit.programs import run


def asked(method: Callable[..., object], *arguments: Any) -> Deferred[Any]:
    """What a method of a log gives to its last argument, `done`; None if that is nothing."""
    answer: Deferred[Any] = Deferred()
    method(*arguments, lambda found=None: answer.callback(found))
    return answer


def allow_one_user(etcd: Etcd, *keys: tuple[str, str]) -> None:
    """As docs/GROUP.md says: a user `shop` with password `opens`, who may read and write those keys alone, each a first
    and, unless it is "", an end.
    """
    steps: list[tuple[str, dict[str, Any]]] = [
        ("user/add", {"name": "root", "password": "root"}),
        ("role/add", {"name": "root"}),
        ("user/grant", {"user": "root", "role": "root"}),
        ("user/add", {"name": "shop", "password": "opens"}),
        ("role/add", {"name": "shop"}),
        ("user/grant", {"user": "shop", "role": "shop"}),
    ]
    for first, end in keys:
        key, range_end = (base64.b64encode(each.encode()).decode() for each in (first, end))
        steps.append(
            (
                "role/grant",
                {"name": "shop", "perm": {"permType": "READWRITE", "key": key, "range_end": range_end}},
            )
        )
    for path, document in [*steps, ("enable", {})]:
        answer = etcd.nodes[0].ask(f"/v3/auth/{path}", document)
        assert answer is not None and "header" in answer, (path, answer)


class Seen:
    """What a watch tells of, from the first entry on. `entries`: so far."""

    def __init__(self, log: EtcdLog) -> None:
        self.entries: list[bytes] = []
        self._awaited: tuple[int, Deferred[None]] = 0, Deferred()
        log.watch(1, self._see, lambda first: None)

    def reaches(self, position: int) -> Deferred[None]:
        """Fires when it has told of that one."""
        self._awaited = position, Deferred()
        self._look()
        return self._awaited[1]

    def _see(self, position: int, entry: bytes) -> None:
        self.entries.append(entry)
        self._look()

    def _look(self) -> None:
        position, reached = self._awaited
        if len(self.entries) >= position and not reached.called:
            reached.callback(None)


@pytest.mark.long
class UserTests(TestCase):
    """See the module."""

    timeout = 60

    def setUp(self) -> None:
        """One node, whose users are enabled."""
        if MISSING:
            raise SkipTest(MISSING)
        self.etcd = Etcd(*self.tokens(), count=1)
        self.addCleanup(self.etcd.close)
        allow_one_user(self.etcd, ("kvstore/shop/", "kvstore/shop0"), ("kvstore-cluster", ""))
        path = Path(os.path.abspath(self.mktemp()))
        path.touch(mode=0o600)
        path.write_text("opens\n")
        self.location = f"{self.etcd.location}?user=shop&password-file={path}"

    def tokens(self) -> list[str]:
        """Of which kind they are, as options of etcd."""
        return []

    def open(self, group: str = "shop") -> EtcdLog:
        """The log of a group."""
        log = open_log(self.location, group, reactor)
        self.addCleanup(log.stop)
        return log

    async def test_all_that_is_asked(self) -> None:
        """Needs no more: entries small and large, reads, a watch, notes, a trim with its compaction, the size."""
        log = self.open()
        large = os.urandom(3 << 19)
        for position, entry in enumerate([b"small", large, b"last"], 1):
            self.assertIs(await asked(log.append, position, entry), Appended.THERE)
        self.assertEqual(await asked(log.read, 2), Entries([(2, large)], 3))
        seen: Deferred[bytes] = Deferred()
        log.watch(3, lambda position, entry: seen.callback(entry), self.fail)
        self.assertEqual(await seen, b"last")
        await asked(log.note, "a:1", Note(3, 3))
        self.assertEqual(list(await asked(log.notes)), ["a:1"])
        await asked(log.forget, "a:1")
        self.assertEqual(await asked(log.notes), {})
        await asked(log.trim, 3)
        self.assertEqual(await asked(log.read, 1), Trimmed(3))
        self.assertGreater((await asked(log.size)).used_bytes, 0)
        register = EtcdRegister(self.location, reactor)
        self.addCleanup(register.stop)
        self.assertEqual(await asked(register.change, "", "map"), "map")
        self.assertEqual(await asked(register.read), "map")

    async def test_tokens_that_etcd_has_forgotten(self) -> None:
        """It starts anew: appends and the watch go on."""
        log = self.open()
        seen = Seen(log)
        for last in (2, 4):
            for position in (last - 1, last):
                self.assertIs(await asked(log.append, position, b"%d" % position), Appended.THERE)
            await seen.reaches(last)
            self.etcd.nodes[0].kill()
            self.etcd.nodes[0].start()
        self.assertEqual(seen.entries, [b"1", b"2", b"3", b"4"])

    async def test_keys_of_others(self) -> None:
        """Are not for this user: the log of another group is never reached."""
        log, other = self.open(), self.open("other")
        other.append(1, b"entry", self.fail)
        self.assertIs(await asked(log.append, 1, b"entry"), Appended.THERE)
        other.stop()


class SignedTokenTests(UserTests):
    """The same, with tokens that etcd signs (JWT): they last two seconds."""

    def tokens(self) -> list[str]:
        """See `UserTests`."""
        private, public = (os.path.abspath(self.mktemp()) for _ in range(2))
        run("openssl", "genrsa", "-out", private, "2048")
        run("openssl", "rsa", "-in", private, "-pubout", "-out", public)
        return ["--auth-token", f"jwt,pub-key={public},priv-key={private},sign-method=RS256,ttl=2s"]

    def token(self, log: EtcdLog) -> bytes | None:
        """That is in use."""
        login = log._places[0].login
        assert login is not None
        return login.token

    async def test_tokens_that_are_too_old(self) -> None:
        """Another is got, as often as it takes; the watch goes on."""
        log = self.open()
        seen = Seen(log)
        tokens, positions = set[bytes | None](), count(1)
        while len(tokens) < 4:
            position = next(positions)
            self.assertIs(await asked(log.append, position, b"entry"), Appended.THERE)
            tokens.add(self.token(log))
        await seen.reaches(position)
        self.assertEqual(seen.entries, [b"entry"] * position)

    async def test_users_that_are_changed(self) -> None:
        """All tokens end with that, though they are new; the watch goes on."""
        log, (node,) = self.open(), self.etcd.nodes
        seen, tokens = Seen(log), set[bytes | None]()
        for position in range(1, 5):
            self.assertIs(await asked(log.append, position, b"entry"), Appended.THERE)
            tokens.add(self.token(log))
            root = node.ask("/v3/auth/authenticate", {"name": "root", "password": "root"})
            assert root is not None
            added = node.ask("/v3/auth/user/add", {"name": f"user{position}", "password": "x"}, root["token"])
            self.assertEqual(list(added or ()), ["header"])
        await seen.reaches(4)
        self.assertEqual((len(tokens), seen.entries), (4, [b"entry"] * 4))
