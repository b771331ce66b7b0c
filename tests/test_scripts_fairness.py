"""scripts/fairness: its cases, its table, and calm clients of a server that is there."""

from __future__ import annotations

import select
import socket
import threading

from twisted.trial.unittest import SynchronousTestCase

from scripts.measuring.metering import latencies
from scripts.measuring.record import Record
from scripts.sharing import greedy
from scripts.sharing.calm import CLIENTS, Calm
from scripts.sharing.program import ALONE, BESIDE, FAIRNESS, TITLES, headline, tables


class ReportTests(SynchronousTestCase):
    """What it writes."""

    def test_a_case_for_each_kind(self) -> None:
        """With a title."""
        self.assertEqual([case.name for case in FAIRNESS.cases], list(greedy.KINDS))
        self.assertEqual(set(TITLES), set(greedy.KINDS))

    def test_table(self) -> None:
        """The ratio is of the p99s of a round."""
        names = ("p50_ms", "GET.p99_ms", "SET.p99_ms", "p99_ms", "slowest_ms", "server_share")
        record = Record()
        turns = {BESIDE: [dict.fromkeys(names, 3.0)] * 2, ALONE: [dict.fromkeys(names, 2.0)] * 2}
        entry = record.put(FAIRNESS.cases[0], turns, {})
        self.assertEqual(headline(entry, ""), "p99 3.00 ms beside, 2.00 ms alone: 1.5")
        (table,) = tables(record)
        self.assertEqual(table.rows[0][-3:], ["1.5", "1.5 to 1.5", "300 %"])


class CalmTests(SynchronousTestCase):
    """Calm clients, of what answers everything."""

    def test_asking(self) -> None:
        """Each asks as often as the others, half of them to write; all are answered."""
        with socket.create_server(("127.0.0.1", 0)) as listening:
            calm = Calm(listening.getsockname()[1])
            self.addCleanup(calm.close)
            answering = threading.Thread(target=self.answer, args=(listening,), daemon=True)
            answering.start()
            trace = calm.ask(0.06)
            calm.close()
            answering.join()
        self.assertEqual(sorted(trace["kind"]), ["GET"] * (3 * CLIENTS // 2) + ["SET"] * (3 * CLIENTS // 2))
        self.assertGreater(latencies(trace, 0.06)["p50_ms"], 0)

    def answer(self, listening: socket.socket) -> None:
        """As a server would, until all are gone."""
        clients = [listening.accept()[0] for _ in range(CLIENTS)]
        while clients:
            for client in select.select(clients, [], [])[0]:
                if not (data := client.recv(65536)):
                    clients.remove(client)
                    client.close()
                else:
                    client.sendall(b"+OK\r\n" * data.count(b"*3\r\n") + b"$0\r\n\r\n" * data.count(b"*4\r\n"))
