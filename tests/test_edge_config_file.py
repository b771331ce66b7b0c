"""--config: from a file to settings, back by CONFIG REWRITE, and again."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.errors import InvalidRequest
from kvstore.commands.acl_file import text_of
from kvstore.commands.configuration import Configuration
from kvstore.commands.context import Server
from kvstore.commands.setting_table import SETTINGS
from kvstore.edge import tap
from kvstore.edge.config_file import ConfigFile
from kvstore.edge.configured_users import lines_of_users, load_users
from kvstore.edge.exits import OwnProcess
from kvstore.edge.settings import Settings
from tests.kit.harness import Rig


class ConfigFileTestCase(SynchronousTestCase):
    """A file."""

    def setUp(self) -> None:
        """It is not there yet."""
        self.path = os.path.abspath(self.mktemp())

    def write(self, *lines: str) -> None:
        """What it holds."""
        Path(self.path).write_text("".join(f"{line}\n" for line in lines))

    def parse(self, *options: str) -> Settings:
        """What a server makes of it."""
        parsed = tap.Options()
        parsed.parseOptions(["--config", self.path, *options])
        return parsed.settings


class ReadTests(ConfigFileTestCase):
    """At the start."""

    def test_options_and_settings(self) -> None:
        """Under Redis's names and those of options; what has no option is a setting of CONFIG."""
        self.write(
            "maxclients 500", "max-json-depth 7", "appendfsync everysec", "loglevel warning", "log-clients yes",
            'requirepass "a b"', "hash-max-ziplist-entries 9", "client-output-buffer-limit pubsub 1mb 0 0",
            "client-output-buffer-limit normal 2kb 1kb 3", "listen unix:/tmp/a", "listen unix:/tmp/b", "maxmemory 1gb",
        )  # fmt: skip
        settings = self.parse()
        self.assertEqual((settings.max_clients, settings.sync, settings.log_level), (500, "everysec", "warn"))
        self.assertEqual((len(settings.listen), settings.log_clients, settings.port), (2, True, None))
        config = Configuration(settings.as_config())
        for name, value in {
            "max-json-depth": "7",
            "requirepass": "a b",
            "hash-max-listpack-entries": "9",
            "maxmemory": str(2**30),
            "client-output-buffer-limit": "normal 2048 1024 3 slave 268435456 67108864 300 pubsub 1048576 0 0",
            "config": self.path,
        }.items():
            self.assertEqual(config.text(name), value, name)

    def test_the_command_line_comes_first(self) -> None:
        """Also if it says what is so without a file."""
        self.write("timeout 5", "max-request-words 20", "listen unix:/tmp/a")
        settings = self.parse("--idle-timeout", "0", "--max-request-words", "30", "--listen", "unix:/tmp/b")
        self.assertEqual((settings.idle_timeout_s, settings.listen), (0, ("unix:/tmp/b:mode=660",)))
        self.assertEqual(settings.as_config()["max-request-words"], "30")

    def test_what_is_so_anyway(self) -> None:
        """A file may say what cannot be otherwise."""
        self.write(
            "bind 127.0.0.1 -::1", "appendonly yes", "daemonize no", 'save ""', 'logfile ""', "protected-mode yes"
        )
        self.assertEqual(self.parse(), self.parse())
        self.assertFalse(self.parse().insecure)

    def test_bad_lines(self) -> None:
        """Refused with file, line and reason."""
        for line, reason in (
            ("maxclients 0", "'maxclients 0': give a whole number from 1 to "),
            ("max-json-depth x", "argument couldn't be parsed into an integer"),
            ("hz x", "argument couldn't be parsed into an integer"),
            ("appendonly no", "every change is in the log before its reply"),
            ("daemonize yes", "it can be nothing but 'no' here"),
            ("bind 0.0.0.0", "it can be nothing but '' here"),
            ("listen pigeon:1", "Unknown endpoint type"),
            ("protected-mode maybe", "argument must be 'yes' or 'no'"),
            ("nosuch 1", "there is no such setting"),
            ("config /f", "there is no such setting"),
            ("timeout", "its value is missing"),
            ("requirepass a b", "'requirepass': wrong number of arguments"),
            ("requirepass a # which is long", "wrong number of arguments"),
            ("maxclients 500 600", "'maxclients 500 600': wrong number of arguments"),
            ("max-clients 500 600", "wrong number of arguments"),
            ("listen unix:/tmp/a unix:/tmp/b", "wrong number of arguments"),
            ("log-clients yes no", "wrong number of arguments"),
            ("protected-mode yes no", "wrong number of arguments"),
            ("daemonize no no", "wrong number of arguments"),
            ("client-output-buffer-limit pubsub 1mb 0", "Wrong number of arguments in buffer limit configuration."),
            ("latency-tracking-info-percentiles 50 x", "Invalid latency-tracking-info-percentiles parameters"),
            ('requirepass "a', "unbalanced quotes"),
            ("nosuch a b", "there is no such setting"),
            ("user", "its value is missing"),
            ("user fred on >secret >secret2 sideways", "'user': Error in user declaration 'fred': Syntax error."),
            ("user fred (+get", "Unmatched parenthesis"),
            ("user fred +nosuch", "Unknown command or category name in ACL"),
            ('user "a b" on', "Usernames can't contain spaces or null characters"),
            ("user fred\nuser fred", "line 3: 'user': Duplicate user found."),
        ):
            self.write("# first", line)
            error = str(self.assertRaises(usage.UsageError, self.parse))
            self.assertTrue(error.startswith(f"--config {self.path!r}, line "), error)
            self.assertIn(", line 2: " if "\n" not in line else ", line 3: ", error)
            self.assertIn(reason, error)

    def test_several_words(self) -> None:
        """Where there may be some, they stand apart or in one pair of quotes; a value with blanks is one in quotes."""
        for line in (
            "latency-tracking-info-percentiles 50 99.9", 'latency-tracking-info-percentiles "50 99.9"',
            "latency-tracking-info-percentiles '50' 99.9", "LATENCY-tracking-info-percentiles\t50   99.9 \r",
        ):  # fmt: skip
            self.write(line, "requirepass 'a b'", 'save ""')
            config = Configuration(self.parse().as_config())
            self.assertEqual(config.text("latency-tracking-info-percentiles"), "50 99.9", line)
            self.assertEqual(config.text("requirepass"), "a b")

    def test_no_password_is_told(self) -> None:
        """Errors go to a log: of what may be a password they show nothing."""
        for line in (
            'requirepass "hunter2',
            "requirepas hunter2",
            "requirepass a hunter2",
            "user app on >hunter2 sideways",
            "tls-key-file-pass hunter2",
        ):
            self.write(line)
            self.assertNotIn("hunter2", str(self.assertRaises(usage.UsageError, self.parse)))

    def test_no_file(self) -> None:
        """It has to be there."""
        self.assertIn("there is no such file", str(self.assertRaises(usage.UsageError, self.parse)))

    def test_strangers(self) -> None:
        """Are kept out of what a file opens, too, unless it names a password, or says that it is meant so."""
        self.write("listen tcp:6380")
        self.assertIn("anybody who can reach", str(self.assertRaises(usage.UsageError, self.parse)))
        self.write("listen tcp:6380", "requirepass secret")
        self.assertEqual(self.parse().listen, ("tcp:6380",))
        self.write("listen tcp:6380", "protected-mode no")
        self.assertTrue(self.parse().insecure)


class UserTests(ConfigFileTestCase):
    """Users, in the file and back in it."""

    def started(self, *options: str) -> Server:
        """A server, as far as it knows users, that was started with the file."""
        settings = self.parse(*options)
        server = Server(Rig().store, lambda: 0, settings.as_config(), "0" * 40)
        load_users(server, settings, OwnProcess(lambda: None))
        return server

    def rewrite(self, server: Server, *options: str) -> list[str]:
        """The lines after CONFIG REWRITE."""
        ConfigFile(self.path).rewrite(server.configuration, lines_of_users(server, self.parse(*options)))
        return Path(self.path).read_text().splitlines()

    def test_round_trip(self) -> None:
        """All that ACL LIST tells is there after the next start; who is gone has no line; the default user has none
        while it is as it is without one.
        """
        self.write(
            "# mine", "user wilma off", "hz 20", 'USER fred on ">with blanks" "~a\'b" (~c +get)', "user barney on"
        )
        server = self.started()
        self.assertEqual([user.name for user in server.users], [b"barney", b"default", b"fred", b"wilma"])
        server.users.authenticate(b"fred", b"with blanks")
        server.users.delete(b"barney")
        for rules in ([], [b"resetkeys", b"~\xff\"'\\x"], [b"resetpass", b">x", b"-@all"]):
            server.users.set_user(b"default", rules)
            lines = self.rewrite(server)
            self.assertEqual([line.split()[:2] for line in lines if line.startswith("user ")],
                             [["user", "default"], ["user", "fred"], ["user", "wilma"]][not rules :])  # fmt: skip
            self.assertEqual(lines[0], "# mine")
            again = self.started()
            self.assertEqual(text_of(again.users), text_of(server.users))
            self.assertEqual(self.rewrite(again), lines)

    def test_the_password_of_the_default_user(self) -> None:
        """A line of it comes before requirepass, --password-file before that; without one nothing contradicts them."""
        self.write("requirepass one")
        self.assertEqual(self.rewrite(self.started()), ["requirepass one"])
        self.write("requirepass one", "user default on >two ~* +@all")
        self.started().users.authenticate(b"default", b"two")
        with open(os.open(self.path + "-password", os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
            file.write(b"three")
        options = ("--password-file", self.path + "-password")
        self.started(*options).users.authenticate(b"default", b"three")
        self.write("# nothing")
        self.assertEqual(self.rewrite(self.started(*options), *options), ["# nothing"])

    def test_a_file_of_users(self) -> None:
        """One place for users: both are refused; of those in a file of their own this one gets no line."""
        Path(self.path + "-users").write_text("user fred on nopass\n")
        options = ("--acl-file", self.path + "-users")
        self.write("user wilma on")
        self.assertIn("tells of users, too", str(self.assertRaises(usage.UsageError, self.parse, *options)))
        self.write("# nothing")
        self.assertEqual(self.rewrite(self.started(*options), *options), ["# nothing"])


class RoundTripTests(ConfigFileTestCase):
    """CONFIG REWRITE, and a start."""

    def started(self) -> Configuration:
        """What a server that is started with the file has."""
        return Configuration(self.parse().as_config())

    def test_every_setting(self) -> None:
        """Whatever can be set is there after the next start, and nothing else is written."""
        self.write("# mine", "maxclients 500")
        configuration = self.started()
        wanted = {}
        for name, row in SETTINGS.items():
            if name == "max-input-bytes":  # has to fit another
                continue
            for text in ("1", "yes", "no", "2mb", "20", "300", "allkeys-lru", "warning", "KEA", "pubsub 3 2 1", "50"):
                try:
                    configuration.set([(name.encode(), text.encode())])
                except InvalidRequest:
                    continue
                if configuration.text(name) != row.default:
                    wanted[name] = configuration.text(name)
                    break
        self.assertGreater(len(wanted), 60)
        ConfigFile(self.path).rewrite(configuration)
        again = self.started()
        self.assertEqual({name: again.text(name) for name in wanted}, wanted)
        lines = Path(self.path).read_text().splitlines()
        self.assertEqual(lines[:1], ["# mine"])
        self.assertEqual(len(lines), 2 + len(wanted))

    def test_set_back(self) -> None:
        """What was set, written and set back is written back, too."""
        self.write("# mine")
        configuration = self.started()
        for value in (b"20", b"10"):
            configuration.set([(b"hz", value)])
            ConfigFile(self.path).rewrite(configuration)
            self.assertEqual(self.started().text("hz"), value.decode())

    def test_its_mode_stays(self) -> None:
        """It may hold a password."""
        self.write("requirepass secret")
        os.chmod(self.path, 0o600)
        configuration = self.started()
        configuration.set([(b"requirepass", b"other")])
        ConfigFile(self.path).rewrite(configuration)
        self.assertEqual(Path(self.path).read_text(), "requirepass other\n")
        self.assertEqual(os.stat(self.path).st_mode & 0o777, 0o600)

    def test_gone(self) -> None:
        """A file that is not there any more is not made: it would lack what it said, such as a password."""
        self.write("requirepass secret")
        configuration = self.started()
        os.remove(self.path)
        configuration.set([(b"hz", b"20")])
        self.assertRaises(FileNotFoundError, ConfigFile(self.path).rewrite, configuration)
        self.assertFalse(os.path.exists(self.path))

    def test_cannot_be_written(self) -> None:
        """The old one stays."""
        file = ConfigFile(os.path.join(self.path, "nowhere"))
        self.assertRaises(OSError, file.rewrite, Configuration({}))
