"""Users and their rights: ACL, AUTH, and what is refused to whom, as Valkey has it."""

from __future__ import annotations

from typing import Any

from kvstore.commands.context import Call
from tests.kit.harness import CommandTestCase

_WRONG = "WRONGPASS invalid username-password pair or user is disabled."


class UsersTestCase(CommandTestCase):
    """A test with users. `user` makes one and logs it in."""

    def user(self, *rules: str, name: str = "fred") -> Call:
        """A client that is logged in as a user of these rules."""
        self.do("ACL", "SETUSER", name, "reset", "on", ">secret", *rules)
        call = self.rig.connect()
        self.do("AUTH", name, "secret", by=call)
        return call

    def denied(self, call: Call, *request: Any) -> str:
        """The error that a request of `call` must end in."""
        return self.error(*request, by=call)


class RightsTests(UsersTestCase):
    """What is refused to whom."""

    def test_commands(self) -> None:
        """Only commands that are let may be run; and who has none may still say who it is."""
        fred = self.user("+get", "+client|id", "allkeys")
        self.assertIsNone(self.do("GET", "a", by=fred))
        self.assertEqual(self.do("CLIENT", "ID", by=fred), fred.client.identity)
        self.assertEqual(
            self.denied(fred, "SET", "a", 1), "NOPERM User fred has no permissions to run the 'set' command"
        )
        self.assertIn("'client|list' command", self.denied(fred, "CLIENT", "LIST"))
        self.assertEqual(self.do("AUTH", "default", "any", by=fred).text, "OK")
        self.assertEqual(self.do("SET", "a", 1, by=fred).text, "OK")

    def test_keys(self) -> None:
        """Keys may be let to be read, to be written, or both."""
        fred = self.user("+@all", "%R~read:*", "%W~write:*", "~both:*")
        no = "NOPERM No permissions to access a key"
        self.assertIsNone(self.do("GET", "read:1", by=fred))
        self.assertEqual(self.denied(fred, "GET", "write:1"), no)
        self.assertEqual(self.denied(fred, "LPUSH", "read:1", "x"), no)
        self.assertEqual(self.do("LPUSH", "write:1", "x", by=fred), 1)
        self.assertEqual(self.do("SET", "both:1", 1, by=fred).text, "OK")
        self.assertEqual(self.denied(fred, "MGET", "read:1", "other"), no)
        self.assertEqual(self.denied(fred, "SET", "write:1", "x", "GET"), no)

    def test_a_password_is_required(self) -> None:
        """With requirepass a new client may do nothing before it has given the password; one that was there may."""
        self.do("CONFIG", "SET", "requirepass", "secret")
        stranger = self.rig.connect()
        no = "NOAUTH Authentication required."
        for request in (("GET", "a"), ("NONSENSE",), ("GET",), ("ACL", "WHOAMI"), ("EXEC",)):
            self.assertIn(no, self.denied(stranger, *request))
        self.assertEqual(self.denied(stranger, "AUTH", "wrong"), _WRONG)
        self.assertIn("NOAUTH HELLO must be called", self.denied(stranger, "HELLO", 3))
        self.assertEqual(self.do("AUTH", "secret", by=stranger).text, "OK")
        self.assertIsNone(self.do("GET", "a", by=stranger))
        self.assertIsNone(self.do("GET", "a"))
        self.do("RESET", by=stranger)
        self.assertEqual(self.denied(stranger, "GET", "a"), no)
        self.assertEqual(self.do("CONFIG", "GET", "requirepass"), {"requirepass": "secret"})

    def test_queueing_is_refused_and_poisons(self) -> None:
        """In MULTI what may not be run is refused at once, and EXEC does nothing."""
        fred = self.user("+multi", "+exec", "+set", "~a")
        self.do("MULTI", by=fred)
        self.assertIn("NOPERM", self.denied(fred, "SET", "b", 1))
        self.assertIn("EXECABORT", self.denied(fred, "EXEC"))

    def test_exec_looks_again(self) -> None:
        """A command that was queued is refused in EXEC, if it may not be run any more."""
        fred = self.user("+multi", "+exec", "+set", "~*")
        self.do("MULTI", by=fred)
        self.do("SET", "b", 1, by=fred)
        self.do("ACL", "SETUSER", "fred", "-set")
        (reply,) = self.do("EXEC", by=fred)
        self.assertIn("NOPERM ACLs rules changed", str(reply))
        self.assertIn("no permission to execute the command or subcommand", str(reply))
