"""Has the kernel refuse system calls to a server, as a container's seccomp filter does. For Linux on x86-64 and arm64.

    PYTHONPATH=tests/kit/refused REFUSED_CALLS=io_setup:EPERM .venv/bin/twistd -n kvstore

Python imports this before anything else if its directory is in PYTHONPATH (see the module `site`). The filter is
seccomp(2)'s, for this process and its children, and cannot be taken off again. `io_setup:EPERM,io_submit:EAGAIN`
refuses two calls, each with an error of its own. SLOW_SYNCS_S=0.005: syncs that a thread of Python waits for take so
much longer, as on a slow disk.
"""

import ctypes
import errno
import os
import struct
import time

#: Of the calls that may be refused: on x86-64 and on arm64.
CALLS = {"io_setup": (206, 0), "io_submit": (209, 2), "io_getevents": (208, 4), "memfd_create": (319, 279)}
MACHINES = ("x86_64", "aarch64")

_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _SECCOMP_MODE_FILTER = 22, 38, 2
_RET_ERRNO, _RET_ALLOW = 0x00050000, 0x7FFF0000
_LOAD_WORD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06


def refuse(wanted: str) -> None:
    """Refuse calls from now on. `wanted`: `CALL:ERROR,...`. Raises OSError, ValueError where that cannot be done."""
    machine = MACHINES.index(os.uname().machine)
    program = [(_LOAD_WORD, 0, 0, 0)]  # the number of the call
    for word in wanted.split(","):
        call, error = word.split(":")
        program.append((_JUMP_IF_EQUAL, 0, 1, CALLS[call][machine]))
        program.append((_RETURN, 0, 0, _RET_ERRNO | getattr(errno, error)))
    program.append((_RETURN, 0, 0, _RET_ALLOW))
    instructions = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *one) for one in program))
    header = struct.pack("HL", len(program), ctypes.addressof(instructions))
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in ((_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, header, 0, 0)):
        if libc.prctl(*arguments):
            raise OSError(ctypes.get_errno(), "prctl")


if os.environ.get("REFUSED_CALLS"):
    refuse(os.environ["REFUSED_CALLS"])

if os.environ.get("SLOW_SYNCS_S"):
    fast, slower_s = os.fdatasync, float(os.environ["SLOW_SYNCS_S"])

    def slow(descriptor: int) -> None:
        """Sync, late."""
        time.sleep(slower_s)
        fast(descriptor)

    os.fdatasync = slow
