"""Keyspace events: when they leave, of what they tell, and of what they do not. Which there are is compared with Valkey
in `test_commands_against_valkey`.
"""

from __future__ import annotations

from kvstore.base.limits import MAX_SLICED_REQUESTS
from kvstore.wire.resp import pack
from tests.kit.serving import OK, Serving, SessionTestCase


class EventTests(SessionTestCase):
    """One client that subscribes, and one that changes."""

    def choose(self, classes: str, pattern: str = "__keyevent@*") -> None:
        """Let the first hear of some classes."""
        self.assertEqual(self.two.ask(f"CONFIG SET notify-keyspace-events {classes}"), OK)
        self.one.ask(f"PSUBSCRIBE {pattern}")

    def heard(self) -> list[str]:
        """What the first was told: each event and its key, or channel and event."""
        words = self.one.released().split(b"\r\n")
        return [b" ".join(words[at + 6 : at + 9 : 2]).decode() for at in range(0, len(words) - 1, 9)]

    def events(self, *requests: bytes | str) -> list[str]:
        """The events of requests of the second, without their database."""
        self.two.told(*requests)
        return [each.partition(":")[2] for each in self.heard()]

    def test_with_the_commit(self) -> None:
        """An event leaves no earlier than the reply to the request that it is of."""
        self.choose("KEA", "__key*")
        self.two.ask("SET a 1")
        self.serving.close()
        self.assertEqual(self.one.released(), b"")
        self.serving.settle()
        self.assertEqual(self.heard(), ["__keyspace@0__:a set", "__keyevent@0__:set a"])

    def test_misses_wait_for_what_they_tell_of(self) -> None:
        """That a key is not found tells of its removal."""
        self.two.told("SET a 1")
        self.choose("Em")
        self.two.ask("DEL a")
        self.two.ask("GETRANGE a 0 1")
        self.assertEqual(self.one.released(), b"")
        self.serving.commit()
        self.assertEqual(self.heard(), ["__keyevent@0__:keymiss a"])
        for request in ("GET b", "TYPE b", "LRANGE b 0 -1", "STRLEN b"):
            self.assertEqual(self.events(request), ["keymiss b"], request)
        for request in ("OBJECT ENCODING b", "OBJECT IDLETIME b", "MEMORY USAGE b", "DEBUG OBJECT b"):
            self.assertEqual(self.events(request), [], request)
        self.assertEqual(self.events(*["GET b"] * 9), ["keymiss b"] * 9)

    def test_streams(self) -> None:
        """What reads or claims for a group tells of no XGROUP SETID."""
        self.choose("Et")
        made = self.events("XGROUP CREATE s g $ MKSTREAM", "XADD s 1-1 a b", "XREADGROUP GROUP g c STREAMS s >")
        self.assertEqual(made, ["xgroup-create s", "xadd s", "xgroup-createconsumer s"])
        self.assertEqual(self.events("XCLAIM s g c 0 1-1 LASTID 9-9", "XGROUP SETID s g 0"), ["xgroup-setid s"])

    def test_undone(self) -> None:
        """A script that raises has told nobody."""
        self.choose("EA")
        self.assertIn(b"no more", self.two.told(pack(b"EVAL", b"redis.call('set','a','1') error('no more')", b"0")))
        self.assertEqual(self.heard(), [])
        self.assertEqual(self.events("MULTI", "SET a 1", "INCR a", "EXEC"), ["set a", "incrby a"])

    def test_a_request_that_is_put_off_leaves_nothing(self) -> None:
        """It has removed a key that had expired: nobody hears of that yet, and no request that fails then takes what
        others have done meanwhile for its own.
        """
        members = [b"%d" % number for number in range(1500)]
        self.two.told("SADD gone x", "PEXPIRE gone 5", pack(b"SADD", b"large", *members))
        self.choose("Ex")
        self.serving.now_ms += 10
        self.serving.table.slicing.under_way = MAX_SLICED_REQUESTS
        for number, request in enumerate(("SUNION large gone", "SUNION large gone\n")):
            reader, other = self.serving.connect(), self.serving.connect()
            self.assertEqual((reader.told(request), self.heard()), (b"", []))
            names = [f"{number}-{each}" for each in range(9)]
            other.ask(*[f"SET {name} x" for name in names])
            replies = other.told("INCR large")
            self.assertEqual((replies.count(OK), replies.count(b"WRONGTYPE")), (len(names), 1))
            recovered = Serving(self.serving.disk.kill()).table
            self.assertLessEqual(set(map(str.encode, names)), recovered.values.keys())
        self.serving.table.slicing.under_way = 0
        reader.session.run(10**6)
        self.serving.commit()
        self.assertEqual(self.heard(), ["__keyevent@0__:expired gone"])

    def test_fields_with_a_deadline_that_has_passed(self) -> None:
        """They are said to have expired, and a hash that has no others to be gone, also one that never was."""
        self.choose("EA")
        gone = ["hset a", "hexpire a", "hexpired a", "del a"]
        self.assertEqual(self.events("HSETEX a EXAT 1 FIELDS 1 f v"), gone)
        self.two.told("HSET a f v")
        self.heard()
        self.assertEqual(self.events("HSETEX a EXAT 1 FIELDS 1 f v"), gone)
        self.two.told("HSET a f v g w")
        self.heard()
        self.assertEqual(self.events("HGETEX a EXAT 1 FIELDS 1 f"), ["hexpired a"])
        self.assertEqual(self.events("HGETDEL a FIELDS 1 g"), ["hdel a", "del a"])

    def test_groups(self) -> None:
        """What a group reads is not told as if XGROUP SETID had been said."""
        self.choose("EA")
        self.assertEqual(self.events("XADD a 1-1 f v", "XGROUP CREATE a g 0"), ["xadd a", "xgroup-create a"])
        self.assertEqual(self.events("XREADGROUP GROUP g c STREAMS a >"), ["xgroup-createconsumer a"])
        self.assertEqual(self.events("XCLAIM a g c 0 1-1 LASTID 7-7"), [])
        self.assertEqual(self.events("XGROUP SETID a g 0"), ["xgroup-setid a"])

    def test_pipelines(self) -> None:
        """What executes at once tells of each request."""
        self.choose("EAn")
        self.assertEqual(self.events(*["SET a 1", "SET b 1"] * 4)[:5], ["new a", "set a", "new b", "set b", "set a"])
        self.assertEqual(self.events(*["INCR a"] * 9), ["incrby a"] * 9)
        self.assertEqual(self.events(*["LPUSH l x"] * 7), ["new l", *["lpush l"] * 7])
        self.assertEqual(self.events(*["RPOP l"] * 7), [*["rpop l"] * 7, "del l"])

    def test_expired(self) -> None:
        """Told before what takes its place, when it is looked for in vain, or when nobody does; once."""
        self.choose("EAnm")
        for requests, events in (
            (["SET a 2"], ["expired a", "new a", "set a"]),
            (["GET a"], ["expired a", "keymiss a"]),
            (["RPUSH a x"], ["expired a", "new a", "rpush a"]),
            (["RENAME b a"], ["expired a", "new a", "rename_from b", "rename_to a"]),
            ([], ["expired a"]),
        ):
            self.two.told("SADD b m", "SET a 1 PX 5")
            self.heard()
            self.serving.now_ms += 6
            self.serving.store.clock.go_on()
            self.two.ask(*requests)
            self.serving.store.tidy()
            self.serving.server.send_messages(self.serving.store.pending.sequence, None)
            self.serving.commit_if_changed()
            self.assertEqual([each.partition(":")[2] for each in self.heard()], events)

    def test_fields_expired(self) -> None:
        """Fields that expire are told, and the hash when it has lost its last."""
        self.choose("EA")
        self.two.told("HSET h f v", "HPEXPIRE h 5 FIELDS 1 f")
        self.serving.now_ms += 6
        self.heard()
        self.serving.store.tidy()
        self.serving.server.send_messages(self.serving.store.pending.sequence, None)
        self.serving.commit()
        self.assertEqual(self.heard(), ["__keyevent@0__:hexpired h", "__keyevent@0__:del h"])

    def test_nobody_observes(self) -> None:
        """Without classes, or without a channel to tell them on, nobody does."""
        for classes in ("KEA", "A", "KE", ""):
            self.two.ask(pack(b"CONFIG", b"SET", b"notify-keyspace-events", classes.encode()))
            self.assertEqual(bool(self.serving.table._observers), classes == "KEA", classes)
            self.assertEqual(self.serving.table.missed is not None, classes == "KEA", classes)

    def test_classes_shown(self) -> None:
        """As Valkey gives them back."""
        for given, shown in (
            ("KEA", b"AKE"), ("KEmn", b"nKEm"), ("Kg$lshzxetd", b"AK"), ("An", b"A"), ("KEg$lshzxet", b"g$lshzxetKE"),
            ("mE", b"Em"), ("", b""),
        ):  # fmt: skip
            self.two.ask(pack(b"CONFIG", b"SET", b"notify-keyspace-events", given.encode()))
            name = b"notify-keyspace-events"
            self.assertEqual(self.two.ask(pack(b"CONFIG", b"GET", name)), pack(name, shown), given)
        self.assertIn(b"Invalid event class character", self.two.ask("CONFIG SET notify-keyspace-events q"))
