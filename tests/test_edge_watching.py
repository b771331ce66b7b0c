"""MONITOR: the lines it writes, whom it shows them to, and that it cannot hurt the server."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

import kvstore.commands  # noqa: F401 - fills the command table
from kvstore.base.limits import MAX_MONITORED_BYTES
from kvstore.base.reply import Reply
from kvstore.commands.peer import Nobody
from kvstore.commands.script_calls import ScriptCalls
from kvstore.edge.watching import Monitor, monitor_line
from kvstore.session.hooks import Hooks
from tests.kit.executed import EXECUTED, executed


class FakeClient(Nobody):
    """A client, and its connection, that keeps what is sent to it."""

    def __init__(self) -> None:
        self.monitoring = True
        self.pushed: list[tuple[Reply, int]] = []
        self.peer = self

    def send(self, message: Reply, needed: int) -> None:
        """See `Peer`."""
        self.pushed.append((message, needed))


class Monitored:
    """A `Monitor` of these clients. `clients`: by their numbers."""

    def __init__(self, **clients: FakeClient) -> None:
        self.hooks = Hooks()
        self.clients: dict[int, Any] = {int(name.removeprefix("client")): client for name, client in clients.items()}
        self.script_calls = ScriptCalls()
        self.monitor = Monitor(self.clients, self.hooks, self.script_calls)


class MonitorTests(SynchronousTestCase):
    """MONITOR: who sees what."""

    def test_the_line_is_redis_s(self) -> None:
        """Time in seconds and microseconds, database 0, the address, the words."""
        self.assertEqual(
            monitor_line(executed(b"keys", b"*")).wire, b'+1700000000.000042 [0 127.0.0.1:50712] "keys" "*"\r\n'
        )

    def test_the_time_is_exact_for_any_microsecond(self) -> None:
        """A float of this size would round it."""
        self.assertTrue(
            monitor_line(executed(b"PING", time_us=99_999_999_999_999_999)).wire.startswith(b"+99999999999.999999 ")
        )

    def test_a_long_request_is_shown_in_part(self) -> None:
        """A value of the limit is shown whole; a longer one is not copied for every client that watches."""
        for length, is_cut in (
            (MAX_MONITORED_BYTES - 1, False),
            (MAX_MONITORED_BYTES, False),
            (MAX_MONITORED_BYTES + 1, True),
        ):
            self.assertEqual("more bytes" in monitor_line(executed(b"x" * length)).text, is_cut)
        self.assertLess(len(monitor_line(executed(b"SET", b"k", b"\0" * 10_000_000)).text), MAX_MONITORED_BYTES + 200)

    def test_all_monitors_see_a_request_except_the_one_that_sent_it(self) -> None:
        """Its own line would be ahead of its reply. Nobody sees it before the commit that its reply waits for."""
        own, other = FakeClient(), FakeClient()
        all_ = Monitored(client7=own, client8=other)
        monitor = all_.monitor
        monitor.add(7)
        monitor.add(8)
        monitor(EXECUTED)
        self.assertEqual((own.pushed, other.pushed), ([], [(monitor_line(EXECUTED), EXECUTED.commit)]))

    def test_what_a_script_asks_for_stands_behind_its_request(self) -> None:
        """In a line of its own, with `lua` for an address; in front of the EXEC that a script's block ends in."""
        all_ = Monitored(client8=FakeClient())
        all_.monitor.add(8)
        for request in (b"EVAL", b"EXEC"):
            all_.script_calls.note(3, [b"get", b"k"])
            all_.monitor(executed(request))
        texts = [line.text.partition(" ")[2] for line, _ in all_.clients[8].pushed]
        script = '[3 lua] "get" "k"'
        self.assertEqual(texts, ['[0 127.0.0.1:50712] "EVAL"', script, script, '[0 127.0.0.1:50712] "EXEC"'])

    def test_nothing_is_gathered_while_nobody_watches(self) -> None:
        """It is a watcher from the first client in MONITOR until the last is gone."""
        all_ = Monitored(client8=FakeClient())
        monitor = all_.monitor
        self.assertEqual(all_.hooks.watchers, [])
        monitor.add(8)
        monitor.add(8)
        self.assertEqual(all_.hooks.watchers, [monitor])
        del all_.clients[8]
        monitor(EXECUTED)
        self.assertEqual(all_.hooks.watchers, [])

    def test_a_client_that_left_does_not_end_it_for_the_others(self) -> None:
        """The next request finds that it is gone; the others see that request."""
        stays = FakeClient()
        all_ = Monitored(client8=FakeClient(), client9=stays)
        monitor = all_.monitor
        monitor.add(8)
        monitor.add(9)
        del all_.clients[8]
        monitor(EXECUTED)
        self.assertEqual((len(stays.pushed), all_.hooks.watchers), (1, [monitor]))

    def test_a_client_that_left_monitor_by_reset_sees_no_more(self) -> None:
        """And may come back."""
        client = FakeClient()
        all_ = Monitored(client8=client)
        monitor = all_.monitor
        monitor.add(8)
        client.monitoring = False
        monitor(EXECUTED)
        client.monitoring = True
        monitor.add(8)
        monitor(EXECUTED)
        self.assertEqual((len(client.pushed), all_.hooks.watchers), (1, [monitor]))

    def test_a_client_dropped_while_it_is_shown_a_line(self) -> None:
        """A push may end that connection, or another in MONITOR; nothing is raised and the rest are shown the line."""
        gone, stays = FakeClient(), FakeClient()
        all_ = Monitored(client8=gone, client9=stays)
        gone.send = lambda message, needed: all_.clients.pop(8)  # type: ignore[method-assign]
        monitor = all_.monitor
        monitor.add(8)
        monitor.add(9)
        monitor(EXECUTED)
        monitor(EXECUTED)
        self.assertEqual(len(stays.pushed), 2)
