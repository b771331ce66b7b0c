"""Which words of a request are secret, and are shown to nobody who watches, as Redis has it.

| request | secret |
|---|---|
| AUTH | all |
| HELLO ... AUTH username password | these two |
| ACL SETUSER, DELUSER, GETUSER | all: names, rules, passwords |
| CONFIG SET | the values of what is a password, or names one |
"""

from __future__ import annotations

from collections.abc import Iterable

from kvstore.commands.setting_table import ALIASES, SECRET

_REDACTED = b"(redacted)"
_ABOUT_USERS = (b"SETUSER", b"DELUSER", b"GETUSER")
_SECRET_SETTINGS = {name.encode() for name in (*SECRET, *(old for old, name in ALIASES.items() if name in SECRET))}


def without_passwords(words: list[bytes]) -> Iterable[bytes]:
    """The words of a request, with `(redacted)` for each that is secret."""
    name = words[0].upper()
    if name == b"AUTH":
        return [words[0], *(_REDACTED for _ in words[1:])]
    if name == b"HELLO":
        return _hello_without_passwords(words)
    if name == b"ACL" and len(words) > 2 and words[1].upper() in _ABOUT_USERS:
        return [*words[:2], *(_REDACTED for _ in words[2:])]
    if name == b"CONFIG" and len(words) > 2 and words[1].upper() == b"SET":
        return [*words[:2], *_settings_without_passwords(words[2:])]
    return words


def has_passwords(words: list[bytes]) -> bool:
    """Whether any of the words is secret: then so may be what an error says of them."""
    return _REDACTED in without_passwords(words)


def _hello_without_passwords(words: list[bytes]) -> Iterable[bytes]:
    secret = 0
    for word in words:
        yield _REDACTED if secret else word
        secret = secret - 1 if secret else 2 * (word.upper() == b"AUTH")


def _settings_without_passwords(words: list[bytes]) -> Iterable[bytes]:
    for before, word in zip([b"", *words], words, strict=False):
        yield _REDACTED if before.lower() in _SECRET_SETTINGS else word
