"""The string commands: every option, every error, expiry, and a disk that fills up."""

from __future__ import annotations

from kvstore.base.limits import MAX_REQUEST_BYTES
from tests.kit.harness import START_MS, CommandTestCase

NOT_AN_INTEGER = "ERR value is not an integer or out of range"


class SetTests(CommandTestCase):
    """SET and its options, and the commands that are SET with an option."""

    def test_get_and_set(self) -> None:
        """GET gives the bytes that SET stored, whatever they are, and null for no such key."""
        everything = bytes(range(256))
        self.do("SET", everything, everything)
        self.assertEqual(self.do("GET", everything), everything)
        self.script("""
            GET a -> None
            SET a -> !ERR wrong number of arguments for 'set' command
            GET a b -> !ERR wrong number of arguments for 'get' command
            SET  1 -> OK
            GET  -> b'1'
        """)

    def test_nx_and_xx(self) -> None:
        """NX writes only a new key, XX only one that exists; they contradict each other."""
        self.script("""
            SET a 1 XX -> None
            GET a -> None
            SET a 1 NX -> OK
            SET a 2 NX -> None
            GET a -> b'1'
            SET a 2 xx -> OK
            GET a -> b'2'
            SET a 3 NX XX -> !ERR syntax error
            SET a 3 NX NX -> None
        """)

    def test_get_option(self) -> None:
        """GET makes SET answer the value before, whether or not it writes."""
        self.script("""
            SET a 1 GET -> None
            SET a 2 GET -> b'1'
            SET a 3 NX GET -> b'2'
            GET a -> b'2'
            SET b 3 XX GET -> None
            EXISTS b -> 0
            SET b 3 NX GET -> None
            GET b -> b'3'
        """)

    def test_deadlines(self) -> None:
        """EX, PX, EXAT and PXAT give a deadline, from now or from the epoch."""
        self.script(f"""
            SET a 1 EX 10 -> OK
            PEXPIRETIME a -> {START_MS + 10_000}
            SET a 1 px 10 -> OK
            PEXPIRETIME a -> {START_MS + 10}
            SET a 1 EXAT {START_MS // 1000 + 7} -> OK
            PEXPIRETIME a -> {START_MS + 7000}
            SET a 1 PXAT {START_MS + 7} -> OK
            PEXPIRETIME a -> {START_MS + 7}
            SET a 1 -> OK
            PEXPIRETIME a -> -1
            SET a 1 EX 10 EX 20 -> OK
            TTL a -> 20
        """)

    def test_keepttl(self) -> None:
        """KEEPTTL leaves the deadline as it is, and gives none to a key that had expired."""
        self.do("SET", "a", 1, "PX", 100)
        self.do("SET", "a", 2, "KEEPTTL")
        self.assertEqual(self.do("PTTL", "a"), 100)
        self.rig.now_ms += 100
        self.do("SET", "a", 3, "KEEPTTL")
        self.assertEqual(self.do("PTTL", "a"), -1)

    def test_deadline_in_the_past(self) -> None:
        """A deadline that has passed removes the key at once."""
        self.script("""
            SET a 1 -> OK
            SET a 2 EXAT 1 -> OK
            GET a -> None
            SET a 2 PXAT 1 GET -> None
            DBSIZE -> 0
        """)
        self.assertEqual(self.rig.table.values, {})

    def test_errors(self) -> None:
        """Options that are unknown, contradict each other, lack their time or have a bad one change nothing."""
        invalid = "!ERR invalid expire time in 'set' command"
        self.script(f"""
            SET a 1 FOO -> !ERR syntax error
            SET a 1 PERSIST -> !ERR syntax error
            SET a 1 EX -> !ERR syntax error
            SET a 1 EX 1 PX 1 -> !ERR syntax error
            SET a 1 EX 1 KEEPTTL -> !ERR syntax error
            SET a 1 KEEPTTL PXAT 1 -> !ERR syntax error
            SET a 1 EX x -> !{NOT_AN_INTEGER}
            SET a 1 EX 1.5 -> !{NOT_AN_INTEGER}
            SET a 1 EX 0 -> {invalid}
            SET a 1 PX -1 -> {invalid}
            SET a 1 EXAT 0 -> {invalid}
            SET a 1 EX 9223372036854775807 -> {invalid}
            SET a 1 EX 9223372036854775 -> {invalid}
            SET a 1 PX 9223372036854775807 -> {invalid}
            SET a 1 PXAT 9223372036854775807 -> OK
            SET a 1 EX 9223372036854775808 -> !{NOT_AN_INTEGER}
        """)

    def test_largest_deadline(self) -> None:
        """A deadline may be as far as 64 bits of milliseconds reach, and no millisecond more."""
        last = 2**63 - 1 - START_MS
        self.assertEqual(self.error("SET", "a", 1, "PX", last + 1), "ERR invalid expire time in 'set' command")
        self.do("SET", "a", 1, "PX", last)
        self.assertEqual(self.do("PEXPIRETIME", "a"), 2**63 - 1)

    def test_setnx_setex_psetex(self) -> None:
        """SETNX, SETEX and PSETEX are SET with NX, EX and PX, and words of their own for errors."""
        self.script(f"""
            SETNX a 1 -> 1
            SETNX a 2 -> 0
            SETEX a 10 3 -> OK
            TTL a -> 10
            PSETEX a 10 4 -> OK
            PTTL a -> 10
            GET a -> b'4'
            SETEX a 0 5 -> !ERR invalid expire time in 'setex' command
            SETEX a x 5 -> !{NOT_AN_INTEGER}
            PSETEX a -1 5 -> !ERR invalid expire time in 'psetex' command
            SETNX a -> !ERR wrong number of arguments for 'setnx' command
        """)

    def test_expired_key_is_no_key(self) -> None:
        """At the millisecond of its deadline a key is gone for every command; the millisecond before it is there."""
        self.do("SET", "a", 1, "PX", 100)
        self.rig.now_ms += 99
        self.assertEqual(self.do("GET", "a"), b"1")
        self.assertEqual(self.do("SETNX", "a", 2), 0)
        self.rig.now_ms += 1
        self.script("""
            GET a -> None
            STRLEN a -> 0
            MGET a -> [None]
            SET a 1 XX -> None
            SETNX a 2 -> 1
            PTTL a -> -1
        """)


class ReadAndChangeTests(CommandTestCase):
    """Commands that read, and those that read and change in one step."""

    def test_getset_getdel(self) -> None:
        """GETSET and GETDEL answer the value before; GETSET takes the deadline away."""
        self.script("""
            GETSET a 1 -> None
            EXPIRE a 10 -> 1
            GETSET a 2 -> b'1'
            TTL a -> -1
            GETDEL a -> b'2'
            GETDEL a -> None
            EXISTS a -> 0
        """)

    def test_getex(self) -> None:
        """GETEX sets a deadline or takes it away, and without an option just reads."""
        self.script(f"""
            GETEX a EX 10 -> None
            SET a 1 -> OK
            GETEX a EX 10 -> b'1'
            TTL a -> 10
            GETEX a -> b'1'
            TTL a -> 10
            GETEX a PERSIST -> b'1'
            TTL a -> -1
            GETEX a PERSIST -> b'1'
            GETEX a PXAT {START_MS + 5} -> b'1'
            PTTL a -> 5
            GETEX a EX 0 -> !ERR invalid expire time in 'getex' command
            GETEX a EX 1 PERSIST -> !ERR syntax error
            GETEX a KEEPTTL -> !ERR syntax error
            GETEX a EX -> !ERR syntax error
            GETEX a EXAT 1 -> b'1'
            EXISTS a -> 0
        """)

    def test_getex_that_changes_nothing_writes_nothing(self) -> None:
        """GETEX without an option, or PERSIST without a deadline, leaves no trace in the log."""
        self.do("SET", "a", 1)
        self.do("GETEX", "a")
        self.do("GETEX", "a", "PERSIST")
        self.assertEqual(len(self.rig.table.pending.operations), 1)

    def test_mget_mset_msetnx(self) -> None:
        """MSET writes all pairs, of a repeated key the last; MSETNX all or none; MGET has null for no such key."""
        self.script("""
            MSET a 1 b 2 a 3 -> OK
            MGET a nosuch b a -> [b'3', None, b'2', b'3']
            MSETNX c 1 d 2 a 2 -> 0
            EXISTS c -> 0
            MSETNX c 1 d 2 c 3 -> 1
            MGET c d -> [b'3', b'2']
            MSET a 1 b -> !ERR wrong number of arguments for 'mset' command
            MSETNX a 1 b -> !ERR wrong number of arguments for 'msetnx' command
            MSET a -> !ERR wrong number of arguments for 'mset' command
            MGET -> !ERR wrong number of arguments for 'mget' command
        """)

    def test_append_strlen(self) -> None:
        """APPEND adds at the end, makes the key if need be, and keeps its deadline."""
        self.script("""
            APPEND a ab -> 2
            EXPIRE a 10 -> 1
            APPEND a c -> 3
            TTL a -> 10
            GET a -> b'abc'
            STRLEN a -> 3
            STRLEN nosuch -> 0
            APPEND b  -> 0
            EXISTS b -> 1
        """)

    def test_getrange(self) -> None:
        """GETRANGE has both ends included, counts negative places from the end, and clips what is outside."""
        self.script(f"""
            SET a 0123456789 -> OK
            GETRANGE a 0 2 -> b'012'
            GETRANGE a -3 -1 -> b'789'
            GETRANGE a 0 -1 -> b'0123456789'
            GETRANGE a 8 100 -> b'89'
            GETRANGE a 5 4 -> b''
            GETRANGE a -1 -3 -> b''
            GETRANGE a -100 2 -> b'012'
            GETRANGE a 0 -100 -> b'0'
            GETRANGE nosuch 0 -1 -> b''
            SUBSTR a 1 2 -> b'12'
            GETRANGE a x 2 -> !{NOT_AN_INTEGER}
            GETRANGE a 0 -> !ERR wrong number of arguments for 'getrange' command
        """)

    def test_setrange(self) -> None:
        """SETRANGE overwrites from an offset on, fills with zero bytes, and keeps the deadline."""
        self.script(f"""
            SETRANGE a 2 xy -> 4
            GET a -> b'\\x00\\x00xy'
            EXPIRE a 10 -> 1
            SETRANGE a 1 A -> 4
            GET a -> b'\\x00Axy'
            TTL a -> 10
            SETRANGE a 100  -> 4
            SETRANGE nosuch 1  -> 0
            EXISTS nosuch -> 0
            SETRANGE a -1 x -> !ERR offset is out of range
            SETRANGE a x x -> !{NOT_AN_INTEGER}
        """)

    def test_longest_string(self) -> None:
        """APPEND and SETRANGE may make a string as long as the limit, and not a byte longer."""
        self.assertEqual(self.rig.server.max_value_bytes, MAX_REQUEST_BYTES)
        self.rig.server.max_value_bytes = 10
        too_long = "ERR string exceeds maximum allowed size (proto-max-bulk-len)"
        self.script(f"""
            SETRANGE a 9 x -> 10
            SETRANGE a 10 x -> !{too_long}
            SETRANGE b 10 x -> !{too_long}
            SETRANGE b 9223372036854775807 x -> !{too_long}
            APPEND a x -> !{too_long}
            APPEND a  -> 10
            APPEND b 123456789 -> 9
            APPEND b 0 -> 10
        """)


class NumberTests(CommandTestCase):
    """Numbers written as text."""

    def test_counting(self) -> None:
        """INCR, DECR, INCRBY and DECRBY count from 0, and keep the deadline."""
        self.script("""
            INCR a -> 1
            EXPIRE a 10 -> 1
            INCRBY a 41 -> 42
            DECR a -> 41
            DECRBY a 50 -> -9
            DECRBY a -9 -> 0
            GET a -> b'0'
            TTL a -> 10
        """)

    def test_edges_of_64_bits(self) -> None:
        """Numbers are signed with 64 bits; what would leave them is refused and changes nothing."""
        overflow = "!ERR increment or decrement would overflow"
        self.script(f"""
            SET a 9223372036854775806 -> OK
            INCR a -> 9223372036854775807
            INCR a -> {overflow}
            INCRBY a 9223372036854775807 -> {overflow}
            SET a -9223372036854775807 -> OK
            DECR a -> -9223372036854775808
            DECR a -> {overflow}
            DECRBY a -9223372036854775808 -> !ERR decrement would overflow
            INCRBY a 9223372036854775808 -> !{NOT_AN_INTEGER}
        """)

    def test_what_is_no_integer(self) -> None:
        """Neither values nor increments may be written in any but the one plain way."""
        for text in (
            "",
            " 1",
            "1 ",
            "+1",
            "01",
            "-0",
            "1.0",
            "1e3",
            "0x1",
            "1_0",
            "x",
            "9223372036854775808",
            "9" * 5000,
        ):
            self.do("SET", "a", text)
            self.assertEqual(self.error("INCR", "a"), NOT_AN_INTEGER, text)
            self.assertEqual(self.error("INCRBY", "b", text), NOT_AN_INTEGER, text)

    def test_incrbyfloat(self) -> None:
        """INCRBYFLOAT adds as Redis does, stores what it answers, and keeps the deadline."""
        self.script("""
            INCRBYFLOAT a 10.50 -> b'10.5'
            INCRBYFLOAT a 0.1 -> b'10.6'
            INCRBYFLOAT a -5 -> b'5.6'
            EXPIRE a 10 -> 1
            INCRBYFLOAT a 2.0e2 -> b'205.60000000000000001'
            TTL a -> 10
            GET a -> b'205.60000000000000001'
            SET a 3.0e3 -> OK
            INCRBYFLOAT a 1 -> b'3001'
            INCRBYFLOAT a x -> !ERR value is not a valid float
            INCRBYFLOAT a nan -> !ERR value is not a valid float
            INCRBYFLOAT a inf -> !ERR increment would produce NaN or Infinity
            SET a abc -> OK
            INCRBYFLOAT a 1 -> !ERR value is not a valid float
            SET a  -> OK
            INCRBYFLOAT a 1 -> !ERR value is not a valid float
            RPUSH l x -> 1
            INCRBYFLOAT l x -> !WRONGTYPE Operation against a key holding the wrong kind of value
        """)
