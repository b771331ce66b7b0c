"""What scripts/soak is made of: hours of mixed load at a modest rate, and whether anything grows.

| module | what it does |
|---|---|
| `checked` | clients who know what must be there: those of the kill rounds, at a rate of their own |
| `calm` | a process with a few clients who measure how long their requests take |
| `companions` | clients in threads: a cache with deadlines, large values, subscribers, who caches, who polls the page |
| `liars` | clients who stall, lie and vanish |
| `volume` | a small file system for the data, and how it is filled |
| `sampling` | memory, files, latencies, sizes, every few seconds |
| `plan` | what happens when: kills, full disks, compactions |
| `run` | all of it together |
| `judging` | the rules, and the verdict |
| `report` | soak.json, soak.md, soak.png |
"""
