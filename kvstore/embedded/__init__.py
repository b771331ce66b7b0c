"""The store within a program: no server, no Twisted, no other process.

    from kvstore import embedded

    with embedded.open("data") as db:
        db("SET", "greeting", "hello")         # on disk when it returns
        db("RPUSH", "jobs", "one", "two")
        with db.batch():                       # one commit, all of it or nothing
            db("INCR", "jobs:done")
            db("LPOP", "jobs")

Everything else is told in docs/EMBEDDING.md.
"""

from kvstore.base.errors import (
    DamagedStore,
    DirectoryInUse,
    KVStoreError,
    RequestError,
    StartRefused,
    StorageFault,
    StorageFull,
)
from kvstore.embedded.database import EmbeddedStore, MisuseError, open

__all__ = [
    "DamagedStore",
    "DirectoryInUse",
    "EmbeddedStore",
    "KVStoreError",
    "MisuseError",
    "RequestError",
    "StartRefused",
    "StorageFault",
    "StorageFull",
    "open",
]
