"""What scripts/bench is made of: kvstore beside Valkey, case by case, in turns.

| module | what it does |
|---|---|
| `case` | what a case is, and how both sides take their turns |
| `rates` | cases asked by redis-benchmark |
| `loops`, `requests` | cases asked by the project's own generator, and the requests |
| `slow_disk` | both servers on a disk whose syncs take 5 ms |
| `large` | a table of a million keys: compaction, recovery, memory |
| `commits` | how kvstore's writes were grouped |
| `targets` | what is to be reached, and whether it is |
| `record`, `report`, `plots` | the report's files |
| `probes` | what disk and generators can do |

Servers, generators and tables are those of `scripts.measuring`.
"""
