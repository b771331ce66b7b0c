"""Clients of kvstore: the five document verbs for programs that would rather not know when the server was restarted.

    from kvstore.client import Client

    with Client("localhost:6380") as table:      # or the name of a project, looked up in the catalog
        table.insert("zebra", {"weight": 100, "name": "fred"})
        table.lookup("zebra")                    # {'weight': 100, 'name': 'fred'}

`Client` blocks; its Twisted sibling, with the same verbs returning Deferreds, is
`kvstore.client.deferred.DeferredClient`. `help(Client)` says what is to be known about errors, time, threads and forks.

What is here runs on a bare Python, with nothing installed: a program that only talks to the server needs neither
Twisted nor the server's other dependencies. Hence `deferred`, which imports Twisted, is not imported here.

Reading order: `endpoint` and `target` (which server is meant), `certificates` (for TLS), `exchange` (requests, replies,
pauses), `patience` and `stream` (a socket that does not wait for ever), `sync`, `deferred` and its `pipeline`. `raw`,
`timing` and `progress` are what the programs in `scripts` share.
"""

from kvstore.base.address import Address
from kvstore.client.exchange import DeadlineExceeded, RequestRefused
from kvstore.client.sync import Client
from kvstore.client.target import LookupFailed, find_server

__all__ = ["Address", "Client", "DeadlineExceeded", "LookupFailed", "RequestRefused", "find_server"]
