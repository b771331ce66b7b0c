"""How much a session takes on at once: requests of one commit, and bytes of replies that wait."""

from __future__ import annotations

from kvstore.session.hooks import Hooks
from kvstore.wire.resp import pack
from tests.kit.serving import OK, SessionTestCase


class GroupLimitTests(SessionTestCase):
    """`Hooks.request_limit`: after so many write requests the open commit is closed at once."""

    def counted(self, limit: int, *requests: str) -> list[int]:
        """How many requests each commit had, when these came in one go."""
        self.serving.hooks.request_limit = limit
        sizes: list[int] = []

        def commit_now() -> None:
            sizes.append(self.serving.table.pending.requests)
            self.serving.commit()

        self.serving.hooks.commit_now = commit_now
        self.one.ask(*requests)
        return sizes

    def test_bytes(self) -> None:
        """Past a size the open commit is closed at once; at it, not yet."""
        self.serving.hooks.size_limit = len(pack(b"SET", b"a", b"1"))
        self.assertEqual(self.counted(Hooks.NO_LIMIT, "SET a 1", "GET a"), [])
        self.assertEqual(self.counted(Hooks.NO_LIMIT, "SET b 1", "SET c 1", "SET d 1"), [2, 2])
        self.assertEqual(self.counted(Hooks.NO_LIMIT, "MULTI", "SET a 2", "SET b 2", "EXEC"), [1])

    def test_one(self) -> None:
        """Each write request has a commit of its own; its reply need not wait when the batch is done."""
        self.assertEqual(self.counted(1, "SET a 1", "SET b 1", "MULTI", "SET a 2", "SET b 2", "EXEC"), [1, 1, 1])
        self.assertEqual(self.one.session.waits_for, 0)

    def test_words_and_json_count_too(self) -> None:
        """The other way through the session counts alike."""
        self.assertEqual(self.counted(2, "SET a 1\n", '{"method":"insert","key":"a","value":1}', "SET b 2\n"), [2])

    def test_reads_and_failures_do_not_count(self) -> None:
        """Only requests that changed something do."""
        self.assertEqual(self.counted(2, "SET a x", "GET a", "INCR a", "DEL none", "SETNX a 1", "SET b 1", "PING"), [2])

    def test_the_rest_waits(self) -> None:
        """What is left over is in the open commit, and so is the whole batch's reply."""
        self.assertEqual(self.counted(2, "SET a 1", "SET b 1", "SET c 1"), [2])
        self.assertEqual(self.one.session.waits_for, 2)


class BudgetTests(SessionTestCase):
    """A batch ends when its replies pass the budget; the rest is the backlog."""

    def test_ends_early(self) -> None:
        """The request that passes the budget is the last one executed."""
        client = self.serving.connect(budget_bytes=20)
        self.assertEqual(client.ask(*["PING"] * 10), b"+PONG\r\n" * 3)
        self.assertTrue(client.session.backlog)

    def test_at_the_limit(self) -> None:
        """Replies of just the budget do not pass it."""
        for budget, executed in ((20, 3), (21, 4), (22, 4)):
            client = self.serving.connect(budget_bytes=budget)
            self.assertEqual(client.ask(*["PING"] * 10), b"+PONG\r\n" * executed)

    def test_goes_on_when_told(self) -> None:
        """`run` executes more of it, in order, and what came meanwhile queues behind it."""
        client = self.serving.connect(budget_bytes=20)
        replies = client.ask(*[f"ECHO {number}" for number in range(10)])
        self.assertEqual(client.ask("ECHO late", "ECHO last"), b"")
        while client.session.backlog:
            client.session.run(20)
            replies += client.released()
        texts = [*map(str, range(10)), "late", "last"]
        self.assertEqual(replies, b"".join(b"$%d\r\n%b\r\n" % (len(text), text.encode()) for text in texts))

    def test_the_slow_way_has_the_same_budget(self) -> None:
        """Words, JSON lines, and blocks."""
        for request in ("PING\n", '{"method":"size"}', "MULTI"):
            client = self.serving.connect(budget_bytes=0)
            client.ask(*[request] * 5)
            self.assertTrue(client.session.backlog, request)
            for _ in range(4):
                self.assertTrue(client.session.backlog)
                client.session.run(0)
            self.assertFalse(client.session.backlog)

    def test_held_replies(self) -> None:
        """A backlog may stand behind replies that are held; all leave in order."""
        client = self.serving.connect(budget_bytes=0)
        self.assertEqual(client.ask("SET a 1", "GET a", "PING"), b"")
        self.serving.commit()
        self.assertEqual(client.released(), OK)
        client.session.run(100)
        self.assertEqual(client.released(), b"$1\r\n1\r\n+PONG\r\n")
