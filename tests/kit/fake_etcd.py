"""An etcd in memory, behind transports without sockets: as many nodes as a test wants, each well or ill in its way.

It does what a transaction asks for, with etcd's own meaning of it, and what a watch. All its nodes have one state.
"""

from __future__ import annotations

import base64
import re
from enum import Enum
from typing import Any

import orjson
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from kvstore.edge.etcd.login import Login
from kvstore.edge.etcd.places import Place

#: How long an answer takes, in seconds.
ANSWER_S = 0.01


class Health(Enum):
    """How a node is."""

    WELL = "it does what is asked, and answers"
    REFUSES = "nobody listens"
    UNREACHABLE = "no connection comes to be, and nobody says so"
    SILENT = "it does nothing, and says nothing"
    MUTE = "it does what is asked, and does not answer"
    ERRORS = "it answers with an error"
    FULL = "it is past its quota"
    NONSENSE = "it does not speak HTTP"


class FakeEtcd:
    """See the module. `clock`: of the test. `nodes`: at least one, of which `leader` leads."""

    def __init__(self, clock: Clock, count: int = 3) -> None:
        self.clock = clock
        self.values: dict[bytes, bytes] = {}
        self.revision = 1
        self.leader = 0
        self.term = 2
        self.cluster = 77
        self.compacted = 0
        self.watches: list[_Connection] = []
        #: Its one user's, if its users are enabled; and the tokens that are good.
        self.password: str | None = None
        self.tokens: set[str] = set()
        self.tokens_given = 0
        self.nodes = [FakeNode(self, f"node{number}:2379") for number in range(count)]

    @property
    def places(self) -> list[Place]:
        """How to get to the nodes."""
        return self.places_as(None)

    def places_as(self, login: Login | None) -> list[Place]:
        """The same as one of its users."""
        return [Place(node.name, node, login) for node in self.nodes]

    def answer(self, path: str, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Do what is asked; the status of HTTP, and what to say."""
        if path == "/v3/auth/authenticate":
            return self._authenticate(asked)
        if path == "/v3/kv/txn":
            return 200, self._transaction(asked)
        if path == "/v3/kv/compaction":
            if int(asked["revision"]) <= self.compacted:
                return 400, {"error": "mvcc: required revision has been compacted", "code": 11}
            self.compacted = int(asked["revision"])
        return 200, {"header": self.header}

    def _authenticate(self, asked: dict[str, str]) -> tuple[int, dict[str, Any]]:
        if self.password is None:
            return 400, {"error": "etcdserver: authentication is not enabled", "code": 9}
        if asked != {"name": "shop", "password": self.password}:
            return 400, {"error": "etcdserver: authentication failed, invalid user ID or password", "code": 3}
        self.tokens_given += 1
        self.tokens.add(token := f"token.{self.tokens_given}")
        return 200, {"header": self.header, "token": token}

    def refusal(self, path: str, token: str) -> tuple[int, dict[str, Any]] | None:
        """What is said to who asks with a token, or "", and is not known."""
        if self.password is None or token in self.tokens or path.startswith(("/v3/auth/", "/v3/maintenance/")):
            return None
        if not token:
            return 400, {"error": "etcdserver: user name is empty", "code": 3}
        return 401, {"error": "etcdserver: invalid auth token", "code": 16}

    def status(self, node: FakeNode) -> dict[str, Any]:
        """What a node says of itself."""
        header = {**self.header, "member_id": str(100 + self.nodes.index(node))}
        return {"header": header, "version": node.version, "leader": str(100 + self.leader)}

    @property
    def header(self) -> dict[str, str]:
        """What each answer begins with."""
        return {"revision": str(self.revision), "raft_term": str(self.term), "cluster_id": str(self.cluster)}

    def _transaction(self, asked: dict[str, Any]) -> dict[str, Any]:
        holds = all(map(self._holds, asked["compare"]))
        operations = asked["success" if holds else "failure"]
        if any("request_put" in each or "request_delete_range" in each for each in operations):
            self.revision += 1
        responses = [self._do(each) for each in operations]
        return {"header": self.header, **({"succeeded": True} if holds else {}), "responses": responses}

    def _holds(self, condition: dict[str, str]) -> bool:
        value = self.values.get(_bytes(condition["key"]))
        if condition["target"] == "CREATE":
            return value is None
        if condition["target"] == "VERSION":
            return False
        if value is None:
            return False
        wanted = _bytes(condition["value"])
        return {"EQUAL": value == wanted, "LESS": value < wanted, "GREATER": value > wanted}[condition["result"]]

    def _do(self, operation: dict[str, Any]) -> dict[str, Any]:
        ((name, asked),) = operation.items()
        key = _bytes(asked["key"])
        if name == "request_put":
            self.values[key] = _bytes(asked["value"])
            for watch in list(self.watches):
                watch.tell(key)
            return {"response_put": {}}
        end = _bytes(asked["range_end"]) if "range_end" in asked else key + b"\0"
        within = sorted(each for each in self.values if key <= each < end)
        if name == "request_delete_range":
            for each in within:
                del self.values[each]
            return {"response_delete_range": {}}
        kvs = [self.key_value(each) for each in within]
        return {"response_range": {"kvs": kvs, "count": str(len(within))} if kvs else {}}

    def key_value(self, key: bytes) -> dict[str, str]:
        """A key as an answer has it."""
        return {"key": base64.b64encode(key).decode(), "value": base64.b64encode(self.values[key]).decode()}


@implementer(IStreamClientEndpoint)
class FakeNode:
    """A node. `version`: as it says. `asked`: the paths of all requests that it has received. `tells`: whether its
    watches do.
    """

    def __init__(self, etcd: FakeEtcd, name: str) -> None:
        self.etcd = etcd
        self.name = name
        self.health = Health.WELL
        self.version = "3.4.23"
        self.tells = True
        self.asked: list[str] = []
        self.connections: list[_Connection] = []

    def connect(self, protocolFactory: Any) -> Deferred[Any]:
        """See IStreamClientEndpoint."""
        if self.health is Health.REFUSES:
            return fail(ConnectionRefusedError())
        if self.health is Health.UNREACHABLE:
            return Deferred()
        protocol = protocolFactory.buildProtocol(None)
        connection = _Connection(self, protocol)
        self.connections.append(connection)
        protocol.makeConnection(connection)
        return succeed(protocol)

    def cut(self) -> None:
        """End all its connections."""
        for connection in list(self.connections):
            connection.end()


class _Connection(StringTransport):
    """The node's side of a connection."""

    def __init__(self, node: FakeNode, protocol: Any) -> None:
        super().__init__()
        self._node = node
        self._protocol = protocol
        self._watched: tuple[bytes, bytes] | None = None

    def setTcpNoDelay(self, enabled: bool) -> None:
        """See ITCPTransport."""

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """See ITCPTransport."""

    def abortConnection(self) -> None:
        """See ITCPTransport."""
        self.end()

    def end(self) -> None:
        """It has ended."""
        if self in self._node.connections:
            self._node.connections.remove(self)
            self._watched = None
            self._protocol.connectionLost(Failure(ConnectionDone()))

    def write(self, data: bytes) -> None:
        """Do what is asked, once it is here."""
        super().write(data)
        head, found, rest = self.value().partition(b"\r\n\r\n")
        if not found or len(rest) < int(head.rpartition(b": ")[2]):
            return
        self.clear()
        path = head.split(b" ", 2)[1].decode()
        self._node.asked.append(path)
        health = self._node.health
        told = re.search(rb"\r\nAuthorization: ([^\r]+)\r\n", head)
        refusal = self._node.etcd.refusal(path, told[1].decode() if told else "")
        if path == "/v3/watch":
            if refusal is not None:
                self._say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                self._line({"result": {"created": True, "canceled": True, "cancel_reason": refusal[1]["error"]}})
            elif health is Health.WELL:
                create = orjson.loads(rest)["create_request"]
                self._watched = (_bytes(create["key"]), _bytes(create["range_end"]))
                self._node.etcd.watches.append(self)
                self._say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                self._line({"result": {"created": True}})
        elif health in (Health.WELL, Health.MUTE):
            if refusal is not None:
                self._reply(*refusal)
            elif path == "/v3/maintenance/status":
                self._reply(200, self._node.etcd.status(self._node))
            else:
                self._reply(*self._node.etcd.answer(path, orjson.loads(rest)))
        elif health is Health.ERRORS:
            self._reply(503, {"error": "etcdserver: no leader", "code": 14})
        elif health is Health.FULL:
            self._reply(429, {"error": "etcdserver: mvcc: database space exceeded", "code": 8})
        elif health is Health.NONSENSE:
            self._say(b"+PONG\r\n\r\n")

    def tell(self, key: bytes) -> None:
        """A key was put."""
        if self._watched and self._watched[0] <= key < self._watched[1] and self._node.tells:
            self._line(
                {"result": {"header": self._node.etcd.header, "events": [{"kv": self._node.etcd.key_value(key)}]}}
            )

    def cancel(self) -> None:
        """etcd ends a watch."""
        self._line({"result": {"canceled": True, "compact_revision": "5"}})

    def _line(self, document: dict[str, Any]) -> None:
        line = orjson.dumps(document) + b"\n"
        self._say(b"%x\r\n%b\r\n" % (len(line), line))

    def _reply(self, status: int, document: dict[str, Any]) -> None:
        body = orjson.dumps(document)
        self._say(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body)

    def _say(self, data: bytes) -> None:
        """Soon, if the node is still up to it."""

        def say() -> None:
            if self in self._node.connections and self._node.health not in (Health.SILENT, Health.MUTE):
                self._protocol.dataReceived(data)

        self._node.etcd.clock.callLater(ANSWER_S, say)


def _bytes(text: str) -> bytes:
    return base64.b64decode(text)
