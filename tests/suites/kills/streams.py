"""Requests about a client's own streams in a kill run: entries, a group, who was given what, and how often."""

from __future__ import annotations

from kvstore.client.raw import resp_request
from tests.suites.kills.own import Own
from tests.suites.kills.request import Entry, Line, Pending, Request, Stream, bulk

_LONGEST = 20
_CONSUMERS = (b"one", b"two")
_NO_GROUP = b"-NOGROUP No such key '%b' or consumer group 'g'"
_FROM = b" in XREADGROUP with GROUP option"


def new_entry(own: Own) -> Entry:
    """One that comes after all before, in any stream of the client's."""
    return Entry(own.number() << 64 | 1, own.value())


def text_of(number: int) -> bytes:
    """The id of an entry."""
    return b"%d-%d" % divmod(number, 1 << 64)


def add(own: Own) -> Request:
    """XADD, now and then with MAXLEN, so that no stream grows for ever; what is pending stays so."""
    key, before = own.stream()
    before, new = before or Stream(), new_entry(own)
    entries, trims = (*before.entries, new), own.chance.random() < 0.3
    words = [b"MAXLEN", b"%d" % _LONGEST] if trims else []
    after = before._replace(entries=entries[-_LONGEST:] if trims else entries, last=new.number)
    data = resp_request("XADD", key, *words, text_of(new.number), b"f", new.value)
    return Request(data, bulk(text_of(new.number)), {own.at(key): after})


def create(own: Own) -> Request:
    """XGROUP CREATE, of the stream too."""
    key, before = own.stream()
    data = resp_request("XGROUP", "CREATE", key, "g", "0", "MKSTREAM")
    if before is not None and before.pending is not None:
        return Request(data, [b"-BUSYGROUP Consumer Group name already exists"], {})
    return Request(data, [b"+OK"], {own.at(key): (before or Stream())._replace(read=0, pending=())})


def read(own: Own) -> Request:
    """XREADGROUP of some entries that nobody was given."""
    key, before = own.stream()
    consumer, count = own.chance.choice(_CONSUMERS), own.chance.randint(1, 4)
    data = resp_request("XREADGROUP", "GROUP", "g", consumer, "COUNT", b"%d" % count, "STREAMS", key, ">")
    if before is None or before.pending is None:
        return Request(data, [_NO_GROUP % key + _FROM], {})
    given = [entry for entry in before.entries if entry.number > before.read][:count]
    if not given:
        return Request(data, [b"*-1"], {})
    pending = (*before.pending, *(Pending(entry.number, consumer, 1) for entry in given))
    after = before._replace(read=given[-1].number, pending=pending)
    return Request(data, [b"*1", b"*2", *bulk(key), *_entries(given)], {own.at(key): after})


def acknowledge(own: Own) -> Request:
    """XACK of two, of which any may be pending."""
    key, before = own.stream()
    chosen = _some(own, before)
    data = resp_request("XACK", key, "g", *map(text_of, sorted(chosen)))
    if before is None or before.pending is None:
        return Request(data, [b":0"], {})
    left = tuple(each for each in before.pending if each.number not in chosen)
    done = b":%d" % (len(before.pending) - len(left))
    return Request(data, [done], {own.at(key): before._replace(pending=left)})


def claim(own: Own) -> Request:
    """XCLAIM of two, of which any may be pending; what is no more in the stream is pending no more."""
    key, before = own.stream()
    consumer, chosen = own.chance.choice(_CONSUMERS), _some(own, before)
    data = resp_request("XCLAIM", key, "g", consumer, "0", *map(text_of, sorted(chosen)))
    if before is None or before.pending is None:
        return Request(data, [_NO_GROUP % key], {})
    there = {entry.number: entry for entry in before.entries}
    pending, claimed = [], []
    for each in before.pending:
        if each.number not in chosen:
            pending.append(each)
        elif each.number in there:
            pending.append(Pending(each.number, consumer, each.times + 1))
            claimed.append(there[each.number])
    return Request(data, _entries(claimed), {own.at(key): before._replace(pending=tuple(pending))})


def delete(own: Own) -> Request:
    """XDEL of two, of which any may be there."""
    key, before = own.stream()
    chosen = _some(own, before)
    data = resp_request("XDEL", key, *map(text_of, sorted(chosen)))
    if before is None:
        return Request(data, [b":0"], {})
    left = tuple(entry for entry in before.entries if entry.number not in chosen)
    gone = b":%d" % (len(before.entries) - len(left))
    return Request(data, [gone], {own.at(key): before._replace(entries=left)})


def _some(own: Own, stream: Stream | None) -> set[int]:
    """Numbers of entries, most of which are there or pending."""
    known = [1, 2]
    if stream is not None:
        known += [entry.number for entry in stream.entries] + [each.number for each in stream.pending or ()]
    return set(own.chance.sample(known, 2))


def _entries(entries: list[Entry]) -> list[Line]:
    """Their lines in a reply."""
    lines: list[Line] = [b"*%d" % len(entries)]
    for number, value in entries:
        lines += [b"*2", *bulk(text_of(number)), b"*2", *bulk(b"f"), *bulk(value)]
    return lines


MAKERS = (add, add, add, create, read, read, read, acknowledge, claim, claim, delete)
