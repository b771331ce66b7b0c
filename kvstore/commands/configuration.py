"""The settings of one server: what CONFIG GET shows, CONFIG SET changes, and others obey.

Which there are, and which of them change, is told by the table (`setting_table`). What CONFIG SET changes is
forgotten when the server stops, unless CONFIG REWRITE puts it into the file that the server was started with.

Who obeys a setting asks for it when it matters (`number`), which costs two dictionaries; or, on the way of a plain
request, is told of it (`obey`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from kvstore.base.errors import InvalidRequest, shorten
from kvstore.commands.glob import matcher
from kvstore.commands.setting_table import ALIASES, HIDDEN, IMMUTABLE, SETTINGS, Setting

#: Of these CONFIG GET does not show all that was said, as Valkey's does not.
_OBEYED_AS_GIVEN = frozenset(["notify-keyspace-events"])
_WILD = frozenset("*?[\\")


class Configuration:
    """See the module. `started_with`: what the server's options say, name to text; names of our own among them.

    `checks`: what else is asked of a new value of a setting, by its name: raises ValueError with what is wrong.
    """

    def __init__(self, started_with: Mapping[str, str]) -> None:
        self._rows = {name: Setting(name, "", refusal=IMMUTABLE) for name in started_with} | SETTINGS
        self._values = {name: row.default for name, row in SETTINGS.items()} | dict(started_with)
        self._at_start = dict(self._values)
        self._set: set[str] = set()
        self._names = sorted([*self._rows, *ALIASES])
        self.checks: dict[str, Callable[[str], None]] = {}
        self._obeying: dict[str, list[Callable[[str], None]]] = {}

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
        self._set |= changes.keys()
        for typed, text in given:
            name = ALIASES.get(typed, typed)
            for apply in self._obeying.get(name, ()):
                apply(text if name in _OBEYED_AS_GIVEN else changes[name])

    def obey(self, name: str, apply: Callable[[str], None]) -> None:
        """Call `apply` with the value of a setting, now and whenever it is set: for who has no time to ask."""
        self._obeying.setdefault(name, []).append(apply)
        apply(self.text(name))

    def set_since(self) -> dict[str, str]:
        """What CONFIG SET has set since the start, with the values of now."""
        return {name: self._values[name] for name in self._set}

    def changed_since(self) -> dict[str, str]:
        """Of these, what is otherwise than at the start."""
        return {name: value for name, value in self.set_since().items() if value != self._at_start[name]}

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
        value = row.merge(self.text(name), row.kind(text))
        if row.refusal and value != self.text(name):
            raise ValueError(row.refusal)
        if row.name in self.checks:
            self.checks[row.name](value)
        return value


def _failed(name: str, reason: str) -> InvalidRequest:
    return InvalidRequest(f"CONFIG SET failed (possibly related to argument '{name}') - {reason}")
