"""Syncing a file while the process goes on: who does it, and how one hears that it is done.

A `Syncer` does one sync at a time: `begin` starts it and returns at once; when the descriptor `fileno()` becomes
readable, `finish` tells whether it is done, and raises what a `fdatasync` of the file would have raised. What is
promised when `finish` has returned True is what `File.sync` promises of everything written before `begin`.

- `KernelSyncer`: Linux AIO (io_submit(2), IOCB_CMD_FDSYNC): a worker of the kernel syncs and rings an eventfd. No
  thread of ours has to wake, and none wants the interpreter's lock.
- `ThreadSyncer`: a thread waits in `fdatasync`. It works everywhere, and costs two changes of the interpreter's lock:
  little beside the sync of a slow disk, more than a sync of 100 µs is worth.

Linux AIO is missing, forbidden (a container's seccomp filter), used up (fs.aio-max-nr) or half there in more ways than
a list could name. So a `KernelSyncer` syncs something once before it is trusted with a commit, and `best_syncer` takes
the thread for whatever goes wrong with that.

Rejected: io_uring (the kernel does a fsync in a worker just the same, and many systems forbid it); AIO writes past the
page cache (O_DIRECT: 5 to 20 % off the sync, for buffers aligned by hand and a last block that is written again).
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import select
import threading
from collections.abc import Iterator
from typing import Any, Protocol

from kvstore.base.disk import File, RealFile

_PROOF_MS = 1000


class Syncer(Protocol):
    """See the module. One sync at a time."""

    def fileno(self) -> int:
        """A descriptor that becomes readable when the sync begun has ended."""

    def begin(self, file: File) -> None:
        """Start to sync `file`. Raises OSError if that could not be started; then nothing is under way."""

    def finish(self) -> bool:
        """Whether the sync begun has ended well.

        Raises OSError if it has failed: then nothing is known of what is on disk, and it must not be tried again.
        """

    def close(self) -> None:
        """Give the descriptor back. No sync may be under way."""


class KernelSyncer:
    """See the module. Raises OSError, ImportError if this system has no such thing."""

    def __init__(self) -> None:
        linux_aio = importlib.import_module("caio.linux_aio")  # says why it cannot be had; `from caio` gives None
        self._new_operation = linux_aio.Operation.fdsync
        with _as_os_errors():
            self._context: Any = linux_aio.Context(1)
        self._ended: list[int] = []
        self._operation: Any = None
        self._prove()

    def _prove(self) -> None:
        """Sync a file in memory, from begin to end."""
        file = RealFile(os.memfd_create("kvstore-sync", os.MFD_CLOEXEC))
        try:
            self.begin(file)
            bell = select.poll()
            bell.register(self.fileno(), select.POLLIN)
            if not (bell.poll(_PROOF_MS) and self.finish()):
                raise OSError(errno.ETIMEDOUT, "the kernel took a request to sync, and has not told its end")
        finally:
            file.close()

    def fileno(self) -> int:
        """See `Syncer`."""
        number: int = self._context.fileno
        return number

    def begin(self, file: File) -> None:
        """See `Syncer`."""
        operation = self._new_operation(file.fileno())
        operation.set_callback(self._ended.append)
        with _as_os_errors():
            taken = self._context.submit(operation)
        if taken != 1:
            raise OSError("the kernel did not take the request to sync")
        self._operation = operation

    def finish(self) -> bool:
        """See `Syncer`."""
        with contextlib.suppress(BlockingIOError):
            self._context.poll()
        with _as_os_errors():
            self._context.process_events()
        if not self._ended:
            return False
        result = self._ended.pop()
        self._operation = None
        if result:  # minus the error's number, as the kernel gives it in 64 bits without a sign
            number = 2**64 - result
            raise OSError(number, os.strerror(number))
        return True

    def close(self) -> None:
        """See `Syncer`."""
        self._context = None


@contextlib.contextmanager
def _as_os_errors() -> Iterator[None]:
    """Errors of io_setup, io_submit and io_getevents, as that library raises them: SystemError, OverflowError, ..."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(*error.args) from error


class ThreadSyncer:
    """See the module. The thread is a daemon: it keeps no process alive. Raises OSError if there can be none."""

    def __init__(self) -> None:
        self._readable, self._writable = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._file: File | None = None
        self._error: Exception | None = None
        self._wake = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, name="kvstore-sync", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            self._close_pipe()
            raise OSError(errno.EAGAIN, str(error)) from error

    def fileno(self) -> int:
        """See `Syncer`."""
        return self._readable

    def begin(self, file: File) -> None:
        """See `Syncer`."""
        self._file = file
        self._error = None
        self._wake.release()

    def _run(self) -> None:
        while True:
            self._wake.acquire()
            file = self._file
            if file is None:
                return
            try:
                file.sync()
            except Exception as error:  # whatever it is: who waits for the bell must hear of it
                self._error = error
            os.write(self._writable, b"\0")

    def finish(self) -> bool:
        """See `Syncer`."""
        try:
            os.read(self._readable, 1)
        except BlockingIOError:
            return False
        if self._error is not None:
            raise self._error
        return True

    def close(self) -> None:
        """See `Syncer`."""
        self._file = None
        self._wake.release()
        self._thread.join()
        self._close_pipe()

    def _close_pipe(self) -> None:
        os.close(self._readable)
        os.close(self._writable)


def best_syncer() -> tuple[Syncer, str]:
    """The kernel's if it works here, else a thread; and what is wrong with the kernel's, "" if nothing is.

    Raises OSError if there can be neither.
    """
    try:
        return KernelSyncer(), ""
    except Exception as error:  # whatever it is, a thread does without
        return ThreadSyncer(), str(error) or repr(error)
