"""The settings of one server: what CONFIG GET shows, CONFIG SET changes, and others obey.

Which there are, and which of them change, is told by the table (`setting_table`). What CONFIG SET changes is
forgotten when the server stops: there is no configuration file, an option of the start says what is to stay.

Who obeys a setting asks for it when it matters (`number`), which costs two dictionaries: nobody on the way of a plain
request does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from kvstore.base.errors import InvalidRequest, shorten
from kvstore.commands.glob import matcher
from kvstore.commands.setting_table import ALIASES, HIDDEN, IMMUTABLE, SETTINGS, Setting

_WILD = frozenset("*?[\\")


class Configuration:
    """See the module. `started_with`: what the server's options say, name to text; names of our own among them.

    `checks`: what else is asked of a new value of a setting, by its name: raises ValueError with what is wrong.
    `applied`: called with a value that was set, as it was given.
    """

    def __init__(self, started_with: Mapping[str, str]) -> None:
        self._rows = {name: Setting(name, "", refusal=IMMUTABLE) for name in started_with} | SETTINGS
        self._values = {name: row.default for name, row in SETTINGS.items()} | dict(started_with)
        self._names = sorted([*self._rows, *ALIASES])
        self.checks: dict[str, Callable[[str], None]] = {}
        self.applied: dict[str, Callable[[str], None]] = {}

    def text(self, name: str) -> str:
        """The value of a setting, by one of its names in lower case. Raises KeyError if there is none."""
        return self._values[ALIASES.get(name, name)]

    def number(self, name: str) -> int:
        """The same of one that is a number."""
        return int(self.text(name))

    def matching(self, patterns: Sequence[bytes]) -> dict[str, str]:
        """Names and values of the settings that one of the glob patterns names, in any case; under the name that was
        asked for, if that is no pattern.
        """
        found: dict[str, str] = {}
        for pattern in patterns:
            plain = pattern.decode("latin-1")
            if _WILD.isdisjoint(plain):
                names = [plain.lower()] if plain.lower() in self._names else []
            else:
                matches = matcher(pattern, any_case=True)
                names = [name for name in self._names if name not in HIDDEN and matches(name.encode())]
            for name in names:
                found.setdefault(name, plain if plain.lower() == name else name)
        return {shown: self.text(name) for name, shown in found.items()}

    def set(self, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        """Change settings, all of them or, raising InvalidRequest, none."""
        changes: dict[str, str] = {}
        given = self._changeable(pairs)
        for name, text in given:
            try:
                changes[ALIASES.get(name, name)] = self._checked(name, text)
            except ValueError as error:
                raise _failed(name, str(error)) from None
        self._values |= changes
        for name, text in given:
            if (apply := self.applied.get(ALIASES.get(name, name))) is not None:
                apply(text)

    def _changeable(self, pairs: Sequence[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
        """The names, in lower case, and the new values; each name is one of a setting that may be changed."""
        changes: dict[str, str] = {}
        for word, value in pairs:
            name = word.decode("latin-1").lower()
            row = self._rows.get(ALIASES.get(name, name))
            if row is None:
                raise InvalidRequest(f"Unknown option or number of arguments for CONFIG SET - '{shorten(word)}'")
            if row.refusal == IMMUTABLE:
                raise _failed(shorten(word), IMMUTABLE)
            if name in changes:
                raise _failed(shorten(word), "duplicate parameter")
            changes[name] = value.decode("utf-8", "surrogateescape")
        return list(changes.items())

    def _checked(self, name: str, text: str) -> str:
        """The new value of a setting. Raises ValueError if it can not be that."""
        row = self._rows[ALIASES.get(name, name)]
        value = row.kind(text)
        if row.refusal and value != self.text(name):
            raise ValueError(row.refusal)
        if row.name in self.checks:
            self.checks[row.name](value)
        return value


def _failed(name: str, reason: str) -> InvalidRequest:
    return InvalidRequest(f"CONFIG SET failed (possibly related to argument '{name}') - {reason}")
