"""The pages: complete without scripts, whatever clients call themselves and their keys; who sees what; how heavy."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from unittest.mock import patch

from kvstore.base.limits import MAX_RECORDED_REQUESTS, MAX_SHOWN_CLIENTS
from kvstore.edge.history import History
from kvstore.edge.http.origins import Origins
from kvstore.edge.http.site import Site
from kvstore.edge.http.visitors import Visitors
from kvstore.edge.page import site as page_site
from kvstore.edge.page.site import page_routes
from kvstore.edge.status import info_sections
from kvstore.wire.resp import pack
from tests.kit.group import MemoryGroup
from tests.kit.http import OWN_HOST, Connection, WatchedTestCase, get, request

#: What would be a script, if it was not escaped.
NASTY = b"<script>alert('&')</script>\""
STATIC = Path(page_site.__file__).parent / "static"


class Page(HTMLParser):
    """What a browser finds in a page: `tags` with their attributes, and `text`."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep it."""
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Keep it."""
        self.text += data

    def ids(self) -> list[str]:
        """All of them."""
        return [str(attributes["id"]) for _, attributes in self.tags if "id" in attributes]


class PageTestCase(WatchedTestCase):
    """A server with its pages. `headers`: of who asks."""

    def setUp(self) -> None:
        """Make it."""
        super().setUp()
        self.headers = [OWN_HOST]
        self.site = Site(self.clock, Origins(), Visitors(self.server), {})
        self.history = History(self.sources)
        self.server.info.update(info_sections(self.sources))
        self.pace: Callable[[Callable[[], None]], None] = lambda work: work()
        self.site.routes |= page_routes(self.sources, self.history, lambda work: self.pace(work))

    def be_allowed(self, *rules: bytes) -> None:
        """From now on who asks is a user with these rights."""
        self.server.users.set_user(b"ann", [b"on", b">word", *rules])
        self.headers = [OWN_HOST, ("Authorization", f"Basic {b64encode(b'ann:word').decode()}")]

    def page(self, path: str = "/") -> Page:
        """A page as it is loaded."""
        answer = get(self.site, path, *self.headers)
        self.assertEqual((answer.status, answer.headers["content-type"]), (200, "text/html; charset=utf-8"))
        return Page(answer.body)

    def listen(self, path: str) -> Connection:
        """Somebody looks."""
        connection = Connection(self.site)
        connection.send(request(path, *self.headers))
        return connection

    def events(self, connection: Connection) -> list[dict[str, Any]]:
        """What they were told so far."""
        lines = connection.answer().body.split("\n")
        return [json.loads(line[6:]) for line in lines if line.startswith("data: ")]


class StatusTests(PageTestCase):
    """The status."""

    def test_complete_without_scripts(self) -> None:
        """Each section is there with what it tells, of a server on which something happened."""
        client = self.connect()
        client.send(pack(b"CLIENT", b"SETNAME", b"shop") + pack(b"SET", b"a", b"1") + pack(b"BLPOP", b"q", b"0"))
        for _ in range(301):
            self.clock.advance(1)
            self.history.sample()
        self.server.configuration.set([(b"timeout", b"77")])
        page = self.page()
        for text in ("shop", "waits", "BLPOP", "Requests a second", "timeout", "77", "5 min 1 s ago", "1 h ago"):
            self.assertIn(text, page.text)
        self.assertEqual(len(set(page.ids())), len(page.ids()))

    def test_where_it_listens(self) -> None:
        """Each endpoint, those without a port too."""
        self.sources.listening.described += ["name=tcp,bind=127.0.0.1,port=6380", "name=unix,bind=/run/kvstore"]
        self.assertIn("listening on 127.0.0.1:6380, /run/kvstore.", self.page().text)

    def test_escapes(self) -> None:
        """Whatever clients say is text: addresses, keys, library names, settings."""
        self.server.configuration.set([(b"slowlog-log-slower-than", b"0"), (b"availability-zone", NASTY)])
        client = self.connect()
        client.protocol.client.address = NASTY.decode()
        client.protocol.client.library_name = NASTY
        self.server.command_log.slow.note(client.protocol.client, [b"GET", NASTY], 50_000, 1_700_000_000)
        page = self.page()
        scripts = [attributes for tag, attributes in page.tags if tag == "script"]
        self.assertEqual([script["src"] for script in scripts], ["/static/page.js"])
        self.assertGreaterEqual(page.text.count("<script>alert('&')</script>"), 4)

    def test_nothing_inline(self) -> None:
        """There is nothing that the Content-Security-Policy forbids, and nothing from outside."""
        for path in ("/", "/interleaving"):
            for tag, attributes in self.page(path).tags:
                self.assertNotIn("style", attributes, tag)
                self.assertFalse([name for name in attributes if name.startswith("on")], tag)
                for name in ("src", "href"):
                    self.assertRegex(attributes.get(name) or "/", "^[/#]")

    def test_no_secrets(self) -> None:
        """Of a password that is set it is told that it is."""
        self.server.configuration._values["requirepass"] = "swordfish"
        page = self.page()
        self.assertIn("requirepass", page.text)
        self.assertNotIn("swordfish", page.text)

    def test_no_values(self) -> None:
        """Of a slow request the command and its keys are shown."""
        client = self.connect()
        self.server.configuration.set([(b"slowlog-log-slower-than", b"0")])
        self.server.command_log.slow.note(
            client.protocol.client, [b"SET", b"zebra", b"swordfish"], 50_000, 1_700_000_000
        )
        page = self.page()
        self.assertIn('SET "zebra"', page.text)
        self.assertNotIn("swordfish", page.text)

    def test_rights(self) -> None:
        """Who may not call what shows the same at the port sees what it would need, and nothing of it by events."""
        self.connect().send(pack(b"CLIENT", b"SETNAME", b"shop"))
        self.be_allowed(b"+info")
        page = self.page()
        self.assertNotIn("shop", page.text)
        self.assertIn("the right to call CLIENT LIST", page.text)
        self.assertEqual(set(self.events(self.listen("/events"))[0]) & {"clients", "settings", "noted"}, set())

    def test_rights_change(self) -> None:
        """Who may see less from now on is told less from now on."""
        self.be_allowed(b"+info", b"+client|list")
        listening = self.listen("/events")
        self.server.users.set_user(b"ann", [b"-client|list"])
        self.connect()
        self.clock.pump([1] * 4)
        first, *others = self.events(listening)
        self.assertIn("clients", first)
        self.assertFalse([told for told in others if "clients" in told])

    def test_many_clients(self) -> None:
        """Those that hold most are shown, and how many there are."""
        for _ in range(MAX_SHOWN_CLIENTS + 5):
            self.connect()
        holds = self.connect()
        holds.send(b"*2\r\n$3\r\nGET\r\n$9999\r\nabc")
        page = self.page()
        rows = [tag for tag, attributes in page.tags if attributes.get("scope") == "row"]
        self.assertGreaterEqual(len(rows), MAX_SHOWN_CLIENTS)
        self.assertIn(f"The {MAX_SHOWN_CLIENTS} that hold most, of {MAX_SHOWN_CLIENTS + 6}", page.text)
        self.assertIn(holds.protocol.client.address, page.text)

    def test_replication(self) -> None:
        """A server with a replicated state tells of it; others say nothing about it."""
        self.assertNotIn("group", self.page().ids())
        self.server.info["group"] = lambda: [("leader", "zebra:6380")]
        self.assertIn("zebra:6380", self.page().text)

    def test_a_group(self) -> None:
        """A server of a group tells of its part, who leads, and the others."""
        group = MemoryGroup()
        leader = group.leader()
        follower, _ = group.followers()
        group.all_heard(leader)
        for node, part in ((leader, "leads"), (follower, "follows")):
            self.server.group = node.node.member
            text = self.page().text
            self.assertIn(f"{node.address} {part}, entry ", text)
            self.assertIn(f"{leader.address}", text)
            self.assertNotIn("not heard of lately", text)
        follower.connection.cut()
        group.go_on(5)
        self.assertIn(f"{leader.address}, not heard of lately", self.page().text)


class LiveTests(PageTestCase):
    """The status, told by events."""

    def test_what_is_new(self) -> None:
        """First all sections, made by the same templates as the page; then those that have changed."""
        listening = self.listen("/events")
        (first,) = self.events(listening)
        self.assertLess({"now", "minutes", "clients", "memory", "disk"}, set(first))
        self.connect().send(pack(b"CLIENT", b"SETNAME", b"shop"))
        self.clock.pump([1] * 2)
        told = self.events(listening)[-1]
        self.assertIn("shop", told["clients"])
        self.assertNotIn("settings", told)

    def test_nobody_looks(self) -> None:
        """Then nothing happens."""
        listening = self.listen("/events")
        self.assertTrue(self.clock.getDelayedCalls())
        listening.lose()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_in_its_turn(self) -> None:
        """Those who look are told when the loop has time for it; once, though some have come anew meanwhile."""
        for path in ("/events", "/interleaving/events"):
            waiting: list[Callable[[], None]] = []
            self.pace = waiting.append
            listening = self.listen(path)
            told = len(self.events(listening))
            self.clock.pump([1] * 5)
            self.assertEqual((len(waiting), len(self.events(listening))), (1, told))
            listening.lose()
            waiting.pop()()
            self.assertEqual(self.clock.getDelayedCalls(), [])
            listening = self.listen(path)
            for _ in range(3):
                self.clock.pump([1] * 2)
                self.assertEqual(len(waiting), 1)
                waiting.pop()()
            self.assertEqual(len(self.events(listening)), told + 3)
            listening.lose()

    def test_a_bug_in_a_section(self) -> None:
        """The others are told all the same."""
        listening = self.listen("/events")
        with patch.object(self.server.command_log.slow, "newest", side_effect=ZeroDivisionError):
            self.clock.pump([1] * 6)
        self.assertEqual(len(self.events(listening)), 7)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class InterleavingTests(PageTestCase):
    """The interleaving."""

    def work(self) -> None:
        """Two clients ask for something."""
        first, second = self.connect(), self.connect()
        first.send(pack(b"CLIENT", b"SETNAME", b"shop"))
        for _ in range(3):
            first.send(pack(b"SET", NASTY, b"swordfish"))
            second.send(pack(b"GET", NASTY))
            self.turn()

    def test_without_scripts(self) -> None:
        """A link asks for a picture, which is there with its table when a second is over."""
        connection = self.listen("/interleaving?record")
        self.work()
        self.clock.pump([1, 1])
        page = Page(connection.answer().body)
        self.assertEqual(len([tag for tag, attributes in page.tags if "data-n" in attributes]), 7)
        self.assertIn("<script>alert", page.text)
        self.assertNotIn("swordfish", page.text)
        self.assertEqual(self.hooks.watchers, [])

    def test_nobody_is_watched(self) -> None:
        """Before somebody listens, and after the last one has left."""
        self.page("/interleaving")
        self.assertEqual(self.hooks.watchers, [])
        first, second = self.listen("/interleaving/events"), self.listen("/interleaving/events")
        self.assertEqual(len(self.hooks.watchers), 1)
        first.lose()
        self.assertEqual(len(self.hooks.watchers), 1)
        second.lose()
        self.assertEqual((self.hooks.watchers, self.commit.watchers), ([], []))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_who_leaves_while_it_records(self) -> None:
        """Nothing is recorded for it any more."""
        connection = self.listen("/interleaving?record")
        self.assertEqual(len(self.hooks.watchers), 1)
        connection.lose()
        self.assertEqual((self.hooks.watchers, self.clock.getDelayedCalls()), ([], []))

    def test_a_picture_a_second(self) -> None:
        """However fast a busy server fills one."""
        listening = self.listen("/interleaving/events")
        client = self.connect()
        for _ in range(5):
            client.send(pack(b"PING") * (MAX_RECORDED_REQUESTS + 1))
            self.clock.pump([0.25] * 2)
        self.assertEqual(len(self.events(listening)), 3)

    def test_names_need_the_right(self) -> None:
        """Who may not call MONITOR sees when, how long and what kind; no command, no key, no name of a client."""
        self.be_allowed(b"+info")
        listening = self.listen("/interleaving/events")
        self.work()
        self.clock.pump([1, 1])
        picture = self.events(listening)[0]["picture"]
        self.assertIn('class="write"', picture)
        for secret in ("SET", "script", "shop", "127.0.0.1", "swordfish"):
            self.assertNotIn(secret, picture)

    def test_weight(self) -> None:
        """A full picture of many clients is at most 110 KB."""
        clients = [self.connect() for _ in range(150)]
        listening = self.listen("/interleaving/events")
        for client in clients * 2:
            client.send(pack(b"SET", b"k" * 40, b"1"))
        self.turn()
        self.clock.pump([1, 1])
        told = self.events(listening)[0]
        self.assertEqual(told["picture"].count("data-n="), MAX_RECORDED_REQUESTS)
        self.assertLess(len(json.dumps(told)), 110_000)


class FileTests(PageTestCase):
    """What the pages load."""

    def test_types(self) -> None:
        """Each file is there, with its type, for everybody: there is nothing of the server in it."""
        for path in STATIC.iterdir():
            answer = get(self.site, f"/static/{path.name}")
            self.assertEqual((answer.status, answer.body), (200, path.read_text()))
            self.assertRegex(answer.headers["content-type"], "^(text/(css|javascript); charset=utf-8|image/svg.xml)$")

    def test_weight(self) -> None:
        """All files together are at most 25 KB, and the page of a server with some clients at most 30 KB more."""
        for _ in range(20):
            self.connect()
        self.assertLess(sum(path.stat().st_size for path in STATIC.iterdir()), 25_000)
        self.assertLess(len(get(self.site, "/").body), 30_000)
