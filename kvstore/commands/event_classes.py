"""The classes of keyspace events, each a letter of the setting `notify-keyspace-events`, and which events are of it."""

from __future__ import annotations

_OF_CLASS = {
    "g": "del rename_from rename_to move_from move_to copy_to expire persist",
    "$": "set setrange append incrby incrbyfloat",
    "l": "lpush rpush lpop rpop linsert lset lrem ltrim sortstore",
    "s": "sadd srem spop sinterstore sunionstore sdiffstore",
    "h": "hset hdel hincrby hincrbyfloat hexpire hpersist hexpired",
    "z": (
        "zadd zincr zrem zremrangebyscore zremrangebyrank zremrangebylex zpopmin zpopmax zdiffstore zinterstore"
        " zunionstore zrangestore"
    ),
    "x": "expired",
    "e": "evicted",
    "t": ("xadd xtrim xdel xsetid xgroup-create xgroup-createconsumer xgroup-delconsumer xgroup-destroy xgroup-setid"),
    "d": "",  # of modules' types
    "n": "new",
    "m": "keymiss",
}
#: Of each event.
CLASSES = {name.encode(): letter for letter, names in _OF_CLASS.items() for name in names.split()}
#: The letters, besides `A`, in the order in which Valkey shows them; all of these are `A`.
_ALL = "g$lshzxetd"
_SHOWN = f"{_ALL}nKEm"


def classes_of(text: str) -> set[str]:
    """The letters of a `notify-keyspace-events`. Raises ValueError if there are others."""
    if not set(text) <= {"A", *_SHOWN}:
        raise ValueError("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")
    return set(text) | (set(_ALL) if "A" in text else set())


def shown_classes(text: str) -> str:
    """The kind of the setting (see `setting_kinds`): as CONFIG GET shows it. With `A`, Valkey does not show `n`."""
    chosen = classes_of(text)
    if chosen.issuperset(_ALL):
        return "A" + "".join(letter for letter in "KEm" if letter in chosen)
    return "".join(letter for letter in _SHOWN if letter in chosen)
