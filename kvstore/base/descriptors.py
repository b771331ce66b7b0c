"""The three descriptors that every process is to have. For the server and the tools, before they open anything.

One that is closed at the start (`>&-`, some supervisors) is given to the next file that is opened, the log of the data
or a client's socket: and whatever is printed for people is written into that.
"""

from __future__ import annotations

import os


def open_closed_descriptors() -> None:
    """Open standard input, output and error on /dev/null where they are closed. To be called before others are opened.

    Children inherit them.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
