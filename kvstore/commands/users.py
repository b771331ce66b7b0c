"""The users of one server: who they are, and what they may do, in the shape of Valkey's ACLs.

A user is said in rules, as a selector is (see there), and besides

| rule | what it means |
|---|---|
| `on` `off` | whether one may log in as this user; who is logged in stays |
| `>password` `<password` | one of its passwords; one of them no more |
| `#hash` `!hash` | the same by its SHA-256 in hexadecimal |
| `nopass` `resetpass` | any password will do; there is none |
| `(rules)` `clearselectors` | one more selector; none but the first |
| `reset` | as it was when it was new |

Passwords are kept hashed. SHA-256 once is what Valkey has, so that its lists of users can be read; it is for passwords
that nobody can guess (ACL GENPASS). They are compared in the same time whatever they are, and whoever asks: how long a
refusal takes does not tell whether there is such a user.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from hmac import compare_digest

from kvstore.base.errors import Failure, InvalidRequest
from kvstore.commands.rights import Rights
from kvstore.commands.selector import RuleError, Selector, has_blanks

DEFAULT = b"default"

_HASH = re.compile(rb"[0-9a-f]{64}").fullmatch
#: What Valkey still takes, and has no meaning any more.
_IGNORED = (b"", b"sanitize-payload", b"skip-sanitize-payload")


class User:
    """One user. A new one is off, has no password and may do nothing. `all_channels`: but use all channels.

    `passwords`: their hashes, in the order in which they came. `rights`: what it may do.
    """

    def __init__(self, name: bytes, *, all_channels: bool = False) -> None:
        self.name = name
        self._all_channels = all_channels
        self.is_on = False
        self.needs_no_password = False
        self.passwords: dict[bytes, None] = {}
        self.rights = Rights([Selector(all_channels=all_channels)])

    def become(self, other: User) -> None:
        """Be what another is, but for the name."""
        self.is_on, self.needs_no_password = other.is_on, other.needs_no_password
        self.passwords, self.rights = dict(other.passwords), other.rights

    def copy(self, *, all_channels: bool) -> User:
        """One of the same name and rights. `all_channels`: as for a new one, for `reset`."""
        user = User(self.name, all_channels=all_channels)
        user.become(self)
        return user

    def apply(self, rules: Iterable[bytes]) -> None:
        """Change it by rules, one after the other. Raises RuleError."""
        for rule in rules:
            self._apply(rule)

    def _apply(self, rule: bytes) -> None:
        word = rule.lower()
        if (change := _WORDS.get(word)) is not None:
            change(self)
        elif rule[:1] in (b">", b"#", b"<", b"!"):
            self._change_password(rule)
        elif rule.startswith(b"(") and rule.endswith(b")"):
            self._add_selector(rule[1:-1])
        elif word not in _IGNORED:
            root = self.rights.selectors[0].copy()
            root.apply(rule)
            self.rights = Rights([root, *self.rights.selectors[1:]])

    def _change_password(self, rule: bytes) -> None:
        digest = hashed(rule[1:]) if rule[:1] in (b">", b"<") else rule[1:]
        if not _HASH(digest):
            raise RuleError(
                "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"
            )
        if rule[:1] in (b">", b"#"):
            self.passwords[digest] = None
            self.needs_no_password = False
        elif digest in self.passwords:
            del self.passwords[digest]
        else:
            raise RuleError("The password you are trying to remove from the user does not exist")

    def _add_selector(self, rules: bytes) -> None:
        selector = Selector(all_channels=self._all_channels)
        for rule in rules.split():
            if rule.endswith(b")"):  # in a file of users it would end the selector
                raise RuleError("Syntax error")
            selector.apply(rule)
        self.rights = Rights([*self.rights.selectors, selector])

    def _turn(self, is_on: bool) -> None:
        self.is_on = is_on

    def _drop_passwords(self, needs_none: bool) -> None:
        self.passwords.clear()
        self.needs_no_password = needs_none

    def _drop_selectors(self) -> None:
        self.rights = Rights(self.rights.selectors[:1])

    def _reset(self) -> None:
        self.become(User(self.name, all_channels=self._all_channels))

    @property
    def flags(self) -> list[bytes]:
        """Words for how it stands with logging in."""
        return [b"on" if self.is_on else b"off", *([b"nopass"] if self.needs_no_password else [])]

    def describe(self) -> bytes:
        """Rules by which a new user becomes as this one, as ACL LIST and a file of users have them."""
        root, *others = (selector.describe() for selector in self.rights.selectors)
        hashes = [b"#" + digest for digest in self.passwords]
        return b" ".join([*self.flags, *hashes, root, *(b"(%b)" % other for other in others)])

    @property
    def lets_in_anybody(self) -> bool:
        """Whether one is this user without saying so; of the default user."""
        return self.is_on and self.needs_no_password


_WORDS: dict[bytes, Callable[[User], None]] = {
    b"on": lambda user: user._turn(True),
    b"off": lambda user: user._turn(False),
    b"nopass": lambda user: user._drop_passwords(True),
    b"resetpass": lambda user: user._drop_passwords(False),
    b"clearselectors": User._drop_selectors,
    b"reset": User._reset,
}


def hashed(password: bytes) -> bytes:
    """A password as it is kept."""
    return sha256(password).hexdigest().encode()


def merged(words: Sequence[bytes]) -> list[bytes]:
    """Rules, each selector as one of them, whose words may stand apart: `(+get`, `~a)`. Raises InvalidRequest."""
    rules: list[bytes] = []
    begun: list[bytes] = []
    for word in words:
        if begun or (word.startswith(b"(") and not word.endswith(b")")):
            begun.append(word)
            if len(begun) > 1 and word.endswith(b")"):
                rules.append(b" ".join(begun))
                begun = []
        else:
            rules.append(word)
    if begun:
        shown = begun[0].decode("utf-8", "replace")
        raise InvalidRequest(f"Unmatched parenthesis in acl selector starting at '{shown}'.")
    return rules


def default_user() -> User:
    """The user that everybody is who does not say otherwise: who may do all, and needs no password."""
    user = User(DEFAULT)
    user.apply([b"+@all", b"~*", b"&*", b"on", b"nopass"])
    return user


class Users:
    """All users, by name. `default`: the one that there always is; always the same object.

    `changed`: called with a user that may do something else now. `deleted`: called with one that is none any more.
    `all_channels`: whether new users may use all channels.
    """

    def __init__(self) -> None:
        self.default = default_user()
        self._users = {DEFAULT: self.default}
        self.all_channels = False
        self.changed: Callable[[User], None] = lambda user: None
        self.deleted: Callable[[User], None] = lambda user: None
        self._nobody = User(b"")
        self._nobody.passwords = {hashed(b""): None}

    def __iter__(self) -> Iterator[User]:
        """All of them, by the names' order."""
        return (self._users[name] for name in sorted(self._users))

    def get(self, name: bytes) -> User | None:
        """The user of that name."""
        return self._users.get(name)

    def authenticate(self, name: bytes, password: bytes) -> User:
        """The user of that name, if that is a password of theirs. Raises Failure."""
        digest = hashed(password)
        user = self._users.get(name)
        matches = [compare_digest(digest, each) for each in (user or self._nobody).passwords]
        if user is None or not user.is_on or not (user.needs_no_password or any(matches)):
            raise Failure("invalid username-password pair or user is disabled.", "WRONGPASS")
        return user

    def set_user(self, name: bytes, words: Sequence[bytes]) -> None:
        """Change a user by rules, all of them or, raising InvalidRequest, none; make one if there is none."""
        if has_blanks(name):
            raise InvalidRequest("Usernames can't contain spaces or null characters")
        user = self._users.get(name)
        wanted = User(name, all_channels=self.all_channels) if user is None else self._copy(user)
        for rule in merged(words):
            try:
                wanted.apply([rule])
            except RuleError as error:
                shown = rule.decode("utf-8", "replace")
                raise InvalidRequest(f"Error in ACL SETUSER modifier '{shown}': {error}") from None
        if user is None:
            self._users[name] = wanted
        else:
            self._change(user, wanted)

    def set_default_password(self, password: bytes | None) -> None:
        """The default user has this password and no other; None: and needs none."""
        wanted = self._copy(self.default)
        wanted.apply([b"nopass"] if password is None else [b"resetpass", b">" + password])
        self._change(self.default, wanted)

    def set_default_hash(self, digest: bytes) -> None:
        """The default user has the password of this hash and no other."""
        wanted = self._copy(self.default)
        wanted.apply([b"resetpass", b"#" + digest])
        self._change(self.default, wanted)

    def delete(self, name: bytes) -> bool:
        """Delete a user, who is not the default one; returns whether there was one."""
        user = self._users.pop(name, None)
        if user is not None:
            self.deleted(user)
        return user is not None

    def replace(self, users: Mapping[bytes, User]) -> None:
        """These are the users from now on; the default user, if it is not among them, as it is at first."""
        wanted = {DEFAULT: default_user(), **users}
        for name in [name for name in self._users if name not in wanted]:
            self.delete(name)
        for name, user in wanted.items():
            if name in self._users:
                self._change(self._users[name], user)
            else:
                self._users[name] = user

    def _copy(self, user: User) -> User:
        return user.copy(all_channels=self.all_channels)

    def _change(self, user: User, wanted: User) -> None:
        user.become(wanted)
        self.changed(user)
