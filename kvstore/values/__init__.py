"""The types of values: one file for each, with its class, its operations and their undo, and how it is built again.

They know nothing of commands, the store or the wire. What a type is to the store is told in `kvstore.base.value_type`;
`TYPES` is the table of all, handed to the store.
"""

from kvstore.base.value_type import Types
from kvstore.values.hashes import HASHES
from kvstore.values.lists import LISTS
from kvstore.values.sets import SETS
from kvstore.values.sorted_sets import SORTED_SETS
from kvstore.values.streams import STREAMS
from kvstore.values.strings import STRINGS

#: Every type that there is; a new one is one more line here.
TYPES = Types(STRINGS, (HASHES, LISTS, SETS, SORTED_SETS, STREAMS))
