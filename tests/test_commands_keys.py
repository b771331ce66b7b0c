"""The commands on keys: which there are, how long, under what name."""

from __future__ import annotations

from types import GeneratorType
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from kvstore.base import slices
from kvstore.base.reply import advance
from kvstore.commands import dispatch, keys
from kvstore.commands import table as commands
from kvstore.store import read_table
from tests.kit.harness import START_MS, CommandTestCase, Rig

NOT_AN_INTEGER = "ERR value is not an integer or out of range"

_CHANGES = ["SET k3 2", "DEL k59", "SET k100 1", "EXPIRE k30 0", "PERSIST k1", "SET k0 1", "FLUSHALL", "PEXPIRE k50 1"]


class PresenceTests(CommandTestCase):
    """Whether keys are there, and removing them."""

    def test_del_and_exists(self) -> None:
        """DEL counts each key it removes once, EXISTS and TOUCH each time it is named."""
        self.script("""
            MSET a 1 b 2 c 3 -> OK
            EXISTS a a b nosuch -> 3
            TOUCH a nosuch -> 1
            DEL a a nosuch -> 1
            UNLINK b c -> 2
            DBSIZE -> 0
            DEL -> !ERR wrong number of arguments for 'del' command
        """)

    def test_removing_an_expired_key(self) -> None:
        """DEL of a key that has expired answers 0, and it is gone from memory and from the log's state."""
        self.do("SET", "a", 1, "PX", 1)
        self.rig.now_ms += 1
        self.assertEqual(self.do("DEL", "a"), 0)
        self.assertEqual(self.rig.table.values, {})

    def test_type_and_encoding(self) -> None:
        """TYPE says string or none; OBJECT ENCODING what Redis would hold such a string as."""
        self.script(f"""
            SET a 12 -> OK
            TYPE a -> string
            TYPE nosuch -> none
            OBJECT ENCODING a -> 'int'
            SET a {"x" * 112} -> OK
            OBJECT ENCODING a -> 'embstr'
            SET a {"x" * 113} -> OK
            OBJECT ENCODING a -> 'raw'
            SET a {"x" * 104} EX 100 -> OK
            OBJECT ENCODING a -> 'embstr'
            SET a {"x" * 105} EX 100 -> OK
            OBJECT ENCODING a -> 'raw'
            SET {"k" * 60} {"x" * 51} -> OK
            OBJECT ENCODING {"k" * 60} -> 'embstr'
            SET {"k" * 60} {"x" * 52} -> OK
            OBJECT ENCODING {"k" * 60} -> 'raw'
            OBJECT ENCODING nosuch -> None
            OBJECT -> !ERR wrong number of arguments for 'object' command
            OBJECT FOO a -> !ERR unknown subcommand 'FOO'. Try OBJECT HELP.
        """)

    def test_flush(self) -> None:
        """FLUSHALL and FLUSHDB remove every key; of an empty table nothing is written to the log."""
        self.script("""
            MSET a 1 b 2 -> OK
            FLUSHALL FOO -> !ERR syntax error
            FLUSHALL SYNC ASYNC -> !ERR syntax error
            FLUSHALL async -> OK
            DBSIZE -> 0
            SET a 1 EX 10 -> OK
            FLUSHDB -> OK
            DBSIZE -> 0
        """)
        written = len(self.rig.table.pending.operations)
        self.do("FLUSHALL")
        self.assertEqual(len(self.rig.table.pending.operations), written)

    def test_dbsize_counts_the_living(self) -> None:
        """DBSIZE leaves out a key at the millisecond of its deadline."""
        self.do("SET", "a", 1, "PX", 10)
        self.do("SET", "b", 1)
        self.assertEqual(self.do("DBSIZE"), 2)
        self.rig.now_ms += 10
        self.assertEqual(self.do("DBSIZE"), 1)


class ListingTests(CommandTestCase):
    """KEYS, SCAN and RANDOMKEY."""

    def test_keys(self) -> None:
        """KEYS lists the keys that match and have not expired."""
        self.do("MSET", "one", 1, "two", 2, "three", 3, b"\xff", 4)
        self.do("SET", "gone", 1, "PX", 1)
        self.rig.now_ms += 1
        self.assertEqual(sorted(self.do("KEYS", "*")), [b"one", b"three", b"two", b"\xff"])
        self.assertEqual(sorted(self.do("KEYS", "t*")), [b"three", b"two"])
        self.assertEqual(self.do("KEYS", "one"), [b"one"])
        self.assertEqual(self.do("KEYS", b"[\xfe-\xff]"), [b"\xff"])
        self.assertEqual(self.do("KEYS", "gone"), [])

    @settings(max_examples=50)
    @given(st.sampled_from(["KEYS *", "KEYS k1*", "RANDOMKEY"]), st.integers(0, 40), st.data())
    def test_in_slices(self, request: str, expired: int, data: st.DataObject) -> None:
        """What changes between its slices is not seen: the answer is of the moment when the first one began."""
        with (
            mock.patch.object(slices, "SLICE_NS", 0),
            mock.patch.object(keys, "_AT_ONCE", 5),
            mock.patch.object(keys, "_RANDOM_TRIES", 0),
            mock.patch.object(read_table, "_EXPIRED_COUNTED", 10),
        ):
            rig = Rig()
            for number in range(60):
                rig.do("SET", f"k{number}", 1, *(("PX", 1) if number < expired else ()))
            rig.now_ms += 1
            words = request.encode().split()
            matching = {b"k%d" % i for i in range(expired, 60) if words[-1] != b"k1*" or str(i).startswith("1")}
            reply = dispatch.run(rig.call, commands.find(words), words, None, advance)
            rounds = 0
            while isinstance(reply, GeneratorType):
                for change in data.draw(st.lists(st.sampled_from(_CHANGES), max_size=3)):
                    rig.do(*change.split())
                reply = advance(reply)
                rounds += 1
            self.assertGreater(rounds, 10)
            self.assertEqual({reply} - matching if request == "RANDOMKEY" else set(reply) ^ matching, set())

    def scan_all(self, *options: bytes | str | int) -> list[bytes]:
        """Every key that a scan from beginning to end gives."""
        cursor, found = b"0", []
        while True:
            cursor, keys = self.do("SCAN", cursor, *options)
            found += keys
            if cursor == b"0":
                return found

    def test_scan(self) -> None:
        """A scan from 0 to 0 gives every key, with any COUNT; MATCH and TYPE choose among them."""
        everything = {b"k%d" % i for i in range(1000)}
        for key in everything:
            self.do("SET", key, 1)
        self.assertEqual(set(self.scan_all()), everything)
        self.assertEqual(set(self.scan_all("COUNT", 5000)), everything)
        self.assertEqual(set(self.scan_all("MATCH", "*")), everything)
        self.assertEqual(sorted(self.scan_all("MATCH", "k99?", "count", 100)), sorted(b"k99%d" % i for i in range(10)))
        self.assertEqual(set(self.scan_all("TYPE", "STRING")), everything)
        self.assertEqual(self.scan_all("TYPE", "hash"), [])

    def test_a_large_count(self) -> None:
        """Whatever COUNT says, a SCAN ends with its slice of time; it always gets on."""
        self.patch(slices, "SLICE_NS", 0)
        self.patch(keys, "_AT_ONCE", 10)
        for number in range(1000):
            self.do("SET", number, 1)
        self.assertLess(len(self.do("SCAN", 0, "COUNT", 2**62)[1]), 60)
        self.assertEqual(sorted(self.scan_all("COUNT", 2**62)), sorted(self.rig.table.values))

    def test_the_empty_key(self) -> None:
        """It is a key like another."""
        self.do("SET", "", 1)
        self.assertEqual((self.do("KEYS", "*"), self.scan_all(), self.do("RANDOMKEY")), ([b""], [b""], b""))

    def test_scan_goes_by_count(self) -> None:
        """One SCAN looks at about COUNT keys, 10 unless told."""
        for i in range(1000):
            self.do("SET", i, 1)
        self.assertLess(len(self.do("SCAN", 0)[1]), 60)
        self.assertGreater(len(self.do("SCAN", 0, "COUNT", 500)[1]), 400)

    def test_scan_of_the_empty_key(self) -> None:
        """The empty key is a key."""
        self.do("SET", "", 1)
        self.assertEqual(
            [self.do("SCAN", " 0"), self.scan_all("MATCH", "*"), self.do("KEYS", "*")], [[b"0", [b""]], [b""], [b""]]
        )

    def test_scan_leaves_out_what_expired(self) -> None:
        """SCAN gives no key whose deadline has passed."""
        self.do("SET", "a", 1, "PX", 1)
        self.do("SET", "b", 1)
        self.rig.now_ms += 1
        self.assertEqual(self.scan_all(), [b"b"])

    def test_scan_errors(self) -> None:
        """Cursors, counts, types and options that make no sense are refused."""
        self.script(f"""
            SCAN x -> !ERR invalid cursor
            SCAN -1 -> !ERR invalid cursor
            SCAN 0x0 -> !ERR invalid cursor
            SCAN 1_0 -> !ERR invalid cursor
            SCAN +0 -> [b'0', []]
            SCAN -00 -> [b'0', []]
            SCAN 000000000000000000000000 -> [b'0', []]
            SCAN +18446744073709551616 -> !ERR invalid cursor
            SCAN 18446744073709551616 -> !ERR invalid cursor
            SCAN 18446744073709551615 -> [b'0', []]
            SCAN 0 COUNT 0 -> !ERR syntax error
            SCAN 0 COUNT x -> !{NOT_AN_INTEGER}
            SCAN 0 MATCH -> !ERR syntax error
            SCAN 0 FOO x -> !ERR syntax error
            SCAN 0 TYPE foo -> !ERR unknown type name 'foo'
        """)

    @settings(max_examples=25)
    @given(st.integers(0, 400), st.integers(0, 400), st.integers(1, 40))
    def test_scan_while_the_table_changes(self, before: int, after: int, count: int) -> None:
        """A key that is there during the whole of a scan is given, whatever comes and goes meanwhile."""
        rig = Rig()
        staying = {b"stay%d" % i for i in range(50)}
        for key in staying | {b"go%d" % i for i in range(before)}:
            rig.do("SET", key, 1)
        cursor, found = rig.do("SCAN", 0, "COUNT", count)
        for i in range(max(before, after)):
            rig.do("DEL", b"go%d" % i)
            if i < after:
                rig.do("SET", b"come%d" % i, 1)
            if i % 7 == 0 and cursor != b"0":
                cursor, keys = rig.do("SCAN", cursor, "COUNT", count)
                found += keys
        while cursor != b"0":
            cursor, keys = rig.do("SCAN", cursor, "COUNT", count)
            found += keys
        self.assertLessEqual(staying, set(found))

    def test_randomkey(self) -> None:
        """RANDOMKEY gives each living key now and then, and never one that expired."""
        self.assertEqual(self.do("RANDOMKEY"), None)
        self.do("MSET", "a", 1, "b", 2, "c", 3)
        self.do("SET", "gone", 1, "PX", 1)
        self.rig.now_ms += 1
        self.rig.server.random.seed(1)
        self.assertEqual({self.do("RANDOMKEY") for _ in range(100)}, {b"a", b"b", b"c"})
        self.do("DEL", "a", "b", "c")
        self.assertEqual(self.do("RANDOMKEY"), None)


class DeadlineTests(CommandTestCase):
    """EXPIRE and its kin."""

    def test_setting(self) -> None:
        """The four commands count in seconds or milliseconds, from now or from the epoch."""
        self.script(f"""
            EXPIRE a 10 -> 0
            SET a 1 -> OK
            TTL a -> -1
            EXPIRE a 10 -> 1
            PEXPIRETIME a -> {START_MS + 10_000}
            PEXPIRE a 1500 -> 1
            PTTL a -> 1500
            TTL a -> 2
            EXPIREAT a {START_MS // 1000 + 3} -> 1
            PTTL a -> 3000
            PEXPIREAT a {START_MS + 499} -> 1
            TTL a -> 0
            EXPIRETIME a -> {START_MS // 1000}
            PERSIST a -> 1
            PERSIST a -> 0
            PERSIST nosuch -> 0
            EXPIRETIME a -> -1
            PEXPIRETIME nosuch -> -2
            PTTL nosuch -> -2
        """)

    def test_conditions(self) -> None:
        """NX, XX, GT and LT compare with the deadline there is; none counts as for ever."""
        self.script("""
            SET a 1 -> OK
            EXPIRE a 10 XX -> 0
            EXPIRE a 10 GT -> 0
            EXPIRE a 10 NX -> 1
            EXPIRE a 20 NX -> 0
            EXPIRE a 20 XX -> 1
            EXPIRE a 20 GT -> 0
            EXPIRE a 20 LT -> 0
            EXPIRE a 10 GT -> 0
            EXPIRE a 30 gt -> 1
            EXPIRE a 25 LT -> 1
            EXPIRE a 25 XX LT -> 0
            EXPIRE a 24 XX LT -> 1
            TTL a -> 24
            PERSIST a -> 1
            EXPIRE a 10 XX LT -> 0
            EXPIRE a 10 LT -> 1
            EXPIRE a 0 GT -> 0
            EXISTS a -> 1
        """)

    def test_past(self) -> None:
        """A deadline that is not after now removes the key at once."""
        for request in (("EXPIRE", "a", 0), ("PEXPIRE", "a", -1), ("EXPIREAT", "a", 1), ("PEXPIREAT", "a", START_MS)):
            self.do("SET", "a", 1)
            self.assertEqual(self.do(*request), 1)
            self.assertEqual(self.rig.table.values, {})
        self.assertEqual(self.rig.table.expired_count, 4)

    def test_past_counts_what_was_there(self) -> None:
        """Of SET and GETEX too; a key that is not there does not expire."""
        self.script("""
            SET a 1 PXAT 1 -> OK
            PEXPIRE a -1 -> 0
            SET a 1 -> OK
            SET a 1 PXAT 1 -> OK
            SET a 1 -> OK
            GETEX a PXAT 1 -> b'1'
            EXISTS a -> 0
        """)
        self.assertEqual(self.rig.table.expired_count, 2)

    def test_errors(self) -> None:
        """Conditions that contradict each other, and times that do not fit in 64 bits, are refused."""
        self.script(f"""
            SET a 1 -> OK
            EXPIRE a x -> !{NOT_AN_INTEGER}
            EXPIRE a 10 FOO -> !ERR Unsupported option FOO
            EXPIRE a x FOO -> !ERR Unsupported option FOO
            EXPIRE a 9223372036854775807 NX XX -> !ERR NX and XX, GT or LT options at the same time are not compatible
            EXPIRE a 10 NX GT -> !ERR NX and XX, GT or LT options at the same time are not compatible
            EXPIRE a 10 GT LT -> !ERR GT and LT options at the same time are not compatible
            EXPIRE a 9223372036854775 -> !ERR invalid expire time in 'expire' command
            EXPIRE a -9223372036854776 -> !ERR invalid expire time in 'expire' command
            PEXPIRE a 9223372036854775807 -> !ERR invalid expire time in 'pexpire' command
            EXPIREAT a 9223372036854776 -> !ERR invalid expire time in 'expireat' command
            PEXPIREAT a 9223372036854775807 -> 1
            PEXPIRE a -9223372036854775808 -> 1
            EXISTS a -> 0
            EXPIRE a -> !ERR wrong number of arguments for 'expire' command
        """)

    def test_expired_keys_are_removed_for_good(self) -> None:
        """What `remove_expired` removes stays away, also after a recovery on a clock set back."""
        self.do("SET", "a", 1, "PX", 10)
        self.rig.now_ms += 10
        self.assertEqual(self.rig.table.remove_expired(100), 1)
        self.rig.now_ms -= 1000
        self.assertEqual(self.do("EXISTS", "a"), 0)
        self.assertEqual(self.rig.replayed(), {})


class NameTests(CommandTestCase):
    """RENAME, RENAMENX and COPY."""

    def test_rename(self) -> None:
        """RENAME moves value and deadline over whatever was there; onto itself it changes nothing."""
        self.script("""
            SET a 1 EX 10 -> OK
            SET b 2 -> OK
            RENAME a b -> OK
            GET b -> b'1'
            TTL b -> 10
            EXISTS a -> 0
            RENAME b b -> OK
            RENAME a b -> !ERR no such key
            RENAME a a -> !ERR no such key
            SET c 3 -> OK
            RENAME c b -> OK
            TTL b -> -1
        """)

    def test_renamenx(self) -> None:
        """RENAMENX moves only to a key that is not there."""
        self.script("""
            MSET a 1 b 2 -> OK
            RENAMENX a b -> 0
            RENAMENX a a -> 0
            RENAMENX a c -> 1
            RENAMENX a c -> !ERR no such key
            MGET a b c -> [None, b'2', b'1']
        """)

    def test_copy(self) -> None:
        """COPY copies value and deadline, over an existing key only with REPLACE."""
        self.script(f"""
            SET a 1 EX 10 -> OK
            COPY a b -> 1
            TTL b -> 10
            SET b 2 -> OK
            COPY a b -> 0
            COPY a b DB 0 replace -> 1
            GET b -> b'1'
            COPY nosuch b -> 0
            COPY a a -> !ERR source and destination objects are the same
            COPY a b DB 16 -> !ERR DB index is out of range
            COPY a b DB x -> !{NOT_AN_INTEGER}
            COPY a b DB -> !ERR syntax error
            COPY a b FOO -> !ERR syntax error
        """)

    def test_onto_an_expired_key(self) -> None:
        """A key that has expired is no obstacle, and its deadline is not taken over."""
        self.do("SET", "a", 1)
        for request in (("RENAMENX", "a", "b"), ("COPY", "b", "c"), ("RENAME", "b", "c")):
            self.do("SET", request[2], "old", "PX", 1)
            self.rig.now_ms += 1
            self.assertIn(self.do(*request), (1, self.do("SELECT", 0)))
            self.assertEqual(self.do("PTTL", request[2]), -1)
