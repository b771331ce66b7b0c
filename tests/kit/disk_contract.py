"""What every disk must do, real or simulated: the promises of `kvstore.base.disk`, one test each.

A mixin: test cases inherit it beside a TestCase and say in `make_disk` which disk they hold to it.
"""

from __future__ import annotations

import errno
from typing import Any

from kvstore.base.disk import Disk
from kvstore.base.errors import DirectoryInUse
from kvstore.base.files import replace_with


class DiskContract:
    """The tests; `make_disk` makes an empty data directory, `reopened` what a second process sees of it."""

    def make_disk(self) -> Any:
        """An empty data directory."""
        raise NotImplementedError

    def second_opening(self, disk: Any) -> Any:
        """The same directory as another server in another process would open it."""
        raise NotImplementedError

    def written(self, disk: Disk, name: str, data: bytes) -> None:
        """A file with that content."""
        file = disk.create(name)
        file.write_at(0, data)
        file.close()

    def content(self, disk: Disk, name: str) -> bytes:
        """What a file holds, read through the disk."""
        file = disk.open_read(name)
        try:
            return file.read_at(0, file.size() + 1)
        finally:
            file.close()

    def test_new_directory_is_empty(self) -> None:
        """A directory never used has no files."""
        self.assertEqual(self.make_disk().names(), [])

    def test_names_are_sorted(self) -> None:
        """`names` tells each file once, in order."""
        disk = self.make_disk()
        for name in ("table.txn", "lock", "table.ckpt"):
            disk.create(name).close()
        self.assertEqual(disk.names(), ["lock", "table.ckpt", "table.txn"])

    def test_what_was_written_is_read(self) -> None:
        """Bytes come back from where they were put."""
        disk = self.make_disk()
        file = disk.create("a")
        file.write_at(0, b"0123456789")
        file.write_at(3, b"xyz")
        self.assertEqual(file.read_at(0, 100), b"012xyz6789")
        self.assertEqual(file.read_at(2, 3), b"2xy")
        file.close()
        self.assertEqual(self.content(disk, "a"), b"012xyz6789")

    def test_read_past_the_end(self) -> None:
        """Reading at or past the end gives what is there: fewer bytes, or none."""
        file = self.make_disk().create("a")
        file.write_at(0, b"abc")
        self.assertEqual(file.read_at(1, 10), b"bc")
        self.assertEqual(file.read_at(3, 10), b"")
        self.assertEqual(file.read_at(1000, 10), b"")
        file.close()

    def test_write_past_the_end_leaves_zeros(self) -> None:
        """A gap between the old end and the new bytes reads as zeros."""
        file = self.make_disk().create("a")
        file.write_at(0, b"abc")
        file.write_at(600, b"def")
        self.assertEqual(file.size(), 603)
        self.assertEqual(file.read_at(0, 1000), b"abc" + bytes(597) + b"def")
        file.close()

    def test_writing_nothing_changes_nothing(self) -> None:
        """An empty write does not make the file longer."""
        file = self.make_disk().create("a")
        file.write_at(100, b"")
        self.assertEqual(file.size(), 0)
        file.close()

    def test_truncate_shortens_and_extends(self) -> None:
        """A shortened file lost its end for good: made longer again it holds zeros there."""
        file = self.make_disk().create("a")
        file.write_at(0, b"0123456789")
        file.truncate(4)
        self.assertEqual(file.size(), 4)
        file.truncate(8)
        self.assertEqual(file.read_at(0, 100), b"0123\0\0\0\0")
        file.close()

    def test_sync_returns(self) -> None:
        """A sync of a healthy file just returns, for a reader too, and changes nothing that can be seen."""
        disk = self.make_disk()
        file = disk.create("a")
        file.write_at(0, b"abc")
        file.sync()
        disk.sync_directory()
        file.close()
        reader = disk.open_read("a")
        reader.sync()
        reader.close()
        self.assertEqual(self.content(disk, "a"), b"abc")

    def test_two_openings_are_of_one_file(self) -> None:
        """What one opening writes, another reads at once."""
        disk = self.make_disk()
        writer = disk.create("a")
        reader = disk.open_read("a")
        writer.write_at(0, b"new")
        self.assertEqual(reader.read_at(0, 10), b"new")
        self.assertEqual(reader.size(), 3)
        writer.close()
        reader.close()

    def test_open_needs_the_file(self) -> None:
        """Opening what is not there raises FileNotFoundError, and makes no file."""
        disk = self.make_disk()
        self.assertRaises(FileNotFoundError, disk.open, "a")
        self.assertRaises(FileNotFoundError, disk.open_read, "a")
        self.assertEqual(disk.names(), [])

    def test_open_keeps_the_content(self) -> None:
        """`open` is for reading and writing what is there."""
        disk = self.make_disk()
        self.written(disk, "a", b"abc")
        file = disk.open("a")
        file.write_at(3, b"def")
        self.assertEqual(file.read_at(0, 10), b"abcdef")
        file.close()

    def test_open_read_cannot_write(self) -> None:
        """A file opened for reading refuses to be changed."""
        disk = self.make_disk()
        self.written(disk, "a", b"abc")
        file = disk.open_read("a")
        self.assertEqual(self.assertRaises(OSError, file.write_at, 0, b"x").errno, errno.EBADF)
        self.assertRaises(OSError, file.truncate, 0)
        file.close()
        self.assertEqual(self.content(disk, "a"), b"abc")

    def test_create_replaces(self) -> None:
        """`create` on a taken name gives an empty file of that name."""
        disk = self.make_disk()
        self.written(disk, "a", b"abc")
        disk.create("a").close()
        self.assertEqual(self.content(disk, "a"), b"")
        self.assertEqual(disk.names(), ["a"])

    def test_created_file_can_be_read(self) -> None:
        """The file that `create` gives is open for reading as well."""
        file = self.make_disk().create("a")
        file.write_at(0, b"abc")
        self.assertEqual(file.read_at(0, 3), b"abc")
        file.close()

    def test_close_twice(self) -> None:
        """Closing a closed file is allowed."""
        file = self.make_disk().create("a")
        file.close()
        file.close()

    def test_rename(self) -> None:
        """The file has its new name only, and its content."""
        disk = self.make_disk()
        self.written(disk, "a", b"abc")
        disk.rename("a", "b")
        self.assertEqual(disk.names(), ["b"])
        self.assertEqual(self.content(disk, "b"), b"abc")

    def test_rename_replaces(self) -> None:
        """A file of the new name is replaced; who has it open keeps it, and can tell that it has no name."""
        disk = self.make_disk()
        self.written(disk, "a", b"new")
        self.written(disk, "b", b"old")
        old = disk.open("b")
        disk.rename("a", "b")
        self.assertEqual(self.content(disk, "b"), b"new")
        self.assertEqual(old.read_at(0, 10), b"old")
        self.assertFalse(old.is_linked())
        old.close()

    def test_rename_needs_the_file(self) -> None:
        """Renaming what is not there raises, and the target stays."""
        disk = self.make_disk()
        self.written(disk, "b", b"old")
        self.assertRaises(FileNotFoundError, disk.rename, "a", "b")
        self.assertEqual(self.content(disk, "b"), b"old")

    def test_rename_onto_itself(self) -> None:
        """POSIX: it does nothing."""
        disk = self.make_disk()
        self.written(disk, "a", b"abc")
        disk.rename("a", "a")
        self.assertEqual(self.content(disk, "a"), b"abc")

    def test_open_file_follows_a_rename(self) -> None:
        """An open file is the file, not the name."""
        disk = self.make_disk()
        file = disk.create("a")
        disk.rename("a", "b")
        self.written(disk, "a", b"other")
        file.write_at(0, b"mine")
        file.close()
        self.assertEqual(self.content(disk, "b"), b"mine")
        self.assertEqual(self.content(disk, "a"), b"other")

    def test_remove(self) -> None:
        """The name is gone, an open file stays readable, and a second removal raises."""
        disk = self.make_disk()
        self.written(disk, "a", b"abc")
        file = disk.open("a")
        disk.remove("a")
        self.assertEqual(disk.names(), [])
        self.assertFalse(file.is_linked())
        self.assertEqual(file.read_at(0, 10), b"abc")
        file.close()
        self.assertRaises(FileNotFoundError, disk.remove, "a")

    def test_is_linked(self) -> None:
        """A file with a name says so."""
        file = self.make_disk().create("a")
        self.assertTrue(file.is_linked())
        file.close()

    def test_leads_to(self) -> None:
        """A name leads to the file that has it now, and to no other."""
        disk = self.make_disk()
        file = disk.create("a")
        self.assertTrue(disk.leads_to("a", file))
        disk.rename("a", "c")
        self.assertFalse(disk.leads_to("a", file))
        self.written(disk, "a", b"another")
        self.assertFalse(disk.leads_to("a", file))
        self.assertTrue(disk.leads_to("c", file))
        file.close()

    def test_lock_is_held_against_a_second_server(self) -> None:
        """While one server holds the directory another is refused, and the text names the directory."""
        disk = self.make_disk()
        other = self.second_opening(disk)
        disk.lock()
        refusal = self.assertRaises(DirectoryInUse, other.lock)
        self.assertIn(disk.describe("").rstrip("/"), str(refusal))
        disk.unlock()
        other.lock()
        self.assertRaises(DirectoryInUse, disk.lock)
        other.unlock()

    def test_lock_leaves_its_file(self) -> None:
        """The file `lock` belongs to the directory, and stays when the lock is given back."""
        disk = self.make_disk()
        disk.lock()
        self.assertEqual(disk.names(), ["lock"])
        disk.unlock()
        self.assertEqual(disk.names(), ["lock"])

    def test_refused_server_changes_nothing(self) -> None:
        """A refused lock leaves the holder's lock in place."""
        disk = self.make_disk()
        disk.lock()
        for _ in range(2):
            self.assertRaises(DirectoryInUse, self.second_opening(disk).lock)
        disk.unlock()

    def test_check_of_a_sound_directory(self) -> None:
        """There is nothing to say, locked or not."""
        disk = self.make_disk()
        self.assertEqual(disk.check(), "")
        disk.lock()
        self.assertEqual(disk.check(), "")
        disk.unlock()
        self.assertEqual(disk.check(), "")

    def test_describe_ends_with_the_name(self) -> None:
        """Messages to the operator name the file."""
        self.assertTrue(self.make_disk().describe("table.txn").endswith("/table.txn"))

    def test_replace_with_new_file(self) -> None:
        """A file that was not there holds the pieces, one after another, and no temporary file is left."""
        disk = self.make_disk()
        replace_with(disk, "a", [b"one ", b"", b"two"])
        self.assertEqual(disk.names(), ["a"])
        self.assertEqual(self.content(disk, "a"), b"one two")

    def test_replace_with_old_file(self) -> None:
        """A file that was there is replaced, even by nothing, and even if a crash left its temporary file."""
        disk = self.make_disk()
        self.written(disk, "a", b"a rather long old content")
        self.written(disk, "a.tmp", b"garbage that a crash left, longer than what comes")
        replace_with(disk, "a", iter([b"new"]))
        self.assertEqual(self.content(disk, "a"), b"new")
        replace_with(disk, "a", [])
        self.assertEqual(self.content(disk, "a"), b"")
        self.assertEqual(disk.names(), ["a"])

    def test_replace_with_pieces_that_fail(self) -> None:
        """If the pieces cannot be made, the old content stays."""
        disk = self.make_disk()
        self.written(disk, "a", b"old")

        def pieces() -> Any:
            yield b"new"
            raise OSError(errno.EIO, "cannot read the source")

        self.assertRaises(OSError, replace_with, disk, "a", pieces())
        self.assertEqual(self.content(disk, "a"), b"old")
