"""Requests about a client's own lists, hashes, sets and sorted sets in a kill run."""

from __future__ import annotations

from kvstore.client.raw import resp_request
from tests.suites.kills.own import FEW, Own, ranking
from tests.suites.kills.request import Held, Request, bulk


def push(own: Own) -> Request:
    """Up to three elements, that were never used before, at either end of a list."""
    key, new = own.key("list", FEW), [own.value() for _ in range(own.chance.randint(1, 3))]
    before = own.elements(key)
    name = own.chance.choice((b"RPUSH", b"LPUSH"))
    after = (*before, *new) if name == b"RPUSH" else (*reversed(new), *before)
    return Request(resp_request(name, key, *new), [b":%d" % len(after)], {own.at(key): after})


def pop(own: Own) -> Request:
    """Up to five elements from either end."""
    key, count = own.key("list", FEW), own.chance.randint(1, 5)
    before = own.elements(key)
    name = own.chance.choice((b"LPOP", b"RPOP"))
    taken, after = before[:count], before[count:]
    if name == b"RPOP":
        taken, after = before[::-1][:count], before[: max(0, len(before) - count)]
    lines = [b"*%d" % len(taken), *(line for each in taken for line in bulk(each))] if before else [b"*-1"]
    return Request(resp_request(name, key, b"%d" % count), lines, {own.at(key): after or None})


def move_element(own: Own) -> Request:
    """LMOVE from the front of a list to the end of another, or of itself."""
    source, target = own.key("list", FEW), own.key("list", FEW)
    data = resp_request("LMOVE", source, target, "LEFT", "RIGHT")
    if not (before := own.elements(source)):
        return Request(data, [b"$-1"], {})
    left = {own.at(source): before[1:]}
    changes = {**left, own.at(target): (*left.get(own.at(target), own.elements(target)), before[0])}
    return Request(data, bulk(before[0]), {at: after or None for at, after in changes.items()})


def trim(own: Own) -> Request:
    """LTRIM, so that no list grows for ever."""
    key = own.key("list", FEW)
    return Request(resp_request("LTRIM", key, "-20", "-2"), [b"+OK"], {own.at(key): own.elements(key)[-20:-1] or None})


def hset(own: Own) -> Request:
    """HSET of one to three fields; a deadline that they had is gone."""
    key, before = own.hash()
    given = {own.field(): own.value() for _ in range(own.chance.randint(1, 3))}
    after = before | {field: (value, -1) for field, value in given.items()}
    words = [word for pair in given.items() for word in pair]
    added = b":%d" % (len(after) - len(before))
    return Request(resp_request("HSET", key, *words), [added], {own.at(key): after})


def hincrby(own: Own) -> Request:
    """HINCRBY of a field that only this changes."""
    key, before = own.hash()
    number = b"%d" % (int(before.get(b"count", (b"0", -1))[0]) + 7)
    changes: dict[bytes, Held | None] = {own.at(key): before | {b"count": (number, -1)}}
    return Request(resp_request("HINCRBY", key, "count", "7"), [b":" + number], changes)


def hdel(own: Own) -> Request:
    """HDEL of two fields."""
    key, before = own.hash()
    fields = {own.field(), own.field()}
    after = {field: inside for field, inside in before.items() if field not in fields}
    gone = b":%d" % (len(before) - len(after))
    return Request(resp_request("HDEL", key, *fields), [gone], {own.at(key): after or None})


def hpexpireat(own: Own) -> Request:
    """A deadline, far away, for a field."""
    key, before = own.hash()
    field, deadline = own.field(), 4_000_000_000_000 + own.number()
    data = resp_request("HPEXPIREAT", key, b"%d" % deadline, "FIELDS", "1", field)
    if field not in before:
        return Request(data, [b"*1", b":-2"], {})
    return Request(data, [b"*1", b":1"], {own.at(key): before | {field: (before[field][0], deadline)}})


def sadd(own: Own) -> Request:
    """SADD of one to three members."""
    key, before = own.a_set()
    given = [own.field() for _ in range(own.chance.randint(1, 3))]
    after = before.union(given)
    added = b":%d" % (len(after) - len(before))
    return Request(resp_request("SADD", key, *given), [added], {own.at(key): after})


def srem(own: Own) -> Request:
    """SREM of two members."""
    key, before = own.a_set()
    after = before - (gone := {own.field(), own.field()})
    removed = b":%d" % (len(before) - len(after))
    return Request(resp_request("SREM", key, *gone), [removed], {own.at(key): after or None})


def smove(own: Own) -> Request:
    """SMOVE from a set to another, or to itself."""
    (source, before), (target, _), member = own.a_set(), own.a_set(), own.field()
    data = resp_request("SMOVE", source, target, member)
    if member not in before:
        return Request(data, [b":0"], {})
    changes: dict[bytes, Held | None] = {own.at(source): before - {member} or None}
    changes[own.at(target)] = own.members(target) | {member} if source != target else before
    return Request(data, [b":1"], changes)


def sunionstore(own: Own) -> Request:
    """SUNIONSTORE of two sets."""
    (target, _), (one, _), (other, _) = own.a_set(), own.a_set(), own.a_set()
    after = own.members(one) | own.members(other)
    data = resp_request("SUNIONSTORE", target, one, other)
    return Request(data, [b":%d" % len(after)], {own.at(target): after or None})


def zadd(own: Own) -> Request:
    """ZADD of one to three members, some of which have these scores already."""
    key, before = own.scores()
    given = {own.field(): own.chance.randrange(9) for _ in range(own.chance.randint(1, 3))}
    words = [word for member, score in given.items() for word in (b"%d" % score, member)]
    added = b":%d" % len(given.keys() - before.keys())
    return Request(resp_request("ZADD", key, *words), [added], {own.at(key): ranking(before | given)})


def zincrby(own: Own) -> Request:
    """ZINCRBY of a member."""
    key, before = own.scores()
    member = own.field()
    score = before.get(member, 0) - 3
    changes: dict[bytes, Held | None] = {own.at(key): ranking(before | {member: score})}
    return Request(resp_request("ZINCRBY", key, "-3", member), bulk(b"%d" % score), changes)


def zpop(own: Own) -> Request:
    """ZPOPMIN or ZPOPMAX of one."""
    key, before = own.scores()
    held, end = ranking(before) or (), own.chance.choice((b"MIN", b"MAX"))
    data = resp_request(b"ZPOP" + end, key)
    if not held:
        return Request(data, [b"*0"], {})
    taken, left = (held[:2], held[2:]) if end == b"MIN" else (held[-2:], held[:-2])
    return Request(data, [b"*2", *bulk(taken[0]), *bulk(taken[1])], {own.at(key): left or None})


MAKERS = (
    push, push, pop, move_element, trim, hset, hset, hincrby, hdel, hpexpireat, hpexpireat, sadd, sadd, srem, smove,
    sunionstore, zadd, zadd, zincrby, zpop,
)  # fmt: skip
