"""Property tests of log, checkpoint, merge and recovery against a dict: whatever is done, the files hold just that."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.errors import DamagedStore
from kvstore.base.frame import encode_frame
from kvstore.base.limits import KIB, MIB
from kvstore.store import checkpoint
from kvstore.store.examine import LIVE, examine, segment_name
from kvstore.store.log import FRAMES_AT, LogHeader, create_log
from kvstore.store.merge import MergeJob, merge
from kvstore.store.operations import FLUSH_ALL, encode, encode_deadline, encode_delete
from kvstore.store.store import Store
from kvstore.testing.fates import AllKept, AllLost, RandomFates
from kvstore.testing.simulated_disk import SimulatedDisk
from kvstore.values import TYPES
from kvstore.values.strings import encode_set
from tests.kit.store_files import SALT, STORE, Clock, State, read_checkpoint, write_checkpoint, write_log
from tests.suites.crashes.history import History, checked
from tests.suites.crashes.model import Content
from tests.suites.crashes.run import small_files

keys = st.sampled_from([b"a", b"b", b"c", b"", b"\r\n*1\r\n+KV1 ", bytes(range(256))])
contents = st.one_of(st.binary(max_size=12), st.binary(min_size=500, max_size=700))
deadlines = st.integers(1, 4_000_000_000_000)

#: A change as (kind, key, value, deadline); one that makes no sense on the state it meets is left out.
changes = st.one_of(
    st.tuples(st.just("set"), keys, contents, st.none() | deadlines),
    st.tuples(st.just("delete"), keys, st.none(), st.none()),
    st.tuples(st.just("deadline"), keys, st.none(), st.none() | deadlines),
    st.tuples(st.just("flush"), st.just(b""), st.none(), st.none()),
)
commits = st.lists(changes, min_size=1, max_size=4)


class Model:
    """A dict of values and one of deadlines, and the operations that lead there."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}
        self.deadlines: dict[bytes, int] = {}

    def state(self) -> State:
        """A copy of what there is now."""
        return dict(self.values), dict(self.deadlines)

    def content(self) -> Content:
        """The same, as the content of a store."""
        return {(0, key): (value, self.deadlines.get(key)) for key, value in self.values.items()}

    def become(self, found: Content) -> None:
        """Hold that, of database 0."""
        self.values = {key: value for (_, key), (value, _) in found.items()}
        self.deadlines = {key: deadline for (_, key), (_, deadline) in found.items() if deadline is not None}

    def change(self, kind: str, key: bytes, value: Any, deadline: int | None) -> bytes | None:
        """Make one change; returns its operation, or None if there is nothing to change."""
        if kind == "flush":
            self.values, self.deadlines = {}, {}
            return encode(FLUSH_ALL)
        if kind != "set" and key not in self.values:
            return None
        self.deadlines.pop(key, None)
        if kind == "delete":
            del self.values[key]
            return encode_delete(key)
        if deadline is not None:
            self.deadlines[key] = deadline
        if kind == "deadline":
            return encode_deadline(key, deadline)
        self.values[key] = value
        return encode_set(key, value, deadline)

    def commit(self, made: list[Any]) -> bytes:
        """Make several changes; returns the body of their frame."""
        return b"".join(operation for change in made if (operation := self.change(*change)) is not None)


class FileTests(SynchronousTestCase):
    """Each file holds what was put into it."""

    def setUp(self) -> None:
        """Make the store\'s units small."""
        self.enterContext(small_files())

    @given(st.lists(commits, max_size=12))
    def test_log_gives_back_what_it_took(self, made: list[Any]) -> None:
        """Recovery of a log is the replay of its commits."""
        disk, model = SimulatedDisk(record=False), Model()
        write_log(disk, LIVE, 1, [model.commit(commit) for commit in made])
        found = examine(disk, TYPES)
        self.assertEqual((found.databases.at(0).values, found.databases.at(0).deadlines), model.state())
        self.assertEqual((found.sequence, found.tail), (len(made), None))

    @given(st.dictionaries(st.binary(max_size=8), contents, max_size=20), st.data())
    def test_checkpoint_gives_back_what_it_took(self, values: dict[bytes, bytes], data: st.DataObject) -> None:
        """Reading a checkpoint gives its state, however many frames it has."""
        some = data.draw(st.dictionaries(st.sampled_from(sorted(values)), deadlines)) if values else {}
        disk = SimulatedDisk(record=False)
        write_checkpoint(disk, (values, some), 7)
        self.assertEqual(read_checkpoint(disk, checkpoint.NAME), (values, some))

    @given(
        commits,
        st.lists(st.lists(commits, min_size=1, max_size=4), min_size=1, max_size=4),
        st.booleans(),
        st.sampled_from([4 * KIB, 32 * MIB]),
    )
    def test_merge_is_replay(
        self, before: list[Any], segments: list[Any], has_checkpoint: bool, pass_bytes: int
    ) -> None:
        """In any number of passes, the merge holds what the replay of the old one and of the segments gives."""
        disk, model = SimulatedDisk(record=False), Model()
        covers = 0
        if has_checkpoint:
            model.commit(before)
            write_checkpoint(disk, model.state(), 5)
            covers = 5
        names = []
        for segment in segments:
            names.append(segment_name(covers + 1))
            write_log(disk, names[-1], covers + 1, [model.commit(commit) for commit in segment])
            covers += len(segment)
        size = merge(disk, TYPES, MergeJob(names, "new.tmp", covers, 1), 0, pass_bytes)
        self.assertEqual(read_checkpoint(disk, "new.tmp"), model.state())
        self.assertEqual(len(disk.contents()["new.tmp"]), size)

    @given(commits, st.lists(st.lists(commits, min_size=1, max_size=3), min_size=2, max_size=4))
    def test_merging_in_steps(self, before: list[Any], segments: list[Any]) -> None:
        """Segments merged one by one, or all at once, lead to the same state; so does recovery without any merge."""
        disk, model, covers = SimulatedDisk(record=False), Model(), 1
        model.commit(before)
        write_checkpoint(disk, model.state(), 1)
        jobs = []
        for segment in segments:
            name = segment_name(covers + 1)
            write_log(disk, name, covers + 1, [model.commit(commit) for commit in segment])
            covers += len(segment)
            jobs.append(MergeJob([name], "step.tmp", covers, 1))
        write_log(disk, LIVE, covers + 1, [])
        merge(disk, TYPES, MergeJob([name for job in jobs for name in job.segments], "once.tmp", covers, 1), 0)
        found = examine(disk, TYPES)
        self.assertEqual((found.databases.at(0).values, found.databases.at(0).deadlines), model.state())
        for job in jobs:
            merge(disk, TYPES, job, 0)
            disk.rename("step.tmp", checkpoint.NAME)
            found = examine(disk, TYPES)
            self.assertEqual((found.databases.at(0).values, found.databases.at(0).deadlines), model.state())
        self.assertEqual(read_checkpoint(disk, checkpoint.NAME), read_checkpoint(disk, "once.tmp"))


class DamageTests(SynchronousTestCase):
    """Damaged files are refused, or hold what they held: never a third outcome."""

    def setUp(self) -> None:
        """Make the store\'s units small."""
        self.enterContext(small_files())

    def make_directory(self, made: list[Any], durable: bool) -> tuple[SimulatedDisk, list[State]]:
        """A checkpoint, a segment, a live log; the state after each commit. `durable`: a mark says all is on disk."""
        disk, model = SimulatedDisk(record=False), Model()
        model.commit([("set", b"first", b"1", None)])
        write_checkpoint(disk, model.state(), 1)
        write_log(disk, segment_name(2), 2, [model.commit([("set", b"second", b"2", 5)])])
        states = [model.state(), model.state(), model.state()]
        log = create_log(disk, LIVE, LogHeader(STORE, SALT, 3, 0))
        for sequence, commit in enumerate(made, 3):
            body = model.commit(commit)
            states.append(model.state())
            log.reserve(len(body))
            frame = encode_frame(sequence, sequence - 1, 0, body, SALT)
            log.write(log.claim(len(frame)), frame)
        while durable and log.note(len(made) + 2, log.end):
            log.sync()
        log.close()
        return disk, states

    def check(self, disk: SimulatedDisk, states: list[State], least: int) -> None:
        """Examine: a state at least as new as `least`, or a refusal that names a file and says what to do."""
        try:
            found = examine(disk, TYPES)
        except DamagedStore as refusal:
            self.assertIn("simulated:/", refusal.file)
            self.assertTrue(refusal.reason and refusal.advice and refusal.offset >= 0)
            return
        note(f"commit {found.sequence} of {len(states) - 1}, at least {least}; tail {found.tail}")
        self.assertGreaterEqual(found.sequence, least)
        self.assertEqual((found.databases.at(0).values, found.databases.at(0).deadlines), states[found.sequence])

    @given(st.lists(commits, min_size=1, max_size=4), st.booleans(), st.data())
    def test_a_changed_byte(self, made: list[Any], durable: bool, data: st.DataObject) -> None:
        """One byte of one file changed: what was promised is served whole, or the start is refused."""
        disk, states = self.make_directory(made, durable)
        everything = disk.contents()
        name = data.draw(st.sampled_from(sorted(everything)), label="file")
        image = bytearray(everything[name])
        used = len(image.rstrip(b"\0"))
        place = data.draw(st.integers(0, min(len(image), used + 200) - 1), label="byte")
        image[place] ^= data.draw(st.integers(1, 255), label="bits")
        # The last frame says that the one before was on disk: it alone may be cut, and that only if it is not marked.
        least = len(states) - 1 - (not durable)
        self.check(SimulatedDisk.holding({**everything, name: bytes(image)}), states, least)

    @given(st.lists(commits, min_size=1, max_size=4), st.booleans(), st.data())
    def test_a_shortened_file(self, made: list[Any], durable: bool, data: st.DataObject) -> None:
        """A file cut off anywhere: what is marked is served whole, or the start is refused."""
        disk, states = self.make_directory(made, durable)
        everything = disk.contents()
        name = data.draw(st.sampled_from(sorted(everything)), label="file")
        length = data.draw(st.integers(0, len(everything[name])), label="length")
        least = len(states) - 1 if durable else 2
        self.check(SimulatedDisk.holding({**everything, name: everything[name][:length]}), states, least)

    @given(st.lists(commits, min_size=1, max_size=4), st.booleans(), st.data())
    def test_zeroed_and_swapped_blocks(self, made: list[Any], durable: bool, data: st.DataObject) -> None:
        """A block of 512 bytes zeroed, or put in another's place: the same two outcomes."""
        disk, states = self.make_directory(made, durable)
        everything = disk.contents()
        name = data.draw(st.sampled_from(sorted(everything)), label="file")
        image = bytearray(everything[name])
        places = st.integers(0, (len(image) - 1) // 512).map(lambda block: 512 * block)
        to, source = data.draw(places, label="to"), data.draw(st.none() | places, label="from")
        block = bytes(512) if source is None else bytes(image[source : source + 512])
        image[to : to + len(block)] = block
        least = len(states) - 1 if durable else 2
        self.check(SimulatedDisk.holding({**everything, name: bytes(image[: len(everything[name])])}), states, least)

    @settings(max_examples=50)
    @given(st.lists(commits, min_size=1, max_size=3), st.data())
    def test_a_missing_or_foreign_file(self, made: list[Any], data: st.DataObject) -> None:
        """A file missing, or another one, copied or moved, in its place: the same two outcomes."""
        disk, states = self.make_directory(made, True)
        everything = disk.contents()
        name = data.draw(st.sampled_from(sorted(everything)), label="file")
        other = data.draw(st.sampled_from(sorted(everything)), label="the other")
        how = data.draw(st.sampled_from(["missing", "copied over", "moved over", "swapped"]), label="how")
        image, instead = everything.pop(name), everything[other] if other != name else b""
        if how != "missing":
            everything[name] = instead
        if how == "moved over":
            everything.pop(other)
        elif how == "swapped":
            everything[other] = image
        self.check(SimulatedDisk.holding(everything), states, len(states) - 1)


class StoreMachine(RuleBasedStateMachine):
    """A store, used in any order of steps, beside a dict; killed and cut off from power at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.disk = SimulatedDisk(record=False)
        self.clock = Clock("machine")
        self.model = Model()
        self.history = History()
        self.time = 0  # stands for the disk's count of changes, which is not recorded here
        self.job: MergeJob | None = None
        self.merged: int | None = None

    @initialize()
    def begin(self) -> None:
        """An empty directory."""
        self.start()

    def start(self) -> None:
        """Recover, and check what came back."""
        self.store = Store(self.disk, TYPES, self.clock.now_us, self.clock.random_bytes)
        self.model.become(checked(self.store, self.history, self.time, "machine"))
        self.time += 2
        self.history.restart(self.time, self.store.durable_sequence)
        self.job = self.merged = None

    @rule(change=changes)
    def change(self, change: Any) -> None:
        """One change of the table, not committed yet."""
        kind, key, value, deadline = change
        table = self.store.table
        if kind == "set":
            table.write(key, value, deadline)
        elif kind == "delete":
            table.delete(key)
        elif kind == "flush":
            table.flush()
        elif key in self.model.values:
            table.set_deadline(key, deadline)
        table.pending.undo.clear()
        self.model.change(*change)

    @rule(made=commits)
    def undone(self, made: list[Any]) -> None:
        """A request that changes several things and then fails leaves no trace."""
        before = self.model.state()
        for change in made:
            kind, key, value, deadline = change
            table = self.store.table
            if kind == "set":
                table.write(key, value, deadline)
            elif kind == "delete":
                table.delete(key)
            elif kind == "flush":
                table.flush()
            elif key in table.values:
                table.set_deadline(key, deadline)
        self.store.pending.take_back()
        assert (self.store.table.values, self.store.table.deadlines) == before

    @rule(synced=st.booleans())
    def commit(self, synced: bool) -> None:
        """Close the open commit, write it, and sync it or not."""
        commit = self.store.close_commit()
        if commit is None:
            return
        self.time += 1
        self.history.ask(self.time, commit.sequence, self.model.content())
        self.time += 1
        self.store.write(commit)
        if synced:
            self.store.sync()
            self.history.promise(self.time, commit.sequence)
        self.store.settle(commit, durable=synced)

    @rule()
    def sync(self) -> None:
        """The once-a-second sync, and the mark."""
        written = self.store.written_sequence()
        self.store.sync()
        self.store.note_durable(written)
        self.history.promise(self.time, written)
        self.store.mark()

    @rule(later_ms=st.integers(1, 5_000_000_000))
    def expire(self, later_ms: int) -> None:
        """Time passes, and what has expired goes."""
        self.clock.us += 1000 * later_ms % (4_000_000_000_000_000 // 8)
        self.store.table.remove_expired(100)
        self.store.pending.undo.clear()
        for key, deadline in list(self.model.deadlines.items()):
            if deadline <= self.clock.us // 1000:
                self.model.change("delete", key, None, None)

    @precondition(lambda self: self.job is None and self.store.can_compact())
    @rule()
    def seal(self) -> None:
        """Begin a compaction."""
        self.job = self.store.seal()
        self.history.promise(self.time, self.store.durable_sequence)

    @precondition(lambda self: self.job is not None and self.merged is None)
    @rule()
    def merge(self) -> None:
        """What the child does."""
        assert self.job is not None
        self.merged = merge(self.disk, TYPES, self.job, self.clock.now_us())

    @precondition(lambda self: self.merged is not None)
    @rule()
    def finish(self) -> None:
        """Put the new checkpoint in place."""
        assert self.merged is not None
        self.store.finish_compaction(self.merged)
        self.job = self.merged = None

    @precondition(lambda self: self.job is not None)
    @rule()
    def abandon(self) -> None:
        """Give the compaction up."""
        self.store.abandon_compaction()
        self.job = self.merged = None

    @rule()
    def kill(self) -> None:
        """kill -9, and a new server."""
        self.disk = self.disk.kill()
        self.start()

    @rule(seed=st.integers(0, 1 << 30), end=st.sampled_from([None, AllLost(), AllKept()]))
    def power_cut(self, seed: int, end: Any) -> None:
        """The power goes, and comes back."""
        self.disk = self.disk.crash(end or RandomFates(seed))
        self.start()

    @invariant()
    def table_is_the_model(self) -> None:
        """The table shows what was done."""
        if hasattr(self, "store"):
            assert (self.store.table.values, self.store.table.deadlines) == self.model.state()


class StoreTests(SynchronousTestCase):
    """The store as a whole."""

    def setUp(self) -> None:
        """Make the store\'s units small."""
        self.enterContext(small_files())

    def test_any_order_of_steps(self) -> None:
        """Changes, commits, compactions, kills and power cuts in any order: recovery finds a promised state."""
        quick = settings(max_examples=60, stateful_step_count=40, suppress_health_check=list(HealthCheck))
        run_state_machine_as_test(StoreMachine, settings=quick)

    @settings(max_examples=30)
    @given(st.lists(commits, max_size=6))
    def test_recovery_changes_nothing(self, made: list[Any]) -> None:
        """Recovered again and again, a directory holds the same state, and its log does not grow."""
        disk, model = SimulatedDisk(record=False), Model()
        write_log(disk, LIVE, 1, [model.commit(commit) for commit in made])
        clock = Clock("again")
        sizes = set()
        for _ in range(3):
            disk = disk.kill()
            store = Store(disk, TYPES, clock.now_us, clock.random_bytes)
            self.assertEqual((store.table.values, store.table.deadlines), model.state())
            self.assertEqual(store.durable_sequence, len(made))
            sizes.add((store.log.end, len(disk.contents()[LIVE])))
        self.assertEqual(len(sizes), 1)
        self.assertGreaterEqual(min(sizes)[0], FRAMES_AT)
