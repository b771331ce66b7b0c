"""What a connection is doing: one name for it, and the moves that there are. Who is served with others follows.

| state | it is read from | its requests are executed |
|---|---|---|
| OPEN | yes | together with those of others |
| APART | yes | by themselves: see below |
| PAUSED | no, until it has taken its replies, and what it sent before is executed | what is left |
| ENDED | no, it sends no more | what is left; closed when all replies have left |
| GONE | no, the connection is lost, or as good as | no |

APART is who is in a request or a block, waits for others or for the end of a pause (CLIENT PAUSE), is subscribed, does
not take its replies, or wants none (CLIENT REPLY).
"""

from __future__ import annotations

import enum


class State(enum.Enum):
    """See the module."""

    OPEN = enum.auto()
    APART = enum.auto()
    PAUSED = enum.auto()
    ENDED = enum.auto()
    GONE = enum.auto()


#: Where each state leads. A move that is not here does not happen: nothing leads back from an end.
MOVES: dict[State, tuple[State, ...]] = {
    State.OPEN: (State.APART, State.PAUSED, State.ENDED, State.GONE),
    State.APART: (State.OPEN, State.PAUSED, State.ENDED, State.GONE),
    State.PAUSED: (State.OPEN, State.APART, State.ENDED, State.GONE),
    State.ENDED: (State.GONE,),
    State.GONE: (),
}
