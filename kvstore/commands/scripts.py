"""The scripts that a server keeps, and how one runs: as one request, inside the commit that is open.

A script's commands execute as those of a MULTI block do (`transactions`): each that fails is undone by itself, and
answers the script an error. When the script raises, or passes a limit, its request raises, and so all of it is undone.
Other errors than of one command (a full disk, a bug) end the script, too.

Commands of a script are asked for by a client of its own: it begins in the caller's database, speaks RESP2 unless the
script says otherwise, and what it chooses is forgotten with the script.

Scripts are kept by the SHA-1 of their source and nothing of them is in the log: a client that gets NOSCRIPT sends the
source again. What came by SCRIPT LOAD stays; of what came with EVAL what was used last.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Collection, Sequence
from contextlib import suppress
from types import GeneratorType

from kvstore.base.errors import Failure, RequestError, StorageFull
from kvstore.base.limits import MAX_EVAL_SCRIPTS, MAX_SCRIPTS_BYTES, MIB
from kvstore.base.reply import NotNow, Reply, Wait, advance
from kvstore.commands import dispatch
from kvstore.commands.client import Client
from kvstore.commands.context import Call, Server
from kvstore.commands.hash_slots import ScriptSlots
from kvstore.commands.memory_limit import GROW, out_of_memory
from kvstore.commands.registry import WRITE, Command, table
from kvstore.commands.row import ALONE, NO_SCRIPT, TELLS
from kvstore.commands.versions import REDIS_VERSION, VALKEY_VERSION
from kvstore.scripting.conversion import ScriptError
from kvstore.scripting.engine import Chunk, Engine, Stopped
from kvstore.scripting.shebang import Script, parse

#: Requests of scripts that have so many words are found anew each time.
_MANY_WORDS = 64
#: Errors of one script that are known again when they are its answer.
_MOST_TEXTS = 64
_NOT_ALLOWED = Failure("allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'", "OOM")
_READ_ONLY = Failure("Write commands are not allowed from read-only scripts.")


class Kept:
    """A script that is kept. `loaded`: by SCRIPT LOAD, so it stays."""

    __slots__ = ("chunk", "loaded", "script", "sha", "source")

    def __init__(self, sha: bytes, source: bytes, script: Script, chunk: Chunk) -> None:
        self.sha = sha
        self.source = source
        self.script = script
        self.chunk = chunk
        self.loaded = False


class Runner:
    """Runs what an engine has compiled, for clients' requests. See the module."""

    def __init__(self, server: Server, engine: Engine) -> None:
        self._server = server
        self._engine = engine
        self._client = Client(0, "script", "", server.started_ms)
        self._call = Call(server, self._client)
        self._hosts = [_Host(self._call, engine, read_only) for read_only in (False, True)]

    def run_chunk(
        self,
        call: Call,
        chunk: Chunk,
        keys: int,
        words: Sequence[bytes],
        read_only: bool,
        flags: Collection[bytes] | None = None,
    ) -> Reply:
        """Run a chunk of the engine's state. `keys`: how many of the words are keys, before the others. `flags`: as
        `only_may_read` takes them.

        Raises RequestError: all that it did is to be undone.
        """
        client, caller = self._client, call.client
        read_only = read_only or call.server.follows
        host = self._hosts[read_only]
        host.out_of_memory_since = self._out_of_memory_since(flags)
        host.slots = ScriptSlots(call, words[:keys], flags) if self._server.is_in_cluster else None
        if client.database != caller.database:
            self._call.select(caller.database)
        client.protocol = 2
        client.tracking, client.identity = caller.tracking, caller.identity
        client.rights, client.asked_by = caller.rights, caller
        if self._server.command_log.watches:
            client.address, client.name = caller.address, caller.name
        host.counted.clear()
        try:
            reply = self._engine.run(chunk, keys, words, host)
        except ScriptError as error:
            error.is_counted = host.has_counted(error)
            raise
        except Stopped as end:
            raise self.explained(end) from None
        except _Ends as end:
            raise end.error from None
        if isinstance(reply, RequestError) and not host.has_counted(reply):
            self._server.count_error(reply)
        return reply

    def _out_of_memory_since(self, flags: Collection[bytes] | None) -> int | None:
        """See `_Host`. Raises Failure for what has flags, and none that allows it to run now."""
        if not self._server.memory.is_out or (flags is not None and b"allow-oom" in flags):
            return None
        if flags is not None and b"no-writes" not in flags:
            raise _NOT_ALLOWED
        return len(self._server.store.pending.undo)

    def memory_bytes(self) -> int:
        """What the state of Lua holds."""
        return self._engine.memory_bytes()

    @staticmethod
    def only_may_read(flags: Collection[bytes] | None, read_only: bool) -> bool:
        """Whether what has these flags, None if it has not told any, may only read. `read_only`: by the command that
        runs it. Raises Failure if that is not for what may write.
        """
        no_writes = flags is not None and b"no-writes" in flags
        if read_only and flags is not None and not no_writes:
            raise Failure("Can not execute a script with write flag using *_ro command.")
        return read_only or no_writes

    def explained(self, end: Stopped) -> Failure:
        """The error for what was stopped."""
        undone = "nothing of what it did stands"
        if end.reason == "late":
            return Failure(f"the script took longer than {self._server.script_ms} ms (--script-ms): {undone}")
        if end.reason == "memory":
            memory = self._server.script_memory_bytes
            return Failure(f"the script took more than {memory // MIB} MiB of memory (--script-memory-bytes): {undone}")
        return Failure(f"the script could not be executed: {undone}")


class Scripts(Runner):
    """All that a server keeps. See the module."""

    def __init__(self, server: Server) -> None:
        super().__init__(server, Engine(server.steady_ns, server, constants()))
        #: By SHA-1, in hexadecimal digits; those that stay apart from those of EVAL, used last last.
        self._kept: dict[bytes, Kept] = {}
        self._passing: OrderedDict[bytes, None] = OrderedDict()
        self._loaded_bytes = 0
        #: How many of EVAL had to go for others.
        self.forgotten = 0

    def find(self, sha: bytes) -> Kept | None:
        """The script of that SHA-1, in letters of any case."""
        return self._kept.get(sha) or self._kept.get(sha.lower())

    def only_reads(self, request: list[bytes]) -> bool:
        """Whether an EVAL or EVALSHA runs a script that says it changes nothing."""
        kept = self.find(request[1])
        try:
            flags = parse(request[1]).flags if kept is None else kept.script.flags
        except RequestError:
            return False
        return flags is not None and b"no-writes" in flags

    def add(self, source: bytes) -> tuple[bytes, Kept]:
        """Keep a script for now; returns its SHA-1, too. Raises RequestError if it does not compile."""
        sha = hashlib.sha1(source, usedforsecurity=False).hexdigest().encode()
        kept = self._kept.get(sha)
        if kept is None:
            script = parse(source)
            kept = self._kept[sha] = Kept(sha, source, script, self._engine.compile(script.body))
            self._passing[sha] = None
            if len(self._passing) > MAX_EVAL_SCRIPTS:
                del self._kept[self._passing.popitem(last=False)[0]]
                self.forgotten += 1
        return sha, kept

    def load(self, source: bytes) -> bytes:
        """Keep a script for good; returns its SHA-1. Raises RequestError: it does not compile, or they are too many."""
        sha, kept = self.add(source)
        if not kept.loaded:
            if self._loaded_bytes + len(source) > MAX_SCRIPTS_BYTES:
                raise Failure(f"the scripts that are loaded are {MAX_SCRIPTS_BYTES} bytes; SCRIPT FLUSH forgets them")
            self._loaded_bytes += len(source)
            kept.loaded = True
            del self._passing[sha]
        return sha

    def count(self) -> int:
        """How many there are."""
        return len(self._kept)

    def source_bytes(self) -> int:
        """Of all of them together."""
        return self._loaded_bytes + sum(len(self._kept[sha].source) for sha in self._passing)

    def flush(self) -> None:
        """Forget all."""
        self._kept.clear()
        self._passing.clear()
        self._loaded_bytes = 0

    def run(self, call: Call, kept: Kept, keys: int, words: Sequence[bytes], read_only: bool) -> Reply:
        """Run a script for a client's request. See `run_chunk`."""
        if read_only or kept.script.flags is not None:
            read_only = self.only_may_read(kept.script.flags, read_only)
        if not kept.loaded:
            self._passing.move_to_end(kept.sha)
        if not self._engine.is_current(kept.chunk):
            kept.chunk = self._engine.compile(kept.script.body)
        return self.run_chunk(call, kept.chunk, keys, words, read_only, kept.script.flags)


class _Host:
    """What the calls of scripts do: a `kvstore.scripting.engine.Host`."""

    def __init__(self, call: Call, engine: Engine, read_only: bool) -> None:
        self._call = call
        self._engine = engine
        self._read_only = read_only
        self._calls = call.server.script_calls
        self._command_log = call.server.command_log
        #: The texts of errors that calls of the script which runs have answered: each is counted, whether or not the
        #: script catches it, and not again if it is the script's own answer.
        self.counted: set[str] = set()
        #: How many changes there were when the script began, if there is no memory for more unless it has changed
        #: something already: then nobody wants it stopped.
        self.out_of_memory_since: int | None = None
        #: Where its calls may reach, in a cluster.
        self.slots: ScriptSlots | None = None
        #: Rows that scripts may use, by the names in the table, and with how many words.
        self._rows: dict[tuple[bytes, int], Command] = {}

    def perform(self, words: list[bytes]) -> Reply:
        """See `Host`."""
        row = self._rows.get((words[0], len(words))) or self._find(words)
        client = self._call.client
        if client.rights is not None:
            self._check(client, row, words)
        if self.slots is not None:
            self._check_slots(self.slots, row, words)
        if self.out_of_memory_since is not None and row.name in GROW and not self._has_changed_something():
            self._call.server.statistics[row].rejected += 1
            raise self._counted(out_of_memory())
        try:
            if self._command_log.watches:
                return dispatch.run_inside(self._call, row, words, self._finish)
            return dispatch.run(self._call, row, words, step=self._finish)
        except StorageFull as error:
            raise _Ends(error) from None
        except RequestError as error:
            raise self._counted(error) from None
        finally:
            if self._calls.wanted:
                self._calls.note(self._call.client.database, words)

    def _counted(self, error: RequestError) -> RequestError:
        self._call.server.count_error(error)
        if len(self.counted) >= _MOST_TEXTS:
            self.counted.clear()
        self.counted.add(str(error))
        return error

    def has_counted(self, error: RequestError) -> bool:
        """Whether what a script raises, or answers, is the error of one of its calls."""
        return bool(self.counted) and str(error).partition(" script: on @")[0] in self.counted

    def _has_changed_something(self) -> bool:
        return len(self._call.store.pending.undo) != self.out_of_memory_since

    def _find(self, words: list[bytes]) -> Command:
        try:
            return self._allowed(words)
        except RequestError as error:
            raise self._counted(error) from None

    def _check(self, client: Client, row: Command, words: list[bytes]) -> None:
        try:
            self._call.server.gate.check_call(client, row, words)
        except RequestError as error:
            raise self._counted(error) from None

    def _check_slots(self, slots: ScriptSlots, row: Command, words: list[bytes]) -> None:
        try:
            slots.check(row, words)
        except RequestError as error:
            raise self._counted(error) from None

    def _allowed(self, words: list[bytes]) -> Command:
        name = words[0] if words[0] in table.by_name else words[0].upper()
        row = table.by_name.get(name)
        if row is None:
            raise Failure("Unknown command called from script")
        if row.subcommands and len(words) > 1:
            row = table.find(words)
        if not row.accepts(len(words)):
            raise Failure("Wrong number of args calling command from script")
        if row.flags & NO_SCRIPT and not (row.name == "DEBUG" and self._call.server.scripts_may_debug):
            raise Failure("This Valkey command is not allowed from script")
        if self._read_only and row.flags & (WRITE | TELLS):
            raise _READ_ONLY
        if row.flags & ALONE:
            raise Failure(f"{row.name} isn't allowed for a DENY BLOCKING client")
        if name == words[0] and not row.subcommands and row.words == 1 and len(words) < _MANY_WORDS:
            self._rows[name, len(words)] = row
        return row

    def _finish(self, reply: Reply) -> Reply:
        """As `base.reply.finish`, as long as there is time."""
        while reply.__class__ is GeneratorType:
            with suppress(NotNow):
                reply = advance(reply)
            self._engine.check_time()
        return reply.otherwise if reply.__class__ is Wait else reply

    def set_protocol(self, version: int) -> None:
        """See `Host`."""
        self._call.client.protocol = version

    def may(self, words: list[bytes]) -> bool | None:
        """See `Host`."""
        try:
            row = table.find(words)
        except RequestError:
            return None
        client = self._call.client
        return self._call.server.gate.may(client, row, words, client.database)

    def log(self, level: int, text: bytes) -> None:
        """See `Host`."""
        self._call.server.script_log(level, text)


class _Ends(Exception):
    """An error that ends the script, and is the answer. `error`: it."""

    def __init__(self, error: RequestError) -> None:
        super().__init__(error)
        self.error = error


def constants() -> dict[str, int | str]:
    """What scripts find in the table `server` besides functions."""
    versions = {"REDIS_VERSION": REDIS_VERSION, "VALKEY_VERSION": VALKEY_VERSION}
    numbers = {f"{name}_NUM": _version_number(version) for name, version in versions.items()}
    levels = {"LOG_DEBUG": 0, "LOG_VERBOSE": 1, "LOG_NOTICE": 2, "LOG_WARNING": 3}
    targets = {"REPL_NONE": 0, "REPL_AOF": 1, "REPL_REPLICA": 2, "REPL_SLAVE": 2, "REPL_ALL": 3}
    return {**versions, **numbers, **levels, **targets, "SERVER_NAME": "valkey"}


def _version_number(version: str) -> int:
    major, minor, patch = map(int, version.split("."))
    return major << 16 | minor << 8 | patch
