"""Chance is a parameter: below the edge nobody makes a generator, and what is random can be tested."""

from __future__ import annotations

from random import Random
from typing import TypeAlias

#: Where what is picked at random gets its chance from.
Chance: TypeAlias = Random
