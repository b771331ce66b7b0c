"""OBJECT and MEMORY. (OBJECT ENCODING is tested with each type, and all of OBJECT compared with Valkey.)"""

from __future__ import annotations

from tests.kit.harness import CommandTestCase


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


class MemoryTests(CommandTestCase):
    """What is told of memory."""

    def test_usage(self) -> None:
        """A key takes what its bytes and its value's take, and something besides; one that is not there nothing."""
        self.do("SET", "a", b"x" * 1000)
        self.do("RPUSH", "l", b"x" * 1000, b"y" * 1000)
        self.assertEqual([self.do("MEMORY", "USAGE", key) // 1000 for key in "al"], [1, 2])
        self.assertEqual(self.do("MEMORY", "USAGE", "a", "SAMPLES", 5), self.do("MEMORY", "USAGE", "a"))
        self.assertIsNone(self.do("MEMORY", "USAGE", "nosuch"))
        self.script("""
            MEMORY USAGE a SAMPLES -> !ERR syntax error
            MEMORY USAGE a FOO 1 -> !ERR syntax error
            MEMORY USAGE a SAMPLES -1 -> !ERR syntax error
            MEMORY USAGE a SAMPLES x -> !ERR value is not an integer or out of range
            MEMORY PURGE -> OK
            MEMORY MALLOC-STATS -> 'Stats not supported for the current allocator'
        """)
        self.assertIn("wrong", self.do("MEMORY", "DOCTOR"))

    def test_stats(self) -> None:
        """They are INFO's, under names of their own."""
        self.rig.server.info["memory"] = lambda: [
            ("used_memory", 7),
            ("used_memory_dataset", 6),
            ("mem_allocator", "x"),
        ]
        self.do("SET", "a", 1)
        self.do("SET", "b", 1)
        stats = {"total.allocated": 7, "dataset.bytes": 6, "keys.count": 2, "keys.bytes-per-key": 3}
        self.assertEqual(self.do("MEMORY", "STATS"), stats)
