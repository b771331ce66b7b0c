"""The hash whose secret is in the directory."""

from __future__ import annotations

import os
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from kvstore.store.keyed_hash import PLACE_BITS, KeyedHash, of_store

_STORE = "0123456789abcdef" * 2


class KeyedHashTests(SynchronousTestCase):
    """What SCAN's buckets and the merge's shares rest on."""

    def test_it_is_for_ever(self) -> None:
        """The value is BLAKE2b's, so that every process and every version has the same."""
        self.assertEqual(of_store(_STORE).place(b"key"), 0x6CD0F75156884383)
        self.assertEqual(of_store(_STORE).place(b""), 0x713097D40DDC49B9)

    def test_another_process(self) -> None:
        """One whose own hash of bytes is another one."""
        program = f"from kvstore.store.keyed_hash import of_store; print(of_store({_STORE!r}).place(b'key'))"
        environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)}
        printed = subprocess.run([sys.executable, "-c", program], env=environment, check=True, capture_output=True)
        self.assertEqual(int(printed.stdout), of_store(_STORE).place(b"key"))

    def test_another_secret(self) -> None:
        """Keys that lie together under one secret do not under another."""
        mine, other = KeyedHash(b"a" * 16), KeyedHash(b"b" * 16)
        together = [key for key in map(b"%d".__mod__, range(4000)) if mine.place(key) % 16 == 0]
        self.assertEqual({other.place(key) % 16 for key in together}, set(range(16)))

    def test_every_bit_is_used(self) -> None:
        """Of many keys each bit is set about half of the time."""
        places = [KeyedHash(b"a" * 16).place(b"%d" % number) for number in range(2000)]
        for bit in range(PLACE_BITS):
            self.assertTrue(800 < sum(place >> bit & 1 for place in places) < 1200, bit)
