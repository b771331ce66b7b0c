"""The figures of a server, from what it answers at two moments."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from kvstore.tools.figures import Sample, compare

_INFO = {
    "kvstore_version": "1.2",
    "sync_policy": "always",
    "total_commands_processed": "1000",
    "total_error_replies": "7",
    "keyspace_hits": "30",
    "keyspace_misses": "10",
    "commits": "10",
    "committed_requests": "40",
    "commit_usec_total": "5000",
    "used_memory": "1048576",
    "last_compaction_error": "none",
    "writes_refused_now": "0",
    "cmdstat_get": "calls=100,usec=200,usec_per_call=2.00,rejected_calls=0,failed_calls=1",
    "latency_percentiles_usec_get": "p50=1.003,p99=9.023",
    "db0": "keys=5,expires=2,avg_ttl=0",
    "db7": "keys=1,expires=0,avg_ttl=0",
}
_CLIENT = (
    "id=3 addr=127.0.0.1:5 name=n user=ann db=0 age=4 idle=1 flags=N qbuf=0 omem=9 cmd=get tot-net-in={} tot-net-out=0"
)


def sample(at_s: float, received: int = 0, **changes: str) -> Sample:
    """What a server answers; `changes`: of INFO."""
    info = "# Server\r\n" + "".join(f"{field}:{value}\r\n" for field, value in (_INFO | changes).items())
    answers: dict[str, Any] = {
        "info": info.encode(),
        "clients": f"{_CLIENT.format(received)}\n".encode(),
        "slow": [[5, 1_000, 2_500, [b"SET", b"k\x1b[2J", b"v" * 99], b"127.0.0.1:9", b""]],
        "latency": [[b"command", 1_000, 20, 30, 50, 2]],
    }
    return Sample(at_s, answers, {})


class FigureTests(SynchronousTestCase):
    """By two samples, and by one."""

    def test_rates(self) -> None:
        """What grew, by the time that passed."""
        get = "calls=300,usec=1000,usec_per_call=4.00,rejected_calls=0,failed_calls=3"
        later = sample(12, 500, total_commands_processed="3000", keyspace_hits="33", keyspace_misses="11",
                       commits="20", committed_requests="140", commit_usec_total="25000", cmdstat_get=get)  # fmt: skip
        figures = compare(sample(10, 100), later)
        self.assertEqual(figures["rates"]["requests"], 1000)
        self.assertEqual(figures["rates"]["hit_share"], 0.75)
        self.assertEqual([figures["commits"][name] for name in ("per_second", "requests_each", "seconds_each")],
                         [5, 10, 0.002])  # fmt: skip
        (command,) = figures["commands"]
        expected = {"per_second": 100, "failures_per_second": 1, "busy_share": 0.0004, "seconds_each": 4e-6}
        self.assertEqual({name: round(command[name], 9) for name in expected}, expected)
        self.assertEqual(figures["clients"][0]["received_bytes"], 200)

    def test_levels(self) -> None:
        """What there is, known by one sample; rates are not."""
        figures = compare(None, sample(10))
        self.assertEqual(figures["rates"]["requests"], None)
        self.assertEqual(figures["commands"][0]["p99_s"], 9.023e-6)
        self.assertEqual(figures["commands"][0]["seconds_each"], 2e-6)
        self.assertEqual(figures["keys"], {"all": 6, "with_deadline": 2, "databases": {"0": 5, "7": 1}})
        self.assertEqual(figures["memory"]["used_bytes"], 1048576)
        self.assertEqual(figures["clients"][0]["user"], "ann")
        self.assertEqual(figures["latency"], [{"event": "command", "at": 1000, "newest_s": 0.02, "longest_s": 0.03}])

    def test_counters_that_were_set_back(self) -> None:
        """CONFIG RESETSTAT makes no rate below nothing, and no time passes either."""
        self.assertEqual(compare(sample(10), sample(10, total_commands_processed="0"))["rates"]["requests"], 0)

    def test_what_clients_chose_is_printable(self) -> None:
        """No request can reach the terminal of who looks at it."""
        self.assertEqual(compare(None, sample(1))["slow"][0]["request"], rf"SET k\x1b[2J {'v' * 60}... (99 bytes)")

    def test_what_may_not_be_asked_for(self) -> None:
        """It is left out, and told."""
        alone = Sample(1, {}, {"info": "NOPERM no", "clients": "NOPERM no"})
        figures = compare(alone, alone)
        self.assertEqual((figures["clients"], figures["commands"], figures["refused"]), ([], [], alone.refused))
