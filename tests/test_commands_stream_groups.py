"""Groups of consumers: what hangs on the clock, what a kill leaves, and who waits, is served and is told otherwise.

Replies and errors are compared with Valkey's, at random, in test_commands_against_valkey.
"""

from __future__ import annotations

from typing import Any

from kvstore.base.reply import NULL_ARRAY, Pairs
from tests.kit.blocking import NULL_ARRAY as NOTHING
from tests.kit.blocking import BlockingTestCase, array, string
from tests.kit.harness import START_MS, CommandTestCase


class GroupTests(CommandTestCase):
    """What is pending, since when, how often."""

    def setUp(self) -> None:
        """A stream of four entries, and a group at its beginning."""
        super().setUp()
        for number in range(1, 5):
            self.do("XADD", "s", f"1-{number}", "f", str(number))
        self.do("XGROUP", "CREATE", "s", "g", "0")

    def read(self, consumer: str, *options: str, after: str = ">") -> Any:
        """The ids that a consumer reads."""
        reply = self.do("XREADGROUP", "GROUP", "g", consumer, *options, "STREAMS", "s", after)
        return [entry[0] for entry in reply[0][1]] if isinstance(reply, Pairs) else reply

    def pending(self, *options: str) -> list[list[Any]]:
        """What XPENDING lists."""
        return list(self.do("XPENDING", "s", "g", *options, "-", "+", "10"))

    def test_watching(self) -> None:
        """What groups have read is no change of the stream for who watches it; a new stream, and entries, are."""
        requests = {
            "XGROUP CREATE s h 0": False, "XGROUP SETID s g 0": False, "XREADGROUP GROUP g c STREAMS s >": False,
            "XCLAIM s g d 0 1-1": False, "XACK s g 1-1": False, "XGROUP DELCONSUMER s g c": False,
            "XSETID s 9-9": False, "XGROUP DESTROY s g": False, "XGROUP CREATE new g 0 MKSTREAM": True,
            "XDEL s 1-2": True, "XTRIM s MAXLEN 1": True,
        }  # fmt: skip
        for request, aborts in requests.items():
            self.do("WATCH", "s", "new")
            self.do(*request.split())
            self.do("MULTI")
            self.assertEqual(self.do("EXEC"), NULL_ARRAY if aborts else [], request)

    def test_an_option_twice(self) -> None:
        """What is wrong with the key is said before that."""
        self.do("SET", "a", "x")
        twice = ["ENTRIESREAD", "1", "ENTRIESREAD", "1"]
        for key, text in (("a", "WRONGTYPE"), ("b", "requires the key to exist"), ("s", "wrong number of arguments")):
            self.assertIn(text, self.error("XGROUP", "CREATE", key, "h", "0", *twice))
            self.assertIn(text, self.error("XGROUP", "SETID", key, "g", "0", *twice))

    def test_times_and_counts(self) -> None:
        """Of what is given out, again and by a claim; all of it in the log."""
        self.assertEqual(self.read("c", "COUNT", "2"), [b"1-1", b"1-2"])
        self.rig.now_ms += 30
        self.assertEqual(self.read("d", "COUNT", "1"), [b"1-3"])
        self.rig.now_ms += 5
        self.assertEqual(self.read("c", after="1-1"), [b"1-2"])
        self.rig.now_ms += 4
        self.assertEqual(
            self.pending(), [[b"1-1", b"c", 39, 1], [b"1-2", b"c", 4, 2], [b"1-3", b"d", 9, 1]]
        )  # fmt: skip
        self.assertEqual(self.pending("IDLE", "9"), [[b"1-1", b"c", 39, 1], [b"1-3", b"d", 9, 1]])
        self.assertEqual(self.do("XCLAIM", "s", "g", "d", "10", "1-1", "1-2", "1-3", "JUSTID"), [b"1-1"])
        self.assertEqual(
            self.do("XCLAIM", "s", "g", "c", "0", "1-3", "IDLE", "7", "RETRYCOUNT", "5", "JUSTID"), [b"1-3"]
        )
        self.assertEqual(self.pending(), [[b"1-1", b"d", 0, 1], [b"1-2", b"c", 4, 2], [b"1-3", b"c", 7, 5]])
        self.rig.now_ms += 50
        reply = self.do("XAUTOCLAIM", "s", "g", "e", "52", "-", "COUNT", "1", "JUSTID")
        self.assertEqual(reply, [b"1-3", [b"1-2"], []])  # 1-1 has been pending for 50 ms only
        self.assertEqual(self.pending(), [[b"1-1", b"d", 50, 1], [b"1-2", b"e", 0, 2], [b"1-3", b"c", 57, 5]])
        self.assertEqual(self.rig.replayed(), self.rig.state())

    def test_a_clock_that_is_set_back(self) -> None:
        """Nothing is pending for less than no time."""
        self.read("c", "COUNT", "1")
        self.rig.now_ms -= 100
        self.assertEqual(self.pending(), [[b"1-1", b"c", 0, 1]])

    def test_who_was_heard_of(self) -> None:
        """XINFO tells when a consumer last asked, and last got anything; after a start, no earlier than that."""
        self.read("c")
        self.rig.now_ms += 20
        self.read("c")
        self.do("XGROUP", "CREATECONSUMER", "s", "g", "d")
        self.rig.now_ms += 3
        told = self.do("XINFO", "CONSUMERS", "s", "g")
        self.assertEqual([[each["idle"], each["inactive"]] for each in told], [[3, 23], [3, -1]])
        full = self.do("XINFO", "STREAM", "s", "FULL")["groups"][0]["consumers"]
        self.assertEqual([full[0]["seen-time"], full[0]["active-time"]], [START_MS + 20, START_MS])
        self.assertEqual(full[0]["pending"], [[b"1-%d" % number, START_MS, 1] for number in range(1, 5)])
        self.rig.table.values[b"s"].groups[b"g"].consumers[b"c"].seen_ms = None
        self.assertEqual(self.do("XINFO", "CONSUMERS", "s", "g")[0]["idle"], 23)

    def test_in_vain(self) -> None:
        """A consumer that gets nothing writes nothing, once it is there."""
        self.read("c")
        body = self.rig.store.pending.body()
        self.assertEqual(self.read("c"), NULL_ARRAY)
        self.assertEqual(self.do("XACK", "s", "g", "7-7"), 0)
        self.assertEqual(self.rig.store.pending.body(), body)

    def test_entries_that_are_gone(self) -> None:
        """Are null for who had them, and pending no more for who claims them."""
        self.read("c")
        self.do("XDEL", "s", "1-2")
        self.do("XTRIM", "s", "MAXLEN", "1")
        reply = self.do("XREADGROUP", "GROUP", "g", "c", "STREAMS", "s", "1-1")
        self.assertEqual(reply[0][1], [[b"1-2", NULL_ARRAY], [b"1-3", NULL_ARRAY], [b"1-4", [b"f", b"4"]]])
        self.assertEqual(self.do("XAUTOCLAIM", "s", "g", "d", "0", "0", "COUNT", "2"), [b"1-3", [], [b"1-1", b"1-2"]])
        self.assertEqual(self.do("XCLAIM", "s", "g", "d", "0", "1-3"), [])
        self.assertEqual([each[0] for each in self.pending()], [b"1-4"])

    def test_a_copy_has_groups_of_its_own(self) -> None:
        """And so has one that was renamed."""
        self.read("c")
        self.do("COPY", "s", "t")
        self.do("XACK", "s", "g", "1-1")
        self.do("RENAME", "t", "u")
        self.assertEqual([self.do("XPENDING", key, "g")[0] for key in ("s", "u")], [3, 4])
        self.do("XGROUP", "DELCONSUMER", "u", "g", "c")
        self.assertEqual([self.do("XPENDING", key, "g")[0] for key in ("s", "u")], [3, 0])

    def test_a_request_that_fails_has_made_no_consumer(self) -> None:
        """The second key is wrong."""
        self.do("SET", "str", "x")
        self.assertEqual(self.error("XREADGROUP", "GROUP", "g", "c", "STREAMS", "s", "str", ">", ">")[:9], "WRONGTYPE")
        self.assertEqual(self.do("XINFO", "CONSUMERS", "s", "g"), [])


class WaitingTests(BlockingTestCase):
    """XREADGROUP BLOCK."""

    def setUp(self) -> None:
        """A group."""
        super().setUp()
        self.push("XGROUP CREATE s g 0 MKSTREAM")

    def entry(self, entry_id: bytes) -> bytes:
        """The reply with one entry."""
        return b"*1\r\n*2\r\n" + string(b"s") + b"*1\r\n*2\r\n" + string(entry_id) + array(b"f", b"v")

    def ask_all(self, *names: str) -> None:
        """So many consumers wait."""
        self.wait(*(f"XREADGROUP GROUP g {name} COUNT 1 BLOCK 0 STREAMS s >" for name in names))

    def test_first_come_first_served(self) -> None:
        """One entry each; who is not served waits on. A reader without a group gets all."""
        self.ask_all("c", "d", "c")
        self.push("XADD s 1-1 f v")
        self.assertEqual(self.served(), [self.entry(b"1-1"), b"", b""])
        self.push("MULTI", "XADD s 1-2 f v", "XADD s 1-3 f v", "EXEC")
        self.assertEqual(self.served(), [b"", self.entry(b"1-2"), self.entry(b"1-3")])
        self.assertIn(b"$1\r\nc\r\n$1\r\n2", self.push("XPENDING s g"))

    def test_not_before_it_is_on_disk(self) -> None:
        """What is given out is pending by then."""
        self.ask_all("c")
        self.pusher.ask("XADD s 1-1 f v")
        self.assertEqual(self.served()[0], b"")
        self.serving.commit()
        self.assertEqual(self.served()[0], self.entry(b"1-1"))

    def test_the_group_or_the_stream_goes(self) -> None:
        """Who waits gets the error that the request would get now."""
        gone = b"-NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option\r\n"
        wrong = b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"
        for request, error in (
            ("XGROUP DESTROY s g", gone),
            ("DEL s", gone),
            ("FLUSHALL", gone),
            ("RENAME s t", gone),
            ("SWAPDB 0 1", gone),
            ("SET s x", wrong),
            ("MULTI|DEL s|RPUSH s x|EXEC", wrong),
            ("MULTI|DEL s|XADD s 1-1 f v|EXEC", gone),
        ):
            self.push("FLUSHALL", "XGROUP CREATE s g 0 MKSTREAM")
            self.ask_all("c", "d")
            self.push(*request.split("|"))
            self.assertEqual(self.served()[:2], [error, error], request)

    def test_it_expires(self) -> None:
        """Nobody has to ask for the key."""
        self.ask_all("c")
        self.push("PEXPIRE s 10")
        self.serving.now_ms += 11
        self.serving.store.clock.go_on()
        self.serving.store.tidy()
        self.serving.server.waiting.serve()
        self.serving.commit()
        self.assertEqual(self.served()[0][:8], b"-NOGROUP")

    def test_what_is_nothing_new(self) -> None:
        """Acknowledging, trimming, another group: they wait on. A consumer that is removed comes back."""
        self.push("XADD s 1-1 f v", "XREADGROUP GROUP g x STREAMS s >")
        self.ask_all("c")
        self.push("XACK s g 1-1", "XTRIM s MAXLEN 0", "XGROUP CREATE s h 0", "XGROUP DELCONSUMER s g c")
        self.assertEqual(self.served()[0], b"")
        self.push("XADD s 1-2 f v")
        self.assertEqual(self.served()[0], self.entry(b"1-2"))

    def test_the_consumer_is_there_at_once(self) -> None:
        """Though its request waits, in the log, too; its client may vanish."""
        self.ask_all("c")
        self.assertIn(b"$1\r\nc\r\n", self.push("XINFO CONSUMERS s g"))
        self.waiters[0].session.disconnected()
        self.assertIn(b"$1\r\nc\r\n", self.push("XINFO CONSUMERS s g"))

    def test_in_a_block(self) -> None:
        """Nobody waits there."""
        replies = self.push("MULTI", "XREADGROUP GROUP g c BLOCK 0 STREAMS s >", "EXEC")
        self.assertTrue(replies.endswith(b"*1\r\n" + NOTHING))

    def test_time_is_up(self) -> None:
        """As for all who wait."""
        self.wait("XREADGROUP GROUP g c BLOCK 20 STREAMS s >")
        self.serving.clock.advance(0.03)
        self.assertEqual(self.served()[0], NOTHING)
