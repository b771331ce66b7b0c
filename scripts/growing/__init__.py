"""What scripts/growth is made of: what each thing costs as the table, or the number of connections, grows.

`table_size` measures one kvstore with so many documents, everything that might grow with them; idle connections are
those of `scripts.benching.large`. `program` has the cases and the report. The rest is `scripts.measuring`.
"""
