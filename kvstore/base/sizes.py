"""Sizes as people read them."""

from __future__ import annotations

from kvstore.base.limits import KIB, MIB

GIB = 1024 * MIB

#: Redis's units of sizes, in lower case: with a b thousand is 1024, without it 1000.
UNITS = {"": 1, "b": 1, "k": 1000, "kb": KIB, "m": 1000**2, "mb": MIB, "g": 1000**3, "gb": GIB}


def human(count: int) -> str:
    """A number of bytes as Redis writes it: 512B, 1.50K, 2.00M (server.c, bytesToHuman)."""
    for unit, letter in ((GIB, "G"), (MIB, "M"), (KIB, "K")):
        if count >= unit:
            return f"{count / unit:.2f}{letter}"
    return f"{count}B"
