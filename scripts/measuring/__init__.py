"""What scripts/figures is made of, and what scripts/bench and scripts/growth share with it.

| module | what it does |
|---|---|
| `bench` | the servers of a figure, in directories of their own; how long and how often to measure |
| `load` | clients that cost little: closed loops over many connections in one process, and bulk loading |
| `redis_benchmark` | turns of redis-benchmark |
| `generator` | the same by a generator of our own, in C: several kinds of requests, JSON lines, every latency |
| `turn` | what a turn comes to, and who was busy meanwhile |
| `results` | tables, checks against a target, the report's files |
| `groups`, `compaction`, `recovery`, `idle` | the figures |

Everything is measured in turns: each round takes one measurement of each side, one right after the other, the side
that begins changing from round to round, and what is reported is the median of the rounds. So whatever changes slowly
on the machine falls on both sides.

What limits a measurement may be the load generator and not the server. Each figure therefore says where its load comes
from, and where it matters gives the share of a processor that the generator and the server used: the one at 100 % is
what was measured.
"""
