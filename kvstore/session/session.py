"""One connection without its I/O: bytes in; replies out, in order, none before the commit it waits for.

    receive(data)    parse, execute, keep the replies
    run(budget)      go on with requests that had to wait for room
    take_ready()     the replies that may leave now
    release(n)       commit n is settled: what waited for it may leave

| module | what it knows |
|---|---|
| `replies` | when a reply may leave |
| `batches` | which requests execute now, which are the backlog, and how they go on |
| here | bytes: which requests they make, what is begun and not ended; and the connection's end |

While there is a backlog the edge reads no more from this client, unless that waits for what others do: then what is
read is put behind it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from kvstore.base.errors import RequestError
from kvstore.base.limits import LARGE_BYTES
from kvstore.commands import dispatch
from kvstore.commands.context import Call
from kvstore.commands.noted_requests import request_bytes
from kvstore.session.batches import Batches
from kvstore.session.hooks import Hooks
from kvstore.session.unread import Unread, has_many_requests
from kvstore.wire import jsonlines, resp
from kvstore.wire.multibulk import SHORTEST_PIPELINE_BYTES
from kvstore.wire.parser import BOUNDARY, JSONLine, Request, RequestParser
from kvstore.wire.words import Words


class Session(Batches):
    """See the module. `parser`: of what the client sends. `budget_bytes`: replies after which a batch ends early.

    `is_running`: whether its backlog is being executed: then what is left of that is not there.
    """

    __slots__ = ("_feed", "_parser", "is_running")

    def __init__(self, call: Call, parser: RequestParser, hooks: Hooks, budget_bytes: int) -> None:
        super().__init__(call, hooks, budget_bytes)
        self._parser = parser
        self.is_running = False
        self.changed()

    def changed(self) -> None:
        """What the client may do has changed: of one that has to say first who it is, little is taken."""
        is_known = self.client.is_authenticated
        self._parser.restrict(of_stranger=not is_known)
        self._feed: Callable[[bytes], list[Any]] = self._parser.feed if is_known else self._serve_stranger

    def _serve_stranger(self, data: bytes) -> list[Any]:
        """Execute each request before the next is read. Leaves none."""
        self._begin(self._parser.feed_one_by_one(data))
        return []

    def limit_to(self, request_bytes: int, request_words: int, budget_bytes: int) -> None:
        """Other limits from now on: see `RequestParser`, the class, and `Server.max_reply_bytes`."""
        self._budget_bytes = budget_bytes
        self._parser.limit_to(request_bytes, request_words)
        self._execution.limit_replies()

    @property
    def unread_bytes(self) -> int:
        """Bytes of a request that is not complete yet."""
        return self._parser.unread_bytes

    @property
    def unfinished_bytes(self) -> int:
        """About the bytes of memory of what the client began and did not end: requests, a block, subscriptions."""
        client = self.client
        return self._parser.memory_bytes + client.queued_bytes + client.kept_bytes + self._waiting_bytes()

    def _waiting_bytes(self) -> int:
        """Of the request that waits at the head of the backlog; those behind it came with its end, and are small."""
        request = self.backlog[0] if self.backlog else []
        if isinstance(request, JSONLine):
            request = [value for value in request.members.values() if isinstance(value, str)]
        return self.backlog_bytes + (sum(map(len, request)) if isinstance(request, list) else 0)

    @property
    def in_the_middle(self) -> bool:
        """See what `receive` returns."""
        parser = self._parser
        return (
            parser.state is not BOUNDARY or self.client.queued is not None or self.closing or bool(self.backlog)
            or self.is_running or self.client.subscription_bytes > 0 or self.client.unanswered > 0
            or self.client.tracking is not None or self.client.rights is not None or self.client.is_barred
        )  # fmt: skip

    def receive(self, data: bytes) -> bool:
        """Take in bytes from the client and execute the requests they complete. Raises StorageFault.

        Returns whether the client is in the middle of something now: it has begun a request or a MULTI block and not
        ended it (see `unfinished_bytes`), is subscribed, has requests waiting, or is to be closed.
        """
        if self.closing:
            return True
        parser = self._parser
        if len(data) >= SHORTEST_PIPELINE_BYTES and not self.backlog:
            pipeline = parser.feed_uniform(data)
            if pipeline is not None:
                self._pipeline(pipeline)
                return self.receive(pipeline.rest) if pipeline.rest else self.in_the_middle
        requests = self._feed(data)
        if self.backlog:
            self._put_behind(requests, data)
        elif len(requests) == 1 and self._one(requests[0]):
            # As `in_the_middle`, of a client that is not in a block, nor subscribed; most requests come alone.
            return parser.state is not BOUNDARY or self.closing or bool(self.backlog) or self.client.rights is not None
        elif requests:
            self._begin(requests)
        else:  # part of a request: the client is slow, not idle
            self.client.last_request_ms = self._server.recent_ms
        return self.in_the_middle

    def put_off(self, data: bytes) -> bool:
        """Take in bytes with many requests, more than PART_BYTES, to be executed in parts when it is this client's time
        (`run`). Returns whether they are that many, and there are none that wait; else it has done nothing.
        """
        is_busy = self.backlog or self.closing or not self.client.is_authenticated
        if is_busy or not has_many_requests(data):
            return False
        self.backlog.append(Unread(data))
        return True

    def receive_more(self, data: bytes) -> bool:
        """As `receive`, of a client that may be in the middle of a request. One that is large is noted, and is backlog
        at first: whoever asks for less is served before.
        """
        parser = self._parser
        if self.backlog and self.backlog[-1].__class__ is Unread:
            self.backlog_bytes += len(data) if self.is_blocked else 0
            self.backlog.append(Unread(self.backlog.pop().data + data))
            return True
        before_bytes = 0 if parser.state is BOUNDARY or self.closing else parser.unread_bytes
        is_large = before_bytes > 0 and before_bytes + len(data) >= LARGE_BYTES and self.client.is_authenticated
        if not is_large:
            return self.receive(data)
        requests = parser.feed(data)
        if requests:
            self._note_large(requests[0], before_bytes + data.find(b"\n") + 1)
        self._put_behind(requests, data)
        return self.in_the_middle

    def _note_large(self, request: Any, line_bytes: int) -> None:
        log, client = self._server.command_log, self.client
        if request.__class__ is list:
            log.received(client, request, request_bytes(request))
        elif isinstance(request, Words):
            log.received(client, request, line_bytes)
        elif isinstance(request, JSONLine):
            names = (str(request.members.get(name)) for name in ("method", "key"))
            log.received(client, [name.encode("utf-8", "replace") for name in names], line_bytes)

    def _put_behind(self, requests: list[Request], data: bytes) -> None:
        """Requests that came while others wait; `data`: with the end of which."""
        if self.is_blocked:
            self.backlog_bytes += len(data)
        self.backlog.extend(requests)

    def run(self, budget_bytes: int) -> None:
        """Execute the backlog until its replies pass `budget_bytes`, or the share of time ends; of what is unread the
        next part, for which there is a share. Raises StorageFault.
        """
        backlog, self.backlog = self.backlog, deque()
        self.is_running = True
        try:
            unread = backlog.pop() if backlog[-1].__class__ is Unread else None
            if backlog:
                self._batch(backlog, budget_bytes)
            elif unread is not None:
                until_ns = self.until_ns
                part, unread = unread.parted(is_whole=self._parser.state is BOUNDARY)
                self.receive_more(part)
                self.until_ns = until_ns
            if unread is not None and not self.closing:
                self.backlog.append(unread)
        finally:
            self.is_running = False

    # The end

    def refuse_rest(self, text: str) -> None:
        """Take no more from this client: forget what it began, tell it why behind the replies so far, and close."""
        error = RequestError(text)
        in_json_line = self._parser.in_json_line
        self.closing = True
        self._parser.abandon()
        self._let_go()
        self.deliver(jsonlines.encode_error(error) if in_json_line else resp.encode_error(error), 0)

    def hang_up(self) -> None:
        """The client sends no more. One that waits for what others do is taken for gone, as Redis has it."""
        if self.is_blocked:
            self.closing = True
            self._forget_backlog()

    def disconnected(self) -> None:
        """The client is gone: let go of everything it held on to, and of oneself."""
        self.closing = True
        self._feed = self._parser.feed
        self.forget_replies()
        self._let_go()

    def _let_go(self) -> None:
        """Whatever the client began, watches or subscribes to is over."""
        self._forget_backlog()
        dispatch.release(self.call)
        self._server.channels.leave_all(self.client)
        if self.client.tracking is not None:
            self._server.tracking.set_mode(self.client, None)
