"""The settings: what CONFIG GET shows, what CONFIG SET takes and refuses; beside a real Valkey, setting by setting."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.errors import InvalidRequest
from kvstore.commands.configuration import Configuration
from kvstore.commands.setting_table import ALIASES, HIDDEN, IMMUTABLE, OWN, SETTINGS
from tests.kit.valkey import ValkeyTestCase

#: What may be tried of any setting: right, wrong and nearly right for each kind.
_TEXTS = [
    "0", "1", "-1", "5", "64", "65", "100", "101", "007", "+5", "1kb", "1k", "2MB", "1gb", "1tb", "kb", "0x10", "", "x",
    "99999999999gb", "2147483647", "2147483648", "-2147483648", "-2147483649", "9223372036854775807", "yes", "YES",
    "no", "9223372036854775808", "18446744073709551616", "allkeys-lfu", "NOEVICTION",
]  # fmt: skip


def failed(name: str, reason: str) -> str:
    """The error of a CONFIG SET that cannot be."""
    return f"ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}"


def attempt(configuration: Configuration, name: str, text: str) -> str:
    """Set one setting; returns the error, or what it is then."""
    try:
        configuration.set([(name.encode(), text.encode())])
    except InvalidRequest as error:
        return str(error)
    return configuration.text(name)


class ConfigurationTests(SynchronousTestCase):
    """One server's."""

    def setUp(self) -> None:
        """One that was started with a few options."""
        self.configuration = Configuration({"port": "7", "overlap": "auto", "appendfsync": "no"})

    def change(self, *words: str) -> None:
        """Set several."""
        encoded = [word.encode() for word in words]
        self.configuration.set(list(zip(encoded[::2], encoded[1::2], strict=True)))

    def test_what_the_server_was_started_with(self) -> None:
        """Options stand in the place of defaults, and beside them."""
        shown = self.configuration.matching([b"port", b"overlap", b"appendfsync", b"hz"])
        self.assertEqual(shown, {"port": "7", "overlap": "auto", "appendfsync": "no", "hz": "10"})
        self.assertEqual(self.configuration.number("port"), 7)

    def test_patterns(self) -> None:
        """In any case of letters; a plain name comes back as it was written, a setting comes once."""
        self.assertEqual(self.configuration.matching([b"Hz", b"h?", b"HZ", b"x"]), {"Hz": "10"})
        self.assertEqual(list(self.configuration.matching([b"HASH-max-*-VALUE"])),
                         ["hash-max-listpack-value", "hash-max-ziplist-value"])  # fmt: skip
        shown = {*SETTINGS, *ALIASES, "overlap"} - HIDDEN
        self.assertEqual(set(self.configuration.matching([b"*"])), shown)
        self.assertEqual(self.configuration.matching([b"key-load-delay"]), {"key-load-delay": "0"})

    def test_all_or_nothing(self) -> None:
        """Of several, one that cannot be leaves the others as they were."""
        error = self.assertRaises(InvalidRequest, self.change, "hz", "20", "timeout", "x")
        self.assertEqual(str(error), failed("timeout", "argument couldn't be parsed into an integer"))
        self.assertEqual(self.configuration.text("hz"), "10")
        self.change("hz", "20", "timeout", "5")
        self.assertEqual((self.configuration.number("hz"), self.configuration.number("timeout")), (20, 5))

    def test_refused(self) -> None:
        """The first that is not there, or not to be changed, or named twice, is told of before any value is."""
        for words, told in {
            "hz x nosuch 1": "ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'",
            "hz x Daemonize no nosuch 1": failed("Daemonize", IMMUTABLE),
            "hz 1 HZ 2": failed("HZ", "duplicate parameter"),
            "overlap never": failed("overlap", IMMUTABLE),
            "port 7": failed("port", IMMUTABLE),
        }.items():
            self.assertEqual(str(self.assertRaises(InvalidRequest, self.change, *words.split())), told)
        self.change("hash-max-listpack-value", "1", "hash-max-ziplist-value", "2")  # as Valkey: two names
        self.assertEqual(self.configuration.text("hash-max-listpack-value"), "2")

    def test_held(self) -> None:
        """What cannot be otherwise is taken as it is, else the reason is told; a wrong value is wrong first."""
        self.change("save", "", "appendonly", "YES", "maxmemory-clients", "0", "appendfsync", "no")
        self.assertIn("--sync", attempt(self.configuration, "appendfsync", "always"))
        self.assertIn("argument must be 'yes' or 'no'", attempt(self.configuration, "appendonly", "x"))

    def test_checks(self) -> None:
        """What only others know may forbid a value, too."""

        def check(text: str) -> None:
            raise ValueError(f"not {text}")

        applied: list[str] = []
        self.configuration.obey("maxclients", applied.append)
        self.configuration.checks["maxclients"] = check
        self.assertEqual(attempt(self.configuration, "maxclients", "5"), failed("maxclients", "not 5"))
        self.assertEqual(self.configuration.text("maxclients"), "10000")
        self.assertEqual(applied, ["10000"])

    def test_obeyed(self) -> None:
        """Whoever obeys a setting is told of it at once, and of each new value, as CONFIG GET shows it."""
        told: list[str] = []
        for _ in range(2):
            self.configuration.obey("maxmemory", told.append)
        self.change("maxmemory", "1kb", "timeout", "8")
        self.assertEqual(told, ["0", "0", "1024", "1024"])


class AgainstValkeyTests(ValkeyTestCase):
    """The same requests to both."""

    def setUp(self) -> None:
        """A client of Valkey, and settings of our own."""
        super().setUp()
        self.theirs = self.valkey.connect()
        self.addCleanup(self.theirs.close)
        self.configuration = Configuration({})

    def ask(self, *words: str) -> object:
        """What Valkey answers, errors as text."""
        reply = self.theirs.ask([b"CONFIG", *(word.encode() for word in words)])[1]
        return str(reply) if isinstance(reply, Exception) else reply

    def test_names(self) -> None:
        """There are those of Valkey, and no others; both names of a setting show the same."""
        theirs = self.ask("GET", "*")
        assert isinstance(theirs, list)
        self.assertEqual({name.decode() for name in theirs[::2]}, {*SETTINGS, *ALIASES} - HIDDEN - OWN)
        for alias, name in ALIASES.items():
            self.assertIn(name, SETTINGS)
            self.assertEqual(self.configuration.text(alias), self.configuration.text(name))

    def test_values(self) -> None:
        """Each setting that can change takes and refuses what Valkey's does, and shows it so; defaults are the same."""
        for name, row in SETTINGS.items():
            if row.refusal or name in (*OWN, "maxclients", "hz", "maxmemory"):  # these Valkey makes smaller
                continue
            if name in ("proto-max-bulk-len", "client-output-buffer-limit"):  # other bounds and defaults
                continue
            if name != "commandlog-execution-slower-than":  # off here at first
                self.assertEqual(self.ask("GET", name), [name.encode(), row.default.encode()])
            for text in _TEXTS:
                ours, theirs = attempt(self.configuration, name, text), self.ask("SET", name, text)
                if theirs == b"OK":
                    theirs = self.ask("GET", name)
                    assert isinstance(theirs, list)
                    theirs = theirs[1].decode()
                self.assertEqual(ours, theirs, (name, text))

    def test_output_limits(self) -> None:
        """Some classes are set and the others stay; what is wrong is told in the same words."""
        name = "client-output-buffer-limit"
        for text in (
            "normal 5mb 1k 3 slave 0 0 0 pubsub 1 2 3", "pubsub 9 8 7", "Replica 1gb 0 1 NORMAL 0 0 0", "",
            "normal 1 2", "master 1 1 1", "normal x 1 1", "normal 1 1 -1", "normal 1 1 x", "pubsub 1 1 1 pubsub 2 2 2",
        ):  # fmt: skip
            ours, theirs = attempt(self.configuration, name, text), self.ask("SET", name, text)
            if theirs == b"OK":
                theirs = self.ask("GET", name)
                assert isinstance(theirs, list)
                theirs = theirs[1].decode()
            self.assertEqual(ours, theirs, text)

    def test_refusals(self) -> None:
        """What cannot change there can not here, in the same words; the first thing wrong is the same."""
        for words in ("daemonize yes", "unixsocket x", "cluster-enabled yes", "nosuch 1", "hz 1 hz 2", "hz x",
                      "hz 20 nosuch 1 daemonize no", "Timeout x", "DATABASES 3", "appendonly x"):  # fmt: skip
            pairs = [word.encode() for word in words.split()]
            error = self.assertRaises(
                InvalidRequest, self.configuration.set, list(zip(pairs[::2], pairs[1::2], strict=True))
            )
            self.assertEqual(str(error), self.ask("SET", *words.split()))
