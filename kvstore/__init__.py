"""kvstore: a crash-only key-value server on Twisted.

Reading order: `base` (disk, frames, errors, limits), `store` (table, log, checkpoint, recovery), `wire` (three
grammars), `commands` (one table), `session` (a connection without I/O), `edge` (Twisted). See docs/ARCHITECTURE.md.
"""

__version__ = "0.1.0"
