"""HOST:PORT as people type it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.address import DEFAULT_CATALOG, Address, catalog_address, parse_address


class ParseTests(SynchronousTestCase):
    """`parse_address`."""

    def test_name_and_port(self) -> None:
        """A host name and a port come apart at the colon."""
        self.assertEqual(parse_address("box.example:6380"), Address("box.example", 6380))

    def test_ipv6_in_brackets(self) -> None:
        """An IPv6 address stands in brackets and loses them."""
        self.assertEqual(parse_address("[::1]:6380"), Address("::1", 6380))

    def test_text_of_an_address_parses_back(self) -> None:
        """What an address is shown as is what it is parsed from."""
        for address in (Address("::1", 1), Address("10.0.0.1", 65535), Address("box", 80)):
            self.assertEqual(parse_address(str(address)), address)

    def test_ports_at_their_limits(self) -> None:
        """Ports 1 and 65535 are taken; 0 and 65536 are not."""
        self.assertEqual([parse_address("h:1").port, parse_address("h:65535").port], [1, 65535])
        for text in ("h:0", "h:65536"):
            self.assertRaises(ValueError, parse_address, text)

    def test_anything_else_is_refused(self) -> None:
        """What is not HOST:PORT raises an error that shows it and says what would be right."""
        for text in (
            "",
            ":",
            "box",
            "box:",
            ":6380",
            "box:six",
            "box:+1",
            "box:1_0",
            "::1:6380",
            "[]:80",
            "h:٣",
            "h:999999",
            "a..b:1",
            "x" * 64 + ":1",
        ):
            error = self.assertRaises(ValueError, parse_address, text)
            self.assertIn("HOST:PORT", str(error))
            self.assertIn(repr(text), str(error))


class CatalogAddressTests(SynchronousTestCase):
    """`catalog_address`: which catalog is meant."""

    def test_argument_comes_first(self) -> None:
        """An address given outright wins over the environment."""
        self.assertEqual(catalog_address("a:1", {"KVSTORE_CATALOG": "b:2"}), Address("a", 1))

    def test_then_the_environment(self) -> None:
        """KVSTORE_CATALOG is used when none is given."""
        self.assertEqual(catalog_address(None, {"KVSTORE_CATALOG": "b:2"}), Address("b", 2))

    def test_then_the_default(self) -> None:
        """Without either, and with an empty variable, it is the public catalog."""
        for environment in ({}, {"KVSTORE_CATALOG": ""}):
            self.assertEqual(str(catalog_address(None, environment)), DEFAULT_CATALOG)
