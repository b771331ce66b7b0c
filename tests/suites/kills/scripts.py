"""Scripts in a kill run: one that writes a key of each kind of a client's own; it does all of that, or nothing."""

from __future__ import annotations

import hashlib

from kvstore.client.raw import resp_request
from tests.suites.kills.own import FEW, Own, ranking
from tests.suites.kills.request import Beginning, Held, Line, Request, Stream, bulk
from tests.suites.kills.streams import new_entry, text_of

_SCRIPT = b"""
redis.call('set', KEYS[1], ARGV[1])
local count = redis.call('incr', KEYS[2])
redis.call('rpush', KEYS[3], ARGV[1])
redis.call('hset', KEYS[4], ARGV[2], ARGV[1])
redis.call('sadd', KEYS[5], ARGV[2])
redis.call('zincrby', KEYS[6], 2, ARGV[2])
redis.call('xadd', KEYS[7], ARGV[3], 'f', ARGV[1])
redis.pcall('incr', KEYS[3])
if ARGV[4] == 'raises' then error('half-way') end
while ARGV[4] == 'late' do end
return count
"""
_SHA = hashlib.sha1(_SCRIPT, usedforsecurity=False).hexdigest().encode()
_ERRORS: dict[bytes, Line] = {
    b"raises": Beginning(b"-ERR user_script:"),
    b"late": Beginning(b"-ERR the script took longer"),
}


def load() -> Request:
    """SCRIPT LOAD."""
    return Request(resp_request("SCRIPT", "LOAD", _SCRIPT), bulk(_SHA), {})


def done(own: Own) -> Request:
    """It ends well."""
    return _run(own, b"well")


def raised(own: Own) -> Request:
    """It raises when it has written it all."""
    return _run(own, b"raises")


def late(own: Own) -> Request:
    """It takes too long: few do, since nobody is served meanwhile."""
    return _run(own, b"late" if own.chance.random() < 0.03 else b"raises")


def _run(own: Own, ending: bytes) -> Request:
    string, counter, pushed = own.key("string"), own.key("counter"), own.key("list", FEW)
    (in_hash, fields), (in_set, members), (ranked, scores) = own.hash(), own.a_set(), own.scores()
    streamed, stream = own.stream()
    entry, field = new_entry(own), own.field()
    keys = (string, counter, pushed, in_hash, in_set, ranked, streamed)
    words = (entry.value, field, text_of(entry.number), ending)
    data = resp_request("EVALSHA", _SHA, b"%d" % len(keys), *keys, *words)
    if ending in _ERRORS:
        return Request(data, [_ERRORS[ending]], {})
    stream = stream or Stream()
    count = own.incremented(own.at(counter))
    after: tuple[Held | None, ...] = (
        entry.value, count, (*own.elements(pushed), entry.value), {**fields, field: (entry.value, -1)},
        members | {field}, ranking({**scores, field: scores.get(field, 0) + 2}),
        stream._replace(entries=(*stream.entries, entry), last=entry.number),
    )  # fmt: skip
    return Request(data, [b":" + count], dict(zip(map(own.at, keys), after, strict=True)))


MAKERS = (done, done, raised, late)
