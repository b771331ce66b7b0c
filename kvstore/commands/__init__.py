"""The commands: one file per family, one function and one table row each. No wire, no files.

Importing this package fills the table. What a command is made of: `registry` (the row), `context` (what it sees),
`dispatch` (from a request to its reply).
"""

from kvstore.commands import (
    blocking_lists,
    clients,
    connection,
    documents,
    hash_deadlines,
    hashes,
    info,
    introspection,
    keys,
    lists,
    pubsub,
    server,
    set_algebra,
    sets,
    strings,
    transactions,
)
from kvstore.commands.registry import table

__all__ = [
    "RAW_TAILS",
    "blocking_lists",
    "clients",
    "connection",
    "documents",
    "hash_deadlines",
    "hashes",
    "info",
    "introspection",
    "keys",
    "lists",
    "pubsub",
    "server",
    "set_algebra",
    "sets",
    "strings",
    "table",
    "transactions",
]

#: For the words grammar: the verbs whose last argument is JSON to the end of the line, in upper case, with the number
#: of words before it.
RAW_TAILS = {row.name.encode(): row.raw_tail for row in table.rows() if row.raw_tail}
