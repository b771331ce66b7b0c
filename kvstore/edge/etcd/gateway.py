"""What etcd's gateway is asked, in its JSON, and what stands in its answers.

The fields are those of etcd's `rpc.proto`: bytes go as base64, 64-bit numbers as decimal strings, and what is zero,
empty or false is left out of an answer. Names are written as in the .proto file: every version from 3.4 on takes those.
"""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

TXN = b"/v3/kv/txn"
PUT = b"/v3/kv/put"
COMPACT = b"/v3/kv/compaction"
WATCH = b"/v3/watch"
STATUS = b"/v3/maintenance/status"
AUTHENTICATE = b"/v3/auth/authenticate"

_RANGE = "response_range"

#: gRPC's codes. OUT_OF_RANGE: of a compaction that was done before; the others: see `login`.
UNKNOWN = 2
INVALID_ARGUMENT = 3
FAILED_PRECONDITION = 9
OUT_OF_RANGE = 11
UNAUTHENTICATED = 16


class Answer(NamedTuple):
    """What etcd said. `code`: 0, or gRPC's of an error. `document`: the JSON object."""

    code: int
    document: dict[str, Any]


class KeyValue(NamedTuple):
    """A key that is there."""

    key: bytes
    value: bytes


def base64(data: bytes) -> bytes:
    """As JSON has bytes."""
    return b2a_base64(data, newline=False)


def value_is(key: bytes, relation: bytes, value: bytes) -> bytes:
    """The condition that a key is there, and its value EQUAL, LESS or GREATER, byte for byte."""
    return b'{"key":"%b","target":"VALUE","result":"%b","value":"%b"}' % (base64(key), relation, base64(value))


def absent(key: bytes) -> bytes:
    """The condition that a key is not there."""
    return b'{"key":"%b","target":"CREATE","result":"EQUAL","create_revision":"0"}' % base64(key)


def put(key: bytes, value: bytes) -> bytes:
    """The operation that gives a key a value."""
    return b'{"request_put":{"key":"%b","value":"%b"}}' % (base64(key), base64(value))


def get(key: bytes) -> bytes:
    """The operation that reads a key."""
    return b'{"request_range":{"key":"%b"}}' % base64(key)


def get_range(first: bytes, end: bytes) -> bytes:
    """The operation that reads the keys from `first` to before `end`, in order.

    It has no limit: etcd visits all keys in the range, whatever the limit is.
    """
    return b'{"request_range":{"key":"%b","range_end":"%b"}}' % (base64(first), base64(end))


def delete_range(first: bytes, end: bytes) -> bytes:
    """The operation that removes the keys from `first` to before `end`."""
    return b'{"request_delete_range":{"key":"%b","range_end":"%b"}}' % (base64(first), base64(end))


def transaction(conditions: Sequence[bytes], then: Sequence[bytes], otherwise: Sequence[bytes]) -> bytes:
    """The body for TXN: all of `then` if all `conditions` hold, else all of `otherwise`.

    etcd takes it through its log, whichever it does, unless there is nothing but reads in either.
    """
    return b'{"compare":[%b],"success":[%b],"failure":[%b]}' % tuple(map(b",".join, (conditions, then, otherwise)))


def reading(nothing: bytes, reads: Sequence[bytes]) -> bytes:
    """The body for TXN of some reads that are as new as everything done before, whatever etcd makes of its own
    "linearizable" reads: the transaction could change something, so it goes through etcd's log as a write does.

    `nothing`: a key that is never there, among those that we may write. The condition never holds, and what would be
    done then, removes that; a put could not be asked for while etcd has no room.
    """
    condition = b'{"key":"%b","target":"VERSION","result":"LESS","version":"0"}' % base64(nothing)
    return transaction([condition], [b'{"request_delete_range":{"key":"%b"}}' % base64(nothing)], reads)


def watch_body(first: bytes, end: bytes) -> bytes:
    """The body for WATCH: the puts from now on; long answers in several."""
    keys = (base64(first), base64(end))
    return b'{"create_request":{"key":"%b","range_end":"%b","filters":["NODELETE"],"fragment":true}}' % keys


def compaction(revision: int) -> bytes:
    """The body for COMPACT: forget what was before a revision."""
    return b'{"revision":"%d"}' % revision


def succeeded(document: dict[str, Any]) -> bool:
    """Whether a transaction's conditions held."""
    return document.get("succeeded") is True


def found(document: dict[str, Any]) -> list[list[KeyValue]]:
    """What each read of a transaction found, in order."""
    return [_key_values(reply["response_range"].get("kvs", ())) for reply in document["responses"] if _RANGE in reply]


def revision_of(document: dict[str, Any]) -> int:
    """The revision that etcd's store had with that answer."""
    return int(document["header"]["revision"])


class Header(NamedTuple):
    """What each answer begins with. `cluster`: which etcd it is. `term`: of its leader. 0 is for what is not said."""

    cluster: int
    term: int


def header_of(document: dict[str, Any]) -> Header:
    """That of an answer, or of what a line of a watch has."""
    header = document.get("header", {})
    return Header(int(header.get("cluster_id", 0)), int(header.get("raft_term", 0)))


def used_bytes(status: dict[str, Any]) -> int:
    """How much of its file the node that answered STATUS so has in use; an older etcd does not say how much it may."""
    return int(status.get("dbSizeInUse", status.get("dbSize", 0)))


def file_bytes(status: dict[str, Any]) -> int:
    """How large that file is."""
    return int(status.get("dbSize", 0))


def quota_bytes(status: dict[str, Any]) -> int:
    """How much that node takes; etcd says so from 3.6 on, 0 before."""
    return int(status.get("dbSizeQuota", 0))


def leads(status: dict[str, Any]) -> bool:
    """Whether the node that answered STATUS so leads the others."""
    return status.get("leader") is not None and status["leader"] == status.get("header", {}).get("member_id")


def puts_in(result: dict[str, Any]) -> list[KeyValue]:
    """What a line of a watch tells of, in order."""
    return _key_values(event["kv"] for event in result.get("events", ()))


def _key_values(kvs: Iterable[dict[str, str]]) -> list[KeyValue]:
    return [KeyValue(a2b_base64(kv["key"]), a2b_base64(kv.get("value", ""))) for kv in kvs]
