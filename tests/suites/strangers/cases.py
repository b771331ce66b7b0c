"""What each kind of stranger does, and what it must be answered: nothing but errors.

A case is a function that is given the server (`Target`); it does its worst once and raises Violation where it got more
than it should. `CASES` has them in the order of the report.
"""

from __future__ import annotations

import contextlib
import errno
import selectors
import socket
import ssl
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import hiredis

from kvstore.base.limits import STRANGER_BYTES
from kvstore.client.raw import resp_request
from kvstore.testing.server_process import ServerProcess
from tests.suites.soak.sockets import Conversation, Server

PASSWORD = "an open secret of these tests"
#: Where the crowd comes from: an address of this machine that nobody else uses.
CROWD_ADDRESS = "127.0.0.9"
CROWD = 20_000
#: Most connections of one address that the server takes.
CROWD_LIMIT = 1_000
_AT_ONCE = 300
#: The last to those who stayed too long without saying who they are.
_TOLD_TO_THE_CROWD = {b"-ERR max number of clients of one address reached\r\n", b"ConnectionResetError"}
_PATIENCE_S = 30.0
_MIB = 1 << 20


class Violation(AssertionError):
    """A stranger got more than an error."""


class Target(NamedTuple):
    """The server. `tls_port`: where it speaks TLS, and asks for a certificate of the client."""

    process: ServerProcess
    port: int
    tls_port: int
    authority: str

    def stranger(self) -> Conversation:
        """A connection that has said nothing."""
        return Conversation(Server(self.port).plain(_PATIENCE_S))

    def known(self, user: str = "default", password: str = PASSWORD) -> Conversation:
        """One that has said who it is."""
        conversation = self.stranger()
        expect(conversation.ask("AUTH", user, password), b"OK")
        return conversation


def expect(reply: object, wanted: object) -> None:
    """Raise Violation unless `reply` is that; of an error its beginning."""
    told = str(reply) if isinstance(reply, hiredis.ReplyError) else reply
    if told != wanted and not (isinstance(told, str) and isinstance(wanted, str) and told.startswith(wanted)):
        raise Violation(f"{told!r} instead of {wanted!r}")


def closed(connection: socket.socket, data: bytes, most: int = 1000) -> bytes:
    """Send something and read to the end, which must come. Returns what was answered."""
    with contextlib.suppress(OSError):  # it may be refused before all is sent
        connection.sendall(data)
    answer = b""
    try:
        while piece := connection.recv(4096):
            answer += piece
            if len(answer) > most:
                raise Violation(f"{data[:50]!r} is answered by {len(answer)} bytes: {answer[:100]!r}")
    except TimeoutError:
        raise Violation(f"{data[:50]!r}: not closed in {_PATIENCE_S} s; answered {answer[:100]!r}") from None
    except OSError as error:
        if error.errno not in (errno.ECONNRESET, errno.EPIPE):
            raise
    finally:
        connection.close()
    return answer


_REQUESTS: Sequence[tuple[str, ...]] = (
    ("PING",), ("GET", "k"), ("SET", "k", "v"), ("KEYS", "*"), ("CONFIG", "GET", "*"), ("FLUSHALL",), ("MULTI",),
    ("SUBSCRIBE", "c"), ("EVAL", "return 1", "0"), ("CLIENT", "LIST"), ("SHUTDOWN",), ("ACL", "LIST"), ("HELLO", "3"),
    ("MONITOR",), ("DEBUG", "SLEEP", "10"), ("NOSUCH",), ("INFO",), ("BLPOP", "k", "0"), ("COMMAND",),
)  # fmt: skip


def no_password(target: Target) -> None:
    """Requests of all kinds, without a word of who it is."""
    stranger = target.stranger()
    for words in _REQUESTS:
        expect(stranger.ask(*words), "NOAUTH ")
    for line in (b'{"method":"size"}\r\n', b"insert k 1\r\n", b"size\r\n"):
        stranger.socket.sendall(line)
        answer = stranger.socket.recv(4096)
        if b'"failure"' not in answer and b"NOAUTH" not in answer:
            raise Violation(f"{line!r} is answered by {answer!r}")
    stranger.close()


def wrong_password(target: Target) -> None:
    """A hundred of them."""
    stranger = target.stranger()
    for number in range(100):
        expect(stranger.ask("AUTH", "default", f"{PASSWORD}{number}"), "WRONGPASS ")
        expect(stranger.ask("HELLO", "3", "AUTH", f"user{number}", PASSWORD), "WRONGPASS ")
    expect(stranger.ask("GET", "k"), "NOAUTH ")
    stranger.close()


def too_little_right(target: Target) -> None:
    """A user who may GET keys of one pattern and hear one channel: other commands, keys and channels."""
    user = target.known("reader", "reader")
    expect(user.ask("GET", "data:none"), None)
    for words in (
        ("GET", "k"), ("MGET", "data:1", "k"), ("SET", "data:1", "v"), ("CONFIG", "GET", "*"), ("PUBLISH", "news", "x"),
        ("ACL", "SETUSER", "reader", "+@all"), ("FLUSHALL",),
        ("SUBSCRIBE", "secrets"), ("PSUBSCRIBE", "*"),
    ):  # fmt: skip
        expect(user.ask(*words), "NOPERM ")
    expect(user.ask("EVAL", "return redis.call('SET', 'data:1', 1)", "0"), "ERR ACL failure in script: ")
    expect(user.ask("SUBSCRIBE", "news"), [b"subscribe", b"news", 1])
    user.close()


_PROBES: Sequence[bytes] = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\nSET k v\r\nFLUSHALL\r\n",
    b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + bytes(160),
    b"*1\r\n$99999999999\r\n",
    b"*99999999\r\n",
    b"*-2\r\n*1\r\n$-1\r\n",
    b"x" * 70_000,
    b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n:5\r\n",
    b"*1\r\n" + b"$" + b"1" * 70_000,
)
#: What is answered, or not; the connection may stay, for what else may come.
_SHRUGS: Sequence[bytes] = (
    b"OPTIONS / RTSP/1.0\r\n\r\n",
    b"\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n", b"EHLO x\r\n", b"HELP\r\n", b"\x00" * 64 + b"\n",
    b"\x80\x80\x01\x03\x01\n",
    b"\xff\xfb\x01\xff\xfd\x03\r\n", b"version\r\n", b"stats\r\n", b"\x00\x1e\x00\x06\x01\x00\x00\x01\n",
    b"{" * 5000 + b"\n", b"*-1\r\n", b"$3\r\nabc\r\n", b"USER anonymous\r\n", b"l\x00\x0b\n",
)  # fmt: skip


def probes(target: Target) -> None:
    """HTTP, a TLS hello, other protocols' greetings and lengths that lie, as scanners of ports send them."""
    for data in _PROBES:
        answer = closed(Server(target.port).plain(_PATIENCE_S), data)
        if answer and not all(line.startswith(b"-") for line in answer.splitlines()):
            raise Violation(f"{data[:50]!r} is answered by {answer[:100]!r}")
    for data in _SHRUGS:
        connection = Server(target.port).plain(_PATIENCE_S)
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        answer = closed(connection, b"")
        is_refused = any(word in answer for word in (b"NOAUTH", b"-ERR", b'"result":"'))
        if not is_refused and answer.strip(b"\r\n\xff\xfc\xfe\x01\x03"):  # telnet's own are answered in kind
            raise Violation(f"{data[:50]!r} is answered by {answer[:100]!r}")
        if b"success" in answer:
            raise Violation(f"{data[:50]!r} succeeded: {answer[:100]!r}")


def at_the_tls_port(target: Target) -> None:
    """Plain text, HTTP, a client without a certificate; none is heard."""
    for data in (resp_request("AUTH", PASSWORD), _PROBES[0]):
        answer = closed(Server(target.tls_port).plain(_PATIENCE_S), data)
        if b"OK" in answer or b"NOAUTH" in answer:
            raise Violation(f"plain text at the TLS port is answered: {answer[:100]!r}")
    context = ssl.create_default_context(cafile=target.authority)
    plain = Server(target.tls_port).plain(_PATIENCE_S)
    try:
        with context.wrap_socket(plain, server_hostname="127.0.0.1") as wire:
            wire.sendall(b"PING\r\n")
            answer = wire.recv(100)
    except (ssl.SSLError, ConnectionResetError, BrokenPipeError):
        return
    finally:
        plain.close()
    raise Violation(f"without a certificate it is answered {answer!r}")


def redis_cli(target: Target) -> None:
    """Without a password, with a wrong one, with the right one."""
    for options, wanted in (
        ((), "NOAUTH"), (("-a", "wrong"), "NOAUTH"), (("-a", PASSWORD), "PONG"),
    ):  # fmt: skip
        words = ["redis-cli", "-p", str(target.port), "--no-auth-warning", *options, "PING"]
        said = subprocess.run(words, capture_output=True, text=True, timeout=_PATIENCE_S, check=False)
        if wanted not in said.stdout + said.stderr:
            raise Violation(f"redis-cli {options} says {said.stdout + said.stderr!r}")


def crowd(target: Target) -> None:
    """20,000 connections from one address, as many of them open at once as the server keeps; then somebody else."""
    with selectors.DefaultSelector() as selector:
        try:
            answers = _come(selector, target.port)
            if not answers.keys() <= _TOLD_TO_THE_CROWD:
                raise Violation(f"the crowd heard {dict(answers)}")
            other = target.known()
            expect(other.ask("PING"), b"PONG")
            other.close()
        finally:
            for key in selector.get_map().values():
                assert isinstance(key.fileobj, socket.socket)
                key.fileobj.close()


def _come(selector: selectors.BaseSelector, port: int) -> Counter[bytes]:
    """The crowd connects, some hundred at once, and all that may not stay are told so: what are they told?

    Those who stay are left in the selector. Raises Violation if somebody hears nothing for too long.
    """
    answers: Counter[bytes] = Counter()
    begun, moved = 0, time.monotonic()
    while sum(answers.values()) < CROWD - CROWD_LIMIT:
        while begun < CROWD and begun - sum(answers.values()) < CROWD_LIMIT + _AT_ONCE:
            _begin(selector, port)
            begun += 1
        for key, _ in selector.select(1):
            assert isinstance(key.fileobj, socket.socket)
            selector.unregister(key.fileobj)
            answers[_heard(key.fileobj)] += 1
            key.fileobj.close()
            moved = time.monotonic()
        if time.monotonic() > moved + _PATIENCE_S:
            raise Violation(f"of {begun} connections {begun - sum(answers.values())} hear nothing")
    return answers


def _begin(selector: selectors.BaseSelector, port: int) -> None:
    connection = socket.socket()
    connection.setblocking(False)
    connection.bind((CROWD_ADDRESS, 0))
    connection.connect_ex(("127.0.0.1", port))
    selector.register(connection, selectors.EVENT_READ)


def _heard(connection: socket.socket) -> bytes:
    try:
        return connection.recv(1000)
    except OSError as error:
        return type(error).__name__.encode()


def slow_reader(target: Target) -> None:
    """A gigabyte asked for and nothing read; a subscriber who reads nothing; a stranger who reads no errors."""
    before = target.process.resident_bytes()
    writer = target.known()
    expect(writer.ask("SET", "large", "x" * _MIB), b"OK")
    slow = [target.known() for _ in range(4)]
    for each in slow:
        each.socket.sendall(resp_request("GET", "large") * 250)
    subscriber = target.known()
    subscriber.send("SUBSCRIBE", "news")
    for _ in range(60):
        writer.ask("PUBLISH", "news", "x" * _MIB)
    stranger = target.stranger()
    stranger.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    with contextlib.suppress(OSError):
        for _ in range(100):
            stranger.socket.sendall(b"PING\r\n" * 10_000)
    growth = target.process.resident_bytes() - before
    for each in (*slow, subscriber, stranger, writer):
        each.close()
    if growth > 200 * _MIB:
        raise Violation(f"readers who read nothing take {growth // _MIB} MiB")


def giant_request(target: Target) -> None:
    """Of a stranger, past the little that it may have; of a client, past the limit; lines without an end."""
    begins = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$60000000\r\n"
    answer = closed(Server(target.port).plain(_PATIENCE_S), begins + b"x" * (4 * STRANGER_BYTES))
    if answer and not answer.startswith(b"-ERR Protocol error: "):
        raise Violation(f"a stranger's giant is answered {answer!r}")
    limit = 64 * _MIB
    for data in (
        b"*2\r\n$4\r\nECHO\r\n$%d\r\n" % (limit + 1), b"*1048577\r\n", b"insert k " + b"1" * (limit + 1), b"x" * 70_000,
    ):  # fmt: skip
        client = target.known()
        answer = closed(client.socket, data)
        if answer and not answer.startswith(b"-ERR Protocol error: "):
            raise Violation(f"{data[:30]!r} is answered {answer[:100]!r}")


CASES: dict[str, Callable[[Target], None]] = {
    "nobody": lambda target: time.sleep(0.2),
    "no password": no_password,
    "a wrong password": wrong_password,
    "too little right, by command, key and channel": too_little_right,
    "HTTP, a TLS hello, probes of a port scanner": probes,
    "plain text, HTTP and no certificate at the TLS port": at_the_tls_port,
    "redis-cli": redis_cli,
    f"{CROWD:,} connections from one address": crowd,
    "slow readers": slow_reader,
    "giant requests": giant_request,
}
