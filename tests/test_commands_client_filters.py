"""Filters of CLIENT LIST and CLIENT KILL: the same clients, asked for in the same words, here and in a real Valkey."""

from __future__ import annotations

import re
from typing import Any

from kvstore.base.errors import RequestError
from kvstore.commands.client import Client
from kvstore.commands.context import Call
from tests.kit.harness import Rig
from tests.kit.valkey import Connection, ValkeyTestCase

#: What each client does before it is looked for; the first is the one that looks.
_CLIENTS = (
    "CLIENT SETNAME looker|CLIENT NO-TOUCH on",
    "CLIENT SETNAME named|CLIENT SETINFO LIB-NAME lib|CLIENT SETINFO LIB-VER 1.2",
    "HELLO 3|CLIENT SETNAME subscribed|SUBSCRIBE x|MULTI",
    "CLIENT SETNAME watcher|MONITOR",
    "CLIENT SETNAME other|SELECT 3|CLIENT CAPA redirect|MULTI",
)

_VALUES = {
    "ID": "{1};{1} {2};{2} {1};{1} 0;-1;+1;x;{1} x;{1} TYPE normal;99999999999999999999;{1} ID {2};{1} {1} NAME named;"
    "{1} ID;{1} NAME named ID;{1} NOT-ID;{1} NAME;",
    "TYPE": "normal;pubsub;PubSub;master;primary;replica;slave;x;normal TYPE pubsub;",
    "ADDR": "x;:0;", "LADDR": "x;", "IP": "x;", "USER": "default;x;",
    "NAME": "named;other;x;named NAME other;a b;", "DB": "0;3;15;16;-1;x;3 NAME other;",
    "FLAGS": "N;P;Px;xP;PO;NN;O;x;T;z;NP;P TYPE pubsub;x DB 3;", "LIB-NAME": "lib;x;", "LIB-VER": "1.2;x;",
    "CAPA": "r;rr;x;", "MAXAGE": "100000;0;-1;x;99999999999999999999;", "IDLE": "100000;0;-1;x;",
    "SKIPME": "yes;NO;x;yes SKIPME no;no NAME looker;", "FOO": "x;",
}  # fmt: skip


class FilterTests(ValkeyTestCase):
    """The same requests to both."""

    def setUp(self) -> None:
        """The same clients of both."""
        super().setUp()
        self.rig = Rig()
        self.ours: list[Call] = [self.rig.call]
        self.theirs: list[Connection] = [self.valkey.connect()]
        for place, script in enumerate(_CLIENTS):
            if place:
                self.ours.append(self.rig.connect())
                self.theirs.append(self.valkey.connect())
            for request in script.split("|"):
                words = request.encode().split()
                self.rig.do(*words, by=self.ours[place])
                self.theirs[place].ask(words)
        for call in self.ours:
            call.client.through_file = True  # as Valkey's clients here
        for connection in self.theirs:
            self.addCleanup(connection.close)
        listed = self.theirs[0].ask([b"CLIENT", b"LIST"])[1].decode()
        self.numbers = {name: number for number, name in re.findall(r"id=(\d+) .*? name=(\S+)", listed)}

    def names(self, words: str) -> tuple[Any, Any]:
        """What both list: names, or an error. `words`: with {1} for the number of the second client."""
        own = [str(call.client.identity) for call in self.ours]
        other = [self.numbers[call.client.name.decode()] for call in self.ours]
        theirs = self.theirs[0].ask([b"CLIENT", b"LIST", *words.format(*other).encode().split(b" ")])[1]
        ours = self.rig.do("CLIENT", "LIST", *words.format(*own).split(" "))
        return _told(theirs.decode() if isinstance(theirs, bytes) else theirs), _told(ours)

    def test_list(self) -> None:
        """Every filter with values right and wrong, as it is and with NOT-, alone and with another."""
        for option, values in _VALUES.items():
            for value in values.split(";"):
                for words in (f"{option} {value}", f"not-{option} {value}", f"{option} {value} NOT-NAME other"):
                    theirs, ours = self.names(words)
                    self.assertEqual(theirs, ours, words)
        self.assertEqual(*self.names("NAME"))

    def test_times_and_addresses(self) -> None:
        """How old, how long silent, from where."""
        now_ms, clients = self.rig.server.recent_ms // 1000 * 1000, [call.client for call in self.ours]
        clients[1].connected_ms = clients[1].last_request_ms = now_ms - 5_000
        clients[2].connected_ms, clients[2].address = now_ms - 7_000, "[::1]:7"
        clients[3].local_address, clients[3].address = "10.0.0.1:6380", "/a:b/socket:0"
        for words, expected in {
            "MAXAGE 5": ["named", "subscribed"], "MAXAGE 6": ["subscribed"], "IDLE 5": ["named"], "IDLE 6": [],
            "IP ::1": ["subscribed"], "ADDR [::1]:7": ["subscribed"], "LADDR 10.0.0.1:6380": ["watcher"],
            "IP /a:b/socket": ["watcher"], "NOT-IP 127.0.0.1": ["subscribed", "watcher"],
        }.items():  # fmt: skip
            self.assertEqual(_told(self.rig.do("CLIENT", "LIST", *words.split())), expected, words)

    def test_kill(self) -> None:
        """CLIENT KILL ends whom CLIENT LIST shows, but one's own connection; a wrong filter ends nobody."""
        closed: list[Client] = []
        for call in self.ours:
            call.client.peer = _Closes(call.client, closed)
        for words, killed in {
            "FLAGS P NOT-NAME x": "subscribed", "TYPE normal DB 0": "named watcher",
            "NOT-TYPE pubsub NOT-DB 0": "other", "SKIPME no NAME named": "named", "ID 2 3 NOT-ID 3": "named",
            "MAXAGE 9": "",
        }.items():  # fmt: skip
            closed.clear()
            self.assertEqual(self.rig.do("CLIENT", "KILL", *words.split()), len(killed.split()), words)
            self.assertEqual([client.name.decode() for client in closed], killed.split(), words)
        for words in ("FLAGS z", "NAME a b", "ID x", "MAXAGE x", "NOT-TYPE x", "TYPE normal SKIPME"):
            theirs = self.theirs[0].ask([b"CLIENT", b"KILL", *words.encode().split()])[1]
            self.assertEqual(self.rig.error("CLIENT", "KILL", *words.split()), str(theirs), words)


class _Closes:
    def __init__(self, client: Client, closed: list[Client]) -> None:
        self.close = lambda: closed.append(client)

    def send(self, message: Any, needed: int) -> None:
        """Nothing."""

    wake = send


def _told(reply: Any) -> Any:
    """The names in a listing, or the text of an error."""
    if isinstance(reply, str):
        return re.findall(r" name=(\S*)", reply)
    assert isinstance(reply, Exception), reply
    return str(reply) if not isinstance(reply, RequestError) else f"{reply.code} {reply.text}"
