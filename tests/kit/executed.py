"""A request as the session shows it to who watches."""

from __future__ import annotations

from typing import Any

from kvstore.session.hooks import Executed

#: A request as the session shows it; tests replace what they are about.
EXECUTED = Executed(
    number=12, client=7, database=0, address="127.0.0.1:50712", time_us=1_700_000_000_000_042, started_ns=5_000,
    ended_ns=9_000, words=[b"SET", b"zebra", b"1"], outcome="ok", commit=3,
)  # fmt: skip


def executed(*words: bytes, **fields: Any) -> Executed:
    """A request of client 7, made of these words."""
    return EXECUTED._replace(words=list(words), **fields)
