"""One data directory, open within this program: commands by their names, on disk when they return.

It is the server's own store and commands, called one after the other, without a loop: what a server does by its timers
(removal of expired keys, marks in the log, compaction) is done here by the way, by the calls.

A batch is one request, as a script is: one commit, one time of day, and undone whole if an exception leaves it. A call
outside a batch is a batch of its own.

Threads take turns, a batch at a time. A process that was forked off is refused: the log and the lock are its parent's.
A second opening of the directory, by whichever process, is refused by the lock.

Whatever goes wrong that is no `RequestError` ends it: after a failed sync, or an interrupt in the middle of a change,
memory and log may tell different things. Every later call raises StorageFault; to open it again is recovery.

Rejected: Twisted's reactor in a thread of its own (a program that forks, or has a loop, would have two); compaction in
a child process (a plain script that waits for children of its own would see it): it is done by the call that finds it
due, which takes as long as writing the data once.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from logging import getLogger
from typing import Any, Self

from kvstore.base.closing import Closing
from kvstore.base.disk import Disk, RealDisk
from kvstore.base.errors import NO_SUCH_KEY, InvalidRequest, KVStoreError, RequestError, StorageFault, StorageFull
from kvstore.base.jsontext import dumps
from kvstore.base.limits import DATABASES
from kvstore.base.reply import Reply
from kvstore.commands import dispatch
from kvstore.commands.client import Client
from kvstore.commands.context import Call, Server
from kvstore.commands.registry import table
from kvstore.commands.row import ALONE, IMMEDIATE, NO_MULTI, NO_SCRIPT, PUBSUB, Command
from kvstore.embedded.words import Word, to_plain, to_word
from kvstore.store.compaction import CompactionPolicy
from kvstore.store.merge import merge
from kvstore.store.store import Store
from kvstore.values import TYPES

_log = getLogger("kvstore")

#: How often a call looks after the table, and after the files; and how much of the time the former may take.
_TIDY_S = 0.1
_LOOK_S = 1.0
_TIDYING_PART = 1 / 4
_LONGEST_TIDYING_S = 0.05

_ME = "this program"


class MisuseError(KVStoreError):
    """The program's own fault: a store that is closed, or was opened by the process that forked this one."""


def open(
    path: str | os.PathLike[str],
    *,
    sync: bool = True,
    databases: int = DATABASES,
    compact_after_entries: int | None = None,
) -> EmbeddedStore:
    """Open a data directory, made if it is missing; recovered as a server recovers it, whose directories are the same.

    `sync`: whether a call returns only when its changes are on disk; without it that is so within a second of calls,
    and when it is closed. `databases`: how many there are, for SELECT. `compact_after_entries`: of the log; None leaves
    it to the size of the files.

    Raises DirectoryInUse if somebody has it open, StartRefused and its kin for what is damaged or cannot be, OSError.
    """
    return EmbeddedStore(RealDisk(os.fspath(path)), sync, databases, compact_after_entries)


class EmbeddedStore(Closing):
    """See the module, and `open`, which makes one. `disk`: locked from here until `close`; not if this raises."""

    def __init__(self, disk: Disk, sync: bool, databases: int, compact_after_entries: int | None) -> None:
        self._disk = disk
        self._sync = sync
        self._process = os.getpid()
        self._turns = threading.RLock()
        self._is_open = True
        self._in_batch = False
        self._compaction_asked = False
        policy = CompactionPolicy(compact_after_entries)
        try:
            self._store = Store(disk, TYPES, lambda: time.time_ns() // 1000, os.urandom, policy, databases)
        except BaseException:
            disk.unlock()
            raise
        if self._store.torn_copy is not None:
            _log.warning("cut a torn tail, never acknowledged, off the log; copy kept as %s", self._store.torn_copy)
        self._call = self._make_call()
        self._last: tuple[Command, list[bytes]] | None = None
        self._tidied_s = self._looked_s = time.monotonic()

    def _make_call(self) -> Call:
        server = Server(self._store, lambda: time.time_ns() // 1_000_000, {}, os.urandom(20).hex())
        server.compact_now = self._ask_for_compaction
        client = Client(1, _ME, _ME, server.started_ms)
        client.protocol = 3  # the richer replies
        return Call(server, client)

    # What a program does with it

    def __call__(self, name: str, *words: Word) -> Any:
        """Execute one command, such as `db("SET", "a", 1)`. Returns its reply as plain Python, see docs/EMBEDDING.md.

        Raises RequestError, which has changed nothing; StorageFull, which is one; StorageFault, after which it is to be
        opened again; MisuseError; TypeError for what is no word. Durability: on disk when this returns, or in a batch
        when that ends; see `open`.
        """
        request = [to_word(word) for word in (name, *words)]
        with self.batch():
            return to_plain(self._run(request))

    def insert(self, key: str, value: Any) -> None:
        """Store a document under a key, in place of what there is; this and the next four as `kvstore.client.Client`
        has them. `value`: what JSON has a text for; TypeError for anything else.
        """
        self("INSERT", key, dumps(value))

    def lookup(self, key: str) -> Any:
        """The document under a key. Raises KeyError if there is none, RequestError if what is there is not JSON."""
        return self._of_key("LOOKUP", key)

    def remove(self, key: str) -> None:
        """Remove a key and what is there. Raises KeyError if there is none."""
        self._of_key("REMOVE", key)

    def size(self) -> int:
        """The number of keys."""
        count: int = self("SIZE")
        return count

    def query(self, subkey: str, subvalue: Any) -> list[list[Any]]:
        """The [key, document] pairs whose document is an object with `subkey` equal to `subvalue`, in no stated order.

        `subvalue`: a string, number, bool or None; True is not 1, and 1 equals 1.0.
        """
        pairs = self("QUERY", subkey, dumps(subvalue))
        return [[key.decode("utf-8", "replace"), document] for key, document in pairs]

    def _of_key(self, name: str, key: str) -> Any:
        try:
            return self(name, key)
        except RequestError as error:
            if error.text == NO_SUCH_KEY:
                raise KeyError(key) from None
            raise

    @contextlib.contextmanager
    def batch(self) -> Iterator[Self]:
        """One commit for all that is called within: on disk when it ends, and after a crash there whole or not at all.

        An exception that leaves it undoes it all. Other threads wait meanwhile. Within another batch it is part of
        that. Raises as a call.
        """
        with self._turns:
            self._check()
            if self._in_batch:
                yield self
                return
            self._in_batch = True
            database = self._call.client.database
            self._store.clock.go_on()
            try:
                yield self
                self._complete()
            except BaseException:
                self._undo(database)
                raise
            finally:
                self._in_batch = False
            with self._fatal():
                self._commit()
                self._look_after()

    def compact(self) -> None:
        """Write all there is into a new checkpoint, now, and begin an empty log. Not within a batch.

        Raises RequestError if it cannot be begun or finished, which changed nothing; StorageFault.
        """
        with self._turns:
            self._check()
            if self._in_batch:
                raise MisuseError("compact within a batch: its commit is not closed yet")
            with self._fatal():
                if reason := self._compact():
                    raise RequestError(reason)

    def close(self) -> None:
        """Put everything on disk, and give the directory back. Closing twice is allowed. Raises StorageFault."""
        with self._turns:
            if not self._is_open or os.getpid() != self._process:
                return
            if self._in_batch:
                raise MisuseError("closed within a batch: its commit is not closed yet")
            self._is_open = False
            try:
                if self._store.failed is None:
                    self._mark()
            finally:
                self._store.close()
                self._disk.unlock()

    # Executing

    def _check(self) -> None:
        if os.getpid() != self._process:
            raise MisuseError(f"opened by process {self._process}, which forked this one: only that one may use it")
        if not self._is_open:
            raise MisuseError("closed: open it again")
        if self._store.failed is not None:
            raise StorageFault(f"failed before ({self._store.failed}): close it and open it again, to recover")

    @contextlib.contextmanager
    def _fatal(self) -> Iterator[None]:
        """What is raised within leaves behind something that cannot be trusted, unless it says that nothing changed."""
        try:
            yield
        except (RequestError, StorageFault):
            raise
        except BaseException as error:
            self._store.fail(StorageFault(f"{error!r} in the middle of a change"))
            raise

    def _run(self, request: list[bytes]) -> Reply:
        row = table.find(request)
        if not row.accepts(len(request)):
            raise row.wrong_arity()
        if row.flags & (NO_MULTI | IMMEDIATE | ALONE) or (row.flags & PUBSUB and row.flags & NO_SCRIPT):
            raise InvalidRequest(f"{row.name} is for clients of a server; see docs/EMBEDDING.md for what is instead")
        self._last = row, request
        with self._fatal():
            return dispatch.run_inside(self._call, row, request)

    def _complete(self) -> None:
        """The batch is whole: what it changed stays."""
        server = self._call.server
        if self._last is not None:
            dispatch.complete(self._call, *self._last)
        server.messages.clear()  # there is nobody to be told

    def _undo(self, database: int) -> None:
        """The batch has changed nothing."""
        if self._store.failed is None:
            self._store.pending.take_back()
        self._call.server.messages.clear()
        self._call.select(database)

    def _commit(self) -> None:
        """Put what has changed into the log, and on disk."""
        store = self._store
        commit = store.close_commit()
        if commit is None:
            return
        store.write(commit)
        if self._sync:
            store.sync()
        store.settle(commit, durable=self._sync)

    # What a server does by its timers

    def _look_after(self) -> None:
        now_s = time.monotonic()
        if now_s - self._tidied_s >= _TIDY_S:
            self._tidy(now_s)
        if now_s - self._looked_s >= _LOOK_S:
            self._looked_s = now_s
            self._look_after_files()
        if self._compaction_asked or self._store.compaction_is_due():
            self._compaction_asked = False
            if reason := self._compact():  # it is tried again after a pause
                _log.error("%s", reason)

    def _tidy(self, now_s: float) -> None:
        """Remove keys past their deadline, for a part of the time that has passed."""
        end_s = now_s + min((now_s - self._tidied_s) * _TIDYING_PART, _LONGEST_TIDYING_S)
        self._tidied_s = now_s
        while self._store.tidy() and time.monotonic() < end_s:
            pass
        self._call.server.messages.clear()
        self._commit()

    def _look_after_files(self) -> None:
        store = self._store
        if mended := store.check_files():
            _log.warning("%s", mended)
        self._mark()
        for each in store.databases:
            each.scan_order.age()
        store.measure_volume()

    def _mark(self) -> None:
        """Put on disk what is only written, and note in the log that it is."""
        store = self._store
        if not self._sync and store.durable_sequence < store.settled_sequence():
            store.sync()
            store.note_durable(store.settled_sequence())
        store.mark_and_sync()

    def _ask_for_compaction(self) -> bool:
        self._compaction_asked = True
        return True

    def _compact(self) -> str:
        """Returns why it could not be done, which changed nothing; "" if it was. Raises StorageFault."""
        store = self._store
        if not store.can_compact():
            return ""
        try:
            job = store.seal()
        except (StorageFull, OSError) as error:
            store.postpone_compaction()
            return f"the log could not be sealed: {error}"
        try:
            size_bytes = merge(self._disk, TYPES, job, store.now_us())
        except (KVStoreError, OSError) as error:
            store.abandon_compaction()
            return f"the compaction failed: {error}"
        store.finish_compaction(size_bytes)
        return ""
