"""Standard output and error that nobody has to read, and a log file that may fail.

Under `twistd -n` the log goes to standard output, from within the loop. A pipe whose reader has stopped, or a terminal
halted with Ctrl-S, would hold everybody up with its first full buffer. So a line is written as far as it is taken at
once; while the rest of one waits, those after it are left out, and counted in a line of their own once there is room. A
stream that fails (its reader is gone, its disk is full) loses the line, which is counted as well, and nothing else.

Pipes and terminals are opened anew, not to block: the flag belongs to the open file, and that of our parent is left as
it was. A socket cannot be; it is asked each time whether it takes a write, as are pipes where there is no /proc.

Rejected: a thread that writes (one more for a process that has none, and lines lost at the end); to keep the lines
until they are read (memory without bound, or dropped lines again).
"""

from __future__ import annotations

import contextlib
import io
import os
import select
import stat
import sys

#: What a pipe that is ready takes without blocking (POSIX, PIPE_BUF: 512 or more; Linux: 4096).
_PIECE_BYTES = select.PIPE_BUF


def never_block() -> None:
    """Let what Python and Twisted write to standard output and error go through streams that never block."""
    sys.stdout = sys.__stdout__ = Unblocked(1, sys.stdout)  # type: ignore[assignment, misc]
    sys.stderr = sys.__stderr__ = Unblocked(2, sys.stderr)  # type: ignore[assignment, misc]


def left_out_text(count: int) -> str:
    """The line that stands for `count` lines."""
    return f"({count} lines are left out here: nobody read this stream, or it could not be written)"


class Unblocked(io.TextIOBase):
    """Text for descriptor `number`, see the module. `before`: the stream that it replaces, if there was one.

    `left_out_text`: makes the line that stands for some that are left out.
    """

    def __init__(self, number: int, before: object = None) -> None:
        self.left_out_text = left_out_text
        self._number = number
        self._descriptor = _opened_anew(number)
        # A file takes all of a line, or fails; whole lines of two processes are not mixed there.
        self._piece_bytes = 2**30 if stat.S_ISREG(os.fstat(number).st_mode) else _PIECE_BYTES
        self._encoding: str = getattr(before, "encoding", None) or "utf-8"
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLOUT)
        self._begun = ""
        self._rest = b""
        self._left_out = 0
        self._in_rest = 0  # lines that `_rest` has, or counts
        self._is_torn = False  # the last line was written in part

    def fileno(self) -> int:
        """See io.TextIOBase."""
        return self._number

    def isatty(self) -> bool:
        """See io.TextIOBase."""
        return os.isatty(self._number)

    def writable(self) -> bool:
        """See io.TextIOBase."""
        return True

    def write(self, text: str) -> int:
        """Write each line that `text` completes, or leave it out. Raises nothing."""
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            self._write_line(line)
        return len(text)

    def flush(self) -> None:
        """Write what waits, a line that has only begun included, as far as it is taken."""
        if self._drained() and self._begun:
            self._rest, self._begun = self._encoded(self._begun), ""
            self._drained()

    def _write_line(self, line: str) -> None:
        if not self._drained():
            self._left_out += 1
            return
        before = "\n" if self._is_torn else ""
        if self._left_out:
            before += self.left_out_text(self._left_out) + "\n"
        self._in_rest, self._left_out = 1 + self._left_out, 0
        self._rest = self._encoded(f"{before}{line}\n")
        self._drained()

    def _encoded(self, text: str) -> bytes:
        return text.encode(self._encoding, "backslashreplace")

    def _drained(self) -> bool:
        """Write the rest of what was begun; returns whether nothing of it is left."""
        while self._rest:
            if not self._poll.poll(0):
                return False
            try:
                written = os.write(self._descriptor, self._rest[: self._piece_bytes])
                self._is_torn = written < len(self._rest)
            except BlockingIOError:
                return False
            except OSError:
                written = len(self._rest)
                self._left_out += self._in_rest
            self._rest = self._rest[written:]
        return True


def _opened_anew(number: int) -> int:
    """A descriptor of the same pipe or terminal that does not block; `number` itself for anything else."""
    with contextlib.suppress(OSError):
        if stat.S_ISFIFO(os.fstat(number).st_mode) or os.isatty(number):
            return os.open(f"/proc/self/fd/{number}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    return number
