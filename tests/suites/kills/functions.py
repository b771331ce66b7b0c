"""Libraries of functions in a kill run: loaded, replaced, removed, restored, and called, as requests of one client.

Only one client has any, since FUNCTION FLUSH removes everybody's. A library's one function writes two keys and tells
its library's version, so that each call shows which of them is there; its source is what `places` holds of it.
"""

from __future__ import annotations

from kvstore.client.raw import resp_request
from kvstore.commands.function_dump import write_dump
from tests.suites.kills.own import FEW, Own
from tests.suites.kills.request import Beginning, Held, Line, Request, bulk, library_place

_LIBRARIES = 4
_SOURCE = b"""#!lua name=%b
local function run(keys, args)
    redis.call('set', keys[1], args[1])
    redis.call('rpush', keys[2], args[1])
    if args[2] == 'raises' then error('half-way') end
    return '%b'
end
redis.register_function('%b', run)
"""


def function_of(library: bytes) -> bytes:
    """The name of a library's function."""
    return library + b"_run"


def load(own: Own) -> Request:
    """FUNCTION LOAD of one that may be there, with REPLACE or without."""
    name, replace = _name(own), own.chance.random() < 0.6
    source = _new_source(own, name)
    data = resp_request("FUNCTION", "LOAD", *(["REPLACE"] if replace else []), source)
    if library_place(name) in own.planned and not replace:
        return Request(data, [b"-ERR Library '%b' already exists" % name], {})
    return Request(data, bulk(name), {library_place(name): source})


def delete(own: Own) -> Request:
    """FUNCTION DELETE."""
    name = _name(own)
    data, place = resp_request("FUNCTION", "DELETE", name), library_place(name)
    return Request(data, [b"+OK"] if place in own.planned else [b"-ERR Library not found"], {place: None})


def flush(own: Own) -> Request:
    """FUNCTION FLUSH."""
    return Request(resp_request("FUNCTION", "FLUSH"), [b"+OK"], _all_gone(own))


def restore(own: Own) -> Request:
    """FUNCTION RESTORE of two, under each policy; what APPEND finds there already is there as before, and no other."""
    sources = {name: _new_source(own, name) for name in own.chance.sample(_names(own), 2)}
    policy = own.chance.choice((b"FLUSH", b"APPEND", b"REPLACE"))
    data = resp_request("FUNCTION", "RESTORE", write_dump(sources.values()), policy)
    if policy == b"APPEND":
        for name in sources:
            if library_place(name) in own.planned:
                return Request(data, [b"-ERR Library %b already exists" % name], {})
    gone = _all_gone(own) if policy == b"FLUSH" else {}
    return Request(data, [b"+OK"], gone | {library_place(name): source for name, source in sources.items()})


def block(own: Own) -> Request:
    """MULTI: a key, and all libraries but a new one are gone."""
    key, value, name = own.key("string"), own.value(), _name(own)
    source = _new_source(own, name)
    requests = (
        ("MULTI",), ("SET", key, value), ("FUNCTION", "FLUSH"), ("FUNCTION", "LOAD", source), ("EXEC",),
    )  # fmt: skip
    lines: list[Line] = [b"+OK", *[b"+QUEUED"] * 3, b"*3", b"+OK", b"+OK", *bulk(name)]
    changes = _all_gone(own) | {library_place(name): source, own.at(key): value}
    return Request(b"".join(resp_request(*words) for words in requests), lines, changes)


def call(own: Own) -> Request:
    """FCALL; the function raises, sometimes, when it has written."""
    name, key, pushed, value = _name(own), own.key("string"), own.key("list", FEW), own.value()
    raises = own.chance.random() < 0.3
    words = ("FCALL", function_of(name), "2", key, pushed, value, "raises" if raises else "well")
    source = own.planned.get(library_place(name))
    if source is None:
        return Request(resp_request(*words), [b"-ERR Function not found"], {})
    if raises:
        return Request(resp_request(*words), [Beginning(b"-ERR ")], {})
    assert isinstance(source, bytes)
    changes: dict[bytes, Held | None] = {own.at(key): value, own.at(pushed): (*own.elements(pushed), value)}
    return Request(resp_request(*words), bulk(_version(source)), changes)


def _names(own: Own) -> list[bytes]:
    return [b"%b_%d" % (own.name.encode(), number) for number in range(_LIBRARIES)]


def _name(own: Own) -> bytes:
    return own.chance.choice(_names(own))


def _new_source(own: Own, name: bytes) -> bytes:
    return _SOURCE % (name, own.value(), function_of(name))


def _version(source: bytes) -> bytes:
    return source.partition(b"return '")[2].partition(b"'")[0]


def _all_gone(own: Own) -> dict[bytes, Held | None]:
    return dict.fromkeys(map(library_place, _names(own)))


MAKERS = (load, load, load, load, delete, flush, restore, restore, block, call, call, call, call, call)
