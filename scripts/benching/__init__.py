"""What scripts/bench is made of: kvstore beside Valkey, case by case, in turns.

| module | what it does |
|---|---|
| `rates` | cases asked by redis-benchmark |
| `loops` | cases asked by the project's own generator; a disk whose syncs take 5 ms longer |
| `large` | a table of a million keys: compaction, recovery, memory; idle connections |
| `probes` | what disk and generators can do |
| `targets` | what is to be reached, and whether it is |
| `program` | tables and a plot; the program |

All else is `scripts.measuring`.
"""
