"""Texts of options to values: what is taken, what is refused, and the advice with it."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kvstore.edge.option_text import (
    MAX_NAME_CHARACTERS,
    announced_name,
    byte_count,
    byte_text,
    data_directory,
    endpoint_with_mode,
    host_and_port,
    output_file,
    port_number,
    sync_policy,
    whole_number,
)


class NumberTests(SynchronousTestCase):
    """Whole numbers and ports."""

    def test_takes_both_ends_of_the_range(self) -> None:
        """The least and the most are themselves allowed."""
        self.assertEqual(whole_number("3", 3, 5), 3)
        self.assertEqual(whole_number("5", 3, 5), 5)

    def test_refuses_one_past_either_end(self) -> None:
        """One below the least and one above the most are refused, with the range."""
        for text in ("2", "6"):
            error = self.assertRaises(ValueError, whole_number, text, 3, 5)
            self.assertEqual(str(error), "give a whole number from 3 to 5")

    def test_refuses_what_only_python_calls_a_number(self) -> None:
        """Spaces, signs, underscores, foreign digits, fractions and endless digits are refused."""
        for text in ("", " 1", "1 ", "+1", "-1", "1_0", "1.0", "0x1", "\u0661", "1\n", "9" * 5000):
            self.assertRaises(ValueError, whole_number, text, 0, 10**20)

    def test_port_ends(self) -> None:
        """Ports go from 0 to 65535."""
        self.assertEqual([port_number("0"), port_number("65535")], [0, 65535])
        self.assertRaises(ValueError, port_number, "65536")


class ByteCountTests(SynchronousTestCase):
    """Numbers of bytes with units."""

    def test_units_are_those_of_redis_conf(self) -> None:
        """With a b thousand is 1024, without it 1000, in any case of letters."""
        texts = ["7", "7b", "7k", "7kb", "7m", "7MB", "7G", "7gb"]
        units = [1, 1, 1000, 1024, 1000**2, 1024**2, 1000**3, 1024**3]
        self.assertEqual([byte_count(text, 0, 10**12) for text in texts], [7 * unit for unit in units])

    def test_refuses_one_past_either_end(self) -> None:
        """The range counts in bytes, whatever the unit."""
        self.assertEqual([byte_count("1kb", 1024, 2048), byte_count("2kb", 1024, 2048)], [1024, 2048])
        for text in ("1023", "2049", "1k", "3k"):
            error = self.assertRaises(ValueError, byte_count, text, 1024, 2048)
            self.assertEqual(str(error), "give a number of bytes from 1024 to 2048, such as 1048576, 1024kb or 1mb")

    def test_refuses_other_units_and_signs(self) -> None:
        """A unit that redis.conf does not know, a fraction, a sign or a space is refused."""
        for text in ("", "kb", "1t", "1kib", "1.5m", "-1", "1 kb", "1kb\n", "\u0661kb"):
            self.assertRaises(ValueError, byte_count, text, 0, 10**20)

    @given(st.integers(min_value=0, max_value=10**17))
    def test_text_reads_back(self, count: int) -> None:
        """What byte_text writes byte_count reads as the same number."""
        self.assertEqual(byte_count(byte_text(count), 0, 10**17), count)

    def test_text_is_short(self) -> None:
        """Whole units are shown as such, anything else as plain bytes."""
        self.assertEqual(
            [byte_text(n) for n in (0, 1000, 1024, 64 * 2**20, 2**30)], ["0", "1000", "1kb", "64mb", "1gb"]
        )


class WordTests(SynchronousTestCase):
    """Sync policies, names and addresses."""

    def test_sync_policies(self) -> None:
        """The three policies are taken as they are written, nothing else."""
        self.assertEqual([sync_policy(text) for text in ("always", "everysec", "no")], ["always", "everysec", "no"])
        for text in ("", "Always", "yes", "no "):
            error = self.assertRaises(ValueError, sync_policy, text)
            self.assertEqual(str(error), "give always, everysec or no")

    def test_names(self) -> None:
        """A name of 1 to MAX_NAME_CHARACTERS printable characters is taken as it is."""
        for text in ("a", "me-a5", "d\u00e9j\u00e0/vu", "x" * MAX_NAME_CHARACTERS):
            self.assertEqual(announced_name(text), text)

    def test_refuses_names_that_clients_could_not_type(self) -> None:
        """Empty or too long names, and those with spaces, colons or control characters, are refused."""
        for text in ("", "x" * (MAX_NAME_CHARACTERS + 1), "a b", "host:80", "a\n", "a\0", "\u2003"):
            self.assertRaises(ValueError, announced_name, text)

    def test_host_and_port(self) -> None:
        """Names, IPv4 addresses, and IPv6 addresses in brackets are taken."""
        self.assertEqual(host_and_port("localhost:1"), ("localhost", 1))
        self.assertEqual(host_and_port("127.0.0.1:65535"), ("127.0.0.1", 65535))
        self.assertEqual(host_and_port("[::1]:9097"), ("::1", 9097))

    def test_refuses_what_is_no_host_and_port(self) -> None:
        """Each part must be there, and an IPv6 address in its brackets."""
        for text in ("", "host", ":1", "host:", "::1:9097", "[]:1", "a b:1", "[a:1", "a]:1", "host\0:1"):
            self.assertRaises(ValueError, host_and_port, text)

    def test_refuses_ports_out_of_range(self) -> None:
        """Nobody can be reached on port 0 or 65536."""
        for text in ("host:0", "host:65536", "host:x", "host:-1"):
            self.assertIn("from 1 to 65535", str(self.assertRaises(ValueError, host_and_port, text)))

    @given(st.text(alphabet="ab:[]. 01\n", max_size=12))
    def test_what_is_taken_makes_sense(self, text: str) -> None:
        """Any text is refused, or gives a host without brackets and spaces and a port that can be reached."""
        try:
            host, port = host_and_port(text)
        except ValueError:
            return
        self.assertTrue(host and not set(host) & set("[] \n"))
        self.assertTrue(1 <= port <= 65535)


class PathTests(SynchronousTestCase):
    """Paths that must be usable, though nothing is opened."""

    def setUp(self) -> None:
        """A directory and a file in it."""
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir(parents=True)
        self.file = self.directory / "file"
        self.file.write_text("there before")

    def tearDown(self) -> None:
        """Looking has changed nothing."""
        self.assertEqual([path.name for path in self.directory.iterdir()], ["file"])
        self.assertEqual(self.file.read_text(), "there before")

    def test_data_directory_becomes_absolute(self) -> None:
        """A relative path is taken from where the user is."""
        self.assertEqual(data_directory("kvstore-data"), os.path.join(os.getcwd(), "kvstore-data"))

    def test_data_directory_exists_or_can_be_made(self) -> None:
        """A directory, and one whose parents are missing too, is taken."""
        for path in (self.directory, self.directory / "a" / "b" / "c"):
            self.assertEqual(data_directory(str(path)), str(path))

    def test_data_directory_is_no_file(self) -> None:
        """A file in its place, or in the place of a parent, is named."""
        for path in (self.file, self.file / "below"):
            error = self.assertRaises(ValueError, data_directory, str(path))
            self.assertIn(f"{self.file} is not a directory", str(error))

    def test_data_directory_is_no_dangling_link(self) -> None:
        """A symbolic link that leads nowhere could not be made into a directory."""
        link = self.directory / "link"
        link.symlink_to("nowhere")
        self.addCleanup(link.unlink)
        self.assertRaises(ValueError, data_directory, str(link))
        link.unlink()
        link.symlink_to(self.directory)
        self.assertEqual(data_directory(str(link)), str(link))

    def test_data_directory_can_be_written(self) -> None:
        """A place that the user may not write to is refused, by its existing part."""
        self.patch(os, "access", lambda path, mode: False)  # root may write everywhere
        error = self.assertRaises(ValueError, data_directory, str(self.directory / "a"))
        self.assertIn(f"{self.directory} cannot be written to", str(error))

    def test_the_mode_of_a_unix_socket(self) -> None:
        """Owner and group, unless the endpoint says otherwise; other endpoints have none."""
        for text, whole in (
            ("unix:/s", "unix:/s:mode=660"), ("unix:/s:lockfile=1", "unix:/s:lockfile=1:mode=660"),
            ("unix:address=/s", "unix:address=/s:mode=660"), ("unix:/a\\:mode=b", "unix:/a\\:mode=b:mode=660"),
            ("unix:/s:mode=666", "unix:/s:mode=666"), ("unix:/s:666", "unix:/s:666"), ("tcp:6380", "tcp:6380"),
        ):  # fmt: skip
            self.assertEqual(endpoint_with_mode(text), whole)

    def test_output_file_exists_or_can_be_made(self) -> None:
        """A file, and a name in an existing directory, is taken and made absolute."""
        self.assertEqual(output_file(str(self.file)), str(self.file))
        self.assertEqual(output_file("trace"), os.path.join(os.getcwd(), "trace"))

    def test_output_file_is_no_directory(self) -> None:
        """A directory is refused, and so is a name in a directory that is not there."""
        self.assertIn("is a directory", str(self.assertRaises(ValueError, output_file, str(self.directory))))
        error = self.assertRaises(ValueError, output_file, str(self.directory / "a" / "b"))
        self.assertEqual(str(error), f"there is no directory {self.directory / 'a'}; make it, or choose another")

    def test_output_file_can_be_written(self) -> None:
        """A file, or the directory of a new one, that the user may not write to is refused."""
        self.patch(os, "access", lambda path, mode: False)
        for path in (self.file, self.directory / "new"):
            self.assertIn("cannot be written to", str(self.assertRaises(ValueError, output_file, str(path))))

    def test_empty_paths(self) -> None:
        """An empty text would otherwise mean the current directory."""
        self.assertRaises(ValueError, data_directory, "")
        self.assertRaises(ValueError, output_file, "")
