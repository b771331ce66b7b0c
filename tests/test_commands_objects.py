"""OBJECT. (OBJECT ENCODING is tested with each type, and all of OBJECT compared with Valkey.)"""

from __future__ import annotations

from tests.kit.harness import CommandTestCase
from tests.kit.serving import Serving


class ObjectTests(CommandTestCase):
    """What is told of a value."""

    def test_policies(self) -> None:
        """Idle times and counters of accesses can be asked for under the policies that have them."""
        self.do("SET", "a", 1)
        switching = "Please note that when switching between policies at runtime LRU and LFU data will take some time"
        switching += " to adjust."
        self.script(f"""
            OBJECT REFCOUNT a -> 1
            OBJECT IDLETIME a -> 0
            OBJECT FREQ a -> !ERR An LFU maxmemory policy is not selected, access frequency not tracked. {switching}
            CONFIG SET maxmemory-policy volatile-lfu -> OK
            OBJECT FREQ a -> 0
            OBJECT IDLETIME a -> !ERR An LFU maxmemory policy is selected, idle time not tracked. {switching}
            OBJECT FREQ nosuch -> None
            OBJECT IDLETIME nosuch -> None
            OBJECT REFCOUNT nosuch -> None
        """)


class AccessTests(CommandTestCase):
    """When keys were last asked for, and how often."""

    def test_idle(self) -> None:
        """Since the last request that asked for it, or since the policy is one of LRU."""
        self.do("MSET", "a", 1, "b", 1)
        self.rig.now_ms += 5000
        self.do("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        self.rig.now_ms += 7000
        self.do("GET", "a")
        self.rig.now_ms += 2000
        for request in ("TYPE a", "TTL a", "EXISTS a", "OBJECT ENCODING a", "MEMORY USAGE a"):
            self.do(*request.split())
        self.assertEqual([self.do("OBJECT", "IDLETIME", key) for key in "ab"], [2, 9])
        self.do("CLIENT", "NO-TOUCH", "ON")
        self.do("GET", "a")
        self.assertEqual(self.do("OBJECT", "IDLETIME", "a"), 2)
        self.do("TOUCH", "a", "b")
        self.assertEqual([self.do("OBJECT", "IDLETIME", key) for key in "ab"], [0, 0])
        self.do("CONFIG", "SET", "maxmemory-policy", "noeviction")
        self.rig.now_ms += 5000
        self.assertEqual(self.do("OBJECT", "IDLETIME", "a"), 0)

    def test_frequency(self) -> None:
        """A new key begins with 5, grows less and less, and falls by one a minute."""
        self.rig.server.random.seed(1)
        self.do("SET", "old", 1)
        self.do("CONFIG", "SET", "maxmemory-policy", "volatile-lfu")
        self.do("SET", "a", 1)
        self.assertEqual([self.do("OBJECT", "FREQ", key) for key in ("a", "old")], [5, 0])
        self.do("GET", "a")
        self.assertEqual(self.do("OBJECT", "FREQ", "a"), 6)
        self.do("MULTI")
        for _ in range(100):
            self.do("GET", "a")
        self.do("EXEC")
        counter = self.do("OBJECT", "FREQ", "a")
        self.assertTrue(7 <= counter <= 15, counter)
        self.rig.now_ms += 120_000
        self.assertEqual(self.do("OBJECT", "FREQ", "a"), counter - 2)
        self.do("DEL", "a")
        self.do("SET", "a", 1)
        self.assertEqual(self.do("OBJECT", "FREQ", "a"), 5)

    def test_the_quick_ways_note(self) -> None:
        """So do requests that otherwise go past what notes."""
        serving = Serving()
        client = serving.connect()
        client.told("SET a 1", "CONFIG SET maxmemory-policy allkeys-lru")
        serving.now_ms += 3000
        client.ask(*["GET a"] * 10)
        self.assertEqual(client.ask("OBJECT IDLETIME a"), b":0\r\n")
        plain = serving.server.statistics.plain
        self.assertNotIn(b"GET", plain)
        client.ask("CLIENT PAUSE 1000 WRITE", "CLIENT UNPAUSE")
        self.assertNotIn(b"GET", plain)
        client.ask("CONFIG SET maxmemory-policy noeviction")
        self.assertIn(b"GET", plain)
