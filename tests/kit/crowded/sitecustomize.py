"""Has a server treat every turn of its loop as a crowded one: what one client sent is kept and executed together too.

    PYTHONPATH=tests/kit/crowded scripts/linearizability

Python imports this before anything else if its directory is in PYTHONPATH (see the module `site`); the servers that a
test or a script starts inherit that. Clients written in Python are too slow to crowd a server by themselves.
"""

from kvstore.edge import arrivals

arrivals.FEW = 1
