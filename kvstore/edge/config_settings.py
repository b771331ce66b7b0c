"""From the lines of a file of settings (--config) to options and settings: what each line means here, checked.

Lines are checked as options are, and as CONFIG SET does: what is refused there is refused here, with the same reason.
What is fixed, or held, may be said as it is: so a redis.conf that says what a server here does anyway is no error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kvstore.commands.acl_file import BadUsers, check
from kvstore.commands.setting_kinds import yes_or_no
from kvstore.commands.setting_table import IMMUTABLE, SETTINGS
from kvstore.edge.config_text import OPTION_OF, SEVERAL_WORDS, USER, Line
from kvstore.edge.exposure import is_loopback
from kvstore.edge.option_text import host_name
from kvstore.edge.settings import REDIS_LEVELS

#: Options that add up, and those that are switches.
_LISTS = ("listen", "http-host")
_FLAGS = ("insecure", "log-clients")
#: Settings whose lines add up.
_ADDING = ("client-output-buffer-limit",)
_LEVELS = {theirs: ours for ours, theirs in REDIS_LEVELS.items()} | {"verbose": "debug"}


class ConfigSettings:
    """See the module. `readers`: by option, what reads its text. `check_endpoint`: raises ValueError for a bad one.

    `options`: the texts of options that take one. `lists`: of those that take several. `flags`: switches that are on.
    `settings`: those that are no options, as CONFIG shows them. `users`: of each its name and rules.
    """

    def __init__(self, readers: Mapping[str, Callable[[str], Any]], check_endpoint: Callable[[str], None]) -> None:
        self._readers = readers
        self._list_readers: dict[str, Callable[[str], Any]] = {"listen": check_endpoint, "http-host": host_name}
        self.options: dict[str, str] = {}
        self.lists: dict[str, list[str]] = {}
        self.flags: set[str] = set()
        self.settings: dict[str, str] = {}
        self.users: dict[bytes, list[bytes]] = {}

    def take(self, line: Line) -> None:
        """Note what one line says. Raises BadLine."""
        option = OPTION_OF.get(line.setting, line.name)
        try:
            if len(line.words) > 1 and line.setting not in SEVERAL_WORDS and self._is_known(option, line.setting):
                raise ValueError("wrong number of arguments: give one value, in quotes if there are blanks in it")
            if option == USER:
                self._take_user([word.encode("utf-8", "surrogateescape") for word in line.words])
            elif option == "protected-mode":
                self._switch("insecure", is_on=yes_or_no(line.text) == "no")
            elif option in _FLAGS:
                self._switch(option, is_on=yes_or_no(line.text) == "yes")
            elif option in _LISTS:
                self._list_readers[option](line.text)
                self.lists.setdefault(option, []).append(line.text)
            elif option in self._readers and option != "config":
                self._take_option(option, line.text)
            else:
                self._take_setting(line.setting, line.text)
        except (ValueError, BadUsers) as error:
            raise line.bad(str(error)) from None

    def _take_user(self, words: list[bytes]) -> None:
        check(words)
        if words[0] in self.users:
            raise ValueError("Duplicate user found. A user can only be defined once in config files")
        self.users[words[0]] = words[1:]

    def _is_known(self, option: str, setting: str) -> bool:
        return option in self._readers or option in _LISTS + _FLAGS or setting in SETTINGS

    def _switch(self, flag: str, *, is_on: bool) -> None:
        (self.flags.add if is_on else self.flags.discard)(flag)

    def _take_option(self, option: str, text: str) -> None:
        if option == "log-level":
            text = _LEVELS.get(text.lower(), text)
        if option in _ADDING and option in self.options:
            text = f"{self.options[option]} {text}"
        if text:  # redis.conf has `logfile ""` for none
            self._readers[option](text)
            self.options[option] = text

    def _take_setting(self, name: str, text: str) -> None:
        row = SETTINGS.get(name)
        if row is None:
            raise ValueError("there is no such setting")
        if name == "bind" and all(is_loopback(host.removeprefix("-")) for host in text.split()):
            return
        value = row.kind(text)
        if not row.refusal:
            self.settings[name] = value
        elif value != row.default:
            raise ValueError(f"it can be nothing but {row.default!r} here" if row.refusal == IMMUTABLE else row.refusal)
