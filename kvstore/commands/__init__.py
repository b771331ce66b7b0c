"""The commands: one file per family, one function and one table row each. No wire, no files.

Importing this package fills the table.
"""

from kvstore.commands.registry import table

__all__ = ["table"]
