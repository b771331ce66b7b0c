"""What Valkey 9.1 says of its commands and no row can tell: since when there is one, what it costs, its history, how
its options go together. From `valkey.json`, which is read when somebody asks, and never at a start.

`scripts/valkey_facts` makes that file from the answers of a Valkey to COMMAND and COMMAND DOCS, less what our rows
tell. Commands that are not here have their facts too: who adds one finds them.

| member | of a command |
|---|---|
| `since`, `complexity`, `doc_flags`, `deprecated_since`, `replaced_by`, `history` | as in COMMAND DOCS |
| `arguments` | the same, where the row's parameters do not say it; `display_text` where that is not the name |
| `flags` | as in COMMAND INFO, those that the row does not tell |
| `categories`, `key_specs` | as in COMMAND INFO, where the row tells others |
| `tips` | as in COMMAND INFO |
"""

from __future__ import annotations

import functools
import json
import pkgutil
from typing import Any

FILE = "valkey.json"


@functools.cache
def _all() -> dict[str, dict[str, Any]]:
    commands: dict[str, dict[str, Any]] = json.loads(pkgutil.get_data(__package__, FILE) or b"")["commands"]
    return commands


def names() -> list[str]:
    """The commands that Valkey has, in lower case, in order."""
    return sorted(_all())


def facts_of(name: str) -> dict[str, Any]:
    """What is known of a command, by its name in lower case (`client|list`); empty for one that Valkey has not."""
    return _all().get(name, {})
