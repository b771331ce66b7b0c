"""Users and their rights: ACL, AUTH, and what is refused to whom, as Valkey has it."""

from __future__ import annotations

from typing import Any

from kvstore.commands.context import Call
from kvstore.commands.registry import table
from kvstore.commands.users import merged
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


class TellableTests(UsersTestCase):
    """What a file of users could not tell is no right: it would be another one when the file is read again."""

    def test_blanks_in_a_first_argument(self) -> None:
        """A blank would end the rule there, a line end the line: and another user begin."""
        for argument in ("0 +@all", "0\nuser evil on nopass ~* +@all", "0\t", "0\0"):
            self.assertIn("Syntax error", self.error("ACL", "SETUSER", "fred", f"+select|{argument}"))
        self.assertIsNone(self.do("ACL", "GETUSER", "fred"))

    def test_parentheses_in_a_selector(self) -> None:
        """A rule that ends in one would end the selector there."""
        for selector in ("(~a) +get)", "(~a ~b))", "(+select|0) ~a)"):
            self.assertIn("Syntax error", self.error("ACL", "SETUSER", "fred", selector))
        self.assertEqual(self.do("ACL", "SETUSER", "fred", "(~(a +get)").text, "OK")


class IndirectTests(UsersTestCase):
    """What a request does to keys that it does not name, or by the hands of others."""

    def test_sort(self) -> None:
        """Patterns may lead to any key, so who uses them has to be let to read all."""
        self.do("RPUSH", "l", 1)
        fred = self.user("+sort", "+sort_ro", "~l")
        no = "ERR {} option of SORT denied due to insufficient ACL permissions."
        self.assertEqual(self.do("SORT", "l", "BY", "constant", by=fred), [b"1"])
        self.assertEqual(self.denied(fred, "SORT", "l", "BY", "w*"), no.format("BY"))
        self.assertEqual(self.denied(fred, "SORT_RO", "l", "GET", "#"), no.format("GET"))
        self.assertIn("No permissions to access a key", self.denied(fred, "SORT", "l", "STORE", "other"))
        self.do("ACL", "SETUSER", "fred", "%R~*")
        self.assertEqual(self.do("SORT", "l", "BY", "w*", "GET", "#", by=fred), [b"1"])

    def test_query(self) -> None:
        """QUERY shows any document, so it is for who may read all keys."""
        fred = self.user("+@all", "~a*", "%W~*")
        self.assertIn("No permissions to access a key", self.denied(fred, "QUERY", "name", "1"))
        self.do("ACL", "SETUSER", "fred", "%R~*")
        self.assertEqual(self.do("QUERY", "name", "1", by=fred), [])

    def test_scripts(self) -> None:
        """A script may do what its caller may; so may a function; and it can ask before."""
        fred = self.user("+eval", "+fcall", "+set", "+select", "~a", "db=0")
        no = "ACL failure in script: "
        for source, wrong in (
            ("return redis.call('SET', 'b', 1)", "No permissions to access a key"),
            ("return redis.call('GET', 'a')", "User fred has no permissions to run the 'get' command"),
            ("return redis.call('SELECT', 1)", "No permissions to access database"),
        ):
            self.assertIn(no + wrong, self.denied(fred, "EVAL", source, 0))
        self.assertEqual(self.do("EVAL", "return redis.call('SET', 'a', 1)", 0, by=fred).text, "OK")
        self.assertEqual(self.do("EVAL", "return redis.pcall('GET', 'a').err", 0, by=fred)[:16], b"ERR ACL failure ")
        may = "return {tostring(redis.acl_check_cmd('SET', 'a', 1)), tostring(redis.acl_check_cmd('GET', 'a'))}"
        self.assertEqual(self.do("EVAL", may, 0, by=fred), [b"true", b"false"])
        code = "#!lua name=l\nserver.register_function('f', function() return server.call('GET', 'a') end)"
        self.do("FUNCTION", "LOAD", code)
        self.assertIn(no, self.denied(fred, "FCALL", "f", 0))
        self.assertEqual([entry["context"] for entry in self.do("ACL", "LOG")], ["lua"] * 3)
        self.assertIn("cmd=fcall", self.do("ACL", "LOG", 1)[0]["client-info"])

    def test_databases(self) -> None:
        """What is about keys is let in the databases that are let; what takes or clears others, too, only there."""
        fred = self.user("+@all", "~*", "db=0,2")
        no = "NOPERM No permissions to access database"
        for request in (
            "SELECT 1", "SWAPDB 0 1", "MOVE a 1", "COPY a b DB 1", "COPY a b DB 0 DB 1", "FLUSHALL",
        ):  # fmt: skip
            self.assertEqual(self.denied(fred, *request.split()), no)
        self.do("SELECT", 2, by=fred)
        self.assertIsNone(self.do("GET", "a", by=fred))
        self.do("MULTI", by=fred)
        self.do("SELECT", 0, by=fred)
        self.do("ACL", "SETUSER", "fred", "db=2")
        self.assertEqual(self.denied(fred, "GET", "a"), no)
        self.do("DISCARD", by=fred)
        self.do("ACL", "SETUSER", "fred", "db=0")
        for request in ("GET a", "DBSIZE", "KEYS *", "SIZE", "INSERT a 1", "MOVE a 0", "EVAL x 0"):
            self.assertEqual(self.denied(fred, *request.split()), no)
        self.assertEqual(self.do("PING", by=fred).text, "PONG")


class GlanceTests(UsersTestCase):
    """What is seen at a glance."""

    def test_it_is_what_a_closer_look_finds(self) -> None:
        """Of every command, with several words, under any rights: what a glance lets may be done."""
        seen = set()
        for rules in (
            "+@all ~a", "+@all %R~a %W~b", "+get +set %W~a", "+@read ~a*", "+@all ~* db=1", "~* +@all", "+get|a ~*",
            "+@write %R~a (+get ~b) (+@all %RW~c)", "+@all %R~* %W~a",
        ):  # fmt: skip
            self.do("ACL", "SETUSER", "fred", "reset", *merged(rules.encode().split()))
            user = self.rig.server.users.get(b"fred")
            assert user is not None
            for row in table.all_rows():
                for words in ([b"a"], [b"b", b"GET"], [b"c", b"a", b"GET"], [b"", b"a"]):
                    request = [*row.name.encode().split(b"|"), *words]
                    if user.rights.let_at_a_glance(row, request):
                        self.assertIsNone(self.rig.server.gate.denial(user, row, request, 0), (rules, request))
                        seen.add(row.name)
        self.assertLess({"GET", "SET", "INCR", "HSET", "ZADD", "LOOKUP", "INSERT"}, seen)
        self.assertTrue(seen.isdisjoint({"MOVE", "COPY", "SORT", "SPUBLISH", "QUERY", "PING"}))
