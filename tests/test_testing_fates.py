"""What a crash may do to bytes, sizes and names that were not synced, and who decides it."""

from __future__ import annotations

import itertools

from twisted.trial.unittest import SynchronousTestCase

from kvstore.testing.fates import AllKept, AllLost, Enumeration, Fate, Flipped, RandomFates, Survey, spread
from kvstore.testing.platter import GARBAGE_BYTES, SECTOR_BYTES
from kvstore.testing.simulated_disk import SimulatedDisk
from tests.kit.disk_images import distinct, images, synced


class WriteFateTests(SynchronousTestCase):
    """What a power cut makes of writes."""

    def setUp(self) -> None:
        """A file of two sectors that is on disk."""
        self.disk = SimulatedDisk()
        self.old = b"a" * SECTOR_BYTES + b"b" * SECTOR_BYTES
        self.file = synced(self.disk, "a", self.old)

    def test_synced_content_stays(self) -> None:
        """What was synced is there after every crash."""
        self.assertEqual(images(self.disk), {self.old})

    def test_small_write_every_fate(self) -> None:
        """A write inside a sector is lost, kept, garbage, zeros, or torn at any byte; the bytes beside it stay."""
        self.file.write_at(10, b"XYZ")
        middles = {b"aaa", b"XYZ", b"\0\0\0", GARBAGE_BYTES[:3], b"Xaa", b"XYa", b"aYZ", b"aaZ"}
        self.assertEqual(images(self.disk), {self.old[:10] + middle + self.old[13:] for middle in middles})

    def test_written_over_with_the_same_bytes(self) -> None:
        """At either end of a write such bytes stay, as those beside it do."""
        self.file.write_at(8, b"aaXYZa")
        middles = {b"aaa", b"XYZ", b"\0\0\0", GARBAGE_BYTES[:3], b"Xaa", b"XYa", b"aYZ", b"aaZ"}
        self.assertEqual(images(self.disk), {self.old[:10] + middle + self.old[13:] for middle in middles})
        self.file.sync()
        self.file.write_at(8, b"aaXYZa")
        self.assertEqual(images(self.disk), {self.old[:10] + b"XYZ" + self.old[13:]})

    def test_sectors_have_their_own_fates(self) -> None:
        """Of a write over two sectors either part can be there without the other."""
        self.file.write_at(SECTOR_BYTES - 1, b"XY")
        found = images(self.disk)
        for left, right in itertools.product(b"aX", b"bY"):
            middle = bytes([left, right])
            self.assertIn(self.old[: SECTOR_BYTES - 1] + middle + self.old[SECTOR_BYTES + 1 :], found)

    def test_writes_get_there_in_any_order(self) -> None:
        """The second of two writes can be there without the first, in the same sector or another."""
        self.file.write_at(0, b"X")
        self.file.write_at(700, b"Y")
        self.assertIn(self.old[:700] + b"Y" + self.old[701:], images(self.disk))

    def test_later_write_wins(self) -> None:
        """Where both of two writes to one place are there, the later one shows."""
        self.file.write_at(0, b"X")
        self.file.write_at(0, b"Y")
        self.assertEqual(self.disk.crash(AllKept()).contents()["a"], b"Y" + self.old[1:])
        self.assertEqual(
            {image[:1] for image in images(self.disk) if image}, {b"a", b"X", b"Y", b"\0", GARBAGE_BYTES[:1]}
        )

    def test_sync_settles_only_what_came_before(self) -> None:
        """A write after the sync is open again."""
        self.file.write_at(0, b"X")
        self.file.sync()
        self.file.write_at(1, b"Y")
        starts = {image[:2] for image in images(self.disk) if image}
        self.assertEqual(starts, {b"Xa", b"XY", b"X\0", b"X" + GARBAGE_BYTES[:1]})

    def test_sync_of_another_file_settles_nothing(self) -> None:
        """Files are synced one by one."""
        self.file.write_at(0, b"X")
        synced(self.disk, "other", b"content")
        self.assertEqual(self.disk.crash(AllLost()).contents(), {"a": self.old, "other": b"content"})


class SizeFateTests(SynchronousTestCase):
    """What a power cut makes of a file's length."""

    def setUp(self) -> None:
        """A file of four bytes that is on disk."""
        self.disk = SimulatedDisk()
        self.file = synced(self.disk, "a", b"0123")

    def test_append_every_fate(self) -> None:
        """An append can have grown the file to any length, whatever became of the bytes."""
        self.file.write_at(4, b"XY")
        found = images(self.disk)
        self.assertEqual({len(image) for image in found if image}, {4, 5, 6})
        for tail in (b"", b"X", b"\0", b"XY", b"\0\0", b"X\0", b"\0Y", GARBAGE_BYTES[:2]):
            self.assertIn(b"0123" + tail, found)
        self.assertTrue(all(image and image.startswith(b"0123") for image in found))

    def test_appends_grow_in_order(self) -> None:
        """A file that got the second append's length has the first one's too, and maybe zeros for its bytes."""
        self.file.write_at(4, b"X")
        self.file.write_at(5, b"Y")
        self.assertIn(b"0123\0Y", images(self.disk))
        self.assertNotIn(b"0123Y", images(self.disk))

    def test_truncate_happens_or_not(self) -> None:
        """A shortened file has its old length or its new one."""
        self.file.truncate(1)
        self.assertEqual(images(self.disk), {b"0123", b"0"})

    def test_truncated_bytes_do_not_come_back(self) -> None:
        """Shortened and grown again: the old bytes show only in a file of the old length."""
        self.file.truncate(1)
        self.file.truncate(4)
        self.assertEqual(images(self.disk), {b"0123", b"0", b"0\0\0\0"})

    def test_truncate_and_append(self) -> None:
        """What is written after a truncation can be there although the truncation is not."""
        self.file.truncate(2)
        self.file.write_at(2, b"XY")
        found = images(self.disk)
        for image in (b"0123", b"01", b"01X", b"01XY", b"01\0\0"):
            self.assertIn(image, found)

    def test_sync_settles_the_length(self) -> None:
        """After a sync the file is as long as it was then."""
        self.file.write_at(4, b"XY")
        self.file.truncate(5)
        self.file.sync()
        self.assertEqual(images(self.disk), {b"0123X"})

    def test_create_over_an_old_file_empties_it_unsafely(self) -> None:
        """`create` on a taken name cuts the old content, which can come back until the new content is synced."""
        file = self.disk.create("a")
        file.write_at(0, b"Z")
        self.assertLessEqual({b"0123", b"", b"Z", b"Z123"}, images(self.disk))
        file.sync()
        self.assertEqual(images(self.disk), {b"Z"})


class DirectoryFateTests(SynchronousTestCase):
    """What a power cut makes of names."""

    def setUp(self) -> None:
        """Two files that are on disk."""
        self.disk = SimulatedDisk()
        synced(self.disk, "a", b"A")
        synced(self.disk, "b", b"B")

    def test_created_name(self) -> None:
        """A new file whose content was synced can be missing, or be there, until the directory is synced."""
        file = self.disk.create("c")
        file.write_at(0, b"C")
        file.sync()
        self.assertEqual(images(self.disk, "c"), {None, b"C"})
        self.disk.sync_directory()
        self.assertEqual(images(self.disk, "c"), {b"C"})

    def test_name_without_content(self) -> None:
        """Syncing the directory saves the name, not the content."""
        self.disk.create("c").write_at(0, b"C")
        self.disk.sync_directory()
        self.assertEqual(images(self.disk, "c"), {b"", b"\0", b"C", GARBAGE_BYTES[:1]})

    def test_rename_is_atomic(self) -> None:
        """The target is the old or the new file, never neither, and the source goes in the same step."""
        self.disk.rename("a", "b")
        self.assertCountEqual(distinct(self.disk), [{"a": b"A", "b": b"B"}, {"b": b"A"}])
        self.disk.sync_directory()
        self.assertEqual(distinct(self.disk), [{"b": b"A"}])

    def test_rename_saves_no_content(self) -> None:
        """A file renamed without a sync can replace a good one by an empty one."""
        self.disk.create("b.tmp").write_at(0, b"new")
        self.disk.rename("b.tmp", "b")
        self.assertIn(b"", images(self.disk, "b"))

    def test_remove_happens_or_not(self) -> None:
        """A removed file can be back, with its content, until the directory is synced."""
        self.disk.remove("a")
        self.assertEqual(images(self.disk), {None, b"A"})
        self.disk.sync_directory()
        self.assertEqual(images(self.disk), {None})

    def test_operations_have_their_own_fates(self) -> None:
        """Any of several operations can have happened without the others."""
        self.disk.remove("a")
        self.disk.rename("b", "c")
        self.disk.create("d").close()
        found = {"".join(state) for state in distinct(self.disk)}
        self.assertEqual(found, {a + b + d for a, b, d in itertools.product(("a", ""), ("b", "c"), ("d", ""))})

    def test_rename_chain_without_syncs_loses(self) -> None:
        """Moving a file aside and making a new one without a sync between can lose the old one: no order is sure."""
        self.disk.rename("a", "aside")
        self.disk.create("a").close()
        self.assertIn({"a": b"", "b": b"B"}, distinct(self.disk))


class ChooserTests(SynchronousTestCase):
    """Those who decide."""

    def test_enumeration_is_complete(self) -> None:
        """Every combination comes exactly once, also where one answer decides how many questions follow."""
        every = Enumeration()
        seen = []
        while True:
            answers = [every.choose(Fate.ENTRY, 2), every.choose(Fate.SIZE, 3)]
            if answers[0]:
                answers.append(every.choose(Fate.SECTOR, 4))
            seen.append(tuple(answers))
            if not every.advance():
                break
        lost = {(0, size) for size in range(3)}
        kept = {(1, size, sector) for size in range(3) for sector in range(4)}
        self.assertEqual(set(seen), lost | kept)
        self.assertEqual(len(seen), len(set(seen)))

    def test_enumeration_with_a_ceiling(self) -> None:
        """Of a question with too many options an even spread is tried: lost, kept and the last one among them."""
        for options, most in itertools.product((5, 6, 7, 100, 1000), (3, 4, 6)):
            every = Enumeration(most)
            seen = [every.choose(Fate.SECTOR, options)]
            while every.advance():
                seen.append(every.choose(Fate.SECTOR, options))
            self.assertEqual(len(set(seen)), min(options, most))
            self.assertLessEqual({0, 1, options - 1}, set(seen))
            self.assertTrue(all(0 <= choice < options for choice in seen))

    def test_random_fates_repeat(self) -> None:
        """The same seed gives the same fates, another seed others."""

        def drawn(seed: str) -> list[int]:
            chooser = RandomFates(seed)
            return [chooser.choose(Fate.SECTOR, 50) for _ in range(50)]

        self.assertEqual(drawn("a/1"), drawn("a/1"))
        self.assertGreater(len({tuple(drawn(f"a/{n}")) for n in range(20)}), 10)

    def test_flipped(self) -> None:
        """Some places go the other way."""
        chooser = Flipped(AllLost(), range(1, 3))
        self.assertEqual([chooser.choose(Fate.ENTRY, 2) for _ in range(4)], [0, 1, 1, 0])
        chooser = Flipped(AllKept(), range(1))
        self.assertEqual([chooser.choose(Fate.SIZE, 9) for _ in range(2)], [0, 8])

    def test_spread_keeps_its_limit(self) -> None:
        """At most so many choosers come, both ends first."""
        survey = Survey()
        for _ in range(30):
            survey.choose(Fate.SECTOR, 100)
        for limit in (1, 2, 3, 10, 100, 500):
            choosers = list(spread(survey, limit, "seed"))
            self.assertEqual(len(choosers), limit)
            self.assertIsInstance(choosers[0], AllLost)

    def test_limit_of_crashes(self) -> None:
        """A crash with very many outcomes gives no more than asked for, and both ends among them."""
        disk = SimulatedDisk()
        disk.create("a").write_at(0, bytes(range(1, 251)) * 40)
        states = [state.contents() for state in disk.crashes(60, "seed")]
        self.assertEqual(len(states), 60)
        self.assertIn({}, states)
        self.assertIn(disk.contents(), states)
