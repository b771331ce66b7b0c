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
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import Self

from kvstore.base.address import Address
from scripts.measuring.generator import compile_c
from scripts.measuring.servers import MeasuredServer, die_with_parent

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


class OneHost:
    """Server and clients on this host; what a run has to know of the place. `link_pids`: processes between them."""

    server_options: Sequence[str] = ()
    link_pids: Sequence[int] = ()

    def target(self, server: MeasuredServer) -> Address:
        """Where the clients find the server."""
        return server.address

    def at_server(self) -> AbstractContextManager[None]:
        """Be where the server is."""
        return nullcontext()

    def at_clients(self) -> AbstractContextManager[None]:
        """Be where the clients are."""
        return nullcontext()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """There is nothing to undo."""


class TwoHosts(OneHost):
    """A host for the server and one for the clients. `delay_ms`: one way. `directory`: for the compiled wire.

    Raises NoNetwork, NoCompiler.
    """

    server_options = ("--listen", f"tcp:{_PORT}:interface={SERVER_ADDRESS}")

    def __init__(self, delay_ms: float, directory: Path) -> None:
        self._cleanup = ExitStack()
        try:
            program = compile_c(Path(__file__).with_name("wire.c"), directory / "wire")
            self._server, self._clients = (self._cleanup.enter_context(_closing(Host())) for _ in range(2))
            ends = [self._server.link(SERVER_ADDRESS), self._clients.link(CLIENTS_ADDRESS)]
            for end in ends:
                self._cleanup.callback(os.close, end)
            words = [str(program), *map(str, ends), str(round(delay_ms * 1000))]
            process = subprocess.Popen(words, stdin=subprocess.DEVNULL, pass_fds=ends, preexec_fn=die_with_parent)
            self._cleanup.callback(process.wait)
            self._cleanup.callback(process.kill)
            self.link_pids = [process.pid]
        except BaseException:
            self._cleanup.close()
            raise

    def target(self, server: MeasuredServer) -> Address:
        """Where the clients find the server."""
        return Address(SERVER_ADDRESS, _PORT)

    def at_server(self) -> AbstractContextManager[None]:
        """Be on the server's host."""
        return self._server.inside()

    def at_clients(self) -> AbstractContextManager[None]:
        """Be on the clients' host."""
        return self._clients.inside()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._cleanup.close()


@contextmanager
def _closing(host: Host) -> Iterator[Host]:
    try:
        yield host
    finally:
        host.close()
