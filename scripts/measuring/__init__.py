"""What scripts/bench, scripts/growth and scripts/experiment share.

| module | what it does |
|---|---|
| `servers`, `processes` | kvstore of any checkout, and Valkey, started; what the kernel knows of a process |
| `generator` (in C), `redis_benchmark` | ask it, and say how long each request took |
| `load` | what is asked, and filling a table |
| `metering` | what a turn comes to, and who was busy meanwhile |
| `compaction`, `idle` | a compaction under load; connections that do nothing |
| `bench` | a case: its servers, its sides, their turns |
| `program` | the command line of a program that measures cases, and its report |
| `record`, `results`, `drawing` | what was found; tables, the machine; plots |

Everything is measured in turns: each round takes one measurement of each side, one right after the other, the side
that begins changing from round to round, and what is reported is the median of the rounds. So whatever changes slowly
on the machine falls on both sides. What limits a measurement may be the load generator and not the server: so the parts
of a processor that both used stand beside it; the one near 100 % is what was measured.
"""
