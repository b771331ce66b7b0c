"""MEMORY."""

from __future__ import annotations

from kvstore.base.limits import MIB
from tests.kit.harness import CommandTestCase


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

    def test_stats(self) -> None:
        """They are INFO's, under names of their own."""
        self.rig.server.info["memory"] = lambda: [
            ("used_memory", 7),
            ("used_memory_dataset", 6),
            ("mem_allocator", "x"),
        ]
        self.do("SET", "a", 1)
        self.do("SET", "b", 1)
        stats = self.do("MEMORY", "STATS")
        told = {name: stats[name] for name in ("total.allocated", "dataset.bytes", "keys.count", "keys.bytes-per-key")}
        self.assertEqual(told, {"total.allocated": 7, "dataset.bytes": 6, "keys.count": 2, "keys.bytes-per-key": 3})
        self.assertEqual(stats["db.0"].keys(), {"overhead.hashtable.main", "overhead.hashtable.expires"})

    def test_doctor(self) -> None:
        """It finds what is wrong, by what INFO tells."""
        told = {
            "used_memory": 50 * MIB, "used_memory_startup": 30 * MIB, "used_memory_peak": 60 * MIB,
            "used_memory_rss": 65 * MIB, "mem_clients_normal": 100,
        }  # fmt: skip
        self.rig.server.info["memory"] = lambda: list(told.items())
        self.assertIn("I can't find any memory issue", self.do("MEMORY", "DOCTOR"))
        for field, size, issue in (
            ("used_memory_startup", 49 * MIB, "is using very little memory"),
            ("used_memory_peak", 80 * MIB, "Peak memory"),
            ("used_memory_rss", 80 * MIB, "High total RSS"),
            ("mem_clients_normal", 9 * MIB, "Big client buffers"),
        ):
            before, told[field] = told[field], size
            self.assertIn(issue, self.do("MEMORY", "DOCTOR"))
            told[field] = before
