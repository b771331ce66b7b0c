"""Finding the server that a TARGET means, with a catalog whose answers are made up."""

from __future__ import annotations

import json
import os
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase, TestCase

from kvstore.base.address import Address
from kvstore.client import deferred
from kvstore.client.endpoint import Endpoint
from kvstore.client.target import LookupFailed, find_server, freshest, resolve
from tests.kit.fake_catalog import CATALOG, ENTRY, FakeCatalog


def pick(*entries: Any, project: str = "me-a5") -> Address:
    """`freshest` of these entries."""
    return freshest(json.dumps(entries).encode(), 200, project, CATALOG)


class FreshestTests(SynchronousTestCase):
    """`freshest`: which entry of the catalog is the server."""

    def test_address_and_port_of_the_entry(self) -> None:
        """The host is the address from which the catalog heard the server."""
        self.assertEqual(pick(ENTRY), Address("192.0.2.7", 4444))

    def test_name_if_there_is_no_address(self) -> None:
        """A catalog that gives no address has given a name."""
        entry = {name: value for name, value in ENTRY.items() if name != "address"}
        self.assertEqual(pick(entry), Address("box.example", 4444))

    def test_freshest_of_several(self) -> None:
        """Of several entries of the project the one heard from last counts, wherever it stands."""
        old, new, older = ENTRY | {"port": 1}, ENTRY | {"port": 2, "lastheardfrom": 1001}, ENTRY | {"lastheardfrom": 5}
        self.assertEqual(pick(old, new, older).port, 2)

    def test_other_types_and_projects_are_passed_over(self) -> None:
        """Only entries of type hashtable and of just this project count."""
        others = [ENTRY | {"type": "chirp", "lastheardfrom": 9999}, ENTRY | {"project": "me-a", "lastheardfrom": 9999}]
        self.assertEqual(pick(*others, ENTRY).port, 4444)
        error = self.assertRaises(LookupFailed, pick, *others)
        self.assertIn("me-a5", str(error))
        self.assertIn(str(CATALOG), str(error))

    def test_entries_that_make_no_sense_are_passed_over(self) -> None:
        """Anybody may announce anything: one bad entry hides no good one."""
        bad = [7, None, [], {"type": "hashtable"}]
        bad += [ENTRY | {"port": port} for port in ("4444", 0, 65536, True, None, 1.5)]
        bad += [ENTRY | {"address": 7}, ENTRY | {"lastheardfrom": "now"}, ENTRY | {"project": ["me-a5"]}]
        self.assertEqual(pick(*bad, ENTRY).port, 4444)
        self.assertRaises(LookupFailed, pick, *bad)

    def test_bytes_that_are_not_utf8_hide_no_entry(self) -> None:
        """The catalog passes on what others sent it, whatever the bytes."""
        body = b'[{"owner":"\xff"},' + json.dumps(ENTRY).encode() + b"]"
        self.assertEqual(freshest(body, 200, "me-a5", CATALOG).port, 4444)

    def test_names_that_the_real_catalog_writes_oddly(self) -> None:
        """An apostrophe, and UTF-8 past ASCII, which the real catalog does not write as JSON, hide no entry."""
        body = rb"""[
{"name":"localhost","lastheardfrom":1795426245,"address":"127.0.0.1","type":"hashtable","port":5001,"project":"a\'b"},
{"name":"localhost","lastheardfrom":1795426245,"address":"127.0.0.1","type":"hashtable","port":5002,"project":"a\"b"},
{"name":"localhost","lastheardfrom":1795426245,"address":"127.0.0.1","type":"hashtable","port":5003,"project":"a\\\'"},
{"name":"localhost","lastheardfrom":1795426245,"address":"127.0.0.1","type":"hashtable","port":5005,"project":"\uffffffc3\uffffffbc"}
]"""
        for project, port in (("a'b", 5001), ('a"b', 5002), ("a\\'", 5003), ("ü", 5005)):
            self.assertEqual(freshest(body, 200, project, CATALOG).port, port)

    def test_lines_that_are_not_json_hide_no_other_line(self) -> None:
        """The catalog writes one entry a line: a line that cannot be read costs that entry only."""
        body = b'[\n{"project":"\\x"},\n' + json.dumps(ENTRY).encode() + b',\n{"type":\n]\n'
        self.assertEqual(freshest(body, 200, "me-a5", CATALOG).port, 4444)

    @given(body=st.binary(max_size=60), status=st.sampled_from([200, 404, 500]))
    def test_any_answer_is_an_address_or_a_failed_lookup(self, body: bytes, status: int) -> None:
        """Whatever the catalog answers, nothing but LookupFailed is raised."""
        try:
            freshest(body, status, "me-a5", CATALOG)
        except LookupFailed as error:
            self.assertIn(str(CATALOG), str(error))

    def test_status_other_than_ok(self) -> None:
        """An error page is not searched for entries."""
        body = json.dumps([ENTRY]).encode()
        self.assertIn("503", str(self.assertRaises(LookupFailed, freshest, body, 503, "me-a5", CATALOG)))


class ResolveTests(SynchronousTestCase):
    """`resolve` and `find_server`, over real sockets."""

    def setUp(self) -> None:
        """Start a catalog."""
        self.catalog = FakeCatalog()
        self.addCleanup(self.catalog.stop)

    def test_host_and_port_ask_nobody(self) -> None:
        """A TARGET with a colon is an address, and the catalog is not asked."""
        self.assertEqual(resolve("box:80", self.catalog.address), Endpoint(Address("box", 80)))
        self.assertEqual(self.catalog.paths, [])

    def test_project_is_looked_up(self) -> None:
        """A TARGET without a colon is a project: one GET /query.json tells where it is."""
        self.catalog.list(ENTRY)
        self.assertEqual(resolve("me-a5", self.catalog.address), Endpoint(Address("192.0.2.7", 4444)))
        self.assertEqual(self.catalog.paths, ["/query.json"])

    def test_environment_names_the_catalog(self) -> None:
        """KVSTORE_CATALOG is asked when no catalog is given."""
        self.catalog.list(ENTRY)
        self.patch(os, "environ", {"KVSTORE_CATALOG": self.catalog.address})
        self.assertEqual(find_server("me-a5").port, 4444)

    def test_proxies_of_the_environment_are_not_used(self) -> None:
        """A proxy for the web has nothing to do with the catalog."""
        self.catalog.list(ENTRY)
        self.patch(os, "environ", {"http_proxy": "http://127.0.0.1:1"})
        self.assertEqual(find_server("me-a5", self.catalog.address).port, 4444)

    def test_catalog_that_is_not_there(self) -> None:
        """A refused connection is a failed lookup that names the catalog and the reason."""
        error = self.assertRaises(LookupFailed, find_server, "me-a5", "127.0.0.1:1")
        self.assertIn("127.0.0.1:1", str(error))
        self.assertIn("refused", str(error))

    def test_catalog_that_hangs_up(self) -> None:
        """A connection closed without an answer is a failed lookup."""
        self.assertRaises(LookupFailed, find_server, "me-a5", self.catalog.address)

    def test_mistyped_catalog_is_the_callers_fault(self) -> None:
        """A catalog that is not HOST:PORT raises ValueError, which nobody retries."""
        self.assertRaises(ValueError, find_server, "me-a5", "nowhere")


class DeferredFindServerTests(TestCase):
    """`deferred.find_server`: the same question asked without blocking."""

    def setUp(self) -> None:
        """Start a catalog."""
        self.catalog = FakeCatalog()
        self.addCleanup(self.catalog.stop)

    async def test_project_is_looked_up(self) -> None:
        """It gives the same answer as its blocking sibling."""
        self.catalog.list(ENTRY)
        found = await deferred.find_server(reactor, "me-a5", self.catalog.address)
        self.assertEqual(found, Address("192.0.2.7", 4444))
        self.assertEqual(self.catalog.paths, ["/query.json"])

    async def test_unknown_project(self) -> None:
        """A project that the catalog does not know is a failed lookup."""
        self.catalog.list(ENTRY)
        with self.assertRaises(LookupFailed):
            await deferred.find_server(reactor, "another", self.catalog.address)

    async def test_catalog_that_is_not_there(self) -> None:
        """A refused connection is a failed lookup that names the catalog and the reason."""
        with self.assertRaises(LookupFailed) as caught:
            await deferred.find_server(reactor, "me-a5", "127.0.0.1:1")
        self.assertIn("127.0.0.1:1", str(caught.exception))
        self.assertIn("refused", str(caught.exception))

    async def test_catalog_that_hangs_up(self) -> None:
        """A connection closed without an answer is a failed lookup."""
        with self.assertRaises(LookupFailed):
            await deferred.find_server(reactor, "me-a5", self.catalog.address)
