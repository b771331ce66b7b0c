"""A server and who measures it, each with processors of its own for a while.

Left to the scheduler they meet on one processor now and then, and a request waits until the other has had its time.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from scripts.measuring.servers import MeasuredServer


@contextlib.contextmanager
def apart(server: MeasuredServer) -> Iterator[None]:
    """While this lasts the server has the first processor that we may use, this process and its children the others.

    Afterwards all have all. With one processor nothing is done.
    """
    every = os.sched_getaffinity(0)
    first = {min(every)}
    if every == first:
        yield
        return
    os.sched_setaffinity(server.pid, first)
    os.sched_setaffinity(0, every - first)
    try:
        yield
    finally:
        os.sched_setaffinity(0, every)
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(server.pid, every)
