"""One set of rights, as Valkey's ACLs have them: which commands, keys, channels and databases. A user has one or more.

Rights are said in rules, one after the other, and told in the fewest rules that say the same, in Valkey's order:

| rule | what it lets |
|---|---|
| `+get` `-get` `+client|list` `-client|list` | a command, with all its subcommands; one subcommand |
| `+@read` `-@read` `+@all` `-@all` | all commands of a category (see `categories`); all there will ever be |
| `+select|0` | a command that has no subcommands, with that first argument |
| `~pattern` `%R~pattern` `%W~pattern` `%RW~pattern` | to read and write keys, to read them, to write them |
| `&pattern` | channels; PSUBSCRIBE only patterns that are said here in the same letters |
| `db=0,1` | databases |
| `allkeys` `resetkeys` `allchannels` `resetchannels` `alldbs` `resetdbs` `allcommands` `nocommands` | all; none |
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from copy import copy

from kvstore.base.errors import InvalidRequest
from kvstore.commands.asked import OF_ALL_DATABASES, READ_KEYS, WRITE_KEYS, Asked, Denial, Reason
from kvstore.commands.categories import CATEGORIES, commands_of, is_about_keys, known_commands, subcommands_of
from kvstore.commands.glob import matcher
from kvstore.commands.registry import Command
from kvstore.commands.row import NO_AUTH
from kvstore.commands.setting_kinds import INT32_MAX

_WRONG_SYNTAX = "Syntax error"
_AFTER_ALL = (
    "Adding a pattern after the * pattern (or the 'all{0}' flag) is not valid and does not have any effect."
    " Try 'reset{0}' to start with an empty list of {1}"
)

_SIGILS = {READ_KEYS | WRITE_KEYS: b"~", READ_KEYS: b"%R~", WRITE_KEYS: b"%W~"}
_LETTERS = {ord("R"): READ_KEYS, ord("W"): WRITE_KEYS}

_BLANK_OR_NUL = re.compile(rb"[ \t\n\v\f\r\0]").search
_DATABASE = re.compile(rb"[ \t\n\v\f\r]*([+-]?[0-9]+)").fullmatch


class RuleError(Exception):
    """A rule that means nothing; nothing was changed. The text is Valkey's."""


class UnknownCommand(RuleError):
    """The rule is about a command, or a category, that there is not."""

    def __init__(self) -> None:
        super().__init__("Unknown command or category name in ACL")


class Selector:
    """See the module. A new one lets nothing, but all databases. `all_channels`: and all channels."""

    def __init__(self, *, all_channels: bool = False) -> None:
        #: Names of commands, in upper case; None for all.
        self._commands: frozenset[str] | None = frozenset()
        #: Whether commands that are added some day are among them.
        self._begins_with_all = False
        #: The rules about commands since, each name with its sign, in the order in which they came.
        self._rules: dict[str, str] = {}
        #: First arguments, in lower case, with which commands may be run that may not.
        self._first_arguments: dict[str, frozenset[bytes]] = {}
        #: Patterns with what they let, in the order in which they came; None for all.
        self._keys: dict[bytes, int] | None = {}
        self._channels: dict[bytes, None] | None = None if all_channels else {}
        self._databases: frozenset[int] | None = None

    def copy(self) -> Selector:
        """One of the same rights, which can be given others."""
        return copy(self)  # what it holds is replaced when it changes, never changed

    # Rules

    def apply(self, rule: bytes) -> None:
        """Change it by a rule. Raises RuleError."""
        word = rule.lower()
        if (change := _WORDS.get(word)) is not None:
            change(self)
        elif word.startswith(b"db="):
            self._databases = _to_databases(word[3:])
        elif rule[:1] in (b"~", b"%"):
            self._add_keys(rule)
        elif rule.startswith(b"&"):
            self._add_channels(rule[1:])
        elif rule[:1] in (b"+", b"-"):
            self._change_commands(word[1:].decode("latin-1"), allow=rule.startswith(b"+"))
        else:
            raise RuleError(_WRONG_SYNTAX)

    def _let_all_commands(self) -> None:
        self._commands, self._begins_with_all, self._rules, self._first_arguments = None, True, {}, {}

    def _let_no_commands(self) -> None:
        self._commands, self._begins_with_all, self._rules, self._first_arguments = frozenset(), False, {}, {}

    def _add_keys(self, rule: bytes) -> None:
        if self._keys is None:
            raise RuleError(_AFTER_ALL.format("keys", "patterns"))
        access, pattern = (READ_KEYS | WRITE_KEYS, rule[1:]) if rule.startswith(b"~") else _to_access(rule)
        _check_pattern(pattern)
        self._keys = self._keys | {pattern: self._keys.get(pattern, 0) | access}

    def _add_channels(self, pattern: bytes) -> None:
        if self._channels is None:
            raise RuleError(_AFTER_ALL.format("channels", "channels"))
        _check_pattern(pattern)
        self._channels = self._channels | {pattern: None}

    def _change_commands(self, name: str, *, allow: bool) -> None:
        if name.startswith("@"):
            if name[1:] not in CATEGORIES:
                raise UnknownCommand
            for each in commands_of(name):
                self._let(each, allow=allow)
        elif (known := name.upper()) in known_commands():
            self._let(known, allow=allow)
        elif allow and "|" in name:
            self._let_first_argument(name)
        else:
            raise UnknownCommand
        self._note_rule(name, allow=allow)

    def _let(self, name: str, *, allow: bool) -> None:
        """Let a command be run, or not, with all its subcommands."""
        names = {name, *subcommands_of(name)}
        if self._commands is None:
            self._commands = None if allow else frozenset(known_commands()) - names
        else:
            self._commands = self._commands | names if allow else self._commands - names
        self._first_arguments = {each: words for each, words in self._first_arguments.items() if each != name}

    def _let_first_argument(self, name: str) -> None:
        command, _, argument = name.rpartition("|")
        command = command.upper()
        if command not in known_commands() or (subcommands_of(command) and argument):
            raise UnknownCommand
        if "|" in command:
            raise RuleError("Allowing first-arg of a subcommand is not supported")
        if not argument or has_blanks(argument.encode("latin-1")):
            raise RuleError(_WRONG_SYNTAX)
        allowed = self._first_arguments.get(command, frozenset()) | {argument.encode("latin-1")}
        self._first_arguments = self._first_arguments | {command: allowed}

    def _note_rule(self, name: str, *, allow: bool) -> None:
        kept = {each: sign for each, sign in self._rules.items() if each != name and not each.startswith(f"{name}|")}
        self._rules = kept | {name: "+" if allow else "-"}

    # Descriptions

    def shown_commands(self) -> bytes:
        """Its rules about commands."""
        shown = ["+@all" if self._begins_with_all else "-@all"]
        return " ".join([*shown, *(sign + name for name, sign in self._rules.items())]).encode("latin-1")

    def shown_keys(self) -> bytes:
        """Its rules about keys."""
        if self._keys is None:
            return b"~*"
        return b" ".join(_SIGILS[access] + pattern for pattern, access in self._keys.items())

    def shown_channels(self) -> bytes:
        """Its rules about channels."""
        return b"&*" if self._channels is None else b" ".join(b"&" + pattern for pattern in self._channels)

    def shown_databases(self) -> bytes:
        """Its rule about databases."""
        if self._databases is None:
            return b"alldbs"
        return b"db=" + b",".join(b"%d" % each for each in sorted(self._databases)) if self._databases else b""

    def describe(self) -> bytes:
        """Rules by which a new selector becomes as this one, as ACL LIST has them."""
        channels = [self.shown_channels()] if self._channels is None else [b"resetchannels", self.shown_channels()]
        databases = [] if self._databases is None else [self.shown_databases() or b"resetdbs"]
        return b" ".join(filter(None, [self.shown_keys(), *channels, *databases, self.shown_commands()]))

    # What it lets

    @property
    def lets_all(self) -> bool:
        """Whether it lets everything."""
        commands = self._commands is None or self._commands.issuperset(known_commands())
        return commands and self._keys is None and self._channels is None and self._databases is None

    def denied(self, asked: Asked) -> Denial | None:
        """What a request lacks, None if it may be done."""
        denial = None if self._databases is None else self._denied_database(asked, self._databases)
        if denial is None and not self._lets_command(asked):
            denial = Denial(Reason.COMMAND, 0, asked.row.name.lower().encode())
        if denial is None and self._keys is not None:
            denial = self._denied_key(asked)
        return self._denied_channel(asked) if denial is None and self._channels is not None else denial

    def _lets_command(self, asked: Asked) -> bool:
        row, words = asked.row, asked.words
        if self._commands is None or row.flags & NO_AUTH or row.name in self._commands:
            return True
        return len(words) > 1 and words[1].lower() in self._first_arguments.get(row.name, ())

    @staticmethod
    def _denied_database(asked: Asked, allowed: frozenset[int]) -> Denial | None:
        for place, database in asked.named_databases:
            if database not in allowed:
                return Denial(Reason.DATABASE, place, b"%d" % database)
        row = asked.row
        if row.name in OF_ALL_DATABASES:
            is_denied = not allowed.issuperset(asked.all_databases())
        elif asked.names_databases:
            is_denied = row.has_keys and asked.database not in allowed
        else:
            is_denied = asked.database not in allowed and is_about_keys(row)
        return Denial(Reason.DATABASE, 0, row.name.lower().encode()) if is_denied else None

    def _denied_key(self, asked: Asked) -> Denial | None:
        if asked.reads_all_keys and not self.lets_all_keys(READ_KEYS):
            return Denial(Reason.KEY, 1, b"*")
        for place, (key, access) in enumerate(asked.keys, 1):
            if not self._lets_key(key, access):
                return Denial(Reason.KEY, place, key)
        return None

    def _lets_key(self, key: bytes, access: int) -> bool:
        assert self._keys is not None
        return any(allowed & access == access and matcher(pattern)(key) for pattern, allowed in self._keys.items())

    def keys_let(self, row: Command, access: int) -> Iterator[Callable[[bytes], object]]:
        """What tells of a key that it lets the command do that with it, in any database; none if that hangs on more."""
        if self._databases is None and (self._commands is None or row.name in self._commands):
            if self._keys is None:
                yield _anything
            else:
                yield from (matcher(each) for each, allowed in self._keys.items() if allowed & access == access)

    def _denied_channel(self, asked: Asked) -> Denial | None:
        channels, is_pattern = asked.channels
        for place, channel in enumerate(channels, 1):
            if not self.lets_channel(channel, is_pattern=is_pattern):
                return Denial(Reason.CHANNEL, place, channel)
        return None

    def lets_channel(self, channel: bytes, *, is_pattern: bool) -> bool:
        """Whether it lets a channel, or a pattern of channels, which has to be one of its own."""
        if self._channels is None:
            return True
        return channel in self._channels if is_pattern else any(matcher(each)(channel) for each in self._channels)

    def lets_all_keys(self, access: int) -> bool:
        """Whether it lets that be done with every key."""
        return self._keys is None or self._keys.get(b"*", 0) & access == access


def _setter(name: str, value: object) -> Callable[[Selector], None]:
    return lambda selector: setattr(selector, name, value)


_WORDS: dict[bytes, Callable[[Selector], None]] = {
    b"allcommands": Selector._let_all_commands,
    b"+@all": Selector._let_all_commands,
    b"nocommands": Selector._let_no_commands,
    b"-@all": Selector._let_no_commands,
    b"allkeys": _setter("_keys", None),
    b"~*": _setter("_keys", None),
    b"resetkeys": _setter("_keys", {}),
    b"allchannels": _setter("_channels", None),
    b"&*": _setter("_channels", None),
    b"resetchannels": _setter("_channels", {}),
    b"alldbs": _setter("_databases", None),
    b"resetdbs": _setter("_databases", frozenset()),
}


def _anything(key: bytes) -> bool:
    return True


def has_blanks(text: bytes) -> bool:
    """Whether there are blanks or zero bytes in a name or pattern, which could not be told in a line then."""
    return _BLANK_OR_NUL(text) is not None


def _check_pattern(pattern: bytes) -> None:
    """Raise RuleError for a pattern that is none."""
    if has_blanks(pattern):
        raise RuleError(_WRONG_SYNTAX)
    try:
        matcher(pattern)
    except InvalidRequest as error:
        raise RuleError(error.text) from None


def _to_access(rule: bytes) -> tuple[int, bytes]:
    """What `%RW~pattern` lets, and the pattern. Raises RuleError."""
    access = 0
    for place, letter in enumerate(rule[1:].upper(), 1):
        if letter == ord("~"):
            rest = rule[place + 1 :]
            break
        if (added := _LETTERS.get(letter, access)) & access or not added:
            raise RuleError(_WRONG_SYNTAX)
        access |= added
    else:
        rest = b""
    if not access:
        raise RuleError(_WRONG_SYNTAX)
    return access, rest


def _to_databases(text: bytes) -> frozenset[int]:
    """The numbers between commas. Raises RuleError."""
    numbers = [_DATABASE(word) for word in text.split(b",")]
    if not all(numbers):
        raise RuleError(_WRONG_SYNTAX)
    found = [int(number[1]) if len(number[1]) < 20 else -1 for number in numbers if number]
    if not all(0 <= each <= INT32_MAX for each in found):
        raise RuleError("The provided database ID is out of range")
    return frozenset(found)
