"""What the bench has found so far, in one file: `bench.json`, whole at any time.

Each case is put there as it ends, with its own date, command and commit, so a run that is broken off loses only the
case it was at; a case that is measured again replaces itself only.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.benching.case import VALKEY, Case, Measures
from scripts.measuring.results import replace_file

JSON_NAME = "bench.json"


@dataclass
class Entry:
    """One case as it was measured. `turns`: by side. `about`: when, with which command, on what."""

    title: str
    group: str
    turns: dict[str, list[Measures]]
    about: dict[str, str] = field(default_factory=dict)


@dataclass
class Record:
    """All of it. `probes`: what disk and generators can do, by name: see `probes`. `peer`: what had Valkey's place."""

    path: Path | None = None
    peer: str = VALKEY
    probes: dict[str, Any] = field(default_factory=dict)
    entries: dict[str, Entry] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path | None, peer: str = VALKEY) -> Record:
        """What the file has; nothing if there is none. None: it is kept in memory only. Raises ValueError if it has
        another peer.
        """
        if path is None or not path.exists():
            return cls(path, peer)
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["peer"] != peer:
            raise ValueError(f"{path} compares with {found['peer']}, not with {peer}: choose another --out")
        return cls(path, peer, found["probes"], {name: Entry(**entry) for name, entry in found["cases"].items()})

    def put(self, case: Case, turns: dict[str, list[Measures]], about: dict[str, str]) -> Entry:
        """Add one case, and save."""
        self.entries[case.name] = entry = Entry(case.title, case.group, turns, about)
        self.save()
        return entry

    def save(self) -> None:
        """Write the file."""
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        cases = {name: vars(entry) for name, entry in self.entries.items()}
        replace_file(self.path, json.dumps({"peer": self.peer, "probes": self.probes, "cases": cases}, indent=1) + "\n")
