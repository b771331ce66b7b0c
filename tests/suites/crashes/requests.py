"""Random requests of a store and of the model beside it: what the runs of the crash tests do (see `run`).

Of operations of every kind on values of every type, in several databases, alone and mixed. Some are undone: whole, as a
request is that fails, or from the middle on, as a command is that fails in a block. Some are asked as clients ask them
(see `commands`): scripts, and clients that wait.
"""

from __future__ import annotations

import random
from typing import Any

from kvstore.base.errors import RequestError, StorageFull
from kvstore.store.operations import LIBRARY_DATABASE
from kvstore.store.store import Store
from kvstore.store.table import Table
from kvstore.values.strings import encode_set
from tests.suites.crashes.commands import ROWS, Commands, Step
from tests.suites.crashes.history import Violation
from tests.suites.crashes.model import (
    Change,
    Content,
    Scores,
    content,
    difference,
    hash_change,
    list_change,
    numbered,
    scores_change,
    set_change,
)
from tests.suites.crashes.streams import PlainStream, stream_change

#: How many databases the runs use: so few that operations meet.
DATABASES = 3
KEYS = 7
#: Those of them that pipelines write, too; so that the others hold something else at times.
_PIPELINED = 3

_KINDS = (
    *("set", "set", "set", "large", "deadline", "edit", "edit", "edit", "edit", "edit", "edit", "edit", "edit"),
    *("delete", "expire", "expire", "persist", "copy", "rename", "move", "rare"),
)
#: A list, a hash and a set.
_EMPTY: tuple[Any, ...] = ((), {}, frozenset(), Scores(), PlainStream())
_RARE = ("flush", "flush", "flush all", "swap", "swap", "library", "library")


class Requests:
    """Requests of `store`; `content` is the model of it. `seed`: for the texts of violations. Raises Violation."""

    def __init__(self, store: Store, found: Content, pick: random.Random, seed: str) -> None:
        self.store = store
        self.content = found
        self.random = pick
        self.seed = seed
        self.number = 0
        self.refused = self.undone = self.expired = self.served = 0
        self._commands: Commands | None = None

    @property
    def table(self) -> Table:
        """The database that operations are about."""
        return self.store.databases[self.number]

    def compare(self) -> None:
        """The store and the model agree."""
        try:
            found = content(numbered(self.store))
        except AssertionError as error:
            raise Violation(f"{self.seed}: {error}") from error
        if found != self.content:
            raise Violation(f"{self.seed}: the databases differ from the model: {difference(found, self.content)}")

    # Requests

    def request(self) -> None:
        """One request, of one to five operations, all or (on a full disk, say) none; or a pipeline of requests."""
        self.number = self.random.choice((0, 0, 0, 1, 2))
        chance = self.random.random()
        if chance < 0.1:
            self._pipeline()
        elif chance < 0.18:
            self._ask()
        else:
            self._request()
        self.store.clock.go_on()
        self.compare()

    def _request(self) -> None:
        before = dict(self.content)
        try:
            for _ in range(self.random.choice((1, 1, 1, 2, 5))):
                self._operation_or_none()
        except StorageFull:
            self._take_back(0, before)
            self.refused += 1
            return
        if self.random.random() < 0.04:
            self._take_back(0, before)
        else:
            self.store.pending.undo.clear()
            self.store.pending.requests += 1

    def _operation_or_none(self) -> None:
        """One operation, maybe in another database; now and then it is undone, and what was before it stays."""
        if self.random.random() < 0.2:
            self.number = self.random.randrange(DATABASES)
        mark, before = len(self.store.pending.undo), dict(self.content)
        self.operation()
        if self.random.random() < 0.06:
            self._take_back(mark, before)

    def _take_back(self, mark: int, before: Content) -> None:
        self.undone += len(self.store.pending.undo) > mark
        self.store.pending.take_back(mark)
        self.content = before

    def _pipeline(self) -> None:
        """Many requests at once: SETs as columns; one by one, until the disk is full, where that cannot be."""
        table, pick = self.table, self.random
        keys = [b"key-%d" % pick.randrange(_PIPELINED) for _ in range(pick.randrange(2, 9))]
        values = [pick.randbytes(pick.choice((0, 3, 30, 200))) for _ in keys]
        written = 0
        try:
            if table.write_strings(keys, values, b"".join(map(encode_set, keys, values))):
                written = len(keys)
            while written < len(keys):
                table.write(keys[written], values[written])
                written += 1
        except StorageFull:
            self.refused += 1
        table.pending.undo.clear()
        table.pending.requests += written
        for key, value in zip(keys[:written], values, strict=False):
            self.content[self.number, key] = value, None

    def _ask(self) -> None:
        """Requests as clients send them; on a full disk one is refused, and those after it are not sent."""
        keys = [b"key-%d" % number for number in self.random.sample(range(KEYS), KEYS)]
        steps = self.random.choice(ROWS)(self.random, keys, self._living)
        if not all(map(self._step, steps)):
            self.refused += 1

    def _step(self, step: Step) -> bool:
        """One of them; returns whether there was room for it. Raises Violation."""
        if self._commands is None or self._commands.store is not self.store:
            self._commands = Commands(self.store)
        waiter = None if step.waits is None else self._commands.wait(self.number, step.waits)
        reply = self._commands.ask(self.number, step.words)
        self._commands.give_up()
        if isinstance(reply, StorageFull):
            return False
        if isinstance(reply, RequestError) != step.fails:
            raise Violation(f"{self.seed}: {step.words} was answered {reply!r}")
        if step.fails:
            self.undone += 1
            return True
        after = step.after
        if waiter is not None and waiter.reply is not None and not isinstance(waiter.reply, RequestError):
            self.served += 1
            after = step.served or after
        for key, held in after(self.table.now_ms()).items():
            self.content[self.number, key] = held  # type: ignore[assignment]
            if held is None:
                del self.content[self.number, key]
        return True

    # Operations

    def _key(self) -> bytes:
        return b"key-%d" % self.random.randrange(KEYS)

    def _soon_ms(self) -> int:
        return self.table.now_ms() + self.random.randrange(1, 3000)

    def operation(self) -> None:
        """One change of the database `number`, and of the model."""
        pick = self.random
        kind = pick.choice(_KINDS)
        key = self._key()
        held = self.content.get((self.number, key))
        if kind in ("set", "large", "deadline"):
            if held is not None and held[0].__class__ is not bytes and pick.random() < 0.8:
                kind = "edit"  # else few values of other types would last
            else:
                self._write(kind, key)
        if kind == "edit":
            self._edit(key)
        elif kind == "delete":
            self.table.delete(key)
            self.content.pop((self.number, key), None)
        elif kind in ("expire", "persist"):
            self._set_deadline(key, self._soon_ms() if kind == "expire" else None)
        elif kind in ("copy", "rename", "move"):
            self._put(kind, key)
        elif kind == "rare" and pick.random() < 0.5:
            self._rare(pick.choice(_RARE))

    def _write(self, kind: str, key: bytes) -> None:
        pick = self.random
        value = pick.randbytes(700 if kind == "large" else pick.choice((0, 3, 30)))
        deadline = self._soon_ms() if kind == "deadline" else None
        self.table.write(key, value, deadline)
        self.content[self.number, key] = value, deadline

    def _living(self, key: bytes) -> bool:
        """Whether the model has such a key now."""
        _, deadline = self.content.get((self.number, key), (None, 0))
        return deadline is None or deadline > self.table.now_ms()

    def _edit(self, key: bytes) -> None:
        """An edit of the value at `key`, a new one if there is none; a string is deleted."""
        value, deadline = self.content[self.number, key] if self._living(key) else (None, None)
        if value.__class__ is bytes:
            self.table.delete(key)
            del self.content[self.number, key]
            return
        change = self.change(self.random.choice(_EMPTY) if value is None else value)
        self.table.edit(key, change.name, change.words)
        if change.after:
            self.content[self.number, key] = change.after, deadline
        else:
            self.content.pop((self.number, key), None)

    def change(self, value: Any) -> Change:
        """Some edit of a value of any type but a string."""
        if value.__class__ is tuple:
            return list_change(self.random, value)
        if value.__class__ is frozenset:
            return set_change(self.random, value)
        if value.__class__ is Scores:
            return scores_change(self.random, value)
        if value.__class__ is PlainStream:
            return Change(*stream_change(self.random, value))
        return hash_change(self.random, value, self.table.now_ms())

    def _set_deadline(self, key: bytes, deadline: int | None) -> None:
        if self._living(key):
            self.table.set_deadline(key, deadline)
            self.content[self.number, key] = self.content[self.number, key][0], deadline

    def _put(self, kind: str, key: bytes) -> None:
        """A whole value goes to another key or database, as RENAME, MOVE and COPY do it."""
        table, number = self.table, self.random.randrange(DATABASES)
        to = number, (self._key() if kind == "copy" else key)
        if kind == "rename":
            to = self.number, self._key()
        if not self._living(key) or to == (self.number, key):
            return
        other = self.store.databases[to[0]]
        if kind == "copy":
            other.put(to[1], table.copy_of(table.values[key]), table.deadline_ms(key))
            self.content[to] = self.content[self.number, key]
        else:
            other.put(to[1], *table.take(key))
            self.content[to] = self.content.pop((self.number, key))

    def _rare(self, kind: str) -> None:
        """All of a database or two, or a library of functions."""
        if kind == "flush":
            self.table.flush()
            self.content = {at: held for at, held in self.content.items() if at[0] != self.number}
        elif kind == "flush all":
            self.store.flush_all()
            self.content = {at: held for at, held in self.content.items() if at[0] == LIBRARY_DATABASE}
        elif kind == "library":
            self._change_library(b"library_%d" % self.random.randrange(3))
        else:
            one, other = self.random.sample(range(DATABASES), 2)
            self.store.swap(self.store.databases[one], self.store.databases[other])
            now = {one: other, other: one}
            self.content = {(now.get(number, number), key): held for (number, key), held in self.content.items()}

    def _change_library(self, name: bytes) -> None:
        """One is written, or goes; now and then all go."""
        libraries, at = self.store.libraries, (LIBRARY_DATABASE, name)
        if self.random.random() < 0.1:
            libraries.flush()
            self.content = {each: held for each, held in self.content.items() if each[0] != LIBRARY_DATABASE}
        elif self.random.random() < 0.3:
            libraries.delete(name)
            self.content.pop(at, None)
        else:
            source = b"#!lua name=%b\n%b" % (name, self.random.randbytes(20))
            libraries.write(name, source)
            self.content[at] = source, None

    # What the server does by itself

    def remove_expired(self) -> None:
        """Expired keys and fields go for good, as changes of their own; what has not expired stays."""
        for table in self.store.databases:
            while table.remove_expired(2) == 2 or table.remove_expired_elements(2) == 2:
                if self.store.refusals.now or self.random.random() < 0.2:
                    break
        self._take_over_removals()

    def tidy(self) -> None:
        """What the server does between requests, memory that is freed included."""
        for _ in range(3):
            self.store.tidy()
        self._take_over_removals()

    def _take_over_removals(self) -> None:
        """The model lacks, too, what has expired and is gone. Raises Violation if anything else is gone or changed."""
        now_ms = self.table.now_ms()
        found = content(numbered(self.store))
        for at, (value, deadline) in list(self.content.items()):
            if at not in found and deadline is not None and deadline <= now_ms:
                del self.content[at]
                self.expired += 1
            elif value.__class__ is dict and found.get(at) != (value, deadline):
                self._take_over_fields(found, at, now_ms)
        self.store.clock.go_on()
        self.compare()

    def _take_over_fields(self, found: Content, at: tuple[int, bytes], now_ms: int) -> None:
        value, deadline = self.content[at]
        there = found[at][0] if at in found else {}
        gone = {field for field, (_, until) in value.items() if until is not None and until <= now_ms} - there.keys()
        left = {field: inside for field, inside in value.items() if field not in gone}
        self.expired += len(gone)
        if left:
            self.content[at] = left, deadline
        else:
            del self.content[at]
