"""The synchronous store service: table, transaction log, checkpoint, recovery, compaction.

No Twisted, no clock of its own.
"""
