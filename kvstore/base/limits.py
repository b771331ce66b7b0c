"""Every limit of the server, with its unit and its precedent. Tested at limit-1, limit and limit+1."""

from __future__ import annotations

KIB = 1024
MIB = 1024 * KIB

#: Largest request, in bytes, in any grammar (`--max-request-bytes`). Redis: proto-max-bulk-len 512 MiB; we hold a request
#: in memory whole, so the default is smaller.
MAX_REQUEST_BYTES = 64 * MIB

#: Most elements of one RESP request. Redis before 7: 1024 * 1024.
MAX_REQUEST_ELEMENTS = 1024 * 1024

#: Longest header line (`*N`, `$N`) of a RESP request, in bytes. Redis: PROTO_INLINE_MAX_SIZE 64 KiB.
MAX_HEADER_BYTES = 64 * KIB

#: Unread replies, in bytes, past which we stop reading from a client (`--pause-reading-bytes`).
PAUSE_READING_BYTES = 1 * MIB

#: Unread replies, in bytes, past which a client is dropped (`--drop-client-bytes`). Redis: client-output-buffer-limit.
DROP_CLIENT_BYTES = 256 * MIB

#: Most clients connected at once (`--max-clients`). Redis: maxclients 10000.
MAX_CLIENTS = 10_000

#: Bytes of hostile input that may reach a log line.
MAX_LOGGED_BYTES = 128

#: Deepest nesting of a JSON value.
MAX_JSON_DEPTH = 200

#: Most subkeys that have an index at once; the least recently asked for goes first.
MAX_INDEXES = 32

#: Most digits of a JSON integer. Python: sys.int_info.default_max_str_digits; conversion takes quadratic time.
MAX_INTEGER_DIGITS = 4300
