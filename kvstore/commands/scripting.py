"""EVAL and its kin, and SCRIPT: Lua scripts. What runs them: `scripts`, and `kvstore.scripting`.

A script is one request: in one commit, at one time, and whole. One that raises, or takes too long or too much memory,
is undone (in Redis what it did stands); an error that it *returns* is an answer, and what it did stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kvstore.base.errors import NOT_AN_INTEGER, Failure, InvalidRequest
from kvstore.base.reply import OK, Reply
from kvstore.commands.context import Call, Server
from kvstore.commands.registry import READ, WHOLE, IntegerText, command, container, only_reads, to_integer
from kvstore.commands.row import NO_SCRIPT, RUNS, numbered_keys

_KEYS = numbered_keys(2)
_SHA1_DIGITS = 40


def kept_scripts(server: Server) -> Any:
    """The server's `Scripts`, with a Lua state that the first who asks makes; until then Lua is not even loaded."""
    if server.scripts is None:
        from kvstore.commands.scripts import Scripts

        server.scripts = Scripts(server)
    return server.scripts


def number_of_keys(numkeys: bytes, words: Sequence[bytes], otherwise: str = NOT_AN_INTEGER) -> int:
    """How many of the words are keys. Raises InvalidRequest, with the text `otherwise` for what is no number."""
    count = to_integer(numkeys, otherwise)
    if count > len(words):
        raise InvalidRequest("Number of keys can't be greater than number of args")
    if count < 0:
        raise InvalidRequest("Number of keys can't be negative")
    return count


def _run(call: Call, is_sha1: bool, what: bytes, numkeys: bytes, words: tuple[bytes, ...], read_only: bool) -> Reply:
    """Run the script that `what` is, its SHA-1 or its source, if the number of keys makes sense."""
    if is_sha1 and len(what) != _SHA1_DIGITS:
        raise _no_script()  # whatever else is wrong with the request
    count = number_of_keys(numkeys, words)
    scripts = call.server.scripts or kept_scripts(call.server)
    kept = scripts.find(what) if is_sha1 else scripts.add(what)[1]
    if kept is None:
        raise _no_script()
    return scripts.run(call, kept, count, words, read_only)


def _no_script() -> Failure:
    return Failure("No matching script.", "NOSCRIPT")


@command("EVAL", WHOLE | RUNS | NO_SCRIPT, group="scripting", keys=_KEYS, options="[key ...] [arg ...]")
def eval_(call: Call, script: bytes, numkeys: IntegerText, *words: bytes) -> Reply:
    """Run a Lua script.

    Unlike Valkey, a script that raises an error is undone whole, as is one of EVALSHA: see PROTOCOL.md.
    """
    return _run(call, False, script, numkeys, words, read_only=False)


@command("EVALSHA", WHOLE | RUNS | NO_SCRIPT, group="scripting", keys=_KEYS, options="[key ...] [arg ...]")
def evalsha(call: Call, sha1: bytes, numkeys: IntegerText, *words: bytes) -> Reply:
    """Run a Lua script that is kept."""
    return _run(call, True, sha1, numkeys, words, read_only=False)


@only_reads("EVAL", "EVALSHA")
def _only_reads(call: Call, request: list[bytes]) -> bool:
    return bool(kept_scripts(call.server).only_reads(request))


@command("EVAL_RO", READ | WHOLE | NO_SCRIPT, group="scripting", keys=_KEYS, options="[key ...] [arg ...]")
def eval_ro(call: Call, script: bytes, numkeys: IntegerText, *words: bytes) -> Reply:
    """Run a Lua script that only reads."""
    return _run(call, False, script, numkeys, words, read_only=True)


@command("EVALSHA_RO", READ | WHOLE | NO_SCRIPT, group="scripting", keys=_KEYS, options="[key ...] [arg ...]")
def evalsha_ro(call: Call, sha1: bytes, numkeys: IntegerText, *words: bytes) -> Reply:
    """Run a Lua script that is kept and only reads."""
    return _run(call, True, sha1, numkeys, words, read_only=True)


container("SCRIPT", "Keep Lua scripts, and forget them.", group="scripting")


@command("SCRIPT|LOAD", NO_SCRIPT, group="scripting")
def script_load(call: Call, script: bytes) -> Reply:
    """Keep a script; returns the SHA-1 to run it by."""
    return kept_scripts(call.server).load(script)


@command("SCRIPT|EXISTS", NO_SCRIPT, group="scripting")
def script_exists(call: Call, sha1: bytes, *sha1s: bytes) -> Reply:
    """Tell of each SHA-1 whether its script is kept."""
    scripts = kept_scripts(call.server)
    return [int(scripts.find(each) is not None) for each in (sha1, *sha1s)]


@command("SCRIPT|FLUSH", NO_SCRIPT, group="scripting", options="[ASYNC|SYNC]")
def script_flush(call: Call, *how: bytes) -> Reply:
    """Forget all scripts."""
    if how and (len(how) > 1 or how[0].upper() not in (b"ASYNC", b"SYNC")):
        raise InvalidRequest("SCRIPT FLUSH only support SYNC|ASYNC option")
    kept_scripts(call.server).flush()
    return OK


@command("SCRIPT|KILL", NO_SCRIPT, group="scripting")
def script_kill(call: Call) -> Reply:
    """Always an error: while a script runs nobody is served, and past its limit it is stopped."""
    raise not_busy()


def not_busy() -> Failure:
    """What there is to say to who would stop a script, or a function."""
    return Failure("No scripts in execution right now.", "NOTBUSY")


@command("SCRIPT|SHOW", NO_SCRIPT, group="scripting")
def script_show(call: Call, sha1: bytes) -> Reply:
    """Tell the source of a script that is kept."""
    kept = kept_scripts(call.server).find(sha1)
    if kept is None:
        raise _no_script()
    return kept.source
