"""The libraries of functions that a server has, loaded: what FUNCTION changes and FCALL calls.

Their sources are the table `store.libraries`, by their names, in the log and the checkpoint like any other: there they
are changed, and undone. What is here follows from it, as an observer: a library is loaded when it is put there, and
again when it is needed and is not (after a restart, an undo, or when the state of Lua was replaced). What a library
keeps in its local variables is in no file, and nothing of it is undone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from kvstore.base.errors import Failure, RequestError
from kvstore.base.limits import MAX_LIBRARIES_BYTES
from kvstore.base.reply import Reply
from kvstore.base.value_type import Value
from kvstore.commands.context import Call, Server
from kvstore.commands.scripts import Runner, constants
from kvstore.scripting.engine import Stopped
from kvstore.scripting.functions import Function, FunctionEngine
from kvstore.scripting.shebang import bad_name, is_name, parse_library
from kvstore.store.observing import Observer


class Library:
    """A library that is loaded. `functions`: by their names. `fault`: why it could not be loaded; `was_late`: since it
    took too long, as any does on a machine that stands still meanwhile.
    """

    def __init__(
        self, name: bytes, source: bytes, functions: Iterable[Function], fault: str = "", was_late: bool = False
    ) -> None:
        self.name = name
        self.source = source
        self.functions = {function.name: function for function in functions}
        self.fault = fault
        self.was_late = was_late


class _Late(Failure):
    """A library took too long to load."""


class _Loading:
    """What the calls of a library do while it is loaded: it can say something. A `kvstore.scripting.engine.Host`."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def perform(self, words: list[bytes]) -> Reply:
        """See `Host`."""
        raise AssertionError("redis.call is not there while a library is loaded")

    def set_protocol(self, version: int) -> None:
        """See `Host`."""

    def may(self, words: list[bytes]) -> bool | None:
        """See `Host`."""
        return None

    def log(self, level: int, text: bytes) -> None:
        """See `Host`."""
        self._server.script_log(level, text)


class Libraries(Runner, Observer):
    """See the module."""

    _engine: FunctionEngine

    def __init__(self, server: Server) -> None:
        super().__init__(server, FunctionEngine(server.steady_ns, server, constants()))
        self._table = server.store.libraries
        self._state = self._engine.state
        self._loaded: dict[bytes, Library] = {}
        #: By names in lower case: those of functions, not of libraries, are the same in any case.
        self._functions: dict[bytes, tuple[Library, Function]] = {}
        self._table.observe(self)

    # What is there

    def all(self) -> list[Library]:
        """Every library, loaded. Raises Failure: try again, it takes long."""
        self._forget_late()
        self._complete()
        return [self._loaded[name] for name in self._table.values]

    def find(self, name: bytes) -> tuple[Library, Function]:
        """A function, and its library. Raises Failure if there is none."""
        self._complete()
        found = self._functions.get(name.lower())
        if found is None and self._forget_late():
            self._complete()
            found = self._functions.get(name.lower())
        if found is None:
            faults = [f"; library {each.name.decode()}: {each.fault}" for each in self._loaded.values() if each.fault]
            raise Failure("Function not found" + "".join(faults))
        return found

    def only_reads(self, request: list[bytes]) -> bool:
        """Whether an FCALL calls a function that says it changes nothing."""
        try:
            return b"no-writes" in self.find(request[1])[1].flags
        except RequestError:
            return False

    def count(self) -> int:
        """How many functions there are, in libraries that do not take too long to load."""
        with suppress(Failure):
            self._complete()
        return sum(len(library.functions) for library in self._loaded.values())

    def _complete(self) -> None:
        """Load what is not. Raises Failure if that takes too long: what was loaded by then stays so."""
        while self._state != self._engine.state or len(self._loaded) != len(self._table.values):
            self._load_missing(self._until_ns())

    def _load_missing(self, until_ns: int) -> None:
        """Up to one that was too much for the state of Lua, so that a fresh one has begun."""
        if self._state != self._engine.state:
            faulty = [library for library in self._loaded.values() if library.fault]
            self._forget_all()
            self._loaded = {library.name: library for library in faulty}
        for name, source in self._table.values.items():
            if name in self._loaded:
                continue
            self._check_time(until_ns)
            try:
                self._enter(self._load(source))
            except RequestError as error:
                self._enter(Library(name, source, [], str(error), isinstance(error, _Late)))
            if self._state != self._engine.state:
                return

    def _until_ns(self) -> int:
        return self._server.steady_ns() + self._server.script_ms * 1_000_000

    def _check_time(self, until_ns: int) -> None:
        if self._server.steady_ns() > until_ns:
            raise Failure(f"the libraries take longer than {self._server.script_ms} ms to load (--script-ms)")

    def _load(self, source: bytes) -> Library:
        """Raises RequestError."""
        name, body = parse_library(source)
        try:
            functions = self._engine.load(body, _Loading(self._server))
        except Stopped as end:
            if end.reason == "late":
                raise _Late("Error registering functions: ERR FUNCTION LOAD timeout") from None
            raise Failure(f"Error registering functions: {self.explained(end)}") from None
        names = [function.name for function in functions]
        for place, each in enumerate(names):
            if not is_name(each):
                raise bad_name("Function")
            if each in names[:place]:
                raise Failure("Function already exists in the library")
        if not functions:
            raise Failure("No functions registered")
        return Library(name, source, functions)

    def _enter(self, library: Library) -> None:
        self._loaded[library.name] = library
        for name, function in library.functions.items():
            self._functions.setdefault(name.lower(), (library, function))

    def _forget_late(self) -> bool:
        """Libraries that took too long are to be loaded again; returns whether there are any."""
        late = [name for name, library in self._loaded.items() if library.was_late]
        for name in late:
            del self._loaded[name]
        return bool(late)

    def _forget_all(self) -> None:
        self._state = self._engine.state
        self._loaded.clear()
        self._functions.clear()

    # An observer of the table

    def changed(self, key: bytes, before: Value | None, after: Value | None, event: bytes | None) -> None:
        """See `Observer`."""
        library = self._loaded.pop(key, None)
        if library is not None:
            for name in library.functions:
                self._functions.pop(name.lower(), None)

    def flushed(self) -> None:
        """See `Observer`."""
        self._forget_all()

    # Changing

    def load(self, source: bytes, *, replace: bool) -> bytes:
        """Put a library there; returns its name. Raises RequestError."""
        name = parse_library(source).name
        self._complete()
        if name in self._table.values and not replace:
            raise Failure(f"Library '{name.decode()}' already exists")
        self._put(self._load(source))
        return name

    def _put(self, library: Library) -> None:
        """Put a library there that is loaded, for any of its name. Raises Failure: a function is another's already."""
        for name in library.functions:
            owner = self._functions.get(name.lower())
            if owner is not None and owner[0].name != library.name:
                raise Failure(f"Function {name.decode()} already exists")
        before = self._table.values.get(library.name, b"")
        size = sum(map(len, self._table.values.values())) - len(before) + len(library.source)
        if size > MAX_LIBRARIES_BYTES:
            raise Failure(f"the libraries are more than {MAX_LIBRARIES_BYTES} bytes")
        self._table.write(library.name, library.source)
        self._enter(library)

    def delete(self, name: bytes) -> None:
        """Remove a library. Raises Failure if there is none."""
        if not self._table.delete(name):
            raise Failure("Library not found")

    def flush(self) -> None:
        """Remove all."""
        if self._table.values:
            self._table.flush()

    def restore(self, sources: Sequence[bytes], policy: bytes) -> None:
        """Put libraries there: FLUSH all others first, REPLACE those of their names, APPEND none.

        Raises RequestError; the request is to be undone then.
        """
        if policy == b"FLUSH":
            self.flush()
        self._complete()
        libraries = list(self._load_each(sources))
        for name in [library.name for library in libraries if library.name in self._table.values]:
            if policy == b"APPEND":
                raise Failure(f"Library {name.decode()} already exists")
            self._table.delete(name)  # before any comes, which may have its functions
        for library in libraries:
            self._put(library)

    def _load_each(self, sources: Iterable[bytes]) -> Iterator[Library]:
        """Raises RequestError."""
        until_ns = self._until_ns()
        for source in sources:
            self._check_time(until_ns)
            yield self._load(source)

    # Running

    def call(
        self, call: Call, found: tuple[Library, Function], keys: int, words: Sequence[bytes], read_only: bool
    ) -> Reply:
        """Run a function for a client's request. See `run_chunk`."""
        function = found[1]
        read_only = self.only_may_read(function.flags, read_only)
        return self.run_chunk(call, function.chunk, keys, words, read_only, function.flags)
