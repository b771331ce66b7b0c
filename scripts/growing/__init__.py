"""What scripts/growth is made of: what each thing costs as the table, or the number of connections, grows.

| module | what it does |
|---|---|
| `table_size` | one kvstore with so many documents: everything that might grow with them |
| `connections` | one kvstore with so many idle connections |
| `apart` | the server on one processor, who measures it on the others |
| `report`, `plots` | the report's files |

Servers, generators and tables are those of `scripts.measuring`, the compaction is that of `scripts.benching`.
"""
