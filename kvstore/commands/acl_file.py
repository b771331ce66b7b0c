"""The text of a file of users, in Valkey's form: one in each line, `user NAME RULES`, as ACL LIST has it; or nothing.

It is read whole or not at all: every line that makes no sense is told, with its number, and nothing is changed then. A
line of comment makes no sense, since ACL SAVE would lose it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from kvstore.base.errors import InvalidRequest
from kvstore.commands.selector import RuleError, UnknownCommand, has_blanks
from kvstore.commands.users import User, merged


class Kept(Protocol):
    """A file of users. `path`: its name."""

    path: str

    def read(self) -> bytes:
        """All that is in it. Raises OSError."""

    def write(self, content: bytes) -> None:
        """Replace it atomically. Raises OSError, and tells the log why. Durability: on disk when this returns."""


class BadUsers(Exception):
    """The text makes no sense; all of what is wrong with it, in one line."""


def text_of(users: Iterable[User]) -> bytes:
    """The text that `parse` reads as these users."""
    return b"".join(b"user %b %b\n" % (user.name, user.describe()) for user in users)


def parse(content: bytes, path: str, *, all_channels: bool) -> dict[bytes, User]:
    """The users of a text, by name. `path`: of its file, for the errors. `all_channels`: see `User`.

    Raises BadUsers.
    """
    users: dict[bytes, User] = {}
    errors: list[str] = []
    for number, line in enumerate(content.split(b"\n"), 1):
        words = line.strip(b" \t\r\n").split(b" ")
        if words != [b""]:
            errors += _read(words, f"{path}:{number}", number, users, all_channels)
    if errors:
        raise BadUsers(" ".join(errors))
    return users


def check(words: Sequence[bytes]) -> None:
    """Look whether a line of a file of settings makes sense. `words`: the user's name, and rules. Raises BadUsers."""
    name, *rules = words
    shown = name.decode("utf-8", "replace")
    if has_blanks(name):
        raise BadUsers("Usernames can't contain spaces or null characters")
    if errors := list(_apply(User(name), rules, f"Error in user declaration '{shown}'")):
        raise BadUsers(" ".join(errors))


def _read(words: list[bytes], place: str, number: int, users: dict[bytes, User], all_channels: bool) -> Iterator[str]:
    """Add the user of a line. Returns what is wrong with it."""
    if words[0] != b"user" or len(words) < 2:
        yield f"{place} should start with user keyword followed by the username."
        return
    shown = words[1].decode("utf-8", "replace")
    if has_blanks(words[1]):
        yield f"'{place}: username '{shown}' contains invalid characters."
    elif words[1] in users:
        yield f"WARNING: Duplicate user '{shown}' found on line {number}."
    else:
        user = users[words[1]] = User(words[1], all_channels=all_channels)
        yield from _apply(user, words[2:], place)


def _apply(user: User, words: list[bytes], place: str) -> Iterator[str]:
    """Give a user the rules of its line. Returns what is wrong with them; no rule that may hold a password is shown."""
    try:
        rules = merged(words)
    except InvalidRequest:
        yield f"{place}: Unmatched parenthesis in selector definition."
        return
    is_wrong = False
    for rule in rules:
        try:
            user.apply([rule.strip(b"\t\r\n")])
        except UnknownCommand as error:
            yield f"{place}: Error in applying operation '{rule.decode('utf-8', 'replace')}': {error}."
        except RuleError as error:
            if not is_wrong:  # what follows may be wrong only because of this
                yield f"{place}: {error}."
            is_wrong = True
