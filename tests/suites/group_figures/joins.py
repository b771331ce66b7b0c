"""How long a server with nothing takes to join a group with a million keys: what scripts/group_join measures."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from scripts.measuring.results import Table
from tests.suites.group_figures.figures import Figure, Part
from tests.suites.group_figures.sides import Standing
from tests.suites.group_join import Joined, join

VALUE_BYTES = 100
ASKED_S = 60.0


def measure(keys: int, say: Callable[[str], None]) -> Part:
    """Once."""
    say(f"a join with {keys:,} keys")
    with ExitStack() as held:
        return part_of(join(Standing(held).group, keys, VALUE_BYTES), keys)


def part_of(joined: Joined, keys: int) -> Part:
    """Of one join."""
    part = Part("A join", raw={"keys": keys, **joined._asdict()})
    part.figures = [Figure(f"a join with {keys:,} keys of {VALUE_BYTES} bytes", [joined.has_all_s], "s", ASKED_S)]
    rows = [[what, f"{seconds:.1f} s"] for what, seconds in joined.steps()]
    caption = f"{keys:,} keys with {VALUE_BYTES} bytes each, from the start of a server with nothing"
    part.tables = [Table(caption, ["it", "after"], rows)]
    return part
