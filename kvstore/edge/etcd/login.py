"""Who we are for an etcd that has users (`etcdctl auth enable`): a name and a password give a token, and a token lets
what follows in.

Whoever asks etcd gets a token first if there is none; all connections share it. etcd forgets tokens: those that were
not used for five minutes at a node, and all when it starts; signed ones (JWT) end when any user or role is changed. So
a request that is refused is sent once more with a new one. Nothing of it was done then.

An etcd whose users are not enabled yet says so, and takes all without: once they are, it refuses, and is asked again.
"""

from __future__ import annotations

import re

import orjson

from kvstore.edge.etcd.gateway import FAILED_PRECONDITION, INVALID_ARGUMENT, UNAUTHENTICATED, UNKNOWN, Answer

#: gRPC's codes of what etcd says when it does not know who we are: "user name is empty" and "revision of auth store is
#: old" are INVALID_ARGUMENT, the latter UNKNOWN in 3.4; "invalid auth token" is UNAUTHENTICATED.
_REFUSED = frozenset({UNKNOWN, INVALID_ARGUMENT, UNAUTHENTICATED})
_TOKEN = re.compile(r"[!-~]+").fullmatch


class Login:
    """See the module. Raises ValueError for a password that etcd cannot have. `user`: its name."""

    def __init__(self, user: str, password: bytes) -> None:
        self.user = user
        #: What to ask AUTHENTICATE.
        self.request = orjson.dumps({"name": user, "password": password.decode()})
        #: None: to be got first. Empty: etcd wants none.
        self.token: bytes | None = None

    def takes(self, answer: Answer) -> bool:
        """Take the token in an answer to AUTHENTICATE; returns whether there is one, or none is needed."""
        token = answer.document.get("token")
        if answer.code == FAILED_PRECONDITION:
            self.token = b""
        elif not answer.code and isinstance(token, str) and _TOKEN(token):
            self.token = token.encode()
        return self.token is not None

    def refuses(self, answer: Answer) -> bool:
        """Whether etcd says, to something else, that it does not know who asks."""
        return answer.code in _REFUSED

    def forget(self, token: bytes | None) -> None:
        """Get another than that one, unless somebody has done so."""
        if self.token == token:
            self.token = None
