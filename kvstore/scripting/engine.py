"""One Lua 5.1 state, in which scripts run one after the other, each inside its limits.

**What a script can reach** is put together in `lua/sandbox.lua`: Lua's libraries without what reaches files, bytecode
or other functions' environments, in tables that cannot be changed, and closures that call the Python functions made
here. No Python object reaches a script: filters on attributes, which are set all the same, have been escaped before.

**Time.** A hook is called each 100 instructions, in every coroutine; past the limit it raises an error that nothing
catches. What goes on in C, where no hook is called, is bounded before it begins (searches, long strings, sorting) or
looks at the clock itself (calls of the server).

**Memory.** Lua's allocator refuses what is past the limit, which ends the script. While Python makes Lua's objects
there must be room, or no limit: an error there would leave Python's frames by a long jump. So past half of the memory,
and for what is not small, the limit is lifted, and what a reply takes is looked at before.

**The C stack**: nested coroutines and replacements of gsub are counted, patterns are short, and functions that would
meet a fault of Lua 5.1.5 are refused (`bytecode`).

Rejected: a process of its own (a call would cost two switches, 20 us and more); Lua 5.2 or LuaJIT (other language,
other texts of errors); counting instructions alone (one can take 50 ms).
"""

from __future__ import annotations

import hashlib
import pkgutil
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from lupa import lua51

from kvstore.base.errors import Failure, InvalidRequest, RequestError
from kvstore.base.limits import (
    MAX_SCRIPT_JUMPS,
    MAX_SCRIPT_SOURCE_BYTES,
    MAX_SCRIPTS_BYTES,
    MIB,
)
from kvstore.base.reply import Reply, Status, size_bytes
from kvstore.scripting.binary import FUNCTIONS
from kvstore.scripting.bytecode import TooManyParameters, patched
from kvstore.scripting.conversion import Conversion, ScriptError, number_text
from kvstore.scripting.shebang import FLAGS

#: More words than that are not passed one by one: Lua has 8,000 places for what a call takes.
_MANY_WORDS = 200
#: Words, and a reply, of less than that are made in Lua within the limit of memory.
_SMALL_BYTES = MIB
#: Classes of what Lua returns that is a reply as it is.
_AS_THEY_ARE = frozenset({bytes, int})
#: What one element of a table takes in Lua, more or less, besides its characters.
_ELEMENT_BYTES = 64
#: A state that holds more than that when no script runs is cleaned, or made anew.
_LITTLE_BYTES = 16 * MIB
#: What a byte of a source may come to once it is compiled.
_COMPILED_BYTES = 20


class Host(Protocol):
    """What a script's calls of the server do."""

    def perform(self, words: list[bytes]) -> Reply:
        """Execute one command. Raises RequestError if it fails; what else it raises ends the script."""

    def set_protocol(self, version: int) -> None:
        """The script wants replies as they are in RESP 2 or 3; at first 2."""

    def may(self, words: list[bytes]) -> bool | None:
        """Whether the client may do that request; None if there is no such command. Raises nothing."""

    def log(self, level: int, text: bytes) -> None:
        """A script has something for the log. `level`: 0, debug, to 3, a warning."""


class Limits(Protocol):
    """How long a script may take, and how much more memory than its state held before. They may change."""

    script_ms: int
    script_memory_bytes: int


class Stopped(Exception):
    """A script did not come to its end. `reason`: `late`, `memory` or `fault`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Chunk(NamedTuple):
    """A compiled script: Lua's function, in the state of that number."""

    function: Any
    state: int


class Engine:
    """See the module. `steady_ns`: a steady clock, in nanoseconds. `limits`: of each script.

    `constants`: what scripts find in the table `server` besides functions.
    """

    #: What Lua calls a script, as errors tell; and what they begin with if it does not compile.
    source_name = "@user_script"
    not_compiled = "Error compiling script (new function)"
    has_functions = False

    def __init__(self, steady_ns: Callable[[], int], limits: Limits, constants: dict[str, int | str]) -> None:
        self._steady_ns = steady_ns
        self._limits = limits
        self._constants = {name.encode(): _to_lua_constant(value) for name, value in constants.items()}
        self._host: Any = None
        self._until_ns = 0
        self._allowed_bytes = 0
        self._failure: BaseException | None = None
        self._gathered: list[Any] = []
        self._conversion = Conversion(self._table_from)
        self._states = 0
        self._make_state()

    def _make_state(self) -> None:
        """Begin with a fresh state: what was compiled before is of no use."""
        self._states += 1
        self._compiled_bytes = 0
        self._much_bytes = _LITTLE_BYTES
        self._lua = lua51.LuaRuntime(
            encoding=None,
            register_eval=False,
            register_builtins=False,
            unpack_returned_tuples=True,
            attribute_filter=_refuse_attribute,
            max_memory=0,
        )
        self._set_limit = self._lua.set_max_memory
        functions = {
            b"call": self._call,
            b"gather": self._gather,
            b"call_gathered": self._call_gathered,
            b"find": _find,
            b"is_late": self._is_late,
            b"is_running": self._is_running,
            b"limit_memory": self._set_limit,
            b"log": self._log,
            b"may": self._may,
            b"set_protocol": self._set_protocol,
            b"sha1": _sha1,
            b"source": _source,
            b"stopped": self._note_stop,
            b"most_jumps": MAX_SCRIPT_JUMPS,
            b"most_source": MAX_SCRIPT_SOURCE_BYTES,
            b"patched": self._patched,
            b"chunk_name": self.source_name.encode(),
            b"has_functions": self.has_functions,
            b"constants": self._lua.table_from(self._constants),
            b"flags": self._lua.table_from(dict.fromkeys(FLAGS, True)),
            **FUNCTIONS,
        }
        self._take_exported(self._lua.execute(_source(b"sandbox"), self._lua.table_from(functions), name="=sandbox"))

    def _take_exported(self, made: Any) -> None:
        """What `running.lua` has made: functions by their names."""
        self._run, self._run_many, self._part = made[b"run"], made[b"run_many"], made[b"part"]
        self._forget, self._compile = made[b"forget"], made[b"compile"]

    def compile(self, source: bytes) -> Chunk:
        """Compile a script. Raises RequestError, in Valkey's words, if it is none."""
        if len(source) > MAX_SCRIPT_SOURCE_BYTES:
            raise InvalidRequest(f"the script is longer than {MAX_SCRIPT_SOURCE_BYTES} bytes")
        self._begin()
        compiled = self._compile(source)
        if isinstance(compiled, tuple):
            raise Failure(f"{self.not_compiled}: {compiled[1].decode('utf-8', 'replace')}")
        self._compiled_bytes = min(self._compiled_bytes + len(source), MAX_SCRIPTS_BYTES)
        self._much_bytes = _LITTLE_BYTES + _COMPILED_BYTES * self._compiled_bytes
        return Chunk(compiled, self._states)

    def memory_bytes(self) -> int:
        """What the state of Lua holds."""
        used: int = self._lua.get_memory_used()
        return used

    def is_current(self, chunk: Chunk) -> bool:
        """Whether it can run: its state was not replaced."""
        return chunk.state == self._states

    def run(self, chunk: Chunk, keys: int, words: Sequence[bytes], host: Host) -> Reply:
        """Run a script to its end; returns its reply, which may be an error that it answers.

        `words`: the keys, so many of them, and the arguments. Raises ScriptError for one that has raised, Stopped for
        one that has passed a limit, and what `Host.perform` raised that was no RequestError.
        """
        self._host = host
        self._failure = None  # from here on `_begin`, opened out for speed
        self._conversion.protocol = 2
        self._until_ns = self._steady_ns() + self._limits.script_ms * 1_000_000
        well = False
        try:
            outcome = self._start(chunk, keys, words)
            if self._failure is not None:
                raise self._failure
            reply = outcome if outcome.__class__ in _AS_THEY_ARE else self._conclude(outcome)
            well = True
            return reply
        except lua51.LuaMemoryError:
            raise self._failure or Stopped("memory") from None
        except lua51.LuaError:
            raise self._failure or Stopped("fault") from None
        finally:
            self._host = None
            self._set_limit(0)
            if not well or self._lua.get_memory_used() > self._much_bytes:
                self._clean()

    def _begin(self) -> None:
        self._failure = None
        self._conversion.protocol = 2
        self._until_ns = self._steady_ns() + self._limits.script_ms * 1_000_000

    def _start(self, chunk: Chunk, keys: int, words: Sequence[bytes]) -> Any:
        allowed = self._allowed_bytes = self._lua.get_memory_used() + self._limits.script_memory_bytes
        if len(words) <= _MANY_WORDS and sum(map(len, words)) < _SMALL_BYTES:
            self._set_limit(allowed)
            return self._run(chunk.function, allowed, keys, *words)
        tables = self._lua.table_from(words[:keys]), self._lua.table_from(words[keys:])
        return self._run_many(chunk.function, allowed, *tables)

    def _conclude(self, outcome: Any) -> Reply:
        """What came of a script: a value; or (False, an error and its line), or (True, a table)."""
        if outcome.__class__ is not tuple:
            return self._conversion.scalar(outcome)
        if not outcome[0]:
            _, value, line = outcome
            place = f" script: on {self.source_name}:{line}." if line else ""
            raise ScriptError(_one_line(value) + place)
        self._set_limit(0)
        return self._conversion.to_reply(self._parts(outcome[1:]))

    def _parts(self, part: tuple[Any, ...]) -> Iterator[Any]:
        """The list of codes and values that `lua/flattening.lua` has made of a table, piece by piece."""
        length, *values = part
        given = 0
        while True:
            yield from values
            given += len(values)
            if given >= length:
                return
            if self._is_late():
                raise Stopped("late")
            _, *values = self._part(given + 1)

    def _clean(self) -> None:
        """No script runs: let go of what the last one has left."""
        self._forget()
        if self._holds_much():
            self._lua.gccollect()
        if self._holds_much():
            self._make_state()

    def _holds_much(self) -> bool:
        """Whether the state holds more than the scripts that are kept explain."""
        used: int = self._lua.get_memory_used()
        return used > self._much_bytes

    # What Lua calls. None of these raises: the exception itself would be in a script's hands.

    def _call(self, *words: Any) -> Any:
        """Execute a command. Returns its reply; or, before a word that tells so, the text of a status or an error,
        what was made without a limit of memory, or nothing.
        """
        try:
            if self._steady_ns() > self._until_ns:
                raise Stopped("late")
            reply = self._host.perform([word if word.__class__ is bytes else _number_word(word) for word in words])
            kind = reply.__class__
            if kind is Status:
                return reply.text.encode(), b"status"
            if kind is int or (kind is bytes and len(reply) < _SMALL_BYTES):
                return reply
            return self._to_lua(reply)
        except RequestError as error:
            return str(error).encode("utf-8", "replace"), b"error"
        except BaseException as failure:
            self._failure = self._failure or failure
            return None, b"stop"

    def _gather(self, is_first: bool, *words: Any) -> None:
        """Some words of a command that has more than one call from Lua takes."""
        self._gathered = [] if is_first else self._gathered
        self._gathered += words

    def _call_gathered(self) -> Any:
        words, self._gathered = self._gathered, []
        return self._call(*words)

    def _to_lua(self, reply: Reply) -> Any:
        room = self._allowed_bytes - self._lua.get_memory_used()
        if size_bytes(reply) * 2 > room:
            raise Stopped("memory")
        if isinstance(reply, (list, tuple, dict, set)):
            elements = len(reply) * (2 if isinstance(reply, dict) else 1)
            if elements * _ELEMENT_BYTES > room:
                raise Stopped("memory")
        self._set_limit(0)
        return self._conversion.to_lua(reply), b"unlimited"

    def _set_protocol(self, version: Any) -> None:
        self._conversion.protocol = int(version)
        self._host.set_protocol(int(version))

    def check_time(self) -> None:
        """For a command that takes long. Raises Stopped."""
        if self._is_late():
            raise Stopped("late")

    def _is_late(self) -> bool:
        try:
            return self._host is not None and self._steady_ns() > self._until_ns
        except BaseException as failure:
            self._failure = self._failure or failure
            return True

    def _is_running(self) -> bool:
        return self._host is not None

    def _note_stop(self, reason: Any) -> None:
        self._failure = self._failure or Stopped(reason.decode())

    def _patched(self, code: Any) -> bytes | None:
        try:
            return patched(code)
        except TooManyParameters:
            return None
        except BaseException as failure:
            self._failure = self._failure or failure
            return None

    def _may(self, *words: Any) -> bool | None:
        may: bool | None = self._host.may([word if word.__class__ is bytes else _number_word(word) for word in words])
        return may

    def _log(self, level: Any, text: Any) -> None:
        self._host.log(int(level), text)

    def _table_from(self, content: Any) -> Any:
        return self._lua.table_from(content)


def _source(name: Any) -> bytes:
    source = pkgutil.get_data(__package__, f"lua/{name.decode()}.lua")
    assert source is not None
    return source


def _to_lua_constant(value: int | str) -> int | bytes:
    return value if isinstance(value, int) else value.encode()


def _number_word(number: int | float) -> bytes:
    return b"%d" % number if number.__class__ is int else number_text(number)


def _one_line(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape").replace("\r", " ").replace("\n", " ")


def _find(text: Any, wanted: Any, first: Any) -> Any:
    """string.find without a pattern, in linear time: the first and last place, from 1; None if there is none."""
    start = max(int(first) - 1 if first > 0 else len(text) + int(first) if first < 0 else 0, 0)
    place = text.find(wanted, start)
    return None if place < 0 else (place + 1, place + len(wanted))


def _sha1(text: Any) -> bytes:
    return hashlib.sha1(text, usedforsecurity=False).hexdigest().encode()


def _refuse_attribute(obj: object, name: object, is_setting: bool) -> object:
    raise AttributeError("nothing of Python is for scripts")
