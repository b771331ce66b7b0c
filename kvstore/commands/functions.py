"""FCALL and its kin, and FUNCTION: libraries of functions in Lua. What they are made of: `libraries`.

A function is called as a script is run (see `scripting`). Its library is in the log and the checkpoint, and so there
after a restart; FLUSHALL leaves it.
"""

from __future__ import annotations

from typing import Any

from kvstore.base.errors import Failure, InvalidRequest, WrongSubcommand
from kvstore.base.reply import OK, Distinct, Reply, Status
from kvstore.base.sizes import human
from kvstore.commands.context import Call, Server
from kvstore.commands.function_dump import BadDump, read_dump, write_dump
from kvstore.commands.glob import matcher
from kvstore.commands.registry import READ, WHOLE, WRITE, command, container, only_reads
from kvstore.commands.row import NO_SCRIPT, RUNS, numbered_keys
from kvstore.commands.scripting import not_busy, number_of_keys

_KEYS = numbered_keys(2)


def libraries_of(server: Server) -> Any:
    """The server's `Libraries`, with a Lua state that the first who asks makes."""
    if server.libraries is None:
        from kvstore.commands.libraries import Libraries

        server.libraries = Libraries(server)
    return server.libraries


def _call(call: Call, function: bytes, numkeys: bytes, words: tuple[bytes, ...], read_only: bool) -> Reply:
    libraries = libraries_of(call.server)
    found = libraries.find(function)
    count = number_of_keys(numkeys, words, "Bad number of keys provided")
    return libraries.call(call, found, count, words, read_only)


@command("FCALL", WHOLE | RUNS | NO_SCRIPT, group="scripting", keys=_KEYS, options="[key ...] [arg ...]")
def fcall(call: Call, function: bytes, numkeys: bytes, *words: bytes) -> Reply:
    """Call a function of a library.

    Unlike Valkey, a function that raises an error is undone whole: see PROTOCOL.md.
    """
    return _call(call, function, numkeys, words, read_only=False)


@only_reads("FCALL")
def _only_reads(call: Call, request: list[bytes]) -> bool:
    return bool(libraries_of(call.server).only_reads(request))


@command("FCALL_RO", READ | WHOLE | NO_SCRIPT, group="scripting", keys=_KEYS, options="[key ...] [arg ...]")
def fcall_ro(call: Call, function: bytes, numkeys: bytes, *words: bytes) -> Reply:
    """Call a function of a library that only reads."""
    return _call(call, function, numkeys, words, read_only=True)


container("FUNCTION", "Keep libraries of functions, and remove them.", group="scripting")


@command("FUNCTION|LOAD", WRITE | NO_SCRIPT, group="scripting", options="[REPLACE] function-code", least=3)
def function_load(call: Call, *words: bytes) -> Reply:
    """Keep a library of functions; returns its name."""
    *options, source = words
    for option in options:
        if option.upper() != b"REPLACE":
            raise InvalidRequest(f"Unknown option given: {option.decode('latin-1')}")
    return libraries_of(call.server).load(source, replace=bool(options))


@command("FUNCTION|DELETE", WRITE | NO_SCRIPT, group="scripting")
def function_delete(call: Call, library_name: bytes) -> Reply:
    """Remove a library of functions."""
    libraries_of(call.server).delete(library_name)
    return OK


@command("FUNCTION|FLUSH", WRITE | NO_SCRIPT, group="scripting", options="[ASYNC|SYNC]")
def function_flush(call: Call, *how: bytes) -> Reply:
    """Remove all libraries of functions."""
    if len(how) > 1:
        raise WrongSubcommand("FUNCTION", "FLUSH")
    if how and how[0].upper() not in (b"ASYNC", b"SYNC"):
        raise InvalidRequest("FUNCTION FLUSH only supports SYNC|ASYNC option")
    libraries_of(call.server).flush()
    return OK


@command("FUNCTION|LIST", WHOLE | NO_SCRIPT, group="scripting", options="[LIBRARYNAME pattern] [WITHCODE]")
def function_list(call: Call, *options: bytes) -> Reply:
    """List the libraries of functions."""
    with_code, pattern = _list_options(list(options))
    matches = matcher(pattern, any_case=True)
    return [_shown(library, with_code) for library in libraries_of(call.server).all() if matches(library.name)]


def _list_options(options: list[bytes]) -> tuple[bool, bytes]:
    """Whether the sources are asked for, and of which names."""
    with_code, pattern = False, None
    while options:
        option = options.pop(0)
        if option.upper() == b"WITHCODE" and not with_code:
            with_code = True
        elif option.upper() == b"LIBRARYNAME" and pattern is None:
            if not options:
                raise InvalidRequest("library name argument was not given")
            pattern = options.pop(0)
        else:
            raise InvalidRequest(f"Unknown argument {option.decode('latin-1')}")
    return with_code, b"*" if pattern is None else pattern


def _status(flag: bytes) -> Status:
    return Status(flag.decode())


def _shown(library: Any, with_code: bool) -> Reply:
    functions = [
        {"name": each.name, "description": each.description, "flags": Distinct(map(_status, each.flags))}
        for each in library.functions.values()
    ]
    shown = {"library_name": library.name, "engine": "LUA", "functions": functions}
    return shown | {"library_code": library.source} if with_code else shown


@command("FUNCTION|STATS", WHOLE | NO_SCRIPT, group="scripting")
def function_stats(call: Call) -> Reply:
    """Tell how many libraries and functions there are; none runs while anybody can ask."""
    libraries = libraries_of(call.server)
    counts = {"libraries_count": len(call.store.libraries.values), "functions_count": libraries.count()}
    return {"running_script": None, "engines": {"LUA": counts}}


def memory_fields(call: Call) -> list[tuple[str, Any]]:
    """What INFO tells of scripts and of libraries."""
    sources, scripts = call.store.libraries.values, call.server.scripts
    libraries = libraries_of(call.server) if sources else call.server.libraries
    in_lua = [part.memory_bytes() if part else 0 for part in (scripts, libraries)]
    kept = [scripts.source_bytes() if scripts else 0, sum(map(len, sources.values()))]
    return [
        ("used_memory_lua", in_lua[0]),
        ("used_memory_vm_eval", in_lua[0]),
        ("used_memory_lua_human", human(in_lua[0])),
        ("used_memory_scripts_eval", kept[0]),
        ("number_of_cached_scripts", scripts.count() if scripts else 0),
        ("number_of_functions", libraries.count() if libraries else 0),
        ("number_of_libraries", len(sources)),
        ("used_memory_vm_functions", in_lua[1]),
        ("used_memory_vm_total", sum(in_lua)),
        ("used_memory_vm_total_human", human(sum(in_lua))),
        ("used_memory_functions", kept[1]),
        ("used_memory_scripts", sum(kept)),
        ("used_memory_scripts_human", human(sum(kept))),
    ]


@command("FUNCTION|KILL", NO_SCRIPT, group="scripting")
def function_kill(call: Call) -> Reply:
    """Always an error: while a function runs nobody is served, and past its limit it is stopped."""
    raise not_busy()


@command("FUNCTION|DUMP", WHOLE | NO_SCRIPT, group="scripting")
def function_dump(call: Call) -> Reply:
    """Give all libraries as bytes that FUNCTION RESTORE takes, of Valkey too."""
    return write_dump(call.store.libraries.values.values())


@command("FUNCTION|RESTORE", WRITE | NO_SCRIPT, group="scripting", options="[FLUSH|APPEND|REPLACE]")
def function_restore(call: Call, payload: bytes, *policies: bytes) -> Reply:
    """Keep the libraries that FUNCTION DUMP has given."""
    if len(policies) > 1:
        raise WrongSubcommand("FUNCTION", "RESTORE")
    policy = policies[0].upper() if policies else b"APPEND"
    if policy not in (b"FLUSH", b"APPEND", b"REPLACE"):
        raise InvalidRequest("Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.")
    try:
        sources = read_dump(payload)
    except BadDump as error:
        raise Failure(str(error)) from None
    libraries_of(call.server).restore(sources, policy)
    return OK
