"""A link with a delay, as a process: python -m scripts.experimenting.wire LEFT RIGHT DELAY_MS.

LEFT and RIGHT are descriptors of TUN devices without packet information (the kernel's Documentation/networking/tuntap),
inherited. What comes out of one goes into the other DELAY_MS later, in order, whole, and nothing is lost here. The
delay counts from when the packet is read: while this process is busy or waits for a processor, it is longer. Runs until
it is killed, or a device is gone.
"""

from __future__ import annotations

import ctypes
import os
import select
import sys
import time
from collections import deque

_PACKET_BYTES = 65536

#: Packets read from one side before looking at the other again, and at what is due.
_TURN_PACKETS = 32

_PR_SET_TIMERSLACK = 29


def carry(left: int, right: int, delay_ns: int) -> None:
    """Carry packets between two descriptors that do not block. Raises OSError when one fails."""
    clock = time.perf_counter_ns
    waiting: deque[tuple[int, int, bytes]] = deque()  # due, where to, packet: one delay for both sides keeps the order
    while True:
        pause = max(0, waiting[0][0] - clock()) / 1e9 if waiting else None
        # select, not epoll: its timeout is in microseconds, epoll's in milliseconds.
        for descriptor in select.select([left, right], [], [], pause)[0]:
            _take(descriptor, left if descriptor == right else right, delay_ns, waiting)
        now = clock()
        while waiting and waiting[0][0] <= now:
            _, descriptor, packet = waiting.popleft()
            os.write(descriptor, packet)


def _take(descriptor: int, other: int, delay_ns: int, waiting: deque[tuple[int, int, bytes]]) -> None:
    """Read what is there, up to a turn's worth."""
    try:
        for _ in range(_TURN_PACKETS):
            packet = os.read(descriptor, _PACKET_BYTES)
            waiting.append((time.perf_counter_ns() + delay_ns, other, packet))
    except BlockingIOError:
        pass


def main() -> None:
    """The program."""
    left, right, delay_ms = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)  # nanoseconds; 50,000 by default
    carry(left, right, int(delay_ms * 1e6))


if __name__ == "__main__":
    main()
