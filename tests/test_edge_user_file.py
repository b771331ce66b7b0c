"""The file of users: what a start and ACL LOAD make of it, what ACL SAVE leaves."""

from __future__ import annotations

import os
import stat
from hashlib import sha256
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from kvstore.commands.acl_file import BadUsers, parse, text_of
from kvstore.edge.user_file import UserFile
from kvstore.testing.server_process import StartFailed
from tests.kit.harness import CommandTestCase
from tests.kit.server_process import Serving, new_directory

_HASH = sha256(b"alice").hexdigest()


class FileTests(SynchronousTestCase):
    """The file itself."""

    def test_the_new_file_is_as_private_as_the_old_one(self) -> None:
        """It is replaced, through a link too, with the permissions that it had; nothing else is left there."""
        directory = Path(self.mktemp())
        directory.mkdir()
        path, link = directory / "users", directory / "link"
        path.write_bytes(b"old")
        link.symlink_to(path.absolute())
        for mode in (0o600, 0o640, 0o644):
            os.chmod(path, mode)
            file = UserFile(os.path.abspath(link))
            file.write(b"new")
            self.assertEqual(file.read(), b"new")
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), mode)
        self.assertEqual(sorted(os.listdir(directory)), ["link", "users"])

    def test_a_directory_that_is_gone(self) -> None:
        """An error is raised, and told to the log."""
        directory = Path(self.mktemp())
        file = UserFile(os.path.abspath(directory / "users"))
        self.assertRaises(OSError, file.read)
        self.assertRaises(OSError, file.write, b"new")
        self.assertFalse(directory.exists())


class TextTests(SynchronousTestCase):
    """What is in it."""

    def test_round_trip(self) -> None:
        """What is written is what was read; blank lines are left out."""
        text = (
            b"user alice on #%b ~a* %%R~b resetchannels &c db=0,1 -@all +@read -get +client|id (%%W~w resetchannels"
            b" -@all +set)\nuser default on nopass ~* &* +@all\n" % _HASH.encode()
        )
        users = parse(text.replace(b"\n", b"\r\n\n"), "users", all_channels=False)
        self.assertEqual(text_of(users.values()), text)

    def test_all_that_is_wrong_is_told(self) -> None:
        """With the number of the line; nothing that may be a password is shown."""
        text = b"# users\nuser a on +nonsense >secret #secret !secret\nuser\nuser b (+get\nuser a\nuser c\td on"
        error = self.assertRaises(BadUsers, parse, text, "/f", all_channels=False)
        self.assertEqual(
            str(error),
            "/f:1 should start with user keyword followed by the username."
            " /f:2: Error in applying operation '+nonsense': Unknown command or category name in ACL."
            " /f:2: The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters."
            " /f:3 should start with user keyword followed by the username."
            " /f:4: Unmatched parenthesis in selector definition."
            " WARNING: Duplicate user 'a' found on line 5."
            " '/f:6: username 'c\td' contains invalid characters.",
        )


class LoadTests(CommandTestCase):
    """ACL LOAD and SAVE."""

    def setUp(self) -> None:
        """A file with nobody in it."""
        super().setUp()
        self.path = Path(self.mktemp())
        self.path.touch()
        self.rig.server.load_users(UserFile(os.path.abspath(self.path)))

    def test_load_is_all_or_nothing(self) -> None:
        """With one bad line nobody changes; else users that are not in it are gone, and their clients with them."""
        self.do("ACL", "SETUSER", "fred", "on", "nopass", "+@all")
        fred = self.rig.connect()
        self.do("AUTH", "fred", "x", by=fred)
        self.path.write_text("user wilma on nopass +get ~*\nuser barney on sideways\n")
        self.assertIn(":2: Syntax error. WARNING: ACL errors detected, no change", self.error("ACL", "LOAD"))
        self.assertEqual(self.do("ACL", "USERS"), [b"default", b"fred"])
        self.path.write_text("user wilma on nopass +get ~*\n")
        self.assertEqual(self.do("ACL", "LOAD", by=fred).text, "OK")
        self.assertTrue(fred.client.closing)
        self.assertIn("NOAUTH", self.error("ACL", "USERS", by=fred))
        self.assertEqual(self.do("ACL", "USERS"), [b"default", b"wilma"])

    def test_save(self) -> None:
        """The file has what ACL LIST has; a file that cannot be written is an error."""
        self.do("ACL", "SETUSER", "fred", "on", ">pass", "%R~a", "(+get ~b)")
        self.do("ACL", "SAVE")
        self.assertEqual(self.path.read_bytes().splitlines(), self.do("ACL", "LIST"))
        self.do("ACL", "SETUSER", "fred", "off")
        self.do("ACL", "LOAD")
        self.assertIn(b"user fred on #", self.do("ACL", "LIST")[1])
        self.path.unlink()
        self.do("ACL", "SAVE")
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)
        self.path.unlink()
        self.path.mkdir()
        self.assertIn("There was an error trying to save the ACLs", self.error("ACL", "SAVE"))
        self.assertIn("Is a directory", self.error("ACL", "LOAD"))

    def test_without_a_file(self) -> None:
        """Both say that there is none."""
        self.rig.server.user_file = None
        for subcommand in ("LOAD", "SAVE"):
            self.assertIn("not configured to use an ACL file", self.error("ACL", subcommand))


class StartTests(SynchronousTestCase, Serving):
    """A server that is started with a file of users."""

    def test_start(self) -> None:
        """The users of the file are there, and nobody else gets in; in every grammar. A bad file ends the start."""
        path = Path(new_directory(self.addCleanup)) / "users"
        path.write_text(f"user default off\nuser alice on #{_HASH} ~a* +@all\n")
        server = self.start("--acl-file", str(path))
        wire = self.connect(server)
        self.assertEqual(wire.say("PING"), b"-NOAUTH Authentication required.\r\n")
        self.assertEqual(wire.say("size"), b'{"result":"failure","error":"Authentication required."}\r\n')
        self.assertIn(
            b"invalid username-password pair", wire.say('{"method":"auth","username":"alice","password":"x"}')
        )
        self.assertEqual(
            wire.say('{"method":"auth","username":"alice","password":"alice"}'), b'{"result":"success"}\r\n'
        )
        self.assertIn(b"success", wire.say('{"method":"insert","key":"a1","value":1}'))
        self.assertIn(b"No permissions to access a key", wire.say('{"method":"insert","key":"b","value":1}'))
        self.assertIn(b"No permissions", wire.say("lookup b"))
        self.assertEqual(wire.ask("CONFIG", "GET", "aclfile"), [b"aclfile", str(path).encode()])
        server.kill()
        path.write_text("user alice on sideways\n")
        error = self.assertRaises(StartFailed, server.start)
        self.assertEqual(error.status, 1)
        self.assertIn("users:1: Syntax error. Nobody was let in", error.errors)
