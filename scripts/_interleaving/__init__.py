"""What scripts/interleaving is made of: reading a trace, judging it, drawing it.

It imports nothing of kvstore, so that a mistake in the server is not repeated in what checks it; the format of a trace
is told in kvstore/edge/trace.py.
"""
