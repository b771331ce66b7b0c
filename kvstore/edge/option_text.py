"""Option texts to values: each function takes what was typed and returns what it means, or raises ValueError.

The ValueError's text is advice, to stand after the option and what was typed: "give a whole number from 0 to 65535".
The functions look (does the directory exist?) but open nothing and change nothing. They know neither Twisted nor which
option a text belongs to.

Rejected: int() and float() alone, which take " 80 ", "8_0" and digits of every alphabet.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Sequence
from typing import Any, get_args

from kvstore.base.address import Address, can_be_a_host, parse_address
from kvstore.base.disk import refuse_dangling
from kvstore.base.errors import Unreachable
from kvstore.base.limits import MEMORY_POLICIES
from kvstore.base.sizes import UNITS
from kvstore.edge.settings import DebugPolicy, LogFormat, LogLevel, OverlapPolicy, ReadPolicy, SyncPolicy

_WHOLE_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)
_BYTES = re.compile(r"([0-9]{1,18})(b|k|kb|m|mb|g|gb)?", re.ASCII | re.IGNORECASE)

_GROUP_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)

#: Longest project or owner name, in characters: the announcement has to fit one UDP packet.
MAX_NAME_CHARACTERS = 128

MAX_PORT = 65535


def whole_number(text: str, least: int, most: int) -> int:
    """A decimal number from `least` to `most`. Raises ValueError with the range."""
    if not _WHOLE_NUMBER.fullmatch(text) or not least <= int(text) <= most:
        raise ValueError(f"give a whole number from {least} to {most}")
    return int(text)


def port_number(text: str) -> int:
    """A TCP or UDP port, 0 included. Raises ValueError."""
    return whole_number(text, 0, MAX_PORT)


def byte_count(text: str, least: int, most: int) -> int:
    """A number of bytes from `least` to `most`, with one of redis.conf's units or none. Raises ValueError."""
    match = _BYTES.fullmatch(text)
    count = int(match[1]) * UNITS[(match[2] or "").lower()] if match else -1
    if not least <= count <= most:
        raise ValueError(f"give a number of bytes from {least} to {most}, such as 1048576, 1024kb or 1mb")
    return count


def byte_text(count: int) -> str:
    """The shortest text that `byte_count` reads as `count`."""
    for unit in ("gb", "mb", "kb"):
        if count and count % UNITS[unit] == 0:
            return f"{count // UNITS[unit]}{unit}"
    return str(count)


def one_of(names: Sequence[str]) -> Callable[[str], Any]:
    """What reads one of these names, and raises ValueError with all of them."""
    advice = f"give {', '.join(names[:-1])} or {names[-1]}"

    def read(text: str) -> str:
        if text not in names:
            raise ValueError(advice)
        return text

    return read


sync_policy: Callable[[str], SyncPolicy] = one_of(get_args(SyncPolicy))
overlap_policy: Callable[[str], OverlapPolicy] = one_of(get_args(OverlapPolicy))
debug_policy: Callable[[str], DebugPolicy] = one_of(get_args(DebugPolicy))
log_format: Callable[[str], LogFormat] = one_of(get_args(LogFormat))
log_level: Callable[[str], LogLevel] = one_of(get_args(LogLevel))
memory_policy: Callable[[str], str] = one_of(MEMORY_POLICIES)
read_policy: Callable[[str], ReadPolicy] = one_of(get_args(ReadPolicy))


def announced_name(text: str) -> str:
    """A project's or owner's name; without a colon, by which clients tell `HOST:PORT` from it. Raises ValueError."""
    if not (1 <= len(text) <= MAX_NAME_CHARACTERS and text.isprintable()) or re.search(r"[\s:]", text):
        raise ValueError(f"give a name of 1 to {MAX_NAME_CHARACTERS} characters without spaces and colons")
    return text


def host_and_port(text: str) -> Address:
    """`HOST:PORT`, an IPv6 address in brackets. Raises ValueError."""
    try:
        address = parse_address(text)
    except ValueError:
        address = Address("", 0)
    if not address.host.isprintable() or not re.fullmatch(r"[^\s\[\]]+", address.host):
        raise ValueError(f"give HOST:PORT, such as localhost:9097 or [::1]:9097, with a port from 1 to {MAX_PORT}")
    return address


def reached_at(text: str) -> tuple[Address, bool]:
    """`HOST:PORT`, or `tls:HOST:PORT` as a client names a server whose port speaks TLS; whether it does. Raises
    ValueError.
    """
    plain = text.removeprefix("tls:")
    address = host_and_port(plain)
    if not plain.isascii():
        raise ValueError("give the host's name as it is resolved, in ASCII (xn--...)")
    return address, plain != text


def group_name(text: str) -> str:
    """The name of a group: part of the names of its log's entries, and of commands. Raises ValueError."""
    if not _GROUP_NAME.fullmatch(text):
        raise ValueError("give a name of 1 to 64 letters, digits, dots, dashes and underscores")
    return text


def shared_log_url(text: str) -> str:
    """Where the shared log is: see `etcd.location`. Raises ValueError."""
    from kvstore.edge.etcd.location import parse_location

    parse_location(text)
    return text


def data_directory(text: str) -> str:
    """The absolute path of a directory that exists or can be made, and can be written to. Raises ValueError."""
    if not text:
        raise ValueError("give the name of a directory")
    path = os.path.abspath(text)
    try:
        refuse_dangling(path)
    except Unreachable as error:
        raise ValueError(str(error)) from None
    existing = path
    while not os.path.lexists(existing):
        existing = os.path.dirname(existing)
    if not os.path.isdir(existing):
        raise ValueError(f"{existing} is not a directory; choose another place, or move that file away")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise ValueError(f"{existing} cannot be written to; choose another place, or change its owner or permissions")
    return path


def is_file_of(directory: str, path: str) -> bool:
    """Whether `path` names, by whatever links, a file in `directory`, or one that would be made there."""
    real = os.path.realpath(path)
    if os.path.realpath(directory) == os.path.dirname(real):
        return True
    with contextlib.suppress(OSError):
        status = os.stat(real)
        with os.scandir(directory) as entries:
            return any(entry.is_file() and os.path.samestat(status, entry.stat()) for entry in entries)
    return False


def same_place(one: str, other: str) -> bool:
    """Whether two paths name one directory: by links, or by a second mount."""
    with contextlib.suppress(OSError):
        return os.path.samefile(one, other)
    return os.path.realpath(one) == os.path.realpath(other)


def endpoint_with_mode(text: str) -> str:
    """A `unix:` endpoint of Twisted's that does not say who may open its socket: the owner and the group, no others.

    Twisted's own default lets everybody in, who then reads and writes all there is.
    """
    kind, *arguments = re.split(r"(?<!\\):", text)
    says = any(word.startswith("mode=") or "=" not in word for word in arguments[1:])
    return text if kind != "unix" or says else f"{text}:mode=660"


def input_file(text: str) -> str:
    """The absolute path of a file that can be read. Raises ValueError."""
    path = os.path.abspath(text)
    if text and not os.path.exists(path):
        raise ValueError("there is no such file; make it, or give the name of another")
    if not text or not os.path.isfile(path):
        raise ValueError("give the name of a file")
    if not os.access(path, os.R_OK):
        raise ValueError("this cannot be read; change its owner or permissions")
    return path


def http_endpoint(text: str) -> str:
    """A Twisted server endpoint string; a port alone is that of 127.0.0.1. Raises ValueError for a port past the last.

    Whether it is one at all is not looked at: that is for who knows Twisted.
    """
    if _WHOLE_NUMBER.fullmatch(text):
        return f"tcp:{port_number(text)}:interface=127.0.0.1"
    return endpoint_with_mode(text)


def host_name(text: str) -> str:
    """The name of a host, without a port, in lower case. Raises ValueError."""
    if not can_be_a_host(text) or not text.isascii() or re.search(r"[:/@\[\]]", text):
        raise ValueError("give the name of a host, such as kvstore.example.com, without a port")
    return text.lower()


def output_file(text: str) -> str:
    """The absolute path of a file that can be written or made, in a directory that exists. Raises ValueError."""
    if not text:
        raise ValueError("give the name of a file")
    path = os.path.abspath(text)
    directory = os.path.dirname(path)
    if os.path.isdir(path):
        raise ValueError("this is a directory; give the name of a file")
    if not os.path.isdir(directory):
        raise ValueError(f"there is no directory {directory}; make it, or choose another")
    if not os.access(path if os.path.exists(path) else directory, os.W_OK):
        raise ValueError("this cannot be written to; choose another place, or change its owner or permissions")
    return path
