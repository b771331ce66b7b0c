"""Where server and clients are: on this host, or on two hosts on one machine: network namespaces with a link between.

A namespace made here has no name. It exists as long as a process is in it or a descriptor of it is open, so that
nothing is left when this program ends, however that ends; the machine's own network is not touched at all. A process
that is started, or a socket that is opened, inside `Host.inside()` belongs to that host for good.

The link is a TUN device on each host and a process between them, `wire.c`, which hands each packet on when its time has
come. To both kernels that is an ordinary link with that delay: TCP's round trips, windows and acknowledgements are
real. It costs processor time, which is measured, and a delay of 0 shows what it does. Rejected: netem (tc-netem(8)),
since not every kernel has it, and the figures should not depend on which; a relay of TCP connections with pauses, which
hides the distance from TCP and would be what is measured.

The addresses are of TEST-NET-1 (RFC 5737), which belongs to nobody. Two hosts need root, Linux, and ip (iproute2).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from kvstore.base.address import Address
from scripts.measuring.generator import compile_c
from scripts.measuring.processes import die_with_parent

SERVER_ADDRESS, CLIENTS_ADDRESS = "192.0.2.1", "192.0.2.2"
_PREFIX_BITS = 30
_PORT = 6380

_CLONE_NEWNET = 0x40000000  # sched.h
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000  # linux/if_tun.h
_TUN = "/dev/net/tun"
_DEVICE = "kv0"

#: Packets that may wait in a device for the wire; more are lost.
_QUEUE_PACKETS = 10_000

_libc = ctypes.CDLL(None, use_errno=True)


class NoNetwork(Exception):
    """The hosts cannot be made here; the text says why and what to do."""


def _call(name: str, *arguments: int) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise NoNetwork(f"{name}: {os.strerror(number)}" + (": be root" if number == errno.EPERM else ""))


class Host:
    """A network namespace of its own, in which only loopback is up. Raises NoNetwork."""

    def __init__(self) -> None:
        self._home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            _call("unshare", _CLONE_NEWNET)
            self._descriptor = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
            _call("setns", self._home, _CLONE_NEWNET)
        except BaseException:
            os.close(self._home)
            raise

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Be on this host meanwhile: what this thread starts and opens belongs there."""
        _call("setns", self._descriptor, _CLONE_NEWNET)
        try:
            yield
        finally:
            _call("setns", self._home, _CLONE_NEWNET)

    def link(self, address: str) -> int:
        """Give this host a TUN device with an address; returns the descriptor of its other side. Raises NoNetwork."""
        with self.inside():
            try:
                descriptor = os.open(_TUN, os.O_RDWR | os.O_NONBLOCK)
                fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", _DEVICE.encode(), _IFF_TUN | _IFF_NO_PI))
            except OSError as error:
                raise NoNetwork(f"{_TUN}: {error.strerror}") from error
            _ip("link", "set", "lo", "up")
            _ip("link", "set", _DEVICE, "txqueuelen", str(_QUEUE_PACKETS))
            _ip("address", "add", f"{address}/{_PREFIX_BITS}", "dev", _DEVICE)
            _ip("link", "set", _DEVICE, "up")
        return descriptor

    def close(self) -> None:
        """Let go of it: it ends when no process is in it any more."""
        os.close(self._descriptor)
        os.close(self._home)


def _ip(*words: str) -> None:
    try:
        subprocess.run(["ip", *words], check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise NoNetwork("ip is not installed (Debian: iproute2)") from None
    except subprocess.CalledProcessError as error:
        raise NoNetwork(f"ip {' '.join(words)}: {error.stderr.strip()}") from error


@dataclass(frozen=True)
class Place:
    """Where server and clients are: hosts, of which None is this one. `address`: where the clients find the server,
    None for where it listens anyway; `server_options`: so that it does. `link_pids`: processes between them.
    """

    server: Host | None = None
    clients: Host | None = None
    address: Address | None = None
    server_options: Sequence[str] = ()
    link_pids: Sequence[int] = ()

    def at_server(self) -> AbstractContextManager[None]:
        """Be where the server is."""
        return self.server.inside() if self.server else nullcontext()

    def at_clients(self) -> AbstractContextManager[None]:
        """Be where the clients are."""
        return self.clients.inside() if self.clients else nullcontext()


@contextmanager
def place(delay_ms: float | None, directory: Path) -> Iterator[Place]:
    """This host, or with a delay (one way) two others. `directory`: for the compiled wire.

    Raises NoNetwork, NoCompiler.
    """
    if delay_ms is None:
        yield Place()
        return
    program = compile_c(Path(__file__).with_name("wire.c"), directory / "wire")
    with closing(Host()) as server, closing(Host()) as clients, ExitStack() as cleanup:
        ends = [server.link(SERVER_ADDRESS), clients.link(CLIENTS_ADDRESS)]
        for end in ends:
            cleanup.callback(os.close, end)
        words = [str(program), *map(str, ends), str(round(delay_ms * 1000))]
        wire = subprocess.Popen(words, stdin=subprocess.DEVNULL, pass_fds=ends, preexec_fn=die_with_parent)
        cleanup.callback(wire.wait)
        cleanup.callback(wire.kill)
        options = ("--listen", f"tcp:{_PORT}:interface={SERVER_ADDRESS}")
        yield Place(server, clients, Address(SERVER_ADDRESS, _PORT), options, [wire.pid])
