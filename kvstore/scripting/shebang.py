"""The first line of a script, `#!lua flags=no-writes`, or of a library, `#!lua name=mylib`, and what is behind it."""

from __future__ import annotations

import re
from typing import NamedTuple

from kvstore.base.errors import Failure, InvalidRequest, ProtocolError, shorten
from kvstore.wire.words import UnbalancedQuotes, split_words

#: Flags of scripts and functions, in the order in which they are told.
FLAGS = (b"no-writes", b"allow-oom", b"allow-stale", b"no-cluster", b"allow-cross-slot-keys")


class Script(NamedTuple):
    """A script as its source says. `body`: what is compiled. `flags`: None if there is no first line of that kind."""

    body: bytes
    flags: frozenset[bytes] | None


def parse(source: bytes) -> Script:
    """Read the first line. Raises InvalidRequest, in Valkey's words."""
    if not source.startswith(b"#!"):
        return Script(source, None)
    line, newline, body = source.partition(b"\n")
    if not newline:
        raise InvalidRequest("Invalid script shebang")
    engine, *options = line[2:].split(b" ")
    if engine.lower() != b"lua":
        raise InvalidRequest(f"Could not find scripting engine '{shorten(engine)}'")
    flags: list[bytes] = []
    for option in filter(None, options):
        if not option.startswith(b"flags="):
            raise InvalidRequest(f"Unknown lua shebang option: {shorten(option)}")
        flags += filter(None, option[len(b"flags=") :].split(b","))
    for flag in flags:
        if flag not in FLAGS:
            raise InvalidRequest(f"Unexpected flag in script shebang: {shorten(flag)}")
    return Script(b"\n" + body, frozenset(flags))


class LibrarySource(NamedTuple):
    """A library as its source says. `body`: what is compiled."""

    name: bytes
    body: bytes


_NAME = re.compile(rb"[A-Za-z0-9_]+").fullmatch


def is_name(name: bytes) -> bool:
    """Whether a library, or a function, may have this name."""
    return _NAME(name) is not None


def parse_library(source: bytes) -> LibrarySource:
    """Read the first line of a library. Raises Failure, in Valkey's words."""
    if not source.startswith(b"#!"):
        raise Failure("Missing library metadata")
    line, newline, body = source.partition(b"\n")
    name = None
    engine, *options = _words(line if newline else b"")
    for option in options:
        key, equals, value = option.partition(b"=")
        if not equals or key.lower() != b"name":
            raise Failure(f"Invalid metadata value given: {shorten(option)}")
        if name is not None:
            raise Failure("Invalid metadata value, name argument was given multiple times")
        name = value
    if name is None:
        raise Failure("Library name was not given")
    if not is_name(name):
        raise bad_name("Library")
    if engine[2:].lower() != b"lua":
        raise Failure(f"Engine '{shorten(engine[2:])}' not found")
    return LibrarySource(name, b"\n" + body)


def bad_name(what: str) -> Failure:
    """The error for a name that is none."""
    return Failure(
        f"{what} names can only contain letters, numbers, or underscores(_) and must be at least one character long"
    )


def _words(line: bytes) -> list[bytes]:
    try:
        words = [] if b"\0" in line else split_words(line, {})
    except (UnbalancedQuotes, ProtocolError):
        words = []
    if not words:
        raise Failure("Invalid library metadata")
    return words
