"""Which words of a request are passwords, and are shown to nobody: those of AUTH, and of AUTH in HELLO."""

from __future__ import annotations

from collections.abc import Iterable

_REDACTED = b"(redacted)"


def without_passwords(words: list[bytes]) -> Iterable[bytes]:
    """The words of a request, with `(redacted)` for each that is secret, as Redis has it."""
    name = words[0].upper()
    if name == b"AUTH":
        return [words[0], *(_REDACTED for _ in words[1:])]
    if name == b"HELLO":
        return _hello_without_passwords(words)
    return words


def _hello_without_passwords(words: list[bytes]) -> Iterable[bytes]:
    secret = 0
    for word in words:
        yield _REDACTED if secret else word
        secret = secret - 1 if secret else 2 * (word.upper() == b"AUTH")
