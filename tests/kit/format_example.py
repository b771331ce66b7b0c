"""The example in docs/FORMAT.md: a small directory, the same bytes each time, and how the page shows it.

`python -m tests.kit.format_example` puts it into the page, between its markers; tests/test_format_document.py holds
that it is up to date.
"""

from __future__ import annotations

import itertools
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from kvstore.base.disk import RealDisk
from kvstore.store.merge import merge
from kvstore.store.store import Store
from kvstore.values import TYPES
from tests.kit.store_files import commit

PAGE = Path(__file__).resolve().parents[2] / "docs" / "FORMAT.md"
BEGIN, END = "<!-- begin: python -m tests.kit.format_example -->\n", "<!-- end -->\n"
FILES = ("table.ckpt", "table.txn")

_STORY = """\
1. `insert zebra {"weight":100,"name":"fred"}` made commit 1;
2. `MULTI`, `SET a 1`, `SET tmp VALUE PXAT 4102444800000`, `EXEC`, where VALUE is `x` CRLF `y`, made commit 2;
3. a compaction merged both into the checkpoint;
4. `DEL a` made commit 3;
5. `PERSIST tmp` made commit 4; a second later the server wrote a mark.

The state: `zebra` holds `{"weight":100,"name":"fred"}`, `tmp` holds `x` CRLF `y` and has no deadline.
"""


class _Clock:
    """Microseconds since the epoch; a millisecond passes with every look at it."""

    def __init__(self) -> None:
        self._now_us = 1_700_000_000_000_000

    def __call__(self) -> int:
        self._now_us += 1000
        return self._now_us


def make(directory: str) -> None:
    """Let a store write the example's files into a directory that does not exist yet."""
    clock, numbers = _Clock(), itertools.count(1)
    disk = RealDisk(directory)
    store = Store(disk, TYPES, clock, lambda count: bytes(next(numbers) * 37 & 0xFF for _ in range(count)))
    table = store.table
    table.write(b"zebra", b'{"weight":100,"name":"fred"}')
    commit(store)
    table.write(b"a", b"1")
    table.write(b"tmp", b"x\r\ny", 4_102_444_800_000)
    commit(store)
    store.finish_compaction(merge(disk, TYPES, store.seal(), clock()))
    table.delete(b"a")
    commit(store)
    table.set_deadline(b"tmp", None)
    commit(store)
    store.mark_and_sync()
    store.close()
    disk.unlock()


def hex_dump(data: bytes) -> Iterator[str]:
    """The lines that `hexdump -C` prints."""
    previous, starred = b"", False
    for at in range(0, len(data), 16):
        row = data[at : at + 16]
        if row == previous:
            if not starred:
                yield "*"
            starred = True
            continue
        previous, starred = row, False
        digits = [f"{byte:02x}" for byte in row]
        text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)
        yield f"{at:08x}  {' '.join(digits[:8]):23}  {' '.join(digits[8:]):23}  |{text}|"
    yield f"{len(data):08x}"


def section() -> str:
    """The example as it stands between the markers of the page."""
    parent = tempfile.mkdtemp()
    try:
        directory = os.path.join(parent, "data")
        make(directory)
        parts = [_STORY]
        for name in FILES:
            lines = "\n".join(hex_dump(Path(directory, name).read_bytes()))
            parts.append(f"`{name}`:\n\n```\n{lines}\n```\n")
        return "\n".join(parts)
    finally:
        shutil.rmtree(parent)


def split(page: str) -> tuple[str, str, str]:
    """A page before, between and after its markers."""
    before, _, rest = page.partition(BEGIN)
    between, _, after = rest.partition(END)
    return before + BEGIN, between, END + after


def main() -> None:
    """Write the example into the page."""
    before, _, after = split(PAGE.read_text())
    PAGE.write_text(before + section() + after)


if __name__ == "__main__":
    sys.exit(main())
