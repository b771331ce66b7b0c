"""The commands: one file per family, one function and one table row each. No wire, no files.

Importing this package fills the table. What a command is made of: `registry` (the row), `context` (what it sees),
`dispatch` (from a request to its reply).
"""

from kvstore.commands import (
    absent,
    blocking_lists,
    blocking_sorted_sets,
    clients,
    connection,
    documents,
    hash_deadlines,
    hashes,
    info,
    introspection,
    keys,
    lists,
    objects,
    pubsub,
    replication,
    scripting,
    server,
    set_algebra,
    sets,
    slow_log,
    sorted_algebra,
    sorted_parts,
    sorted_ranges,
    sorted_sets,
    stream_claims,
    stream_groups,
    stream_info,
    streams,
    strings,
    transactions,
)
from kvstore.commands.registry import table

__all__ = [
    "WORD_VERBS",
    "absent",
    "blocking_lists",
    "blocking_sorted_sets",
    "clients",
    "connection",
    "documents",
    "hash_deadlines",
    "hashes",
    "info",
    "introspection",
    "keys",
    "lists",
    "objects",
    "pubsub",
    "replication",
    "scripting",
    "server",
    "set_algebra",
    "sets",
    "slow_log",
    "sorted_algebra",
    "sorted_parts",
    "sorted_ranges",
    "sorted_sets",
    "stream_claims",
    "stream_groups",
    "stream_info",
    "streams",
    "strings",
    "table",
    "transactions",
]

#: For the words grammar: the verbs of our own, in upper case, with the number of words before an argument that is JSON
#: to the end of the line; 0 if there is none.
WORD_VERBS = {row.name.encode(): row.raw_tail for row in table.verbs.values()}
