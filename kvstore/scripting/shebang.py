"""The first line of a script, `#!lua flags=no-writes`, and the script behind it."""

from __future__ import annotations

from typing import NamedTuple

from kvstore.base.errors import InvalidRequest, shorten

_FLAGS = (b"no-writes", b"allow-oom", b"allow-stale", b"no-cluster", b"allow-cross-slot-keys")


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
        if flag not in _FLAGS:
            raise InvalidRequest(f"Unexpected flag in script shebang: {shorten(flag)}")
    return Script(b"\n" + body, frozenset(flags))
