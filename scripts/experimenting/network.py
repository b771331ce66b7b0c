"""Two hosts on one machine: network namespaces, and what joins them.

A namespace made here has no name. It exists as long as a process is in it or a descriptor of it is open, so that
nothing is left when this program ends, however that ends; the machine's own network is not touched at all. A process
that is started, or a socket that is opened, inside `Host.inside()` belongs to that host for good, wherever its maker
goes on: so the measuring program itself can ask a server over there.

Joined they are by a veth pair. A delay is the kernel's, where it has netem (tc-netem(8)) and tc is installed. Where it
has not, the hosts are joined by a pair of TUN devices instead, and the process between them, `wire`, hands each packet
on when its time has come. To both kernels that is an ordinary link with that delay: TCP's round trips, windows and
acknowledgements are real. But it costs processor time, which is measured and given with the figures.

The addresses are of TEST-NET-1 (RFC 5737), which belongs to nobody. Needs root, Linux, and ip (Debian: iproute2).

Rejected: named namespaces (`ip netns add`), which stay when a program is killed; a relay of TCP connections with
pauses, which hides the distance from TCP and would be what is measured.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import TracebackType
from typing import Self

from kvstore.base.address import Address
from kvstore.testing.server_process import environment
from scripts.measuring.servers import MeasuredServer, die_with_parent

SERVER_ADDRESS = "192.0.2.1"
CLIENTS_ADDRESS = "192.0.2.2"
_PREFIX_BITS = 30
_PORT = 6380

_CLONE_NEWNET = 0x40000000  # sched.h
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000  # linux/if_tun.h
_DEVICE = "kv0"

#: Packets that may wait in a TUN device for the wire; more are lost.
_TUN_QUEUE_PACKETS = 10_000

_libc = ctypes.CDLL(None, use_errno=True)


class NoNetwork(Exception):
    """The hosts cannot be made here; the text says why and what to do."""


def _call(name: str, *arguments: int) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise NoNetwork(f"{name}: {os.strerror(number)}" + (": be root" if number == errno.EPERM else ""))


def _run(*words: str, keep: tuple[int, ...] = ()) -> None:
    """Run a command here and now. Raises NoNetwork with what it said."""
    try:
        subprocess.run(words, check=True, capture_output=True, text=True, pass_fds=keep)
    except FileNotFoundError:
        raise NoNetwork(f"{words[0]} is not installed (Debian: iproute2)") from None
    except subprocess.CalledProcessError as error:
        raise NoNetwork(f"{' '.join(words)}: {error.stderr.strip()}") from error


class Host:
    """A network namespace of its own, in which only loopback is up. Raises NoNetwork."""

    def __init__(self) -> None:
        self._home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            _call("unshare", _CLONE_NEWNET)
            self.descriptor = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
            try:
                _run("ip", "link", "set", "lo", "up")
            finally:
                _call("setns", self._home, _CLONE_NEWNET)
        except BaseException:
            os.close(self._home)
            raise

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Be on this host meanwhile: what this thread starts and opens belongs there."""
        _call("setns", self.descriptor, _CLONE_NEWNET)
        try:
            yield
        finally:
            _call("setns", self._home, _CLONE_NEWNET)

    def run(self, *words: str, keep: tuple[int, ...] = ()) -> None:
        """Run a command on this host. Raises NoNetwork."""
        with self.inside():
            _run(*words, keep=keep)

    def address(self, address: str) -> None:
        """Give this host's end of the link an address, and switch it on."""
        self.run("ip", "address", "add", f"{address}/{_PREFIX_BITS}", "dev", _DEVICE)
        self.run("ip", "link", "set", _DEVICE, "up")

    def close(self) -> None:
        """Let go of it: it ends when no process is in it any more."""
        os.close(self.descriptor)
        os.close(self._home)


class TwoHosts:
    """A host for the server and one for the clients, and the link between. A context manager.

    `delay_ms`: one way. `by_wire`: join them by the process even if it could be done otherwise (to see what it costs).
    `link`: says what joins them. `wire_pid`: of that process, if there is one. Raises NoNetwork.
    """

    def __init__(self, delay_ms: float, *, by_wire: bool = False) -> None:
        self.delay_ms = delay_ms
        self.wire_pid: int | None = None
        self._cleanup = ExitStack()
        try:
            self.server = self._host()
            self.clients = self._host()
            self._wire_ends: list[int] = []
            self.link = self._join(by_wire)
            self.server.address(SERVER_ADDRESS)
            self.clients.address(CLIENTS_ADDRESS)
            if self._wire_ends:
                self._start_wire()  # now that both ends are up: a device that is not takes no packet
        except BaseException:
            self._cleanup.close()
            raise

    # What a run needs to know of the place (see `places`)

    @property
    def server_options(self) -> Sequence[str]:
        """Options of the server, so that the clients reach it."""
        return ["--listen", f"tcp:{_PORT}:interface={SERVER_ADDRESS}"]

    def target(self, server: MeasuredServer) -> Address:
        """Where the clients find the server."""
        return Address(SERVER_ADDRESS, _PORT)

    def at_server(self) -> AbstractContextManager[None]:
        """Be on the server's host."""
        return self.server.inside()

    def at_clients(self) -> AbstractContextManager[None]:
        """Be on the clients' host."""
        return self.clients.inside()

    @property
    def link_pids(self) -> Sequence[int]:
        """Processes that belong to the link."""
        return [] if self.wire_pid is None else [self.wire_pid]

    def _host(self) -> Host:
        host = Host()
        self._cleanup.callback(host.close)
        return host

    def _join(self, by_wire: bool) -> str:
        if by_wire:
            return self._join_by_tun()
        self._join_by_veth()
        if not self.delay_ms:
            return "veth"
        if self._delay_by_netem():
            return "veth, netem"
        self.server.run("ip", "link", "delete", _DEVICE)
        return self._join_by_tun()

    def _join_by_veth(self) -> None:
        there = self.clients.descriptor
        words = ["ip", "link", "add", _DEVICE, "type", "veth", "peer", "name", _DEVICE]
        # iproute2 opens what has a slash in it as a file; the descriptor is handed down to it.
        self.server.run(*words, "netns", f"/proc/self/fd/{there}", keep=(there,))

    def _delay_by_netem(self) -> bool:
        if shutil.which("tc") is None:
            return False
        try:
            for host in (self.server, self.clients):
                host.run("tc", "qdisc", "add", "dev", _DEVICE, "root", "netem", "delay", f"{self.delay_ms}ms",
                         "limit", str(_TUN_QUEUE_PACKETS))  # fmt: skip
        except NoNetwork:
            return False  # this kernel was built without it
        return True

    def _join_by_tun(self) -> str:
        for host in (self.server, self.clients):
            self._wire_ends.append(self._tun(host))
            self._cleanup.callback(os.close, self._wire_ends[-1])
        return "TUN wire"

    def _start_wire(self) -> None:
        ends = self._wire_ends
        words = [sys.executable, "-m", "scripts.experimenting.wire", *map(str, ends), str(self.delay_ms)]
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, env=environment(), pass_fds=ends, preexec_fn=die_with_parent
        )
        self._cleanup.callback(process.wait)
        self._cleanup.callback(process.kill)
        self.wire_pid = process.pid

    def _tun(self, host: Host) -> int:
        """A TUN device on a host; returns the descriptor of its other side."""
        with host.inside():
            try:
                descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
                flags = struct.pack("16sH22x", _DEVICE.encode(), _IFF_TUN | _IFF_NO_PI)
                fcntl.ioctl(descriptor, _TUNSETIFF, flags)
            except OSError as error:
                raise NoNetwork(f"no delay: this kernel has no netem, and /dev/net/tun: {error.strerror}") from error
        host.run("ip", "link", "set", _DEVICE, "txqueuelen", str(_TUN_QUEUE_PACKETS))
        return descriptor

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._cleanup.close()
