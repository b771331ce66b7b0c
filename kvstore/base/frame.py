"""Frames and blocks: how bytes on disk get a checksum.

A **frame** is one commit in a log, or one stretch of a checkpoint: a header line of 84 bytes, then the body.

    +KV1 SEQUENCE DURABLE TIME LENGTH BODYSUM HEADSUM\\r\\n

All fields are lower-case hexadecimal of fixed width: SEQUENCE (16 digits), DURABLE (16: the sequence number known to
be on disk when the frame was written), TIME (16: microseconds since the epoch), LENGTH of the body in bytes (8),
BODYSUM (8: CRC-32 of the body) and HEADSUM (8: CRC-32 of the header before it). A **block** is 4096 bytes: what a
file says of itself, as `name=value` fields, padded with spaces, and a CRC-32 of all of it at its end. Both lines are
RESP simple strings, so that a whole file is a stream that any RESP parser reads and `grep -a '^+KV1'` lists the
commits.

Every CRC starts from the file's **salt**, four random bytes from its first block (whose own CRC starts from 0). So a
frame copied from another file is invalid here, and a client cannot put a valid frame into a value: after a torn write
the search for later frames would take it for ours.

The header has a checksum of its own because LENGTH must be believed before the body can be read.

Rejected: a binary header (40 bytes less a commit, and nothing that a person can read); CRC-32C or xxHash (faster, but
not in the standard library; zlib's CRC-32 takes 60 µs for a full 64 KiB, and far less than the system call for usual
commits).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple
from zlib import crc32

from kvstore.base.disk import File
from kvstore.base.errors import NewerVersion
from kvstore.base.limits import MIB

BLOCK_BYTES = 4096
HEADER_BYTES = 84
_CRC_AT = HEADER_BYTES - 10
_BLOCK_CRC_AT = BLOCK_BYTES - 10
_HEADER = re.compile(
    rb"\+KV1 ([0-9a-f]{16}) ([0-9a-f]{16}) ([0-9a-f]{16}) ([0-9a-f]{8}) ([0-9a-f]{8}) ([0-9a-f]{8})\r\n"
)
_MAGIC = b"+KV1 "
_READ_BYTES = MIB


class Header(NamedTuple):
    """The decoded header of a frame; `time_us` in microseconds since the epoch, `length` in bytes."""

    sequence: int
    durable: int
    time_us: int
    length: int
    body_crc: int


class Frame(NamedTuple):
    """A whole frame whose checksums were right, and its place in the file: bytes `offset` to `end`."""

    sequence: int
    durable: int
    time_us: int
    body: bytes
    offset: int
    end: int


def encode_frame(sequence: int, durable: int, time_us: int, body: bytes, salt: int) -> bytes:
    """One frame as bytes. `body`: less than 4 GiB, as LENGTH has it; `salt`: of the file it goes to."""
    head = b"+KV1 %016x %016x %016x %08x %08x " % (sequence, durable, time_us, len(body), crc32(body, salt))
    return b"%b%08x\r\n%b" % (head, crc32(head, salt), body)


def decode_header(data: bytes, salt: int, at: int = 0) -> Header | None:
    """The frame header that stands at `data[at:]`, or None if no valid one does."""
    match = _HEADER.match(data, at)
    if match is None:
        return None
    if crc32(data[at : at + _CRC_AT], salt) != int(match[6], 16):
        return None
    sequence, durable, time_us, length, body_crc = (int(field, 16) for field in match.groups()[:5])
    return Header(sequence, durable, time_us, length, body_crc)


def encode_block(kind: str, fields: dict[str, str], salt: int = 0) -> bytes:
    """One block as bytes. `kind`: such as KVLOG1; `fields`: ASCII without spaces, at most some 4,000 bytes in all."""
    text = " ".join([f"+{kind}", *(f"{name}={value}" for name, value in fields.items())])
    head = text.encode("ascii").ljust(_BLOCK_CRC_AT - 4) + b"crc="
    return b"%b%08x\r\n" % (head, crc32(head, salt))


def read_block(file: File, name: str, offset: int, kind: str, salt: int = 0) -> dict[str, str] | None:
    """The fields of the block of that kind at byte `offset` of a file, called `name`; None if it is not valid, or of
    another kind.

    Raises NewerVersion for one of a later version of this kind, OSError.
    """
    found, *fields = _words_of_block(file.read_at(offset, BLOCK_BYTES), salt)
    if found == f"+{kind}":
        return dict(field.split("=", 1) for field in fields)
    if _is_later(found.removeprefix("+"), kind):
        raise NewerVersion(name, offset, f"a block of the unknown version {found.removeprefix('+')}")
    return None


def _words_of_block(data: bytes, salt: int) -> list[str]:
    """Its kind, and its fields; an empty word if it is not valid."""
    if len(data) != BLOCK_BYTES or data[_BLOCK_CRC_AT:] != b"%08x\r\n" % crc32(data[:_BLOCK_CRC_AT], salt):
        return [""]
    return data[: _BLOCK_CRC_AT - 4].decode("ascii").split()


def _is_later(found: str, kind: str) -> bool:
    stem, version = kind.rstrip("0123456789"), found.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    return found == stem + version and version.isdecimal() and int(version) > int(kind.removeprefix(stem))


class FrameReader:
    """The frames of a file from `offset` on, streamed in pieces of a mebibyte.

    Iterating yields each `Frame` whose checksums are right, up to the first place that is not one; then `stopped_at`
    is the offset of that place and `reason` says what is there: None if it is the end of the file or zeros up to it.
    Raises OSError.
    """

    def __init__(self, file: File, offset: int, salt: int) -> None:
        self._file = file
        self._salt = salt
        self._size = file.size()
        self._buffer = b""
        self._buffer_at = offset
        self.stopped_at = offset
        self.reason: str | None = None

    def __iter__(self) -> Iterator[Frame]:
        while True:
            start = self.stopped_at
            header = decode_header(self._bytes(start, HEADER_BYTES), self._salt)
            if header is None:
                self.reason = None if self._only_zeros_from(start) else "no valid frame header"
                return
            end = start + HEADER_BYTES + header.length
            if end > self._size:
                self.reason = "the frame is longer than the file"
                return
            body = self._bytes(start + HEADER_BYTES, header.length)
            if crc32(body, self._salt) != header.body_crc:
                self.reason = "the checksum of the frame's body is wrong"
                return
            self.stopped_at = end
            yield Frame(header.sequence, header.durable, header.time_us, body, start, end)

    def _bytes(self, offset: int, length: int) -> bytes:
        at = offset - self._buffer_at
        if at < 0 or at + length > len(self._buffer):
            self._buffer = self._file.read_at(offset, max(length, _READ_BYTES))
            self._buffer_at, at = offset, 0
        return self._buffer[at : at + length]

    def _only_zeros_from(self, offset: int) -> bool:
        while piece := self._file.read_at(offset, _READ_BYTES):
            if piece.count(0) != len(piece):
                return False
            offset += len(piece)
        return True


def later_headers(file: File, offset: int, salt: int) -> Iterator[tuple[int, Header]]:
    """Valid frame headers anywhere past byte `offset`, with their offsets: what a search after a bad frame finds."""
    overlap = HEADER_BYTES - 1
    while len(piece := file.read_at(offset, _READ_BYTES + overlap)) >= HEADER_BYTES:
        at = piece.find(_MAGIC)
        while 0 <= at < _READ_BYTES:
            header = decode_header(piece, salt, at)
            if header is not None:
                yield offset + at, header
            at = piece.find(_MAGIC, at + 1)
        offset += _READ_BYTES
