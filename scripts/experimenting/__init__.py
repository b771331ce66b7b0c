"""What scripts/experiment is made of, from the measurement to the page.

| module | what it does |
|---|---|
| `program` | the command line: which parts |
| `part_testperf`, `part_server`, `part_compaction`, `part_distance` | the parts: what is measured, in which order |
| `cross_check` | redis-benchmark, beside our own generator |
| `setup`, `levelling` | how much to measure; how many clients, and when to stop |
| `runs` | one run: a fresh server, clients, readings; rows |
| `swarm` | a program: many clients in one process |
| `stages`, `readings`, `processors` | what clients report; what the server and /proc say meanwhile |
| `places`, `network`, `wire` | one host; two hosts, and the link between them |
| `rows` | the raw data, as CSV |
| `data`, `wording` | the raw data read, and what follows from them; how numbers are worded |
| `tables`, `values`, `plots` (and `tables_testperf`, `tables_server`, `drawing`) | what is made of them |
| `report` | REPORT.md, kept in step with them |

Measuring and showing meet in the CSV files only: whatever is on the page can be made again from them. What is shared
with scripts/figures (starting servers, /proc, closed loops, tables) is in scripts/measuring.
"""
