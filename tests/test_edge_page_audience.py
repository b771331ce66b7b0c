"""Server-sent events: their form, how many listen, and who does not read."""

from __future__ import annotations

import json

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.limits import MAX_LISTENERS, MAX_MISSED_EVENTS
from kvstore.edge.http.origins import Origins
from kvstore.edge.http.site import Route, Site
from kvstore.edge.http.visitors import Visitors
from kvstore.edge.page.audience import Audience, event
from tests.kit.edge import ProtocolTestCase
from tests.kit.http import OWN_HOST, Connection, get, request


class EventTests(SynchronousTestCase):
    """One event."""

    def test_form(self) -> None:
        """Whatever text it holds, an event is one line of data and an empty one."""
        told = {"s": "a\r\n\ndata: b\u2028</script>"}
        wire = event(told)
        self.assertEqual((wire[:6], wire[-2:], wire.count(b"\n"), wire.count(b"\r")), (b"data: ", b"\n\n", 2, 0))
        self.assertEqual(json.loads(wire[6:]), told)


class AudienceTests(ProtocolTestCase):
    """Who listens."""

    def setUp(self) -> None:
        """A site with nothing but events."""
        super().setUp()
        self.happened: list[str] = []
        self.audience = Audience(("INFO",), lambda: self.happened.append("begin"), lambda: self.happened.append("end"))
        self.site = Site(Clock(), Origins(), Visitors(self.server), {b"/events": Route(self.audience.join, ("INFO",))})

    def listen(self) -> Connection:
        """One more."""
        connection = Connection(self.site)
        connection.send(request("/events", OWN_HOST))
        return connection

    def tell(self, data: bytes = b"data: 1\n\n") -> None:
        """Tell all."""
        for listener in self.audience.allowed():
            listener.tell(data)

    def test_stream(self) -> None:
        """A listener gets a stream of events, and is told how soon to come again."""
        connection = self.listen()
        self.tell()
        answer = connection.answer()
        self.assertEqual((answer.status, answer.headers["content-type"]), (200, "text/event-stream; charset=utf-8"))
        self.assertIn("retry: 3000\n\n", answer.body)
        self.assertIn("data: 1\n\n", answer.body)

    def test_first_and_last(self) -> None:
        """The first one that comes begins what tells, the last one that leaves ends it."""
        first, second = self.listen(), self.listen()
        self.assertEqual(self.happened, ["begin"])
        first.lose()
        self.assertEqual(self.happened, ["begin"])
        second.lose()
        self.assertEqual((self.happened, self.audience.listeners), (["begin", "end"], {}))

    def test_at_most(self) -> None:
        """One more than may is told so, and when one leaves there is room again."""
        listening = [self.listen() for _ in range(MAX_LISTENERS)]
        refused = self.listen().answer()
        self.assertEqual((refused.status, refused.headers["retry-after"]), (503, "60"))
        listening[0].lose()
        self.assertEqual(self.listen().answer().status, 200)

    def test_rights_taken(self) -> None:
        """Who may not listen any more is told nothing more, and dropped."""
        connection = self.listen()
        self.server.users.set_user(b"default", [b"-info"])
        self.tell()
        self.assertNotIn("data:", connection.answer().body)
        self.assertTrue(connection.transport.disconnected or connection.transport.disconnecting)

    def test_head(self) -> None:
        """HEAD gets no stream."""
        self.assertEqual(get(self.site, "/events", method="HEAD").status, 200)
        self.assertEqual(self.happened, [])

    def test_who_does_not_read(self) -> None:
        """While its socket is full nothing is added for a listener; after some events its connection is closed."""
        connection = self.listen()
        transport: StringTransport = connection.transport
        transport.producer.pauseProducing()
        transport.clear()
        for _ in range(MAX_MISSED_EVENTS - 1):
            self.tell()
        self.assertEqual((transport.value(), transport.disconnecting), (b"", False))
        self.tell()
        self.assertTrue(transport.disconnected or transport.disconnecting)

    def test_who_reads_again(self) -> None:
        """What it missed is not sent later; from then on it is told again."""
        connection = self.listen()
        connection.transport.producer.pauseProducing()
        self.tell(b"data: missed\n\n")
        connection.transport.producer.resumeProducing()
        for number in range(MAX_MISSED_EVENTS):
            self.tell(b"data: %d\n\n" % number)
        body = connection.answer().body
        self.assertNotIn("missed", body)
        self.assertIn(f"data: {MAX_MISSED_EVENTS - 1}\n\n", body)
