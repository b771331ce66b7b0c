"""How many bytes of memory this process has allocated, as its allocators count them: what is live, not what the
system has given, which does not shrink when something is freed.

| what | who has it | who tells |
|---|---|---|
| up to 512 bytes | Python's arenas | `sys._debugmallocstats`, which sums up its pools: 40 us, and 0.7 ms for a GiB |
| more, and what C libraries take | malloc | `mallinfo2`, which walks what is free: 1 us, and 0.2 us for a free block |

Where one of them is not to be had (another C library, another Python) what the system has given stands for both.

Rejected: a running account of each change (every SET would pay 2 to 10 % for it, and buffers, indexes and scripts were
not in it); resident memory alone; an allocator of our own choice (it has to be there before Python is).
"""

from __future__ import annotations

import contextlib
import ctypes
import re
import resource
import sys
import time
from collections.abc import Iterator

#: What Python tells of its arenas is some 5,000 bytes.
_TOLD_BYTES = 1 << 15
_IN_ARENAS = re.compile(rb"# bytes in allocated blocks\s*=\s*([\d,]+)")


_FIELDS = (
    "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
)  # fmt: skip


class _MallInfo(ctypes.Structure):
    """See mallinfo2(3). `uordblks`: bytes in blocks in use; `hblkhd`: in those that have pages of their own."""

    _fields_ = [(name, ctypes.c_size_t) for name in _FIELDS]


class Allocators:
    """See the module, and `kvstore.commands.used_memory`. Python tells of its arenas to the C library's stderr, which
    is a file in memory meanwhile.
    """

    def __init__(self) -> None:
        self.took_ns = 0
        self._library = ctypes.CDLL(None)
        self._buffer = ctypes.create_string_buffer(_TOLD_BYTES)
        try:
            self._prepare()
            self._arenas()
            self._tells = True
        except (AttributeError, OSError, ValueError):
            self._tells = False

    def _prepare(self) -> None:
        library = self._library
        library.mallinfo2.restype = _MallInfo
        library.fmemopen.restype = ctypes.c_void_p
        library.fmemopen.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
        library.fflush.argtypes = library.rewind.argtypes = [ctypes.c_void_p]
        self._file = library.fmemopen(self._buffer, _TOLD_BYTES, b"w")
        if not self._file:
            raise OSError("there is no file in memory")
        self._stderr = ctypes.c_void_p.in_dll(library, "stderr")

    def allocated_bytes(self) -> int:
        """How much is allocated now."""
        if not self._tells:
            return resident_bytes()
        began_ns = time.thread_time_ns()
        try:
            return self._allocated_bytes()
        finally:
            self.took_ns = time.thread_time_ns() - began_ns

    def _allocated_bytes(self) -> int:
        found = _IN_ARENAS.search(self._arenas())
        of_malloc = self._library.mallinfo2()
        in_arenas = int(found[1].replace(b",", b"")) if found else 0
        return int(of_malloc.uordblks) + int(of_malloc.hblkhd) + in_arenas

    def resident_bytes(self) -> int:
        """How much the process has of the system."""
        return resident_bytes()

    def described(self) -> str:
        """What both say."""
        if not self._tells:
            return "Stats not supported for the current allocator"
        of_malloc = self._library.mallinfo2()
        lines = [f"malloc {name}: {getattr(of_malloc, name)}" for name in _FIELDS]
        return "\n".join([*lines, "", self._arenas().decode()])

    def purge(self) -> None:
        """Give back to the system the pages of malloc that are free."""
        with contextlib.suppress(AttributeError):
            self._library.malloc_trim(0)

    def _arenas(self) -> bytes:
        with self._told_to_memory():
            sys._debugmallocstats()
        self._library.fflush(self._file)
        self._library.rewind(self._file)
        if _IN_ARENAS.search(self._buffer.value) is None:
            raise ValueError("Python tells nothing of its arenas")
        return self._buffer.value

    @contextlib.contextmanager
    def _told_to_memory(self) -> Iterator[None]:
        before = self._stderr.value
        self._stderr.value = self._file
        try:
            yield
        finally:
            self._stderr.value = before


def resident_bytes() -> int:
    """Bytes of memory that the system has given this process, and that are not swapped out (proc(5), statm)."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()
