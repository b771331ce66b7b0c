"""Where etcd is, as people type it."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.address import Address
from kvstore.edge.etcd.location import Location, parse_location
from kvstore.edge.etcd.places import places_of
from tests.kit.certificate import make_certificate


class LocationTests(SynchronousTestCase):
    """etcd:// and etcds://."""

    def test_good(self) -> None:
        """One node, several, with TLS and its files."""
        self.assertEqual(parse_location("etcd://a:1"), Location((Address("a", 1),), None))
        three = (Address("a", 1), Address("::1", 2), Address("c.d", 3))
        self.assertEqual(parse_location("etcd://a:1,[::1]:2,c.d:3/"), Location(three, None))
        self.assertEqual(parse_location("etcd://a:1?quota=77").quota_bytes, 77)
        self.assertEqual(parse_location("etcd://a:1?user=u&password-file=/p%20q").user, ("u", "/p q"))
        self.assertEqual(parse_location("etcds://a:1"), Location((Address("a", 1),), {}))
        files = {"ca": "/x y", "cert": "c", "key": "k"}
        self.assertEqual(parse_location("etcds://a:1?ca=/x%20y&cert=c&key=k"), Location((Address("a", 1),), files))

    def test_bad(self) -> None:
        """Each says what is wrong with it."""
        for text, wrong in {
            "a:1": "give etcd://",
            "http://a:1": "give etcd://",
            "etcd://": "give etcd://",
            "etcd://a": "give etcd://",
            "etcd://a:1,": "give etcd://",
            "etcd://a:1,a:1": "once",
            "etcd://a:1?quota=2G": "as a number",
            "etcd://a:1?quota=0": "as a number",
            "etcd://a:1?ca=x": "leave 'ca' out",
            "etcds://a:1?password=x": "leave 'password' out",
            "etcds://a:1?key=x": "cert=FILE",
            "etcd://a:1?user=x": "together",
            "etcd://a:1?password-file=x": "together",
        }.items():
            self.assertIn(wrong, str(self.assertRaises(ValueError, parse_location, text)))

    def test_places(self) -> None:
        """Have names; files that are not what they are to be, are refused."""
        own = self.mktemp()
        make_certificate(own)
        for text in ("etcd://a:1,b:2", "etcds://a:1,b:2", f"etcds://a:1,b:2?ca={own}&cert={own}"):
            self.assertEqual([place.name for place in places_of(parse_location(text), reactor)], ["a:1", "b:2"])
        for query in ("ca=/nowhere", f"ca={__file__}", f"cert={__file__}", "cert=/nowhere"):
            self.assertRaises(ValueError, places_of, parse_location(f"etcds://a:1?{query}"), reactor)
        login = parse_location("etcd://a:1?user=shop&password-file=/nowhere")
        self.assertIn("password-file=/nowhere", str(self.assertRaises(ValueError, places_of, login, reactor)))
