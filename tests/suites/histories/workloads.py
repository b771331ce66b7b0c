"""What clients of histories ask: workloads, one for each way to use a server. Each is a row of `WORKLOADS`.

Strings, documents, fields of hashes, pipelines and blocks, together; lists as queues. Those on sorted sets, streams and
locks are in `typed_workloads`. Every value written is a new one, so that no wrong read can be right by chance.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from kvstore.client.raw import RawConnection, resp_request
from tests.suites.histories import typed_workloads as typed
from tests.suites.histories.checker import UNKNOWN, Operation
from tests.suites.histories.client import Client

#: The fields of the hash.
HASH_FIELDS = (b"0", b"1", b"counter-0", b"counter-1")
#: Keys in a pipeline. The server takes so few for one from 6 on.
_PIPELINE = 8


class Workload(NamedTuple):
    """`kinds`: what a client does, one drawn after the other. `read_all`: reads every key at the end. `check`: what can
    be told of a history besides that it is linearizable; raises NotLinearizable.
    """

    kinds: Sequence[Callable[[Client], None]]
    read_all: Callable[[Client], None]
    check: Callable[[Iterable[Operation]], None] = lambda history: None


def strings(client: Client) -> None:
    """One of a few strings."""
    key, value = client.key(b"string", 3), client.value()
    words = client.chance.choice(
        [(b"SET", key, value), (b"SET", key, value, b"NX"), (b"GETSET", key, value), (b"DEL", key), (b"GET", key)]
    )
    client.resp(words)


def compare_and_set(client: Client) -> None:
    """Read a string, and change it if nobody else has."""
    key = client.key(b"string", 3)
    began = time.monotonic()
    client.connection.send(resp_request(b"WATCH", key) + resp_request(b"GET", key))
    try:
        assert client.connection.resp() == "+OK"
        old = client.connection.resp()
    finally:
        ended = time.monotonic()
    client.note((b"GET", key), began, old, ended)
    value = client.value()
    block = resp_request(b"MULTI") + resp_request(b"SET", key, value) + resp_request(b"EXEC")
    client.call((b"CAS", key, old, value), block, lambda: client.last_of(3))


def counters(client: Client) -> None:
    """A counter."""
    key = client.key(b"counter", 2)
    number = b"%d" % (next(client.values) * 1000)
    client.resp(
        client.chance.choice([(b"INCR", key), (b"INCR", key), (b"GETSET", key, number), (b"DEL", key), (b"GET", key)])
    )


def documents(client: Client) -> None:
    """A document, by the verbs."""
    key, value = client.key(b"document", 2), client.value()
    verb = client.chance.choice(("insert", "insert", "lookup", "remove"))
    members = {"method": verb, "key": key.decode()} | ({"value": value.decode()} if verb == "insert" else {})
    words = (verb.upper().encode(), key, *((json.dumps(value.decode()).encode(),) if verb == "insert" else ()))
    client.call(words, json.dumps(members).encode() + b"\n", client.json)


def hashes(client: Client) -> None:
    """A field of a hash, in another database: two that are written, and two that count."""
    key, field, value = client.prefix + b":hash", b"%d" % client.chance.randrange(2), client.value()
    counter = b"counter-" + field
    words = client.chance.choice(
        [
            (b"HSET", key, field, value), (b"HSETNX", key, field, value), (b"HDEL", key, field),
            (b"HGET", key, field), (b"HINCRBY", key, counter), (b"HGET", key, counter), (b"HDEL", key, counter),
        ]
    )  # fmt: skip
    _elsewhere(client, words)


def _elsewhere(client: Client, words: tuple[bytes, ...]) -> None:
    """A request about database 1."""
    sent = (*words, b"1") if words[0] == b"HINCRBY" else words
    data = b"".join(resp_request(*each) for each in ((b"SELECT", b"1"), sent, (b"SELECT", b"0")))
    client.call(words, data, lambda: [client.connection.resp() for _ in range(3)][1])


def blocks(client: Client) -> None:
    """Two keys at once."""
    left, right, value = client.prefix + b":left", client.prefix + b":right", client.value()
    blocks: list[list[tuple[bytes, ...]]] = [
        [(b"SET", left, value), (b"SET", right, value)],
        [(b"GETSET", left, value), (b"DEL", right)],
        [(b"DEL", left), (b"SET", right, value, b"NX"), (b"GET", right)],
    ]
    inner = client.chance.choice(blocks)
    if client.chance.random() < 0.5:
        client.resp(client.chance.choice([(b"MGET", left, right), (b"GET", left), (b"GET", right)]))
        return
    data = b"".join(resp_request(*words) for words in [(b"MULTI",), *inner, (b"EXEC",)])
    client.call((b"EXEC", *inner), data, lambda: client.last_of(len(inner) + 2))


def pipelines(client: Client) -> None:
    """Write, or read, some keys in one pipeline."""
    keys = [_pipelined(client, number) for number in range(_PIPELINE)]
    client.chance.shuffle(keys)
    if client.chance.random() < 0.5:
        client.pipeline([(b"SET", key, client.value(100)) for key in keys])
    else:
        client.pipeline([(b"GET", key) for key in keys])


def _pipelined(client: Client, number: int) -> bytes:
    return b"%b:pipelined:%d" % (client.prefix, number)


def cached(client: Client) -> None:
    """A string, a counter or a document that nobody removes."""
    string, counter, document = client.key(b"string", 3), client.key(b"counter", 2), client.key(b"document", 2)
    value, text = client.value(), json.dumps(client.value()[:100].decode())
    kind = client.chance.randrange(8)
    if kind < 4:
        client.resp([(b"SET", string, value), (b"SET", string, value, b"NX"), (b"GETSET", string, value),
                     (b"GET", string)][kind])  # fmt: skip
    elif kind < 6:
        client.resp([(b"INCR", counter), (b"GET", counter)][kind - 4])
    elif kind == 6:
        line = f'{{"method":"insert","key":"{document.decode()}","value":{text}}}\n'
        client.call((b"INSERT", document, text.encode()), line.encode(), client.json)
    else:
        client.call((b"LOOKUP", document), b'{"method":"lookup","key":"%b"}\n' % document, client.json)


def cached_pairs(client: Client) -> None:
    """Two keys at once; each may go by itself."""
    left, right, value = client.prefix + b":left", client.prefix + b":right", client.value()
    if client.chance.random() < 0.5:
        client.resp((b"MGET", left, right))
        return
    inner = [(b"SET", left, value), (b"GETSET", right, value)]
    data = b"".join(resp_request(*words) for words in [(b"MULTI",), *inner, (b"EXEC",)])
    client.call((b"EXEC", *inner), data, lambda: client.last_of(len(inner) + 2))


def queues(client: Client) -> None:
    """Push to one of a few queues, or take from it."""
    key, value = _queue(client), client.value()
    client.resp(
        client.chance.choice(
            [(b"RPUSH", key, value), (b"RPUSH", key, value), (b"LPUSH", key, value), (b"LPOP", key), (b"RPOP", key)]
        )
    )


def waits(client: Client) -> None:
    """Take from a queue, or wait for an element: a few ms, so that all clients never wait for long."""
    key, timeout = _queue(client), b"0.00%d" % client.chance.randint(1, 9)
    name = client.chance.choice((b"BLPOP", b"BRPOP"))
    client.call((name, key), resp_request(name, key, timeout), client.connection.resp)


def moves(client: Client) -> None:
    """Move an element from one queue to another, or to the other end of the same; wait for one, or do not."""
    ends = client.chance.choice((b"LEFT", b"RIGHT")), client.chance.choice((b"LEFT", b"RIGHT"))
    name = client.chance.choice((b"LMOVE", b"BLMOVE"))
    words = (name, _queue(client), _queue(client), *ends)
    timeout = (b"0.005",) if name == b"BLMOVE" else ()
    client.call(words, resp_request(*words, *timeout), client.connection.resp)


def queue_blocks(client: Client) -> None:
    """Take from one queue and put into another in a block, where nobody waits."""
    key, other = _queue(client), _queue(client)
    inner = [(b"LPOP", key), (b"RPUSH", other, client.value()), (b"BRPOP", key)]
    sent = [(b"MULTI",), *inner[:2], (*inner[2], b"0"), (b"EXEC",)]
    client.call((b"EXEC", *inner), b"".join(resp_request(*words) for words in sent), lambda: client.last_of(5))


def vanishes(client: Client) -> None:
    """Another client waits, and is gone: what it took, if it took something, is lost."""
    key, began = _queue(client), time.monotonic()
    with RawConnection(client.address) as connection:
        connection.send(resp_request(b"BLPOP", key, b"0"))
        time.sleep(client.chance.uniform(0, 0.002))
    client.note((b"BLPOP", key), began, UNKNOWN)


def _queue(client: Client) -> bytes:
    return client.key(b"queue", 3)


def read_keys(client: Client) -> None:
    """Every key but queues."""
    for kind, count in ((b"string", 3), (b"counter", 2)):
        for number in range(count):
            client.resp((b"GET", b"%b:%b:%d" % (client.prefix, kind, number)))
    client.resp((b"MGET", client.prefix + b":left", client.prefix + b":right"))
    client.pipeline([(b"GET", _pipelined(client, number)) for number in range(_PIPELINE)])
    for name in HASH_FIELDS:
        _elsewhere(client, (b"HGET", client.prefix + b":hash", name))
    for number in range(2):
        key = b"%b:document:%d" % (client.prefix, number)
        client.call((b"LOOKUP", key), b'{"method":"lookup","key":"%b"}\n' % key, client.json)


def read_queues(client: Client) -> None:
    """All of them."""
    for number in range(3):
        key = b"%b:queue:%d" % (client.prefix, number)
        client.call((b"LRANGE", key), resp_request(b"LRANGE", key, b"0", b"-1"), client.connection.resp)


WORKLOADS = {
    "keys": Workload((strings, strings, compare_and_set, counters, documents, blocks, pipelines, hashes), read_keys),
    "cached": Workload((cached, cached, compare_and_set, cached_pairs, pipelines, hashes), read_keys),
    "queues": Workload(
        # few that vanish: the search takes twice as long for each outcome that is unknown
        (*[queues] * 120, *[waits] * 60, *[moves] * 60, *[queue_blocks] * 30, vanishes), read_queues,
    ),
    "boards": Workload(
        (*[typed.scores] * 4, *[typed.ranks] * 4, *[typed.pops] * 3, typed.unions, *[typed.board_blocks] * 2),
        typed.read_boards,
    ),
    "groups": Workload(
        (*[typed.adds] * 3, *[typed.deliveries] * 4, *[typed.acknowledgements] * 3, typed.claims), typed.read_groups,
    ),
    "locks": Workload((typed.criticals, typed.criticals, typed.late_ones), typed.read_locks, typed.check_fences),
}  # fmt: skip
