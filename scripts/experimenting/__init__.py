"""What scripts/experiment is made of, from the measurement to the page.

| module | what it does |
|---|---|
| `program` | the command line: which parts, what they lack, how long it will take |
| `plan` | the parts: variants, numbers of clients, order, lengths |
| `running`, `requests` | one run: server and clients, who was busy meanwhile; what they ask for |
| `network`, `wire.c` | one host, or two with a link between |
| `compaction` | the part that is no series of runs |
| `store` | the raw data |
| `facts`, `model` | what follows from them; what was to be expected |
| `report`, `report.md`, `plots` | the page |

Measuring and showing meet in the raw data only: whatever is on the page can be made again from them.
"""
