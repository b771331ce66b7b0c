"""The command line: every option with good values, bad ones and at its limits; what twistd's user sees of an error."""

from __future__ import annotations

import getpass
import os
import signal
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.application.service import IServiceMaker, Service
from twisted.internet import reactor
from twisted.plugin import IPlugin
from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base import limits
from kvstore.base.address import CATALOG_VARIABLE, Address
from kvstore.base.limits import MAX_PASSWORD_BYTES
from kvstore.commands.configuration import Configuration
from kvstore.edge import tap
from kvstore.edge.option_rows import ROWS
from kvstore.edge.settings import GroupSettings, Settings
from tests.kit.certificate import make_certificate

ROOT = Path(__file__).resolve().parent.parent
MOST = 2**31 - 1


def parse(*words: str) -> Settings:
    """The settings that a command line comes to."""
    options = tap.Options()
    options.parseOptions(list(words))
    return options.settings


def write_private(path: str, content: bytes, mode: int) -> None:
    """Make a file that has these permissions."""
    Path(path).unlink(missing_ok=True)
    Path(path).write_bytes(content)
    os.chmod(path, mode)


class OptionsTestCase(SynchronousTestCase):
    """A test case whose environment names no catalog."""

    def setUp(self) -> None:
        """Take the catalog out of the environment; it comes back after the test."""
        environment = {name: text for name, text in os.environ.items() if name != CATALOG_VARIABLE}
        patcher = mock.patch.dict(os.environ, environment, clear=True)
        patcher.start()
        self.addCleanup(patcher.stop)

    def refusal(self, *words: str) -> str:
        """The one line that a bad command line is answered with."""
        error = str(self.assertRaises(usage.UsageError, parse, *words))
        self.assertEqual(error.splitlines(), [error])
        return error

    def assert_range(self, option: str, setting: str, least: int, most: int) -> None:
        """An option takes its least and its most; one below and one above are refused, and the range is named."""
        for value in (least, most):
            self.assertEqual(getattr(parse(option, str(value)), setting), value)
        for value in (least - 1, most + 1):
            error = self.refusal(f"{option}={value}")
            self.assertTrue(error.startswith(f"{option} '{value}': give a "), error)
            self.assertIn(f"from {least} to {most}", error)


class GroupOptionsTests(OptionsTestCase):
    """Those of a group."""

    WORDS = ("--group", "shop", "--log", "etcd://a:2379,b:2379", "--advertise", "a:6380")

    def test_a_group(self) -> None:
        """Its settings; the local log is synced once a second, since the shared one has what is acknowledged."""
        settings = parse(*self.WORDS, "--reads", "quorum", "--lease-ms", "500")
        self.assertEqual(settings.group, GroupSettings(
            name="shop", log="etcd://a:2379,b:2379", advertise=Address("a", 6380), lease_ms=500, reads="quorum",
        ))  # fmt: skip
        self.assertEqual((settings.sync, parse().group), ("everysec", None))

    def test_a_group_of_a_cluster(self) -> None:
        """It has slots, and one database."""
        settings = parse(*self.WORDS, "--slots", "0-99,200")
        assert settings.group is not None
        self.assertEqual((str(settings.group.slots), settings.databases), ("0-99,200", 1))
        self.assertEqual(settings.as_config()["cluster-enabled"], "yes")
        self.assertIn("--slots '0-5': that is of a group", self.refusal("--slots", "0-5"))
        self.assertIn("--slots '5-0': give slots as 0-5460", self.refusal(*self.WORDS, "--slots", "5-0"))

    def test_a_group_over_tls(self) -> None:
        """The address says so, as a client's does; its name has nothing of it, and CONFIG shows it."""
        own = self.mktemp()
        make_certificate(own)
        words = (*self.WORDS[:-1], "tls:a:6380")
        group = parse(*words, "--node-ca", own).group
        assert group is not None
        self.assertEqual((group.advertise, group.over_tls), (Address("a", 6380), True))
        self.assertEqual(group.node_ca_path, os.path.abspath(own))
        self.assertEqual(parse(*words).as_config()["advertise"], "tls:a:6380")
        self.assertIn("give HOST:PORT", self.refusal(*self.WORDS[:-1], "tls:6380"))
        self.assertIn("no server is reached over TLS", self.refusal(*self.WORDS, "--node-ca", own))
        self.assertIn("give a file of certificates", self.refusal(*words, "--node-ca", __file__))
        self.assertIn("that is of a group", self.refusal("--node-ca", own))

    def test_ports_that_all_speak_tls(self) -> None:
        """Then nobody could fetch from an address without."""
        own = self.mktemp()
        make_certificate(own)
        tls = ("--listen", f"ssl:6380:privateKey={own}", "--listen", "unix:socket")
        self.assertIn("all ports speak TLS; give tls:HOST:PORT", self.refusal(*self.WORDS, *tls))
        parse(*self.WORDS, *tls, "--port", "6381")
        parse(*self.WORDS, *tls, "--listen", "tcp:6382:interface=127.0.0.1")
        parse(*self.WORDS[:-1], "tls:a:6380", *tls)
        parse(*self.WORDS[:-1], "tls:a:6380")  # a proxy in front of it may speak TLS

    def test_what_is_missing_or_does_not_go_together(self) -> None:
        """One line that says what to give, or to leave out."""
        self.assertIn("--group 'shop': a group has --log", self.refusal(*self.WORDS[:2]))
        self.assertIn("a group has --advertise", self.refusal(*self.WORDS[:4]))
        self.assertIn("--reads 'quorum': that is of a group", self.refusal("--reads", "quorum"))
        self.assertIn("--sync 'no': in a group", self.refusal(*self.WORDS, "--sync", "no"))
        self.assertIn("--group-limit '5'", self.refusal(*self.WORDS, "--group-limit", "5"))
        self.assertIn("--advertise 'bücher:6380': give the host's", self.refusal(*self.WORDS[:-1], "bücher:6380"))
        self.assertIn("--group 'a b'", self.refusal("--group", "a b"))
        self.assertIn("--log 'redis://a:1'", self.refusal("--log", "redis://a:1"))


class ValueTests(OptionsTestCase):
    """Each option by itself."""

    def test_defaults(self) -> None:
        """No option at all is a complete, valid command line."""
        with mock.patch.object(getpass, "getuser", lambda: "ada"):
            settings = parse()
        self.assertEqual(settings, Settings(data_path=os.path.abspath("kvstore-data"), owner="ada"))

    def test_number_ranges(self) -> None:
        """Every option that takes a number is right at both ends of its range."""
        self.assert_range("--port", "port", 0, 65535)
        self.assert_range("--compact-after", "compact_after_entries", 0, MOST)
        self.assert_range("--group-limit", "group_limit", 0, MOST)
        self.assert_range("--max-clients", "max_clients", 1, limits.MOST_CLIENTS)
        self.assert_range("--idle-timeout", "idle_timeout_s", 0, MOST)
        self.assert_range("--client-share-ms", "client_share_ms", 1, limits.MOST_CLIENT_SHARE_MS)
        self.assert_range("--script-ms", "script_ms", 1, limits.MOST_SCRIPT_MS)

    def test_ranges_of_settings(self) -> None:
        """So are those that are settings of CONFIG, too, which say what may be in Redis's words."""
        for option, least, most in (
            ("max-clients-per-address", 0, limits.MOST_CLIENTS),
            ("authentication-timeout", 0, MOST),
            ("max-request-words", limits.LEAST_REQUEST_WORDS, limits.MAX_REQUEST_ELEMENTS),
            ("max-transaction-bytes", 1, limits.MOST_BUFFERED_BYTES),
            ("max-subscription-bytes", 1, limits.MOST_BUFFERED_BYTES),
            ("max-json-depth", 1, limits.MAX_JSON_DEPTH),
            ("script-memory-bytes", limits.LEAST_SCRIPT_MEMORY_BYTES, limits.MOST_SCRIPT_MEMORY_BYTES),
        ):
            for value in (least, most):
                config = Configuration(parse(f"--{option}", str(value)).as_config())
                self.assertEqual(config.text(option), str(value), option)
            for value in (least - 1, most + 1):
                told = f"argument must be between {least} and {most} inclusive"
                self.assertIn("argument must be" if value < 0 else told, self.refusal(f"--{option}={value}"))

    def test_clients_of_one_address(self) -> None:
        """Half of all, unless it is told; what is usual may be told, too."""
        for options, wanted in ((), "5000"), (("--max-clients=500",), "250"), (
            ("--max-clients=500", "--max-clients-per-address=5000"), "5000"
        ):  # fmt: skip
            self.assertEqual(parse(*options).as_config()["max-clients-per-address"], wanted)

    def test_byte_ranges(self) -> None:
        """Every option that takes a number of bytes is right at both ends of its range."""
        self.assert_range(
            "--max-request-bytes", "max_request_bytes", limits.LEAST_REQUEST_BYTES, limits.MOST_REQUEST_BYTES
        )
        drop = parse("--pause-reading-bytes", "1", "--drop-client-bytes", "1")
        self.assertEqual((drop.pause_reading_bytes, drop.drop_client_bytes), (1, 1))
        most = str(limits.MOST_BUFFERED_BYTES)
        both = parse("--pause-reading-bytes", most, "--drop-client-bytes", most)
        self.assertEqual((both.pause_reading_bytes, both.drop_client_bytes), (limits.MOST_BUFFERED_BYTES,) * 2)
        for option in ("--pause-reading-bytes", "--drop-client-bytes"):
            for value in (0, limits.MOST_BUFFERED_BYTES + 1):
                self.assertIn(f"from 1 to {most}", self.refusal(option, str(value)))

    def test_bytes_take_units(self) -> None:
        """The three options in bytes take redis.conf's units."""
        settings = parse("--max-request-bytes=2mb", "--pause-reading-bytes=3k", "--drop-client-bytes=1gb")
        self.assertEqual(settings.max_request_bytes, 2 * limits.MIB)
        self.assertEqual(settings.pause_reading_bytes, 3000)
        self.assertEqual(settings.drop_client_bytes, 1024 * limits.MIB)

    def test_sync(self) -> None:
        """Each policy is taken; anything else is told the three."""
        self.assertEqual(
            [parse("--sync", text).sync for text in ("always", "everysec", "no")], ["always", "everysec", "no"]
        )
        self.assertEqual(self.refusal("--sync", "often"), "--sync 'often': give always, everysec or no")

    def test_debugging(self) -> None:
        """Each policy is taken, no is the default; anything else is told the three."""
        option = "--enable-debug-command"
        self.assertEqual([parse(option, text).debugging for text in ("no", "local", "yes")], ["no", "local", "yes"])
        self.assertEqual(parse().as_config()["enable-debug-command"], "no")
        self.assertEqual(self.refusal(option, "on"), f"{option} 'on': give no, local or yes")

    def test_overlap(self) -> None:
        """Each policy is taken; anything else is told the three."""
        self.assertEqual([parse("--overlap", text).overlap for text in ("auto", "always", "never")],
                         ["auto", "always", "never"])  # fmt: skip
        self.assertEqual(self.refusal("--overlap", "often"), "--overlap 'often': give auto, always or never")

    def test_data(self) -> None:
        """The data directory becomes absolute, and is not made yet; a file is refused."""
        name = self.mktemp()
        self.assertEqual(parse("--data", name).data_path, os.path.abspath(name))
        self.assertFalse(os.path.exists(name))
        self.assertIn("is not a directory", self.refusal("--data", __file__))
        self.assertEqual(self.refusal("--data", ""), "--data '': give the name of a directory")

    def test_trace(self) -> None:
        """The trace file becomes absolute, and is not made yet; its directory must be there."""
        self.assertEqual(parse("--trace", "a-trace").trace_path, os.path.abspath("a-trace"))
        self.assertFalse(os.path.exists("a-trace"))
        self.assertIn("there is no directory", self.refusal("--trace", os.path.join(self.mktemp(), "trace")))

    def test_clients_in_the_log(self) -> None:
        """On demand only."""
        self.assertEqual((parse().log_clients, parse("--log-clients").log_clients), (False, True))

    def test_log(self) -> None:
        """Each format and level is taken, and anything else told all; the file becomes absolute, and is not made."""
        for option, setting, names in (
            ("--log-format", "log_format", ("text", "json")),
            ("--log-level", "log_level", ("debug", "info", "warn", "error")),
        ):  # fmt: skip
            self.assertEqual([getattr(parse(option, name), setting) for name in names], list(names))
            self.assertTrue(self.refusal(option, "x").startswith(f"{option} 'x': give {names[0]}"))
        self.assertEqual(parse("--log-file", "a-log").log_path, os.path.abspath("a-log"))
        self.assertFalse(os.path.exists("a-log"))
        self.assertIn("this is a file of --data", self.refusal("--data", ".", "--log-file", "log"))
        config = parse("--log-level=error", "--log-file=l").as_config()
        self.assertEqual((config["loglevel"], config["logfile"]), ("nothing", os.path.abspath("l")))

    def test_announcement(self) -> None:
        """Project, owner and catalog are taken together."""
        settings = parse("--project", "me-a5", "--owner", "me", "--catalog", "[::1]:9097")
        self.assertEqual((settings.project, settings.owner, settings.catalog), ("me-a5", "me", ("::1", 9097)))

    def test_announcement_refusals(self) -> None:
        """A bad name or address is refused, and so are owner and catalog of nothing."""
        self.assertIn("give a name", self.refusal("--project", "a:1"))
        self.assertIn("give a name", self.refusal("--project", "a", "--owner", ""))
        self.assertIn("give HOST:PORT", self.refusal("--project", "a", "--catalog", "localhost"))
        for option, text in (("--owner", "me"), ("--catalog", "h:1")):
            self.assertIn("nothing is announced without --project", self.refusal(option, text))

    def test_catalog_of_the_environment(self) -> None:
        """The environment's catalog is used, and checked, only if something is announced and no option names one."""
        os.environ[CATALOG_VARIABLE] = "here:1"
        self.assertEqual(parse("--project", "a").catalog, ("here", 1))
        self.assertEqual(parse("--project", "a", "--catalog", "there:2").catalog, ("there", 2))
        os.environ[CATALOG_VARIABLE] = "nonsense"
        self.assertIn(f"{CATALOG_VARIABLE} 'nonsense': give HOST:PORT", self.refusal("--project", "a"))
        self.assertIsNone(parse().project)
        os.environ[CATALOG_VARIABLE] = ""
        self.assertEqual(parse("--project", "a").catalog, ("catalog.cse.nd.edu", 9097))

    def test_owner_without_a_login_name(self) -> None:
        """A user number without a name, as in many containers, is itself the owner."""
        for error in (KeyError("no such user"), OSError("no username set")):
            with mock.patch.object(getpass, "getuser", side_effect=error):
                self.assertEqual(parse().owner, str(os.getuid()))


class ListenTests(OptionsTestCase):
    """Where to listen: the port and the endpoints."""

    def test_endpoints_replace_the_default_port(self) -> None:
        """With endpoints only they are listened on, in the order given."""
        settings = parse("--listen", "unix:/tmp/s", "--listen", "tcp:0:interface=127.0.0.1")
        self.assertEqual(settings.listen, ("unix:/tmp/s:mode=660", "tcp:0:interface=127.0.0.1"))
        self.assertIsNone(settings.port)

    def test_endpoints_besides_a_port(self) -> None:
        """A port that was given stays, even if it is the default one."""
        self.assertEqual(parse("--port", "6380", "--listen", "unix:/tmp/s").port, 6380)

    def test_two_command_lines_share_nothing(self) -> None:
        """The endpoints of one Options are not those of the next."""
        parse("--listen", "tcp:1", "--insecure")
        self.assertEqual(parse().listen, ())

    def test_endpoints_are_parsed(self) -> None:
        """What Twisted cannot parse is refused, with Twisted's reason."""
        for text, reason in (
            ("", "Unknown endpoint type: ''"),
            ("pigeon:1", "Unknown endpoint type: 'pigeon'"),
            ("tcp", "(missing 1 required positional argument: 'port')"),
            ("tcp:x", "invalid literal"),
            ("tcp:1:colour=red", "colour"),
            ("unix:/tmp/s:mode=rw", "invalid literal"),
            ("ssl:1:privateKey=/nowhere.pem", "No such file"),
            ("systemd:domain=INET:index=99", "out of range"),
        ):
            error = self.refusal("--listen", text)
            self.assertIn(f"--listen {text!r}: ", error)
            self.assertIn(reason, error)
            self.assertTrue(error.endswith("give one such as tcp:6380"), error)

    def test_endpoint_ports(self) -> None:
        """An endpoint's port is checked here, since Twisted would only do so when it binds."""
        for kind in ("tcp", "tcp6"):
            self.assertEqual(parse("--listen", f"{kind}:65535", "--insecure").listen, (f"{kind}:65535",))
            self.assertIn("the port must be from 0 to 65535", self.refusal("--listen", f"{kind}:65536"))

    def test_http(self) -> None:
        """A port is that of this machine; anything else an endpoint, checked as others are; names belong to it."""
        self.assertEqual(parse("--http", "8081").http, "tcp:8081:interface=127.0.0.1")
        self.assertEqual(parse("--http", "unix:/tmp/s").http, "unix:/tmp/s:mode=660")
        self.assertEqual(parse("--http", "0", "--http-host", "A.b", "--http-host", "c").http_hosts, ("a.b", "c"))
        self.assertIn("give one such as tcp:6380", self.refusal("--http", "pigeon:1"))
        self.assertIn("from 0 to 65535", self.refusal("--http", "65536"))
        for name in ("", "a:1", "http://a", "a b", "user@a"):
            self.assertIn("without a port", self.refusal("--http", "0", "--http-host", name))
        self.assertIn("give that too", self.refusal("--http-host", "a"))
        self.assertIn("--insecure listens all the same", self.refusal("--http", "tcp:8081"))
        self.assertEqual(parse("--http", "tcp:8081", "--insecure").http, "tcp:8081")

    def test_nothing_is_bound(self) -> None:
        """Checking an endpoint leaves no socket behind."""
        path = self.mktemp()
        parse("--listen", f"unix:{path}")
        self.assertFalse(os.path.exists(path))

    def test_strangers(self) -> None:
        """Where anybody can connect, and nobody is asked for a password, is refused with advice, unless insisted on."""
        error = self.refusal("--listen", "tcp:6380:interface=127.0.0.1", "--listen", "tcp:6380")
        self.assertRegex(error, "^--listen 'tcp:6380': anybody .*--password-file.*ssl:PORT.*--insecure listens")
        self.assertTrue(parse("--listen", "tcp:6380", "--insecure").insecure)

    def test_password_file(self) -> None:
        """Only its owner may read the file; it has one line; and it says nothing of what is in it."""
        path, option = self.mktemp(), "--password-file"
        for content, mode, wrong in (
            (b"secret\n", 0o600, None),
            (b"secret", 0o400, None),
            (b"secret\n", 0o640, r"others than its owner .*\(mode 0640\); chmod 600"),
            (b"secret\n", 0o604, "chmod 600"),
            (b"\n", 0o600, "a password in one line"),
            (b"a\nb\n", 0o600, "a password in one line"),
            (b"x" * (MAX_PASSWORD_BYTES + 1), 0o600, "at most"),
        ):
            write_private(path, content, mode)
            if wrong is None:
                self.assertEqual(parse(option, path).password_hash, sha256(b"secret").hexdigest().encode())
                self.assertEqual(parse("--listen", "tcp:6380", option, path).listen, ("tcp:6380",))
            else:
                self.assertRegex(self.refusal(option, path), wrong)
        self.assertIn("No such file", self.refusal(option, self.mktemp()))

    def test_credentials_of_systemd(self) -> None:
        """The group's permissions of a credential are those of who may read it."""
        path = os.path.abspath(self.mktemp())
        write_private(path, b"secret", 0o440)
        self.patch(os, "environ", os.environ | {"CREDENTIALS_DIRECTORY": os.path.dirname(path)})
        self.assertIsNotNone(parse("--password-file", path).password_hash)

    def test_acl_file(self) -> None:
        """It has to be there, and says of the default user, too, what its password is."""
        path = self.mktemp()
        self.assertIn("there is no such file", self.refusal("--acl-file", path))
        write_private(path, b"secret", 0o600)
        self.assertEqual(parse("--acl-file", path).acl_file_path, os.path.abspath(path))
        self.assertIn("give one of them", self.refusal("--acl-file", path, "--password-file", path))

    def test_client_certificates(self) -> None:
        """The file is looked at, and an endpoint that asks for them has to be there."""
        path, option = self.mktemp(), "--tls-client-ca"
        make_certificate(path)
        ssl = ("--listen", f"ssl:1:privateKey={path}")
        self.assertEqual(parse(*ssl, option, path).tls_client_ca_path, os.path.abspath(path))
        self.assertIn("no --listen ssl:", self.refusal(option, path))
        self.assertIn("there is no such file", self.refusal(*ssl, option, self.mktemp()))
        self.assertIn("give the name of a file", self.refusal(*ssl, option, os.path.dirname(__file__)))
        self.assertIn("give a file of certificates", self.refusal(*ssl, option, __file__))


class TogetherTests(OptionsTestCase):
    """Options that must fit each other, and what is no option."""

    def test_reading_pauses_before_the_client_is_dropped(self) -> None:
        """The first watermark may reach the second, not pass it."""
        self.assertEqual(parse("--pause-reading-bytes=2k", "--drop-client-bytes=2k").pause_reading_bytes, 2000)
        error = self.refusal("--pause-reading-bytes=2001", "--drop-client-bytes=2k")
        self.assertEqual(error, "--pause-reading-bytes '2001': give at most what --drop-client-bytes says, 2k")

    def test_all_unfinished_requests_have_room_for_one(self) -> None:
        """The limit over all clients admits the largest request, and grows with it unless it is given."""
        self.assertEqual(parse().max_input_bytes, limits.MAX_INPUT_BYTES)
        self.assertEqual(parse("--max-request-bytes=512mb").max_input_bytes, 1024 * limits.MIB)
        self.assertEqual(parse("--max-request-bytes=2k", "--max-input-bytes=2k").max_input_bytes, 2000)
        error = self.refusal("--max-request-bytes=2k", "--max-input-bytes=1999")
        self.assertEqual(error, "--max-input-bytes '1999': give at least what --max-request-bytes says, 2k")

    def test_the_trace_is_no_file_of_the_data(self) -> None:
        """Not under its own name, nor by a symbolic or a hard link; nor of the archive. Beside them it may lie."""
        for option in ("--data", "--keep-log"):
            directory, outside = Path(self.mktemp()).absolute(), Path(self.mktemp()).absolute()
            directory.mkdir()
            outside.mkdir()
            log = directory / "table.txn"
            log.touch()
            (outside / "soft").symlink_to(log)
            (outside / "dangling").symlink_to(directory / "not-yet")
            (outside / "directory").symlink_to(directory)
            os.link(log, outside / "hard")
            for path in (
                log,
                directory / "new",
                *(outside / name for name in ("soft", "dangling", "hard", "directory/x")),
            ):
                error = self.refusal(option, str(directory), "--trace", str(path))
                self.assertEqual(
                    error, f"--trace {str(path)!r}: this is a file of {option} {str(directory)!r}; choose another place"
                )
            self.assertEqual(
                parse(option, str(directory), "--trace", str(outside / "t")).trace_path, str(outside / "t")
            )

    def test_the_archive_is_not_the_data_directory(self) -> None:
        """Nor by a link."""
        directory, link = self.mktemp(), self.mktemp()
        os.mkdir(directory)
        os.symlink(os.path.abspath(directory), link)
        for path in (directory, link):
            self.assertIn("give another directory than --data", self.refusal("--data", directory, "--keep-log", path))

    def test_a_group_limit_needs_a_loop_that_waits(self) -> None:
        """An overlapped sync and a limit on groups do not go together; left to the server, the limit counts."""
        error = self.refusal("--group-limit=1", "--overlap=always")
        self.assertRegex(error, "^--group-limit and --overlap always: .*leave --overlap out$")
        self.assertEqual(parse("--group-limit=1", "--overlap=never").overlap, "never")
        self.assertEqual(parse("--group-limit=1").group_limit, 1)

    def test_words_are_no_options(self) -> None:
        """A word that belongs to no option is named."""
        self.assertEqual(self.refusal("6380"), "'6380': only options are taken; see kvstore serve --help")

    def test_hostile_texts_stay_on_one_line(self) -> None:
        """A value with line ends and control characters is shown escaped."""
        self.assertIn(r"--sync 'a\n\x1b[31m'", self.refusal("--sync", "a\n\x1b[31m"))

    def test_every_option_is_explained(self) -> None:
        """--help has a line for each option, and a default where there is one."""
        text = " ".join(str(tap.Options()).split())
        for name, default, _, _ in ROWS:
            self.assertIn(f"--{name}=", text)
            self.assertIn(f"[default: {default or ''}", text)
        self.assertIn("--listen=", text)


class TwistdTests(OptionsTestCase):
    """What twistd makes of it."""

    def under_twistd(self, *words: str, **twistd: Any) -> tap.Options:
        """Options with a parent, as twistd makes them. `twistd`: its options."""
        self.patch(tap, "never_block", lambda: None)
        options = tap.Options()
        options.parent = usage.Options()
        options.parent.update(twistd)
        options.parseOptions(list(words))
        return options

    def test_errors_end_the_process(self) -> None:
        """Under twistd an error is what SystemExit prints to stderr, with exit status 1, instead of twistd's usage."""
        error = self.assertRaises(SystemExit, self.under_twistd, "--port", "x")
        self.assertEqual(error.code, "kvstore: --port 'x': give a whole number from 0 to 65535")

    def test_errors_of_getopt_say_where_to_look(self) -> None:
        """Unknown options and missing values point to --help."""
        for word, reason in (("--colour", "not recognized"), ("--port", "requires argument")):
            error = self.assertRaises(SystemExit, self.under_twistd, word)
            self.assertEqual(error.code, f"kvstore: option {word} {reason}; see kvstore serve --help")

    def test_whose_log(self) -> None:
        """That of the option, else of twistd's; none beside another observer of twistd's."""
        for words, twistd, path in (
            ((), {"nodaemon": 1}, None),
            (("--log-file", "a"), {"nodaemon": 1, "logfile": "b"}, "a"),
            ((), {"nodaemon": 1, "logfile": "b"}, "b"),
            ((), {"nodaemon": 1, "logfile": "-"}, None),
            ((), {}, "twistd.log"),
        ):
            options = self.under_twistd(*words, **twistd)
            assert options.log is not None
            self.assertEqual((options.log.path, options.settings.log_path), (path and os.path.abspath(path),) * 2)
        for name in ("logger", "syslog"):
            self.assertIsNone(self.under_twistd(**{name: "x"}).log)
            error = self.assertRaises(SystemExit, self.under_twistd, "--log-format=json", **{name: "x"})
            self.assertIn(f"say nothing to twistd's --{name}", str(error))
        error = self.assertRaises(SystemExit, self.under_twistd, logfile="-")
        self.assertIn("a daemon has no standard output", str(error))

    def test_the_terminal_goes(self) -> None:
        """SIGHUP ends no server, though the log is another's."""
        self.addCleanup(signal.signal, signal.SIGHUP, signal.signal(signal.SIGHUP, signal.SIG_DFL))
        with mock.patch.dict(sys.modules, {"kvstore.edge.service": mock.Mock()}):
            tap.makeService(self.under_twistd("--port=0", syslog=1))
        self.assertEqual(signal.getsignal(signal.SIGHUP), signal.SIG_IGN)

    def test_make_service(self) -> None:
        """MakeService hands the settings and the reactor to the service tree, and returns that."""
        tree = Service()
        make_tree = mock.Mock(return_value=tree)
        options = self.under_twistd("--port", "0")
        with mock.patch.dict(sys.modules, {"kvstore.edge.service": mock.Mock(make_tree=make_tree)}):
            self.assertIs(tap.makeService(options), tree)
        make_tree.assert_called_once_with(options.settings, reactor, options.log)

    def test_plugin(self) -> None:
        """The plugin file offers twistd one service maker, named kvstore, with these options."""
        names: dict[str, Any] = {}
        plugin = ROOT / "twisted" / "plugins" / "kvstore_plugin.py"
        exec(compile(plugin.read_text(), plugin, "exec"), names)
        maker = names["kvstore"]
        self.assertTrue(IPlugin.providedBy(maker) and IServiceMaker.providedBy(maker))
        self.assertEqual((maker.tapname, maker.options, maker.makeService), ("kvstore", tap.Options, tap.makeService))

    def test_no_package_hides_twisted(self) -> None:
        """The checkout's twisted directories are no packages: an __init__.py there would hide Twisted itself."""
        self.assertEqual(list((ROOT / "twisted").glob("**/__init__.py")), [])


class ProcessTests(SynchronousTestCase):
    """The real twistd, as a process."""

    def run_python(self, program: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a program in a fresh interpreter, in an empty directory, with the checkout on its path."""
        self.directory = Path(self.mktemp())
        self.directory.mkdir(parents=True)
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(
            [sys.executable, "-c", program, *words],
            cwd=self.directory,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def test_a_bad_value(self) -> None:
        """One line on stderr, exit status 1, and nothing left behind."""
        program = "from twisted.scripts.twistd import run; run()"
        ended = self.run_python(program, "-n", "kvstore", "--port", "70000")
        self.assertEqual(ended.stderr, "kvstore: --port '70000': give a whole number from 0 to 65535\n")
        self.assertEqual((ended.stdout, ended.returncode), ("", 1))
        self.assertEqual(list(self.directory.iterdir()), [])

    def test_leaves_the_choice_of_the_reactor(self) -> None:
        """Importing and parsing install no reactor before twistd's --reactor is heard."""
        program = (
            "import sys; from kvstore.edge.tap import Options; Options().parseOptions([]);"
            "sys.exit('twisted.internet.reactor' in sys.modules)"
        )
        ended = self.run_python(program)
        self.assertEqual((ended.stderr, ended.returncode), ("", 0))
