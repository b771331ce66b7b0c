"""The command table: a command is one function and one row, and everything generic is read from the row.

    @command("INCRBY", WRITE | FAST, group="string")
    def incrby(call: Call, key: Key, increment: Integer) -> Reply:
        \"\"\"Add a whole number to the number stored at a key.\"\"\"

The function's signature is the declaration: its parameters after `call` give the arity, which arguments are keys
(annotated `Key`), and how each is converted (`Integer`, `Number`, `Json`; plain `bytes` is passed as it came). The
first line of the docstring is the summary. Arity, types, flags and counting are done here, once; a command body never
repeats them. COMMAND, HELP and docs/PROTOCOL.md are made from the table.

A subcommand is a row of its own, named `CLIENT|SETNAME`; its function does not see the subcommand's name. What
follows the fixed arguments is one variadic parameter, `*options: bytes`, that the body reads; the row's `options`
text shows it to people.

What is decided about durability is read from the row too: `scope` says which part of the table a reply tells of, so
that the session knows which commit the reply has to wait for.

Rejected: dispatch by getattr on what a peer sends (a peer could name any attribute); classes per command (three lines
of ceremony each, three hundred times).
"""

from __future__ import annotations

import enum
import functools
import inspect
import math
import typing
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any, TypeAlias, TypeVar

from kvstore.base.errors import NOT_A_FLOAT, NOT_AN_INTEGER, InvalidRequest, wrong_arity
from kvstore.base.jsontext import loads
from kvstore.base.limits import MAX_LOGGED_BYTES
from kvstore.base.reply import Reply, Status

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1


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


READ, WRITE, FAST, WHOLE, ADMIN = Flag.READ, Flag.WRITE, Flag.FAST, Flag.WHOLE, Flag.ADMIN
NO_MULTI, IMMEDIATE, VERB = Flag.NO_MULTI, Flag.IMMEDIATE, Flag.VERB
NO_FLAGS = Flag(0)


class Scope(enum.IntEnum):
    """Which part of the table a reply tells of, hence which commit it waits for."""

    NOTHING = 0  # nothing: never waits
    KEY = 1  # the one key that is the first argument
    KEYS = 2  # several keys
    TABLE = 3  # possibly all; also every write


def to_integer(text: bytes) -> int:
    """A signed 64-bit integer in Redis's strict form (no spaces, plus sign, leading zeros). Raises InvalidRequest."""
    try:
        number = int(text)
    except ValueError:
        raise InvalidRequest(NOT_AN_INTEGER) from None
    if not INT64_MIN <= number <= INT64_MAX or b"%d" % number != text:
        raise InvalidRequest(NOT_AN_INTEGER)
    return number


def to_number(text: bytes) -> float:
    """A float as Redis takes it (inf allowed; nan and what is too large for a double not). Raises InvalidRequest."""
    try:
        number = float(text)
    except ValueError:
        raise InvalidRequest(NOT_A_FLOAT) from None
    too_large = math.isinf(number) and b"n" not in text.lower()
    if math.isnan(number) or too_large or text != text.strip() or b"_" in text:
        raise InvalidRequest(NOT_A_FLOAT)
    return number


def text_to_key(text: str) -> bytes:
    """The bytes that a key (or any string) of a JSON request stands for: UTF-8, lone surrogates kept."""
    return text.encode("utf-8", "surrogatepass")


def to_json(text: bytes) -> Any:
    """Any JSON value from its text. Raises InvalidRequest with the reason."""
    try:
        return loads(text)
    except ValueError as error:
        raise InvalidRequest(f"value is not JSON ({error}); strings need double quotes") from None


Converter: TypeAlias = Callable[[bytes], Any]
_Function = TypeVar("_Function", bound=Callable[..., Reply])


class Argument(typing.NamedTuple):
    """How one parameter is shown and converted. `kind`: the type's name in COMMAND DOCS."""

    kind: str
    convert: Converter | None = None


#: See `CommandTable.many`.
Many: TypeAlias = Callable[[Any, list[list[bytes]], bytes | None], "Status | list[bytes | None] | None"]

Key: TypeAlias = Annotated[bytes, Argument("key")]
Integer: TypeAlias = Annotated[int, Argument("integer", to_integer)]
#: An integer that the command converts itself, having looked at its options first.
IntegerText: TypeAlias = Annotated[bytes, Argument("integer")]
Number: TypeAlias = Annotated[float, Argument("double", to_number)]
Json: TypeAlias = Annotated[Any, Argument("json", to_json)]
_PLAIN = Argument("string")

#: One parameter of a command: name, type, whether it may be left out, whether it takes all that is left.
Parameter: TypeAlias = tuple[str, Argument, bool, bool]


class Command:
    """One row of the table.

    `name`: upper case, `CONTAINER|SUB` for a subcommand. `options`: what its variadic parameter takes, for people.
    `least`, `most`: number of request words including the name (a subcommand counts two words). `keys`: (first, last,
    step) as COMMAND INFO gives them, (0, 0, 0) for none. `parameters`: (name, Argument, optional, variadic) of each.
    `convert`: one converter or None for each parameter, or None if no argument is converted.
    """

    __slots__ = (
        "convert", "flags", "function", "group", "keys", "least", "many", "most", "name", "options",
        "parameters", "scope", "subcommands", "summary", "takes_one_word", "takes_two_words", "wire_name", "words",
        "writes",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        flags: Flag,
        group: str,
        function: Callable[..., Reply],
        keys: tuple[int, int, int] | None = None,
        options: str = "",
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
        self.parameters = list(_parameters(function))
        required = sum(1 for _, _, optional, variadic in self.parameters if not optional and not variadic)
        variadic = any(variadic for _, _, _, variadic in self.parameters)
        self.least = self.words + required
        self.most = 2**31 if variadic else self.words + len(self.parameters)
        self.keys = keys if keys is not None else self._keys_from_signature()
        self.scope = self._scope()
        converters = [argument.convert for _, argument, _, _ in self.parameters]
        self.convert: list[Converter | None] | None = converters if any(converters) else None
        self.takes_one_word = self.convert is None and self.least <= 2 <= self.most
        #: Executes a pipeline of this command, if that can be done better than one by one; see `CommandTable.many`.
        self.many: Many | None = None
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

    def _keys_from_signature(self) -> tuple[int, int, int]:
        places = [i for i, (_, argument, _, _) in enumerate(self.parameters) if argument.kind == "key"]
        if not places:
            return (0, 0, 0)
        last_is_variadic = self.parameters[places[-1]][3]
        return (places[0] + self.words, -1 if last_is_variadic else places[-1] + self.words, 1)

    def _scope(self) -> Scope:
        if self.flags & (WRITE | WHOLE):
            return Scope.TABLE
        if not self.keys[0]:
            return Scope.NOTHING
        return Scope.KEY if self.keys == (1, 1, 1) else Scope.KEYS

    def keys_of(self, request: list[bytes]) -> list[bytes]:
        """The keys that a request of this command names. `request`: all its words, the name first."""
        first, last, step = self.keys
        if not first:
            return []
        return request[first : len(request) + last + 1 if last < 0 else last + 1 : step]

    def arguments(self, request: list[bytes]) -> list[Any]:
        """The arguments of a request, converted. Raises InvalidRequest for a wrong number or type of arguments."""
        if not self.least <= len(request) <= self.most:
            raise self.wrong_arity()
        words: list[Any] = request[self.words :]
        if self.convert is not None:
            for i, convert in enumerate(self.convert[: len(words)]):
                if convert is not None:
                    words[i] = convert(words[i])
        return words

    def arguments_from_members(self, members: dict[str, Any]) -> list[Any]:
        """The arguments of a JSON-line request, by parameter name; members that the command does not know are ignored.

        `members`: the request's object. Raises InvalidRequest for a member that is missing or of the wrong type.
        """
        arguments: list[Any] = []
        for name, argument, optional, variadic in self.parameters:
            if name in members:
                arguments.append(_from_json(name, argument, members[name]))
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
        return " ".join([name.lower() if self.flags & VERB else name, *map(self._shown, self.parameters)])

    def _shown(self, parameter: Parameter) -> str:
        name, _, optional, variadic = parameter
        name = name.replace("_", "-")
        if variadic:
            return self.options or f"[{name.removesuffix('s')} ...]"
        return f"[{name}]" if optional else name


def _from_json(name: str, argument: Argument, value: Any) -> Any:
    if argument.kind == "json":
        return value
    if value.__class__ is not str:
        raise InvalidRequest(f"member '{name}' must be a string")
    text = text_to_key(value)
    return text if argument.convert is None else argument.convert(text)


def _parameters(function: Callable[..., Reply]) -> Iterable[Parameter]:
    hints = typing.get_type_hints(function, include_extras=True)
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        variadic = parameter.kind is inspect.Parameter.VAR_POSITIONAL
        optional = parameter.default is not inspect.Parameter.empty
        yield parameter.name, _argument_of(hints.get(parameter.name)), optional, variadic


def _argument_of(hint: Any) -> Argument:
    """The Argument that an annotation carries, inside `... | None` too."""
    for annotated in (hint, *typing.get_args(hint)):
        for metadata in getattr(annotated, "__metadata__", ()):
            if isinstance(metadata, Argument):
                return metadata
    return _PLAIN


class CommandTable:
    """All rows, by name. One table for all grammars; made once at import of `kvstore.commands`."""

    def __init__(self) -> None:
        #: Rows by name in upper and in lower case, as nearly every client spells them; `find` takes any spelling. No
        #: more are added at run time: a name has 2**length spellings.
        self.by_name: dict[bytes, Command] = {}

    def command(
        self,
        name: str,
        flags: Flag = NO_FLAGS,
        *,
        group: str,
        keys: tuple[int, int, int] | None = None,
        options: str = "",
    ) -> Callable[[_Function], _Function]:
        """Decorator: add a row for the function. A container comes before its subcommands.

        `keys`: (first, last, step) where the signature cannot say it (MSET). `options`: see `Command`.
        """

        def add(function: _Function) -> _Function:
            row = Command(name, flags, group, function, keys, options)
            if row.words == 1:
                self.by_name[name.encode()] = self.by_name[name.lower().encode()] = row
            else:
                container, sub = name.split("|")
                self.by_name[container.encode()].subcommands[sub.encode()] = row
            return function

        return add

    def many(self, name: str) -> Callable[[Many], Many]:
        """Decorator: the function executes many requests of the command `name` at once.

        It is given the table, the arguments in columns, and the requests as they came, or None if the name was not
        spelled as here. It does all of them or, returning None or raising RequestError, none; it must mean what the
        command means. Returns one reply for all (Status), or strings and nulls, one for each.
        """

        def add(function: Many) -> Many:
            self.by_name[name.encode()].many = function
            return function

        return add

    def container(self, name: str, summary: str, *, group: str) -> None:
        """Add a row that only holds subcommands, and its HELP."""

        def needs_subcommand(call: Any, subcommand: bytes, *arguments: bytes) -> Reply:
            raise AssertionError("find() leads to a subcommand or raises")

        needs_subcommand.__doc__ = summary
        self.command(name, group=group)(needs_subcommand)
        self.add_help(name, group=group)

    def add_help(self, name: str, *, group: str) -> None:
        """Add the HELP subcommand of a container: what its subcommands are, made from their rows."""
        row = self.by_name[name.encode()]

        def help_(call: Any) -> Reply:
            """List the subcommands."""
            shown = [f"{row.name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"]
            for sub in self.subcommands(row):
                shown += [sub.usage().partition(" ")[2], "    " + sub.summary]
            return [Status(line) for line in shown]

        self.command(f"{name}|HELP", group=group)(help_)

    @functools.cached_property
    def plain(self) -> dict[bytes, Command]:
        """The rows that only read or change data: no subcommands, nothing of the connection; in upper and lower case.

        To be asked for when the table is full.
        """
        rows = [row for row in self.rows() if row.flags & (READ | WRITE) and not row.subcommands]
        return {name: row for row in rows for name in (row.name.encode(), row.name.lower().encode())}

    @functools.cached_property
    def verbs(self) -> dict[str, Command]:
        """The verbs of our own, by their names in lower case: what a JSON line may call. For a full table."""
        return {row.name.lower(): row for row in self.rows() if row.flags & VERB}

    def find(self, request: list[bytes]) -> Command:
        """The row for a request, in any case of letters; follows subcommands.

        Raises InvalidRequest if there is none.
        """
        row = self.by_name.get(request[0].upper())
        if row is None:
            raise InvalidRequest(_unknown(request))
        if row.subcommands and len(request) > 1:
            sub = row.subcommands.get(request[1].upper())
            if sub is None:
                raise InvalidRequest(f"unknown subcommand '{shorten(request[1])}'. Try {row.name} HELP.")
            return sub
        return row

    def find_typed(self, request: list[bytes]) -> Command:
        """The same for a request that a person typed: `exit` is QUIT, and the error says how to go on."""
        name = request[0].upper()
        if name in self.by_name:
            return self.find(request)
        if name == b"EXIT":
            return self.by_name[b"QUIT"]
        raise InvalidRequest(f"{_unknown(request)}; try help")

    def rows(self) -> list[Command]:
        """Every top-level row, in alphabetical order."""
        return sorted(set(self.by_name.values()), key=lambda row: row.name)

    def subcommands(self, row: Command) -> list[Command]:
        """The subcommands of a container, in alphabetical order."""
        return sorted(row.subcommands.values(), key=lambda sub: sub.name)

    def all_rows(self) -> Iterator[Command]:
        """Every row, each container followed by its subcommands."""
        for row in self.rows():
            yield row
            yield from self.subcommands(row)


def shorten(text: bytes, limit: int = MAX_LOGGED_BYTES) -> str:
    """At most `limit` printable characters of hostile bytes, for an error text or a log line."""
    return text[:limit].decode("latin-1").encode("unicode_escape").decode("ascii")[:limit]


def _unknown(request: list[bytes]) -> str:
    """As Redis words it: arguments are shown until 128 characters of them are."""
    shown = ""
    for word in request[1:]:
        if len(shown) >= MAX_LOGGED_BYTES:
            break
        shown += f"'{shorten(word, MAX_LOGGED_BYTES - len(shown))}' "
    return f"unknown command '{shorten(request[0])}', with args beginning with: {shown}"


table = CommandTable()
command = table.command
container = table.container
many = table.many
