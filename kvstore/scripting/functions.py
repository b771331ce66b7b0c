"""Libraries of functions: a Lua state of their own, in which what a library keeps in its local variables stays from one
call to the next.

A library is loaded by running it once, as a script that can call nothing but `redis.register_function`. What it
registers is called later like a script, within the same limits, and is given its keys and arguments.

When what libraries have kept comes to more than a state may hold, a fresh state begins (see `Engine`), and each library
is to be loaded again: what it had kept is gone, as after a restart.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from kvstore.base.errors import Failure
from kvstore.scripting.conversion import ScriptError
from kvstore.scripting.engine import Chunk, Engine, Host
from kvstore.scripting.shebang import FLAGS


class Function(NamedTuple):
    """A function as a library has registered it. `chunk`: what runs. `flags`: of FLAGS, in their order."""

    name: bytes
    description: bytes | None
    flags: tuple[bytes, ...]
    chunk: Chunk


class FunctionEngine(Engine):
    """See the module."""

    source_name = "@user_function"
    not_compiled = "Error compiling function"
    has_functions = True

    def _take_exported(self, made: Any) -> None:
        super()._take_exported(made)
        self._loader, self._registered = made[b"loader"], made[b"registered"]

    @property
    def state(self) -> int:
        """The number of the state of Lua: another one begins when what it holds is too much."""
        return self._states

    def load(self, body: bytes, host: Host) -> list[Function]:
        """Load a library; returns its functions, in the order in which they were registered.

        Raises RequestError, in Valkey's words, if it does not compile or has raised, Stopped past a limit.
        """
        chunk = self.compile(body)
        chunk = Chunk(self._loader(chunk.function), chunk.state)
        try:
            self.run(chunk, 0, (), host)
        except ScriptError as error:
            raise Failure(f"Error registering functions: {error}") from None
        functions = list(self._functions())
        if not self.is_current(chunk):
            raise Failure("the libraries take too much memory")
        return functions

    def _functions(self) -> Iterator[Function]:
        place = 1
        while given := self._registered(place):
            name, description, flags, callback = given
            named = (flags or b"").split(b",")
            flags = tuple(flag for flag in FLAGS if flag in named)
            yield Function(name, description, flags, Chunk(callback, self._states))
            place += 1
