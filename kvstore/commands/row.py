"""One row of the command table: what is known of a command, read from its function's signature and docstring.

Everything generic is decided from the row, durability too: `scope` says which part of the table a reply tells of, so
that the session knows which commit the reply has to wait for.
"""

from __future__ import annotations

import enum
import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from kvstore.base.errors import InvalidRequest, wrong_arity
from kvstore.base.limits import LONG_STRING_BYTES, MIB
from kvstore.base.reply import Arrays, Numbers, Reply, Status
from kvstore.commands.arguments import PLAIN, Converter, Parameter, from_json, parameters_of


class Flag(enum.IntFlag):
    """What a row says of its command. COMMAND INFO shows those that Redis has, under Redis's names."""

    READ = 1  # reads keys
    WRITE = 2  # may change keys: refused when the disk is full
    FAST = 4  # O(1) or O(log n)
    WHOLE = 8  # tells of the table as a whole (SIZE, KEYS, QUERY)
    ADMIN = 16
    NO_MULTI = 32  # refused inside MULTI
    IMMEDIATE = 64  # runs at once inside MULTI instead of being queued (EXEC, DISCARD, ...)
    VERB = 128  # a verb of our own: words are answered with a JSON line; also callable as a JSON line
    BLOCKING = 256  # its client may have to wait for what others do
    SUBSCRIBED = 512  # also for a client that is subscribed and speaks RESP2
    NOT_KEYS = 1024  # where others have keys it has shard channels
    ALONE = 2048  # an error when it runs in a block
    TELLS = 4096  # tells other clients something, and does no more
    PUBSUB = 8192  # about channels
    NO_SCRIPT = 16384  # no script may ask for it
    RUNS = 32768  # runs a script, which may read, change and tell
    NO_AUTH = 65536  # also for who has not said yet who it is


READ, WRITE, FAST, WHOLE, ADMIN = Flag.READ, Flag.WRITE, Flag.FAST, Flag.WHOLE, Flag.ADMIN
NO_MULTI, IMMEDIATE, VERB, BLOCKING = Flag.NO_MULTI, Flag.IMMEDIATE, Flag.VERB, Flag.BLOCKING
SUBSCRIBED, NOT_KEYS, ALONE, TELLS, PUBSUB = Flag.SUBSCRIBED, Flag.NOT_KEYS, Flag.ALONE, Flag.TELLS, Flag.PUBSUB
NO_SCRIPT, RUNS, NO_AUTH = Flag.NO_SCRIPT, Flag.RUNS, Flag.NO_AUTH
NO_FLAGS = Flag(0)


class Scope(enum.IntEnum):
    """Which part of the table a reply tells of, hence which commit it waits for."""

    NOTHING = 0  # nothing: never waits
    KEY = 1  # the one key that is the first argument
    KEYS = 2  # several keys
    TABLE = 3  # possibly all; also every write


#: See `CommandTable.many`.
ManyReplies: TypeAlias = "Status | Sequence[bytes | None] | Numbers | Arrays | None"
Many: TypeAlias = Callable[[Any, list[list[bytes]], bytes | None], ManyReplies]

#: Whether a request runs a script that says that it changes nothing; given the `Call`, and the request.
OnlyReads: TypeAlias = Callable[[Any, list[bytes]], bool]

#: Of all strings that requests executed together take out of a value.
_TAKEN_BYTES = 1 * MIB


def can_be_taken(strings: Sequence[bytes]) -> bool:
    """Whether these, which requests executed together take out of a value, are few and short enough for it."""
    sizes = list(map(len, strings))
    return sum(sizes) <= _TAKEN_BYTES and max(sizes, default=0) < LONG_STRING_BYTES


#: How a JSON line calls a command that is no verb: the members that are its arguments, each with its value where it is
#: left out, None if it may not be.
Members: TypeAlias = "tuple[tuple[str, str | None], ...]"

#: Where a command's keys are: (first, last, step), or a function of the request's words (the name first).
KeyPlaces: TypeAlias = "tuple[int, int, int] | Callable[[list[bytes]], list[bytes]]"


class FoundKeys:
    """Keys that a function tells of a request's words, the name first.

    `fixed`: (first, last, step) of those that are always at the same place.
    """

    def __init__(self, find: Callable[[list[bytes]], list[bytes]], fixed: tuple[int, int, int]) -> None:
        self._find = find
        self.fixed = fixed

    def __call__(self, request: list[bytes]) -> list[bytes]:
        """The keys that a request names."""
        return self._find(request)


class NumberedKeys:
    """See `numbered_keys`. `place`, `step`: as there. `fixed`: (first, last, step) of those that are always at the same
    place.
    """

    def __init__(self, place: int, other: int, step: int) -> None:
        self.place = place
        self.step = step
        self.fixed = (other, other, 1) if other else (0, 0, 0)

    def __call__(self, request: list[bytes]) -> list[bytes]:
        """The keys that a request names."""
        place, step, other = self.place, self.step, self.fixed[0]
        number = request[place] if place < len(request) else b""
        end = place + 1 + step * int(number) if number.isdigit() and len(number) < 10 else 0
        if not place + 1 < end <= len(request):
            return []
        return [*request[other : other + bool(other)], *request[place + 1 : end : step]]


def numbered_keys(place: int, other: int = 0, *, step: int = 1) -> NumberedKeys:
    """Keys behind their number, which is the word at `place` (LMPOP 1, BLMPOP 2); and before, at `other` unless that
    is 0.

    `step`: how many words there are for each key (MSETEX 2). Of a number that makes no sense there are none: the
    command says so.
    """
    return NumberedKeys(place, other, step)


class StreamKeys:
    """Keys behind the word STREAMS, each with an id behind all keys. `first`: the word where options begin."""

    def __init__(self, first: int) -> None:
        self.first = first

    def __call__(self, request: list[bytes]) -> list[bytes]:
        """The keys that a request names."""
        at = next((at for at in range(self.first, len(request)) if request[at].upper() == b"STREAMS"), len(request))
        rest = request[at + 1 :]
        return rest[: len(rest) // 2]


class Command:
    """One row of the table.

    `name`: upper case, `CONTAINER|SUB` for a subcommand. `options`: what its variadic parameter takes, for people.
    `least`, `most`: number of request words including the name (a subcommand counts two words); `least` is given where
    options stand before what is required. `keys`: (first, last,
    step) as COMMAND INFO gives them, (0, 0, 0) for none; `find_keys`: tells them of a request, where it takes that.
    `parameters`: (name, Argument, optional, variadic) of each. `members`: see `Members`; none unless a JSON line may
    call it and it is no verb.
    `convert`: one converter or None for each parameter, or None if no argument is converted.
    """

    __slots__ = (
        "_converters", "convert", "find_keys", "flags", "function", "group", "keys", "least", "many", "may_change",
        "members", "most", "name", "one_element", "only_reads", "options", "parameters", "scope", "subcommands",
        "summary", "takes_one_word", "takes_two_words", "wire_name", "words", "words_of_many", "writes",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        flags: Flag,
        group: str,
        function: Callable[..., Reply],
        keys: KeyPlaces | None = None,
        options: str = "",
        least: int = 0,
        members: Members = (),
    ) -> None:
        self.name = name
        self.flags = flags
        self.group = group
        self.function = function
        self.options = options
        self.summary = (inspect.getdoc(function) or "").split("\n", 1)[0]
        self.words = name.count("|") + 1
        self.subcommands: dict[bytes, Command] = {}
        self.writes = bool(flags & WRITE)
        #: Whether a request may change something, or tell others: Valkey's flags `write`, and CMD_MAY_REPLICATE.
        self.may_change = bool(flags & (WRITE | TELLS | RUNS))
        self.parameters = list(parameters_of(function))
        required = sum(1 for _, _, optional, variadic in self.parameters if not optional and not variadic)
        variadic = any(variadic for _, _, _, variadic in self.parameters)
        self.least = max(least, self.words + required)
        self.most = 2**31 if variadic else self.words + len(self.parameters)
        self.find_keys = keys if callable(keys) else None
        self.keys = self._key_places(keys)
        self.scope = self._scope()
        converters = [argument.convert for _, argument, _, _ in self.parameters]
        self.convert: list[Converter | None] | None = converters if any(converters) else None
        self._converters = [(i, convert) for i, convert in enumerate(converters) if convert is not None]
        self.takes_one_word = self.convert is None and self.least <= 2 <= self.most
        #: Executes a pipeline of this command, if that can be done better than one by one; see `CommandTable.many`.
        self.many: Many | None = None
        self.words_of_many: tuple[int, ...] = ()
        #: With so many arguments it is about one element of a value, which the second one names; 0 if never.
        self.one_element = 0
        self.members = members
        #: Of a command that RUNS a script: see `CommandTable.only_reads`.
        self.only_reads: OnlyReads | None = None
        self.wire_name = name.encode()
        self.takes_two_words = self.convert is None and self.least <= 3 <= self.most

    @property
    def arity(self) -> int:
        """As COMMAND INFO gives it: exact when positive, the least when negative; the name counts."""
        return self.least if self.least == self.most else -self.least

    @property
    def raw_tail(self) -> int:
        """How many words stand before the one that is JSON to the end of the line, typed as words; 0 if none is."""
        ends_in_json = self.flags & VERB and self.parameters and self.parameters[-1][1].kind == "json"
        return self.words + len(self.parameters) - 1 if ends_in_json else 0

    def _key_places(self, keys: KeyPlaces | None) -> tuple[int, int, int]:
        if isinstance(keys, FoundKeys | NumberedKeys):
            return keys.fixed
        if callable(keys):
            return (0, 0, 0)
        return self._keys_from_signature() if keys is None else keys

    def _keys_from_signature(self) -> tuple[int, int, int]:
        places = [i for i, (_, argument, _, _) in enumerate(self.parameters) if argument.kind == "key"]
        if not places:
            return (0, 0, 0)
        last_is_variadic = self.parameters[places[-1]][3]
        return (places[0] + self.words, -1 if last_is_variadic else places[-1] + self.words, 1)

    def _scope(self) -> Scope:
        if self.flags & (WRITE | WHOLE):
            return Scope.TABLE
        if self.flags & NOT_KEYS or not self.has_keys:
            return Scope.NOTHING
        return Scope.KEY if self.find_keys is None and self.keys == (1, 1, 1) else Scope.KEYS

    @property
    def has_keys(self) -> bool:
        """Whether its requests name keys, or may."""
        return bool(self.keys[0]) or self.find_keys is not None

    def keys_of(self, request: list[bytes]) -> list[bytes]:
        """The keys that a request of this command names. `request`: all its words, the name first."""
        if self.find_keys is not None:
            return self.find_keys(request)
        first, last, step = self.keys
        if not first:
            return []
        return request[first : len(request) + last + 1 if last < 0 else last + 1 : step]

    def arguments(self, request: list[bytes]) -> list[Any]:
        """The arguments of a request, converted. Raises InvalidRequest for a wrong number or type of arguments."""
        if not self.least <= len(request) <= self.most:
            raise self.wrong_arity()
        words: list[Any] = request[self.words :]
        for i, convert in self._converters:
            if i >= len(words):
                break
            words[i] = convert(words[i])
        return words

    def arguments_from_members(self, members: dict[str, Any]) -> list[Any]:
        """The arguments of a JSON-line request, by parameter name; members that the command does not know are ignored.

        `members`: the request's object. Raises InvalidRequest for a member that is missing or of the wrong type.
        """
        arguments: list[Any] = []
        for name, otherwise in self.members:
            if (value := members.get(name, otherwise)) is None:
                raise InvalidRequest(f"missing member '{name}'")
            arguments.append(from_json(name, PLAIN, value))
        for name, argument, optional, variadic in self.parameters if not self.members else ():
            if name in members:
                arguments.append(from_json(name, argument, members[name]))
            elif optional or variadic:
                break
            else:
                raise InvalidRequest(f"missing member '{name}'")
        return arguments

    def check_arity(self, request: list[bytes]) -> None:
        """Raise InvalidRequest if the arity (see `arity`) forbids so many words: what Redis checks before all else."""
        if not self.accepts(len(request)):
            raise self.wrong_arity()

    def accepts(self, words: int) -> bool:
        """Whether the arity allows so many words."""
        return words == self.least if self.least == self.most else words >= self.least

    def wrong_arity(self) -> InvalidRequest:
        """The error for a wrong number of arguments; for a verb, which people type, it says how it is used."""
        error = wrong_arity(self.name.lower())
        return InvalidRequest(f"{error.text}; usage: {self.usage()}") if self.flags & VERB else error

    def usage(self) -> str:
        """The command as one types it: `INCRBY key increment`; verbs in lower case."""
        name = self.name.replace("|", " ")
        return " ".join([name.lower() if self.flags & VERB else name, *map(self._shown, self.told_parameters)])

    @property
    def told_parameters(self) -> list[Parameter]:
        """The parameters but those that are taken and ignored, whose names begin with `_`."""
        return [parameter for parameter in self.parameters if not parameter[0].startswith("_")]

    @property
    def repeats(self) -> bool:
        """Whether the last parameter takes more of what the one before takes: `key, *keys`."""
        names = [name for name, _, _, _ in self.parameters[-2:]]
        return len(names) == 2 and self.parameters[-1][3] and names[0] == singular(names[1])

    def _shown(self, parameter: Parameter) -> str:
        name, _, optional, variadic = parameter
        if variadic:
            return self.options or f"[{shown_name(singular(name))} ...]"
        return f"[{shown_name(name)}]" if optional else shown_name(name)


def singular(name: str) -> str:
    """Of the name of a parameter that takes several, what one is called."""
    return f"{name.removesuffix('ies')}y" if name.endswith("ies") else name.removesuffix("s")


def shown_name(name: str) -> str:
    """The name of a parameter, as people read it."""
    return name.replace("_", "-")
