"""The bytes of FUNCTION DUMP, as Valkey's rdb.c writes them: libraries, the version of the format, a checksum.

| bytes | what |
|---|---|
| 245 | a library comes: a string, its source |
| string | its length, and so many bytes; or compressed |
| 2, little end first | the version of the format |
| 8, little end first | CRC-64 of all before: Jones's polynomial, bits reflected, begun at 0 |

A length: 6 bits in a byte that begins with the bits 00; 14 bits in two, 01; the four or eight bytes behind 128 or 129.
Behind 195 are two lengths, of what is compressed by LZF and of what that stands for, and the compressed bytes.

Valkey compresses what it writes, if that makes it shorter; nothing is compressed here. It would take Python longer than
it saves, and readers take both.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from kvstore.base.errors import KVStoreError
from kvstore.base.limits import MAX_LIBRARIES_BYTES

_VERSION = 80
_LIBRARY = 245
_FOOTER_BYTES = 10
_COMPRESSED = 0xC3
#: Longer than any dump of libraries that are kept.
_LONGEST_BYTES = 2 * MAX_LIBRARIES_BYTES


class BadDump(KVStoreError):
    """Bytes that are no dump of libraries. The text is the answer."""


def write_dump(sources: Iterable[bytes]) -> bytes:
    """Libraries as bytes."""
    body = b"".join(bytes([_LIBRARY]) + _length(len(source)) + source for source in sources)
    body += _VERSION.to_bytes(2, "little")
    return body + _crc64(body).to_bytes(8, "little")


def read_dump(payload: bytes) -> list[bytes]:
    """The sources of the libraries in a dump. Raises BadDump."""
    _check_footer(payload)
    reader = _Reader(payload[:-_FOOTER_BYTES])
    sources = []
    try:
        while reader.place < len(reader.data):
            if reader.byte() != _LIBRARY:
                raise BadDump("given type is not a function")
            sources.append(reader.string())
    except (IndexError, ValueError):
        raise BadDump("Failed loading library data") from None
    return sources


def _check_footer(payload: bytes) -> None:
    footer = payload[-_FOOTER_BYTES:]
    if len(footer) == _FOOTER_BYTES and len(payload) <= _LONGEST_BYTES:
        version, crc = int.from_bytes(footer[:2], "little"), int.from_bytes(footer[2:], "little")
        if version <= _VERSION and crc in (0, _crc64(payload[:-8])):
            return
    raise BadDump("DUMP payload version or checksum are wrong")


def _length(length: int) -> bytes:
    if length < 1 << 6:
        return bytes([length])
    return (length | 1 << 14).to_bytes(2, "big") if length < 1 << 14 else b"\x80" + length.to_bytes(4, "big")


class _Reader:
    """Reads one thing after the other. Raises IndexError at the end, ValueError for what is none."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.place = 0

    def byte(self) -> int:
        self.place += 1
        return self.data[self.place - 1]

    def take(self, count: int) -> bytes:
        self.place += count
        if self.place > len(self.data):
            raise IndexError
        return self.data[self.place - count : self.place]

    def length(self) -> int:
        first = self.byte()
        if first < 0x40:
            return first
        if first < 0x80:
            return (first & 0x3F) << 8 | self.byte()
        if first in (0x80, 0x81):
            return int.from_bytes(self.take(4 if first == 0x80 else 8), "big")
        raise ValueError

    def string(self) -> bytes:
        if self.data[self.place] != _COMPRESSED:
            return self.take(self.length())
        self.place += 1
        compressed, length = self.length(), self.length()
        if length > MAX_LIBRARIES_BYTES:
            raise ValueError
        return _expanded(self.take(compressed), length)


def _expanded(compressed: bytes, length: int) -> bytes:
    """What LZF has compressed: runs of bytes as they are, and references to what was there before."""
    reader, out = _Reader(compressed), bytearray()
    while reader.place < len(compressed):
        control = reader.byte()
        if control < 32:
            out += reader.take(control + 1)
            continue
        count = control >> 5
        if count == 7:
            count += reader.byte()
        start = len(out) - ((control & 31) << 8 | reader.byte()) - 1
        if start < 0 or len(out) > length:
            raise ValueError
        for place in range(start, start + count + 2):  # it may reach into what it makes
            out.append(out[place])
    if len(out) != length:
        raise ValueError
    return bytes(out)


@cache
def _table() -> list[int]:
    """Made when the first dump is written or read: no start needs it."""
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x95AC9329AC4BC9B5 if value & 1 else 0)
        table.append(value)
    return table


def _crc64(data: bytes) -> int:
    crc, table = 0, _table()
    for byte in data:
        crc = table[crc & 255 ^ byte] ^ crc >> 8
    return crc
