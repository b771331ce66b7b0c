"""Compaction: merge the checkpoint with the sealed segments into a new checkpoint. Runs in a process of its own.

The segments are read first and reduced (see `delta`): to what they alone say of keys that were written or deleted in
them, and to patches of others. Then the old checkpoint is streamed through. A frame none of whose keys changed is
copied as it is; of any other, keys that the segments wrote or deleted are dropped, and those with patches are built up,
patched and written whole, one at a time. Last come the keys that are whole in the segments, then patches of keys that
the checkpoint did not have, which begin with nothing. So the memory needed is that of the reduced segments and of the
largest value that has patches, whatever the size of the checkpoint; and every byte of the input is read and checked:
each compaction proves that the files can be recovered.

Segments of more than some bytes (PASS_BYTES, see there) are merged in several passes, each for its share of the keys
(by a hash of the key that no client can foresee), so that the memory stays bounded however much the log has grown; each
pass reads all input again.

Frames and stretches of strings of one size, the bulk of most tables, are taken in, copied and written as columns (see
`PlainType`), without a look at each; all else operation by operation, with the same outcome byte for byte.

The child only ever writes one new file under a temporary name of its own. Renaming it over the checkpoint and
removing the segments is left to the server, which holds the lock on the directory: a child that outlives its server
can do no harm.

The old files are held open until the server has removed their names, so that the freeing of their blocks does not
fall to the server (see `free`): freed at once, hundreds of megabytes hold up the file system's journal, and with it the
server's next sync, for 15 ms and more. The program around all this is `kvstore.edge.merge_process`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from kvstore.base.disk import Disk, File
from kvstore.base.errors import DamagedStore
from kvstore.base.limits import MIB
from kvstore.base.value_type import Types, Value
from kvstore.store import checkpoint
from kvstore.store.beginning import Lineage
from kvstore.store.checkpoint import CheckpointHeader, CheckpointReader, CheckpointWriter
from kvstore.store.delta import Database, Delta, Share
from kvstore.store.history import NO_HISTORY
from kvstore.store.keyed_hash import of_store
from kvstore.store.log import LogHeader, read_log_header
from kvstore.store.log_reader import LogReader
from kvstore.store.operations import BadOperation, Operation, decode, encode, split_select
from kvstore.store.state import State


class MergeJob(NamedTuple):
    """What is to be merged: `segments` in order, into `output`; the result covers commits up to `covers`."""

    segments: list[str]
    output: str
    covers: int
    salt: int


#: Bytes of segments merged in one pass. The last states of their keys take up to three times as much memory.
PASS_BYTES = 32 * MIB

#: Keys written at once if they and their values are of one length, and the bytes that they may then take encoded.
_WRITTEN_AT_ONCE = 256
_WRITTEN_AT_ONCE_BYTES = 1 * MIB

_FREED_AT_ONCE_BYTES = 4 * MIB


class Segment(NamedTuple):
    """A sealed segment, open."""

    name: str
    file: File
    header: LogHeader


def merge(disk: Disk, types: Types, job: MergeJob, now_us: int, pass_bytes: int = PASS_BYTES) -> int:
    """Write the new checkpoint under its temporary name; returns its size in bytes. `pass_bytes`: see the module.

    Raises DamagedStore if an input cannot be recovered, OSError. Durability: the content is on disk, the name is not.
    """
    with contextlib.ExitStack() as files:
        segments = [_open_segment(disk, files, name) for name in job.segments]
        passes = 1 + sum(segment.file.size() for segment in segments) // pass_bytes
        base = _open(disk, files, checkpoint.NAME) if checkpoint.NAME in disk.names() else None
        base_us, lineage = _check_fit(base, segments)
        hashed = of_store(segments[0].header.store)
        types = types.of_directory(hashed)
        writer = None
        for number in range(passes):
            delta = _reduce(segments, Delta(types, Share(number, passes, hashed), lineage), job)
            if writer is None:
                created_us = _created_us(delta, base_us, lineage, now_us)
                header = CheckpointHeader(segments[0].header.store, job.salt, job.covers, created_us, delta.lineage)
                writer = CheckpointWriter(disk, job.output, header)
                files.callback(writer.abandon)
            _write_share(delta, base, writer)
            del delta  # before the next is made: only one share at a time is in memory
        assert writer is not None
        return writer.finish()


def _write_share(delta: Delta, base: File | None, writer: CheckpointWriter) -> None:
    """Write the keys of one share."""
    if base is not None:
        _copy_old(base, delta, writer)
    for number, database in sorted(delta.by_number.items()):
        if database.values or database.patches:
            writer.select(number)
            _write_new(database, writer)


def _write_new(database: Database, writer: CheckpointWriter) -> None:
    """Write the keys that are whole in the segments, then those that begin with nothing."""
    encode_string, deadlines = database.types.plain.encode, database.deadlines
    items = iter(database.values.items())
    while stretch := list(islice(items, _WRITTEN_AT_ONCE)):
        encoded = _encoded_as_columns(database, stretch)
        if encoded is not None:
            writer.add_alike(encoded, len(stretch))
        else:
            for key, value in stretch:
                if value.__class__ is bytes:  # what `whole` says, in less time
                    writer.add(encode_string(key, value, deadlines.get(key)), 1)
                else:
                    writer.add_key(database.whole(key))
    for key in list(database.patches):
        _write_patched(database, key, State(database.types), writer)


def _write_patched(database: Database, key: bytes, state: State, writer: CheckpointWriter) -> None:
    """Write a key of which the segments say what became of it. `state`: what it was before."""
    database.patch(key, state)
    if key in state.values:
        writer.add_key(state.whole(key))


def _encoded_as_columns(database: Database, stretch: list[tuple[bytes, Value]]) -> bytes | None:
    """The operations for keys of one length with strings of one length, without deadlines; None for any others, or too
    many bytes.
    """
    keys, values = zip(*stretch, strict=True)
    if set(map(type, values)) != {bytes} or len(set(map(len, values))) > 1 or len(set(map(len, keys))) > 1:
        return None
    if (len(keys[0]) + len(values[0])) * len(stretch) > _WRITTEN_AT_ONCE_BYTES:
        return None
    if database.deadlines and not database.deadlines.keys().isdisjoint(keys):
        return None
    return database.types.plain.encode_alike(keys, values)


def _open(disk: Disk, files: contextlib.ExitStack, name: str) -> File:
    file = disk.open_read(name)
    files.callback(file.close)
    return file


def _open_segment(disk: Disk, files: contextlib.ExitStack, name: str) -> Segment:
    file = _open(disk, files, name)
    return Segment(name, file, read_log_header(file, name))


def _created_us(delta: Delta, base_us: int, base: Lineage, now_us: int) -> int:
    """When the checkpoint is made, by a clock that may have been set back; in a group by the newest time in its log,
    which no server's own clock is to be ahead of: one made before there was an entry has the time of such a clock.
    """
    if not delta.lineage.entry:
        return max(now_us, base_us, delta.time_us)
    return max(base_us if base.entry else 0, delta.time_us)


def _check_fit(base: File | None, segments: list[Segment]) -> tuple[int, Lineage]:
    """Refuse a checkpoint that does not end where the segments begin; returns its time, 0 for none, and its lineage.

    Somebody may have removed it, or put back an older one, under the running server: what is merged with that, or with
    none, would lack every key that the segments do not name.
    """
    first, store, lineage = segments[0].header.first, segments[0].header.store, segments[0].header.lineage
    for segment in segments:
        if segment.header.store != store:
            raise DamagedStore(segment.name, 0, "it belongs to another data directory", "")
    if base is None:
        if first == 1:
            return 0, lineage
        raise DamagedStore(checkpoint.NAME, 0, f"it is missing; it should hold the commits before {first}", "")
    header = CheckpointReader(base).header
    if header.store != store:
        raise DamagedStore(checkpoint.NAME, 0, "it belongs to another data directory", "")
    if header.covers != first - 1:
        reason = f"it ends with commit {header.covers}, but the segments begin with {first}"
        raise DamagedStore(checkpoint.NAME, 0, reason, "")
    if lineage.history not in (header.history, NO_HISTORY) or lineage.entry not in (header.lineage.entry, ""):
        reason = f"it is of history {header.history}, but the segments go on from {lineage.history}"
        raise DamagedStore(checkpoint.NAME, 0, reason, "")
    return header.created_us, header.lineage


def _reduce(segments: list[Segment], delta: Delta, job: MergeJob) -> Delta:
    """Read the segments, checking that they run without a gap up to the last commit of the job."""
    sequence = segments[0].header.first - 1
    for name, file, header in segments:
        if header.first != sequence + 1:
            raise DamagedStore(name, 0, f"it begins with commit {header.first}, not {sequence + 1}", "")
        commits = LogReader(file, header)
        for frame, _, body in commits:
            delta.time_us = frame.time_us
            delta.add(body)
        if commits.reason is not None:
            raise DamagedStore(name, commits.stopped_at, commits.reason, "")
        sequence, delta.lineage = commits.sequence, commits.lineage
    if sequence != job.covers:
        raise DamagedStore(job.segments[-1], 0, f"the segments end with commit {sequence}, not {job.covers}", "")
    return delta


def _copy_old(file: File, delta: Delta, writer: CheckpointWriter) -> None:
    """Stream the delta's share of the old checkpoint into the new one, as the segments changed it."""
    reader = CheckpointReader(file)
    copy = _Copy(delta, writer)
    for frame in reader.frames():
        copy.take(frame.body)
    copy.end_key()
    reader.check_keys(copy.keys)


class _Patched(NamedTuple):
    """A key of the old checkpoint that has patches; `now`: its database's number, `state`: what was read of it yet."""

    database: Database
    now: int
    key: bytes
    state: State


class _Copy:
    """One pass over the old checkpoint. `keys`: how many it held so far."""

    def __init__(self, delta: Delta, writer: CheckpointWriter) -> None:
        self._delta = delta
        self._writer = writer
        self._plain = delta.types.plain
        self.keys = 0
        #: The key whose operations came last, and the number of its database: more may come, in the next frame too.
        self._key: tuple[int, bytes] | None = None
        self._is_copied = False
        self._patched: _Patched | None = None

    def take(self, body: bytes) -> None:
        """Copy what is left of a frame. Raises BadOperation."""
        number, body = split_select(body)
        now, database = self._delta.of_origin(number)
        alike = self._plain.alike(body)
        if alike is not None:
            size = alike.size
            keys, values = zip(*alike.pairs, strict=True)
            self._take_strings(body, keys, values, now, database, lambda at: body[at * size : (at + 1) * size])
            return
        operations = decode(body)
        try:
            if all(operation[0] == self._plain.operation for operation in operations):
                words = [operation[1] for operation in operations], [operation[2] for operation in operations]
                self._take_strings(body, *words, now, database, lambda at: self._encoded(operations[at]))
            else:
                self._take_each(body, operations, number, now, database)
        except (ValueError, IndexError, TypeError) as error:
            raise BadOperation(f"not an operation: {error}") from error

    def _take_strings(
        self,
        body: bytes,
        keys: Sequence[bytes],
        strings: Sequence[bytes],
        now: int,
        database: Database | None,
        piece: Callable[[int], bytes],
    ) -> None:
        """Copy operations of the plain type, each of which makes a key. `piece`: the one at a place, encoded."""
        self.end_key()
        self._key = None
        self.keys += len(keys)
        if database is None:
            return
        self._writer.select(now)
        if self._delta.share.of == 1 and database.changes_none(keys):
            self._writer.add(body, len(keys))
            return
        values, gone, patches, deadlines = database.values, database.gone, database.patches, database.new_deadlines
        marks = enumerate(zip(keys, self._delta.share.marks(keys), strict=False))
        kept = [
            piece(at)
            for at, (key, is_ours) in marks
            if is_ours and key not in values and key not in gone and key not in patches and key not in deadlines
        ]
        if kept:
            self._writer.add(b"".join(kept), len(kept))
        if deadlines and not deadlines.keys().isdisjoint(keys):
            changed = [at for at, key in enumerate(keys) if key in deadlines]
            encoded = [self._plain.encode(keys[at], strings[at], deadlines.pop(keys[at])) for at in changed]
            self._writer.add(b"".join(encoded), len(encoded))
        if patches and not patches.keys().isdisjoint(keys):
            for at, key in enumerate(keys):
                if key in patches:
                    state = State(database.types)
                    state.apply(decode(piece(at))[0])
                    _write_patched(database, key, state, self._writer)

    def _take_each(
        self, body: bytes, operations: list[Operation], number: int, now: int, database: Database | None
    ) -> None:
        """Copy operations of any kind."""
        keys = [operation[1] for operation in operations]
        if database is not None and self._delta.share.of == 1 and database.changes_none(keys):
            self.end_key()
            self._is_copied = True
            self._writer.select(now)
            self._writer.add(body, sum(self._begins(number, key) for key in keys))
            return
        for operation, key in zip(operations, keys, strict=True):
            begins = self._begins(number, key)
            if begins:
                self._begin_key(key, now, database)
            if self._patched is not None:
                self._patched.state.apply(operation)
            elif self._is_copied:
                self._writer.add(self._encoded(operation), int(begins))

    def _begins(self, number: int, key: bytes) -> bool:
        """Whether this is another key than the one before; it is the last one now."""
        if self._key == (number, key):
            return False
        self._key = (number, key)
        self.keys += 1
        return True

    def _begin_key(self, key: bytes, now: int, database: Database | None) -> None:
        """Operations of this key come next."""
        self.end_key()
        self._is_copied = False
        if database is not None and not database.is_whole(key) and self._delta.share.holds(key):
            self._writer.select(now)
            self._is_copied = True
            database.keep_deadline_as_patch(key)
            if key in database.patches:
                self._patched = _Patched(database, now, key, State(database.types))

    def end_key(self) -> None:
        """No more operations come of the key that came last. Raises BadOperation."""
        if self._patched is not None:
            (database, now, key, state), self._patched = self._patched, None
            self._writer.select(now)
            _write_patched(database, key, state, self._writer)

    def _encoded(self, operation: Operation) -> bytes:
        if len(operation) == 3 and operation[0] == self._plain.operation:
            return self._plain.encode(operation[1], operation[2], None)
        return encode(*operation)


def free(disk: Disk, files: Sequence[File]) -> Iterator[None]:
    """Give back the blocks of those of the files that have no name any more, piece by piece; yields after each.

    The others are left as they are. The directory is synced first: else a power cut could bring a name back, and with
    it what is left of the file. Raises OSError.
    """
    nameless = [file for file in files if not file.is_linked()]
    disk.sync_directory()
    for file in nameless:
        while size := file.size():
            file.truncate(max(0, size - _FREED_AT_ONCE_BYTES))
            yield
