"""The states of a connection, and the moves between them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from kvstore.edge.connection_state import MOVES, State
from tests.kit.edge import GatheringTestCase


class TableTests(SynchronousTestCase):
    """The table of moves."""

    def test_ends(self) -> None:
        """Each state may end, and nothing leads back from an end."""
        self.assertEqual(set(MOVES), set(State))
        self.assertEqual(MOVES[State.GONE], ())
        self.assertEqual(MOVES[State.ENDED], (State.GONE,))
        for state in (State.OPEN, State.APART, State.PAUSED):
            self.assertEqual(set(MOVES[state]), set(State) - {state})


class ConnectionTests(GatheringTestCase):
    """What a client does, and the state that follows."""

    def state_after(self, *chunks: bytes) -> State:
        """Of a client that sends these, each in its turn."""
        self.client = self.connect()
        for chunk in chunks:
            self.client.send(chunk)
            self.turn()
        return self.client.protocol.state  # type: ignore[attr-defined, no-any-return]

    def test_in_the_middle(self) -> None:
        """Of a request or a block; when that is over it is served with the others again."""
        self.assertIs(self.state_after(b"PING\r\n"), State.OPEN)
        self.assertIs(self.state_after(b"PI"), State.APART)
        self.assertIs(self.state_after(b"PI", b"NG\r\n"), State.OPEN)
        self.assertIs(self.state_after(b"MULTI\r\n"), State.APART)
        self.assertIs(self.state_after(b"MULTI\r\n", b"DISCARD\r\n"), State.OPEN)

    def test_ended(self) -> None:
        """It has its replies; whatever happens then does not have it read from again."""
        self.assertIs(self.state_after(b"PI"), State.APART)
        self.client.end_input()
        self.assertIs(self.client.protocol.state, State.ENDED)  # type: ignore[attr-defined]
        self.client.protocol.pump()  # type: ignore[attr-defined]
        self.assertIs(self.client.protocol.state, State.ENDED)  # type: ignore[attr-defined]
